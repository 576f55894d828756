"""Leases, the runner and the sweep, on the noop cloud."""

import itertools
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import psutil
import pytest
from control_plane_fixtures import ControlPlane, control_plane, eventually, with_guests
from sqlalchemy import select, update

from control_plane import work
from control_plane.agents.models import Agent
from control_plane.clouds import CloudError, CloudRefusal, Server, ServerSpec, Volume
from control_plane.clouds.noop.drivers import Volumes
from control_plane.database import db, now, transaction
from control_plane.instances.models import Instance
from control_plane.work import lease, processes, turns
from control_plane.work.clock import epoch
from control_plane.work.lease import LeaseLost
from control_plane.work.looking import LONGEST_BACKOFF, backoff
from control_plane.work.sweep import Sweep, notice_silence, request_due

__all__ = ["control_plane", "with_guests"]


@pytest.fixture
def instance_id(control_plane: ControlPlane) -> Iterator[str]:
    instance_id = control_plane.put_instance()
    with control_plane.app.app_context():
        yield instance_id


def write(instance_id: str, **columns: object) -> None:
    with transaction() as session:
        session.execute(update(Instance).where(Instance.id == instance_id).values(**columns))


def ask(control_plane: ControlPlane, instance_id: str) -> None:
    with control_plane.app.app_context(), transaction():
        work.request(instance_id)


def test_the_databases_clock_is_the_time(instance_id: str) -> None:
    assert db.session.scalar(select(epoch())) == pytest.approx(time.time(), abs=1)


def test_only_one_has_the_lease(instance_id: str) -> None:
    mine = lease.acquire(instance_id)
    assert mine is not None
    assert lease.acquire(instance_id) is None
    with mine.fenced() as instance:
        mine.release(instance, 0)
    assert lease.acquire(instance_id) is not None


def test_there_is_no_lease_where_nothing_is_due(instance_id: str) -> None:
    mine = lease.acquire(instance_id)
    assert mine is not None
    with mine.fenced() as instance:
        mine.release(instance, 600)
    assert lease.acquire(instance_id) is None
    with transaction():
        work.request(instance_id)
    assert lease.acquire(instance_id) is not None


def test_there_is_no_lease_on_what_does_not_exist(instance_id: str) -> None:
    assert lease.acquire("00000000-0000-0000-0000-000000000000") is None


