"""Option files, and making what runs what is wanted."""

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from guest_agent.engines import programs
from guest_agent.engines.base import EngineError, Home, unwritable
from guest_agent.engines.mariadb import variables
from guest_agent.engines.mariadb.session import Session, meaning, session
from guest_agent.files import update
from guest_agent.protocol import DesiredEngine, PendingParameter, SeenConfiguration

DERIVED = (
    "aria_pagecache_buffer_size",
    "character_set_server",
    "collation_server",
    "innodb_buffer_pool_size",
    "innodb_log_file_size",
    "max_connections",
)
"""Their defaults come from the flavor."""
_LONGEST_LINE = 4094
"""Bytes of a line in an option file; the engine reads what is past them as the next option.
https://github.com/MariaDB/server/blob/10.11/mysys/my_default.c"""
_JUDGED_RUNNING = {"default_storage_engine", "time_zone"}
"""Dynamic parameters whose text only a running server judges; a start with a wrong one fails."""


@dataclass(frozen=True)
class Places:
    """What lies where in a home."""

    home: Home

    @property
    def datadir(self) -> Path:
        return self.home.data / "mariadb"

    @property
    def temporary(self) -> Path:
        """Of this server alone: each start removes what looks like a temporary table there."""
        return self.home.data / "tmp"

    @property
    def log(self) -> Path:
        return self.home.data / "server.log"

    @property
    def noted_pid(self) -> Path:
        return self.home.run / "mariadb.pid"

    @property
    def own_pid(self) -> Path:
        return self.home.run / "server.pid"

    @property
    def socket(self) -> Path:
        return self.home.run / "mariadb.sock"

    @property
    def options(self) -> Path:
        return self.home.data / "my.cnf"


