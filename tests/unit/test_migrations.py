"""The migrations make just the tables that the models describe."""

from pathlib import Path

import flask_migrate
from sqlalchemy import inspect

from control_plane.app import create_app
from control_plane.clouds.noop import Books, cloud
from control_plane.database import db
from control_plane.settings import Settings


def test_the_migrations_lead_to_the_models(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path), cloud(Books()))
    with app.app_context():
        flask_migrate.upgrade()
        flask_migrate.check()  # raises when a migration would still find something to do
        db.engine.dispose()


def test_the_migrations_can_be_taken_back(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path), cloud(Books()))
    with app.app_context():
        flask_migrate.upgrade()
        flask_migrate.downgrade(revision="base")
        assert inspect(db.engine).get_table_names() == ["alembic_version"]
        db.engine.dispose()
