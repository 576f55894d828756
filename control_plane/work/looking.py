"""What is run for an instance: one reconcile under its lease, and what comes of it."""

import logging
import random
import time

from flask import Flask, current_app, g

from control_plane.clouds import Cloud
from control_plane.database import repeated
from control_plane.events import service as events
from control_plane.instances.models import Instance
from control_plane.instances.reconcile import Look, reconcile
from control_plane.instances.status import settled
from control_plane.metrics import Metrics
from control_plane.work import lease as leases
from control_plane.work.lease import Lease, LeaseLost

LONGEST_BACKOFF = 60.0
"""Seconds."""

log = logging.getLogger(__name__)


def look_at(app: Flask, cloud: Cloud, instance_id: str) -> float | None:
    """One reconcile, if the instance is due. Returns the seconds after which to look again, if known."""
    with app.app_context():
        g.instance_id = instance_id
        lease = _take(instance_id)
        if lease is None:
            return None
        g.request_id = lease.asked_by
        began, outcome = time.monotonic(), "failed"
        try:
            look = _look(lease, cloud)
            again = repeated(_finish)(lease, look)
            outcome = _outcome(look)
            return again
        except LeaseLost as lost:
            log.info("%s", lost)
            outcome = "lease_lost"
            return None
        finally:
            lease.let_go()
            _metrics().reconcile_seconds.labels(outcome).observe(time.monotonic() - began)


def _take(instance_id: str) -> Lease | None:
    """The lease, if there is something to do; its holder sees at release that it was asked for."""
    lease = repeated(leases.acquire)(instance_id)
    if lease is None and (held := leases.holdings(Instance.id == instance_id)):
        if held[0].ended:
            leases.void(held)
            return repeated(leases.acquire)(instance_id)
        _metrics().lease_contention.inc()
    return lease


def _look(lease: Lease, cloud: Cloud) -> Look:
    try:
        return repeated(reconcile)(lease.instance_id, cloud, lease)
    except LeaseLost:
        raise
    except Exception as error:
        log.exception("reconcile of instance %s broke off", lease.instance_id)
        return Look(
            f"the control plane failed: {type(error).__name__}; its log says more",
            failed=True,
        )


def _outcome(look: Look) -> str:
    return "failed" if look.failed else "pending" if look.pending else "done"


def _metrics() -> Metrics:
    metrics: Metrics = current_app.extensions["coffret_metrics"]
    return metrics


def _finish(lease: Lease, look: Look) -> float | None:
    """Note what was done and give the lease back. Returns the seconds after which to look again."""
    if look.gone:
        log.info("%s", look.sentence)
        return None
    with lease.fenced() as instance:
        if not look.pending:
            instance.attempts = instance.attempts + 1 if look.failed else 0
        again = backoff(instance.attempts) if look.failed else look.again
        if instance.sentence != look.sentence:
            log.log(logging.WARNING if look.failed else logging.INFO, "%s", look.sentence)
            instance.sentence = look.sentence
            events.record("failure" if look.failed else "progress", look.sentence, instance)
        return 0 if lease.release(instance, again, finished=_finished(look, instance)) else again


def _finished(look: Look, instance: Instance) -> bool:
    """Whether nothing is left of what was asked for, its agent's part included."""
    return not (look.failed or look.pending) and settled(instance)


def backoff(attempts: int) -> float:
    """Seconds to wait after so many failures in a row: 1, 2, 4 … 60, a quarter up or down."""
    return min(LONGEST_BACKOFF, 2.0 ** min(attempts - 1, 16)) * random.uniform(0.75, 1.25)  # noqa: S311
