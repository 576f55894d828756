"""Turns: what some process does every so often, and no other meanwhile, on however many hosts."""

from sqlalchemy import String, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.database import db, transaction
from control_plane.work.clock import epoch


class Turn(db.Model):  # type: ignore[name-defined,misc]
    __tablename__ = "turns"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    next_at: Mapped[float]
    """Seconds since the epoch, by the database's clock."""


def claim(name: str, every: float) -> float:
    """0 if it is this process's turn, which it then is nobody's for `every` seconds; else seconds to wait.

    The first turn there ever is comes after `every` seconds.
    """
    left = db.session.scalar(select(Turn.next_at - epoch()).where(Turn.name == name))
    db.session.rollback()
    if left is None:
        _begin(name, every)
        return every
    if left > 0:
        return left
    with transaction() as session:
        mine = session.execute(
            update(Turn).where(Turn.name == name, Turn.next_at <= epoch()).values(next_at=epoch() + every),
            execution_options={"synchronize_session": False},
        ).rowcount  # type: ignore[attr-defined]
    return 0 if mine else every


def _begin(name: str, every: float) -> None:
    try:
        with transaction() as session:
            session.add(Turn(name=name, next_at=epoch() + every))
    except IntegrityError:
        pass  # another was first


def forgo(name: str) -> None:
    """Let the next turn be at once: for the start of the only process there is."""
    with transaction() as session:
        session.execute(
            update(Turn).where(Turn.name == name).values(next_at=0),
            execution_options={"synchronize_session": False},
        )
