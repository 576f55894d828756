"""The state database: base classes, the write transaction, and what happens after it commits."""

import functools
import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar, ParamSpec, TypeVar, TypeVarTuple, cast

from flask import has_request_context
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    DateTime,
    Dialect,
    Double,
    MetaData,
    Row,
    Select,
    String,
    TypeDecorator,
    event,
)
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, lazyload, mapped_column, registry

from control_plane import stores

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVarTuple("T")

_ATTEMPTS = 10

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


def new_id() -> str:
    return str(uuid.uuid4())


def now() -> datetime:
    return datetime.now(UTC)


def is_uuid(text: str) -> bool:
    """Whether it is written as new_id writes; names may not be."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def by_key(model: Any, key: str) -> ColumnElement[bool]:
    """The clause that finds a row by its id or its name: an id is accepted wherever a name is."""
    clause: ColumnElement[bool] = (model.id if is_uuid(key) else model.name) == key
    return clause


class UtcDateTime(TypeDecorator[datetime]):
    """Times are UTC and aware in Python; the databases keep them naive."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC).replace(tzinfo=None) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value else None


class Base(DeclarativeBase):
    registry = registry(
        metadata=MetaData(naming_convention=NAMING),
        type_annotation_map={
            datetime: UtcDateTime,
            float: Double,  # MariaDB's FLOAT has 24 bits
            dict[str, Any]: JSON,
            dict[str, str]: JSON,
            list[Any]: JSON,
            list[str]: JSON,
        },
    )


db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})
"""Flask-SQLAlchemy's extension; `db.session` is one session a thread and app context."""


class Queue(db.Model):  # type: ignore[name-defined,misc]
    """A row that is written to be held; see `queue_up`."""

    __tablename__ = "queues"

    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    taken: Mapped[int] = mapped_column(BigInteger)


class Resource:
    """What every resource has. `generation` counts changes of what is desired, `revision` all."""

    resource_type: ClassVar[str]
    """Its word in events."""
    name: Any
    """What clients call it; each table says how long it may be."""

    # first in the row: SQLite reads up to the last column that it is asked for
    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id, sort_order=-3)
    generation: Mapped[int] = mapped_column(default=1, sort_order=-2)
    revision: Mapped[int] = mapped_column(default=1, sort_order=-1)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)

    def __init__(self, **columns: Any) -> None:
        super().__init__(**columns)

    @property
    def key(self) -> str:
        """What tells it from its siblings in a path."""
        return str(self.name)

    @property
    def belongs_to(self) -> tuple[str | None, str | None]:
        """Ids of its project and its instance; a resource without a project is the operator's."""
        return None, None


@event.listens_for(Session, "before_flush")
def _count_revisions(session: Session, *_: object) -> None:
    for row in session.dirty:
        if isinstance(row, Resource) and session.is_modified(row):
            row.revision += 1
            row.updated_at = now()


def read(query: Select[*tuple[Any, ...]], **parameters: Any) -> Sequence[Row[*tuple[Any, ...]]]:
    """All rows of a query over columns, outside the session: a third of what the session costs."""
    with db.engine.connect() as connection:
        return connection.execute(query, parameters).all()


@contextmanager
def transaction() -> Iterator[Session]:
    """One write transaction, committed at the end; nested calls join the outer one.

    On SQLite it begins IMMEDIATE, so that what it reads cannot change before it writes. Elsewhere others
    write at the same time: what it decides by, it reads `locked`, and what is counted, after `queue_up`.
    """
    session = cast(Session, db.session())
    if session.info.get("writing"):
        yield session
        return
    session.rollback()  # end a read transaction, whose snapshot may be old
    session.info["writing"] = True
    session.info["after_commit"] = []
    try:
        session.connection(execution_options={"coffret_write": True})
        yield session
        if is_dry_run():
            session.flush()
            session.expire_all()  # what is read now is what was written, as after a commit
            session.info["after_commit"] = []
        else:
            session.commit()
            session.info["commits"] = session.info.get("commits", 0) + 1
            if not has_request_context():  # whose answer shows what it wrote, not what came after
                session.expire_all()
    except BaseException:
        session.rollback()
        raise
    finally:
        session.info["writing"] = False
    for action in session.info.pop("after_commit"):
        action()


def locked(query: Select[*T]) -> Select[*T]:
    """The query for rows that nobody else writes until the transaction ends, read as they are now.

    Rows that are joined to them are read apart: they must not be held for it.
    """
    held = query.options(lazyload("*")).with_for_update(key_share=True)
    return held.execution_options(populate_existing=True)


def queue_up(name: str) -> None:
    """From here to the end of the write transaction, one at a time for each name.

    It writes, since Galera would let two nodes lock the same row.
    """
    session = cast(Session, db.session())
    if session.get_bind().dialect.name == "sqlite":
        return  # whose only writer it is
    mine = {"name": name, "taken": 1}
    again = {"taken": Queue.taken + 1}
    if session.get_bind().dialect.name == "postgresql":
        session.execute(
            postgresql.insert(Queue).values(mine).on_conflict_do_update("pk_queues", set_=again)
        )
    else:
        session.execute(mysql.insert(Queue).values(mine).on_duplicate_key_update(again))


def repeated(call: Callable[P, R]) -> Callable[P, R]:
    """Begin the call anew when another transaction came in between: it finds what that one wrote.

    What has committed is not done twice. Inside a transaction, that one's caller repeats.
    """

    @functools.wraps(call)
    def until_it_is_through(*args: P.args, **kwargs: P.kwargs) -> R:
        session = cast(Session, db.session())
        commits = session.info.get("commits")
        for attempt in range(1, _ATTEMPTS):
            try:
                return call(*args, **kwargs)
            except Exception as error:
                done = session.info.get("writing") or session.info.get("commits") != commits
                if done or not stores.is_collision(error):
                    raise
            session.rollback()
            time.sleep(random.uniform(0, 0.02 * attempt))  # noqa: S311 - jitter
        return call(*args, **kwargs)

    return until_it_is_through


@contextmanager
def dry_run() -> Iterator[None]:
    """Until its end a write transaction does all that it does but the commit, and is undone after that.

    What was written can be read meanwhile. On SQLite nobody else writes from then on.
    """
    session = cast(Session, db.session())
    session.info["dry_run"] = True
    session.info.pop("foreseen", None)
    try:
        yield
    finally:
        session.info["dry_run"] = False
        session.rollback()


def is_dry_run() -> bool:
    return bool(cast(Session, db.session()).info.get("dry_run"))


def after_commit(action: Callable[[], None]) -> None:
    """Run `action` once the current transaction has committed; never if it fails."""
    cast(Session, db.session()).info["after_commit"].append(action)
