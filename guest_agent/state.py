"""state.json: what an agent must still know after it was killed."""

import dataclasses
import json
import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guest_agent import files
from guest_agent.protocol import DesiredEngine, Directive

FILE = "state.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    secret: str | None = None
    next_secret: str | None = None
    """The control plane's newest, until it has taken it once."""
    directive: Directive | None = None
    """The newest one received."""
    restart_done: str | None = None
    """Id of the newest restart action that a start of the engine has covered."""
    starts: int = 0
    """How often the engine was started."""
    started_at: str | None = None
    """RFC 3339."""
    started_with: DesiredEngine | None = None
    """What the engine was last started with; another one means that it must be restarted."""
    settled_etag: str | None = None
    settled: list[str] = field(default_factory=list)
    """Objects that were as the directive `settled_etag` wants them; a difference later is drift."""


class StateFile:
    """The state in memory and on disk, for several threads."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE
        self._lock = threading.Lock()
        self._saved = True
        self._state = self._read()

    @property
    def now(self) -> State:
        return self._state

    def update(self, **changes: Any) -> bool:
        """Change fields and save; returns whether the disk has them.

        On a full disk the change holds in memory and the next call saves it: what frees the disk
        may well be the next directive.
        """
        with self._lock:
            state = dataclasses.replace(self._state, **changes)
            if state == self._state and self._saved:
                return True
            self._state = state
            try:
                files.write(self._path, json.dumps(dataclasses.asdict(state)), mode=0o600)
                self._saved = True
            except OSError as error:
                self._saved = False
                log.warning("cannot save %s: %s; going on without", self._path, error)
            return self._saved

    def _read(self) -> State:
        try:
            found = json.loads(self._path.read_text())
            known = {f.name for f in dataclasses.fields(State)}
            return State(**{name: value for name, value in found.items() if name in known})
        except FileNotFoundError:
            return State()
        except (OSError, ValueError, AttributeError) as error:
            log.warning("cannot read %s: %s; starting afresh", self._path, error)
            return State()
