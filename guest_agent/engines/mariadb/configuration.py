"""Option files, and making what runs what is wanted."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from guest_agent.engines.base import EngineError, Home
from guest_agent.engines.mariadb import variables
from guest_agent.engines.mariadb.session import Session, session
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


@dataclass(frozen=True)
class Places:
    """What lies where in a home."""

    home: Home

    @property
    def datadir(self) -> Path:
        return self.home.data / "mariadb"

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

    def __init__(self, places: Places) -> None:
        self._places = places
        self._made: dict[str, tuple[str, str | None]] = {}
        """Parameter -> the value asked for, and what the engine rounded it to."""

    def prepare(self, engine: DesiredEngine, parameters: Mapping[str, str]) -> None:
        """Write the files for a start, without what the engine refused before."""
        refused = self._read("refused.json")
        named = {
            name: value
            for name, value in parameters.items()
            if not variables.owned(name) and refused.get(name) != value
        }
        self._write_options(engine, named)

    def note_start(self) -> None:
        """Keep what a start reads, to tell later what came after it."""
        self._write("started.json", self._read("wanted.json"))

    def apply(self, engine: DesiredEngine, parameters: Mapping[str, str]) -> SeenConfiguration:
        """Set what is dynamic, write the files, tell the rest."""
        with session(self._places.socket) as server:
            known = variables.read(server)
            errors = {
                name: reason
                for name, value in parameters.items()
                if (reason := _refusal(known, name, value))
            }
            accepted = {name: value for name, value in parameters.items() if name not in errors}
            wanted = _over(self._flavor(engine), accepted)
            follows = variables.collation(server, wanted.get("character_set_server", ""))
            goal = {**({"collation_server": follows} if follows else {}), **wanted}
            refused, changed = self._set(server, known, self._own(engine) | goal)
            errors |= refused
        accepted = {name: value for name, value in accepted.items() if name not in errors}
        self._write_options(engine, accepted)
        self._write("refused.json", {name: parameters.get(name) for name in errors})
        pending = self._pending(known, _over(self._flavor(engine), accepted))
        return {
            "in_sync": not pending and not errors,
            "pending_restart": pending,
            "errors": errors,
            "changed": changed,
        }

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
            "socket": str(self._places.socket),
            "pid_file": str(self._places.own_pid),
            "bind_address": ",".join(engine["listen"]),
            "port": str(engine["port"]),
            "plugin_load_add": "auth_ed25519",
            "skip_name_resolve": "ON",
            "local_infile": "OFF",
            "secure_file_priv": str(self._places.home.data / "no-files"),
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
        (self._places.home.data / "no-files").mkdir(exist_ok=True)
        named = self._places.home.data / "parameters.cnf"
        for path, values, rest in (
            (named, parameters, ""),
            (
                self._places.options,
                self._own(engine) | _over(self._flavor(engine), parameters),
                f"!include {named}\n",
            ),
        ):
            lines = [_line(name, value) for name, value in values.items()]
            text = "[mariadbd]\n" + "".join(lines) + rest
            update(path, text, self._places.home.account)
        self._write("wanted.json", _over(self._flavor(engine), parameters))

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


def _line(name: str, value: str) -> str:
    """One option, whatever the value holds. https://mariadb.com/kb/en/option-files/"""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b"}
    value = {"yes": "1", "no": "0"}.get(value.lower(), value)  # it takes `yes` for OFF
    option, _ = variables.OPTIONS.get(name, (name, None))
    return f'{option} = "{"".join(escapes.get(c, c) for c in value)}"\n'


def _refusal(known: Mapping[str, variables.Variable], name: str, value: str) -> str | None:
    variable = known.get(name)
    if variable is None:
        return "no such parameter"
    if not variable.settable:
        return "Coffret sets this one itself"
    return variable.refusal(value)
