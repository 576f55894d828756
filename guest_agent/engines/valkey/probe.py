"""The parameter catalogue, asked of a scratch server: it has no descriptions, but its errors tell.

A value that cannot be right is answered with the type and the choices, the two ends of 64 bits with
the range, and what cannot change while it runs says so.
"""

import re
import shutil
import signal
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import valkey as driver

from guest_agent import process
from guest_agent.engines.base import Home
from guest_agent.engines.valkey import settings
from guest_agent.engines.valkey.session import Session, session, wait
from guest_agent.protocol import Parameter

_NONSENSE = "~nonsense~"
_ENDS = ("9223372036854775807", "-9223372036854775808")


@contextmanager
def scratch(home: Home, server: Path) -> Iterator[Session]:
    """A session on an empty server with nothing configured, on a socket only."""
    folder = Path(tempfile.mkdtemp(prefix="probe-", dir=home.run))
    try:
        if home.account:
            shutil.chown(folder, home.account.uid, home.account.gid)
        socket, log = folder / "s", folder / "log"
        started = process.spawn(
            [server, "--port", "0", "--unixsocket", socket, "--dir", folder],
            pid_file=folder / "probe.pid",
            log=log,
            account=home.account,
            cwd=folder,
        )
        try:
            wait(started, log, socket)
            with session(socket) as connection:
                yield connection
        finally:
            process.stop(started, signal.SIGKILL, 10)
            process.reap(started.pid)
    finally:
        shutil.rmtree(folder)


def defaults(home: Home, server: Path) -> dict[str, str]:
    """What this engine runs with where nothing is configured, by the newer names."""
    with scratch(home, server) as connection:
        values = connection.configuration()
    return {name: value for name, value in values.items() if not settings.alias(name, values)}


def parameters(home: Home, server: Path, derived: Collection[str]) -> list[Parameter]:
    """Every parameter by its newer name; those in `derived` have their default from the flavor."""
    with scratch(home, server) as connection:
        values = connection.configuration()
        return [
            _parameter(_Asked(home, server, connection, name, default), name in derived)
            for name, default in sorted(values.items())
            if not settings.alias(name, values)
        ]


@dataclass
class _Asked:
    """One parameter of the scratch server."""

    home: Home
    server: Path
    connection: Session
    name: str
    default: str
    fixed: bool = False

    def answer(self, value: str) -> str:
        """What the engine says to this value; empty when it takes it, and gets its default back."""
        try:
            self.connection.ask("CONFIG", "SET", self.name, value)
        except driver.ResponseError as error:
            if not settings.immutable(str(error)):
                return str(error)
            self.fixed = True
            wrong = settings.refused(self.server, self.home.account, {self.name: value})
            return wrong.get(self.name, "")
        self.connection.ask("CONFIG", "SET", self.name, self.default)
        return ""


def _parameter(asked: _Asked, derived: bool) -> Parameter:
    owned = settings.owned(asked.name)
    found: Parameter = {
        "name": asked.name,
        "type": "string",
        "description": "",
        "default": None if owned or derived else asked.default,
        "unit": None,
        "minimum": None,
        "maximum": None,
        "values": None,
        "restart_required": False,
        "settable": not owned,
    }
    if owned:
        return found
    said = asked.answer(_NONSENSE)
    if "'yes' or 'no'" in said:
        found["type"] = "boolean"
    elif choices := re.search(r"must be one of the following: (.*)", said):
        found |= {"type": "enum", "values": choices[1].split(", ")}
    elif said.endswith(("must be a memory value", "into an integer")):
        _number(asked, found, memory=said.endswith("memory value"))
    found["restart_required"] = asked.fixed
    return found


def _number(asked: _Asked, found: Parameter, *, memory: bool) -> None:
    found |= {"type": "integer", "unit": "B" if memory else None}
    if memory:
        found["minimum"] = 0.0
    for end in _ENDS:
        if span := re.search(r"between (-?\d+) and (\d+)", asked.answer(end)):
            found |= {"minimum": float(span[1]), "maximum": float(span[2])}
    if found["maximum"] == float(_ENDS[0]):
        found["maximum"] = None
