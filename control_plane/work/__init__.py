"""Work: request(), the lease, the runner and the sweep."""

from typing import Protocol

from flask import current_app

from control_plane.database import after_commit
from control_plane.work.changes import Changes


class Runner(Protocol):
    """Runs reconcile for requested instances. Losing or repeating a request is harmless."""

    def request(self, instance_id: str, delay: float = 0) -> None: ...


def request(instance_id: str, delay: float = 0) -> None:
    """Ask for a reconcile of the instance, once the current transaction has committed."""
    runner: Runner = current_app.extensions["coffret_runner"]
    after_commit(lambda: runner.request(instance_id, delay))


def announce(instance_id: str) -> None:
    """Wake those who wait for the instance, once the current transaction has committed."""
    changes: Changes = current_app.extensions["coffret_changes"]
    after_commit(lambda: changes.announce(instance_id))
