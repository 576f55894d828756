"""The sweep and its turns."""

import itertools
import threading
import time
from datetime import timedelta

from control_plane_fixtures import (
    ControlPlane,
    control_plane,
    eventually,
    instance_id,
    with_guests,
    write,
)
from sqlalchemy import update

from control_plane.agents.models import Agent
from control_plane.database import now, transaction
from control_plane.work import lease, turns
from control_plane.work.clock import epoch
from control_plane.work.sweep import notice_silence, request_due

__all__ = ["control_plane", "instance_id", "with_guests"]


def test_one_process_has_the_turn(control_plane: ControlPlane) -> None:
    with control_plane.app.app_context():
        assert turns.claim("test", 0.5) == 0.5, "the first is after a while"
        eventually(lambda: turns.claim("test", 60) == 0)
        assert 50 < turns.claim("test", 60) <= 60
        turns.forgo("test")
        assert turns.claim("test", 60) == 0


def test_however_many_sweep_at_once_one_has_the_turn(control_plane: ControlPlane) -> None:
    had: list[float] = []
    until = time.monotonic() + 2

    def sweep() -> None:
        while time.monotonic() < until:
            with control_plane.app.app_context():
                if turns.claim("test", 0.25) == 0:
                    had.append(time.monotonic())

    sweepers = [threading.Thread(target=sweep) for _ in range(4)]
    for sweeper in sweepers:
        sweeper.start()
    for sweeper in sweepers:
        sweeper.join()
    assert len(had) > 2
    assert all(later - sooner > 0.2 for sooner, later in itertools.pairwise(sorted(had)))


def test_the_sweep_finds_what_a_dead_process_was_asked_for(
    control_plane: ControlPlane, instance_id: str
) -> None:
    class Requests(list[str]):
        def request(self, instance_id: str, delay: float = 0) -> None:
            self.append(instance_id)

    found = Requests()
    assert request_due(found) == 1
    assert found == [instance_id]
    assert request_due(found) == 0, "it was handed over already"
    write(instance_id, handed_over_at=epoch() - 60)
    assert request_due(found) == 1, "what was handed over was lost"
    assert lease.acquire(instance_id) is not None
    assert request_due(found) == 0, "someone is at work on it"
    write(instance_id, lease_expires=epoch() - 1, next_reconcile_at=epoch() - 1)
    assert request_due(found) == 1, "its holder died"


def test_at_the_start_nobody_holds_a_lease_and_everything_is_looked_at(
    control_plane: ControlPlane, instance_id: str
) -> None:
    assert lease.acquire(instance_id) is not None
    lease.void_all()
    assert request_due(control_plane.runner) == 1
    assert lease.acquire(instance_id) is not None


def test_a_silent_agent_is_said_and_looked_for(with_guests: ControlPlane) -> None:
    instance_id = with_guests.put_instance()
    with with_guests.app.app_context():
        with transaction() as session:
            session.add(Agent(instance_id=instance_id, last_seen_at=now() - timedelta(seconds=59)))
        assert notice_silence() == 0
        with transaction() as session:
            session.execute(update(Agent).values(last_seen_at=now() - timedelta(seconds=61)))
        write(instance_id, next_reconcile_at=None)
        assert notice_silence() == 1
        assert notice_silence() == 0
        assert with_guests.row(instance_id).next_reconcile_at is not None
    status = with_guests.instance()["status"]
    assert "not been heard of" in status["message"]
    assert not status["ready"]


def test_an_agent_that_never_registers_is_said_after_a_while(with_guests: ControlPlane) -> None:
    instance_id = with_guests.put_instance()
    with_guests.start()
    eventually(lambda: instance_id in with_guests.compute.tokens)
    with with_guests.app.app_context():
        assert notice_silence() == 0
        with transaction() as session:
            session.execute(update(Agent).values(bootstrap_expires_at=now() + timedelta(minutes=24)))
        assert notice_silence() == 1
    assert "not been heard of" in with_guests.instance()["status"]["message"]
