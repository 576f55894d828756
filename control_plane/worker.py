"""`coffret worker`: reconciles the instances that RabbitMQ names, and takes its turn at the sweep."""

import dataclasses
import logging
import os
import sys
import threading
from functools import partial
from typing import Any

from celery import signals
from flask import Flask

from control_plane import logs, metrics
from control_plane.app import create_app
from control_plane.clouds.local.places import make_folder
from control_plane.clouds.registry import open_cloud
from control_plane.http.health import Health
from control_plane.server import GRACE_SECONDS, LAST_SECONDS, prepare
from control_plane.settings import Settings
from control_plane.work import lease
from control_plane.work.broker import add_task, open_celery
from control_plane.work.looking import look_at
from control_plane.work.sweep import Sweep

log = logging.getLogger(__name__)


def work(settings: Settings, concurrency: int | None) -> None:
    """Work until SIGTERM or SIGINT, on `concurrency` instances at once. Raises SettingsError."""
    logs.log_to_stderr(settings.log_level, settings.log_format)
    threads = concurrency or settings.runner_threads
    settings = dataclasses.replace(settings, runner_threads=threads)
    cloud = open_cloud(settings)
    make_folder(settings.data_dir, 0o700)
    app = create_app(settings, cloud)
    prepare(app, settings)
    runner = app.extensions["coffret_runner"]
    sweep = Sweep(app, cloud, runner, settings.sweep_seconds)
    celery = open_celery(settings)
    add_task(celery, partial(look_at, app, cloud), runner)
    health: Health = app.extensions["coffret_health"]
    health.need("broker")
    if settings.metrics_bind:
        metrics.serve(app, settings.metrics_bind)
    signals.setup_logging.connect(_leave_logging_alone)
    worker = celery.Worker(
        pool="threads",
        concurrency=threads,
        loglevel=settings.log_level,
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    end_in_time = partial(_end_in_time, app, worker)
    signals.worker_shutting_down.connect(end_in_time)
    runner.start()
    sweep.start()
    log.info("working on up to %d instances at once", threads)
    worker.start()
    sweep.stop()
    runner.stop()
    sys.exit(worker.exitcode)


def _leave_logging_alone(**_: Any) -> None:
    """Celery sets up no logging where somebody listens to its signal."""


def _end_in_time(app: Flask, worker: Any, **_: Any) -> None:
    """Celery sees it at its next message, and waits for what is under way for ever; not so here."""
    health: Health = app.extensions["coffret_health"]
    health.ending.set()
    for seconds, end in (
        (0, partial(worker.hub.call_soon, int)),  # any call from another thread wakes it
        (GRACE_SECONDS, partial(_hand_back, app)),
        (GRACE_SECONDS + LAST_SECONDS, partial(os._exit, 1)),
    ):
        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()


def _hand_back(app: Flask) -> None:
    """Have others take up at once what this process does not finish, and end before it does more."""
    with app.app_context():
        count = lease.hand_back()
    log.warning("the time to end is over; handed back %d instances", count)
    os._exit(0)
