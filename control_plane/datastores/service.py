"""The rules of datastores and their versions. They are the operator's: admins write, all read."""

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from sqlalchemy import Select, select

from control_plane import names
from control_plane.configurations.models import ConfigurationGroup
from control_plane.database import by_key, db, locked, repeated, transaction
from control_plane.datastores.managers import MANAGERS
from control_plane.datastores.models import Datastore, DatastoreVersion
from control_plane.errors import InUse, Invalid, NotFound, nearest
from control_plane.events import service as events
from control_plane.impact import Impact, foresee, touches_nothing
from control_plane.instances.models import Instance
from control_plane.upsert import NONE, Outcome, Preconditions, assign
from guest_agent.protocol import Catalogue, Parameter


def find(key: str, *, for_update: bool = False) -> Datastore:
    """The datastore by name or id. NotFound names the nearest."""
    row = _find(key, for_update)
    if row is None:
        known = db.session.scalars(select(Datastore.name))
        raise NotFound(f"There is no datastore {key!r}.{nearest(key, known)}")
    return row


def _find(key: str, for_update: bool) -> Datastore | None:
    query = select(Datastore).filter(by_key(Datastore, key))
    return db.session.scalar(locked(query) if for_update else query)


def find_version(datastore_key: str, key: str, *, for_update: bool = False) -> DatastoreVersion:
    """The datastore's version by name or id; `for_update`: nobody else writes the datastore's.

    NotFound names the nearest.
    """
    datastore = find(datastore_key, for_update=for_update)
    for row in datastore.versions:
        if key in (row.name, row.id):
            return row
    known = [row.name for row in datastore.versions]
    raise NotFound(f"{datastore.name} has no version {key!r}.{nearest(key, known)}")


def matches(version: DatastoreVersion, asked: str) -> bool:
    """Whether `asked` is the version's name, its id, or the beginning of its dotted number."""
    return asked in (version.name, version.id) or f"{version.name}.".startswith(f"{asked}.")


def resolve(datastore_key: str, asked: str | None) -> DatastoreVersion:
    """The active version that `asked` stands for; None: the default, else the newest.

    Raises Invalid at /datastore or /version, naming what there is.
    """
    try:
        datastore = find(datastore_key)
    except NotFound as missing:
        raise Invalid.field("/datastore", missing.detail) from missing
    active = [row for row in datastore.versions if row.active]
    asked = asked or datastore.default_version
    fitting = [row for row in active if asked is None or matches(row, asked)]
    if not fitting:
        listed = ", ".join(sorted(row.name for row in active)) or "none"
        raise Invalid.field(
            "/version",
            f"{datastore.name} has no active version {asked or 'at all'}; active versions: {listed}.",
        )
    return max(fitting, key=lambda row: _order(row.name))


def _order(name: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdecimal() else -1, part) for part in name.split(".")]


def listing(marker: str, limit: int) -> Sequence[Datastore]:
    query = select(Datastore).filter(Datastore.name > marker)
    return db.session.scalars(query.order_by(Datastore.name).limit(limit)).all()


def versions(datastore_key: str, marker: str, limit: int) -> Sequence[DatastoreVersion]:
    query = select(DatastoreVersion).filter_by(datastore_id=find(datastore_key).id)
    query = query.filter(DatastoreVersion.name > marker).order_by(DatastoreVersion.name)
    return db.session.scalars(query.limit(limit)).all()


def version_ids(datastore_name: str) -> Select[str]:
    """The query for ids of the versions of the datastore so named; they are none when there is none."""
    return select(DatastoreVersion.id).join(Datastore).where(Datastore.name == datastore_name)


