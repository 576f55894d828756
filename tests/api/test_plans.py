"""What is not asked for costs nothing: PostgreSQL's plans where there are many instances."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from control_plane_fixtures import ControlPlane, control_plane
from sqlalchemy import Engine, event, text

from bench import many
from control_plane.auth import Role, tokens
from control_plane.database import db
from control_plane.users.service import drop_expired
from control_plane.work import lease, touches
from control_plane.work.looking import look_at
from control_plane.work.sweep import request_due

__all__ = ["control_plane"]

pytestmark = pytest.mark.parametrize("store", ["postgresql"], indirect=True)

INSTANCES = 5000
LARGE = {"instances", "databases", "users", "events", "touches"}
BODY = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}
REQUESTS: list[tuple[str, str, Any]] = [
    ("GET", "/instances/orders", None),
    ("GET", "/instances/ordesr", None),
    ("GET", "/instances/orders?include=databases,users", None),
    ("GET", "/instances/orders?wait_for=ready", None),
    ("GET", "/instances?limit=20", None),
    ("GET", "/instances?limit=20&marker=pg-01500", None),
    ("GET", "/instances?name=orders", None),
    ("GET", "/instances/orders/databases", None),
    ("GET", "/instances/orders/databases/app", None),
    ("GET", "/instances/orders/users", None),
    ("GET", "/instances/orders/actions", None),
    ("GET", "/events?instance=orders", None),
    ("GET", "/events?limit=20", None),
    ("PUT", "/instances/orders", BODY),
    ("PUT", "/instances/orders", BODY | {"volume": {"size": 2}}),
    ("PUT", "/instances/orders", BODY | {"volume": {"size": 2}, "labels": {"team": "a"}}),
    ("PUT", "/instances/new", BODY),
    ("PUT", "/instances/orders/databases/app", {}),
    ("PUT", "/instances/orders/databases/new", {}),
    ("PUT", "/instances/orders/users/app", {"password": "a-password-2"}),
    ("DELETE", "/instances/orders/databases/new", None),
    ("DELETE", "/instances/orders/users/app", None),
    ("DELETE", "/instances/new", None),
]


@pytest.fixture
def over() -> dict[str, Any]:
    return {f"quota_{name}": 10**9 for name in ("instances", "volume_size", "ram")}


@pytest.fixture
def first(control_plane: ControlPlane) -> Iterator[str]:
    """The id of `orders`, one of many instances, a fifth of which are in its project."""
    instance_id = control_plane.put_instance()
    assert control_plane.call("PUT", "/instances/orders/databases/app", {}).status_code == 202
    made = control_plane.call("PUT", "/instances/orders/users/app", {"password": "a-password-1"})
    assert made.status_code == 202
    with control_plane.app.app_context():
        look_at(control_plane.app, control_plane.app.extensions["coffret_cloud"], instance_id)
        _, control_plane.token = tokens.create("test", many.LARGE_PROJECT, Role.ADMIN)
        for table in ("instances", "events"):
            db.session.execute(
                text(f"UPDATE {table} SET project_id = :project"), {"project": many.LARGE_PROJECT}
            )
        db.session.commit()
        many.copy(instance_id, INSTANCES)
        made_now = "EXTRACT(EPOCH FROM statement_timestamp())"
        db.session.execute(
            text(f"INSERT INTO touches (instance_id, at) SELECT id, {made_now} FROM instances")
        )
        db.session.commit()
        many.vacuum()
        yield instance_id


@contextmanager
def plans() -> Iterator[dict[str, Any]]:
    """Each statement that is executed until its end, with PostgreSQL's plan of it."""
    found: dict[str, Any] = {}

    def explain(_: Any, cursor: Any, statement: str, parameters: Any, *more: Any) -> None:
        if statement.split()[0] in {"SELECT", "INSERT", "UPDATE", "DELETE"}:
            with cursor.connection.cursor() as other:
                other.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
                found[statement] = other.fetchone()[0][0]["Plan"]

    event.listen(Engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", explain)


def scanned(plan: Any) -> set[str]:
    """The large tables that a plan reads from one end to the other."""
    own = {plan["Relation Name"]} if plan["Node Type"] == "Seq Scan" else set()
    return (own & LARGE).union(*map(scanned, plan.get("Plans", [])))


def scans(calls: dict[str, Callable[[], Any]]) -> list[str]:
    """What each call executes that reads a large table from one end to the other."""
    found = []
    for name, call in calls.items():
        with plans() as executed:
            call()
        assert executed, f"{name} asks the database nothing"
        found += [f"{name}: {statement}" for statement, plan in executed.items() if scanned(plan)]
    return found


def test_no_request_reads_all_instances(control_plane: ControlPlane, first: str) -> None:
    def call(method: str, path: str, body: Any) -> None:
        answer = control_plane.call(method, path, body)
        assert answer.status_code == 404 if "ordesr" in path else answer.status_code < 300, answer.json

    calls = {
        f"{number}. {method} {path}": partial(call, method, path, body)
        for number, (method, path, body) in enumerate(REQUESTS)
    }
    assert scans(calls) == []


def test_the_nearest_of_many_is_guessed(control_plane: ControlPlane, first: str) -> None:
    missing = control_plane.call("GET", "/instances/ordesr")
    assert missing.json["detail"].endswith("Did you mean 'orders'?")


def test_no_sweep_reads_all_instances_for_what_is_due(control_plane: ControlPlane, first: str) -> None:
    app = control_plane.app
    cloud, runner = app.extensions["coffret_cloud"], app.extensions["coffret_runner"]
    assert (
        scans(
            {
                "due": lambda: request_due(runner),
                "leases": lease.holdings,
                "touches": touches.prune,
                "expired": drop_expired,
                "a look": lambda: look_at(app, cloud, first),
            }
        )
        == []
    )


def test_a_plan_that_reads_all_is_seen(first: str) -> None:
    with plans() as executed:
        db.session.execute(text("SELECT count(*) FROM instances WHERE flavor = 'db.none'"))
    assert [scanned(plan) for plan in executed.values()] == [{"instances"}]
