"""The databases that the state can be kept in: SQLite, PostgreSQL and MariaDB, and where they differ.

docs/decisions/0017-writers-on-a-server.md says how writers keep out of each other's way.
"""

from collections.abc import Mapping
from typing import Any

from psycopg.abc import Buffer
from psycopg.types.string import StrDumper
from sqlalchemy import URL, BigInteger, DateTime, Integer, String, Text, event, make_url
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
    return options | {
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


@event.listens_for(Engine, "connect")
def _prepare(connection: Any, _: object) -> None:
    module = type(connection).__module__.partition(".")[0]
    if module == "sqlite3":
        connection.isolation_level = None  # transactions are begun below, not by the driver
    cursor = connection.cursor()
    for statement in _AT_CONNECT[module]:
        cursor.execute(statement)
    cursor.close()
    if module == "psycopg":
        connection.commit()
        connection.adapters.register_dumper(str, _Text)


class _Text(StrDumper):
    """PostgreSQL's text cannot have NUL, which what engines say can, and what clients look for."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}"))


_AT_CONNECT = {
    "sqlite3": (
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=FULL",  # an acknowledged write survives power loss
        "PRAGMA foreign_keys=ON",
        f"PRAGMA busy_timeout={LOCK_SECONDS * 1000}",
    ),
    "psycopg": (f"SET lock_timeout = '{LOCK_SECONDS}s'",),
    "pymysql": (
        f"SET time_zone = '+00:00', sql_mode = 'TRADITIONAL', innodb_lock_wait_timeout = {LOCK_SECONDS}",
    ),
}


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
    2002, 2003, 2006, 2013, 2014, 2055,  # not reached, or lost
    "SQLITE_BUSY", "SQLITE_BUSY_SNAPSHOT", "SQLITE_CANTOPEN", "SQLITE_FULL", "SQLITE_IOERR_WRITE",
}  # fmt: skip
