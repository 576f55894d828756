"""Paging, what nobody manages, include, and waiting."""

import re
import threading
import time
from typing import Any

import pytest
from contract import INSTANCE, PASSWORD, Api, Caller, problem
from control_plane_fixtures import eventually
from werkzeug.test import TestResponse

from control_plane.clouds import CloudRefusal
from control_plane.work.changes import Changes


def walk(caller: Caller, path: str, limit: int) -> list[Any]:
    """All items, page by page, each page full but the last."""
    items: list[Any] = []
    where = f"{path}{'&' if '?' in path else '?'}limit={limit}"
    while True:
        answer = caller.get(where)
        assert answer.status_code == 200, answer.json
        page = answer.json
        assert page is not None
        items += page["items"]
        if not page["links"]:
            return items
        assert len(page["items"]) == limit
        (link,) = page["links"]
        assert link["rel"] == "next"
        where = link["href"].removeprefix("/v1")


ODD = [
    "a",
    "B",
    "b-1",
    "caf\u00e9",
    "cafe\u0301",
    "\u00e4",
    "\U0001f4a9",
    "a&b=c",
    "100%",
    "a+b",
    "\u4e2d",
    "#?",
]


@pytest.fixture
def full(api: Api) -> Api:
    """A project with enough of everything for several pages, and with odd names."""
    api.instance()
    for number in range(7):
        fields = {"datastore": "valkey", "labels": {"odd": str(number % 2)}}
        api.made(f"/instances/i{number}", INSTANCE | fields)
        api.made(f"/configuration-groups/g{number}", {"datastore": "valkey"})
    for name in ODD:
        body = {"name": name}
        path = "".join(f"%{byte:02X}" for byte in name.encode())
        api.made(f"/instances/orders/databases/{path}", body)
        api.made(f"/instances/orders/users/{path}", body | {"password": PASSWORD})
    api.report(
        "orders",
        seen_databases=[
            {"name": name, "character_set": "UTF8", "collation": "C", "owner": "someone"}
            for name in ("a", "by-hand", "\u00e5")
        ],
        seen_users=[{"name": name, "host": "%", "grants": []} for name in ("a", "\u00e5ngstr\u00f6m")],
    )
    for _ in range(3):
        api.admin.post("/tokens", {"name": "more", "project_id": "project"})
    return api


LISTS = [
    "/instances",
    "/instances?datastore=valkey&label=odd=1",
    "/instances?status=BUILD",
    "/configuration-groups",
    "/configuration-groups?datastore=valkey",
    "/instances/orders/databases",
    "/instances/orders/users",
    "/events",
    "/events?instance=orders",
    "/events?kind=created",
    "/datastores",
    "/datastores/postgresql/versions",
    "/tokens",
]


def test_the_pages_are_the_whole_list(full: Api) -> None:
    for path in LISTS:
        whole = walk(full.admin, path, 1000)
        assert whole, path
        for limit in (2, 3, len(whole), len(whole) + 1):
            assert walk(full.admin, path, limit) == whole, path


SEEN = {
    "orders": [{"database": "shop", "privileges": ["SELECT"]}],
    "maria": [{"database": None, "privileges": ["SUPER"]}, {"database": "shop", "privileges": ["ALL"]}],
    "cache": [{"keys": ["*"], "channels": [], "privileges": ["+get"]}],
}
"""Grants as the agents of three engines report them."""


@pytest.mark.parametrize("instance", SEEN)
def test_users_that_nobody_manages_are_listed_with_their_grants(filled: Api, instance: str) -> None:
    filled.report(instance, seen_users=[{"name": "them", "host": "%", "grants": SEEN[instance]}])
    answer = filled.get(f"/instances/{instance}/users")
    assert answer.status_code == 200
    (them,) = [item for item in answer.json["items"] if item["name"] == "them"]  # type: ignore[index]
    empty = {"database": None, "keys": [], "channels": []}
    assert them["grants"] == [empty | grant for grant in SEEN[instance]]
    database = "0" if instance == "cache" else "shop"
    assert list(them["status"]["uris"]) == [database]
    assert re.search(f"://them@.*:\\d+/{database}$", them["status"]["uris"][database])


