"""The rules of configuration groups. Knows nothing of HTTP."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from control_plane import names, work
from control_plane.auth import RequestContext
from control_plane.configurations import impact
from control_plane.configurations.models import ConfigurationGroup
from control_plane.database import by_key, db, locked, transaction
from control_plane.datastores import catalogue
from control_plane.datastores import service as datastores
from control_plane.datastores.models import DatastoreVersion
from control_plane.errors import InUse, Invalid, NotFound, nearest
from control_plane.events import service as events
from control_plane.impact import foresee, touches_nothing
from control_plane.instances import service as instances
from control_plane.instances.status import in_sync, restart_required
from control_plane.upsert import NONE, Outcome, Preconditions, assign


def find(ctx: RequestContext, key: str, *, for_update: bool = False) -> ConfigurationGroup:
    """The project's group by name or id. NotFound names the nearest."""
    if (row := _find(ctx, key, for_update)) is None:
        known = db.session.scalars(select(ConfigurationGroup.name).filter_by(project_id=ctx.project_id))
        raise NotFound(f"The project has no configuration group {key!r}.{nearest(key, known)}")
    return row


def _find(ctx: RequestContext, key: str, for_update: bool = False) -> ConfigurationGroup | None:
    query = select(ConfigurationGroup).filter_by(project_id=ctx.project_id)
    query = query.filter(by_key(ConfigurationGroup, key))
    return db.session.scalar(locked(query) if for_update else query)


def listing(
    ctx: RequestContext, name: str | None, datastore: str | None, marker: str, limit: int
) -> Sequence[ConfigurationGroup]:
    """The project's groups by name, after `marker`."""
    query = select(ConfigurationGroup).filter_by(project_id=ctx.project_id)
    query = query.filter(ConfigurationGroup.name > marker)
    if name is not None:
        query = query.filter(ConfigurationGroup.name == name)
    if datastore is not None:
        query = query.filter(ConfigurationGroup.datastore_version_id.in_(datastores.version_ids(datastore)))
    return db.session.scalars(query.order_by(ConfigurationGroup.name).limit(limit)).all()


def put(
    ctx: RequestContext,
    key: str,
    wanted: Mapping[str, Any],
    preconditions: Preconditions = NONE,
) -> tuple[ConfigurationGroup, Outcome]:
    """Create the group or make it what is wanted; its instances follow.

    Raises Invalid with every bad parameter, PreconditionFailed; then nothing changed.
    """
    with transaction() as session:
        row = _find(ctx, key, for_update=True)
        preconditions.check(row)
        version = _version(row, wanted)
        catalogue.check(wanted["parameters"], version)
        columns = {
            "name": _name(ctx, row, key, wanted),
            "version": wanted["version"],
            "datastore_version_id": version.id,
            "description": wanted["description"],
            "parameters": wanted["parameters"],
        }
        if row is None:
            row = ConfigurationGroup(project_id=ctx.project_id, **columns)
            session.add(row)
            session.flush()
            session.refresh(row)
            outcome = Outcome.CREATED
            foresee(lambda: [touches_nothing("A new group: no instance is attached to it yet.")])
        else:
            same = catalogue.same(version, row.parameters, wanted["parameters"])
            former = assign(row, columns)
            if not former:
                return row, Outcome.UNCHANGED
            outcome = Outcome.CHANGED
            foresee(lambda: impact.of_changes(row, former, instances.attached_to(row)))
            if "name" in former:
                for instance in instances.attached_to(row, for_update=True):
                    instance.revision += 1  # what it shows has the group's name in it
            if not same:
                _tell_instances(row)
        events.record(outcome.value, f"Configuration group {row.name!r} {outcome.value}.", row)
        return row, outcome


def delete(ctx: RequestContext, key: str, preconditions: Preconditions = NONE) -> ConfigurationGroup | None:
    """Remove the group; returns it as it was, None when there is none.

    InUse while instances have it that are not being deleted themselves.
    """
    with transaction() as session:
        row = _find(ctx, key, for_update=True)
        preconditions.check(row)
        if row is None:
            return None
        attached = instances.attached_to(row)
        if staying := [instance.name for instance in attached if not instance.deleting]:
            raise InUse(
                f"Configuration group {row.name!r} is attached to {', '.join(staying[:5])};"
                " detach it first."
            )
        for instance in attached:
            instance.group = None  # it is going and needs it no more
        events.record("deleted", f"Configuration group {row.name!r} deleted.", row)
        foresee(lambda: [touches_nothing("The group goes; no instance is attached to it.")])
        session.delete(row)
        return row


def _version(row: ConfigurationGroup | None, wanted: Mapping[str, Any]) -> DatastoreVersion:
    if row is None:
        return datastores.resolve(wanted["datastore"], wanted["version"])
    current = row.datastore_version
    if wanted["datastore"] != current.datastore.name:
        raise Invalid.field("/datastore", f"A group keeps its datastore, {current.datastore.name!r}.")
    if wanted["version"] is not None and not datastores.matches(current, wanted["version"]):
        raise Invalid.field("/version", f"A group keeps its version, {current.name!r}.")
    return current


def _name(ctx: RequestContext, row: ConfigurationGroup | None, key: str, wanted: Mapping[str, Any]) -> str:
    name = names.asked(row, key, wanted)
    if row is not None and name != row.name and _find(ctx, name) is not None:
        raise Invalid.field("/name", f"Another configuration group has the name {name!r}.")
    return name


def status(row: ConfigurationGroup) -> dict[str, Any]:
    """The status object of the API: how far each attached instance is."""
    return {
        "datastore_version": row.datastore_version.name,
        "instances": [
            {
                "id": instance.id,
                "name": instance.name,
                "in_sync": in_sync(instance),
                "restart_required": restart_required(instance),
            }
            for instance in instances.attached_to(row)
        ],
    }


def _tell_instances(row: ConfigurationGroup) -> None:
    for instance in instances.attached_to(row, for_update=True):
        instances.touch(instance, engine=True)
        work.request(instance.id)
