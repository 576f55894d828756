from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.database import db


class Agent(db.Model):  # type: ignore[name-defined,misc]
    """The credentials and freshness of an instance's agent; secrets are kept as SHA-256 only."""

    __tablename__ = "agents"

    instance_id: Mapped[str] = mapped_column(
        ForeignKey("instances.id", ondelete="CASCADE"), primary_key=True
    )
    bootstrap_hash: Mapped[str | None] = mapped_column(String(64))
    bootstrap_expires_at: Mapped[datetime | None]
    secret_hash: Mapped[str | None] = mapped_column(String(64))
    next_secret_hash: Mapped[str | None] = mapped_column(String(64))
    """Of the one that was handed out and not used yet; `secret_hash` is valid until it is."""
    former_secret_hash: Mapped[str | None] = mapped_column(String(64))
    """Of the one before; refused, and known again."""
    secret_since: Mapped[datetime | None]
    secret_offered_at: Mapped[datetime | None]
    last_seen_at: Mapped[datetime | None]
    """Written at most every 20 s."""
