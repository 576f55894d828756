"""One reconcile at a time for an instance, over threads, processes and hosts.

A lease is a column: whoever wrote its token there may work on the instance until it expires by the
database's clock. A lease cannot hold back a process that stalls and wakes up late, so every write says
whose lease it belongs to, and is refused once another has taken over.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import or_, select, update

from control_plane.database import db, new_id, transaction
from control_plane.instances.models import Instance
from control_plane.work.clock import epoch

TTL = 120.0
"""Seconds. Longer than the longest step of a driver."""
_RENEW_AFTER = TTL / 4


class LeaseLost(Exception):
    """Another has taken over, or the instance is gone; stop without another write."""


@dataclass
class Lease:
    instance_id: str
    token: str
    look_again: float
    """What acquire() put into next_reconcile_at; an earlier time there means: asked for meanwhile."""
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

    def release(self, instance: Instance, look_again_in: float | None) -> bool:
        """Give the lease back inside its last fenced transaction; look again after so many seconds.

        None: when asked. Returns whether the instance was asked for meanwhile: then it is due at once.
        """
        due = instance.next_reconcile_at
        asked = due is not None and due < self.look_again
        again = None if look_again_in is None else epoch() + look_again_in
        db.session.execute(
            update(Instance)
            .where(Instance.id == self.instance_id)
            .values(lease_token=None, lease_expires=None, next_reconcile_at=due if asked else again),
            execution_options={"synchronize_session": False},
        )
        return asked


def acquire(instance_id: str) -> Lease | None:
    """The lease on the instance, or None while another holds it or when there is no such instance.

    Should its holder die, the sweep finds the instance due when the lease has expired.
    """
    token = new_id()
    free = or_(Instance.lease_expires.is_(None), Instance.lease_expires < epoch())
    with transaction() as session:
        taken = session.execute(
            update(Instance)
            .where(Instance.id == instance_id, free)
            .values(
                lease_token=token,
                lease_expires=epoch() + TTL,
                next_reconcile_at=epoch() + TTL,
            ),
            execution_options={"synchronize_session": False},
        )
        if not taken.rowcount:  # type: ignore[attr-defined]
            return None
        look_again = session.scalar(select(Instance.next_reconcile_at).where(Instance.id == instance_id))
    assert look_again is not None  # noqa: S101 - written three lines above
    return Lease(instance_id, token, look_again)


def void_all() -> None:
    """Make every lease void and every instance due: for the start of the only process there is."""
    with transaction() as session:
        session.execute(
            update(Instance).values(lease_token=None, lease_expires=None, next_reconcile_at=epoch()),
            execution_options={"synchronize_session": False},
        )
