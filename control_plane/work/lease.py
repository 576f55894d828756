"""One reconcile at a time for an instance, over threads, processes and hosts.

A lease is a column: whoever wrote its token there may work on the instance until it expires by the
database's clock. A lease cannot hold back a process that stalls and wakes up late, so every write says
whose lease it belongs to, and is refused once another has taken over. It also names its process, so that
those on the same machine see when that one has been killed, and need not wait until the lease expires.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, or_, select, update

from control_plane.database import db, new_id, transaction
from control_plane.instances.models import Instance
from control_plane.work import processes
from control_plane.work.clock import epoch

TTL = 120.0
"""Seconds. Longer than the longest step of a driver."""
_RENEW_AFTER = TTL / 4
_EARLY = 0.1
"""Seconds. One who waited for a time by another clock than the database's may come so much before it."""
_in_hand: set[str] = set()
"""Tokens of the leases that this process works under, or is about to."""
_FREE: dict[str, Any] = {"lease_token": None, "lease_holder": None, "lease_expires": None}
_FREE_AND_DUE: dict[str, Any] = _FREE | {"next_reconcile_at": epoch(), "handed_over_at": None}


class LeaseLost(Exception):
    """Another has taken over, or the instance is gone; stop without another write."""


@dataclass
class Lease:
    instance_id: str
    token: str
    look_again: float
    """What acquire() put into next_reconcile_at; an earlier time there means: asked for meanwhile."""
    asked_by: str | None
    """Id of the request of a client that asked last, if what it wants is not done yet."""
    _renewed: float = field(default_factory=time.monotonic)

    @contextmanager
    def fenced(self) -> Iterator[Instance]:
        """A write transaction on the instance, which renews the lease. Raises LeaseLost."""
        with transaction() as session:
            mine = (Instance.id == self.instance_id, Instance.lease_token == self.token)
            renewed = session.execute(
                update(Instance).where(*mine).values(lease_expires=epoch() + TTL),
                execution_options={"synchronize_session": False},
            )
            if not renewed.rowcount:  # type: ignore[attr-defined]
                raise LeaseLost(f"the lease on instance {self.instance_id} is another's now")
            yield session.get_one(Instance, self.instance_id, populate_existing=True)
        self._renewed = time.monotonic()

    def renew(self) -> None:
        """Called between steps; writes only when a good part of the time is used up."""
        if time.monotonic() - self._renewed > _RENEW_AFTER:
            with self.fenced():
                pass

    def release(self, instance: Instance, look_again_in: float | None, *, finished: bool = False) -> bool:
        """Give the lease back inside its last fenced transaction; look again after so many seconds.

        None: when asked. `finished`: all that was asked for is done, and who asked is forgotten. Returns
        whether the instance was asked for meanwhile: then it is due at once.
        """
        due = instance.next_reconcile_at
        asked = due is not None and due < self.look_again
        again = None if look_again_in is None else epoch() + look_again_in
        db.session.execute(
            update(Instance)
            .where(Instance.id == self.instance_id)
            .values(
                **_FREE,
                next_reconcile_at=due if asked else again,
                asked_by=None if finished and not asked else Instance.asked_by,
            ),
            execution_options={"synchronize_session": False},
        )
        return asked

    def let_go(self) -> None:
        """Work under it no more. If it was not released, it is void once anyone on this machine looks."""
        _in_hand.discard(self.token)


def acquire(instance_id: str) -> Lease | None:
    """The lease on the instance if it is due; None while another holds it, or if there is no such instance.

    Should its holder die, the sweep finds the instance due when the lease has expired.
    """
    lease = None
    token = new_id()
    _in_hand.add(token)  # before anyone can see it in the row
    try:
        lease = _acquire(instance_id, token)
    finally:
        if lease is None:
            _in_hand.discard(token)
    return lease


def _acquire(instance_id: str, token: str) -> Lease | None:
    due = Instance.next_reconcile_at <= epoch() + _EARLY
    with transaction() as session:
        # asked apart: an UPDATE may go by another index than the id's, and MariaDB would lock that first
        to_be_had = select(due & free()).where(Instance.id == instance_id).with_for_update()
        if not session.scalar(to_be_had):
            return None
        session.execute(
            update(Instance)
            .where(Instance.id == instance_id)
            .values(
                lease_token=token,
                lease_holder=processes.me(),
                lease_expires=epoch() + TTL,
                next_reconcile_at=epoch() + TTL,
                handed_over_at=None,
            ),
            execution_options={"synchronize_session": False},
        )
        written = select(Instance.next_reconcile_at, Instance.asked_by).where(Instance.id == instance_id)
        look_again, asked_by = session.execute(written).one()
    assert look_again is not None  # noqa: S101 - written three lines above
    return Lease(instance_id, token, look_again, asked_by)


def free() -> ColumnElement[bool]:
    """The clause for instances that nobody has a lease on."""
    return or_(Instance.lease_expires.is_(None), Instance.lease_expires < epoch())


@dataclass(frozen=True)
class Holding:
    """A lease as anyone sees it."""

    instance_id: str
    token: str
    holder: str | None
    """None: it was taken by a version that did not say."""

    @property
    def ended(self) -> bool:
        """Whether it is certain that nobody works under it."""
        if self.holder == processes.me():
            return self.token not in _in_hand
        return self.holder is not None and processes.has_ended(self.holder)


def holdings(*clauses: ColumnElement[bool]) -> Sequence[Holding]:
    """The leases that are held on the instances that `clauses` choose."""
    held = select(Instance.id, Instance.lease_token, Instance.lease_holder).where(
        Instance.lease_expires >= epoch(), *clauses
    )
    rows = db.session.execute(held).all()
    db.session.rollback()
    return [Holding(row.id, row.lease_token, row.lease_holder) for row in rows]


def void(held: Sequence[Holding]) -> int:
    """Make these leases void and their instances due. Returns how many still were there."""
    with transaction() as session:
        return sum(
            session.execute(
                update(Instance)
                .where(Instance.id == one.instance_id, Instance.lease_token == one.token)
                .values(**_FREE_AND_DUE),
                execution_options={"synchronize_session": False},
            ).rowcount  # type: ignore[attr-defined]
            for one in held
        )


def void_ended() -> int:
    """Make void what nobody on this machine works under any more. Returns how many leases that were."""
    ended = [one for one in holdings() if one.ended]
    return void(ended) if ended else 0


def hand_back() -> int:
    """Make void what this process still works under, for others to take up. Returns how many leases.

    The caller ends the process right after.
    """
    return void(holdings(Instance.lease_holder == processes.me()))


def void_all() -> None:
    """Make every lease void and every instance due: for the start of the only process there is."""
    with transaction() as session:
        session.execute(
            update(Instance).values(**_FREE_AND_DUE),
            execution_options={"synchronize_session": False},
        )
