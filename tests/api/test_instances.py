"""Instances: what can be changed in place, what is fixed, which version they run, their state."""

from typing import Any

import pytest
from contract import GROUP, INSTANCE, Api, problem
from sqlalchemy import select

from control_plane.agents import directive
from control_plane.database import db
from control_plane.instances.models import Instance


@pytest.fixture
def orders(api: Api) -> Api:
    """With the ready instance `orders` and the groups `tuned` and `other`."""
    api.made("/configuration-groups/tuned", GROUP)
    api.made("/configuration-groups/other", GROUP)
    api.instance()
    return api


@pytest.mark.parametrize(
    "change",
    [
        {"name": "renamed"},
        {"labels": {"team": "a"}},
        {"flavor": "db.large"},
        {"volume": {"size": 20}},
        {"configuration_group": "tuned"},
        {"access": {"is_public": True}},
        {"access": {"allowed_cidrs": []}},
        {"restart_policy": "automatic"},
        {"deletion_protection": True},
        {"version": "18"},
    ],
    ids=lambda change: "-".join(change),
)
def test_an_instance_is_changed_in_place(orders: Api, change: dict[str, Any]) -> None:
    before = orders.get("/instances/orders").json
    assert before is not None
    assert before["status"]["ready"]
    answer = orders.patch("/instances/orders", change)
    assert answer.status_code == 202, answer.json
    orders.work()
    after = orders.get(f"/instances/{change.get('name', 'orders')}").json
    assert after is not None
    assert after["id"] == before["id"]
    assert after["generation"] == before["generation"] + 1
    assert after["status"]["ready"]
    assert after["status"]["observed_generation"] == after["generation"]
    for field, value in change.items():
        assert after[field] == value or after[field].items() >= value.items()
    assert list(orders.books.servers) == [before["id"]]


def test_a_flavor_and_a_volume_reach_the_cloud(orders: Api) -> None:
    instance_id = orders.get("/instances/orders").json["id"]  # type: ignore[index]
    orders.patch("/instances/orders", {"flavor": "db.large", "volume": {"size": 20}})
    waiting = orders.get("/instances/orders").json["status"]  # type: ignore[index]
    assert waiting["phase"] == "RESIZE"
    assert not waiting["ready"]
    assert waiting["reconciling"]
    orders.work()
    assert orders.books.servers[instance_id].flavor == "db.large"
    assert orders.books.volumes[instance_id].size == 20


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"flavor": "db.large"}, True),
        ({"volume": {"size": 20}}, True),
        ({"configuration_group": "tuned"}, True),
        ({"restart_policy": "automatic"}, True),
        ({"labels": {"team": "a"}}, False),
        ({"deletion_protection": True}, False),
        ({"version": "18"}, False),
    ],
    ids=lambda part: "-".join(part) if isinstance(part, dict) else "",
)
def test_what_concerns_the_engine_is_ready_when_its_agent_has_done_it(
    orders: Api, change: dict[str, Any], told: bool
) -> None:
    status = orders.patch("/instances/orders", change).json["status"]  # type: ignore[index]
    assert status["ready"] is not told
    assert (status["observed_generation"] == 1) is told
    orders.work()
    assert orders.get("/instances/orders").json["status"]["ready"]  # type: ignore[index]


def test_what_the_agent_is_told_is_what_was_asked_for(orders: Api) -> None:
    orders.patch("/configuration-groups/tuned", {"parameters": {"jit": False, "max_connections": 50}})
    orders.patch("/instances/orders", {"configuration_group": "tuned", "restart_policy": "automatic"})
    orders.patch("/instances/orders", {"flavor": "db.large", "volume": {"size": 20}})
    with orders.app.app_context():
        told = directive.build(db.session.scalars(select(Instance)).one())
    assert told is not None
    assert told["parameters"] == {"work_mem": "8MB", "jit": "off", "max_connections": "50"}
    assert told["restart_policy"] == "automatic"
    assert (told["engine"]["ram"], told["engine"]["vcpus"], told["engine"]["volume_size"]) == (4096, 2, 20)


