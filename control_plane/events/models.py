from datetime import datetime

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.database import db, now


class Event(db.Model):  # type: ignore[name-defined,misc]
    __tablename__ = "events"
    __table_args__ = (Index(None, "project_id", "id"), Index(None, "instance_id", "id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[str | None] = mapped_column(String(64))
    """None: the operator's own resources."""
    instance_id: Mapped[str | None] = mapped_column(String(36))
    resource_type: Mapped[str] = mapped_column(String(32))
    resource_id: Mapped[str] = mapped_column(String(36))
    resource_name: Mapped[str] = mapped_column(String(400))
    kind: Mapped[str] = mapped_column(String(32))
    """created, changed, deleting, deleted, progress, failure, repaired, action, rotated, denied."""
    message: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(String(255))
    actor_id: Mapped[str | None] = mapped_column(String(64))
    """Keystone's id of the user, or the id of one of our own tokens."""
    source: Mapped[str | None] = mapped_column(String(255))
    """The address that the request came from, or the host that a command ran on."""
    request_id: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=now)
