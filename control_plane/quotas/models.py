from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.database import Resource, db


class Quota(Resource, db.Model):  # type: ignore[name-defined,misc]
    """Limits of a project; None: the setting's default."""

    resource_type = "quota"
    __tablename__ = "quotas"

    project_id: Mapped[str] = mapped_column(String(64), unique=True)
    instances: Mapped[int | None]
    volume_size: Mapped[int | None]
    """GiB."""
    ram: Mapped[int | None]
    """MiB."""

    @property
    def key(self) -> str:
        return self.project_id

    @property
    def belongs_to(self) -> tuple[str | None, str | None]:
        return self.project_id, None
