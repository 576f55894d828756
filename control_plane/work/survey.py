"""The survey: what is on the cloud against what the rows say, both ways."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from control_plane import work
from control_plane.clouds import Cloud, CloudObject
from control_plane.database import db, transaction
from control_plane.instances.models import Instance

NOTED = {"server": "server_id", "volume": "volume_id", "port": "port_id"}
"""Where an instance's row keeps the id of its object of each kind."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Missing:
    """An instance whose object is gone though nobody asked Coffret to delete it."""

    kind: str
    id: str
    instance_id: str
    instance: str

    def __str__(self) -> str:
        return f"the {self.kind} {self.id} of instance {self.instance!r} ({self.instance_id}) is gone"


@dataclass(frozen=True)
class Survey:
    orphans: Sequence[CloudObject]
    """Objects of instances that do not exist."""
    missing: Sequence[Missing]

    @property
    def sentences(self) -> list[str]:
        """One for each finding."""
        orphans = [
            f"the {item.kind} {item.id} ({item.name}) is of instance {item.instance_id}, which is not there"
            for item in self.orphans
        ]
        return sorted([*orphans, *map(str, self.missing)])


def take(cloud: Cloud) -> Survey:
    """Look, and change nothing. Raises CloudError.

    A row is written before its objects are made and goes after them. So only what had no row before the
    list was made, and has none after, can be an orphan; and only what a row had before is missing.
    """
    before = _rows()
    objects = cloud.inventory.objects()
    there = {(item.kind, item.id) for item in objects}
    missing = [
        Missing(kind, place[noted], instance_id, name)
        for instance_id, (name, place) in before.items()
        for kind, noted in NOTED.items()
        if noted in place and (kind, place[noted]) not in there
    ]
    orphans = [item for item in objects if item.instance_id and item.instance_id not in before]
    if not missing and not orphans:
        return Survey([], [])
    after = _rows()
    return Survey(
        [item for item in orphans if item.instance_id not in after],
        [
            item
            for item in missing
            if item.instance_id in after and after[item.instance_id][1].get(NOTED[item.kind]) == item.id
        ],
    )


def look_after(found: Survey) -> None:
    """Have every instance that misses something reconciled: that says it, or makes it anew."""
    if not found.missing:
        return
    with transaction():
        for instance_id in sorted({item.instance_id for item in found.missing}):
            work.request(instance_id)


def _rows() -> dict[str, tuple[str, dict[str, str]]]:
    """Name and noted ids by instance id; what is being deleted has none to miss."""
    rows = db.session.execute(select(Instance.id, Instance.name, Instance.cloud, Instance.deleting)).all()
    db.session.rollback()
    return {row.id: (row.name, {} if row.deleting else row.cloud) for row in rows}
