"""What agents are heard to say, kept in the process so that the state database need not be asked again."""

import hashlib
import json
import logging
import threading
from collections.abc import Mapping
from typing import Any

from flask import Flask
from sqlalchemy import update

from control_plane.agents.heads import Head
from control_plane.agents.models import Agent
from control_plane.database import transaction
from control_plane.work.beside import Beside
from control_plane.work.clock import moment

WRITE_SECONDS = 2.0
"""So long the freshness of agents is gathered, to be written together."""
KEPT = 20_000
"""Agents at most whose last words are kept; the first ones kept go first."""
_AT_ONCE = 500
_NO_NEWS = ("run", "sequence")
"""Parts of a report that may differ between two that say the same."""
_MIB = 1 << 20

log = logging.getLogger(__name__)


def digest(report: Mapping[str, Any]) -> bytes:
    """Of all that a report says, be it checked or not."""
    said = {name: part for name, part in report.items() if name not in _NO_NEWS}
    if isinstance(used := said.get("volume_used"), int):
        said["volume_used"] = used // _MIB
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()


class LastWords:
    """What each agent said last, by its digest, and the revision of the instance's row that says the same.

    As long as the row has that revision, the same words are no news.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, bytes]] = {}

    def repeated(self, head: Head, words: bytes) -> bool:
        """Whether a report with this digest is known to say what the row says."""
        return not head.agent_lost and self._kept.get(head.instance_id) == (head.revision, words)

    def keep(self, instance_id: str, revision: int, words: bytes) -> None:
        self._kept.pop(instance_id, None)
        while len(self._kept) >= KEPT:
            self._kept.pop(next(iter(self._kept)), None)
        self._kept[instance_id] = revision, words


class Attendance(Beside):
    """A thread that writes who was heard of, many agents at a time."""

    def __init__(self, app: Flask) -> None:
        super().__init__("attendance")
        self._app = app
        self._lock = threading.Lock()
        self._heard: set[str] = set()

    def note(self, head: Head) -> None:
        """The agent was heard of just now."""
        if head.to_be_noted:
            with self._lock:
                self._heard.add(head.instance_id)

    def _work(self) -> None:
        while not self._stopping.wait(WRITE_SECONDS):
            self._try()
        self._try()

    def _try(self) -> None:
        try:
            with self._app.app_context():
                self.write()
        except Exception as error:  # who is there is heard of again before it is taken for lost
            log.warning("the freshness of agents was not written: %s", error)

    def write(self) -> None:
        """Write what was noted since the last time."""
        with self._lock:
            heard, self._heard = sorted(self._heard), set()
        for first in range(0, len(heard), _AT_ONCE):
            with transaction() as session:
                session.execute(
                    update(Agent)
                    .where(Agent.instance_id.in_(heard[first : first + _AT_ONCE]))
                    .values(last_seen_at=moment()),
                    execution_options={"synchronize_session": False},
                )
