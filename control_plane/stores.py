"""The databases that the state can be kept in: SQLite, PostgreSQL and MariaDB, and where they differ.

docs/decisions/0017-writers-on-a-server.md says how writers keep out of each other's way.
"""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg.abc import Buffer, PQGen
from psycopg.types.string import StrDumper
from sqlalchemy import URL, BigInteger, DateTime, Dialect, Integer, String, Text, event, make_url
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError

DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mariadb": "mariadb+pymysql",
    "mysql": "mariadb+pymysql",
}
"""What a URL may start with, whatever driver it names, and what SQLAlchemy is told."""
LOCK_SECONDS = 30
"""How long a writer waits for another at most."""
STATEMENT_SECONDS = 45
"""How long a statement may take at most; longer than it waits for a lock, which is the better reason."""
SILENT_SECONDS = 60
"""How long a server that says nothing is waited for; longer than a statement may take."""
IDLE_SECONDS = 120
"""How long a server waits for the next statement of a transaction; longer than a cloud is asked in one.

Then it undoes it and lets go of what that locked: its process stands still, or its host is gone.
"""


def url_of(text: str) -> URL:
    """The URL with the driver that Coffret uses. ValueError, which does not repeat it, if it is none."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError("it is not a URL, or a special character in it is not %-encoded") from None
    backend = url.get_backend_name()
    if backend not in DRIVERS:
        raise ValueError(f"{backend}: is none of sqlite:, postgresql: and mariadb:")
    return url.set(drivername=DRIVERS[backend])


def engine_options(url: URL, connections: int) -> dict[str, Any]:
    """What SQLAlchemy's create_engine takes; `connections`: at most so many in a process."""
    options: dict[str, Any] = {
        "pool_size": connections,
        "hide_parameters": True,  # in errors, and so in the log: verifiers
        "pool_use_lifo": True,  # few connections stay warm instead of all becoming lukewarm
    }
    if not on_server(url):
        return options
    patience = _patience(url.get_backend_name())
    return options | {
        "connect_args": {name: value for name, value in patience.items() if name not in url.query},
        "max_overflow": 0,
        "pool_timeout": LOCK_SECONDS,
        "pool_pre_ping": True,  # servers restart, and proxies close what is idle
        "isolation_level": "READ COMMITTED",  # what is read after a lock is what is there
    }


def on_server(url: URL) -> bool:
    """Whether others may use the database too, on other hosts; a file is one process's."""
    return url.get_backend_name() != "sqlite"


def sortable(length: int) -> String:
    """Text that is sorted and compared by code points, as Python does it, whatever the database's locale.

    MariaDB compares all text so: migrations/env.py sees to that.
    """
    return String(length).with_variant(String(length, collation="C"), "postgresql")


REVISION = Integer().with_variant(BigInteger(), "postgresql", "mariadb")
"""Counts on from what an agent says, and SQLite's integers are large as they are."""


@compiles(DateTime, "mariadb")
def _microseconds(_type: Any, _compiler: Any, **_: Any) -> str:
    return "DATETIME(6)"  # it would be whole seconds


@compiles(Text, "mariadb")
def _long_text(_type: Any, compiler: Any, **_: Any) -> str:
    text: str = compiler.visit_MEDIUMTEXT(mysql.MEDIUMTEXT())
    return text  # TEXT ends at 64 KiB


def _patience(backend: str) -> dict[str, int]:
    """How long the drivers wait for a server, in seconds; the URL may say it otherwise.

    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS and
    https://pymysql.readthedocs.io/en/latest/modules/connections.html
    """
    if backend == "mariadb":
        return {"connect_timeout": 10, "read_timeout": SILENT_SECONDS, "write_timeout": SILENT_SECONDS}
    return {
        "connect_timeout": 10,
        "tcp_user_timeout": 15_000,  # ms; this and the others see that its host or the way to it is gone
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
    }


R = TypeVar("R")