def test_many_takers_never_hold_the_lease_together(control_plane: ControlPlane, instance_id: str) -> None:
    holders: list[int] = []
    most = []

    def take() -> None:
        for _ in range(10):
            with control_plane.app.app_context():
                if (held := lease.acquire(instance_id)) is None:
                    continue
                holders.append(1)
                most.append(len(holders))
                time.sleep(0.002)
                holders.pop()
                with held.fenced() as instance:
                    held.release(instance, 0)

    takers = [threading.Thread(target=take) for _ in range(4)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    assert most
    assert max(most) == 1


def test_an_expired_lease_is_taken_over_and_its_old_holder_writes_nothing_more(instance_id: str) -> None:
    stalled = lease.acquire(instance_id)
    assert stalled is not None
    write(instance_id, lease_expires=epoch() - 1, next_reconcile_at=epoch() - 1)
    successor = lease.acquire(instance_id)
    assert successor is not None
    with pytest.raises(LeaseLost), stalled.fenced() as instance:
        instance.cloud_message = "from the past"
    with successor.fenced() as instance:
        assert instance.cloud_message == ""


def test_the_lease_of_a_process_that_was_killed_is_void(
    control_plane: ControlPlane, instance_id: str
) -> None:
    """Or of a thread that broke off in this process; that of one at work is not."""
    mine = lease.acquire(instance_id)
    assert mine is not None
    assert lease.void_ended() == 0
    with subprocess.Popen(["sleep", "60"]) as other:
        write(instance_id, lease_holder=processes.name(other.pid))
        assert lease.void_ended() == 0, "it may be at work"
        other.kill()
        eventually(lambda: psutil.Process(other.pid).status() == psutil.STATUS_ZOMBIE)
        assert lease.void_ended() == 1
    with pytest.raises(LeaseLost), mine.fenced():
        pass
    second = lease.acquire(instance_id)
    assert second is not None
    second.let_go()
    assert lease.void_ended() == 1
    assert lease.acquire(instance_id) is not None, "it is due at once"


def test_nothing_is_known_of_processes_elsewhere(instance_id: str) -> None:
    assert lease.acquire(instance_id) is not None
    write(instance_id, lease_holder="8c9b…/4026531836/1/2")
    assert lease.void_ended() == 0
    write(instance_id, lease_holder=None)
    assert lease.void_ended() == 0, "the previous version said nothing"


def test_a_pid_that_is_anothers_now_says_nothing_of_its_first_owner(instance_id: str) -> None:
    assert lease.acquire(instance_id) is not None
    write(instance_id, lease_holder=f"{processes.machine()}/{os.getpid()}/1")
    assert lease.void_ended() == 1


def test_a_request_takes_over_from_a_killed_process(control_plane: ControlPlane) -> None:
    instance_id = control_plane.put_instance()
    with control_plane.app.app_context():
        assert lease.acquire(instance_id) is not None
        write(instance_id, lease_holder=f"{processes.machine()}/{os.getpid()}/1")
    began = time.monotonic()
    control_plane.runner.start()
    ask(control_plane, instance_id)
    eventually(lambda: control_plane.instance()["status"]["ready"])
    assert time.monotonic() - began < lease.TTL / 4


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


def test_a_storm_of_requests_is_one_run(control_plane: ControlPlane) -> None:
    instance_id = control_plane.put_instance()
    for _ in range(50):
        ask(control_plane, instance_id)
    control_plane.runner.start()
    eventually(lambda: control_plane.instance()["status"]["ready"])
    with control_plane.app.app_context():
        eventually(lambda: (control_plane.row(instance_id).next_reconcile_at or 0) > time.time() + 60)
    assert control_plane.books.calls["compute.ensure"] <= 2, "one, and one to tell that it is ready"


def test_a_fenced_write_renews_the_lease(instance_id: str) -> None:
    held = lease.acquire(instance_id)
    assert held is not None
    write(instance_id, lease_expires=epoch() + 1)
    with held.fenced():
        pass
    left = db.session.scalar(select(Instance.lease_expires - epoch()).filter_by(id=instance_id))
    assert left == pytest.approx(lease.TTL, abs=2)


def test_a_request_made_while_the_lease_is_held_is_not_lost(instance_id: str) -> None:
    held = lease.acquire(instance_id)
    assert held is not None
    with transaction():
        work.request(instance_id)
    with held.fenced() as instance:
        assert held.release(instance, 600)
    due = db.session.scalar(select(Instance.next_reconcile_at - epoch()).filter_by(id=instance_id))
    assert due is not None
    assert due <= 0


def test_without_a_request_the_next_look_is_when_it_was_said_to_be(instance_id: str) -> None:
    held = lease.acquire(instance_id)
    assert held is not None
    with held.fenced() as instance:
        assert not held.release(instance, 600)
    due = db.session.scalar(select(Instance.next_reconcile_at - epoch()).filter_by(id=instance_id))
    assert due == pytest.approx(600, abs=2)


def test_what_is_asked_for_in_a_transaction_that_fails_is_not_asked_for(
    control_plane: ControlPlane, instance_id: str
) -> None:
    write(instance_id, next_reconcile_at=None)

    def ask_and_fail() -> None:
        with transaction():
            work.request(instance_id)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        ask_and_fail()
    assert control_plane.row(instance_id).next_reconcile_at is None


def test_an_instance_becomes_ready(control_plane: ControlPlane) -> None:
    control_plane.runner.start()
    control_plane.put_instance()
    eventually(lambda: control_plane.instance()["status"]["ready"])
    assert control_plane.instance()["status"]["phase"] == "ACTIVE"
    assert len(control_plane.books.servers) == 1


def test_databases_and_users_come_and_go(control_plane: ControlPlane) -> None:
    control_plane.runner.start()
    control_plane.put_instance()
    user = {"password": "a-long-password", "grants": []}
    assert control_plane.call("PUT", "/instances/orders/databases/shop", {}).status_code == 202
    assert control_plane.call("PUT", "/instances/orders/users/app", user).status_code == 202
    for path in ("/instances/orders/databases/shop", "/instances/orders/users/app"):
        ready = control_plane.call("GET", f"{path}?wait_for=ready&timeout=10").json
        assert ready["status"]["ready"], ready
        assert control_plane.call("DELETE", path).status_code == 202
        eventually(lambda path=path: control_plane.call("GET", path).status_code == 404)


def test_a_deleted_instance_leaves_nothing(control_plane: ControlPlane) -> None:
    control_plane.runner.start()
    control_plane.put_instance()
    eventually(lambda: control_plane.instance()["status"]["ready"])
    control_plane.call("PUT", "/instances/orders/databases/shop", {})
    assert control_plane.call("DELETE", "/instances/orders").status_code == 202
    eventually(lambda: control_plane.call("GET", "/instances/orders").status_code == 404)
    books = control_plane.books
    assert not books.servers
    assert not books.volumes
    assert not books.ports


def test_many_instances_with_their_databases_converge_quickly(control_plane: ControlPlane) -> None:
    control_plane.runner.start()
    names = [f"i{number}" for number in range(20)]
    for name in names:
        control_plane.put_instance(name)
        for database in range(5):
            control_plane.call("PUT", f"/instances/{name}/databases/d{database}", {})
    began = time.monotonic()
    for name in names:
        for database in range(5):
            path = f"/instances/{name}/databases/d{database}?wait_for=ready&timeout=10"
            assert control_plane.call("GET", path).json["status"]["ready"]
    assert time.monotonic() - began < 10


def test_a_cloud_that_fails_for_a_while_is_said_and_tried_again(control_plane: ControlPlane) -> None:
    control_plane.books.failures += [CloudError("The volume service is down."), RuntimeError("a bug")]
    control_plane.put_instance()
    control_plane.runner.start()
    said = eventually(lambda: control_plane.instance()["status"]["message"])
    assert said == "The volume service is down."
    eventually(lambda: control_plane.instance()["status"]["ready"], 15)
    assert control_plane.instance()["status"]["message"] == ""
    events = control_plane.call("GET", "/events?instance=orders").json["items"]
    assert any("volume service is down" in event["message"] for event in events)


def test_a_volume_is_known_from_when_it_is_ready(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose making failed never held anything, and another may take its place."""
    ensure, known_to_the_driver = Volumes.ensure, []
    making = [Volume("failed", 1, ready=False), Volume("failed", 1, ready=False), CloudError("Lost it.")]

    def slowly(self: Volumes, spec: ServerSpec, *, known: str | None) -> Volume:
        known_to_the_driver.append(known)
        if making:
            if isinstance(next_answer := making.pop(0), Exception):
                raise next_answer
            return next_answer
        return ensure(self, spec, known=known)

    monkeypatch.setattr(Volumes, "ensure", slowly)
    instance_id = control_plane.put_instance()
    control_plane.runner.start()
    eventually(lambda: control_plane.instance()["status"]["ready"], 15)
    ask(control_plane, instance_id)
    eventually(lambda: len(known_to_the_driver) > 4)
    assert known_to_the_driver[:4] == [None] * 4
    assert set(known_to_the_driver[4:]) == {f"volume-{instance_id}"}


def test_a_refusal_is_an_error_until_something_else_is_wanted(control_plane: ControlPlane) -> None:
    control_plane.books.failures.append(CloudRefusal("There is no host for db.small; take db.tiny."))
    instance_id = control_plane.put_instance()
    control_plane.runner.start()
    eventually(lambda: control_plane.instance()["status"]["phase"] == "ERROR")
    assert "take db.tiny" in control_plane.instance()["status"]["message"]
    ask(control_plane, instance_id)
    with control_plane.app.app_context():
        eventually(lambda: control_plane.row(instance_id).next_reconcile_at is None)
    assert control_plane.books.calls["volumes.ensure"] == 1, "the cloud is not asked again"
    control_plane.put_instance(flavor="db.tiny")
    eventually(lambda: control_plane.instance()["status"]["ready"])


def test_what_the_cloud_refused_can_be_deleted(control_plane: ControlPlane) -> None:
    control_plane.books.failures.append(CloudRefusal("No."))
    control_plane.put_instance()
    control_plane.runner.start()
    eventually(lambda: control_plane.instance()["status"]["phase"] == "ERROR")
    control_plane.call("DELETE", "/instances/orders")
    eventually(lambda: control_plane.call("GET", "/instances/orders").status_code == 404)


def test_backoff_grows_to_a_minute() -> None:
    assert 0.75 <= backoff(1) <= 1.25
    assert 6 <= backoff(4) <= 10
    assert backoff(1000) <= LONGEST_BACKOFF * 1.25


class Gate:
    """Holds the compute driver up, as a slow cloud does."""

    def __init__(self, control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered = threading.Semaphore(0)
        self.opened = threading.Event()
        compute = type(control_plane.app.extensions["coffret_cloud"].compute)
        ensure = compute.ensure

        def slow(*args: object) -> Server:
            self.entered.release()
            assert self.opened.wait(10)
            server: Server = ensure(*args)
            return server

        monkeypatch.setattr(compute, "ensure", slow)


def test_what_changes_during_a_run_is_seen_by_a_run_after_it(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(control_plane, monkeypatch)
    instance_id = control_plane.put_instance()
    control_plane.runner.start()
    assert gate.entered.acquire(timeout=5)
    control_plane.put_instance(flavor="db.large")
    assert not gate.entered.acquire(timeout=0.2), "two runs for one instance at once"
    gate.opened.set()
    servers = control_plane.books.servers
    eventually(lambda: instance_id in servers and servers[instance_id].flavor == "db.large")
    eventually(lambda: control_plane.instance()["status"]["ready"])


def test_stop_does_not_wait_for_a_cloud_that_hangs(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(control_plane, monkeypatch)
    control_plane.put_instance()
    control_plane.runner.start()
    assert gate.entered.acquire(timeout=5)
    began = time.monotonic()
    control_plane.runner.stop(patience=0.2)
    assert time.monotonic() - began < 2
    gate.opened.set()


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


def test_sweep_and_runner_bring_an_instance_on_that_nobody_asks_for(control_plane: ControlPlane) -> None:
    instance_id = control_plane.put_instance()
    control_plane.runner._due.clear()  # as after a SIGKILL: what was in memory is lost
    control_plane.runner.start()
    sweep = Sweep(
        control_plane.app, control_plane.app.extensions["coffret_cloud"], control_plane.runner, 0.1
    )
    sweep.start()
    eventually(lambda: instance_id in control_plane.books.servers)
    sweep.stop()


def test_the_sweep_drops_the_users_whose_time_is_over(control_plane: ControlPlane) -> None:
    control_plane.put_instance()
    control_plane.runner.start()
    guest = "/instances/orders/users/guest"
    soon = (now() + timedelta(seconds=0.5)).isoformat()
    made = control_plane.call("PUT", guest, {"password": "correct horse", "expires_at": soon})
    assert made.status_code == 202, made.json
    sweep = Sweep(
        control_plane.app, control_plane.app.extensions["coffret_cloud"], control_plane.runner, 0.1
    )
    sweep.start()
    eventually(lambda: control_plane.call("GET", guest).status_code == 404)
    sweep.stop()
    assert control_plane.call("GET", "/instances/orders").json["status"]["ready"]


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
    with_guests.runner.start()
    eventually(lambda: instance_id in with_guests.compute.tokens)
    with with_guests.app.app_context():
        assert notice_silence() == 0
        with transaction() as session:
            session.execute(update(Agent).values(bootstrap_expires_at=now() + timedelta(minutes=24)))
        assert notice_silence() == 1
    assert "not been heard of" in with_guests.instance()["status"]["message"]
