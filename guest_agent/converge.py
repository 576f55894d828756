"""Making the engine what a directive says, one pass after another."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from guest_agent import PROTOCOL, __version__, logs
from guest_agent.engines.base import Engine, EngineError
from guest_agent.objects import ObjectPass, unforeseen
from guest_agent.protocol import (
    ABILITIES,
    Directive,
    EngineState,
    PendingParameter,
    Report,
    SeenConfiguration,
    SeenEngine,
    restarting,
)
from guest_agent.state import StateFile
from guest_agent.volume import Volume, used

_VOLUME_SECONDS = 30
_CONFIGURATION = "configuration"
"""Its key among the settled objects."""

log = logging.getLogger(__name__)


class Converger:
    """Runs passes and says after each, and at each change of the engine, what it saw.

    `tell` gets a report whose `repairs` are those since the last call.
    """

    def __init__(
        self,
        engine: Engine,
        state: StateFile,
        tell: Callable[[Report], None],
        volume: Volume | None = None,
    ) -> None:
        self._engine = engine
        self._volume = volume
        self._state = state
        self._tell = tell
        self._repairs: list[str] = []
        self._was_up = False
        self._lost = False
        self._version: str | None = None
        self._unhelped: list[PendingParameter] = []
        self._volume_seen = -float(_VOLUME_SECONDS)
        self._report = Report(
            protocol=PROTOCOL,
            abilities=ABILITIES,
            run="",
            sequence=0,
            agent_version=__version__,
            etag=None,
            converged_etag=None,
            engine=SeenEngine(
                state="stopped",
                version=None,
                started_at=state.now.started_at,
                restarts=state.now.starts,
                message="",
            ),
            volume_used=0,
            configuration=SeenConfiguration(in_sync=False, pending_restart=[], errors={}),
            restart_done=state.now.restart_done,
            databases=[],
            users=[],
            seen_databases=[],
            seen_users=[],
            repairs=[],
            wait=0,
        )

    def tell(self) -> None:
        """Say what is known so far."""
        repairs, self._repairs = self._repairs, []
        self._tell({**self._report, "repairs": repairs})

    def lost(self) -> bool:
        """Whether the engine, up until now, has ended by itself; told once."""
        if not self._was_up or self._engine.running():
            return False
        self._lost = True
        self._fail(f"{self._engine.manager} ended by itself; it is being started again.")
        return True

    def run(self, directive: Directive) -> bool:
        """One pass. True when the engine is up; how each object went is in the report."""
        with logs.done_for(self._asked_by(directive)):
            return self._run(directive)

    def _asked_by(self, directive: Directive) -> str | None:
        """The request that the directive is for, until a pass has come to its end; then it is kept so."""
        settled = self._state.now.settled_etag == directive["etag"]
        return None if settled else directive.get("request_id")

    def _run(self, directive: Directive) -> bool:
        try:
            if self._volume:
                self._volume.ensure()
            self._converge_engine(directive)
            self._converge_objects(directive)
        except EngineError as error:
            self._fail(str(error))
        except Exception as error:
            log.exception("the pass broke off")
            self._fail(unforeseen(error))
        else:
            self._was_up = True
            self._see("running")
        return self._was_up

    def get_ahead(self) -> None:
        """Make the engine's data directory before it is known what else is wanted."""
        try:
            if self._volume:
                self._volume.ensure()
            self._see_that_data_is_there()
            self._engine.initialise()
        except EngineError as error:
            log.warning("%s: %s", self._engine.manager, error)  # the first pass finds and reports it

    def _see_that_data_is_there(self) -> None:
        """An engine that ran before must not begin anew with nothing. Raises EngineError."""
        data = self._engine.home.data
        if self._state.now.starts and not (data.is_dir() and any(data.iterdir())):
            raise EngineError(
                f"{self._engine.manager} ran here before, and now there is nothing in {data}: its data"
                " is gone. Put it back, or delete the instance."
            )

    def stop(self) -> None:
        """Stop the engine. Raises EngineError."""
        self._was_up = self._lost = False
        if self._engine.running():
            log.info("stopping %s", self._engine.manager)
            self._engine.stop()
        self._see("stopped")

    def _fail(self, message: str) -> None:
        self._was_up = False
        log.warning("%s: %s", self._engine.manager, message)
        self._measure_volume()
        self._see("failed", message)

    def _see(self, state: EngineState, message: str = "") -> None:
        now = self._state.now
        self._report["engine"] = SeenEngine(
            state=state,
            version=self._version,
            started_at=now.started_at,
            restarts=now.starts,
            message=message,
        )
        self.tell()

    def _measure_volume(self) -> None:
        if time.monotonic() - self._volume_seen >= _VOLUME_SECONDS:
            place = self._volume.mount_point if self._volume else self._engine.home.data
            self._report["volume_used"] = used(place)
            self._volume_seen = time.monotonic()

    def _converge_engine(self, directive: Directive) -> None:
        engine, wanted, parameters = self._engine, directive["engine"], directive["parameters"]
        if wanted["manager"] != engine.manager:
            raise EngineError(
                f"This guest has {engine.manager}, and cannot become {wanted['manager']}; "
                "create a new instance for it."
            )
        up = engine.running()
        if not up:
            self._see("preparing", self._report["engine"]["message"])
            self._see_that_data_is_there()
        engine.prepare(wanted, parameters)
        if up and (reason := self._restart_reason(directive)):
            self._restart(directive, reason)
        elif up:
            engine.health()
        else:
            self._start(directive)
        self._version = self._version or engine.version()
        self._report["restart_done"] = self._state.now.restart_done
        self._configure(directive)

    def _restart_reason(self, directive: Directive) -> str | None:
        now = self._state.now
        if directive["restart"] not in (None, now.restart_done):
            return f"restart {directive['restart']} is asked for"
        if now.started_with is None:
            return None
        changed = restarting(now.started_with, directive["engine"])
        return f"{', '.join(changed)} changed" if changed else None

    def _restart(self, directive: Directive, reason: str) -> None:
        log.info("restarting %s: %s", self._engine.manager, reason)
        self._was_up = False
        self._see("starting")
        self._engine.stop()
        self._start(directive)

    def _start(self, directive: Directive) -> None:
        """Start the stopped engine; any start covers the newest restart action.

        All this is noted while the engine is down. Killed after that, the next agent finds it down
        and starts it; killed before, it finds the reason again: no restart is lost or done twice.
        """
        now = self._state.now
        log.info("starting %s", self._engine.manager)
        self._state.update(
            restart_done=directive["restart"] or now.restart_done,
            starts=now.starts + 1,
            started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            started_with=directive["engine"],
        )
        self._version = None  # the binary may be another one now
        self._see("starting", self._report["engine"]["message"])
        self._engine.start(directive["engine"])
        log.info("%s answers", self._engine.manager)
        if self._lost:
            self._lost = False
            self._repaired(f"Started {self._engine.manager} again after it had ended by itself.")

    def _configure(self, directive: Directive) -> None:
        engine, wanted, parameters = self._engine, directive["engine"], directive["parameters"]
        seen = engine.apply_configuration(wanted, parameters)
        changed = seen.pop("changed", [])
        if seen["pending_restart"] and directive["restart_policy"] == "automatic":
            # A restart that did not help before would not help now.
            if seen["pending_restart"] != self._unhelped:
                names = ", ".join(parameter["name"] for parameter in seen["pending_restart"])
                self._restart(directive, f"{names} take effect at a start")
                seen = engine.apply_configuration(wanted, parameters)
                changed += [name for name in seen.pop("changed", []) if name not in changed]
            self._unhelped = seen["pending_restart"]
        for name in changed:
            self._did(_CONFIGURATION, f"Set parameter {name} right.", directive)
        self._report["configuration"] = seen

    def _converge_objects(self, directive: Directive) -> None:
        objects = ObjectPass(self._engine, lambda key, said: self._did(key, said, directive))
        objects.run(directive)
        self._report["databases"] = objects.databases(directive)
        self._report["users"] = objects.users(directive)
        self._report["converged_etag"] = directive["etag"]
        self._state.update(
            settled_etag=directive["etag"],
            settled=[_CONFIGURATION, *objects.settled(directive)],
        )
        self._measure_volume()
        if not _drops(directive):
            self._see("running")  # looking through the engine, below, takes longer than many a change
        self._report["seen_databases"] = self._engine.databases()
        self._report["seen_users"] = self._engine.users()

    def _did(self, key: str, sentence: str, directive: Directive) -> None:
        """Note a change made: a repair when the object had been right under this very directive."""
        now = self._state.now
        if now.settled_etag == directive["etag"] and key in now.settled:
            self._repaired(sentence)
        else:
            log.info("%s", sentence)

    def _repaired(self, sentence: str) -> None:
        log.info("repaired: %s", sentence)
        self._repairs.append(sentence)


def _drops(directive: Directive) -> bool:
    """Whether an old look at the engine would show what is gone by now."""
    return any(each["state"] == "absent" for each in (*directive["databases"], *directive["users"]))
