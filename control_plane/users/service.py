"""The rules of users and grants. Knows nothing of HTTP."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, bindparam, select

from control_plane.auth import RequestContext
from control_plane.database import db, is_uuid, read, transaction
from control_plane.databases import service as databases
from control_plane.databases.models import Database
from control_plane.datastores.managers import MANAGERS, Manager, check_privilege
from control_plane.errors import Conflict, InUse, Invalid, NotFound, nearest
from control_plane.events import service as events
from control_plane.impact import Effect, Impact, foresee
from control_plane.instances import service as instances
from control_plane.instances.models import Instance
from control_plane.upsert import NONE, Outcome, Preconditions, assign, refuse_while_deleting
from control_plane.users import verifiers
from control_plane.users.models import User, user_key, user_uris
from control_plane.work.clock import moment


@dataclass(frozen=True)
class UnmanagedUser:
    """Seen in the engine by the agent; nobody's here. Shaped as a User for those who read."""

    instance: Instance
    name: str
    host: str
    grants: list[Any]
    owns: Sequence[str] = ()

    @property
    def key(self) -> str:
        return user_key(self.name, self.host)

    @property
    def status(self) -> dict[str, Any]:
        return {"managed": False, "uris": user_uris(self.instance, self.name, self.grants)}


_NOWHERE: dict[str, Any] = {"database": None, "keys": [], "channels": []}
"""What agents leave out of grants that are not about it."""


def find(ctx: RequestContext, instance_key: str, key: str) -> User:
    """The user by `name[@host]` or id. NotFound names the nearest."""
    instance = instances.find(ctx, instance_key)
    if (row := _find(instance, key)) is None:
        rows = db.session.scalars(select(User).filter_by(instance_id=instance.id))
        raise NotFound(
            f"The instance {instance.name!r} has no user {key!r}.{nearest(key, [row.key for row in rows])}"
        )
    return row


def _find(instance: Instance, key: str) -> User | None:
    query = select(User).filter_by(instance_id=instance.id)
    if is_uuid(key):
        return db.session.scalar(query.filter_by(id=key))
    name, host = split_key(key)
    return db.session.scalar(query.filter_by(name=name, host=host))


def split_key(key: str) -> tuple[str, str]:
    """`name[@host]` as name and host; `%`, any host, when left out."""
    name, at, host = key.partition("@")
    return name, host if at else "%"


def listing(instance: Instance, marker: str = "", limit: int | None = None) -> list[User | UnmanagedUser]:
    """The instance's users by key, after `marker`; those that only the engine knows included."""
    managed = db.session.scalars(select(User).filter_by(instance_id=instance.id)).all()
    known = {(row.name, row.host) for row in managed}
    unmanaged: list[User | UnmanagedUser] = [
        UnmanagedUser(instance=instance, **seen | {"grants": [_NOWHERE | each for each in seen["grants"]]})
        for seen in instance.report.get("seen_users", [])
        if (seen["name"], seen["host"]) not in known
    ]
    rows = sorted([*managed, *unmanaged], key=lambda item: item.key)
    return [row for row in rows if row.key > marker][:limit]


_TABLE = User.__table__.c
_REVISIONS = (
    select(_TABLE.id, _TABLE.revision)
    .where(_TABLE.instance_id == bindparam("instance_id"))
    .order_by(_TABLE.id)
)


def revisions(instance_id: str) -> Sequence[Row[Any]]:
    """Id and revision of each of the instance's users, in one order."""
    return read(_REVISIONS, instance_id=instance_id)


