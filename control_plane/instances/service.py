"""The rules of instances. Knows nothing of HTTP."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from sqlalchemy import bindparam, select

from control_plane import clouds, names, work
from control_plane.auth import RequestContext
from control_plane.clouds import CloudRefusal, ServerSpec
from control_plane.configurations.models import ConfigurationGroup
from control_plane.database import by_key, db, is_uuid, locked, new_id, now, queue_up, read, transaction
from control_plane.databases.models import Database
from control_plane.datastores import service as datastores
from control_plane.datastores.models import DatastoreVersion
from control_plane.errors import Conflict, Invalid, NotFound, Protected, nearest
from control_plane.events import service as events
from control_plane.flavors import service as flavors
from control_plane.impact import Impact, foresee, touches_nothing
from control_plane.instances import impact
from control_plane.instances.models import Action, Instance
from control_plane.instances.status import summarise
from control_plane.quotas import service as quotas
from control_plane.upsert import NONE, Outcome, Preconditions, assign, refuse_while_deleting

ENGINE_COLUMNS = {
    "flavor",
    "ram",
    "vcpus",
    "volume_size",
    "configuration_group_id",
    "restart_policy",
}
"""Changes of these reach the engine through the agent."""
CLOUD_COLUMNS = {"name", "flavor", "volume_size", "is_public", "allowed_cidrs"}
"""Changes of these are the cloud's to carry out."""
SPEC_COLUMNS = (
    "name", "flavor", "ram", "vcpus", "volume_size", "volume_type", "availability_zone",
    "is_public", "allowed_cidrs", "network", "server_group",
)  # fmt: skip
"""Columns that drivers are told under the same name."""
_GUESSED_FROM = 50
"""Names before one that is missing, and as many after it, from which the nearest is told."""


@dataclass(frozen=True)
class Filters:
    name: str | None = None
    datastore: str | None = None
    phase: str | None = None
    labels: Mapping[str, str] | None = None


def find(ctx: RequestContext, key: str, *, for_update: bool = False) -> Instance:
    """The project's instance by name or id. NotFound names the nearest."""
    if (row := _find(ctx, key, for_update)) is None:
        raise _missing(ctx, key)
    return row


def _find(ctx: RequestContext, key: str, for_update: bool = False) -> Instance | None:
    query = select(Instance).filter_by(project_id=ctx.project_id)
    query = query.filter(by_key(Instance, key))
    return db.session.scalar(locked(query) if for_update else query)


def hold(instance_id: str) -> Instance | None:
    """The instance, which nobody else writes until the transaction ends; None when there is none."""
    return db.session.scalar(locked(select(Instance).filter_by(id=instance_id)))


class Head(Protocol):
    """As much of an instance as tells whether what was read of it before is still true."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def generation(self) -> int: ...
    @property
    def revision(self) -> int: ...


_TABLE = Instance.__table__.c
_HEAD = select(_TABLE.id, _TABLE.name, _TABLE.generation, _TABLE.revision).where(
    _TABLE.project_id == bindparam("project_id")
)
_HEAD_BY_ID = _HEAD.where(_TABLE.id == bindparam("key"))
_HEAD_BY_NAME = _HEAD.where(_TABLE.name == bindparam("key"))
_HEADS = _HEAD.where(_TABLE.name > bindparam("marker")).order_by(_TABLE.name).limit(bindparam("limit"))


def head(ctx: RequestContext, key: str) -> Head:
    """The head of the project's instance by name or id. NotFound as `find`."""
    query = _HEAD_BY_ID if is_uuid(key) else _HEAD_BY_NAME
    rows = read(query, project_id=ctx.project_id, key=key)
    if not rows:
        raise _missing(ctx, key)
    return cast(Head, rows[0])


def _missing(ctx: RequestContext, key: str) -> NotFound:
    """Names the nearest of those next to it in order, which costs the same however many there are."""
    mine, name = select(Instance.name).filter_by(project_id=ctx.project_id), Instance.name
    before = mine.filter(name < key).order_by(name.desc()).limit(_GUESSED_FROM)
    after = mine.filter(name > key).order_by(name).limit(_GUESSED_FROM)
    known = [found for query in (before, after) for found in db.session.scalars(query)]
    return NotFound(f"The project has no instance {key!r}.{nearest(key, known)}")


def load(ids: Sequence[str]) -> Sequence[Instance]:
    """The instances with these ids, of any project, in no order."""
    return db.session.scalars(select(Instance).where(Instance.id.in_(ids))).all()


