from typing import Any

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from control_plane.database import Resource, db
from control_plane.instances.models import Instance
from control_plane.instances.status import connection_uri
from control_plane.stores import sortable


class InstanceObject(Resource):
    """What the agent converges inside an instance: databases and users alike."""

    deleting: Mapped[bool] = mapped_column(default=False)
    observed_generation: Mapped[int] = mapped_column(default=0)
    """The generation that the agent last spoke of."""
    applied: Mapped[bool] = mapped_column(default=False)
    """Whether `observed_generation` is so in the engine."""
    message: Mapped[str] = mapped_column(Text, default="")

    instance: Any
    """The Instance; each table declares the relationship."""

    @property
    def belongs_to(self) -> tuple[str | None, str | None]:
        return self.instance.project_id, self.instance.id

    @property
    def settled(self) -> bool:
        """Whether waiting longer is of no use."""
        return self.ready or "ERROR" in (self.phase, self.instance.phase)

    @property
    def ready(self) -> bool:
        return self.applied and self.observed_generation == self.generation and not self.deleting

    @property
    def phase(self) -> str:
        """Trove's words: BUILD, ACTIVE, ERROR, SHUTDOWN (going away)."""
        if self.deleting:
            return "SHUTDOWN"
        if self.observed_generation == self.generation and not self.applied:
            return "ERROR"
        return "ACTIVE" if self.ready else "BUILD"

    @property
    def status(self) -> dict[str, Any]:
        """The status object of the API, but for what only a database or user has."""
        return {
            "phase": self.phase,
            "ready": self.ready,
            "reconciling": not self.settled,
            "observed_generation": self.observed_generation,
            "message": self.message or ("" if self.ready else self.instance.message),
            "managed": True,
        }


class Database(InstanceObject, db.Model):  # type: ignore[name-defined,misc]
    resource_type = "database"
    __tablename__ = "databases"
    __table_args__ = (UniqueConstraint("instance_id", "name"),)

    instance_id: Mapped[str] = mapped_column(ForeignKey("instances.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(sortable(64))
    character_set: Mapped[str | None] = mapped_column(String(64))
    collation: Mapped[str | None] = mapped_column(
        "collation",
        String(64),
        quote=True,  # a keyword of PostgreSQL
    )
    owner: Mapped[str | None] = mapped_column(String(128))
    deletion_policy: Mapped[str | None] = mapped_column(String(16))
    """`drop`, `refuse`, or `abandon`, where it stays in the engine. None: `drop`, but not while its
    instance is protected from deletion."""

    instance: Mapped[Instance] = relationship()

    @property
    def status(self) -> dict[str, Any]:
        return super().status | {"uri": connection_uri(self.instance, self.name)}
