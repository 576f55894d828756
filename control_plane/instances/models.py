from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from control_plane.configurations.models import ConfigurationGroup
from control_plane.database import Resource, db
from control_plane.datastores.models import DatastoreVersion
from control_plane.stores import REVISION, sortable


class Instance(Resource, db.Model):  # type: ignore[name-defined,misc]
    resource_type = "instance"
    __tablename__ = "instances"
    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        Index(None, "next_reconcile_at"),
        Index(None, "lease_expires"),
        Index(None, "project_id", "volume_size", "ram"),  # what counts against its quota
    )

    project_id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(sortable(255))

    # Desired: written by services only.
    version: Mapped[str | None] = mapped_column(String(255))
    """The version asked for, as it was written; `datastore_version` is what it stands for."""
    datastore_version_id: Mapped[str] = mapped_column(ForeignKey("datastore_versions.id"))
    flavor: Mapped[str] = mapped_column(String(255))
    ram: Mapped[int]
    """MiB, of the flavor when it was chosen; counts against the quota."""
    vcpus: Mapped[int]
    volume_size: Mapped[int]
    """GiB."""
    volume_type: Mapped[str | None] = mapped_column(String(255))
    network: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """network_id, subnet_id, ip_address; empty: the cloud's own choice."""
    is_public: Mapped[bool] = mapped_column(default=False)
    allowed_cidrs: Mapped[list[str] | None]
    """None: whoever reaches the network; empty: nobody."""
    availability_zone: Mapped[str | None] = mapped_column(String(255))
    configuration_group_id: Mapped[str | None] = mapped_column(
        ForeignKey("configuration_groups.id"), index=True
    )
    restart_policy: Mapped[str] = mapped_column(String(16), default="manual")
    rebuild_policy: Mapped[str] = mapped_column(String(16), default="automatic")
    """What to do when its server is gone."""
    server_group: Mapped[dict[str, str] | None]
    """name and policy."""
    deletion_protection: Mapped[bool] = mapped_column(default=False)
    labels: Mapped[dict[str, str]] = mapped_column(default=dict)
    deleting: Mapped[bool] = mapped_column(default=False)
    restart: Mapped[str | None] = mapped_column(String(36))
    """Id of the newest restart action."""
    rebuild: Mapped[str | None] = mapped_column(String(36))
    """Id of the newest rebuild action."""
    desired_revision: Mapped[int] = mapped_column(REVISION, default=1)
    """Counts changes of the agent's directive, databases and users included."""
    engine_revision: Mapped[int] = mapped_column(REVISION, default=1)
    """The `desired_revision` of the newest change that concerns the engine itself."""
    wanted_by: Mapped[str | None] = mapped_column(String(64))
    """Id of the newest request of a client that changed the directive; None once the agent has worked it
    through."""

    # Observed: written by reconcile (under the lease) and by agents' reports.
    cloud: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """What the drivers made: ids of server, volume and port, and the address."""
    cloud_generation: Mapped[int] = mapped_column(default=0)
    """The generation whose cloud objects are as wanted."""
    cloud_message: Mapped[str] = mapped_column(Text, default="")
    """Why the cloud is not as wanted; empty when it is or when work goes on."""
    cloud_failed: Mapped[bool] = mapped_column(default=False)
    """The cloud's error is final: only a changed desired state starts it again."""
    report: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """The agent's newest report (guest_agent.protocol.Report), without outcomes."""
    converged_revision: Mapped[int] = mapped_column(REVISION, default=0)
    """The `desired_revision` that the agent has worked through."""
    agent_lost: Mapped[bool] = mapped_column(default=False)

    # Derived from the above by status.summarise at each write.
    phase: Mapped[str] = mapped_column(String(32), default="BUILD")
    operating_status: Mapped[str] = mapped_column(String(32), default="NEW")
    ready: Mapped[bool] = mapped_column(default=False)
    observed_generation: Mapped[int] = mapped_column(default=0)
    conditions: Mapped[list[Any]] = mapped_column(default=list)
    message: Mapped[str] = mapped_column(Text, default="")

    # Work.
    lease_token: Mapped[str | None] = mapped_column(String(36))
    lease_expires: Mapped[float | None]
    """Seconds since the epoch, by the database's clock."""
    lease_holder: Mapped[str | None] = mapped_column(String(128))
    """The process that has it (work.processes)."""
    next_reconcile_at: Mapped[float | None]
    """Likewise; None: nothing to do until something changes."""
    asked_by: Mapped[str | None] = mapped_column(String(64))
    """Id of the newest request of a client that asked for a reconcile; None once it has what it wanted."""
    handed_over_at: Mapped[float | None]
    """When the sweep last gave it to a runner; None: somebody has taken it up since."""
    attempts: Mapped[int] = mapped_column(default=0)
    """Failures in a row, for the backoff."""
    sentence: Mapped[str] = mapped_column(Text, default="")
    """What the last reconcile said."""

    datastore_version: Mapped[DatastoreVersion] = relationship(lazy="joined")
    group: Mapped[ConfigurationGroup | None] = relationship(lazy="joined")

    @property
    def belongs_to(self) -> tuple[str | None, str | None]:
        return self.project_id, self.id

    @property
    def etag(self) -> str:
        """Of the directive that its agent should hold."""
        return f"{self.id}-{self.desired_revision}"

    def revision_of(self, etag: str | None) -> int:
        """The `desired_revision` that an etag of this instance stands for; 0 for any other text."""
        prefix, _, number = (etag or "").rpartition("-")
        plain = number.isascii() and number.isdecimal() and len(number) <= 15
        return int(number) if prefix == self.id and plain else 0


class Action(db.Model):  # type: ignore[name-defined,misc]
    """Something done once to an instance on demand, such as a restart."""

    __tablename__ = "actions"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    instance_id: Mapped[str] = mapped_column(ForeignKey("instances.id", ondelete="CASCADE"), index=True)
    type: Mapped[str] = mapped_column(String(32))
    phase: Mapped[str] = mapped_column(String(16), default="REQUESTED")
    """REQUESTED or DONE."""
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
