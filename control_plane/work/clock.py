"""The database's clock: the one clock that all processes share."""

from typing import Any

from sqlalchemy import Double
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


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
