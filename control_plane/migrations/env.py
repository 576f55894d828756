"""Alembic's environment: migrations run on the application's own engine, set up by Flask-Migrate."""

from typing import Any, Literal

from alembic import context
from flask import current_app

from control_plane.database import Base, UtcDateTime


def run() -> None:
    engine = current_app.extensions["migrate"].db.engine
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            render_as_batch=True,  # SQLite alters a table by making it anew
            compare_type=True,
            render_item=_render,
        )
        with context.begin_transaction():
            context.run_migrations()


def _render(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """A migration names plain types, so that it stays true when the code's own types change."""
    return "sa.DateTime()" if kind == "type" and isinstance(item, UtcDateTime) else False


run()