def put(
    ctx: RequestContext,
    instance_key: str,
    key: str,
    wanted: Mapping[str, Any],
    preconditions: Preconditions = NONE,
) -> tuple[User, Outcome]:
    """Create the user or make it what is wanted (the fields of UserSchema).

    Without a password the present one stays. A deletion that was refused is taken back. Raises Invalid,
    Conflict, PreconditionFailed, NotFound (of the instance); then nothing changed.
    """
    with transaction() as session:
        instance = instances.find(ctx, instance_key, for_update=True)
        instances.refuse_unless_usable(instance)
        manager = MANAGERS[instance.datastore_version.datastore.manager]
        row = _find(instance, key)
        if row is None or not row.refused:
            refuse_while_deleting(row, f"user {key!r}")
        name, host = (row.name, row.host) if row else split_key(key)
        seen = [(item["name"], item["host"]) for item in instance.report.get("seen_users", [])]
        preconditions.check(row, unmanaged=row is None and (name, host) in seen)
        if split_key(wanted.get("key", user_key(name, host))) != (name, host):
            raise Invalid.field(
                "/name", f"A user keeps its name, {user_key(name, host)!r}; make another one."
            )
        check_key(manager, name, host)
        grants = _grants(instance, manager, wanted["grants"])
        if wanted["expires_at"] is not None and wanted["deletion_policy"] != "reassign":
            raise Invalid.field(
                "/deletion_policy", "A user that expires is dropped whatever it owns: leave it at reassign."
            )
        columns = {
            "verifier": _verifier(manager, row, wanted.get("password")),
            "password_version": wanted["password_version"],
            "grants": grants,
            "deletion_policy": wanted["deletion_policy"],
            "expires_at": _expiry(instance, row, name, wanted["expires_at"]),
        }
        if row is not None:
            former = assign(row, columns | {"deleting": False})
            if not former:
                return row, Outcome.UNCHANGED
            outcome = Outcome.CHANGED
            foresee(lambda: _impact(instance, former))
        else:
            row = User(instance=instance, name=name, host=host, **columns)
            session.add(row)
            session.flush()
            outcome = Outcome.CREATED
            what = "taken over" if (name, host) in seen else "created"
            sentence = f"The user is {what} while the engine runs."
            foresee(lambda: [Impact("", "online", sentence, instances=(instance.name,))])
        instances.touch(instance)
        events.record(outcome.value, f"User {row.key!r} {outcome.value}.", row)
        return row, outcome


def patch(
    ctx: RequestContext,
    instance_key: str,
    key: str,
    wanted: Callable[[User], Mapping[str, Any]],
    preconditions: Preconditions = NONE,
) -> tuple[User, Outcome]:
    """Make the user what `wanted` makes of it as it is. Raises NotFound, and what `put` raises.

    Of one that is being deleted the deletion_policy can be changed, and it goes by the new one.
    """
    with transaction():
        instance = instances.find(ctx, instance_key, for_update=True)
        row = find(ctx, instance_key, key)
        if not row.deleting:
            return put(ctx, instance_key, key, wanted(row), preconditions)
        instances.refuse_unless_usable(instance)
        preconditions.check(row)
        return row, _change_policy(instance, row, wanted(row))


def _change_policy(instance: Instance, row: User, wanted: Mapping[str, Any]) -> Outcome:
    same = all(
        wanted[field] == getattr(row, field) for field in ("password_version", "grants", "expires_at")
    )
    if not same or wanted.get("password") is not None:
        raise Conflict(f"User {row.key!r} is being deleted: of it only deletion_policy can be changed.")
    if not assign(row, {"deletion_policy": wanted["deletion_policy"]}):
        return Outcome.UNCHANGED
    if row.deletion_policy == "abandon":
        databases.abandon(row)
    else:
        events.record("changed", f"User {row.key!r} goes by deletion_policy {row.deletion_policy}.", row)
        instances.touch(instance)
        foresee(lambda: [_impact_of_drop(instance, row)])
    return Outcome.CHANGED


def delete(
    ctx: RequestContext, instance_key: str, key: str, preconditions: Preconditions = NONE
) -> User | None:
    """Start dropping the user; returns it while it goes, None when there is none.

    InUse while it is the owner of a database here. With the policy `abandon` it is forgotten at once. One
    that was refused is tried once more.
    """
    with transaction():
        instance = instances.find(ctx, instance_key, for_update=True)
        row = _find(instance, key)
        preconditions.check(row)
        if row is None or (row.deleting and not row.refused):
            return row
        if not instance.deleting and (owned := db.session.scalars(_owned(instance, row.name)).all()):
            raise InUse(f"User {row.key!r} owns {', '.join(owned)}; give them another owner first.")
        if row.deletion_policy == "abandon":
            databases.abandon(row)
        else:
            _drop(instance, row, f"User {row.key!r} is to be dropped.")
            foresee(lambda: [_impact_of_drop(instance, row)])
        return row


