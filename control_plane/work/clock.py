"""The database's clock: the one clock that all processes share."""

from datetime import datetime
from typing import Any

from sqlalchemy import Double, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from control_plane.database import UtcDateTime


class epoch(FunctionElement[float]):  # noqa: N801 - reads as the SQL function it is
    """Seconds since the epoch by the database's clock, when the statement began.

    A statement that waits for a lock sees an earlier time, by which a lease expires later and is taken
    for shorter: both on the safe side.
    """

    name = "epoch"
    type = Double()
    inherit_cache = True


@compiles(epoch, "sqlite")
def _sqlite(_element: Any, _compiler: Any, **_: Any) -> str:
    # unixepoch('subsec') came with SQLite 3.42; Debian 12 has 3.40
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(epoch, "postgresql")
def _postgresql(_element: Any, _compiler: Any, **_: Any) -> str:
    # now() is the transaction's beginning; clock_timestamp() could use no index
    return "CAST(EXTRACT(EPOCH FROM statement_timestamp()) AS DOUBLE PRECISION)"


@compiles(epoch, "mariadb")
def _mariadb(_element: Any, _compiler: Any, **_: Any) -> str:
    # SYSDATE(6) could use no index; the session's time zone is UTC, which has no hour twice
    return "CAST(UNIX_TIMESTAMP(NOW(6)) AS DOUBLE)"


class moment(FunctionElement[datetime]):  # noqa: N801 - likewise
    """The time so many seconds from now, by the database's clock: a UtcDateTime.

    Whoever decides by a time that another process wrote goes by this one, and has it written.
    """

    name = "moment"
    type = UtcDateTime()
    inherit_cache = True

    def __init__(self, seconds: float = 0) -> None:
        super().__init__(literal(float(seconds), Double()))


@compiles(moment, "sqlite")
def _sqlite_moment(element: Any, compiler: Any, **more: Any) -> str:
    # as SQLAlchemy writes times there, with six digits
    shift = compiler.process(element.clauses, **more)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', {shift} || ' seconds') || '000')"


@compiles(moment, "postgresql")
def _postgresql_moment(element: Any, compiler: Any, **more: Any) -> str:
    shift = compiler.process(element.clauses, **more)
    return f"((statement_timestamp() AT TIME ZONE 'UTC') + {shift} * INTERVAL '1 second')"


@compiles(moment, "mariadb")
def _mariadb_moment(element: Any, compiler: Any, **more: Any) -> str:
    return f"(NOW(6) + INTERVAL {compiler.process(element.clauses, **more)} SECOND)"
