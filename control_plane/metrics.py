"""Metrics for Prometheus. Labels have few values, and none of a tenant's: no id, no name, no project."""

import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, current_app, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import case, func, not_, select
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.serving import WSGIRequestHandler, make_server

from control_plane.agents.models import Agent
from control_plane.database import read
from control_plane.http import health
from control_plane.instances.models import Instance
from control_plane.settings import SettingsError
from control_plane.work.clock import epoch, moment
from control_plane.work.lease import free
from control_plane.work.sweep import SILENT

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The client library reads it from the environment."""
_PREFIX = "coffret-serve-metrics-"
"""Of folders that are held as long as they are in use, unlike those that versions before made."""

blueprint = Blueprint("metrics", __name__)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second metric for each counter, of use to nobody here


class Metrics:
    """What this process counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconcile_seconds = Histogram(
            "coffret_reconcile_seconds",
            "Time that one look at an instance took, by what came of it.",
            ["outcome"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.lease_contention = Counter(
            "coffret_lease_contention",
            "Looks that were not taken since another was at the instance.",
            registry=self.registry,
        )
        self.requests = Counter(
            "coffret_requests", "HTTP requests.", ["method", "route", "status"], registry=self.registry
        )

    def count(self, response: Response) -> Response:
        """Count the request that `response` answers."""
        method = request.method if request.method in _METHODS else "other"
        route = request.url_rule.rule if request.url_rule else "none"
        self.requests.labels(method, route, response.status_code).inc()
        return response


class StateCollector(Collector):
    """What the state database says when it is asked; the same whichever process asks."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        up = GaugeMetricFamily("coffret_database_up", "Whether the state database answers.")
        try:
            age, held = _work()
            agents = _agents()
        except SQLAlchemyError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield GaugeMetricFamily(
            "coffret_queue_age_seconds", "For how long the instance is due that waits longest.", value=age
        )
        yield GaugeMetricFamily("coffret_leases", "Instances that are being worked on.", value=held)
        seen = GaugeMetricFamily("coffret_agents", "Agents, by when they were heard of.", labels=["heard"])
        for heard, count in agents.items():
            seen.add_metric([heard], count)
        yield seen


def _work() -> tuple[float, float]:
    """Seconds since the oldest instance that is due became so, and how many leases are held."""
    oldest = (
        select(epoch() - Instance.next_reconcile_at)
        .where(Instance.next_reconcile_at <= epoch(), free())
        .order_by(Instance.next_reconcile_at)
        .limit(1)
    )
    ages = read(oldest)
    held = read(select(func.count()).select_from(Instance).where(Instance.lease_expires >= epoch()))
    return (max(0.0, float(ages[0][0])) if ages else 0.0), float(held[0][0])


def _agents() -> dict[str, float]:
    lately = Agent.last_seen_at >= moment(-SILENT)
    clauses = {"lately": lately, "long ago": not_(lately), "never": Agent.last_seen_at.is_(None)}
    counts: list[Any] = [func.count(case((clause, 1))) for clause in clauses.values()]
    return dict(zip(clauses, map(float, read(select(*counts))[0]), strict=True))


@blueprint.get("/metrics")
def show() -> Response:
    metrics: Metrics = current_app.extensions["coffret_metrics"]
    shown = CollectorRegistry()
    if _FOLDER in os.environ:
        MultiProcessCollector(shown)  # type: ignore[no-untyped-call]
    else:
        shown.register(metrics.registry)
    shown.register(StateCollector())
    return _shown(shown)


def register(app: Flask) -> None:
    metrics = Metrics()
    app.extensions["coffret_metrics"] = metrics
    app.after_request(metrics.count)
    app.register_blueprint(blueprint)


@contextmanager
def shared() -> Iterator[None]:
    """Until its end, what this process and those that it forks count is added up, ended ones included."""
    _remove_what_is_left()
    (folder, descriptor), owner = _new_folder(), os.getpid()
    os.environ[_FOLDER] = str(folder)
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if os.getpid() == owner:  # those that were forked leave by here, too
            shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _new_folder() -> tuple[Path, int]:
    """A folder for temporary files, and the descriptor by which this process and its forks hold it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        with suppress(FileNotFoundError):  # another that starts has taken it for left in between
            if (descriptor := _hold(folder)) is not None:
                if folder.is_dir():
                    return folder, descriptor
                os.close(descriptor)


def _hold(folder: Path) -> int | None:
    """The kernel lets go of it when the last process that has the descriptor ends; None: another's."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _remove_what_is_left() -> None:
    """Remove the folders of processes that were killed: this account's that nobody holds."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another that starts may be quicker
            if folder.lstat().st_uid == os.geteuid() and (descriptor := _hold(folder)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(descriptor)


def serve(app: Flask, bind: str) -> None:
    """Show at `bind` what this process counts and how it is, in a thread that ends with the process.

    Raises SettingsError if it is no address to listen on.
    """
    host, _, port = bind.rpartition(":")
    metrics: Metrics = app.extensions["coffret_metrics"]
    shown = Flask(f"{__name__}.worker")
    shown.extensions["coffret_health"] = app.extensions["coffret_health"]
    shown.register_blueprint(health.blueprint)
    shown.add_url_rule("/metrics", view_func=lambda: _shown(metrics.registry), endpoint="metrics")
    try:
        server = make_server(host.strip("[]"), int(port), shown, threaded=True, request_handler=_Quiet)
    except (OSError, OverflowError, ValueError) as error:
        raise SettingsError(f"COFFRET_METRICS_BIND={bind!r} is nothing to listen on: {error}.") from error
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()


class _Quiet(WSGIRequestHandler):
    """It is asked every few seconds, which is nothing to write down."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None: ...


def _shown(registry: CollectorRegistry) -> Response:
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
