"""The databases that tests keep the state in: a file, and throw-away servers on free ports."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import flask_migrate
import psycopg
import pymysql
import pytest
from flask import Flask
from rabbitmq import free_ports
from sqlalchemy import Connection, Table, delete, text

from control_plane.database import db
from control_plane.secrets.keys import DEFAULT_FILE, new_key
from control_plane.settings import Settings

T = TypeVar("T")

ACCOUNT = "nobody"
"""Who the servers run as when the tests run as root."""


class Server(Protocol):
    """A database server with its data in a folder of its own."""

    port: int

    def start(self) -> None:
        """It answers when this returns; also after `stop`."""

    def stop(self) -> None: ...

    def make(self, database: str) -> str:
        """Make an empty database; returns its URL."""


class _Process:
    """A server's process. Its data go to a folder that only its account may enter."""

    name: str
    end = signal.SIGTERM
    """At which it ends at once, though clients are connected."""

    def __init__(self, folder: Path, port: int) -> None:
        self.data = folder / "data"
        self.run = folder / "run"
        self.port = port
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._account = pwd.getpwnam(ACCOUNT) if os.geteuid() == 0 else None
        for place in (self.data, self.run):
            place.mkdir(parents=True, mode=0o700)
            if self._account:
                os.chown(place, self._account.pw_uid, self._account.pw_gid)

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, cwd="/", **self._as_account()
            )
        deadline = time.monotonic() + 60
        while not self.answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(self.end)
            self._process.wait(60)
            self._process = None

    def _once(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", **self._as_account())
        assert done.returncode == 0, done.stdout + done.stderr

    def _as_account(self) -> dict[str, Any]:
        if self._account is None:
            return {}
        account = self._account
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


class PostgreSQL(_Process):
    """PostgreSQL from Debian, with a locale whose order is not that of code points."""

    name = "postgresql"
    end = signal.SIGINT

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder, port)
        self._bin = self.binaries()
        self._once(
            str(self._bin / "initdb"), "--no-sync", "--auth=trust", "--username=coffret", "--encoding=UTF8",
            "--locale-provider=icu", "--icu-locale=en-US", "--locale=C.UTF-8", f"--pgdata={self.data}",
        )  # fmt: skip

    @staticmethod
    def binaries() -> Path:
        """Raises LookupError when there are none."""
        found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
        newest = max(found, key=lambda path: int(path.parts[-3]), default=None)
        if newest is None:
            raise LookupError("apt-get install postgresql")
        return newest.parent

    def command(self) -> Sequence[str]:
        given = {
            "port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.run,
            "max_connections": 300, "fsync": "off", "full_page_writes": "off", "synchronous_commit": "off",
        }  # fmt: skip
        options = [f"--{name}={value}" for name, value in given.items()]
        return [str(self._bin / "postgres"), "-D", str(self.data), *options]

    def answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError), self._connect():
            return True
        return False

    def make(self, database: str) -> str:
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {database}".encode())
        return f"postgresql://coffret:secret@127.0.0.1:{self.port}/{database}"

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="coffret", dbname="postgres", autocommit=True
        )


class MariaDB(_Process):
    """MariaDB from Debian, with a character set that most names do not fit in."""

    name = "mariadb"

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder, port)
        self._program, install = self.binaries()
        self._once(
            install, "--no-defaults", f"--datadir={self.data}", f"--tmpdir={self.run}",
            "--auth-root-authentication-method=normal", "--skip-test-db",
        )  # fmt: skip
        self._first = self.run / "first.sql"
        self._first.write_text(
            "CREATE USER IF NOT EXISTS coffret@'%' IDENTIFIED BY 'secret';\n"
            "GRANT ALL PRIVILEGES ON `coffret%`.* TO coffret@'%';\n"
        )
        self._first.chmod(0o644)

    @staticmethod
    def binaries() -> tuple[str, str]:
        """Raises LookupError when there are none."""
        path = os.environ["PATH"] + ":/usr/sbin"
        server, install = (shutil.which(name, path=path) for name in ("mariadbd", "mariadb-install-db"))
        if server is None or install is None:
            raise LookupError("apt-get install mariadb-server")
        return server, install

    def command(self) -> Sequence[str]:
        return [
            self._program, "--no-defaults", f"--datadir={self.data}", f"--port={self.port}",
            f"--tmpdir={self.run}",  # a start removes temporary tables, anyone's
            "--bind-address=127.0.0.1", f"--socket={self.run}/s", f"--pid-file={self.run}/pid",
            f"--init-file={self._first}", "--skip-name-resolve", "--max-connections=300",
            "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0",
            "--innodb-buffer-pool-size=64M", "--character-set-server=latin1",
        ]  # fmt: skip

    def answers(self) -> bool:
        with contextlib.suppress(pymysql.err.OperationalError), self._connect():
            return True
        return False

    def make(self, database: str) -> str:
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {database}")
        return f"mysql://coffret:secret@127.0.0.1:{self.port}/{database}"

    def _connect(self) -> "pymysql.Connection[Any]":
        return pymysql.connect(host="127.0.0.1", port=self.port, user="coffret", password="secret")


SERVERS: dict[str, type[PostgreSQL] | type[MariaDB]] = {"postgresql": PostgreSQL, "mariadb": MariaDB}


