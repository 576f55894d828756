import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from contract import PASSWORD, Api
from control_plane_fixtures import ControlPlane
from flask import Flask
from sqlalchemy import Engine, event

from control_plane.app import create_app
from control_plane.clouds.noop import Books, cloud
from control_plane.database import db
from control_plane.datastores.service import import_shipped
from control_plane.settings import Settings

BOOKS = Books()


@event.listens_for(Engine, "connect")
def _do_not_wait_for_the_disk(connection: Any, _: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")


@pytest.fixture(scope="session")
def application(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """The application on the noop cloud. Its state database is laid anew for each test."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("contract"), cloud="noop")
    return create_app(settings, cloud(BOOKS))


class States:
    """Copies of the state database, to start tests from."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.folder: Path = app.extensions["coffret_settings"].data_dir
        with app.app_context():
            db.create_all()
            import_shipped(images=False)
        self.api = Api(ControlPlane(app, BOOKS))
        self.keep("shipped")
        with self.laid("shipped"):
            fill(self.api)
            self.keep("filled")

    def keep(self, name: str) -> None:
        self._let_go()
        (self.folder / "coffret.db").rename(self.folder / name)

    @contextmanager
    def laid(self, name: str) -> Iterator[Api]:
        """The API over a copy of the state so called, as a member of `project` calls it."""
        shutil.copy(self.folder / name, self.folder / "coffret.db")
        yield self.api
        self._let_go()
        for file in self.folder.glob("coffret.db*"):
            file.unlink()
        for kept in (BOOKS.volumes, BOOKS.ports, BOOKS.servers, BOOKS.calls, BOOKS.failures):
            kept.clear()

    def _let_go(self) -> None:
        with self.app.app_context():
            db.session.remove()
            db.engine.dispose()


def fill(api: Api) -> None:
    """The instances orders (PostgreSQL), maria and cache (Valkey), with databases `shop`, a user `app`."""
    api.instance()
    api.instance("maria", datastore="mariadb")
    api.instance("cache", datastore="valkey")
    for name in ("orders", "maria"):
        api.made(f"/instances/{name}/databases/shop", {})
    grants = [{"database": "shop", "privileges": ["SELECT"]}]
    api.made("/instances/orders/users/app", {"password": PASSWORD, "grants": grants})
    api.work()


@pytest.fixture(scope="session")
def states(application: Flask) -> States:
    return States(application)


@pytest.fixture
def api(states: States) -> Iterator[Api]:
    """With the shipped datastores and nothing else."""
    with states.laid("shipped") as api:
        yield api


@pytest.fixture
def filled(states: States) -> Iterator[Api]:
    """With three instances and what is in them; see `fill`."""
    with states.laid("filled") as api:
        yield api


@pytest.fixture(scope="module")
def shared(states: States) -> Iterator[Api]:
    """As `filled`, for modules whose tests change nothing."""
    with states.laid("filled") as api:
        yield api
