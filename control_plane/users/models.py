from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from control_plane.database import db
from control_plane.databases.models import InstanceObject
from control_plane.instances.models import Instance


class User(InstanceObject, db.Model):  # type: ignore[name-defined,misc]
    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("instance_id", "name", "host"),)

    instance_id: Mapped[str] = mapped_column(ForeignKey("instances.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(128))
    host: Mapped[str] = mapped_column(String(255), default="%")
    verifier: Mapped[str] = mapped_column(String(255))
    """What the engine keeps for the password; the password itself is never stored."""
    password_version: Mapped[int | None]
    grants: Mapped[list[Any]] = mapped_column(default=list)

    instance: Mapped[Instance] = relationship()
