"""Touches: which instances were written lately, for the processes where somebody waits for one."""

from collections.abc import Sequence
from typing import Protocol, cast

from sqlalchemy import BigInteger, Double, Integer, String, bindparam, delete, insert, select
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.database import db, read, transaction
from control_plane.work.clock import epoch

KEPT_SECONDS = 60.0
"""At least."""
_PRUNED_EVERY = 600.0
"""So old the oldest may become, in seconds: a write at each sweep would be one too many."""


class Touch(db.Model):  # type: ignore[name-defined,misc]
    """One write of an instance, or of what is inside. A row of its own, since it outlives the instance."""

    __tablename__ = "touches"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    instance_id: Mapped[str] = mapped_column(String(36))
    at: Mapped[float] = mapped_column(Double, index=True)
    """Seconds since the epoch, by the database's clock; the commit comes later."""


class Touched(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def instance_id(self) -> str: ...


_TABLE = Touch.__table__.c
_SINCE = select(_TABLE.id, _TABLE.instance_id).where(_TABLE.at > epoch() - bindparam("seconds"))


def touch(instance_id: str) -> None:
    """Note, inside a transaction, that it writes the instance."""
    db.session.execute(insert(Touch).values(instance_id=instance_id, at=epoch()))


def within(seconds: float) -> Sequence[Touched]:
    """The touches of the last `seconds`, in no order."""
    return cast(Sequence[Touched], read(_SINCE, seconds=seconds))


def prune() -> None:
    """Remove what nobody asks for any more."""
    oldest = select(Touch.id).where(Touch.at < epoch() - _PRUNED_EVERY).limit(1)
    if db.session.scalar(oldest) is None:
        return
    with transaction() as session:
        session.execute(delete(Touch).where(Touch.at < epoch() - KEPT_SECONDS))