def test_a_group_is_attached_changed_and_detached(orders: Api) -> None:
    for group in ("tuned", "other", None):
        assert orders.patch("/instances/orders", {"configuration_group": group}).status_code == 202
        orders.work()
        for name in ("tuned", "other"):
            status = orders.get(f"/configuration-groups/{name}").json["status"]  # type: ignore[index]
            attached = [(item["name"], item["in_sync"]) for item in status["instances"]]
            assert attached == ([("orders", True)] if name == group else [])


def test_a_changed_group_reaches_its_instances(orders: Api) -> None:
    orders.patch("/instances/orders", {"configuration_group": "tuned"})
    orders.work()
    orders.patch("/configuration-groups/tuned", {"parameters": {"work_mem": "16MB"}})
    assert not orders.get("/instances/orders").json["status"]["ready"]  # type: ignore[index]
    group = orders.get("/configuration-groups/tuned").json
    assert group is not None
    assert group["status"]["instances"][0]["in_sync"] is False
    orders.work()
    assert orders.get("/instances/orders").json["status"]["ready"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("change", "pointer", "says"),
    [
        ({"volume": {"size": 9}}, "/volume/size", "A volume never shrinks: it has 10 GiB, and 9 GiB"),
        ({"volume": {"type": "fast"}}, "/volume/type", "fixed"),
        ({"datastore": "valkey"}, "/datastore", "keeps its datastore, 'postgresql'"),
        ({"version": "17"}, "/version", "runs '18'"),
        ({"network": {"network_id": "n"}}, "/network", "fixed"),
        ({"availability_zone": "z"}, "/availability_zone", "fixed"),
    ],
)
def test_some_things_are_fixed(orders: Api, change: dict[str, Any], pointer: str, says: str) -> None:
    with orders.unchanged():
        problem(orders.patch("/instances/orders", change), 422, "invalid", pointer, says)


@pytest.mark.parametrize(
    ("datastore", "asked", "runs"),
    [
        ("postgresql", None, "18"),
        ("postgresql", "18", "18"),
        ("mariadb", "10", "10.11"),
        ("mariadb", "10.11", "10.11"),
        ("valkey", "9", "9.2"),
        ("valkey", "9.1", "9.1"),
        ("valkey", None, "10.1"),
    ],
)
def test_a_version_is_named_by_its_beginning(
    api: Api, datastore: str, asked: str | None, runs: str
) -> None:
    for version in ("9.2", "10.1"):
        api.admin.made(f"/datastores/valkey/versions/{version}", {})
    made = api.made("/instances/one", INSTANCE | {"datastore": datastore, "version": asked})
    assert made["version"] == asked
    assert made["status"]["datastore_version"] == runs


def test_the_datastores_default_version_is_taken(api: Api) -> None:
    api.admin.made("/datastores/valkey/versions/9.2", {})
    api.admin.patch("/datastores/valkey", {"default_version": "9.1"})
    made = api.made("/instances/one", INSTANCE | {"datastore": "valkey"})
    assert made["status"]["datastore_version"] == "9.1"


@pytest.mark.parametrize("asked", ["1", "8", "9.", ".", "9.1.1", "nine", "%", "9.11"])
def test_an_unknown_version_is_answered_with_those_there_are(api: Api, asked: str) -> None:
    api.admin.made("/datastores/valkey/versions/9.2", {"active": False})
    wanted = INSTANCE | {"datastore": "valkey", "version": asked}
    problem(api.put("/instances/one", wanted), 422, "invalid", "/version", "active versions: 9.1.")


def test_an_inactive_version_is_for_those_that_run_it(api: Api) -> None:
    api.instance()
    api.admin.patch("/datastores/postgresql/versions/18", {"active": False})
    problem(api.put("/instances/new", INSTANCE), 422, "invalid", "/version", "active versions: none")
    assert api.patch("/instances/orders", {"flavor": "db.large"}).status_code == 202
    assert api.put("/instances/orders", INSTANCE | {"version": "18"}).status_code == 202


def test_a_group_of_another_version_cannot_be_attached(orders: Api) -> None:
    orders.made("/configuration-groups/cached", {"datastore": "valkey"})
    with orders.unchanged():
        answer = orders.patch("/instances/orders", {"configuration_group": "cached"})
    problem(
        answer, 422, "invalid", "/configuration_group", "is for valkey 9.1; the instance runs postgresql 18"
    )


