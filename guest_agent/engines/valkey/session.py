"""Talking to a server over its socket, and waiting for one to come up."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import valkey as driver

from guest_agent.engines import programs
from guest_agent.engines.base import EngineError

ADMIN = "coffret_admin"
_PATIENCE = 60.0
_POLL = 0.02


class Session:
    """One connection. Answers come as the engine gives them, texts decoded."""

    def __init__(self, client: "driver.Valkey") -> None:
        self._client = client

    def ask(self, *words: str) -> Any:
        return self._client.execute_command(*words)  # type: ignore[no-untyped-call]

    def configuration(self) -> dict[str, str]:
        """Every parameter that CONFIG GET lists."""
        found: list[str] = self.ask("CONFIG", "GET", "*")
        return dict(zip(found[::2], found[1::2], strict=True))


@contextmanager
def session(socket: Path, password: str | None = None) -> Iterator[Session]:
    """A connection as the agent's user; without a password as whoever the server lets in."""
    client = driver.Valkey(
        unix_socket_path=str(socket),
        username=ADMIN if password else None,
        password=password,
        decode_responses=True,
        socket_timeout=30,
        lib_name=None,
        lib_version=None,
    )
    try:
        yield Session(client)
    finally:
        client.connection_pool.disconnect()


@contextmanager
def spoken() -> Iterator[None]:
    """Turn the driver's errors into the user's."""
    try:
        yield
    except driver.ResponseError as error:
        raise EngineError(str(error)) from error
    except driver.ValkeyError as error:
        raise EngineError(f"Valkey does not answer: {error}") from error


def wait(started: psutil.Process, log: Path, socket: Path, password: str | None = None) -> None:
    """Return once the server answers. Raises EngineError with its last words when it died."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with session(socket, password) as server:
                server.ask("PING")
                return
        except driver.BusyLoadingError:
            deadline = time.monotonic() + _PATIENCE  # it reads its data: that takes what it takes
        except driver.AuthenticationError as error:
            raise EngineError(f"Valkey runs, but does not know the agent: {error}") from error
        except driver.ValkeyError:
            pass
        if programs.died(started):
            raise EngineError(f"Valkey did not start: {_meaning(log)}")
        if time.monotonic() > deadline:
            raise EngineError(f"Valkey does not answer for {_PATIENCE:.0f} s: {_meaning(log)}")
        time.sleep(_POLL)


def _meaning(log: Path) -> str:
    """The warnings at the end of a log, without process ids and times."""
    lines = programs.words(log)
    loud = [line for line in lines if " # " in line or not re.match(r"\d+:[A-Z] ", line)]
    words = [re.sub(r"^\d+:[A-Z] .*? [#*.-] ", "", line) for line in loud or lines]
    return " ".join(words[-5:]).strip() or "it said nothing"
