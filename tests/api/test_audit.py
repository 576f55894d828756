"""Events tell of every write who made it, from where, in which request; of refused ones, too."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from contract import GROUP, INSTANCE, PASSWORD, Api, Caller, problem
from sqlalchemy import select, update

from control_plane.app import create_app
from control_plane.auth import tokens
from control_plane.cli import main
from control_plane.clouds.noop import Books, cloud
from control_plane.database import db, now, transaction
from control_plane.datastores.service import import_shipped
from control_plane.events import service
from control_plane.events.models import Event
from control_plane.settings import Settings


def events(caller: Caller, query: str = "") -> list[dict[str, Any]]:
    answer = caller.get(f"/events?limit=1000{query}")
    assert answer.status_code == 200, answer.json
    return list(answer.json["items"])  # type: ignore[index]


def newest(caller: Caller) -> int:
    return max((event["id"] for event in events(caller, "&all_projects=true")), default=0)


VERSION = {"image_tags": ["database"]}
WRITES: list[tuple[str, str, Any, str, str]] = [
    ("PUT", "/instances/new", INSTANCE, "created", "instance"),
    ("PATCH", "/instances/orders", {"labels": {"a": "b"}}, "changed", "instance"),
    ("DELETE", "/instances/cache", None, "deleting", "instance"),
    ("POST", "/instances/orders/actions", {"type": "restart"}, "action", "instance"),
    ("POST", "/instances/orders/actions", {"type": "rebuild"}, "action", "instance"),
    ("PUT", "/instances/orders/databases/more", {}, "created", "database"),
    ("DELETE", "/instances/maria/databases/shop", None, "deleting", "database"),
    ("PUT", "/instances/orders/users/more", {"password": PASSWORD}, "created", "user"),
    ("PATCH", "/instances/orders/users/app", {"password": "another password"}, "changed", "user"),
    ("DELETE", "/instances/orders/users/app", None, "deleting", "user"),
    ("PUT", "/configuration-groups/new", GROUP, "created", "configuration_group"),
    ("PUT", "/datastores/new", {"manager": "valkey"}, "created", "datastore"),
    ("PUT", "/datastores/postgresql/versions/19", VERSION, "created", "datastore_version"),
    ("PUT", "/quotas/project", {"instances": 7}, "created", "quota"),
    ("POST", "/tokens", {"name": "ci", "project_id": "project"}, "created", "token"),
]


@pytest.mark.parametrize(("method", "path", "body", "kind", "resource"), WRITES)
def test_a_write_leaves_one_event(
    filled: Api, method: str, path: str, body: Any, kind: str, resource: str
) -> None:
    before = newest(filled.admin)
    answer = filled.admin(method, path, body, X_Request_Id="req-of-the-test")
    assert answer.status_code < 300, answer.json
    (event,) = events(filled.admin, f"&all_projects=true&marker={before}")
    assert (event["kind"], event["resource_type"]) == (kind, resource)
    with filled.app.app_context():
        token = db.session.scalars(select(tokens.Token).filter_by(name="admin")).one()
        assert event["actor_id"] == token.id
    assert event["actor"] == "admin"
    assert event["source"] == "127.0.0.1"
    assert event["request_id"] == "req-of-the-test"
    assert PASSWORD not in str(event)
    assert "cfrt_" not in str(event)


def test_a_revoked_token_and_a_changed_quota_leave_events(filled: Api) -> None:
    made = filled.admin.post("/tokens", {"name": "ci", "project_id": "project"}).json
    filled.admin.put("/quotas/project", {"instances": 7})
    before = newest(filled.admin)
    filled.admin.put("/quotas/project", {"instances": 7})
    assert newest(filled.admin) == before
    filled.admin.put("/quotas/project", {"instances": 8})
    filled.admin.delete(f"/tokens/{made['id']}")  # type: ignore[index]
    told = [event["message"] for event in events(filled.admin, f"&marker={before}")]
    assert told == [
        "Quota changed: instances 8, GiB of volumes by default, MiB of memory by default.",
        "Token 'ci' revoked.",
    ]


def test_a_dry_run_leaves_none(filled: Api) -> None:
    before = newest(filled.admin)
    filled.admin.put("/quotas/project?dry_run=true", {"instances": 7})
    filled.put("/instances/new?dry_run=true", INSTANCE)
    assert newest(filled.admin) == before


def test_a_write_that_is_refused_for_who_asks_leaves_one(filled: Api) -> None:
    before = newest(filled.admin)
    problem(filled.reader.put("/instances/new", INSTANCE), 403, "forbidden")
    problem(Caller(filled.app, "cfrt_no.token").delete("/instances/orders"), 401, "unauthenticated")
    problem(Caller(filled.app, "cfrt_no.token").get("/instances"), 401, "unauthenticated")
    told = events(filled.admin, f"&all_projects=true&marker={before}")
    assert [(event["actor"], event["resource_name"], event["project_id"]) for event in told] == [
        ("reader", "PUT /v1/instances/new", "project"),
        ("nobody", "DELETE /v1/instances/orders", None),
    ]
    assert {event["kind"] for event in told} == {"denied"}
    assert all(event["request_id"] and event["source"] == "127.0.0.1" for event in told)


def test_a_project_sees_its_own_and_an_admin_all(filled: Api) -> None:
    filled.stranger.made("/instances/theirs", INSTANCE)
    assert {event["project_id"] for event in events(filled)} == {"project"}
    assert {event["project_id"] for event in events(filled.stranger)} == {"elsewhere"}
    assert {event["project_id"] for event in events(filled.admin, "&all_projects=true")} == {
        "project",
        "elsewhere",
        None,
    }
    refused = problem(filled.get("/events?all_projects=true"), 403, "forbidden")
    assert refused["rule"] == "coffret:events:list_all"


def test_old_events_are_forgotten_in_batches(filled: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "BATCH", 3)
    with filled.app.app_context():
        ids = list(db.session.scalars(select(Event.id).order_by(Event.id)))
        old, kept = ids[:7], ids[7:]
        assert kept
        with transaction() as session:
            session.execute(
                update(Event).where(Event.id.in_(old)).values(created_at=now() - timedelta(days=31))
            )
        assert service.forget(0) == 0
        assert service.forget(30) == 7
        assert service.forget(30) == 0
        assert list(db.session.scalars(select(Event.id).order_by(Event.id))) == kept


def test_a_command_says_who_ran_it_and_where(tmp_path: Path) -> None:
    environment = {"COFFRET_DATA_DIR": str(tmp_path), "COFFRET_CLOUD": "noop", "LOGNAME": "alice"}
    runner = CliRunner()
    made = runner.invoke(main, ["token", "create", "ci", "--project", "shop"], env=environment)
    assert made.exit_code == 0, made.output
    assert runner.invoke(main, ["secrets", "rotate"], env=environment).exit_code == 0
    app = create_app(Settings(data_dir=tmp_path, cloud="noop"), cloud(Books()))
    with app.app_context():
        rows = db.session.scalars(select(Event).order_by(Event.id)).all()
        assert [(row.kind, row.resource_type, row.actor, row.project_id) for row in rows] == [
            ("created", "token", "alice (command line)", "shop"),
            ("rotated", "secrets", "alice (command line)", None),
        ]
        assert all(row.source for row in rows)
        assert made.output.strip().split(".")[1] not in str([vars(row) for row in rows])
        db.engine.dispose()


@pytest.fixture
def sent(tmp_path: Path) -> Callable[[int, str], str]:
    """The source that an event has of a request with this X-Forwarded-For, behind so many proxies."""

    def send(proxies: int, header: str) -> str:
        app = create_app(Settings(data_dir=tmp_path, cloud="noop", proxies=proxies), cloud(Books()))
        with app.app_context():
            db.create_all()
            import_shipped(images=False)
            _, token = tokens.create("admin", "project", tokens.Role.ADMIN)
        admin = Caller(app, token)
        admin.made("/instances/orders", INSTANCE) if not proxies else None
        answer = admin.put("/quotas/project", {"instances": proxies}, X_Forwarded_For=header)
        assert answer.status_code < 300, answer.json
        source = str(events(admin, "&all_projects=true")[-1]["source"])
        with app.app_context():
            db.session.remove()
            db.engine.dispose()
        return source

    return send


@pytest.mark.parametrize(
    ("proxies", "header", "source"),
    [
        (0, "203.0.113.9", "127.0.0.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (2, "198.51.100.1, 203.0.113.9, 10.0.0.1", "203.0.113.9"),
    ],
)
def test_only_the_proxies_that_are_there_are_believed(
    sent: Callable[[int, str], str], proxies: int, header: str, source: str
) -> None:
    assert sent(proxies, header) == source
