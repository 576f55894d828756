"""The database's clock: the one clock that all processes share."""

from typing import Any

from sqlalchemy import Float
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class epoch(FunctionElement[float]):  # noqa: N801 - reads as the SQL function it is
    """Seconds since the epoch by the database's clock; each dialect compiles it its own way."""

    name = "epoch"
    type = Float()
    inherit_cache = True


@compiles(epoch, "sqlite")
def _sqlite(_element: Any, _compiler: Any, **_: Any) -> str:
    # unixepoch('subsec') came with SQLite 3.42; Debian 12 has 3.40
    return "((julianday('now') - 2440587.5) * 86400.0)"