def test_a_long_catalogue_is_paged(api: Api) -> None:
    path = "/datastores/mariadb/versions/10.11/parameters"
    whole = walk(api, path, 1000)
    assert len(whole) > 600
    assert walk(api, path, 100) == whole
    settable = walk(api, f"{path}?settable=true", 50)
    assert settable == [item for item in whole if item["settable"]]
    assert len(settable) < len(whole)
    default = api.get(path).json
    assert default is not None
    assert len(default["items"]) == 100


def test_a_list_is_in_the_order_of_names(full: Api) -> None:
    names = full.names("/instances/orders/databases")
    assert names == sorted([*ODD, "by-hand", "\u00e5"])


def test_a_page_goes_on_after_what_was_deleted_meanwhile(full: Api) -> None:
    first = full.get("/configuration-groups?limit=3").json
    assert first is not None
    full.delete(f"/configuration-groups/{first['items'][-1]['name']}")
    rest = full.names(first["links"][0]["href"].removeprefix("/v1"))
    assert rest == ["g3", "g4", "g5"]


def test_an_events_page_goes_on_where_the_last_one_ended(full: Api) -> None:
    newest = full.get("/events?limit=1000").json["items"][-1]["id"]  # type: ignore[index]
    full.made("/configuration-groups/new", {"datastore": "valkey"})
    new = full.get(f"/events?marker={newest}").json["items"]  # type: ignore[index]
    assert [event["resource_name"] for event in new] == ["new"]


def test_what_nobody_manages_is_listed_and_adopted_by_a_put(full: Api) -> None:
    listed = {item["name"]: item for item in walk(full, "/instances/orders/databases", 5)}
    assert listed["by-hand"]["status"]["managed"] is False
    assert listed["by-hand"]["owner"] == "someone"
    assert listed["a"]["status"]["managed"] is True
    problem(full.get("/instances/orders/databases/by-hand"), 404, "not_found")
    assert full.delete("/instances/orders/databases/by-hand").status_code == 204
    new_only = {"If-None-Match": "*"}
    problem(full.put("/instances/orders/databases/by-hand", {}, **new_only), 412, "precondition_failed")
    assert full.put("/instances/orders/databases/by-hand", {}).status_code == 202
    listed = {item["name"]: item for item in walk(full, "/instances/orders/databases", 5)}
    assert listed["by-hand"]["status"]["managed"] is True

    users = {item["name"]: item["status"]["managed"] for item in walk(full, "/instances/orders/users", 5)}
    assert users["\u00e5ngstr\u00f6m"] is False
    adopted = full.put("/instances/orders/users/%C3%A5ngstr%C3%B6m", {"password": PASSWORD})
    assert adopted.status_code == 202
    users = {item["name"]: item["status"]["managed"] for item in walk(full, "/instances/orders/users", 5)}
    assert users["\u00e5ngstr\u00f6m"] is True


def test_a_user_may_be_granted_what_nobody_manages(full: Api) -> None:
    grants = [{"database": "by-hand", "privileges": ["CONNECT"]}]
    made = full.put("/instances/orders/users/a", {"password": PASSWORD, "grants": grants})
    assert made.status_code == 202, made.json


def test_an_instance_is_read_with_what_is_inside(full: Api) -> None:
    plain = full.get("/instances/orders").json
    assert plain is not None
    assert "databases" not in plain
    whole = full.get("/instances/orders?include=databases,users").json
    assert whole is not None
    assert whole["databases"] == walk(full, "/instances/orders/databases", 1000)
    assert whole["users"] == walk(full, "/instances/orders/users", 1000)
    assert {name: part for name, part in whole.items() if name in plain} == plain
    one = full.get("/instances/orders?include=users").json
    assert one is not None
    assert "databases" not in one


