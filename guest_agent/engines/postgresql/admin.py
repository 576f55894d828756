"""The agent's own connections: over the socket, as `coffret_admin`, by peer authentication."""

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg

from guest_agent.engines.base import EngineError
from guest_agent.engines.postgresql.files import file_errors
from guest_agent.engines.postgresql.names import ADMIN, ADMIN_DATABASE

Connection = psycopg.Connection[tuple[Any, ...]]

_RELOAD = 0.2
"""Seconds in which a postmaster has read its files again."""

# A database's owner may SET anything for its database: the search path comes first, so that no
# function or operator of a user is ever run by the superuser. Nothing of ours is logged: verifiers.
_SETTINGS = """
SET SESSION AUTHORIZATION DEFAULT;
SET ROLE NONE;
SET search_path = pg_catalog;
SET log_statement = none;
SET log_min_duration_statement = -1;
SET log_min_duration_sample = -1;
SET log_min_error_statement = panic;
SET default_transaction_read_only = off;
SET default_transaction_isolation = 'read committed';
SET synchronous_commit = local;
SET idle_in_transaction_session_timeout = 0;
SET idle_session_timeout = 0;
SET lock_timeout = '10s'
"""


@contextlib.contextmanager
def engine_errors() -> Iterator[None]:
    """What PostgreSQL, the driver or the file system says, as EngineError in its own words."""
    try:
        with file_errors():
            yield
    except psycopg.Error as error:
        raise EngineError(said(error)) from error


def said(error: psycopg.Error) -> str:
    """The engine's message, detail and hint; never the statement, which may hold a verifier."""
    diag = error.diag
    if not diag.message_primary:
        return str(error).strip()
    parts = (diag.message_primary, diag.message_detail, diag.message_hint)
    return "\n".join(part for part in parts if part)


class Admin:
    """Connections to the engine whose data and socket directories these are."""

    def __init__(self, data: Path, run: Path) -> None:
        self._data = data
        self._run = run
        self._kept: Connection | None = None

    def port(self) -> int:
        """The port that the running postmaster goes by; its socket's name holds it."""
        try:
            return int((self._data / "postmaster.pid").read_text().splitlines()[3])
        except (OSError, IndexError, ValueError) as error:
            raise EngineError("PostgreSQL does not run") from error

    def connect(self, database: str = ADMIN_DATABASE, timeout: int = 10) -> Connection:
        """A new connection in autocommit mode; `timeout` in seconds, at least 2."""
        connection = psycopg.connect(
            host=str(self._run),
            port=self.port(),
            user=ADMIN,
            dbname=database,
            connect_timeout=timeout,
            application_name="coffret-agent",
            client_encoding="UTF8",
            options="-c statement_timeout=10min",  # a user's of 1 ms must not meet the lines below
            autocommit=True,
        )
        try:
            connection.execute(_SETTINGS)
            if connection.info.server_version >= 170000:
                connection.execute("SET transaction_timeout = 0")
        except psycopg.Error:
            connection.close()
            raise
        return connection

    def answered(self) -> bool:
        """Whether the engine lets us in."""
        with engine_errors():
            try:
                self.connect().close()
            except psycopg.OperationalError:
                return False
            return True

    def connect_past_drift(self, postmaster: psutil.Process) -> Connection:
        """A new connection knows what the postmaster has read; a kept one reads files itself.

        Somebody's pg_hba.conf may have locked us out; ours has just been put in its place.
        """
        try:
            return self.connect()
        except psycopg.OperationalError:
            postmaster.send_signal(signal.SIGHUP)
            time.sleep(_RELOAD)
            return self.connect()

    @contextlib.contextmanager
    def session(self, database: str | None = None) -> Iterator[Connection]:
        """A connection for one piece of work; without `database` it is a kept one."""
        with engine_errors():
            if database is None:
                yield self._keep()
                return
            with contextlib.closing(self.connect(database)) as connection:
                yield connection

    def _keep(self) -> Connection:
        if self._kept:
            try:
                self._kept.execute("SELECT 1")
            except psycopg.OperationalError:
                self.close()  # the engine was restarted, or somebody ended our session
            else:
                return self._kept
        self._kept = self.connect()
        return self._kept

    def close(self) -> None:
        """Give the kept connection back."""
        if self._kept:
            self._kept.close()
        self._kept = None


def check_name(kind: str, name: str) -> None:
    """Refuse what PostgreSQL would cut short or take for its own."""
    size = len(name.encode())
    if not name or "\0" in name:
        raise EngineError(f"A {kind}'s name must have 1 to 63 bytes and no NUL")
    if size > 63:
        raise EngineError(f'The name of {kind} "{name}" has {size} bytes; PostgreSQL keeps 63')


def name_of(connection: Connection, role: int) -> str:
    """The role's name as this database reads it: names are bytes, its encoding may be another."""
    row = connection.execute("SELECT pg_get_userbyid(%s::oid)", [role]).fetchone()
    return str(row and row[0])
