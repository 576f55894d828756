"""A control plane on the noop cloud, with a state database of its own."""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from celery.contrib.testing.worker import TestWorkController
from celery.worker import state
from flask import Flask
from kombu.asynchronous import set_event_loop
from sqlalchemy import select, update
from stores import Store, let_go

from control_plane import work
from control_plane.app import create_app
from control_plane.auth import Role, tokens
from control_plane.clouds import Port, Server, ServerSpec, Volume
from control_plane.clouds.base import Bootstrap, Cloud
from control_plane.clouds.noop import Books, cloud
from control_plane.clouds.noop.drivers import Compute
from control_plane.database import db, transaction
from control_plane.datastores import service as datastores
from control_plane.instances.models import Instance
from control_plane.settings import Work
from control_plane.work.broker import add_task, open_celery
from control_plane.work.looking import look_at
from control_plane.work.runner import Runner

CATALOGUE = {
    "datastore": "postgresql",
    "manager": "postgresql",
    "version": "18",
    "engine_version": "18.6",
    "description": "PostgreSQL",
    "parameters": [
        {
            "name": "work_mem",
            "type": "integer",
            "description": "Memory of a sort.",
            "default": "4096",
            "unit": "kB",
            "minimum": 64,
            "maximum": 2147483647,
            "values": None,
            "restart_required": False,
            "settable": True,
        }
    ],
    "character_sets": {"UTF8": ["C", "C.UTF-8"]},
}


@dataclasses.dataclass(frozen=True)
class GuestCompute(Compute):
    """Hands out bootstrap tokens and leaves it to the test to be the agent."""

    tokens: dict[str, str] = dataclasses.field(default_factory=dict)

    def ensure(self, spec: ServerSpec, volume: Volume, port: Port, bootstrap: Bootstrap) -> Server:
        token = self.tokens.get(spec.instance_id)
        if token is None or (bootstrap.silent and not bootstrap.accepts(token)):
            self.tokens[spec.instance_id] = bootstrap.token()
        return super().ensure(spec, volume, port, bootstrap)


class ControlPlane:
    """The application, its clients, and what it did to the cloud."""

    def __init__(self, app: Flask, books: Books) -> None:
        self.app = app
        self.books = books
        self.client = app.test_client()
        self.runner: Runner = app.extensions["coffret_runner"]
        self._worker = ExitStack()
        with app.app_context():
            _, self.token = tokens.create("test", "project", Role.ADMIN)

    def start(self) -> None:
        """Have what is asked for done: over a broker, by a worker in this process."""
        self.runner.start()
        if self.app.extensions["coffret_settings"].work is Work.CELERY:
            self._worker.enter_context(worker(self.app))

    def stop(self) -> None:
        self.app.extensions["coffret_changes"].close()
        self._worker.close()
        self.runner.stop()
        let_go(self.app)

    @property
    def compute(self) -> GuestCompute:
        found = self.app.extensions["coffret_cloud"].compute
        assert isinstance(found, GuestCompute)
        return found

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        return self.client.open(
            f"/v1{path}",
            method=method,
            json=body,
            headers={"Authorization": f"Bearer {self.token}", **headers},
        )

    def put_instance(self, name: str = "orders", **fields: Any) -> str:
        wanted = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}} | fields
        answer = self.call("PUT", f"/instances/{name}", wanted)
        assert answer.status_code in (200, 202), answer.json
        instance_id: str = answer.json["id"]
        return instance_id

    def instance(self, name: str = "orders") -> Any:
        return self.call("GET", f"/instances/{name}").json

    def row(self, instance_id: str) -> Instance:
        """The row as it is now; of use inside an app context only."""
        db.session.rollback()
        row = db.session.scalar(
            select(Instance).filter_by(id=instance_id), execution_options={"populate_existing": True}
        )
        assert row is not None
        return row


def eventually(holds: Callable[[], Any], seconds: float = 30) -> Any:
    """What `holds` returns once it is true; fails when it does not become so."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)
    return found


@contextmanager
def worker(app: Flask) -> Iterator[None]:
    """What `coffret worker` runs, in a thread."""
    celery = open_celery(app.extensions["coffret_settings"])
    add_task(
        celery, partial(look_at, app, app.extensions["coffret_cloud"]), app.extensions["coffret_runner"]
    )
    set_event_loop(None)  # else it takes that of the worker before it, which is closed
    one = TestWorkController(
        app=celery, concurrency=4, pool="threads", without_gossip=True, without_mingle=True
    )
    thread = threading.Thread(target=one.start)
    thread.start()
    one.ensure_started()
    yield
    state.should_stop = 0
    one.hub.call_soon(lambda: None)  # wakes it
    thread.join()
    state.should_stop = None


def _control_plane(
    store: Store, folder: Path, make_cloud: Callable[[Books], Cloud], over: dict[str, Any]
) -> Iterator[ControlPlane]:
    books = Books()
    app = create_app(store.settings(folder, bind="127.0.0.1:1", **over), make_cloud(books))
    store.lay(app)
    with app.app_context():
        datastores.import_catalogue(CATALOGUE)  # type: ignore[arg-type]
    control_plane = ControlPlane(app, books)
    yield control_plane
    control_plane.stop()
    store.close(app)


@pytest.fixture
def control_plane(store: Store, tmp_path: Path, over: dict[str, Any]) -> Iterator[ControlPlane]:
    """On the noop cloud, whose instances need no agents. It is not started."""
    yield from _control_plane(store, tmp_path, cloud, over)


@pytest.fixture
def with_guests(store: Store, tmp_path: Path, over: dict[str, Any]) -> Iterator[ControlPlane]:
    """On a cloud whose guests are played by the test."""
    yield from _control_plane(
        store,
        tmp_path,
        lambda books: dataclasses.replace(cloud(books), agentless=False, compute=GuestCompute(books)),
        over,
    )


@pytest.fixture
def instance_id(control_plane: ControlPlane) -> Iterator[str]:
    instance_id = control_plane.put_instance()
    with control_plane.app.app_context():
        yield instance_id


def write(instance_id: str, **columns: object) -> None:
    with transaction() as session:
        session.execute(update(Instance).where(Instance.id == instance_id).values(**columns))


def ask(control_plane: ControlPlane, instance_id: str) -> None:
    with control_plane.app.app_context(), transaction():
        work.request(instance_id)