@contextlib.contextmanager
def started(kind: type[PostgreSQL] | type[MariaDB]) -> Iterator[PostgreSQL | MariaDB]:
    """A server of that kind. Raises LookupError when its programs are not on this machine."""
    kind.binaries()
    folder = Path(tempfile.mkdtemp(prefix=f"coffret-{kind.name}-", dir="/tmp"))  # short paths for sockets
    folder.chmod(0o755)
    server = kind(folder, *free_ports(1))
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@contextlib.contextmanager
def or_skip(server: AbstractContextManager[T], what: str) -> Iterator[T]:
    """The server; where its programs are missing, `what` is not tested, and the skip says so."""
    with contextlib.ExitStack() as stack:
        try:
            one = stack.enter_context(server)
        except LookupError as missing:
            pytest.skip(f"{what} is not tested: {missing}")
        yield one


class Store(Protocol):
    """Where a control plane of the tests keeps its state."""

    name: str

    def settings(self, folder: Path, **more: Any) -> Settings:
        """Of a control plane with a state database of its own; `lay` it before use."""

    def lay(self, app: Flask, copy: str | None = None) -> None:
        """Make the state what it was when it was kept as `copy`; None: all tables, and nothing in them."""

    def keep(self, app: Flask, copy: str) -> None:
        """Keep the state as it is now."""

    def clear(self, app: Flask) -> None:
        """Leave nothing behind that another test could see; the application may lay it again."""

    def close(self, app: Flask) -> None:
        """The application is not used any more."""


class File:
    """SQLite, in the folder of the test."""

    name = "sqlite"

    def settings(self, folder: Path, **more: Any) -> Settings:
        return Settings(data_dir=folder, cloud="noop", **more)

    def lay(self, app: Flask, copy: str | None = None) -> None:
        if copy is not None:
            shutil.copy(self._folder(app) / copy, self._folder(app) / "coffret.db")
            return
        with app.app_context():
            db.create_all()

    def keep(self, app: Flask, copy: str) -> None:
        let_go(app)
        shutil.copy(self._folder(app) / "coffret.db", self._folder(app) / copy)

    def clear(self, app: Flask) -> None:
        let_go(app)
        for file in self._folder(app).glob("coffret.db*"):
            file.unlink()

    def close(self, app: Flask) -> None:
        self.clear(app)

    def _folder(self, app: Flask) -> Path:
        folder: Path = app.extensions["coffret_settings"].data_dir
        return folder


class OnServer:
    """On a server: databases that have been migrated once, and are emptied for each test."""

    def __init__(self, server: PostgreSQL | MariaDB) -> None:
        self.name = server.name
        self.server = server
        self._free: list[str] = []
        self._copies: dict[str, list[Table]] = {}
        self._count = 0

    def settings(self, folder: Path, **more: Any) -> Settings:
        keys = folder / DEFAULT_FILE  # where it would be without a server
        keys.write_text(f"{new_key()}\n")
        return Settings(
            data_dir=folder,
            cloud="noop",
            **{"secrets_keys": keys, "database_url": more.get("database_url") or self._take()} | more,
        )

    def _take(self) -> str:
        return self._free.pop() if self._free else self.make()

    def make(self) -> str:
        """URL of a new database without tables."""
        self._count += 1
        return self.server.make(f"coffret_{self._count}")

    def lay(self, app: Flask, copy: str | None = None) -> None:
        with app.app_context():
            if copy is None and not db.inspect(db.engine).has_table("instances"):
                flask_migrate.upgrade()
            with db.engine.begin() as connection:
                for table in reversed(_filled(connection)):
                    connection.execute(delete(table))
                for table in self._copies[self._kept(app, copy)] if copy else ():
                    name = _quoted(table)
                    kept = f"{self._kept(app, copy)}.{name}"
                    connection.execute(text(f"INSERT INTO {name} SELECT * FROM {kept}"))

    def keep(self, app: Flask, copy: str) -> None:
        kept = self._kept(app, copy)
        with app.app_context(), db.engine.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {kept}"))
            self._copies[kept] = _filled(connection)
            for table in self._copies[kept]:
                name = _quoted(table)
                connection.execute(text(f"CREATE TABLE {kept}.{name} AS SELECT * FROM {name}"))

    def clear(self, app: Flask) -> None:
        let_go(app)

    def close(self, app: Flask) -> None:
        with app.app_context():
            whole = db.inspect(db.engine).has_table("instances")
        let_go(app)
        if whole:
            self._free.append(app.extensions["coffret_settings"].database_url)

    def _kept(self, app: Flask, copy: str | None) -> str:
        """MariaDB's schemas are databases, and so have to be told apart."""
        return f"{app.extensions['coffret_settings'].sqlalchemy_url.database}_{copy}"


def _filled(connection: Connection) -> list[Table]:
    """The tables that hold anything, those first that others refer to."""
    tables = {table.name: table for table in db.metadata.sorted_tables}
    looks = [f"(SELECT '{name}' FROM {_quoted(table)} LIMIT 1)" for name, table in tables.items()]
    found = set(connection.execute(text(" UNION ALL ".join(looks))).scalars())
    return [table for name, table in tables.items() if name in found]


def _quoted(table: Table) -> str:
    name: str = db.engine.dialect.identifier_preparer.format_table(table)
    return name


def let_go(app: Flask) -> None:
    with app.app_context():
        db.session.remove()
        db.engine.dispose()