def listing(ctx: RequestContext, filters: Filters, marker: str, limit: int) -> Sequence[Head]:
    """Heads of the project's instances by name, after `marker`."""
    query = _HEADS
    if filters.name is not None:
        query = query.filter(Instance.name == filters.name)
    if filters.phase is not None:
        query = query.filter(Instance.phase == filters.phase)
    if filters.datastore is not None:
        query = query.filter(Instance.datastore_version_id.in_(datastores.version_ids(filters.datastore)))
    for label, value in (filters.labels or {}).items():
        # with a full stop, since MariaDB leaves out spaces at the end when it compares parts of JSON
        query = query.filter(Instance.labels[label].as_string() + "." == f"{value}.")
    return cast(Sequence[Head], read(query, project_id=ctx.project_id, marker=marker, limit=limit))


def refuse_unless_usable(instance: Instance) -> None:
    """What is inside an instance can't be changed while the instance goes away."""
    refuse_while_deleting(instance, f"instance {instance.name!r}")


def touch(instance: Instance, *, engine: bool = False) -> None:
    """The agent's directive has changed; `engine`: in what concerns the engine itself."""
    instance.desired_revision += 1
    instance.wanted_by = work.asker() or instance.wanted_by
    if engine:
        instance.engine_revision = instance.desired_revision
    summarise(instance)
    work.announce(instance.id)


def put(
    ctx: RequestContext,
    key: str,
    wanted: Mapping[str, Any],
    preconditions: Preconditions = NONE,
) -> tuple[Instance, Outcome]:
    """Create the instance or make it what is wanted (the fields of InstanceSchema).

    Raises Invalid, Conflict, PreconditionFailed, QuotaExceeded; then nothing changed.
    """
    return _write(ctx, key, lambda row: wanted, preconditions)


def patch(
    ctx: RequestContext,
    key: str,
    wanted: Callable[[Instance], Mapping[str, Any]],
    preconditions: Preconditions = NONE,
) -> tuple[Instance, Outcome]:
    """Make the instance what `wanted` makes of it as it is. Raises NotFound, and what `put` raises."""

    def of(row: Instance | None) -> Mapping[str, Any]:
        if row is None:
            raise _missing(ctx, key)
        return wanted(row)

    return _write(ctx, key, of, preconditions)


def _write(
    ctx: RequestContext,
    key: str,
    wanted: Callable[[Instance | None], Mapping[str, Any]],
    preconditions: Preconditions,
) -> tuple[Instance, Outcome]:
    """The cloud is asked before the transaction, since it may take long, and again if the answer is
    about another desire than the one found inside."""
    while True:
        row = _find(ctx, key)
        refuse_while_deleting(row, f"instance {key!r}")
        preconditions.check(row)  # before the values, which may be for a row that must not be there
        asked = _columns(ctx, row, key, wanted(row))
        _ask_cloud(ctx, row, asked)
        counts = _counts(row, asked)
        with transaction():
            if counts:
                queue_up(f"project {ctx.project_id}")
            if asked["configuration_group_id"] is not None:
                _hold_group(asked["configuration_group_id"])
            row = _find(ctx, key, for_update=True)
            refuse_while_deleting(row, f"instance {key!r}")
            preconditions.check(row)
            columns = _columns(ctx, row, key, wanted(row))
            if columns == asked and (counts or not _counts(row, columns)):
                return _store(ctx, row, columns)


def _counts(row: Instance | None, columns: Mapping[str, Any]) -> bool:
    """Whether it may take the project over its quota."""
    return row is None or any(columns[name] > getattr(row, name) for name in ("volume_size", "ram"))


def _hold_group(group_id: str) -> None:
    """Until the transaction ends the group does not change, so that a change of it finds the instance."""
    group = select(ConfigurationGroup.id).filter_by(id=group_id)
    db.session.scalar(group.with_for_update(read=True))


def _store(
    ctx: RequestContext, row: Instance | None, columns: Mapping[str, Any]
) -> tuple[Instance, Outcome]:
    with transaction() as session:
        quotas.check(ctx.project_id, row, columns)
        if row is None:
            row = Instance(
                project_id=ctx.project_id,
                generation=1,
                cloud={},
                report={},
                conditions=[],
                wanted_by=work.asker(),
                **columns,
            )
            session.add(row)
            session.flush()
            db.session.refresh(row)
            outcome = Outcome.CREATED
            summarise(row)
            foresee(lambda: [touches_nothing("A new instance: nothing that runs is touched.")])
        else:
            former = assign(row, columns)
            changed = former.keys()
            if not changed:
                return row, Outcome.UNCHANGED
            outcome = Outcome.CHANGED
            row.cloud_failed = False
            row.attempts = 0
            if changed & ENGINE_COLUMNS:
                session.flush()
                session.refresh(row, ["group"])
            foresee(lambda: impact.of_changes(row, former))
            if not changed & CLOUD_COLUMNS and row.cloud_generation == row.generation - 1:
                row.cloud_generation = row.generation
            touch(row, engine=bool(changed & ENGINE_COLUMNS))
        work.request(row.id)
        events.record(outcome.value, f"Instance {row.name!r} {outcome.value}.", row)
        return row, outcome


