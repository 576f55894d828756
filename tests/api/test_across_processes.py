"""Waking those who are parked in one process when another writes: two applications on one database."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from control_plane_fixtures import ControlPlane, eventually, with_guests
from sqlalchemy import delete, event, func, select, update
from test_agents import DATABASE, Guest

from control_plane.app import ServerRole, create_app
from control_plane.auth import Role, tokens
from control_plane.database import db, transaction
from control_plane.instances.models import Instance
from control_plane.work import touches
from control_plane.work.changes import Changes
from control_plane.work.clock import epoch
from control_plane.work.lookout import FULL_SECONDS, Lookout
from control_plane.work.touches import Touch

__all__ = ["with_guests"]

SOON = 5
"""Seconds in which the other process learns of a write."""


class Elsewhere:
    """Another process on the same database: the application again, with a board of its own."""

    def __init__(self, control_plane: ControlPlane, role: ServerRole = ServerRole.ALL) -> None:
        settings = control_plane.app.extensions["coffret_settings"]
        self.app = create_app(settings, control_plane.app.extensions["coffret_cloud"], role)
        self.changes: Changes = self.app.extensions["coffret_changes"]
        self.lookout = Lookout(self.app, self.changes)
        with control_plane.app.app_context():
            _, self.token = tokens.create("elsewhere", "project", Role.ADMIN)

    def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        return self.app.test_client().get(f"/v1{path}", headers=headers)

    def close(self) -> None:
        self.changes.close()
        self.lookout.stop()
        with self.app.app_context():
            db.session.remove()
            db.engine.dispose()


@pytest.fixture
def elsewhere(with_guests: ControlPlane) -> Iterator[Elsewhere]:
    """Its lookout is not started."""
    one = Elsewhere(with_guests)
    yield one
    one.close()


@pytest.fixture
def watching(elsewhere: Elsewhere) -> Elsewhere:
    elsewhere.lookout.start()
    return elsewhere


@pytest.fixture
def guest(with_guests: ControlPlane) -> Guest:
    """Ready, with nothing left to do."""
    with_guests.start()
    instance_id = with_guests.put_instance()
    eventually(lambda: instance_id in with_guests.books.servers)
    one = Guest(with_guests, instance_id)
    assert one.register().status_code == 200
    one.converge()
    eventually(lambda: with_guests.instance()["status"]["ready"])
    return one


def in_time(answer: "Future[Any]", began: float) -> Any:
    found = answer.result(30)
    assert time.monotonic() - began < SOON
    return found


def asked(where: Elsewhere, call: Any) -> "Future[Any]":
    """The answer to come of a call that is parked there by now."""
    answer: Future[Any] = Future()
    threading.Thread(target=lambda: answer.set_result(call()), daemon=True).start()
    eventually(lambda: where.changes.awaited)
    return answer


def test_an_agent_parked_in_one_process_learns_of_what_another_wrote(
    guest: Guest, watching: Elsewhere
) -> None:
    guest.client = watching.app.test_client()
    answer = asked(watching, lambda: guest.sync(wait=20))
    time.sleep(1)  # the lookout has looked, more than once
    began = time.monotonic()
    assert guest.control_plane.call("PUT", DATABASE, {}).status_code == 202
    assert in_time(answer, began).status_code == 200
    assert [item["name"] for item in guest.directive["databases"]] == ["shop"]


def test_a_client_that_waits_in_one_process_learns_of_a_report_to_another(
    guest: Guest, watching: Elsewhere
) -> None:
    guest.control_plane.call("PUT", DATABASE, {})
    assert guest.sync().status_code == 200
    answer = asked(watching, lambda: watching.get(f"{DATABASE}?wait_for=ready&timeout=20"))
    began = time.monotonic()
    assert guest.sync().status_code == 304
    assert in_time(answer, began).json["status"]["ready"]


def test_a_client_that_waits_learns_that_it_is_gone_though_another_process_deleted_it(
    guest: Guest, watching: Elsewhere
) -> None:
    guest.control_plane.runner.stop()
    guest.control_plane.call("DELETE", "/instances/orders")
    answer = asked(watching, lambda: watching.get("/instances/orders?wait_for=ready&timeout=20"))
    with guest.control_plane.app.app_context(), transaction() as session:
        session.execute(delete(Instance))
        touches.touch(guest.instance_id)
    assert in_time(answer, time.monotonic()).status_code == 404


def test_only_those_who_wait_for_the_instance_are_woken(with_guests: ControlPlane) -> None:
    changes: Changes = with_guests.app.extensions["coffret_changes"]
    looks = {"mine": 0, "other": 0}

    def park(instance_id: str) -> None:
        def look() -> None:
            looks[instance_id] += 1

        with changes.place("agents", instance_id) as place:
            assert place is not None
            place.wait(20, look)

    waiters = [threading.Thread(target=park, args=[name]) for name in looks]
    for waiter in waiters:
        waiter.start()
    eventually(lambda: len(changes.awaited) == 2)
    changes.announce("mine")
    eventually(lambda: looks["mine"])
    changes.close()
    for waiter in waiters:
        waiter.join(30)
    assert looks == {"mine": 1, "other": 0}
    assert changes.awaited == []


def test_what_is_announced_between_a_look_and_the_parking_is_not_missed() -> None:
    changes = Changes(1)
    with changes.place("agents", "mine") as place:
        assert place is not None
        changes.announce("mine")
        assert place.wait(30, lambda: "found") == "found"


def test_who_comes_when_the_process_ends_is_not_parked() -> None:
    changes = Changes(1)
    changes.close()
    with changes.place("agents", "mine") as place:
        began = time.monotonic()
        assert place is None or place.wait(30, lambda: "found") is None
        assert time.monotonic() - began < 10


def announced(where: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a look of the lookout announces, from now on."""
    named: list[str] = []
    monkeypatch.setattr(where.changes, "announce", lambda *ids: named.extend(ids))
    return named


