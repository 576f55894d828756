from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from control_plane.database import Resource, db
from control_plane.stores import sortable


class Datastore(Resource, db.Model):  # type: ignore[name-defined,misc]
    """An engine that can be managed. The operator's, seen by all projects."""

    resource_type = "datastore"
    __tablename__ = "datastores"

    name: Mapped[str] = mapped_column(sortable(255), unique=True)
    manager: Mapped[str] = mapped_column(String(32))
    description: Mapped[str] = mapped_column(String(1024), default="")
    default_version: Mapped[str | None] = mapped_column(String(255))
    """Name of a version; None: the newest active one."""
    versions: Mapped[list["DatastoreVersion"]] = relationship(
        back_populates="datastore", cascade="all, delete-orphan"
    )


class DatastoreVersion(Resource, db.Model):  # type: ignore[name-defined,misc]
    resource_type = "datastore_version"
    __tablename__ = "datastore_versions"
    __table_args__ = (UniqueConstraint("datastore_id", "name"),)

    datastore_id: Mapped[str] = mapped_column(ForeignKey("datastores.id"))
    name: Mapped[str] = mapped_column(sortable(255))
    image: Mapped[str | None] = mapped_column(String(255))
    image_tags: Mapped[list[str]] = mapped_column(default=list)
    packages: Mapped[list[str]] = mapped_column(default=list)
    active: Mapped[bool] = mapped_column(default=True)
    deprecated: Mapped[bool] = mapped_column(default=False)
    engine_version: Mapped[str] = mapped_column(String(64), default="")
    """The exact engine that the catalogue was read from."""
    parameters: Mapped[list[Any]] = mapped_column(default=list, deferred=True)
    """The catalogue: guest_agent.protocol.Parameter entries, sorted by name."""
    character_sets: Mapped[dict[str, Any]] = mapped_column(default=dict, deferred=True)
    """Character set -> its collations."""

    datastore: Mapped[Datastore] = relationship(back_populates="versions", lazy="joined")

    @property
    def key(self) -> str:
        return f"{self.datastore.name}/{self.name}"
