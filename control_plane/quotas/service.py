"""What a project may use."""

import re
from collections.abc import Mapping
from typing import Any

from flask import current_app
from sqlalchemy import func, select

from control_plane import names
from control_plane.database import db, locked, transaction
from control_plane.errors import Invalid, QuotaExceeded
from control_plane.events import service as events
from control_plane.impact import Impact, foresee, touches_nothing
from control_plane.instances.models import Instance
from control_plane.quotas.models import Quota
from control_plane.upsert import NONE, Outcome, Preconditions, assign

RESOURCES = {"instances": "instances", "volume_size": "GiB of volumes", "ram": "MiB of memory"}


def find(project_id: str) -> Quota:
    """The project's quota; one that nobody set has no limits of its own."""
    row = db.session.scalar(select(Quota).filter_by(project_id=project_id))
    return row or Quota(project_id=project_id, generation=0)


def limits(project_id: str) -> dict[str, int]:
    quota = find(project_id)
    settings = current_app.extensions["coffret_settings"]
    return {
        name: getattr(settings, f"quota_{name}") if (own := getattr(quota, name)) is None else own
        for name in RESOURCES
    }


def put(
    project_id: str, wanted: Mapping[str, int | None], preconditions: Preconditions = NONE
) -> tuple[Quota, Outcome]:
    """Set a project's limits; None is the default. Invalid for what is no project id."""
    if not re.fullmatch(names.PROJECT_PATTERN, project_id):
        raise Invalid(names.PROJECT_RULE)
    with transaction() as session:
        row = session.scalar(locked(select(Quota).filter_by(project_id=project_id)))
        preconditions.check(row)
        if row is not None:
            former = assign(row, wanted)
            foresee(lambda: [_limits(name) for name in former])
            if not former:
                return row, Outcome.UNCHANGED
            events.record("changed", f"Quota changed: {_said(wanted)}.", row)
            return row, Outcome.CHANGED
        row = Quota(project_id=project_id, **wanted)
        session.add(row)
        session.flush()
        foresee(lambda: [_limits(name) for name in wanted if wanted[name] is not None])
        events.record("created", f"Quota set: {_said(wanted)}.", row)
        return row, Outcome.CREATED


def _said(wanted: Mapping[str, int | None]) -> str:
    return ", ".join(
        f"{what} {'by default' if wanted[name] is None else wanted[name]}"
        for name, what in RESOURCES.items()
    )


def _limits(name: str) -> Impact:
    return touches_nothing("The limit is for what is asked for from now on.", f"/{name}")


def usage(project_id: str) -> dict[str, int]:
    """What the project's instances use: instances, volume_size (GiB), ram (MiB)."""
    count, volume_size, ram = db.session.execute(
        select(
            func.count(),
            func.coalesce(func.sum(Instance.volume_size), 0),
            func.coalesce(func.sum(Instance.ram), 0),
        ).where(Instance.project_id == project_id)
    ).one()
    return {"instances": count, "volume_size": int(volume_size), "ram": int(ram)}


def check(project_id: str, row: Instance | None, columns: Mapping[str, Any]) -> None:
    """Raise QuotaExceeded if the instance, as wanted, would take the project over a limit."""
    own = {"instances": 1, "volume_size": row.volume_size, "ram": row.ram} if row else {}
    wanted = {"instances": 1, "volume_size": columns["volume_size"], "ram": columns["ram"]}
    growths = {name: more for name in RESOURCES if (more := wanted[name] - own.get(name, 0)) > 0}
    if not growths:
        return  # most writes: what the project uses is not added up for them
    used, most = usage(project_id), limits(project_id)
    for name, growth in growths.items():
        if used[name] + growth > most[name]:
            raise QuotaExceeded(
                f"The project may have {most[name]} {RESOURCES[name]}; it has {used[name]} and this asks"
                f" for {growth} more. An admin can raise it: PUT /v1/quotas/{project_id}.",
                resource=name,
                limit=most[name],
                used=used[name],
                asked=growth,
            )