def test_a_touch_is_announced_once_even_when_its_commit_comes_late(
    guest: Guest, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest.control_plane.runner.stop()  # whose writes would be announced as well
    named = announced(elsewhere, monkeypatch)
    with elsewhere.app.app_context(), elsewhere.changes.place("clients", guest.instance_id):
        elsewhere.lookout.look()
        named.clear()
        with guest.control_plane.app.app_context(), transaction() as session:
            touches.touch(guest.instance_id)
            session.execute(update(Touch).values(at=epoch() - 2))  # before the look above
        for _ in range(3):
            elsewhere.lookout.look()
    assert named == [guest.instance_id]


def test_a_write_without_a_touch_is_found_by_the_full_look(
    guest: Guest, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a process of the version before, or of a commit that came very late."""
    guest.control_plane.runner.stop()  # whose writes would be announced as well
    named = announced(elsewhere, monkeypatch)

    def full_look() -> list[str]:
        named.clear()
        elsewhere.lookout._looked_at_all -= FULL_SECONDS
        elsewhere.lookout.look()
        return list(named)

    with elsewhere.app.app_context(), elsewhere.changes.place("clients", guest.instance_id):
        assert guest.instance_id in full_look()
        with guest.control_plane.app.app_context(), transaction() as session:
            session.execute(delete(Touch))
        assert full_look() == []
        with guest.control_plane.app.app_context(), transaction() as session:
            session.execute(update(Instance).values(revision=Instance.revision + 1))
        elsewhere.lookout.look()
        assert named == []
        assert full_look() == [guest.instance_id]
        with guest.control_plane.app.app_context(), transaction() as session:
            session.execute(delete(Instance))
        assert full_look() == [guest.instance_id]


def test_while_nobody_is_parked_nothing_is_asked(guest: Guest, elsewhere: Elsewhere) -> None:
    statements: list[str] = []

    def note(_c: Any, _k: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    with elsewhere.app.app_context():
        event.listen(db.engine, "before_cursor_execute", note)
        elsewhere.lookout.look()
        assert statements == []
        with elsewhere.changes.place("clients", guest.instance_id):
            elsewhere.lookout.look()
        assert len([text for text in statements if "FROM touches" in text]) == 1


def test_old_touches_go(with_guests: ControlPlane) -> None:
    with_guests.put_instance()
    with with_guests.app.app_context():

        def age(seconds: float) -> int:
            with transaction() as session:
                session.execute(update(Touch).values(at=epoch() - seconds))
                touches.touch("new")
            touches.prune()
            count: int = db.session.scalar(select(func.count()).select_from(Touch))
            return count

        assert age(599) > 1
        assert age(601) == 1


@pytest.mark.parametrize(
    ("role", "there", "absent"),
    [
        (ServerRole.API, ["/v1/instances", "/openapi.json"], ["/agent/v1/sync", "/agent/v1/register"]),
        (ServerRole.AGENTS, ["/agent/v1/sync"], ["/v1/instances", "/openapi.json", "/v1/tokens"]),
    ],
)
def test_a_role_has_its_own_paths_only(
    with_guests: ControlPlane, role: ServerRole, there: list[str], absent: list[str]
) -> None:
    one = Elsewhere(with_guests, role)
    client = one.app.test_client()
    headers = {"Authorization": f"Bearer {with_guests.token}"}
    for path in absent:
        answer = client.open(path, method="POST" if "agent" in path else "GET", headers=headers)
        assert answer.status_code == 404, path
        assert answer.json["code"] == "not_found"  # type: ignore[index]
    for path in [*there, "/healthz", "/readyz"]:
        answer = client.open(path, method="POST" if "agent" in path else "GET", headers=headers)
        assert answer.status_code not in (404, 405), path
    one.close()