def test_what_is_inside_is_read_as_it_is_after_every_change(full: Api) -> None:
    here = "/instances/orders"

    def changed(by: TestResponse | None) -> Any:
        assert by is None or by.status_code == 202, by.json
        whole = full.get(f"{here}?include=databases,users").json
        assert whole is not None
        inside = {name: walk(full, f"{here}/{name}", 1000) for name in ("databases", "users")}
        assert {name: whole[name] for name in inside} == inside
        return inside

    seen = [changed(None)]
    for change in (
        lambda: full.put(f"{here}/databases/later", {}),
        lambda: full.put(f"{here}/databases/later", {"owner": "a"}),
        lambda: full.put(f"{here}/users/b-1", {"password_version": 7}),
        lambda: full.delete(f"{here}/databases/later"),
        lambda: full.report("orders", seen_databases=[]),
    ):
        seen.append(changed(change()))
        assert seen[-1] != seen[-2]


class Waiter(threading.Thread):
    """Waits for a path in a client of its own."""

    def __init__(self, api: Api, path: str) -> None:
        super().__init__(daemon=True)
        self.api, self.path, self.answer, self.seconds = api, path, None, 0.0
        self.start()

    def run(self) -> None:
        began = time.monotonic()
        self.answer: Any = self.api.get(self.path)
        self.seconds = time.monotonic() - began

    def done(self) -> Any:
        self.join(20)
        assert not self.is_alive()
        return self.answer


def parked(api: Api) -> int:
    changes: Changes = api.app.extensions["coffret_changes"]
    return changes._parked["clients"]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, api: Api) -> Api:
    """Where those who wait look again only when they are told of a change."""
    monkeypatch.setitem(api.app.extensions, "coffret_changes", Changes(12))
    return api


@pytest.mark.parametrize("path", ["", "/databases/shop", "/users/app"])
def test_a_waiting_client_is_answered_as_soon_as_it_is_ready(told: Api, path: str) -> None:
    told.made("/instances/orders", INSTANCE)
    told.made("/instances/orders/databases/shop", {})
    told.made("/instances/orders/users/app", {"password": PASSWORD})
    waiter = Waiter(told, f"/instances/orders{path}?wait_for=ready&timeout=15")
    eventually(lambda: parked(told) == 1)
    told.work()
    assert waiter.done().json["status"]["ready"]
    assert waiter.seconds < 10
    assert parked(told) == 0


def test_a_client_that_waits_in_vain_is_answered_as_it_is(api: Api) -> None:
    api.made("/instances/orders", INSTANCE)
    began = time.monotonic()
    answer = api.get("/instances/orders?wait_for=ready&timeout=0.3")
    assert 0.25 < time.monotonic() - began < 5
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["status"]["phase"] == "BUILD"


def test_what_is_ready_is_not_waited_for(api: Api) -> None:
    api.instance()
    began = time.monotonic()
    answer = api.get("/instances/orders?wait_for=ready&timeout=20&include=users")
    assert time.monotonic() - began < 5
    assert answer.json is not None
    assert answer.json["users"] == []


def test_a_waiting_client_learns_of_an_error_at_once(told: Api) -> None:
    told.made("/instances/orders", INSTANCE)
    waiter = Waiter(told, "/instances/orders?wait_for=ready&timeout=15")
    eventually(lambda: parked(told) == 1)
    told.books.failures.append(CloudRefusal("There is no host for db.small."))
    told.work()
    status = waiter.done().json["status"]
    assert status["phase"] == "ERROR"
    assert status["message"] == "There is no host for db.small."
    assert not status["reconciling"]
    assert waiter.seconds < 10


def test_a_waiting_client_learns_that_it_is_gone(told: Api) -> None:
    told.instance()
    told.delete("/instances/orders")
    waiter = Waiter(told, "/instances/orders?wait_for=ready&timeout=15")
    eventually(lambda: parked(told) == 1)
    told.work()
    problem(waiter.done(), 404, "not_found")


def test_past_the_limit_a_client_is_answered_at_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(api.app.extensions, "coffret_changes", Changes(1))
    api.made("/instances/orders", INSTANCE)
    waiter = Waiter(api, "/instances/orders?wait_for=ready&timeout=15")
    eventually(lambda: parked(api) == 1)
    began = time.monotonic()
    answer = api.get("/instances/orders?wait_for=ready&timeout=15")
    assert time.monotonic() - began < 5
    assert answer.json is not None
    assert answer.json["status"]["phase"] == "BUILD"
    api.work()
    assert waiter.done().json["status"]["ready"]
