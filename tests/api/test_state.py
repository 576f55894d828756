"""The state database: text, order, writers that meet, and servers that go away."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contract import GROUP, INSTANCE, PASSWORD, Api, problem
from control_plane_fixtures import ControlPlane
from flask import Flask
from stores import OnServer, Store
from test_once import together

from control_plane.app import create_app
from control_plane.clouds.noop import Books, cloud
from control_plane.database import db
from control_plane.datastores.service import import_shipped
from control_plane.instances.models import Instance
from control_plane.quotas import service as quotas
from control_plane.work import lease

NAMES = ["a", "B", "C-1", "C.1", "C1", "b", "A", "a-b", "ab", "aB", "a.b", "a_b", "Z", "z"]
TEXTS = ["shop", "Shop", "SHOP", "shöp", "shoep", "straße", "strasse", "é", "e", "E", "🐘", "\uffee"]


def test_names_that_differ_only_in_case_or_accents_are_two(api: Api) -> None:
    for name in ("orders", "Orders", "ORDERS"):
        api.made(f"/instances/{name}", INSTANCE)
    api.made("/instances/orders/databases/shop", {})
    for name in TEXTS[1:]:
        api.made(f"/instances/orders/databases/{name}", {})
        api.made(f"/instances/orders/users/{name}", {"password": PASSWORD})
    for name in TEXTS[1:]:
        problem(
            api.put(f"/instances/orders/databases/{name}", {}, If_None_Match="*"),
            412,
            "precondition_failed",
        )
    assert api.get("/instances/oRDERS").status_code == 404
    assert len(api.names("/instances")) == 3


def test_lists_are_in_the_order_of_code_points_and_paging_leaves_nothing_out(api: Api) -> None:
    for name in NAMES:
        api.made(f"/configuration-groups/{name}", GROUP)
        api.made(f"/instances/{name}", INSTANCE)
    for name in TEXTS:
        api.made(f"/instances/a/databases/{name}", {})
        api.made(f"/instances/a/users/{name}", {"password": PASSWORD})
    seen = {"character_set": None, "collation": None, "owner": None}
    api.report("a", seen_databases=[seen | {"name": name} for name in ("Tills", "öl")])
    assert paged(api, "/configuration-groups") == sorted(NAMES)
    assert paged(api, "/instances") == sorted(NAMES)
    assert paged(api, "/instances/a/databases") == sorted([*TEXTS, "Tills", "öl"])
    assert paged(api, "/instances/a/users") == sorted(TEXTS)


def paged(api: Api, path: str) -> list[str]:
    """The names on pages of two, one page after the other."""
    names: list[str] = []
    there: Any = f"{path}?limit=2"
    while there:
        page: Any = api.get(there).json
        names += [item["name"] for item in page["items"]]
        there = next((link["href"].removeprefix("/v1") for link in page["links"]), None)
    return names


def test_labels_are_compared_to_the_letter(api: Api) -> None:
    for number, value in enumerate(("Blue", "blue", "blue ", "blüe", "null", "1", "🐘")):
        api.made(f"/instances/i{number}", INSTANCE | {"labels": {"colour": value, "Colour": "x"}})
    for number, value in enumerate(("Blue", "blue", "blue%20", "blüe", "null", "1", "🐘")):
        assert api.names(f"/instances?label=colour={value}") == [f"i{number}"]


@pytest.mark.parametrize(
    "path", ["/instances/%00", "/instances/a%00b/users/x", "/configuration-groups/%00"]
)
def test_nothing_is_called_what_no_text_can_be(api: Api, path: str) -> None:
    assert api.get(path).status_code == 404
    assert api.delete(path).status_code in (204, 404)
    assert api.get("/instances?name=%00").json == {"items": [], "links": []}
    assert api.get("/instances?marker=%00&limit=5").status_code < 500


def test_a_group_that_changes_while_an_instance_takes_it_reaches_the_instance(
    filled: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The instance holds the group until it has committed, and the group's change finds it then."""
    filled.made("/configuration-groups/tuned", GROUP)
    before = revision(filled)
    change = threading.Thread(
        target=filled.put, args=("/configuration-groups/tuned", GROUP | {"parameters": {"work_mem": "9MB"}})
    )
    check = quotas.check

    def check_while_the_group_changes(*args: Any) -> None:
        check(*args)
        change.start()
        change.join(0.5)
        assert change.is_alive(), "the group did not wait"

    monkeypatch.setattr(quotas, "check", check_while_the_group_changes)
    assert filled.patch("/instances/orders", {"configuration_group": "tuned"}).status_code == 202
    change.join(30)
    assert revision(filled) == before + 2


