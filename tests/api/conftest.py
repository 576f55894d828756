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


@pytest.fixture(scope="session")
def filled(application: Flask) -> Path:
    """A state database with the shipped datastores."""
    with application.app_context():
        db.create_all()
        import_shipped()
        db.session.remove()
        db.engine.dispose()
    folder: Path = application.extensions["coffret_settings"].data_dir
    return (folder / "coffret.db").rename(folder / "filled.db")


@contextmanager
def laid_anew(application: Flask, filled: Path) -> Iterator[Api]:
    state = filled.with_name("coffret.db")
    shutil.copy(filled, state)
    yield Api(ControlPlane(application, BOOKS))
    with application.app_context():
        db.session.remove()
        db.engine.dispose()
    for file in filled.parent.glob("coffret.db*"):
        file.unlink()
    for kept in (BOOKS.volumes, BOOKS.ports, BOOKS.servers, BOOKS.calls, BOOKS.failures):
        kept.clear()


@pytest.fixture
def api(application: Flask, filled: Path) -> Iterator[Api]:
    """The API with the shipped datastores and nothing else; a member of `project` calls."""
    with laid_anew(application, filled) as api:
        yield api


@pytest.fixture(scope="module")
def shared(application: Flask, filled: Path) -> Iterator[Api]:
    """For a module whose tests change nothing: orders (PostgreSQL), maria and cache, not empty."""
    with laid_anew(application, filled) as api:
        fill(api)
        yield api


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
