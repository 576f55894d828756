import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from contract import Api
from flask import Flask
from sqlalchemy import Engine, event
from states import States
from stores import Store

from control_plane.app import create_app
from control_plane.clouds.noop import Books, cloud

BOOKS = Books()


@event.listens_for(Engine, "connect")
def _do_not_wait_for_the_disk(connection: Any, _: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")


@pytest.fixture
def over() -> dict[str, Any]:
    """Settings that say how work is done; a module may have another fixture of this name."""
    return {}


@pytest.fixture(scope="session")
def application(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """The application on the noop cloud. Its state database is laid anew for each test."""
    return create_app(store.settings(tmp_path_factory.mktemp("contract")), cloud(BOOKS))


@pytest.fixture(scope="session")
def states(store: Store, application: Flask) -> States:
    return States(store, application, BOOKS)


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
