from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from control_plane.database import Resource, db
from control_plane.datastores.models import DatastoreVersion
from control_plane.stores import sortable


class ConfigurationGroup(Resource, db.Model):  # type: ignore[name-defined,misc]
    resource_type = "configuration_group"
    __tablename__ = "configuration_groups"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    project_id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(sortable(255))
    description: Mapped[str] = mapped_column(String(1024), default="")
    version: Mapped[str | None] = mapped_column(String(255))
    """The version asked for, as it was written; `datastore_version` is what it stands for."""
    datastore_version_id: Mapped[str] = mapped_column(ForeignKey("datastore_versions.id"))
    parameters: Mapped[dict[str, str]] = mapped_column(default=dict)
    """Name -> value as the client wrote it."""

    datastore_version: Mapped[DatastoreVersion] = relationship(lazy="joined")

    @property
    def datastore(self) -> str:
        return self.datastore_version.datastore.name

    @property
    def belongs_to(self) -> tuple[str | None, str | None]:
        return self.project_id, None