class _PostgreSQL(psycopg.Connection[Any]):
    """Gives a server up that says nothing, for which libpq has a time while it connects only."""

    waits_for_ever = False

    def wait(self, gen: PQGen[R], *args: Any, **kwargs: Any) -> R:
        return super().wait(gen if self.waits_for_ever else self._bounded(gen), *args, **kwargs)

    def _bounded(self, gen: PQGen[R]) -> PQGen[R]:
        """What `gen` does, which is told ten times a second that there is nothing yet."""
        deadline = time.monotonic() + SILENT_SECONDS
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > deadline:
                    self.pgconn.finish()  # or the answer would be taken for the next one's
                    raise psycopg.OperationalError(f"no answer in {SILENT_SECONDS} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            result: R = end.value
            return result


@event.listens_for(Engine, "do_connect")
def _connect(dialect: Dialect, _: object, arguments: list[Any], options: dict[str, Any]) -> Any:
    if dialect.driver == "psycopg":
        return _PostgreSQL.connect(*arguments, **options)
    return None  # as the driver does


@event.listens_for(Engine, "connect")
def _prepare(connection: Any, _: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.isolation_level = None  # transactions are begun below, not by the driver
    cursor = connection.cursor()
    for statement in _at_connect(connection):
        cursor.execute(statement)
    cursor.close()
    if isinstance(connection, psycopg.Connection):
        connection.commit()
        connection.adapters.register_dumper(str, _Text)


class _Text(StrDumper):
    """PostgreSQL's text cannot have NUL, which what engines say can, and what clients look for."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}"))


def _at_connect(connection: Any) -> Sequence[str]:
    """What a session is told when it begins."""
    if isinstance(connection, sqlite3.Connection):
        return [
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=FULL",  # an acknowledged write survives power loss
            "PRAGMA foreign_keys=ON",
            f"PRAGMA busy_timeout={LOCK_SECONDS * 1000}",
        ]
    if isinstance(connection, psycopg.Connection):
        return [
            f"SET lock_timeout = '{LOCK_SECONDS}s'",
            f"SET statement_timeout = '{STATEMENT_SECONDS}s'",
            f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'",
        ]
    return [
        "SET time_zone = '+00:00', sql_mode = 'TRADITIONAL',"
        f" innodb_lock_wait_timeout = {LOCK_SECONDS}, lock_wait_timeout = {LOCK_SECONDS},"
        f" max_statement_time = {STATEMENT_SECONDS}, idle_transaction_timeout = {IDLE_SECONDS}"
    ]


def take_your_time(connection: Connection) -> None:
    """From here on its statements may take as long as they do. It is closed at the end, not used again."""
    connection.detach()
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "postgresql":
        driver.waits_for_ever = True
        connection.exec_driver_sql(
            "SET lock_timeout = 0; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0"
        )
    elif connection.dialect.name == "mariadb":
        driver._read_timeout = None
        connection.exec_driver_sql(
            "SET lock_wait_timeout = DEFAULT, max_statement_time = 0, idle_transaction_timeout = 0"
        )
    connection.commit()


@event.listens_for(Engine, "begin")
def _begin_sqlite(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        writes = connection.get_execution_options().get("coffret_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def is_collision(error: Exception) -> bool:
    """Whether another transaction came in between: the same once more finds what that one wrote."""
    if isinstance(error, IntegrityError | StaleDataError | ObjectDeletedError):
        return True
    return isinstance(error, DBAPIError) and _code(error) in _COLLISIONS


def is_unavailable(error: Exception) -> bool:
    """Whether the database cannot serve just now, for a reason that is not the request's."""
    if isinstance(error, PoolTimeout):  # all connections are taken
        return True
    if not isinstance(error, DBAPIError):
        return False
    code = _code(error)
    return error.connection_invalidated or code in _UNAVAILABLE or str(code)[:2] in _UNAVAILABLE_CLASSES


def said(error: Exception) -> str:
    """What the database or its driver said, in one line, without the statement and its values."""
    return " ".join(str(getattr(error, "orig", None) or error).split())


def _code(error: DBAPIError) -> str | int | None:
    """PostgreSQL's SQLSTATE, MariaDB's number, SQLite's name; None: no answer from a server."""
    original = error.orig
    if type(original).__module__.startswith("pymysql"):
        first = original.args[0] if original is not None and original.args else None
        return first if isinstance(first, int) else None
    names: Mapping[str, Any] = {"psycopg": "sqlstate", "sqlite3": "sqlite_errorname"}
    module = type(original).__module__.partition(".")[0]
    code: str | None = getattr(original, names.get(module, ""), None)
    lost = module == "psycopg" and isinstance(error, InterfaceError | OperationalError)
    return code or (_NO_ANSWER if lost else None)


_NO_ANSWER = "08000"
"""connection_exception: what psycopg says itself has no SQLSTATE."""
_COLLISIONS = {
    "40001", "40P01",  # serialization_failure, deadlock_detected
    1020, 1213,  # changed since last read; deadlock, or refused by Galera's certification
}  # fmt: skip
_UNAVAILABLE_CLASSES = {"08", "53", "57"}
"""Of SQLSTATE: connection, insufficient resources (disk full among them), operator intervention."""
_UNAVAILABLE = {
    "25006", "55P03",  # a standby; lock_timeout
    1021, 1040, 1041, 1047, 1053, 1114, 1203, 1205, 1290, 1836, 1927,  # full, busy, going down, read only
    1317, 1969,  # interrupted by an operator; max_statement_time
    2002, 2003, 2006, 2013, 2014, 2055,  # not reached, or lost
    "SQLITE_BUSY", "SQLITE_BUSY_SNAPSHOT", "SQLITE_CANTOPEN", "SQLITE_FULL", "SQLITE_IOERR_WRITE",
}  # fmt: skip