def delete(ctx: RequestContext, key: str, preconditions: Preconditions = NONE) -> Instance | None:
    """Start deleting the instance; returns it while it goes, None when there is none.

    Protected while it is to be kept, or a database in it.
    """
    with transaction():
        row = _find(ctx, key, for_update=True)
        preconditions.check(row)
        if row is None:
            return None
        if not row.deleting:
            _refuse_if_kept(row)
            row.deleting = True
            row.generation += 1
            row.cloud_failed = False
            row.attempts = 0
            touch(row)
            work.request(row.id)
            foresee(
                lambda: [
                    Impact(
                        "",
                        "data_loss",
                        "The instance is deleted with its volume and all that is on it.",
                        None,
                        (row.name,),
                    )
                ]
            )
            events.record("deleting", f"Instance {row.name!r} is to be deleted.", row)
        return row


def _refuse_if_kept(row: Instance) -> None:
    if row.deletion_protection:
        raise Protected(f"Instance {row.name!r} has deletion_protection; set it to false first.")
    query = select(Database.name).filter_by(instance_id=row.id, deletion_policy="refuse", deleting=False)
    if kept := db.session.scalars(query.order_by(Database.name)).all():
        raise Protected(
            f"In instance {row.name!r} these databases have deletion_policy refuse: {', '.join(kept[:5])}."
            " Set it to another one first."
        )


def act(ctx: RequestContext, key: str, kind: str) -> Action:
    """Ask the agent to `restart` the engine, or the cloud to `rebuild` the server, once.

    Conflict while one of that kind is under way.
    """
    with transaction() as session:
        row = find(ctx, key, for_update=True)
        refuse_while_deleting(row, f"instance {row.name!r}")
        under_way = select(Action.id).filter_by(instance_id=row.id, type=kind, phase="REQUESTED")
        if session.scalar(under_way) is not None:
            raise Conflict(f"A {kind} is under way already.", retry_after=5)
        action = Action(id=new_id(), instance_id=row.id, type=kind, phase="REQUESTED", created_at=now())
        session.add(action)
        if kind == "restart":
            row.restart = action.id
            touch(row, engine=True)
        else:
            row.rebuild = action.id
            row.cloud_failed = False
            row.attempts = 0
            touch(row)
        work.request(row.id)
        events.record("action", f"{kind.title()} of {row.name!r} requested.", row)
        return action


def actions(instance: Instance, marker: str, limit: int) -> Sequence[Action]:
    """The instance's actions by id, after `marker`."""
    query = select(Action).filter_by(instance_id=instance.id).filter(Action.id > marker)
    return db.session.scalars(query.order_by(Action.id).limit(limit)).all()


def action(instance: Instance, action_id: str) -> Action:
    row: Action | None = db.session.scalar(select(Action).filter_by(instance_id=instance.id, id=action_id))
    if row is None:
        raise NotFound(f"The instance {instance.name!r} has no action {action_id!r}.")
    return row


def spec(instance: Instance) -> ServerSpec:
    """What the drivers must know of the instance."""
    columns = {name: getattr(instance, name) for name in SPEC_COLUMNS}
    return _spec(instance.id, instance.project_id, instance.datastore_version, columns, instance.rebuild)


def _spec(
    instance_id: str,
    project_id: str,
    version: DatastoreVersion,
    columns: Mapping[str, Any],
    rebuild: str | None = None,
) -> ServerSpec:
    return ServerSpec(
        instance_id=instance_id,
        project_id=project_id,
        datastore=version.datastore.name,
        manager=version.datastore.manager,
        version=version.name,
        image=version.image,
        image_tags=version.image_tags,
        rebuild=rebuild,
        **{name: columns[name] for name in SPEC_COLUMNS},
    )


