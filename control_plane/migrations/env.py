"""Alembic's environment: migrations run on the application's own engine, set up by Flask-Migrate."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from alembic import context
from flask import current_app
from sqlalchemy import Connection, text

from control_plane import stores
from control_plane.database import Base, UtcDateTime


def run() -> None:
    engine = current_app.extensions["migrate"].db.engine
    with engine.connect() as connection, _alone(connection):
        _compare_by_code_points(connection)
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            render_as_batch=True,  # SQLite alters a table by making it anew
            compare_type=True,
            render_item=_render,
        )
        with context.begin_transaction():
            context.run_migrations()


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Only one of the processes that start at the same time migrates; the others find it done.

    Raises TimeoutError when another is at it for an hour, which MariaDB does not wait longer for. SQLite's
    file has one process at a time. On Galera the lock is for those on the same node.
    """
    if connection.dialect.name not in _LOCKS:
        yield
        return
    stores.take_your_time(connection)
    take, give = _LOCKS[connection.dialect.name]
    if connection.scalar(text(take)) == 0:
        raise TimeoutError("another process has been migrating the state database for an hour")
    connection.commit()  # the session holds it
    try:
        yield
    finally:
        connection.rollback()
        connection.execute(text(give))
        connection.commit()


_LOCKS = {
    "postgresql": (
        "SELECT pg_advisory_lock(hashtext('coffret migrations'))",
        "SELECT pg_advisory_unlock(hashtext('coffret migrations'))",
    ),
    "mariadb": (
        "SELECT GET_LOCK(CONCAT('coffret migrations ', DATABASE()), 3600)",
        "SELECT RELEASE_LOCK(CONCAT('coffret migrations ', DATABASE()))",
    ),
}


def _compare_by_code_points(connection: Connection) -> None:
    """MariaDB's other collations hold names for the same that differ in case or in spaces at the end."""
    if connection.dialect.name == "mariadb":
        if connection.scalar(text("SELECT @@collation_database")) != _COLLATION:
            connection.execute(text(f"ALTER DATABASE CHARACTER SET utf8mb4 COLLATE {_COLLATION}"))
        connection.commit()


_COLLATION = "utf8mb4_nopad_bin"


def _render(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """A migration names plain types, so that it stays true when the code's own types change."""
    return "sa.DateTime()" if kind == "type" and isinstance(item, UtcDateTime) else False


run()