def drop_expired() -> int:
    """Start dropping the users whose time is over, but for those that go with their instance.

    Returns how many.
    """
    over = (User.expires_at <= moment()) & User.deleting.is_(False) & Instance.deleting.is_(False)
    found = db.session.execute(select(User.id, Instance.id).join(User.instance).where(over)).all()
    db.session.rollback()
    dropped = 0
    for user_id, instance_id in found:
        with transaction() as session:
            instance = instances.hold(instance_id)
            row = session.scalar(select(User).join(User.instance).where(over, User.id == user_id))
            if instance is not None and row is not None:  # else it was renewed or deleted meanwhile
                _drop(instance, row, f"User {row.key!r} has expired and is to be dropped.")
                dropped += 1
    return dropped


def _drop(instance: Instance, row: User, sentence: str) -> None:
    row.deleting = True
    row.generation += 1
    instances.touch(instance)
    events.record("deleting", sentence, row)


def _owned(instance: Instance, name: str) -> Select[str]:
    """Names of the databases here that the user owns."""
    owned = select(Database.name).filter_by(instance_id=instance.id, owner=name, deleting=False)
    return owned.order_by(Database.name)


def _impact_of_drop(instance: Instance, row: User) -> Impact:
    """What dropping the user does, as far as the newest report tells."""
    owns = _owns(instance, row)
    if row.deletion_policy == "refuse" and owns:
        sentence = f"The user stays until it owns nothing; there is something in {', '.join(owns)}."
        return Impact("", "none", sentence, instances=(instance.name,))
    sentence = "The user is dropped while the engine runs; its sessions end."
    if owns:
        sentence += f" What it owns in {', '.join(owns)} goes to the owner of that database."
    elif (
        MANAGERS[instance.datastore_version.datastore.manager].has_hosts and row.deletion_policy != "refuse"
    ):
        sentence += " Views, routines, triggers and events that have it as DEFINER fail when they are used."
    return Impact("", "online", sentence, instances=(instance.name,))


def _owns(instance: Instance, row: User) -> Sequence[str]:
    """The databases in which the user was last seen to own something."""
    for seen in instance.report.get("seen_users", []):
        if (seen["name"], seen["host"]) == (row.name, row.host):
            return list(seen.get("owns", []))
    return []


_CHANGES: dict[str, tuple[str, Effect, str]] = {
    "verifier": ("/password", "online", "New logins take the new password; open sessions go on."),
    "password_version": ("/password_version", "none", "The number is yours alone."),
    "grants": ("/grants", "online", "What the user may do changes while the engine runs."),
    "deletion_policy": (
        "/deletion_policy",
        "none",
        "It decides what becomes of what the user owns when it is deleted.",
    ),
    "deleting": ("", "none", "The user's deletion, which was refused, is taken back."),
    "expires_at": ("/expires_at", "none", "The engine is not told; the user is dropped once it is time."),
}


def _impact(instance: Instance, former: Mapping[str, Any]) -> list[Impact]:
    return [Impact(*_CHANGES[column], instances=(instance.name,)) for column in former]


def check_key(manager: Manager, name: str, host: str) -> None:
    """Raise Invalid unless the engine can have a user so called."""
    manager.check_user(name)
    if host != "%" and not manager.has_hosts:
        raise Invalid.field("/name", f"Users of {manager.name} have no host; leave out @{host}.")
    if host != host.lower():
        raise Invalid.field("/name", f"{manager.name} has hosts in lower case: write @{host.lower()}.")
    if not 1 <= len(host) <= 255 or not set(host) <= _HOST_LETTERS:
        raise Invalid.field(
            "/name",
            f"{host!r} is not a host: an address, a name, or either with % and _ as wildcards.",
        )


_HOST_LETTERS = set("abcdefghijklmnopqrstuvwxyz0123456789.:-_%/")