def put(
    key: str, wanted: Mapping[str, Any], preconditions: Preconditions = NONE
) -> tuple[Datastore, Outcome]:
    """Create the datastore or make it what is wanted: manager, description, default_version."""
    with transaction() as session:
        row = _find(key, for_update=True)
        preconditions.check(row)
        name = names.kept(row, key, wanted, "datastore")
        manager, default = wanted["manager"], wanted["default_version"]
        if manager not in MANAGERS:
            raise Invalid.field(
                "/manager",
                f"There is no manager {manager!r}.{nearest(manager, MANAGERS)} The managers are"
                f" {', '.join(MANAGERS)}.",
            )
        if row is not None and manager != row.manager and row.versions:
            raise Invalid.field("/manager", "It is fixed while the datastore has versions.")
        there = [version.name for version in row.versions] if row else []
        if row is not None and default not in (None, row.default_version, *there):
            raise Invalid.field(
                "/default_version", f"There is no version {default!r}.{nearest(default, there)}"
            )
        columns = {
            "manager": manager,
            "description": wanted["description"],
            "default_version": default,
        }
        if row is None:
            row = Datastore(name=name, **columns)
            session.add(row)
            session.flush()
            outcome = Outcome.CREATED
            foresee(lambda: [touches_nothing("A new datastore, without versions yet.")])
        elif former := assign(row, columns):
            outcome = Outcome.CHANGED
            foresee(lambda: _noted(former))
        else:
            return row, Outcome.UNCHANGED
        events.record(outcome.value, f"Datastore {row.name!r} {outcome.value}.", row)
        return row, outcome


def put_version(
    datastore_key: str, key: str, wanted: Mapping[str, Any], preconditions: Preconditions = NONE
) -> tuple[DatastoreVersion, Outcome]:
    """Create the version or make it what is wanted.

    image, image_tags, packages, active, deprecated. A new version starts with the catalogue of the
    nearest version of its major number, until `coffret datastore import` brings one of its own.
    """
    with transaction() as session:
        datastore = find(datastore_key, for_update=True)
        row = next((v for v in datastore.versions if key in (v.name, v.id)), None)
        preconditions.check(row)
        name = names.kept(row, key, wanted, "version")
        columns = {
            column: wanted[column] for column in ("image", "image_tags", "packages", "active", "deprecated")
        }
        if row is None:
            source = _catalogue_source(datastore, name)
            row = DatastoreVersion(
                datastore=datastore,
                name=name,
                engine_version=source.engine_version if source else "",
                parameters=source.parameters if source else [],
                character_sets=source.character_sets if source else {},
                **columns,
            )
            session.add(row)
            session.flush()
            outcome = Outcome.CREATED
            foresee(lambda: [touches_nothing("A new version: nothing runs it yet.")])
        elif former := assign(row, columns):
            outcome = Outcome.CHANGED
            foresee(lambda: _noted(former))
        else:
            return row, Outcome.UNCHANGED
        _record_version(row, outcome.value)
        return row, outcome


_CHANGES = {
    "manager": "The datastore has no versions, so nothing runs that it would change.",
    "description": "The description is for people.",
    "default_version": "New instances that name no version are of it; those that are there keep theirs.",
    "image": "New and rebuilt servers are made of it; those that run stay as they are.",
    "image_tags": "New and rebuilt servers are made by them; those that run stay as they are.",
    "packages": "It is noted what the image has; nothing is installed.",
    "active": "It decides whether new instances may be of it; those that are there run on.",
    "deprecated": "It tells users whether to move away; nothing that runs is touched.",
}


def _noted(former: Mapping[str, Any]) -> list[Impact]:
    return [touches_nothing(_CHANGES[column], f"/{column}") for column in former]


def _catalogue_source(datastore: Datastore, name: str) -> DatastoreVersion | None:
    """The version whose catalogue a new one starts with: the nearest of the same major number."""
    major = name.split(".")[0]
    same = [row for row in datastore.versions if row.name.split(".")[0] == major]
    return max(same, key=lambda row: _order(row.name), default=None)


def delete(key: str, preconditions: Preconditions = NONE) -> Datastore | None:
    """Remove the datastore; returns it as it was, None when there is none. InUse while it has versions."""
    with transaction() as session:
        row = _find(key, for_update=True)
        preconditions.check(row)
        if row is None:
            return None
        if row.versions:
            listed = ", ".join(sorted(version.name for version in row.versions))
            raise InUse(f"Datastore {row.name!r} still has versions: {listed}.")
        session.delete(row)
        events.record("deleted", f"Datastore {row.name!r} deleted.", row)
        foresee(lambda: [touches_nothing("The datastore goes; it has no versions.")])
        return row


