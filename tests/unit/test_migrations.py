"""The migrations make just the tables that the models describe, on every state database."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import flask_migrate
import pytest
from flask import Flask
from sqlalchemy import cast, inspect, select, text
from stores import File, OnServer, Store, let_go

from control_plane import schema
from control_plane.app import create_app
from control_plane.clouds.noop import Books, cloud
from control_plane.database import db, transaction
from control_plane.events.models import Event
from control_plane.instances.models import Instance
from control_plane.settings import Settings


@pytest.fixture
def settings(store: Store, tmp_path: Path) -> Settings:
    """Of a control plane with a state database without tables."""
    more = {"database_url": store.make()} if isinstance(store, OnServer) else {}
    return store.settings(tmp_path, **more)


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    app = create_app(settings, cloud(Books()))
    with app.app_context():
        yield app
    let_go(app)


@pytest.mark.usefixtures("app")
def test_the_migrations_lead_to_the_models() -> None:
    flask_migrate.upgrade()
    flask_migrate.check()  # raises when a migration would still find something to do


@pytest.mark.usefixtures("app")
def test_the_migrations_can_be_taken_back() -> None:
    flask_migrate.upgrade()
    flask_migrate.downgrade(revision="base")
    assert inspect(db.engine).get_table_names() == ["alembic_version"]


@pytest.mark.usefixtures("app")
def test_times_are_kept_to_the_microsecond_texts_whole_and_numbers_exactly() -> None:
    flask_migrate.upgrade()
    moment = datetime(2026, 3, 29, 1, 30, 0, 123457, tzinfo=UTC)  # in an hour that Europe's clocks skip
    event = {"project_id": "p", "resource_type": "instance", "resource_id": "i", "kind": "failure"}
    message = "ä🐘 " * 30_000
    with transaction() as session:
        session.add(Event(**event, resource_name="n", message=message, actor="a", created_at=moment))
    kept = db.session.scalars(select(Event)).one()
    assert (kept.created_at, kept.message) == (moment, message)
    seconds = 1774747800.123457
    assert db.session.scalar(select(cast(seconds, Instance.lease_expires.type))) == seconds


def test_of_many_that_start_at_once_one_migrates(settings: Settings, store: Store, tmp_path: Path) -> None:
    """A file has one process at a time."""
    command = [sys.executable, "-m", "control_plane.cli", "db", "upgrade"]
    given = {"COFFRET_DATA_DIR": str(tmp_path), "COFFRET_CLOUD": "noop"}
    environment = os.environ | given | {"COFFRET_DATABASE_URL": settings.database_url}
    if settings.secrets_keys:
        environment["COFFRET_SECRETS_KEYS"] = str(settings.secrets_keys)
    many = 1 if isinstance(store, File) else 3
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(many)
    ]
    said = [process.communicate(timeout=120)[0].decode() for process in processes]
    assert said == ["The state database is up to date.\n"] * many


@pytest.mark.usefixtures("app")
def test_a_process_goes_on_with_the_database_of_a_newer_version(caplog: pytest.LogCaptureFixture) -> None:
    schema.bring_up_to_date()
    with db.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    schema.bring_up_to_date()
    assert "a newer version's, at 9999" in caplog.text