def revision(api: Api) -> int:
    with api.app.app_context():
        return db.session.query(Instance.desired_revision).filter_by(name="orders").scalar() or 0


def test_a_group_goes_or_is_taken_but_not_both(filled: Api) -> None:
    for number in range(5):
        filled.made(f"/configuration-groups/g{number}", GROUP)

    def at_once(number: int) -> Any:
        group = f"g{number // 2}"
        if number % 2:
            return filled.delete(f"/configuration-groups/{group}")
        return filled.put(f"/instances/n{group}", INSTANCE | {"configuration_group": group})

    answers = together(at_once, 10)
    for taken, gone in zip(answers[::2], answers[1::2], strict=True):
        assert (taken.status_code, gone.status_code) in ((202, 409), (422, 204)), (taken.json, gone.json)


def test_agents_users_and_runner_write_one_instance_at_once(filled: Api) -> None:
    """Nobody's write is lost, and nobody waits for ever for another."""
    orders: Any = filled.get("/instances/orders").json

    def write(number: int) -> Any:
        if number % 4 == 0:
            return filled.made(f"/instances/orders/databases/d{number}", {})
        if number % 4 == 1:
            return filled.made(f"/instances/orders/users/u{number}", {"password": PASSWORD})
        if number % 4 == 2:
            return filled.report("orders", **{f"part{number}": number})
        with filled.app.app_context():
            held = lease.acquire(orders["id"])
            if held is not None:
                with held.fenced() as instance:
                    held.release(instance, 1.0)
        return None

    together(write, 24)
    assert {f"d{n}" for n in range(0, 24, 4)} <= set(filled.names("/instances/orders/databases"))
    assert {f"u{n}" for n in range(1, 24, 4)} <= set(filled.names("/instances/orders/users"))
    with filled.app.app_context():
        report = db.session.query(Instance.report).filter_by(name="orders").scalar()
    assert {f"part{n}" for n in range(2, 24, 4)} <= report.keys()


@pytest.fixture
def small(store: Store, tmp_path: Path) -> Iterator[Flask]:
    """An application that has one connection to its state database."""
    app = create_app(store.settings(tmp_path, database_connections=1), cloud(Books()))
    store.lay(app)
    with app.app_context():
        import_shipped(images=False)
    yield app
    store.close(app)


def test_no_request_needs_two_connections(small: Flask) -> None:
    if small.extensions["coffret_settings"].database_url:
        with small.app_context():
            db.engine.pool._timeout = 1  # type: ignore[attr-defined]
    control_plane = ControlPlane(small, Books())
    control_plane.put_instance()
    for path in ("/instances", "/instances?datastore=postgresql", "/instances/orders", "/instances/none"):
        assert control_plane.call("GET", path).status_code in (200, 404)
    assert control_plane.call("PUT", "/instances/orders/databases/shop", {}).status_code == 202
    answer = control_plane.call(
        "POST", "/instances/orders/actions", {"type": "restart"}, **{"Idempotency-Key": "k"}
    )
    assert answer.status_code == 202


def test_a_database_that_is_gone_is_said_and_comes_back(filled: Api, store: Store) -> None:
    if not isinstance(store, OnServer):
        pytest.skip("a file does not go away")
    store.server.stop()
    try:
        problem(filled.get("/instances/orders"), 503, "state_unavailable")
        answer = filled.put("/instances/other", INSTANCE)
        problem(answer, 503, "state_unavailable")
        assert answer.headers["Retry-After"] == "2"
        assert filled.app.test_client().get("/readyz").status_code == 503
        assert filled.app.test_client().get("/healthz").status_code == 200
    finally:
        store.server.start()
    assert filled.get("/instances/orders").status_code == 200
    filled.made("/instances/other", INSTANCE)
