"""Writing, reading and forgetting events."""

from dataclasses import dataclass
from typing import Protocol

from flask import g, has_request_context
from sqlalchemy import delete, select

from control_plane.auth.context import address
from control_plane.database import db, transaction
from control_plane.events.models import Event
from control_plane.work.clock import moment

BATCH = 1000
"""Events that are forgotten in one transaction."""


class Recorded(Protocol):
    """What an event is about: a resource, a token, a Subject."""

    @property
    def resource_type(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def belongs_to(self) -> tuple[str | None, str | None]:
        """Ids of its project and its instance."""


@dataclass(frozen=True)
class Subject:
    """What has no row."""

    resource_type: str
    key: str
    id: str = ""
    project_id: str | None = None

    @property
    def belongs_to(self) -> tuple[str | None, str | None]:
        return self.project_id, None


def record(kind: str, message: str, about: Recorded, *, actor: str | None = None) -> None:
    """Write an event in the current transaction. `actor`: the caller unless the system acts."""
    caller = None if actor else g.get("caller")
    project_id, instance_id = about.belongs_to
    db.session.add(
        Event(
            kind=kind,
            message=message,
            resource_type=about.resource_type,
            resource_id=about.id,
            resource_name=about.key,
            project_id=project_id,
            instance_id=instance_id,
            actor=actor or (caller.actor if caller else "nobody" if has_request_context() else "coffret"),
            actor_id=caller.actor_id if caller else None,
            source=address() if has_request_context() else g.get("source"),
            request_id=g.get("request_id"),
        )
    )


def listing(
    project_id: str | None, instance_id: str | None, after: int, limit: int, kind: str | None
) -> list[Event]:
    """Events of a project (None: of all, and the operator's) or one of its instances.

    Oldest first, from past id `after`.
    """
    query = select(Event).where(Event.id > after)
    if project_id is not None:
        query = query.where(Event.project_id == project_id)
    if instance_id is not None:
        query = query.where(Event.instance_id == instance_id)
    if kind is not None:
        query = query.where(Event.kind == kind)
    return list(db.session.scalars(query.order_by(Event.id).limit(limit)))


def forget(days: int) -> int:
    """Delete the events that are older, in batches; returns how many. 0 days: none ever is."""
    count = 0
    while days:
        with transaction() as session:
            # ids count up, so the oldest come first, and no index on the time is needed
            over = Event.created_at < moment(-days * 86400)
            oldest = session.execute(select(Event.id, over).order_by(Event.id).limit(BATCH)).all()
            old = [event_id for event_id, is_old in oldest if is_old]
            session.execute(delete(Event).where(Event.id.in_(old)))
        count += len(old)
        if len(old) < BATCH:
            break
    return count
