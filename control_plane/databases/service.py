"""The rules of databases. Knows nothing of HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, bindparam, select

from control_plane.auth import RequestContext
from control_plane.database import by_key, db, read, transaction
from control_plane.databases.models import Database, InstanceObject
from control_plane.datastores.managers import MANAGERS
from control_plane.errors import Invalid, NotFound, Protected, nearest
from control_plane.events import service as events
from control_plane.impact import Impact, foresee
from control_plane.instances import service as instances
from control_plane.instances.models import Instance
from control_plane.instances.status import connection_uri
from control_plane.upsert import NONE, Outcome, Preconditions, assign, refuse_while_deleting
from control_plane.users.models import User


@dataclass(frozen=True)
class UnmanagedDatabase:
    """Seen in the engine by the agent; nobody's here. Shaped as a Database for those who read."""

    instance: Instance
    name: str
    character_set: str | None
    collation: str | None
    owner: str | None

    @property
    def status(self) -> dict[str, Any]:
        return {"managed": False, "uri": connection_uri(self.instance, self.name)}


_CHANGES = {
    "character_set": "Tables that are made from now on have it; those that are there keep theirs.",
    "collation": "Tables that are made from now on have it; those that are there keep theirs.",
    "owner": "The database changes hands while the engine runs.",
    "deletion_policy": "It decides what deleting the database does.",
}


def find(ctx: RequestContext, instance_key: str, key: str, *, for_update: bool = False) -> Database:
    """The database by name or id. NotFound names the nearest."""
    instance = instances.find(ctx, instance_key, for_update=for_update)
    if (row := _find(instance, key)) is None:
        names = db.session.scalars(select(Database.name).filter_by(instance_id=instance.id))
        raise NotFound(f"The instance {instance.name!r} has no database {key!r}.{nearest(key, names)}")
    return row


def _find(instance: Instance, key: str) -> Database | None:
    query = select(Database).filter_by(instance_id=instance.id)
    return db.session.scalar(query.filter(by_key(Database, key)))


def listing(
    instance: Instance, marker: str = "", limit: int | None = None
) -> list[Database | UnmanagedDatabase]:
    """The instance's databases by name, after `marker`; those that only the engine knows included."""
    mine = select(Database).filter_by(instance_id=instance.id)
    managed = db.session.scalars(
        mine.filter(Database.name > marker).order_by(Database.name).limit(limit)
    ).all()
    known = set(db.session.scalars(mine.with_only_columns(Database.name)))
    unmanaged: list[Database | UnmanagedDatabase] = [
        UnmanagedDatabase(instance=instance, **seen)
        for seen in instance.report.get("seen_databases", [])
        if seen["name"] not in known and seen["name"] > marker
    ]
    return sorted([*managed, *unmanaged], key=lambda item: item.name)[:limit]


_TABLE = Database.__table__.c
_REVISIONS = (
    select(_TABLE.id, _TABLE.revision)
    .where(_TABLE.instance_id == bindparam("instance_id"))
    .order_by(_TABLE.id)
)


def revisions(instance_id: str) -> Sequence[Row[Any]]:
    """Id and revision of each of the instance's databases, in one order."""
    return read(_REVISIONS, instance_id=instance_id)


def put(
    ctx: RequestContext,
    instance_key: str,
    key: str,
    wanted: Mapping[str, Any],
    preconditions: Preconditions = NONE,
) -> tuple[Database, Outcome]:
    """Create the database or make it what is wanted: character_set, collation, owner, deletion_policy.

    Raises Invalid, Conflict, PreconditionFailed, NotFound (of the instance); then nothing changed.
    """
    with transaction() as session:
        instance = instances.find(ctx, instance_key, for_update=True)
        instances.refuse_unless_usable(instance)
        row = _find(instance, key)
        refuse_while_deleting(row, f"database {key!r}")
        seen = [item["name"] for item in instance.report.get("seen_databases", [])]
        preconditions.check(row, unmanaged=row is None and key in seen)
        name = row.name if row else key
        if wanted.get("name", name) != name:
            raise Invalid.field("/name", f"A database keeps its name, {name!r}; make another one.")
        columns = {column: wanted[column] for column in _CHANGES}
        if row is not None:
            _check(instance, name, columns, row)
            former = assign(row, columns)
            if not former:
                return row, Outcome.UNCHANGED
            outcome = Outcome.CHANGED
            foresee(
                lambda: [
                    Impact(
                        f"/{column}",
                        "none" if column == "deletion_policy" else "online",
                        _CHANGES[column],
                        instances=(instance.name,),
                    )
                    for column in former
                ]
            )
        else:
            _check(instance, name, columns, None)
            row = Database(instance=instance, name=name, **columns)
            session.add(row)
            session.flush()
            outcome = Outcome.CREATED
            what = "taken over as it is found" if name in seen else "created"
            sentence = f"The database is {what} while the engine runs."
            foresee(lambda: [Impact("", "online", sentence, instances=(instance.name,))])
        instances.touch(instance)
        events.record(outcome.value, f"Database {name!r} {outcome.value}.", row)
        return row, outcome


