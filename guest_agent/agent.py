"""The agent's life: one engine, one directive at a time, until told to end."""

import fcntl
import logging
import os
import signal
import time
from enum import Enum
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Self

import psutil

from guest_agent import engines, process, settings
from guest_agent.backoff import Backoff
from guest_agent.converge import Converger
from guest_agent.engines.base import Account, Engine, EngineError
from guest_agent.settings import Settings
from guest_agent.state import StateFile
from guest_agent.sync import Sync
from guest_agent.volume import Volume

_LOOK_SECONDS = 1.0
"""How often the agent looks whether the engine still runs."""
_STABLE_SECONDS = 30
"""An engine that ran this long and then ended is started again without delay."""
_STOP_SECONDS = 10
"""How long `stop` leaves it to the agent; then it ends that and stops the engine itself."""

log = logging.getLogger(__name__)


class Event(Enum):
    DIRECTIVE = "a new directive is there"
    STOP = "stop the engine and end"
    LEAVE = "end and leave the engine running"
    GONE = "the instance is gone"


class Lock:
    """At most one agent at work in a home; the kernel frees it whichever way the agent ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, home: Path) -> Self | None:
        """The lock, or None while someone else has it."""
        descriptor = os.open(home / "agent.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(descriptor)

    def release(self) -> None:
        os.close(self._descriptor)


class Agent:
    """Needs the home's Lock."""

    def __init__(self, home: Path, known: Settings, engine: Engine, volume: Volume | None) -> None:
        self._known = known
        self._engine = engine
        # Its put() may be called from a signal handler, unlike that of other queues and conditions.
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._state = StateFile(home)
        self._sync = Sync(
            home,
            known,
            self._state,
            on_directive=lambda: self._events.put(Event.DIRECTIVE),
            on_gone=lambda: self._events.put(Event.GONE),
        )
        self._converger = Converger(engine, self._state, self._sync.tell, volume)
        self._failures = Backoff(0.5, 30)
        self._tried_etag: str | None = None
        self._next_pass = 0.0
        self._up_since: float | None = None

    def run(self) -> int:
        """Work until told to end. Returns the exit code."""
        for number, event in (
            (signal.SIGTERM, Event.STOP),
            (signal.SIGINT, Event.STOP),
            (signal.SIGUSR2, Event.LEAVE),
        ):
            signal.signal(number, self._on_signal(event))
        log.info("agent for %s at work", self._known.manager)
        if self._state.now.directive is None:
            self._converger.tell()
        self._sync.start()
        if self._state.now.directive is None and self._known.binaries:
            self._converger.get_ahead()
        while True:
            self._look()
            try:
                event = self._events.get(timeout=_LOOK_SECONDS)
            except Empty:
                continue
            if event is not Event.DIRECTIVE:
                return self._end(event)

    def _on_signal(self, event: Event) -> "signal._HANDLER":
        def handle(_number: int, _frame: FrameType | None) -> None:
            self._events.put(event)

        return handle

    def _look(self) -> None:
        """Run a pass if one is due."""
        directive = self._state.now.directive
        if directive is None:
            return
        if directive["etag"] != self._tried_etag:
            self._failures.reset()
            self._next_pass = 0
        elif self._converger.lost():
            pause = 0 if self._stable() else self._failures.next()
            self._up_since = None
            self._next_pass = time.monotonic() + pause
        if time.monotonic() < self._next_pass:
            return
        self._tried_etag = directive["etag"]
        if self._converger.run(directive):
            self._up_since = self._up_since or time.monotonic()
            if self._stable():
                self._failures.reset()
            self._next_pass = time.monotonic() + self._known.drift_seconds
        else:
            self._up_since = None
            self._next_pass = time.monotonic() + self._failures.next()

    def _stable(self) -> bool:
        since = self._up_since
        return since is not None and time.monotonic() - since >= _STABLE_SECONDS

    def _end(self, event: Event) -> int:
        log.info("ending: %s", event.value)
        if event is Event.LEAVE:
            return 0
        try:
            self._converger.stop()
        except EngineError as error:
            log.error("%s does not stop: %s", self._known.manager, error)
            return 1
        if event is Event.GONE:
            self._state.update(directive=None)  # or the next agent would start the engine
        else:
            self._sync.farewell()
        return 0


def run(home: Path) -> int:
    """Be the agent of `home`. Raises SettingsError and EngineError when it cannot be."""
    known = settings.read(home)
    lock = Lock.take(home)
    if lock is None:
        log.info("another agent is at work in %s; nothing to do", home)
        return 0
    process.note(psutil.Process(), _pid_file(home))
    owner = settings.account(known.account)
    return Agent(home, known, _engine(known, owner), settings.volume(known, owner)).run()


def stop(home: Path) -> int:
    """End the agent of `home`, if there is one, and its engine.

    Raises SettingsError and EngineError.
    """
    known = settings.read(home)
    deadline = time.monotonic() + _STOP_SECONDS
    asked = None
    while (lock := Lock.take(home)) is None:
        agent = process.find(_pid_file(home))
        if agent is not None and agent != asked:
            agent.send_signal(signal.SIGTERM)
            asked = agent
        elif agent is not None and time.monotonic() > deadline:
            agent.kill()
        time.sleep(0.05)
    engine = _engine(known, settings.account(known.account))
    if engine.running():
        engine.stop()
        log.info("%s is stopped", known.manager)
    lock.release()
    return 0


def _engine(known: Settings, owner: Account | None) -> Engine:
    return engines.plugin(known.manager)(settings.home(known, owner))


def _pid_file(home: Path) -> Path:
    return home / "agent.pid"
