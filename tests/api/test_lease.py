"""Leases, on the noop cloud."""

import os
import subprocess
import threading
import time

import psutil
import pytest
from control_plane_fixtures import ControlPlane, control_plane, eventually, instance_id, with_guests, write
from flask import g
from sqlalchemy import select

from control_plane import work
from control_plane.auth.context import operator
from control_plane.database import db, transaction
from control_plane.instances.models import Instance
from control_plane.work import lease, processes
from control_plane.work.clock import epoch, moment
from control_plane.work.lease import LeaseLost

__all__ = ["control_plane", "instance_id", "with_guests"]


def test_the_databases_clock_is_the_time(instance_id: str) -> None:
    assert db.session.scalar(select(epoch())) == pytest.approx(time.time(), abs=1)
    soon = db.session.scalar(select(moment(90.5)))
    assert soon is not None
    assert soon.timestamp() == pytest.approx(time.time() + 90.5, abs=1)


def test_times_are_written_and_compared_by_the_databases_clock(instance_id: str) -> None:
    write(instance_id, updated_at=moment(-20))
    older, newer = (Instance.updated_at < moment(-19), Instance.updated_at > moment(-60))
    assert db.session.scalar(select(Instance.id).where(older, newer)) == instance_id
    for wrong in (Instance.updated_at > moment(-19), Instance.updated_at < moment(-60)):
        assert db.session.scalar(select(Instance.id).where(wrong)) is None


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


def test_the_newest_request_is_known_until_what_it_wants_is_done(
    control_plane: ControlPlane, instance_id: str
) -> None:
    revision = control_plane.row(instance_id).revision
    request_as(control_plane, instance_id, "first")
    with transaction():
        work.request(instance_id)  # by nobody
    held = lease.acquire(instance_id)
    assert held is not None
    assert held.asked_by == "first"
    request_as(control_plane, instance_id, "second")
    request_as(control_plane, instance_id, "third")
    with held.fenced() as instance:
        assert held.release(instance, 600, finished=True)
    for finished, left in ((False, "third"), (True, None)):
        held = lease.acquire(instance_id)
        assert held is not None
        assert held.asked_by == "third"
        with held.fenced() as instance:
            held.release(instance, 0, finished=finished)
        assert control_plane.row(instance_id).asked_by == left
    assert control_plane.row(instance_id).revision == revision, "it is not in what clients read"


def request_as(control_plane: ControlPlane, instance_id: str, request_id: str) -> None:
    """As a client does by what it wants of the instance."""
    with control_plane.app.test_request_context():
        g.caller, g.request_id = operator(), request_id
        with transaction():
            work.request(instance_id)


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
