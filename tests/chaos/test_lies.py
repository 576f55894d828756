"""Agents that vanish, come back with old state, and lie; clocks that differ."""

import copy
import re
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from deployment import SETTLING, STARTING, Deployment, Process, deployed
from guests import Guest
from rabbitmq import RabbitMQ
from serving import eventually
from sqlalchemy import select
from stores import PostgreSQL

from control_plane.database import db
from control_plane.instances.models import Instance


def written(process: Process) -> datetime:
    """When its log began, by its own clock."""
    first = re.search(r"^(20\S+Z) ", process.log(), re.MULTILINE)
    assert first is not None, process.log()
    return datetime.fromisoformat(first[1])


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
def test_with_clocks_minutes_apart_only_the_agent_that_vanished_is_lost(
    postgresql: PostgreSQL, broker: RabbitMQ
) -> None:
    with deployed("clocks", postgresql.make("coffret_clocks"), broker.url) as one:
        one.add("api")
        one.add("agents", CHAOS_CLOCK="-300")
        right = one.add("worker", CHAOS_SILENT="30")
        ahead = one.add("worker", CHAOS_SILENT="30", CHAOS_CLOCK="300")
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
        assert all(worker.running and worker.running.poll() is None for worker in (right, ahead))
        assert written(ahead) - written(right) > timedelta(minutes=4), "their clocks did differ"
        guest(one, "vanishes").vanished.clear()
        one.audit()
