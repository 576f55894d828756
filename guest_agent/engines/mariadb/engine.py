"""The MariaDB engine: a data directory, two option files, and a process."""

import json
import shutil
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

import psutil

from guest_agent.engines import programs
from guest_agent.engines.base import Engine, EngineError, Home
from guest_agent.engines.mariadb import accounts, schemas, variables
from guest_agent.engines.mariadb.session import Session, administrator, meaning, session
from guest_agent.protocol import (
    Catalogue,
    DesiredDatabase,
    DesiredEngine,
    DesiredUser,
    PendingParameter,
    SeenConfiguration,
    SeenDatabase,
    SeenUser,
)

_USUAL = (Path("/usr/sbin"), Path("/usr/bin"), Path("/usr/local/sbin"), Path("/usr/local/bin"))
_START_PATIENCE = 300.0  # InnoDB may have to recover first
_STOP_PATIENCE = 600.0
_POLL = 0.02
_DERIVED = (
    "aria_pagecache_buffer_size",
    "character_set_server",
    "collation_server",
    "innodb_buffer_pool_size",
    "innodb_log_file_size",
    "max_connections",
)


def find_binaries(version: str | None = None) -> Path | None:
    """The folder of a mariadbd of this version on PATH or in the usual places."""
    server = programs.find("mariadbd", _USUAL)
    if server and (version is None or f"{_version(server)}.".startswith(f"{version}.")):
        return server.parent
    return None


def _version(server: Path) -> str:
    return programs.version(server, r"Ver (\d[\d.]*)-MariaDB")


