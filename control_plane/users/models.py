from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from control_plane.database import db
from control_plane.databases.models import InstanceObject
from control_plane.datastores.managers import MANAGERS
from control_plane.instances.models import Instance
from control_plane.instances.status import connection_uri
from control_plane.secrets import Sealed
from control_plane.stores import sortable

_TOO_OLD = (
    "The guest agent is too old for deletion_policy = refuse. Update it, or set the policy to reassign."
)


class User(InstanceObject, db.Model):  # type: ignore[name-defined,misc]
    resource_type = "user"
    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("instance_id", "name", "host"),)

    instance_id: Mapped[str] = mapped_column(ForeignKey("instances.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(sortable(128))
    host: Mapped[str] = mapped_column(sortable(255), default="%")
    verifier: Mapped[str] = mapped_column(Sealed)
    """What the engine keeps for the password; the password itself is never stored."""
    password_version: Mapped[int | None]
    grants: Mapped[list[Any]] = mapped_column(default=list)
    deletion_policy: Mapped[str] = mapped_column(String(16), default="reassign")
    """When it is deleted, what it owns is for others (`reassign`), keeps it (`refuse`), or stays with it in
    the engine (`abandon`)."""
    expires_at: Mapped[datetime | None] = mapped_column(index=True)
    """When the sweep drops it; None: never."""

    instance: Mapped[Instance] = relationship()

    @property
    def key(self) -> str:
        return user_key(self.name, self.host)

    @property
    def withheld(self) -> bool:
        """Whether its agent is not told to drop it, because that would not heed the policy `refuse`."""
        able = "deletion_policy" in self.instance.report.get("abilities", [])
        return self.deleting and self.deletion_policy == "refuse" and not able

    @property
    def refused(self) -> bool:
        """Whether it is to be dropped, and is not, until its policy is another or what it owns has gone."""
        if self.instance.deleting:
            return False  # it goes with the instance
        if self.withheld:
            return bool(self.instance.report)
        failed = self.observed_generation == self.generation and not self.applied
        return self.deleting and self.deletion_policy == "refuse" and failed

    @property
    def phase(self) -> str:
        return "ERROR" if self.refused else super().phase

    @property
    def status(self) -> dict[str, Any]:
        status = super().status | {"uris": user_uris(self.instance, self.name, self.grants)}
        return status | {"message": _TOO_OLD} if self.withheld and self.refused else status


def user_key(name: str, host: str) -> str:
    """`name[@host]`; `%`, any host, is left out."""
    return name if host == "%" else f"{name}@{host}"


def user_uris(instance: Instance, name: str, grants: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Connection URIs without the password by database; Valkey's database is `0`."""
    manager = MANAGERS[instance.datastore_version.datastore.manager]
    names = [grant["database"] for grant in grants] if manager.has_databases else ["0"]
    uris = {database: connection_uri(instance, database, name) for database in names if database}
    return {database: uri for database, uri in uris.items() if uri is not None}
