"""The audit of survival finds each kind of fault."""

import copy
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from audit import findings
from deployment import Deployment, deployed
from sqlalchemy import delete, select, update
from stores import let_go

from control_plane.database import db, transaction
from control_plane.databases.models import Database
from control_plane.events.models import Event
from control_plane.instances.models import Instance
from control_plane.users.models import User


@pytest.fixture(scope="module")
def settled() -> Iterator[Deployment]:
    """One process, which has made two instances and deleted one of them, and is no more."""
    with deployed("audit") as one:
        one.add("all")
        one.start()
        one.make("kept", "dropped")
        one.client().delete("/instances/dropped")
        one.audit()
        for process in one.processes.values():
            process.kill()
        yield one


@contextmanager
def undone(one: Deployment) -> Iterator[None]:
    """At its end all is as it was."""
    assert one.guests is not None
    with tempfile.TemporaryDirectory() as kept:
        let_go(one.app)
        shutil.copytree(one.folder, kept, dirs_exist_ok=True)
        before = copy.deepcopy(
            (one.ledger.wanted, {key: it.engine for key, it in one.guests.by_instance.items()})
        )
        yield
        let_go(one.app)
        shutil.rmtree(one.folder)
        shutil.copytree(kept, one.folder)
        one.ledger.wanted = before[0]
        for key, engine in before[1].items():
            one.guests.by_instance[key].engine = engine


def found(one: Deployment) -> list[str]:
    assert one.guests is not None
    return findings(one.app, one.ledger, one.site, one.guests.by_instance)


def written(statement: object) -> Callable[[Deployment], None]:
    def plant(one: Deployment) -> None:
        with one.app.app_context(), transaction() as session:
            session.execute(statement)

    return plant


def doubled_event(one: Deployment) -> None:
    with one.app.app_context(), transaction() as session:
        event = session.scalars(select(Event).filter_by(kind="created", resource_type="database")).first()
        columns = [column.key for column in Event.__table__.columns if column.key != "id"]
        session.add(Event(**{name: getattr(event, name) for name in columns}))


def kept_id(one: Deployment) -> str:
    with one.app.app_context():
        return db.session.scalars(select(Instance.id)).one()


def forgotten_delete(one: Deployment) -> None:
    one.ledger.wanted["/instances/kept"] = None


def unacknowledged(one: Deployment) -> None:
    del one.ledger.wanted["/instances/kept"]


def lost_in_the_engine(one: Deployment) -> None:
    assert one.guests is not None
    one.guests.by_instance[kept_id(one)].engine["databases"].pop("old")


PLANTED = {
    "a server lost": (lambda one: one.site.delete("server", kept_id(one)), "0 objects server, not 1"),
    "a twin": (lambda one: one.site.make("volume", kept_id(one), {"size": 1}), "2 objects volume, not 1"),
    "an orphan": (lambda one: one.site.write("port", "nobody.1", {}), "nobody has 1 objects port, not 0"),
    "not converged": (written(update(Instance).values(generation=7)), "has not converged"),
    "not ready": (written(update(Instance).values(ready=False)), "has not converged"),
    "a write lost": (written(update(Instance).values(volume_size=7)), "lost an acknowledged write"),
    "an instance lost": (written(delete(Instance)), "/instances/kept was acknowledged and is lost"),
    "a delete lost": (forgotten_delete, "/instances/kept was deleted and is there"),
    "an instance too many": (unacknowledged, "/instances/kept is there and nobody made it"),
    "a database lost": (written(delete(Database).filter_by(name="shop")), "has the databases {'old': 1}"),
    "a user lost": (written(delete(User)), "has the users {}"),
    "one lost in the engine": (lost_in_the_engine, "its engine has the databases {'shop'}"),
    "an event lost": (
        written(delete(Event).filter_by(kind="created", resource_type="user")),
        "/users/app has 0 events created, not 1",
    ),
    "an event doubled": (doubled_event, "has 2 events created, not 1"),
}


def test_what_was_left_in_peace_passes(settled: Deployment) -> None:
    assert found(settled) == []


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(settled: Deployment, fault: str) -> None:
    plant, words = PLANTED[fault]
    with undone(settled):
        plant(settled)
        assert any(words in finding for finding in found(settled)), found(settled)
    assert found(settled) == [], "it is as before"
