"""The audit that every test of survival ends with: what is there against what was acknowledged."""

from collections import Counter
from collections.abc import Iterator

from clients import Ledger
from faulty_cloud import KINDS, Site, instance_of
from flask import Flask
from guests import Guest
from sqlalchemy import select

from control_plane.database import db
from control_plane.databases.models import Database
from control_plane.events.models import Event
from control_plane.instances.models import Instance
from control_plane.users.models import User

_WRITES = ("created", "changed", "deleting", "deleted")


def at_rest(app: Flask) -> bool:
    """Whether nothing is left to be done."""
    with app.app_context():
        rows = db.session.scalars(select(Instance), execution_options={"populate_existing": True}).all()
        inside = [
            row
            for kind in (Database, User)
            for row in db.session.scalars(select(kind), execution_options={"populate_existing": True})
        ]
        still = all(_converged(row) and row.lease_token is None for row in rows)
        return still and all(row.ready and not row.deleting for row in inside)


def findings(app: Flask, ledger: Ledger, site: Site, guests: dict[str, Guest]) -> list[str]:
    """What is not as it should be, a sentence each."""
    with app.app_context():
        db.session.rollback()
        rows = list(db.session.scalars(select(Instance)))
        found = [*_rows(rows, ledger), *_inside(rows, ledger, guests), *_events(ledger)]
    ids = {row.id for row in rows}
    return sorted([*found, *_objects(ids, site), *_twins(site)])


def _converged(row: Instance) -> bool:
    return row.ready and row.observed_generation == row.generation and not row.deleting


def _rows(rows: list[Instance], ledger: Ledger) -> Iterator[str]:
    there = {f"/instances/{row.name}": row for row in rows}
    for path, body in ledger.instances.items():
        row = there.pop(path, None)
        if body is None:
            if row is not None:
                yield f"{path} was deleted and is there"
        elif row is None:
            yield f"{path} was acknowledged and is lost"
        else:
            if not _converged(row):
                yield f"{path} has not converged: {row.phase} {row.message} {row.sentence}"
            has = {"volume": {"size": row.volume_size}, "flavor": row.flavor, "labels": row.labels}
            if has != {name: body.get(name, {}) for name in has}:
                yield f"{path} lost an acknowledged write: it is {has}"
    yield from (f"{path} is there and nobody made it" for path in there)


def _inside(rows: list[Instance], ledger: Ledger, guests: dict[str, Guest]) -> Iterator[str]:
    for row in rows:
        path = f"/instances/{row.name}"
        for kind, model in (("databases", Database), ("users", User)):
            wanted = ledger.inside(path, kind)
            known = Counter(
                each.name for each in db.session.scalars(select(model).filter_by(instance_id=row.id))
            )
            engine = set(guests[row.id].engine[kind]) if row.id in guests else set()
            if known != Counter(wanted):
                yield f"{path} has the {kind} {dict(known)} and should have {wanted}"
            if engine != wanted:
                yield f"{path}: its engine has the {kind} {engine} and should have {wanted}"


def _events(ledger: Ledger) -> Iterator[str]:
    """One for each acknowledged write, no more and no fewer.

    What was to be dropped when its instance was deleted may have gone with that, without another event.
    """
    events = list(
        db.session.scalars(select(Event).where(Event.resource_type.in_(("instance", "database", "user"))))
    )
    names = {
        event.instance_id: event.resource_name for event in events if event.resource_type == "instance"
    }
    counts: Counter[tuple[str, str]] = Counter()
    for event in events:
        path = f"/instances/{names.get(event.instance_id)}"
        if event.resource_type != "instance":
            path += f"/{event.resource_type}s/{event.resource_name}"
        if event.kind in _WRITES:
            counts[path, event.kind] += 1
    for path, kind in sorted(counts.keys() | ledger.events.keys()):
        count, wanted = counts[path, kind], ledger.events[path, kind]
        went_along = kind == "deleted" and count == 0 and ledger.is_deleted(path.rsplit("/", 2)[0])
        if count != wanted and not went_along:
            yield f"{path} has {count} events {kind}, not {wanted}"


def _objects(ids: set[str], site: Site) -> Iterator[str]:
    counts = Counter((kind, instance_of(name)) for kind, name in site.objects())
    for kind in KINDS:
        for instance_id in ids | {each for of, each in counts if of == kind}:
            wanted = 1 if instance_id in ids else 0
            if (count := counts[kind, instance_id]) != wanted:
                yield f"instance {instance_id} has {count} objects {kind}, not {wanted}"


def _twins(site: Site) -> Iterator[str]:
    for (kind, instance_id), count in Counter(map(tuple, site.noted("made"))).items():
        if count != 1:
            yield f"instance {instance_id} had {count} objects {kind} made"
