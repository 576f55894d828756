"""/metrics: documented, true, and bounded."""

import re
from datetime import timedelta
from pathlib import Path

from control_plane_fixtures import ControlPlane, control_plane, eventually, write
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from control_plane.agents.models import Agent
from control_plane.database import db, now, transaction
from control_plane.work import lease
from control_plane.work.clock import epoch
from control_plane.work.looking import look_at

__all__ = ["control_plane"]

PAGE = Path(__file__).parents[2] / "docs" / "operators" / "metrics.md"
ROW = re.compile(r"^\| `(coffret_\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)


def read(control_plane: ControlPlane) -> dict[str, float]:
    """Every sample by its name and labels."""
    answer = control_plane.client.get("/metrics")
    assert answer.status_code == 200
    return {
        sample.name
        + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_every_metric_is_on_its_page(control_plane: ControlPlane) -> None:
    with control_plane.app.app_context():
        instance_id = control_plane.put_instance()
        assert lease.acquire(instance_id) is not None
        look_at(control_plane.app, control_plane.app.extensions["coffret_cloud"], instance_id)
    control_plane.start()
    control_plane.put_instance("another")
    eventually(lambda: "coffret_reconcile_seconds_count outcome=done" in read(control_plane))
    shown = {
        (family.name + ("_total" if family.type == "counter" else ""), family.type, labels)
        for family in text_string_to_metric_families(control_plane.client.get("/metrics").text)
        for labels in {tuple(sorted(set(sample.labels) - {"le"})) for sample in family.samples}
    }
    documented = {
        (name, kind, tuple(sorted(re.findall(r"`(\w+)`", labels))))
        for name, kind, labels in ROW.findall(PAGE.read_text())
    }
    assert shown == documented


def test_looks_are_counted_by_what_came_of_them(control_plane: ControlPlane) -> None:
    control_plane.books.failures.append(RuntimeError("a bug"))
    control_plane.put_instance()
    control_plane.start()
    eventually(lambda: "coffret_reconcile_seconds_count outcome=done" in read(control_plane))
    assert read(control_plane)["coffret_reconcile_seconds_count outcome=failed"] == 1


def test_a_look_that_finds_another_at_work_is_counted(control_plane: ControlPlane) -> None:
    instance_id = control_plane.put_instance()
    with control_plane.app.app_context():
        assert lease.acquire(instance_id) is not None
    assert read(control_plane)["coffret_leases"] == 1
    cloud = control_plane.app.extensions["coffret_cloud"]
    assert look_at(control_plane.app, cloud, instance_id) is None
    assert read(control_plane)["coffret_lease_contention_total"] == 1


def test_the_queues_age_is_that_of_the_instance_that_waits_longest(control_plane: ControlPlane) -> None:
    for name in ("one", "two"):
        instance_id = control_plane.put_instance(name)
        with control_plane.app.app_context():
            write(instance_id, next_reconcile_at=epoch() - (90 if name == "one" else 30))
    assert 90 <= read(control_plane)["coffret_queue_age_seconds"] < 120
    control_plane.start()
    with control_plane.app.app_context():
        for name in ("one", "two"):
            control_plane.runner.request(control_plane.instance(name)["id"])
    eventually(lambda: read(control_plane)["coffret_queue_age_seconds"] == 0)


def test_agents_are_counted_by_when_they_were_heard(control_plane: ControlPlane) -> None:
    for number, seen in enumerate((None, now(), now(), now() - timedelta(minutes=5))):
        instance_id = control_plane.put_instance(f"i{number}")
        with control_plane.app.app_context(), transaction() as session:
            session.add(Agent(instance_id=instance_id, last_seen_at=seen))
    counted = read(control_plane)
    assert counted["coffret_agents heard=never"] == 1
    assert counted["coffret_agents heard=lately"] == 2
    assert counted["coffret_agents heard=long ago"] == 1


def test_labels_are_bounded_and_say_nothing_of_tenants(control_plane: ControlPlane) -> None:
    instance_id = control_plane.put_instance("very-secret-name")
    for path in ("/instances/very-secret-name", f"/instances/{instance_id}", "/nowhere/at/all"):
        control_plane.call("GET", path)
    control_plane.client.open("/v1/instances", method="BREW")
    shown = control_plane.client.get("/metrics").text
    assert "very-secret-name" not in shown
    assert instance_id not in shown
    assert "BREW" not in shown
    counted = read(control_plane)
    assert counted["coffret_requests_total method=GET route=none status=404"] == 1
    assert any("method=other" in sample for sample in counted)


def test_when_the_database_fails_the_rest_is_shown(control_plane: ControlPlane) -> None:
    read(control_plane)
    rename(control_plane, "agents", "away")
    counted = read(control_plane)
    rename(control_plane, "away", "agents")
    assert counted["coffret_database_up"] == 0
    assert "coffret_agents heard=never" not in counted
    assert counted["coffret_requests_total method=GET route=/metrics status=200"] == 1
    assert read(control_plane)["coffret_database_up"] == 1


def rename(control_plane: ControlPlane, table: str, name: str) -> None:
    with control_plane.app.app_context(), db.engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME TO {name}"))
