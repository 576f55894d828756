"""Talking to a server over its socket as the agent's own account, and quoting names."""

import os
import pwd
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pymysql.cursors

from guest_agent.engines.base import EngineError

# Whatever users set for new sessions, the agent's can work, gives up behind a long lock, and is in
# no log: its statements hold verifiers.
_SETTINGS = (
    "SET SESSION TRANSACTION READ WRITE",
    "SET SESSION max_statement_time = 0, lock_wait_timeout = 20",
    "SET SESSION sql_log_off = 1, slow_query_log = 0",
)
_LONGEST = 64  # characters of an identifier, https://mariadb.com/kb/en/identifier-names/


def administrator() -> str:
    """The MariaDB account of the agent: named as the system account it runs as, no password."""
    return pwd.getpwuid(os.geteuid()).pw_name


def identifier(name: str) -> str:
    """A name quoted for a statement of Session. Raises EngineError on one MariaDB cannot hold."""
    if len(name) > _LONGEST:
        raise EngineError(f"name {name!r}: at most {_LONGEST} characters")
    return quoted(name)


def quoted(name: str) -> str:
    """Any name or pattern between backticks; the driver takes `%%` for `%`."""
    if not name or "\0" in name:
        raise EngineError(f"name {name!r}: not empty, and without NUL")
    return "`" + name.replace("`", "``").replace("%", "%%") + "`"


class Session:
    """One connection, each statement a transaction of its own."""

    def __init__(self, connection: "pymysql.Connection[Any]") -> None:
        self._connection = connection

    def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """What a statement answers; values are put in as literals by the driver."""
        with _spoken(), self._connection.cursor(pymysql.cursors.DictCursor) as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    def run(self, statement: str, *values: object) -> None:
        self.rows(statement, *values)


@contextmanager
def session(path: Path) -> Iterator[Session]:
    """A session on the server behind the socket at `path`. All errors are EngineError."""
    connection = pymysql.connect(
        user=administrator(),
        charset="utf8mb4",
        sql_mode="STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",
        autocommit=True,
        ssl_disabled=True,
        read_timeout=300,
        defer_connect=True,
    )
    with _spoken():
        connection.connect(_connected(path))
    with closing(connection):
        server = Session(connection)
        for statement in _SETTINGS:
            server.run(statement)
        yield server


def _connected(path: Path) -> socket.socket:
    """A connected socket; the driver would leave one open that it cannot connect."""
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(10)
    try:
        made.connect(str(path))
    except OSError as error:
        made.close()
        raise EngineError(f"MariaDB does not answer: {error}") from error
    made.settimeout(None)
    return made


@contextmanager
def _spoken() -> Iterator[None]:
    try:
        yield
    except pymysql.MySQLError as error:
        raise EngineError(_words(error)) from error


def _words(error: pymysql.MySQLError) -> str:
    """The engine's own sentence, without the driver's packing."""
    return str(error.args[-1]) if error.args else str(error)


def meaning(lines: Sequence[str]) -> str:
    """The errors in a server's log, without times; all of it where there is no error."""
    errors = [line for line in lines if "[ERROR]" in line and not line.endswith("Aborting")]
    plain = [re.sub(r"^[\d-]+ +[\d:]+ \d+ \[\w+\] (\S*mariadbd: )?", "", line) for line in errors or lines]
    return " ".join(plain[-5:]) or "it said nothing"
