"""A control plane on the noop cloud, with a state database of its own."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from stores import Store

from control_plane.app import create_app
from control_plane.auth import Role, tokens
from control_plane.clouds import Port, Server, ServerSpec, Volume
from control_plane.clouds.base import Bootstrap, Cloud
from control_plane.clouds.noop import Books, cloud
from control_plane.clouds.noop.drivers import Compute
from control_plane.database import db
from control_plane.datastores import service as datastores
from control_plane.instances.models import Instance
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
        with app.app_context():
            _, self.token = tokens.create("test", "project", Role.ADMIN)

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


def eventually(holds: Callable[[], Any], seconds: float = 10) -> Any:
    """What `holds` returns once it is true; fails when it does not become so."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)
    return found


def _control_plane(
    store: Store, folder: Path, make_cloud: Callable[[Books], Cloud]
) -> Iterator[ControlPlane]:
    books = Books()
    app = create_app(store.settings(folder, bind="127.0.0.1:1"), make_cloud(books))
    store.lay(app)
    with app.app_context():
        datastores.import_catalogue(CATALOGUE)  # type: ignore[arg-type]
    control_plane = ControlPlane(app, books)
    yield control_plane
    app.extensions["coffret_changes"].close()
    control_plane.runner.stop()
    store.clear(app)


@pytest.fixture
def control_plane(store: Store, tmp_path: Path) -> Iterator[ControlPlane]:
    """On the noop cloud, whose instances need no agents. The runner is not started."""
    yield from _control_plane(store, tmp_path, cloud)


@pytest.fixture
def with_guests(store: Store, tmp_path: Path) -> Iterator[ControlPlane]:
    """On a cloud whose guests are played by the test."""
    yield from _control_plane(
        store,
        tmp_path,
        lambda books: dataclasses.replace(cloud(books), agentless=False, compute=GuestCompute(books)),
    )