def _verifier(manager: Manager, row: User | None, password: str | None) -> str:
    if password is None:
        if row is None:
            raise Invalid.field("/password", "A new user needs a password.")
        return row.verifier
    if row is not None and verifiers.fits(manager.name, password, row.verifier):
        return row.verifier
    return verifiers.make(manager.name, password)


def _expiry(instance: Instance, row: User | None, name: str, wanted: datetime | None) -> datetime | None:
    """Check when the user is to expire, if that is new."""
    if wanted is None or (row is not None and row.expires_at == wanted):
        return wanted
    owned = _owned(instance, name)
    now, owns = db.session.execute(select(moment(), owned.exists())).one()
    if wanted <= now:
        raise Invalid.field("/expires_at", f"It is over already: here it is {now.isoformat()}.")
    if owns:
        names = ", ".join(db.session.scalars(owned))
        raise Invalid.field(
            "/expires_at", f"User {name!r} owns {names}, and who owns a database must not expire."
        )
    return wanted


def _grants(
    instance: Instance, manager: Manager, wanted: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Check the grants and bring them into one order, so that the same set is the same value."""
    grants = []
    places: set[object] = set()
    names = {key: row.name for row in databases.listing(instance) for key in _keys(row)}
    for index, grant in enumerate(wanted):
        at = f"/grants/{index}"
        grants.append(
            _acl_grant(grant, at) if not manager.has_databases else _sql_grant(manager, grant, at, names)
        )
        place = (grants[-1]["database"], *grants[-1]["keys"], *grants[-1]["channels"])
        if place in places:
            raise Invalid.field(at, "Two grants are for the same place; put them into one.")
        places.add(place)
    return sorted(grants, key=lambda grant: (grant["database"] or "", grant["keys"], grant["channels"]))


def _keys(row: Database | databases.UnmanagedDatabase) -> list[str]:
    return [row.name, row.id] if isinstance(row, Database) else [row.name]


def _sql_grant(
    manager: Manager, grant: Mapping[str, Any], at: str, names: Mapping[str, str]
) -> dict[str, Any]:
    """`names` by what a database may be called: its name, its id."""
    database = grant["database"]
    if database is None:
        raise Invalid.field(f"{at}/database", f"A grant on {manager.name} names a database.")
    if database not in names:
        raise Invalid.field(
            f"{at}/database",
            f"The instance has no database {database!r}.{nearest(database, names.values())}",
        )
    for field in ("keys", "channels"):
        if grant[field]:
            raise Invalid.field(f"{at}/{field}", f"{manager.name} has no {field}; leave it out.")
    privileges = sorted({privilege.upper() for privilege in grant["privileges"]})
    for privilege in privileges:
        check_privilege(manager, privilege, f"{at}/privileges")
    if "ALL" in privileges and len(privileges) > 1:
        raise Invalid.field(f"{at}/privileges", "ALL includes every other privilege; name it alone.")
    return {**grant, "database": names[database], "privileges": privileges}


def _acl_grant(grant: Mapping[str, Any], at: str) -> dict[str, Any]:
    if grant["database"] is not None:
        raise Invalid.field(
            f"{at}/database", "Valkey's ACL does not know databases; grant on keys instead."
        )
    if not grant["keys"] and not grant["channels"]:
        raise Invalid.field(f"{at}/keys", "Name the keys or channels; `*` is all of them.")
    for field in ("keys", "channels"):
        for pattern in grant[field]:
            if any(letter.isspace() or letter in "()%" for letter in pattern):
                raise Invalid.field(
                    f"{at}/{field}",
                    f"{pattern!r} has a space, '(', ')' or '%', which ACL rules lack.",
                )
    for rule in grant["privileges"]:
        if rule != "ALL" and not _is_acl_rule(rule):
            raise Invalid.field(
                f"{at}/privileges",
                f"{rule!r} is not an ACL rule for commands such as +get, -del, +@read or ALL.",
            )
    return dict(grant)


def _is_acl_rule(rule: str) -> bool:
    command = rule[1:].removeprefix("@")
    return (
        rule[:1] in "+-"
        and bool(command)
        and all(letter.isascii() and (letter.isalnum() or letter in "-_|.") for letter in command)
    )
