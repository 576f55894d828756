"""Agents that vanish, come back with old state, and lie; clocks that differ."""

import copy
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployment import SETTLING, STARTING, Deployment, deployed
from guests import Guest
from rabbitmq import RabbitMQ
from serving import eventually
from sqlalchemy import select
from stores import PostgreSQL

from control_plane.database import db
from control_plane.instances.models import Instance

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


def clock(minutes: int) -> dict[str, str]:
    """A process's variables by which its clock is so many minutes ahead; it goes on at the usual pace."""
    return {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME": f"{minutes:+d}m",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def rows(one: Deployment) -> dict[str, Instance]:
    with one.app.app_context():
        return {row.name: row for row in db.session.scalars(select(Instance))}


def guest(one: Deployment, name: str) -> Guest:
    assert one.guests is not None
    guests = one.guests.by_instance
    instance_id = rows(one)[name].id
    found: Guest = eventually(lambda: guests.get(instance_id), STARTING)
    return found


@pytest.fixture
def small() -> Iterator[Deployment]:
    """One process with three instances, all as wanted."""
    with deployed("agents") as one:
        one.add("all")
        one.start()
        one.make("orders", "other", "third")
        one.audit()
        yield one


@pytest.mark.chaos
def test_an_agent_that_comes_back_with_old_state_is_brought_up_to_date(small: Deployment) -> None:
    one = guest(small, "orders")
    one.vanished.set()
    directive, engine = copy.deepcopy((one.directive, one.engine))
    one.vanished.clear()
    client = small.client()
    client.put("/instances/orders/databases/new", {})
    client.delete("/instances/orders/databases/old")
    small.audit()
    one.vanished.set()
    one.directive, one.engine = directive, engine
    del engine["databases"]["old"]  # it would stay, as one that nobody manages
    client.put("/instances/orders/databases/newer", {})
    one.vanished.clear()
    small.audit()


@pytest.mark.chaos
def test_what_a_lying_agent_says_is_refused_and_logged(small: Deployment) -> None:
    one, other = guest(small, "orders"), guest(small, "other")
    for each in (one, other):
        each.vanished.set()
    failed = {"state": "failed", "version": None, "started_at": None, "restarts": 0, "message": "lost"}
    old = one.report(wait=0) | {"engine": failed}
    assert one.say(old).status_code == 304
    assert not rows(small)["orders"].ready
    assert one.say(one.report(wait=0)).status_code == 304
    assert rows(small)["orders"].ready

    assert one.say(old).status_code == 304  # replayed
    assert rows(small)["orders"].ready
    assert "an old report of the agent of instance" in small.log()

    secret, one.secret = one.secret, other.secret  # for another instance
    assert one.say(one.report(wait=0) | {"engine": failed}).status_code == 401
    assert f"which spoke for the agent of instance {one.instance_id}" in small.log()
    one.secret = secret

    theirs = [item | {"done": False, "message": "lost"} for item in other.report(0)["databases"]]
    assert theirs
    assert one.say(one.report(wait=0) | {"databases": theirs}).status_code in (200, 304)
    for each in (one, other):
        each.vanished.clear()
    small.audit()


@pytest.mark.chaos
@pytest.mark.skipif(
    not FAKETIME.exists(), reason="clocks that differ are not tested: apt-get install faketime"
)
def test_with_clocks_minutes_apart_only_the_agent_that_vanished_is_lost(
    postgresql: PostgreSQL, broker: RabbitMQ
) -> None:
    with deployed("clocks", postgresql.make("coffret_clocks"), broker.url) as one:
        one.add("api")
        one.add("agents", **clock(-5))
        ahead = [one.add("worker", CHAOS_SILENT="30"), one.add("worker", CHAOS_SILENT="30", **clock(+5))]
        one.start()
        with one.clients_at_work(count=3, instances=9):
            pass
        one.make("vanishes")
        one.audit()
        began = time.monotonic()
        guest(one, "vanishes").vanished.set()
        eventually(lambda: rows(one)["vanishes"].agent_lost, SETTLING, 0.5)
        lost = [name for name, row in rows(one).items() if row.agent_lost]
        assert lost == ["vanishes"]
        assert time.monotonic() - began > 5, "it was heard of just before"
        assert all(worker.running and worker.running.poll() is None for worker in ahead)
        guest(one, "vanishes").vanished.clear()
        one.audit()
