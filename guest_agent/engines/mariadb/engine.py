"""The MariaDB engine: a data directory, two option files, and a process."""

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
from guest_agent.engines.mariadb.configuration import DERIVED, Configuration, Places
from guest_agent.engines.mariadb.session import Session, administrator, meaning, session
from guest_agent.files import own_folder
from guest_agent.protocol import (
    Catalogue,
    DeletionPolicy,
    DesiredDatabase,
    DesiredEngine,
    DesiredUser,
    SeenConfiguration,
    SeenDatabase,
    SeenUser,
)

_USUAL = (Path("/usr/sbin"), Path("/usr/bin"), Path("/usr/local/sbin"), Path("/usr/local/bin"))
_START_PATIENCE = 300.0  # InnoDB may have to recover first
_STOP_PATIENCE = 600.0
_POLL = 0.02


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
        self._places = Places(home)
        self._configuration = Configuration(self._places, lambda: self._program("mariadbd"))

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
        self.initialise()
        self._configuration.prepare(engine, parameters)

    @programs.engine_errors()
    def initialise(self) -> None:
        """Make the data directory beside its place and move it there when it is whole."""
        programs.refuse_root(self.home.account)
        for folder in (self.home.data, self.home.run, self._places.temporary):
            own_folder(folder, self.home.account)
        if (self._places.datadir / "mysql").exists():
            return
        if self._places.datadir.exists() and any(self._places.datadir.iterdir()):
            raise EngineError(f"{self._places.datadir} holds something that is no MariaDB: move it away")
        new = self.home.data / "mariadb.new"
        shutil.rmtree(new, ignore_errors=True)
        own_folder(new, self.home.account)
        base = [f"--basedir={self.home.binaries.parent}"] if self.home.binaries else []
        done = programs.run(
            [
                self._program("mariadb-install-db"),
                "--no-defaults",
                *base,
                f"--datadir={new}",
                f"--tmpdir={self._places.temporary}",
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
        if self._places.datadir.exists():
            self._places.datadir.rmdir()
        new.replace(self._places.datadir)

    @programs.engine_errors()
    def start(self, engine: DesiredEngine) -> None:
        started = self._process()
        if not started:
            self._configuration.note_start()
            started = programs.start(
                [self._program("mariadbd"), f"--defaults-file={self._places.options}"],
                pid_file=self._places.noted_pid,
                log=self._places.log,
                account=self.home.account,
                cwd=self._places.datadir,
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
                words = meaning(programs.words(self._places.log))
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
        return programs.running(self._places.noted_pid, self._places.own_pid, self._places.datadir)

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
            "parameters": [variables.parameter(variable, DERIVED) for _, variable in sorted(found.items())],
            "character_sets": character_sets,
        }

    @programs.engine_errors()
    def apply_configuration(
        self, engine: DesiredEngine, parameters: Mapping[str, str]
    ) -> SeenConfiguration:
        programs.trim(self._places.log)
        return self._configuration.apply(engine, parameters)

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

    def drop_user(self, name: str, host: str, policy: DeletionPolicy = "reassign") -> str | None:
        """Drop the account and end its sessions.

        Views, routines, triggers and events that have it as DEFINER stay, and fail when they are used, as
        MariaDB cannot give them to another; the sentence names them. Tables have no owner.
        """
        with self._session() as server:
            return accounts.drop(server, name, host, policy)

    def _session(self) -> AbstractContextManager[Session]:
        return session(self._places.socket)
