"""`coffret serve`: web, runner and sweep in one gunicorn master with its workers, or a part of them."""

import ctypes
import fcntl
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from control_plane import gateway, logs, metrics, schema, secrets, stores
from control_plane.agents.hearing import Attendance
from control_plane.app import ServerRole, create_app
from control_plane.clouds import Cloud
from control_plane.clouds.local.places import make_folder
from control_plane.clouds.registry import open_cloud
from control_plane.database import db
from control_plane.datastores import service as datastores
from control_plane.http.health import Health
from control_plane.patience import PatientWorker
from control_plane.provider.releases import Releases
from control_plane.secrets import rotation
from control_plane.settings import Settings, SettingsError, Work
from control_plane.work import lease, turns
from control_plane.work.changes import Changes
from control_plane.work.lookout import Lookout
from control_plane.work.runner import Runner
from control_plane.work.sweep import TURN, Sweep

GRACE_SECONDS = 20
"""For requests and reconciles that are under way when the process is told to end."""
LAST_SECONDS = 5
"""After that, for handing back what did not end, in which the database may be slow."""
_LOCK_SECONDS = 10
_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that the kernel sends this process when its parent dies."""

Handler = Callable[[int, FrameType | None], Any]

log = logging.getLogger(__name__)


def serve(settings: Settings, role: ServerRole = ServerRole.ALL) -> None:
    """Serve until SIGTERM or SIGINT. Raises SettingsError when the settings cannot be used.

    As a gateway of agents it takes the place of this program, and calls this again.
    """
    if role == ServerRole.AGENTS:
        gateway.begin()
    logs.log_to_stderr(settings.log_level, settings.log_format)
    _check_files(settings)
    if role != ServerRole.AGENTS:  # whose parked requests take no thread
        settings.check_parking(kinds=2 if role == ServerRole.ALL else 1)
    cloud = open_cloud(settings)
    make_folder(settings.data_dir, 0o700)
    alone = role == ServerRole.ALL and not stores.on_server(settings.sqlalchemy_url)
    with _only_one(settings.data_dir) if alone else nullcontext(), metrics.shared():
        app = create_app(settings, cloud, role)
        prepare(app, settings, role)
        if keystone := app.extensions["coffret_keystone"]:
            keystone.check()
        scheme = "https" if settings.tls_certificate else "http"
        what, data = f"serving {role} on {scheme}://{settings.bind}", settings.data_dir.absolute()
        log.info("%s, data in %s", what, data)
        _Server(settings, cloud, role).run()


def _check_files(settings: Settings) -> None:
    """Raises SettingsError for a file that would only be missed later, or is not what it should be."""
    for name in ("tls_certificate", "tls_key", "agent_ca"):
        path = getattr(settings, name)
        if path is not None and not os.access(path, os.R_OK):
            raise SettingsError(f"COFFRET_{name.upper()}={path} cannot be read.")
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise SettingsError("COFFRET_TLS_CERTIFICATE and COFFRET_TLS_KEY go together; one is set alone.")
    Releases.open(settings.provider_dir).check()


def prepare(app: Flask, settings: Settings, role: ServerRole = ServerRole.ALL) -> None:
    """Bring the state database up to date, and take up what a dead process left."""
    with app.app_context():
        schema.bring_up_to_date()
        rotation.check()
        if secrets.keys().newest is None:
            log.warning("secrets are kept in clear, as the first line of the file of keys says")
        datastores.import_shipped(images=settings.cloud == "openstack")
        inline = settings.work is Work.INLINE
        if inline and role == ServerRole.ALL and db.engine.dialect.name == "sqlite":
            lease.void_all()  # one such process at a time has this file, so nobody holds a lease
            turns.forgo(TURN)
        db.session.remove()
        db.engine.dispose()  # connections do not survive a fork


def gunicorn_options(settings: Settings, role: ServerRole = ServerRole.ALL) -> dict[str, Any]:
    """All of gunicorn's settings but the hooks that concern the application."""
    own = gateway.gunicorn_options(settings) if role == ServerRole.AGENTS else {}
    return _common_options(settings) | own


def _common_options(settings: Settings) -> dict[str, Any]:
    return {
        "bind": settings.bind,
        "certfile": str(settings.tls_certificate) if settings.tls_certificate else None,
        "keyfile": str(settings.tls_key) if settings.tls_key else None,
        "workers": settings.workers,
        "threads": settings.threads,
        "worker_class": PatientWorker,
        "worker_connections": 1000 + settings.threads,
        "keepalive": 75,
        "graceful_timeout": GRACE_SECONDS,
        "control_socket_disable": True,
        "logconfig_dict": logs.configuration(settings.log_level, settings.log_format),
        "proc_name": "coffret",
        "post_fork": _die_with_parent,
    }


