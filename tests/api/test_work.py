"""What is asked for is done, on the noop cloud."""

import logging
import os
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from control_plane_fixtures import (
    ControlPlane,
    ask,
    control_plane,
    eventually,
    instance_id,
    with_guests,
    write,
)
from rabbitmq import RabbitMQ

from control_plane import logs
from control_plane.clouds import CloudError, CloudRefusal, Server, ServerSpec, Volume
from control_plane.clouds.noop.drivers import Volumes
from control_plane.database import now
from control_plane.settings import Work
from control_plane.work import lease, processes
from control_plane.work.clock import epoch
from control_plane.work.looking import LONGEST_BACKOFF, backoff
from control_plane.work.sweep import Sweep, request_due

__all__ = ["control_plane", "instance_id", "with_guests"]

WANTED = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}
NUMBERED = {"X-Request-Id": "req-of-the-put"}


@pytest.fixture(params=list(Work))
def over(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Each way of doing work."""
    if request.param is Work.INLINE:
        return {}
    broker: RabbitMQ = request.getfixturevalue("rabbitmq")
    return {"work": request.param, "broker_url": broker.url, "deployment": tmp_path.name}


def test_a_request_takes_over_from_a_killed_process(control_plane: ControlPlane) -> None:
    instance_id = control_plane.put_instance()
    with control_plane.app.app_context():
        assert lease.acquire(instance_id) is not None
        write(instance_id, lease_holder=f"{processes.machine()}/{os.getpid()}/1")
    began = time.monotonic()
    control_plane.start()
    ask(control_plane, instance_id)
    eventually(lambda: control_plane.instance()["status"]["ready"])
    assert time.monotonic() - began < lease.TTL / 4


def test_a_storm_of_requests_is_one_run(control_plane: ControlPlane) -> None:
    instance_id = control_plane.put_instance()
    for _ in range(50):
        ask(control_plane, instance_id)
    control_plane.start()
    eventually(lambda: control_plane.instance()["status"]["ready"])
    with control_plane.app.app_context():
        eventually(lambda: (control_plane.row(instance_id).next_reconcile_at or 0) > time.time() + 60)
    assert control_plane.books.calls["compute.ensure"] <= 2, "one, and one to tell that it is ready"


def test_an_instance_becomes_ready(control_plane: ControlPlane) -> None:
    control_plane.start()
    control_plane.put_instance()
    eventually(lambda: control_plane.instance()["status"]["ready"])
    assert control_plane.instance()["status"]["phase"] == "ACTIVE"
    assert len(control_plane.books.servers) == 1


def test_databases_and_users_come_and_go(control_plane: ControlPlane) -> None:
    control_plane.start()
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
    control_plane.start()
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
    control_plane.start()
    names = [f"i{number}" for number in range(20)]
    for name in names:
        control_plane.put_instance(name)
        for database in range(5):
            control_plane.call("PUT", f"/instances/{name}/databases/d{database}", {})
    began = time.monotonic()
    for name in names:
        for database in range(5):
            path = f"/instances/{name}/databases/d{database}?wait_for=ready&timeout=30"
            assert control_plane.call("GET", path).json["status"]["ready"]
    assert time.monotonic() - began < 30


def test_a_cloud_that_fails_for_a_while_is_said_and_tried_again(control_plane: ControlPlane) -> None:
    control_plane.books.failures += [CloudError("The volume service is down."), RuntimeError("a bug")]
    control_plane.put_instance()
    control_plane.start()
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
    control_plane.start()
    eventually(lambda: control_plane.instance()["status"]["ready"], 15)
    ask(control_plane, instance_id)
    eventually(lambda: len(known_to_the_driver) > 4)
    assert known_to_the_driver[:4] == [None] * 4
    assert set(known_to_the_driver[4:]) == {f"volume-{instance_id}"}


def test_a_refusal_is_an_error_until_something_else_is_wanted(control_plane: ControlPlane) -> None:
    control_plane.books.failures.append(CloudRefusal("There is no host for db.small; take db.tiny."))
    instance_id = control_plane.put_instance()
    control_plane.start()
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
    control_plane.start()
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
    control_plane.start()
    assert gate.entered.acquire(timeout=30)
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
    control_plane.start()
    assert gate.entered.acquire(timeout=30)
    began = time.monotonic()
    control_plane.runner.stop(patience=0.2)
    assert time.monotonic() - began < 10
    gate.opened.set()


def test_what_is_done_for_a_request_has_its_id_and_what_nobody_asked_for_has_none(
    control_plane: ControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.addFilter(logs.Ids())
    caplog.set_level(logging.INFO, "control_plane.work.looking")
    instance_id = control_plane.call("PUT", "/instances/orders", WANTED, **NUMBERED).json["id"]
    control_plane.start()
    with control_plane.app.app_context():
        eventually(lambda: control_plane.row(instance_id).asked_by is None)
    said = [record.about for record in caplog.records]  # type: ignore[attr-defined]
    assert said
    assert all(about == {"request_id": "req-of-the-put", "instance_id": instance_id} for about in said)
    assert set(done_by_itself(control_plane)) == {("progress", "req-of-the-put")}
    with control_plane.app.app_context():
        del control_plane.books.servers[instance_id]
        write(instance_id, next_reconcile_at=epoch() - 1)
        assert request_due(control_plane.runner) == 1
    eventually(lambda: ("repaired", None) in done_by_itself(control_plane))


def test_what_fails_is_tried_again_for_who_asked(control_plane: ControlPlane) -> None:
    control_plane.books.failures.append(CloudError("The volume service is down."))
    control_plane.call("PUT", "/instances/orders", WANTED, **NUMBERED)
    control_plane.start()
    eventually(lambda: control_plane.instance()["status"]["ready"])
    done = eventually(lambda: len(found := done_by_itself(control_plane)) > 1 and found)
    assert done[:2] == [("failure", "req-of-the-put"), ("progress", "req-of-the-put")]


def done_by_itself(control_plane: ControlPlane) -> list[tuple[str, str | None]]:
    """Kind and request of each event of what no client and no agent did."""
    events = control_plane.call("GET", "/events?instance=orders").json["items"]
    return [(event["kind"], event["request_id"]) for event in events if event["actor"] == "coffret"]


def test_sweep_and_runner_bring_an_instance_on_that_nobody_asks_for(control_plane: ControlPlane) -> None:
    instance_id = control_plane.put_instance()
    control_plane.runner._due.clear()  # as after a SIGKILL: what was in memory is lost
    control_plane.start()
    sweep = Sweep(
        control_plane.app, control_plane.app.extensions["coffret_cloud"], control_plane.runner, 0.1
    )
    sweep.start()
    eventually(lambda: instance_id in control_plane.books.servers)
    sweep.stop()


def test_the_sweep_drops_the_users_whose_time_is_over(control_plane: ControlPlane) -> None:
    control_plane.put_instance()
    control_plane.start()
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
