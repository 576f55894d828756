"""`?dry_run=true` decides as the write itself does, says what it would do, and writes nothing."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
from contract import GROUP, INSTANCE, PASSWORD, Api, problem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from states import States
from werkzeug.test import TestResponse

TIMES = {"created_at", "updated_at", "last_transition_time"}
ORDERS = "/instances/orders"
TRIES: dict[tuple[str, str], list[tuple[str, Any]]] = {
    ("/v1/datastores/{datastore}", "put"): [
        ("/datastores/new", {"manager": "valkey"}),
        ("/datastores/postgresql", {"manager": "postgresql", "description": "Ours"}),
        ("/datastores/postgresql", {"manager": "mariadb"}),
    ],
    ("/v1/datastores/{datastore}", "patch"): [
        ("/datastores/postgresql", {"default_version": "18"}),
        ("/datastores/none", {}),
    ],
    ("/v1/datastores/{datastore}", "delete"): [
        ("/datastores/empty", None),
        ("/datastores/postgresql", None),
        ("/datastores/none", None),
    ],
    ("/v1/datastores/{datastore}/versions/{version}", "put"): [
        ("/datastores/postgresql/versions/19", {}),
        ("/datastores/postgresql/versions/18", {"deprecated": True}),
    ],
    ("/v1/datastores/{datastore}/versions/{version}", "patch"): [
        ("/datastores/postgresql/versions/18", {"image_tags": ["a"], "packages": ["b"]}),
        ("/datastores/postgresql/versions/18", {"name": "17"}),
    ],
    ("/v1/datastores/{datastore}/versions/{version}", "delete"): [
        ("/datastores/postgresql/versions/17", None),
        ("/datastores/postgresql/versions/18", None),
        ("/datastores/postgresql/versions/none", None),
    ],
    ("/v1/configuration-groups/{group}", "put"): [
        ("/configuration-groups/new", GROUP),
        ("/configuration-groups/tuned", GROUP | {"parameters": {"max_connections": 300}}),
        ("/configuration-groups/tuned", GROUP | {"parameters": {"max_connections": 0}}),
    ],
    ("/v1/configuration-groups/{group}", "patch"): [
        ("/configuration-groups/tuned", {"name": "renamed", "parameters": {"jit": "off"}}),
        ("/configuration-groups/tuned", {"version": "18"}),
    ],
    ("/v1/configuration-groups/{group}", "delete"): [
        ("/configuration-groups/free", None),
        ("/configuration-groups/tuned", None),
        ("/configuration-groups/none", None),
    ],
    ("/v1/instances/{instance}", "put"): [
        ("/instances/new", INSTANCE),
        (ORDERS, INSTANCE | {"flavor": "db.medium", "volume": {"size": 20}}),
        (ORDERS, INSTANCE | {"version": "3"}),
        ("/instances/vast", INSTANCE | {"volume": {"size": 60_000}}),
    ],
    ("/v1/instances/{instance}", "patch"): [
        (ORDERS, {"name": "renamed", "labels": {"team": "shop"}}),
        (ORDERS, {"volume": {"size": 5}}),
        (ORDERS, {"configuration_group": "tuned", "restart_policy": "automatic"}),
        ("/instances/none", {}),
    ],
    ("/v1/instances/{instance}", "delete"): [
        (ORDERS, None),
        ("/instances/kept", None),
        ("/instances/none", None),
    ],
    ("/v1/instances/{instance}/databases/{database}", "put"): [
        (f"{ORDERS}/databases/new", {"character_set": "UTF8"}),
        (f"{ORDERS}/databases/shop", {"owner": "app"}),
        (f"{ORDERS}/databases/shop", {"owner": "ap"}),
        ("/instances/cache/databases/new", {}),
    ],
    ("/v1/instances/{instance}/databases/{database}", "patch"): [
        (f"{ORDERS}/databases/shop", {"owner": "app"}),
        (f"{ORDERS}/databases/none", {}),
        ("/instances/maria/databases/shop", {"character_set": "utf8mb4"}),
    ],
    ("/v1/instances/{instance}/databases/{database}", "delete"): [
        (f"{ORDERS}/databases/shop", None),
        (f"{ORDERS}/databases/none", None),
    ],
    ("/v1/instances/{instance}/users/{user}", "put"): [
        (f"{ORDERS}/users/new", {"password": PASSWORD}),
        (f"{ORDERS}/users/new", {}),
        (f"{ORDERS}/users/app", {"password": f"{PASSWORD}!", "password_version": 2}),
    ],
    ("/v1/instances/{instance}/users/{user}", "patch"): [
        (f"{ORDERS}/users/app", {"grants": [{"database": "shop", "privileges": ["ALL"]}]}),
        (f"{ORDERS}/users/app", {"password": "short"}),
    ],
    ("/v1/instances/{instance}/users/{user}", "delete"): [
        (f"{ORDERS}/users/app", None),
        (f"{ORDERS}/users/owner", None),
        (f"{ORDERS}/users/none", None),
    ],
    ("/v1/quotas/{project}", "put"): [
        ("/quotas/project", {"instances": 3}),
        ("/quotas/-", {"instances": 3}),
    ],
    ("/v1/tokens/{token}", "delete"): [
        ("/tokens/{token}", None),
        ("/tokens/none", None),
    ],
}
"""Writes for each operation, good and bad, on what `prepare` has made."""


@pytest.fixture(scope="module")
def prepared(states: States) -> States:
    """With the state `prepared`: more than is filled in."""
    with states.laid("filled") as api:
        api.made("/configuration-groups/tuned", GROUP | {"parameters": {"max_connections": 200}})
        api.made("/configuration-groups/free", GROUP)
        api.made(
            "/instances/kept", INSTANCE | {"deletion_protection": True, "configuration_group": "tuned"}
        )
        api.made(f"{ORDERS}/users/owner", {"password": PASSWORD})
        api.made(f"{ORDERS}/databases/owned", {"owner": "owner"})
        api.admin.made("/datastores/empty", {"manager": "valkey"})
        api.admin.made("/datastores/postgresql/versions/17", {})
        api.work()
        states.store.keep(states.app, "prepared")
    return states


def dry(api: Api, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
    """The answer of a dry run, which changed nothing that is stored, done or asked of the cloud."""
    calls = api.books.calls.copy()
    with api.unchanged():
        answer = api.admin(method, f"{path}?dry_run=true", body, **headers)
    assert api.books.calls == calls
    return answer


def keeps_its_promise(promised: TestResponse, done: TestResponse) -> None:
    """The dry run's answer is the write's, but for the impact, times, and what only making gives."""
    if done.status_code >= 400:
        assert promised.status_code == done.status_code
        assert _timeless(promised.json) == _timeless(done.json)
        return
    assert promised.status_code in (200, done.status_code)
    if done.status_code == 204:
        return
    impact = promised.json["impact"]
    assert all(item["sentence"] for item in impact)
    made = {"id"} if "Location" in done.headers else set()
    assert not made & promised.json.keys()
    assert _timeless(promised.json, {"impact"}) == _timeless(done.json, made)


def _timeless(body: Any, but: set[str] = frozenset()) -> Any:  # type: ignore[assignment]
    if isinstance(body, list):
        return [_timeless(item) for item in body]
    if isinstance(body, Mapping):
        left_out = TIMES | but | {"request_id"}
        return {name: _timeless(item) for name, item in body.items() if name not in left_out}
    return body


def test_every_write_of_the_api_can_be_tried(application: Any) -> None:
    document = application.test_client().get("/openapi.json").json
    writes = {
        (path, method)
        for path, item in document["paths"].items()
        for method in item
        if method in ("put", "patch", "delete")
    }
    assert writes == set(TRIES)


@pytest.mark.parametrize("operation", TRIES, ids=lambda key: f"{key[1]} {key[0]}")
def test_a_dry_run_answers_what_the_write_then_answers(
    prepared: States, operation: tuple[str, str]
) -> None:
    with prepared.laid("prepared") as api:
        token = api.admin.post("/tokens", {"name": "ci", "project_id": "project"}).json
        for path, body in TRIES[operation]:
            at, method = path.format(token=token["id"] if token else ""), operation[1].upper()
            promised = dry(api, method, at, body)
            keeps_its_promise(promised, api.admin(method, at, body))


def test_a_dry_run_wakes_nobody(filled: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[str] = []
    for name, word in (("coffret_runner", "request"), ("coffret_changes", "announce")):
        waker = filled.app.extensions[name]
        monkeypatch.setattr(waker, word, lambda instance_id, *_, word=word: woken.append(word))
    dry(filled, "PATCH", ORDERS, {"flavor": "db.medium"})
    assert woken == []
    filled.patch(ORDERS, {"flavor": "db.medium"})
    assert set(woken) == {"request", "announce"}


def test_after_a_dry_run_the_same_process_writes_as_ever(filled: Api) -> None:
    dry(filled, "DELETE", ORDERS)
    assert filled.get(ORDERS).json["status"]["phase"] == "ACTIVE"
    assert filled.delete(f"{ORDERS}?dry_run=false").status_code == 202
    assert filled.get(ORDERS).json["status"]["phase"] == "SHUTDOWN"


def test_preconditions_and_roles_count_in_a_dry_run(filled: Api) -> None:
    problem(dry(filled, "PUT", ORDERS, INSTANCE, If_Match='"x.1"'), 412, "precondition_failed")
    problem(dry(filled, "PUT", ORDERS, INSTANCE, If_None_Match="*"), 412, "precondition_failed")
    problem(dry(filled, "DELETE", ORDERS, If_Match='"x.1"'), 412, "precondition_failed")
    problem(filled.reader.delete(f"{ORDERS}?dry_run=true"), 403, "forbidden")
    problem(filled.admin.delete(f"{ORDERS}?dry_run=yes"), 422, "invalid", "?dry_run")


def effects(answer: TestResponse) -> dict[str, tuple[str, list[str]]]:
    """Path -> effect and instances."""
    assert answer.status_code == 200, answer.json
    return {item["path"]: (item["effect"], item["instances"]) for item in answer.json["impact"]}


CHANGES: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({}, {}),
    ({"name": "renamed"}, {"/name": "online"}),
    ({"version": "18"}, {"/version": "none"}),
    ({"flavor": "db.medium"}, {"/flavor": "restart"}),
    ({"volume": {"size": 20}}, {"/volume/size": "online"}),
    ({"access": {"allowed_cidrs": ["192.0.2.0/24"]}}, {"/access/allowed_cidrs": "online"}),
    ({"access": {"is_public": True}}, {"/access/is_public": "online"}),
    ({"configuration_group": "late"}, {"/configuration_group": "none"}),
    ({"configuration_group": "both"}, {"/configuration_group": "online"}),
    ({"configuration_group": "soon"}, {"/configuration_group": "online"}),
    ({"configuration_group": "same"}, {"/configuration_group": "none"}),
    ({"restart_policy": "automatic"}, {"/restart_policy": "none"}),
    (
        {"configuration_group": "both", "restart_policy": "automatic"},
        {"/configuration_group": "restart", "/restart_policy": "restart"},
    ),
    ({"rebuild_policy": "manual"}, {"/rebuild_policy": "none"}),
    ({"deletion_protection": True}, {"/deletion_protection": "none"}),
    ({"labels": {"a": "b"}}, {"/labels": "none"}),
]  # fmt: skip


def test_each_change_of_an_instance_has_its_effect(filled: Api) -> None:
    for name, parameters in {
        "late": {"max_connections": 200},
        "soon": {"work_mem": "8MB"},
        "both": {"max_connections": 200, "work_mem": "8MB"},
        "same": {"max_connections": 100, "wal_level": "replica"},
    }.items():
        filled.made(f"/configuration-groups/{name}", GROUP | {"parameters": parameters})
    for fields, promised in CHANGES:
        found = effects(dry(filled, "PUT", ORDERS, INSTANCE | fields))
        assert found == {path: (effect, ["orders"]) for path, effect in promised.items()}, fields


def test_on_a_cloud_of_servers_another_flavor_is_a_resize_and_growth_may_stop_the_engine(
    filled: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    extensions = filled.app.extensions
    servers = dataclasses.replace(extensions["coffret_cloud"], resizes=True)
    monkeypatch.setitem(extensions, "coffret_cloud", servers)
    answer = dry(filled, "PATCH", ORDERS, {"flavor": "db.medium", "volume": {"size": 20}})
    resize, growth = answer.json["impact"]
    assert (resize["effect"], resize["interruption"] > 0) == ("resize", True)
    assert (growth["effect"], growth["interruption"]) == ("online", None)


def test_an_instance_that_was_never_started_has_nothing_to_restart(filled: Api) -> None:
    filled.made("/instances/new", INSTANCE | {"restart_policy": "automatic"})
    assert effects(dry(filled, "PATCH", "/instances/new", {"flavor": "db.medium"})) == {
        "/flavor": ("none", ["new"])
    }


def test_a_parameter_restarts_whom_the_policy_lets_it(filled: Api) -> None:
    filled.made("/configuration-groups/tuned", GROUP | {"parameters": {"work_mem": "8MB"}})
    filled.put(ORDERS, INSTANCE | {"configuration_group": "tuned"})
    for name in ("billing", "mail"):
        fields = {"configuration_group": "tuned", "restart_policy": "automatic"}
        filled.instance(name, **fields)
    filled.work()

    def impact(**parameters: Any) -> Any:
        body = GROUP | {"parameters": parameters}
        return dry(filled, "PUT", "/configuration-groups/tuned", body).json["impact"]

    found = impact(max_connections=200)
    assert [(item["path"], item["effect"], item["instances"]) for item in found] == [
        ("/parameters/max_connections", "restart", ["billing", "mail"]),
        ("/parameters/max_connections", "none", ["orders"]),
        ("/parameters/work_mem", "online", ["billing", "mail", "orders"]),
    ]
    assert "restart_policy is manual" in found[1]["sentence"]
    for spelling in ("8192kB", 8192):
        assert [item["effect"] for item in impact(work_mem=spelling)] == ["none"]
    assert impact(work_mem="8MB") == []


def test_what_is_pending_decides_what_a_restart_is_for(filled: Api) -> None:
    filled.made("/configuration-groups/tuned", GROUP | {"parameters": {"max_connections": 200}})
    filled.put(ORDERS, INSTANCE | {"configuration_group": "tuned"})
    filled.work()
    pending = [{"name": "max_connections", "running": "100", "desired": "200"}]
    filled.report("orders", configuration={"in_sync": False, "pending_restart": pending, "errors": {}})
    policy = {"restart_policy": "automatic"}
    assert effects(dry(filled, "PATCH", ORDERS, policy)) == {"/restart_policy": ("restart", ["orders"])}
    back = GROUP | {"parameters": {"max_connections": 100}}
    assert effects(dry(filled, "PUT", "/configuration-groups/tuned", back)) == {
        "/parameters/max_connections": ("online", ["orders"])
    }
    assert effects(dry(filled, "PATCH", ORDERS, policy | {"configuration_group": None})) == {
        "/configuration_group": ("online", ["orders"]),
        "/restart_policy": ("none", ["orders"]),
    }


def test_what_is_lost_is_said(filled: Api) -> None:
    for path in (ORDERS, f"{ORDERS}/databases/shop"):
        (lost,) = dry(filled, "DELETE", path).json["impact"]
        assert (lost["effect"], lost["instances"], lost["interruption"]) == ("data_loss", ["orders"], None)


def test_a_database_that_the_engine_has_already_is_taken_over(filled: Api) -> None:
    seen = {"name": "found", "character_set": "UTF8", "collation": "C", "owner": None}
    filled.report("orders", seen_databases=[seen])
    (taken,) = dry(filled, "PUT", f"{ORDERS}/databases/found", {}).json["impact"]
    assert (taken["effect"], "taken over" in taken["sentence"]) == ("online", True)


NAMES = st.sampled_from(["orders", "cache", "new", "tuned", "app", "shop", "-", "18"])
VALUES = NAMES | st.none() | st.booleans() | st.integers(-1, 300) | st.sampled_from(
    ["manual", "automatic", "db.small", "db.medium", "db.huge", PASSWORD, "UTF8", "C", "8MB", "on"]
)  # fmt: skip
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "name": NAMES,
    "version": st.sampled_from([None, "18", "3"]),
    "flavor": st.sampled_from(["db.small", "db.medium", "db.smal"]),
    "volume": st.fixed_dictionaries({"size": st.sampled_from([1, 10, 11, 12, 9_000, "x"])}),
    "access": st.fixed_dictionaries({"allowed_cidrs": st.sampled_from([None, [], ["::/0"], ["x"]])}),
    "configuration_group": st.sampled_from([None, "tuned", "tune"]),
    "restart_policy": st.sampled_from(["manual", "automatic", "never"]),
    "labels": st.dictionaries(NAMES, VALUES, max_size=2),
    "parameters": st.dictionaries(
        st.sampled_from(["max_connections", "work_mem", "jit", "wal_level", "port", "jat"]),
        VALUES,
        max_size=3,
    ),
    "owner": st.sampled_from([None, "app", "ap"]),
    "deletion_protection": st.booleans(),
    "deletion_policy": st.sampled_from([None, "drop", "refuse", "abandon", "reassign"]),
    "character_set": st.sampled_from([None, "UTF8", "utf8"]),
    "password": st.sampled_from([PASSWORD, f"{PASSWORD}!", "short"]),
    "grants": st.lists(
        st.fixed_dictionaries(
            {"database": st.sampled_from(["shop", "none"]), "privileges": st.sampled_from([["ALL"], ["X"]])}
        ),
        max_size=2,
    ),
    "description": VALUES,
}
BODIES: dict[str, tuple[dict[str, Any], list[str]]] = {
    ORDERS: (
        INSTANCE,
        [
            "name",
            "version",
            "flavor",
            "volume",
            "access",
            "configuration_group",
            "restart_policy",
            "labels",
            "deletion_protection",
        ],
    ),
    "/instances/new": (INSTANCE, ["name", "version", "flavor", "volume", "configuration_group", "labels"]),
    "/configuration-groups/tuned": (GROUP, ["name", "parameters", "parameters", "description"]),
    f"{ORDERS}/databases/shop": ({}, ["owner", "character_set", "name", "deletion_policy"]),
    f"{ORDERS}/databases/new": ({}, ["owner", "character_set"]),
    f"{ORDERS}/users/app": ({}, ["password", "grants", "name", "deletion_policy"]),
}


@st.composite
def writes(draw: st.DrawFn) -> tuple[str, str, Any]:
    """Method, path and a body that may be good, and often is not."""
    path = draw(st.sampled_from(sorted(BODIES)))
    method = draw(st.sampled_from(["PUT", "PUT", "PUT", "PATCH", "PATCH", "PATCH", "DELETE"]))
    least, names = BODIES[path]
    chosen = draw(st.lists(st.sampled_from(names), max_size=3, unique=True))
    body = {name: draw(FIELDS[name]) for name in chosen}
    return method, path, None if method == "DELETE" else body if method == "PATCH" else least | body


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(steps=st.lists(st.tuples(writes(), st.booleans()), min_size=1, max_size=4))
def test_whatever_is_written_was_promised(
    prepared: States, steps: list[tuple[tuple[str, str, Any], bool]]
) -> None:
    with prepared.laid("prepared") as api:
        for (method, path, body), settle in steps:
            promised = dry(api, method, path, body)
            keeps_its_promise(promised, api.admin(method, path, body))
            if settle:
                api.work()
