"""Many agents: what a sync costs when nothing is new, and what is bounded."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from control_plane_fixtures import ControlPlane, eventually, with_guests
from sqlalchemy import event, update
from test_agents import Guest, guest, ready

from control_plane.agents import heads
from control_plane.agents.gate import Crowded, Gate
from control_plane.agents.heads import SEEN_EVERY
from control_plane.agents.hearing import Attendance, LastWords, digest
from control_plane.agents.models import Agent
from control_plane.agents.spacing import LONGEST_RETURN, STEADY, Spacing
from control_plane.database import db, now, transaction
from control_plane.instances.models import Instance
from control_plane.work.sweep import SILENT
from guest_agent.client import Client, ControlPlaneError

__all__ = ["guest", "ready", "with_guests"]


@contextmanager
def statements(control_plane: ControlPlane) -> Iterator[list[str]]:
    """What the state database is asked meanwhile."""
    asked: list[str] = []

    def note(_c: Any, _k: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            asked.append(statement)

    with control_plane.app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_a_sync_without_news_is_one_read(ready: Guest) -> None:
    ready.sync(wait=0.01)
    with statements(ready.control_plane) as asked:
        assert ready.sync(wait=0.01).status_code == 304
    assert len(asked) == 1, asked


def test_what_an_agent_says_again_is_stored_if_something_else_was_meanwhile(
    ready: Guest,
) -> None:
    said = ready.report(volume_used=64 << 20)
    ready.sync(said)
    ready.sync(said)
    with ready.control_plane.app.app_context(), transaction() as session:
        instance = session.get_one(Instance, ready.instance_id)
        instance.report = instance.report | {"volume_used": 1 << 20}
    ready.sync(said)
    assert ready.control_plane.instance()["status"]["volume_used"] == 64 << 20


def test_the_same_words_with_a_wait_that_cannot_be_are_refused(ready: Guest) -> None:
    ready.sync()
    ready.sync()
    assert ready.sync(wait="long").status_code == 400


def test_the_last_words_of_so_many_agents_are_kept() -> None:
    words, kept = digest({"wait": 25}), LastWords()
    assert words == digest({"wait": 25, "run": "other", "sequence": 7})
    assert words != digest({"wait": 0})
    for number in range(20_001):
        kept.keep(str(number), 1, words)
    assert [kept.repeated(known(number), words) for number in (0, 1, 20_000)] == [False, True, True]
    assert not kept.repeated(known(1, revision=2), words)
    assert not kept.repeated(known(1, agent_lost=True), words)


def known(number: int, **more: Any) -> Any:
    """A head with what the last words go by."""
    return SimpleNamespace(**{"instance_id": str(number), "revision": 1, "agent_lost": False} | more)


def test_while_an_agent_is_parked_no_connection_is_held(ready: Guest) -> None:
    parked = threading.Thread(target=lambda: ready.sync(wait=2))
    changes = ready.control_plane.app.extensions["coffret_changes"]
    ready.sync(wait=0.01)
    parked.start()
    eventually(lambda: changes.awaited)
    with ready.control_plane.app.app_context():
        pool: Any = db.engine.pool
        eventually(lambda: pool.checkedout() == 0, 1.5)
        assert changes.awaited, "it is parked still"
    parked.join()


def test_who_was_heard_of_is_written_together(with_guests: ControlPlane) -> None:
    ids = [with_guests.put_instance(f"guest-{number}") for number in range(3)]
    attendance: Attendance = with_guests.app.extensions["coffret_attendance"]
    with with_guests.app.app_context():
        with transaction() as session:
            session.add_all(Agent(instance_id=found, secret_hash="x") for found in ids)
        old = now() - timedelta(seconds=SEEN_EVERY + 1)
        with transaction() as session:
            session.execute(update(Agent).values(last_seen_at=old))
        for found in ids[:2]:
            head = heads.find(found)
            assert head is not None
            attendance.note(head)
        with statements(with_guests) as asked:
            attendance.write()
            attendance.write()
        assert len(asked) == 1, asked
        db.session.rollback()
        fresh = [db.session.get_one(Agent, found).last_seen_at for found in ids]
        assert [at is not None and at > old for at in fresh] == [True, True, False]


def test_past_the_gate_so_many_go_on_and_so_many_wait() -> None:
    gate = Gate(passing=1, waiting=1)
    entered = threading.Event()

    def wait_for_it() -> None:
        with gate.entry():
            entered.set()

    with gate.entry():
        waiting = threading.Thread(target=wait_for_it)
        waiting.start()
        eventually(lambda: _refused(gate))
        assert not entered.is_set()
    waiting.join(30)
    assert entered.is_set()
    assert not _refused(gate)


def _refused(gate: Gate) -> bool:
    try:
        with gate.entry():
            return False
    except Crowded:
        return True


def test_a_crowd_is_told_to_come_again_at_different_times(ready: Guest) -> None:
    ready.control_plane.app.extensions["coffret_gate"] = Gate(passing=0, waiting=0)
    answers = [ready.sync() for _ in range(20)]
    assert {answer.status_code for answer in answers} == {503}
    assert answers[0].json["code"] == "crowded"
    pauses = {int(answer.headers["Retry-After"]) for answer in answers}
    assert len(pauses) > 1
    assert min(pauses) >= 1


def test_an_agent_keeps_to_the_pause_of_a_crowded_gateway(requests_mock: Any) -> None:
    requests_mock.post("http://gateway/agent/v1/sync", status_code=503, headers={"Retry-After": "17"})
    client = Client("http://gateway", None, "i-1")
    with pytest.raises(ControlPlaneError) as refused:
        client.sync("secret", {"wait": 0})  # type: ignore[typeddict-item]
    assert refused.value.retry_after == 17


@pytest.mark.parametrize(
    ("count", "least", "most"), [(0, 4, 5), (800, 15, 20), (10_000, 23, 30), (1_000_000, 23, 30)]
)
def test_agents_that_are_not_parked_come_less_often_the_more_there_are(
    control_count: Spacing, count: int, least: int, most: int
) -> None:
    control_count._count = count
    pauses = [control_count.steady() for _ in range(200)]
    assert least <= min(pauses) < max(pauses) <= most


@pytest.fixture
def control_count() -> Spacing:
    """A spacing that has just counted."""
    spacing = Spacing()
    spacing._counted = float("inf")
    return spacing


def test_agents_that_are_let_go_at_once_come_back_spread() -> None:
    spacing = Spacing()
    assert {spacing.scattered(12) for _ in range(20)} == {0}
    pauses = [spacing.scattered(5000) for _ in range(500)]
    assert min(pauses) <= 2
    assert 20 <= max(pauses) <= 25


def test_no_pause_makes_an_agent_look_lost() -> None:
    assert max(LONGEST_RETURN, STEADY[1]) + 15 <= SILENT