class _Server(BaseApplication):
    def __init__(self, settings: Settings, cloud: Cloud, role: ServerRole) -> None:
        self._settings = settings
        self._cloud = cloud
        self._role = role
        self._beside: list[Lookout | Attendance | Runner | Sweep] = []
        """What runs beside the web in a worker, in the order in which it starts."""
        self._ending: threading.Thread | None = None
        self._done = True
        """Whether nothing is under way any more that an instance's lease is held for."""
        super().__init__()

    def load_config(self) -> None:
        options = gunicorn_options(self._settings, self._role) | {
            "post_worker_init": self._begin,
            "worker_exit": self._end,
        }
        self._grace = options["graceful_timeout"]
        options["graceful_timeout"] += (
            math.ceil(self._settings.drain_seconds) + LAST_SECONDS
        )  # the master's
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:  # type: ignore[override]
        return create_app(self._settings, self._cloud, self._role)

    def _begin(self, worker: Any) -> None:
        app: Flask = worker.wsgi
        worker.cfg.set("graceful_timeout", self._grace)
        changes: Changes = app.extensions["coffret_changes"]
        _let_go_at_end(changes, app.extensions["coffret_health"], self._settings.drain_seconds)
        self._beside = [Lookout(app, changes), app.extensions["coffret_attendance"]]
        runner: Runner = app.extensions["coffret_runner"]
        if self._settings.work is Work.CELERY:
            self._beside += [runner]
        elif self._role == ServerRole.ALL:
            sweep = Sweep(app, self._cloud, runner, self._settings.sweep_seconds)
            self._beside += [runner, sweep]
            ending = partial(self._finish_work, app.extensions["coffret_health"], runner, sweep)
            self._ending = threading.Thread(target=ending, name="ending", daemon=True)
            self._ending.start()
        for one in self._beside:
            one.start()

    def _end(self, _: Any, worker: Any) -> None:
        if worker.wsgi is None:  # it did not come up
            return
        if self._ending is not None:
            worker.wsgi.extensions["coffret_health"].ending.set()
            self._ending.join()
        for one in reversed(self._beside):
            if self._done or not isinstance(one, Runner):
                one.stop()
        if not self._done:
            with worker.wsgi.app_context():
                count = lease.hand_back()
            log.warning("the time to end is over; handed back %d instances", count)
            os._exit(0)  # before it does more

    def _finish_work(self, health: Health, runner: Runner, sweep: Sweep) -> None:
        """While requests are still answered, take up nothing new, and wait for what is under way."""
        health.ending.wait()
        sweep.stop()
        self._done = runner.stop(GRACE_SECONDS)


def _die_with_parent(_arbiter: Any, _worker: Any) -> None:
    """Killed with SIGKILL, the master takes its workers along: none is left to hold the port."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _let_go_at_end(changes: Changes, health: Health, drain_seconds: float) -> None:
    """When the worker is told to end, answer parked requests at once, and say on /readyz that it ends.

    At SIGTERM it goes on for so many seconds, until nothing more is sent to it. Handlers take no lock that
    the main thread, which they interrupt, may hold.
    """

    def begin(then: Handler) -> Handler:
        def handle(number: int, frame: FrameType | None) -> None:
            health.ending.set()
            changes.close()
            then(number, frame)

        return handle

    end = signal.getsignal(signal.SIGTERM)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        before = signal.getsignal(number)
        if callable(before):
            signal.signal(number, begin(before))
    if drain_seconds and callable(end):
        signal.signal(signal.SIGALRM, end)
        drain = partial(signal.setitimer, signal.ITIMER_REAL, drain_seconds)
        signal.signal(signal.SIGTERM, begin(lambda *_: drain()))


@contextmanager
def _only_one(data_dir: Path) -> Iterator[None]:
    """Hold the data folder. Workers inherit the lock, so it is free once the last of them is gone."""
    descriptor = os.open(data_dir / "serve.lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise SettingsError(
                    f"COFFRET_DATA_DIR={data_dir} is in use by another `coffret serve`;"
                    " stop that one or use another folder."
                ) from None
            time.sleep(0.1)
    try:
        yield
    finally:
        os.close(descriptor)