class MariaDB(Engine):
    """A MariaDB server whose data directory is `home.data/mariadb`.

    The agent comes in over the socket as the account of its own system user, by unix_socket and
    without any password. Users come in by ed25519, whose verifier is a public key.
    """

    manager: ClassVar[str] = "mariadb"

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self._made: dict[str, tuple[str, str | None]] = {}
        """Parameter -> the value asked for, and what the engine rounded it to."""

    @property
    def _datadir(self) -> Path:
        return self.home.data / "mariadb"

    @property
    def _log(self) -> Path:
        return self.home.data / "server.log"

    @property
    def _pid_file(self) -> Path:
        return self.home.run / "mariadb.pid"

    @property
    def _socket(self) -> Path:
        return self.home.run / "mariadb.sock"

    def _program(self, name: str) -> Path:
        folders = list(_USUAL)
        if binaries := self.home.binaries:  # a tarball has its scripts beside bin
            folders = [binaries, binaries.parent / "scripts", binaries.parent / "bin", *folders]
        found = programs.find(name, folders)
        if not found:
            raise EngineError(f"{name} is not installed: install mariadb-server")
        return found

    @programs.engine_errors()
    def prepare(self, engine: DesiredEngine, parameters: Mapping[str, str]) -> None:
        programs.refuse_root(self.home.account)
        programs.check_version(engine["version"], self.version())
        for folder in (self.home.data, self.home.run):
            programs.own_folder(folder, self.home.account)
        if not (self._datadir / "mysql").exists():
            self._initialise()
        refused = self._read("refused.json")
        named = {
            name: value
            for name, value in parameters.items()
            if not variables.owned(name) and refused.get(name) != value
        }
        self._write_options(engine, named)

    def _initialise(self) -> None:
        """Make the data directory beside its place and move it there when it is whole."""
        if self._datadir.exists() and any(self._datadir.iterdir()):
            raise EngineError(f"{self._datadir} holds something that is no MariaDB: move it away")
        new = self.home.data / "mariadb.new"
        shutil.rmtree(new, ignore_errors=True)
        programs.own_folder(new, self.home.account)
        base = [f"--basedir={self.home.binaries.parent}"] if self.home.binaries else []
        done = programs.run(
            [
                self._program("mariadb-install-db"),
                "--no-defaults",
                *base,
                f"--datadir={new}",
                "--auth-root-authentication-method=socket",
                f"--auth-root-socket-user={administrator()}",
                "--skip-test-db",
                "--skip-name-resolve",
                "--innodb-buffer-pool-size=32M",
            ],
            self.home.account,
            cwd=self.home.data,
            timeout=300,
        )
        if done.returncode != 0 or not (new / "mysql").exists():
            raise EngineError(f"mariadb-install-db failed: {meaning(done.stdout.splitlines())}")
        if self._datadir.exists():
            self._datadir.rmdir()
        new.replace(self._datadir)

    @programs.engine_errors()
    def start(self, engine: DesiredEngine) -> None:
        started = self._process()
        if not started:
            self._write("started.json", self._read("wanted.json"))
            started = programs.start(
                [self._program("mariadbd"), f"--defaults-file={self.home.data / 'my.cnf'}"],
                pid_file=self._pid_file,
                log=self._log,
                account=self.home.account,
                cwd=self._datadir,
            )
        self._wait(started)

    def _wait(self, started: psutil.Process) -> None:
        deadline = time.monotonic() + _START_PATIENCE
        while True:
            try:
                return self.health()
            except EngineError as error:
                said = str(error)
            if programs.died(started):
                words = meaning(programs.words(self._log))
                raise EngineError(f"MariaDB did not start: {words}")
            if time.monotonic() > deadline:
                raise EngineError(f"MariaDB does not answer for {_START_PATIENCE:.0f} s: {said}")
            time.sleep(_POLL)

    def stop(self) -> None:
        if found := self._process():
            programs.end(found, _STOP_PATIENCE)

    def running(self) -> bool:
        return self._process() is not None

    def _process(self) -> psutil.Process | None:
        return programs.running(self._pid_file, self.home.run / "server.pid", self._datadir)

    def health(self) -> None:
        with self._session() as server:
            server.run("SELECT 1")

    def version(self) -> str:
        return _version(self._program("mariadbd"))

    def catalogue(self) -> Catalogue:
        version = self.version()
        with self._session() as server:
            found = variables.read(server)
            character_sets = schemas.character_sets(server)
        return {
            "datastore": "mariadb",
            "manager": self.manager,
            "version": ".".join(version.split(".")[:2]),
            "engine_version": version,
            "description": f"MariaDB {version}, a relational database",
            "parameters": [
                variables.parameter(variable, _DERIVED) for _, variable in sorted(found.items())
            ],
            "character_sets": character_sets,
        }

    @programs.engine_errors()
    def apply_configuration(
        self, engine: DesiredEngine, parameters: Mapping[str, str]
    ) -> SeenConfiguration:
        programs.trim(self._log)
        with self._session() as server:
            known = variables.read(server)
            errors = {
                name: reason
                for name, value in parameters.items()
                if (reason := _refusal(known, name, value))
            }
            accepted = {name: value for name, value in parameters.items() if name not in errors}
            wanted = _over(self._flavor(engine), accepted)
            refused, changed = self._set(server, known, self._own(engine) | wanted)
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
                touched = variable.origin in ("SQL", "CONFIG") and variable.settable
                if not touched or name in aliased or variable.alias in wanted:
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

    def databases(self) -> list[SeenDatabase]:
        with self._session() as server:
            return schemas.databases(server)

    def ensure_database(self, database: DesiredDatabase) -> str | None:
        if database["owner"]:
            raise EngineError("a MariaDB database has no owner; give the user a grant on it")
        with self._session() as server:
            return schemas.ensure(server, database)

    def drop_database(self, name: str) -> str | None:
        """Drop the database. Grants on it are left to ensure_grants."""
        with self._session() as server:
            return schemas.drop(server, name)

    def users(self) -> list[SeenUser]:
        with self._session() as server:
            return accounts.users(server)

    def ensure_user(self, user: DesiredUser) -> str | None:
        with self._session() as server:
            return accounts.ensure(server, user)

    def ensure_grants(self, user: DesiredUser) -> str | None:
        with self._session() as server:
            return accounts.ensure_grants(server, user)

    def drop_user(self, name: str, host: str) -> str | None:
        """Drop the account and end its sessions.

        Views, routines, triggers and events that it defined stay, and fail when they are used, as
        MariaDB cannot give them to another; tables have no owner.
        """
        with self._session() as server:
            return accounts.drop(server, name, host)

    def _session(self) -> AbstractContextManager[Session]:
        return session(self._socket)

    def _own(self, engine: DesiredEngine) -> dict[str, str]:
        """What Coffret sets and no user may."""
        binaries = self.home.binaries
        return {
            **({"basedir": str(binaries.parent)} if binaries else {}),
            "datadir": str(self._datadir),
            "socket": str(self._socket),
            "pid_file": str(self.home.run / "server.pid"),
            "bind_address": ",".join(engine["listen"]),
            "port": str(engine["port"]),
            "plugin_load_add": "auth_ed25519",
            "skip_name_resolve": "ON",
            "local_infile": "OFF",
            "secure_file_priv": str(self.home.data / "no-files"),
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
        (self.home.data / "no-files").mkdir(exist_ok=True)
        named = self.home.data / "parameters.cnf"
        for path, values, rest in (
            (named, parameters, ""),
            (
                self.home.data / "my.cnf",
                self._own(engine) | _over(self._flavor(engine), parameters),
                f"!include {named}\n",
            ),
        ):
            lines = [_line(name, value) for name, value in values.items()]
            text = "[mariadbd]\n" + "".join(lines) + rest
            programs.write(path, text, self.home.account)
        self._write("wanted.json", _over(self._flavor(engine), parameters))

    def _write(self, name: str, values: Mapping[str, str | None]) -> None:
        programs.write(self.home.data / name, json.dumps(values, indent=1), None)

    def _read(self, name: str) -> dict[str, str]:
        try:
            return dict(json.loads((self.home.data / name).read_text()))
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
    option = variables.OPTIONS.get(name, name)
    return f'{option} = "{"".join(escapes.get(c, c) for c in value)}"\n'


def _refusal(known: Mapping[str, variables.Variable], name: str, value: str) -> str | None:
    variable = known.get(name)
    if variable is None:
        return "no such parameter"
    if not variable.settable:
        return "Coffret sets this one itself"
    return variable.refusal(value)