class Configuration:
    """The option files of one home, and the variables of the server that runs there."""

    def __init__(self, places: Places, server: Callable[[], Path]) -> None:
        self._places = places
        self._server = server
        self._judged: tuple[dict[str, str], dict[str, str]] | None = None
        self._options: dict[str, str] | None = None
        self._made: dict[str, tuple[str, str | None]] = {}
        """Parameter -> the value asked for, and what the engine rounded it to."""

    def prepare(self, engine: DesiredEngine, parameters: Mapping[str, str]) -> None:
        """Write the files for a start, without what the engine refuses or refused before."""
        refused, written = self._read("refused.json"), self._read("wanted.json")
        unread = self._unread(parameters)
        named = {
            name: value
            for name, value in parameters.items()
            if name not in unread
            and refused.get(name) != value
            and (name not in _JUDGED_RUNNING or written.get(name) == value)
        }
        self._write_options(engine, named)

    def note_start(self) -> None:
        """Keep what a start reads, to tell later what came after it."""
        self._write("started.json", self._read("wanted.json"))

    def apply(self, engine: DesiredEngine, parameters: Mapping[str, str]) -> SeenConfiguration:
        """Set what is dynamic, write the files, tell the rest."""
        unread = self._unread(parameters)
        with session(self._places.socket) as server:
            known = variables.read(server)
            errors = {
                name: reason
                for name, value in parameters.items()
                if (reason := _refusal(known, name, value) or unread.get(name))
            }
            accepted = _without(errors, parameters)
            refused, changed = self._set(server, known, self._goal(server, engine, accepted))
            if refused:  # they go back to what a start gives them
                errors |= refused
                accepted = _without(errors, parameters)
                known = variables.read(server)
                changed += self._set(server, known, self._goal(server, engine, accepted))[1]
        self._write_options(engine, accepted)
        self._write("refused.json", {name: parameters.get(name) for name in errors})
        pending = self._pending(known, _over(self._flavor(engine), accepted))
        return {
            "in_sync": not pending and not errors,
            "pending_restart": pending,
            "errors": errors,
            "changed": sorted(set(changed)),
        }

    def _goal(self, server: Session, engine: DesiredEngine, accepted: Mapping[str, str]) -> dict[str, str]:
        """What is to run: Coffret's own, the flavor's, the user's."""
        wanted = _over(self._flavor(engine), accepted)
        follows = variables.collation(server, wanted.get("character_set_server", ""))
        return self._own(engine) | ({"collation_server": follows} if follows else {}) | wanted

    def _unread(self, parameters: Mapping[str, str]) -> dict[str, str]:
        """The parameters that the engine would not read from a file, each with its reason; kept."""
        if self._judged and self._judged[0] == parameters:
            return self._judged[1]
        refused = {
            name: reason for name, value in parameters.items() if (reason := self._unwritable(name, value))
        }
        taken = _without(refused, parameters)
        if taken and self._complaint(taken):
            ones, taken = taken, {}
            for name, value in ones.items():
                if reason := self._complaint({**taken, name: value}):
                    refused[name] = reason
                else:
                    taken[name] = value
        self._judged = dict(parameters), refused
        return refused

    def _complaint(self, parameters: Mapping[str, str]) -> str | None:
        """What the engine says to a file with these, which it only reads; None: it takes them."""
        trial = self._places.home.data / "trial.cnf"
        try:
            update(trial, self._text(parameters), self._places.home.account)
            done = self._read_only(f"--defaults-file={trial}")
        finally:
            trial.unlink(missing_ok=True)
        lines = [line for line in done.stdout.splitlines() if "[ERROR]" in line or "wasn't recog" in line]
        if not lines and not done.returncode:
            return None
        return meaning(lines) if lines else "MariaDB does not take this value"

    def _known(self) -> dict[str, str]:
        """Every option of this engine with its default, by the names that option files take."""
        if self._options is None:
            said = self._read_only("--no-defaults").stdout
            self._options = variables.options(said)
            if not self._options:
                raise EngineError(f"MariaDB does not tell its options: {meaning(said.splitlines())}")
        return self._options

    def _read_only(self, where: str) -> subprocess.CompletedProcess[str]:
        """Have the engine read its options, tell them, and end."""
        base = [f"--basedir={binaries.parent}"] if (binaries := self._places.home.binaries) else []
        folders = [f"--datadir={self._no_files()}", f"--tmpdir={self._places.temporary}"]
        return programs.run(
            [self._server(), where, *base, *folders, "--verbose", "--help"],
            self._places.home.account,
            timeout=30,
        )

    def _unwritable(self, name: str, value: str) -> str | None:
        """Why this cannot stand in an option file, or None."""
        if variables.owned(name):
            return "Coffret sets this one itself"
        default = self._known().get(variables.option(name))
        if default is None:
            return "no such parameter"
        if reason := unwritable(value):
            return reason
        if len(self._line(name, value).encode()) > _LONGEST_LINE:
            return f"too long: a line of an option file has at most {_LONGEST_LINE} bytes"
        if variables.number(default) is not None and variables.number(value) is None:
            return f"{value!r} is no number"  # the engine would take what it can, or 0
        return None

    def _text(self, values: Mapping[str, str]) -> str:
        return "[mariadbd]\n" + "".join(self._line(name, value) for name, value in values.items())

    def _line(self, name: str, value: str) -> str:
        """One option, whatever the value holds. https://mariadb.com/kb/en/option-files/"""
        escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b"}
        option = variables.option(name)
        if self._known().get(option) in ("TRUE", "FALSE"):
            value = {"yes": "1", "no": "0"}.get(value.lower(), value)  # it takes `yes` for OFF
        return f'{option} = "{"".join(escapes.get(c, c) for c in value)}"\n'

    def _set(
        self, server: Session, known: Mapping[str, variables.Variable], wanted: Mapping[str, str]
    ) -> tuple[dict[str, str], list[str]]:
        """Set what is dynamic and differs; what is not wanted goes back to its default.

        Returns the engine's reasons where it refused, and the names of those that changed.
        """
        errors, changed = {}, []
        aliased = {known[name].alias for name in wanted if name in known}
        for name, variable in sorted(known.items()):  # a character set before its collation
            value = wanted.get(name)
            if not variable.dynamic or variable.value is None:
                continue
            if value is None:
                told_otherwise = name in aliased or variable.alias in wanted
                if told_otherwise or not variable.touched or not variable.settable:
                    continue
                value = variable.default
            if value is None or variable.holds(value):
                continue
            if self._made.get(name) == (value, variable.value):
                continue
            try:
                server.run(f"SET GLOBAL {name} = %s", variable.literal(value))
            except EngineError as error:
                errors[name] = str(error)
                continue
            now = variables.value(server, name)
            self._made[name] = (value, now)
            if now != variable.value:
                changed.append(name)
        return errors, changed

    def _pending(
        self, known: Mapping[str, variables.Variable], wanted: Mapping[str, str]
    ) -> list[PendingParameter]:
        """What only a start reads and has not been there at the last one."""
        started = self._read("started.json")
        return [
            {"name": name, "running": variable.value, "desired": wanted.get(name)}
            for name in sorted(started.keys() | wanted.keys())
            if (variable := known.get(name))
            and not variable.dynamic
            and not variable.same(started.get(name), wanted.get(name))
        ]

    def _own(self, engine: DesiredEngine) -> dict[str, str]:
        """What Coffret sets and no user may."""
        binaries = self._places.home.binaries
        return {
            **({"basedir": str(binaries.parent)} if binaries else {}),
            "datadir": str(self._places.datadir),
            "tmpdir": str(self._places.temporary),
            "socket": str(self._places.socket),
            "pid_file": str(self._places.own_pid),
            "bind_address": ",".join(engine["listen"]),
            "port": str(engine["port"]),
            "plugin_load_add": "auth_ed25519",
            "skip_name_resolve": "ON",
            "local_infile": "OFF",
            "secure_file_priv": str(self._no_files()),
        }

    def _flavor(self, engine: DesiredEngine) -> dict[str, str]:
        """Defaults that follow from the flavor; the user may set others."""
        ram = engine["ram"]
        pool = max(16, ram * 60 // 100)
        return {
            "character_set_server": "utf8mb4",
            "innodb_buffer_pool_size": str(pool << 20),
            "innodb_log_file_size": str(min(1024, max(32, pool // 4)) << 20),
            "aria_pagecache_buffer_size": str(max(8, ram // 32) << 20),
            "max_connections": str(min(4000, max(50, ram // 8))),
        }

    def _write_options(self, engine: DesiredEngine, parameters: Mapping[str, str]) -> None:
        """The agent's file, which takes in the user's last, so that its values win."""
        self._no_files()
        named = self._places.home.data / "parameters.cnf"
        for path, values, rest in (
            (named, parameters, ""),
            (
                self._places.options,
                self._own(engine) | _over(self._flavor(engine), parameters),
                f"!include {named}\n",
            ),
        ):
            update(path, self._text(values) + rest, self._places.home.account)
        self._write("wanted.json", _over(self._flavor(engine), parameters))

    def _no_files(self) -> Path:
        """A folder that stays empty."""
        folder = self._places.home.data / "no-files"
        folder.mkdir(exist_ok=True)
        return folder

    def _write(self, name: str, values: Mapping[str, str | None]) -> None:
        update(self._places.home.data / name, json.dumps(values, indent=1), None)

    def _read(self, name: str) -> dict[str, str]:
        try:
            return dict(json.loads((self._places.home.data / name).read_text()))
        except (OSError, ValueError):
            return {}


def _over(flavor: Mapping[str, str], parameters: Mapping[str, str]) -> dict[str, str]:
    """The flavor's defaults under the user's parameters; a collation brings its character set."""
    wanted = {**flavor, **parameters}
    if "collation_server" in parameters and "character_set_server" not in parameters:
        del wanted["character_set_server"]
    return wanted


def _without(refused: Mapping[str, str], parameters: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if name not in refused}


def _refusal(known: Mapping[str, variables.Variable], name: str, value: str) -> str | None:
    variable = known.get(name)
    if variable is None:
        return "no such parameter"
    if not variable.settable:
        return "Coffret sets this one itself"
    return variable.refusal(value)
