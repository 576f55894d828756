"""Work: request(), the lease, the runner, the broker and the sweep."""

from typing import Any, Protocol

from flask import current_app, g
from sqlalchemy import or_, select, update

from control_plane import clouds
from control_plane.database import after_commit, db
from control_plane.instances.models import Instance
from control_plane.work.changes import Changes
from control_plane.work.clock import epoch
from control_plane.work.touches import touch


class Runner(Protocol):
    """Runs reconcile for requested instances. Losing or repeating a request is harmless."""

    def request(self, instance_id: str, delay: float = 0) -> None: ...


def asker() -> str | None:
    """Id of the request that is being answered, if it is a client's."""
    return g.get("request_id") if g.get("caller") else None


def request(instance_id: str, delay: float = 0) -> None:
    """Ask for a reconcile of the instance in `delay` seconds, inside a transaction.

    The row says so once it has committed, so that the sweep finds what a dead process was asked for. It
    also says which request of a client asked last; what agents report is about what was asked for before.
    """
    due = epoch() + delay
    later = or_(Instance.next_reconcile_at.is_(None), Instance.next_reconcile_at > due)
    # asked apart, as in the lease
    known = select(later.label("later"), Instance.asked_by).where(Instance.id == instance_id)
    row = db.session.execute(known.with_for_update()).one_or_none()
    columns: dict[str, Any] = {"next_reconcile_at": due} if row and row.later else {}
    if row and (asked_by := asker()) not in (None, row.asked_by):
        columns["asked_by"] = asked_by
    if columns:
        db.session.execute(
            update(Instance).where(Instance.id == instance_id).values(columns),
            execution_options={"synchronize_session": False},
        )
    if "next_reconcile_at" in columns:
        # else it is due by then already, and whoever saw to that has asked the runner, or the sweep will
        runner: Runner = current_app.extensions["coffret_runner"]
        after_commit(lambda: runner.request(instance_id, delay))
    wake(instance_id)


def announce(instance_id: str) -> None:
    """Wake those who wait for the instance, its agent among them, once the transaction has committed."""
    if clouds.current().agentless:
        request(instance_id)  # the runner is its agent
    else:
        wake(instance_id)


def wake(instance_id: str) -> None:
    """As announce(), for those who see to the instance themselves: agents and reconcile."""
    touch(instance_id)
    changes: Changes = current_app.extensions["coffret_changes"]
    after_commit(lambda: changes.announce(instance_id))