def _ask_cloud(ctx: RequestContext, row: Instance | None, columns: Mapping[str, Any]) -> None:
    """Raises Invalid, and CloudError when the cloud can't be asked."""
    if row is not None and all(getattr(row, name) == value for name, value in columns.items()):
        return
    version = db.session.get_one(DatastoreVersion, columns["datastore_version_id"])
    try:
        spec = _spec(row.id if row else "", ctx.project_id, version, columns)
        db.session.commit()  # ends the reading, but keeps what was read: the cloud may take long
        clouds.current().validate(spec, ctx.keystone_token)
    except CloudRefusal as refusal:
        raise Invalid.field(refusal.pointer, str(refusal)) from refusal


def _columns(
    ctx: RequestContext, row: Instance | None, key: str, wanted: Mapping[str, Any]
) -> dict[str, Any]:
    """Check what is wanted against all but the cloud, and say it in columns."""
    version = _version(row, wanted)
    flavor = flavors.find(wanted["flavor"], pointer="/flavor")
    volume, access = wanted["volume"], wanted["access"]
    columns = {
        "name": _name(ctx, row, key, wanted),
        "version": wanted["version"],
        "datastore_version_id": version.id,
        "flavor": wanted["flavor"],
        "ram": flavor.ram,
        "vcpus": flavor.vcpus,
        "volume_size": volume["size"],
        "volume_type": volume["type"],
        "network": {k: v for k, v in (wanted["network"] or {}).items() if v is not None},
        "is_public": access["is_public"],
        "allowed_cidrs": access["allowed_cidrs"],
        "availability_zone": wanted["availability_zone"],
        "configuration_group_id": _group_id(ctx, wanted["configuration_group"], version),
        "restart_policy": wanted["restart_policy"],
        "rebuild_policy": wanted["rebuild_policy"],
        "server_group": wanted["server_group"],
        "deletion_protection": wanted["deletion_protection"],
        "labels": wanted["labels"],
    }
    if row is not None:
        _refuse_what_is_fixed(row, columns)
    return columns


def _name(ctx: RequestContext, row: Instance | None, key: str, wanted: Mapping[str, Any]) -> str:
    name = names.asked(row, key, wanted)
    if row is not None and name != row.name and _find(ctx, name) is not None:
        raise Invalid.field("/name", f"Another instance has the name {name!r}.")
    return name


def _version(row: Instance | None, wanted: Mapping[str, Any]) -> DatastoreVersion:
    if row is None:
        return datastores.resolve(wanted["datastore"], wanted["version"])
    current = row.datastore_version
    if wanted["datastore"] != current.datastore.name:
        raise Invalid.field(
            "/datastore",
            f"An instance keeps its datastore, {current.datastore.name!r}; make another instance.",
        )
    if wanted["version"] is None or datastores.matches(current, wanted["version"]):
        return current
    raise Invalid.field(
        "/version",
        f"The instance runs {current.name!r}; it can't be moved to {wanted['version']!r}."
        " Make another instance of that version.",
    )


def _group_id(ctx: RequestContext, key: str | None, version: DatastoreVersion) -> str | None:
    if key is None:
        return None
    query = select(ConfigurationGroup).filter_by(project_id=ctx.project_id)
    group = db.session.scalar(query.filter(by_key(ConfigurationGroup, key)))
    if group is None:
        known = db.session.scalars(select(ConfigurationGroup.name).filter_by(project_id=ctx.project_id))
        raise Invalid.field(
            "/configuration_group",
            f"The project has no configuration group {key!r}.{nearest(key, known)}",
        )
    if group.datastore_version_id != version.id:
        theirs = group.datastore_version
        raise Invalid.field(
            "/configuration_group",
            f"The group {key!r} is for {theirs.datastore.name} {theirs.name}; the instance runs"
            f" {version.datastore.name} {version.name}.",
        )
    group_id: str = group.id
    return group_id


def _refuse_what_is_fixed(row: Instance, columns: Mapping[str, Any]) -> None:
    if columns["volume_size"] < row.volume_size:
        raise Invalid.field(
            "/volume/size",
            f"A volume never shrinks: it has {row.volume_size} GiB, and"
            f" {columns['volume_size']} GiB were asked for.",
        )
    for column, pointer in (
        ("volume_type", "/volume/type"),
        ("network", "/network"),
        ("availability_zone", "/availability_zone"),
        ("server_group", "/server_group"),
    ):
        if columns[column] != getattr(row, column):
            raise Invalid.field(pointer, "It is fixed when the instance is made; make another instance.")


def attached_to(group: ConfigurationGroup, *, for_update: bool = False) -> list[Instance]:
    query = select(Instance).filter_by(configuration_group_id=group.id).order_by(Instance.name)
    return list(db.session.scalars(locked(query) if for_update else query))
