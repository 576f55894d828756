"""Writing and reading events."""

from flask import g, has_request_context
from sqlalchemy import select

from control_plane.database import Resource, db
from control_plane.events.models import Event


def record(kind: str, message: str, row: Resource, *, actor: str | None = None) -> None:
    """Write an event in the current transaction. `actor`: the caller unless the system acts."""
    in_request = has_request_context() and "caller" in g
    project_id, instance_id = row.belongs_to
    db.session.add(
        Event(
            kind=kind,
            message=message,
            resource_type=row.resource_type,
            resource_id=row.id,
            resource_name=row.key,
            project_id=project_id,
            instance_id=instance_id,
            actor=actor or (g.caller.actor if in_request else "coffret"),
            request_id=g.get("request_id") if has_request_context() else None,
        )
    )


def listing(
    project_id: str, instance_id: str | None, after: int, limit: int, kind: str | None
) -> list[Event]:
    """Events of a project or one of its instances, oldest first, from past id `after`."""
    query = select(Event).where(Event.project_id == project_id, Event.id > after)
    if instance_id is not None:
        query = query.where(Event.instance_id == instance_id)
    if kind is not None:
        query = query.where(Event.kind == kind)
    return list(db.session.scalars(query.order_by(Event.id).limit(limit)))