def delete(
    ctx: RequestContext, instance_key: str, key: str, preconditions: Preconditions = NONE
) -> Database | None:
    """Start dropping the database; returns it while it goes, None when there is none.

    Protected while its policy or its instance's protection keeps it. With the policy `abandon` it is
    forgotten at once.
    """
    with transaction():
        instance = instances.find(ctx, instance_key, for_update=True)
        row = _find(instance, key)
        preconditions.check(row)
        if row is None:
            return None
        if not row.deleting and row.deletion_policy == "abandon":
            abandon(row)
        elif not row.deleting:
            _refuse_if_kept(row)
            row.deleting = True
            row.generation += 1
            instances.touch(instance)
            foresee(lambda: [Impact("", "data_loss", _loss(row), None, (instance.name,))])
            events.record("deleting", f"Database {row.name!r} is to be dropped.", row)
        return row


def abandon(row: InstanceObject) -> None:
    """Forget what stays in the engine, where nobody manages it from now on."""
    instance, what = row.instance, f"{row.resource_type.title()} {row.key!r}"
    events.record("abandoned", f"{what} stays in the engine, and is no longer managed.", row)
    db.session.delete(row)
    instances.touch(instance)
    sentence = f"It stays in the engine as it is; Coffret forgets the {row.resource_type}."
    foresee(lambda: [Impact("", "none", sentence, instances=(instance.name,))])


def _refuse_if_kept(row: Database) -> None:
    if row.instance.deleting:
        return  # it goes with the instance
    if row.deletion_policy == "refuse":
        raise Protected(f"Database {row.name!r} has deletion_policy refuse; set it to drop first.")
    if row.deletion_policy is None and row.instance.deletion_protection:
        raise Protected(
            f"Instance {row.instance.name!r} has deletion_protection, and so have its databases: set it to"
            f" false first, or the deletion_policy of {row.name!r} to drop."
        )


def _loss(row: Database) -> str:
    users = db.session.scalars(select(User).filter_by(instance_id=row.instance_id, deleting=False))
    granted = sorted(
        user.key for user in users if any(row.name == each["database"] for each in user.grants)
    )
    useless = f" The grants on it of {', '.join(granted)} are in vain then." if granted else ""
    return f"The database is dropped with all that is in it.{useless}"


def _check(instance: Instance, name: str, columns: Mapping[str, Any], row: Database | None) -> None:
    version = instance.datastore_version
    manager = MANAGERS[version.datastore.manager]
    manager.check_database(name)
    _check_character_set(version.character_sets, columns["character_set"], columns["collation"])
    owner = columns["owner"]
    if owner is None:
        pass
    elif not manager.has_owners:
        raise Invalid.field("/owner", f"Databases of {manager.name} have no owner; use grants.")
    else:
        mine = select(User.name).filter_by(instance_id=instance.id, deleting=False)
        users = db.session.scalars(mine).all()
        if owner in db.session.scalars(mine.filter(User.expires_at.is_not(None))).all():
            raise Invalid.field("/owner", f"The user {owner!r} expires, and who owns a database must not.")
        if owner not in users:
            raise Invalid.field(
                "/owner",
                f"The instance {instance.name!r} has no user {owner!r}.{nearest(owner, users)}",
            )
    if row is not None and manager.name == "postgresql":
        for column in ("character_set", "collation"):
            if columns[column] != getattr(row, column):
                raise Invalid.field(
                    f"/{column}",
                    f"PostgreSQL fixes it when the database is made (here:"
                    f" {getattr(row, column) or 'the default'}); make another database.",
                )


def _check_character_set(
    known: Mapping[str, list[str]], character_set: str | None, collation: str | None
) -> None:
    if character_set is not None and character_set not in known:
        raise Invalid.field(
            "/character_set",
            f"There is no character set {character_set!r}.{nearest(character_set, known)}",
        )
    if collation is None:
        return
    choices = (
        known[character_set]
        if character_set is not None
        else [name for names in known.values() for name in names]
    )
    if collation not in choices:
        where = f" of character set {character_set!r}" if character_set else ""
        raise Invalid.field(
            "/collation",
            f"There is no collation {collation!r}{where}.{nearest(collation, choices)}",
        )