def delete_version(
    datastore_key: str, key: str, preconditions: Preconditions = NONE
) -> DatastoreVersion | None:
    """Remove the version; returns it as it was, None when there is none.

    InUse while instances or configuration groups are of it.
    """
    with transaction() as session:
        try:
            row = find_version(datastore_key, key, for_update=True)
        except NotFound:
            preconditions.check(None)
            return None
        preconditions.check(row)
        for model, what in ((Instance, "instances"), (ConfigurationGroup, "configuration groups")):
            query = select(model.name).filter_by(datastore_version_id=row.id).limit(5)
            if users := session.scalars(query).all():
                raise InUse(f"Version {row.name!r} is used by {what}: {', '.join(users)}.")
        if row.datastore.default_version == row.name:
            assign(row.datastore, {"default_version": None})
        _record_version(row, "deleted")
        session.delete(row)
        foresee(lambda: [touches_nothing("The version goes; nothing runs it.")])
        return row


def parameters(
    version: DatastoreVersion, marker: str, limit: int, *, settable_only: bool = False
) -> list[Parameter]:
    """The version's catalogue by name, after `marker`."""
    entries: list[Parameter] = [
        entry
        for entry in version.parameters
        if entry["name"] > marker and (entry["settable"] or not settable_only)
    ]
    return entries[:limit]


def parameter(version: DatastoreVersion, name: str) -> Parameter:
    for entry in version.parameters:
        if entry["name"] == name:
            found: Parameter = entry
            return found
    known = [entry["name"] for entry in version.parameters]
    raise NotFound(
        f"{version.datastore.name} {version.name} has no parameter {name!r}.{nearest(name, known)}"
    )


@repeated
def import_catalogue(catalogue: Catalogue, *, active: bool = True) -> tuple[DatastoreVersion, Outcome]:
    """Register a datastore version, and its datastore, from a catalogue file's content.

    `active`: whether a new version is. One that comes with the tags of an image always is.
    """
    with transaction() as session:
        datastore = _find(catalogue["datastore"], for_update=True)
        if datastore is None:
            datastore, _ = put(
                catalogue["datastore"],
                {
                    "manager": catalogue["manager"],
                    "description": catalogue["description"],
                    "default_version": None,
                },
            )
        elif datastore.manager != catalogue["manager"]:
            raise Invalid.field(
                "/manager",
                f"Datastore {datastore.name!r} has the manager {datastore.manager!r}, the file"
                f" {catalogue['manager']!r}.",
            )
        name = catalogue["version"]
        row = next((v for v in datastore.versions if v.name == name), None)
        columns: dict[str, Any] = {
            "engine_version": catalogue["engine_version"],
            "parameters": sorted(catalogue["parameters"], key=lambda entry: entry["name"]),
            "character_sets": catalogue["character_sets"],
        }
        if tags := catalogue.get("image_tags"):
            columns |= {"image_tags": tags, "active": True}
        if row is None:
            row = DatastoreVersion(datastore=datastore, name=name, **({"active": active} | columns))
            session.add(row)
            session.flush()
            outcome = Outcome.CREATED
        elif assign(row, columns):
            outcome = Outcome.CHANGED
        else:
            return row, Outcome.UNCHANGED
        _record_version(row, outcome.value)
        return row, outcome


def read_catalogue(path: Path) -> Catalogue:
    """A catalogue file, as `coffret-agent catalogue` prints it. Raises Invalid for another shape."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Invalid.field("", f"{path} is not a catalogue file: {error}.") from error
    missing = [key for key in Catalogue.__required_keys__ if key not in content]
    if missing:
        raise Invalid.field("", f"{path} is not a catalogue file: it lacks {', '.join(missing)}.")
    catalogue: Catalogue = content
    return catalogue


def import_shipped(*, images: bool) -> None:
    """Register the versions that Coffret ships; what is there already stays unless it differs.

    `images`: the cloud makes servers of images, so that new versions are not active until they are
    given one. The catalogue of a version that has one is the image's.
    """
    folder = resources.files("control_plane.datastores") / "shipped"
    with resources.as_file(folder) as path:
        for file in sorted(path.glob("*.json")):
            catalogue = read_catalogue(file)
            if not _has_image(catalogue["datastore"], catalogue["version"]):
                import_catalogue(catalogue, active=not images)


def _has_image(datastore: str, version: str) -> bool:
    query = select(DatastoreVersion).join(Datastore)
    row = db.session.scalar(query.where(Datastore.name == datastore, DatastoreVersion.name == version))
    return row is not None and bool(row.image or row.image_tags)


def _record_version(row: DatastoreVersion, kind: str) -> None:
    events.record(kind, f"Version {row.name!r} of {row.datastore.name!r} {kind}.", row)