def test_a_group_keeps_its_datastore_and_version(orders: Api) -> None:
    with orders.unchanged():
        for change, pointer in (({"datastore": "valkey"}, "/datastore"), ({"version": "17"}, "/version")):
            problem(orders.patch("/configuration-groups/tuned", change), 422, "invalid", pointer)


def test_lists_are_filtered(orders: Api) -> None:
    orders.instance("cache", datastore="valkey", labels={"team": "a", "tier": "front"})
    orders.instance("queue", datastore="valkey", labels={"team": "a", "tier": "back"})
    for query, names in (
        ("", ["cache", "orders", "queue"]),
        ("?name=queue", ["queue"]),
        ("?datastore=valkey", ["cache", "queue"]),
        ("?datastore=none", []),
        ("?label=team=a", ["cache", "queue"]),
        ("?label=team=a&label=tier=back", ["queue"]),
        ("?label=team=b", []),
        ("?status=ACTIVE&label=tier=front", ["cache"]),
        ("?status=ERROR", []),
    ):
        assert orders.names(f"/instances{query}") == names, query
    assert orders.names("/configuration-groups?datastore=valkey") == []
    assert orders.names("/configuration-groups?name=tuned") == ["tuned"]


def test_the_smallest_flavor_that_fits_comes_first(api: Api) -> None:
    assert api.names("/flavors")[0] == "db.tiny"
    assert api.names("/flavors?min_ram=1500")[0] == "db.medium"
    assert api.names("/flavors?min_vcpus=2")[0] == "db.large"
    assert api.names("/flavors?min_memory_per_vcpu=4000") == ["db.xlarge", "db.2xlarge"]
    assert api.get("/flavors/db.large").json["memory_per_vcpu"] == 2048  # type: ignore[index]


def test_a_restart_is_an_action(orders: Api) -> None:
    made = orders.post("/instances/orders/actions", {"type": "restart"})
    assert made.status_code == 202
    assert made.json is not None
    path = f"/instances/orders/actions/{made.json['id']}"
    assert orders.get(path).json["phase"] == "REQUESTED"  # type: ignore[index]
    assert orders.get("/instances/orders").json["status"]["phase"] == "REBOOT"  # type: ignore[index]
    refused = orders.post("/instances/orders/actions", {"type": "restart"})
    problem(refused, 409, "conflict", says="under way")
    assert refused.headers["Retry-After"]
    orders.work()
    done = orders.get(path).json
    assert done is not None
    assert done["phase"] == "DONE"
    assert done["finished_at"] is not None
    assert orders.get("/instances/orders").json["status"]["phase"] == "ACTIVE"  # type: ignore[index]
    assert orders.get("/instances/orders/actions").json["items"] == [done]  # type: ignore[index]
    problem(orders.post("/instances/orders/actions", {"type": "stop"}), 422, "invalid", "/type", "restart")


def test_an_instance_that_goes_away_is_left_alone(orders: Api) -> None:
    orders.delete("/instances/orders")
    with orders.unchanged():
        for method, path, body in (
            ("PUT", "databases/shop", {}),
            ("PUT", "users/app", {"password": "long enough"}),
            ("POST", "actions", {"type": "restart"}),
        ):
            answer = orders(method, f"/instances/orders/{path}", body)
            problem(answer, 409, "conflict", says="being deleted")
            assert answer.headers["Retry-After"]
    shown = orders.get("/instances/orders").json
    assert shown is not None
    assert shown["status"]["phase"] == "SHUTDOWN"


def test_an_instance_tells_what_happened_to_it(orders: Api) -> None:
    orders.patch("/instances/orders", {"flavor": "db.large"})
    orders.work()
    orders.delete("/instances/orders")
    orders.work()
    events = orders.get("/events?limit=1000").json["items"]  # type: ignore[index]
    about = [event["kind"] for event in events if event["resource_type"] == "instance"]
    assert [kind for kind in about if kind != "progress"] == ["created", "changed", "deleting", "deleted"]
    created = next(event for event in events if event["kind"] == "created" and event["instance_id"])
    assert created["actor"] == "member"
    assert created["request_id"].startswith("req-")
