"""What a dry run promised is what then happened to a real engine: how often it was started says so."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from serving import Serving, eventually, served

from guest_agent.engines.mariadb import find_binaries as find_mariadb

ORDERS, BILLING = INSTANCES = ("/instances/orders", "/instances/billing")
TUNED = "/configuration-groups/tuned"
PASSWORD = "correct horse battery"

STEPS: list[tuple[str, dict[str, Any], str]] = [
    # what runs takes it, at once or never
    (TUNED, {"parameters": {"work_mem": "8MB"}}, ""),
    (TUNED, {"parameters": {"work_mem": "8192kB", "max_connections": 100}}, ""),
    (ORDERS, {"volume": {"size": 2}, "labels": {"team": "shop"}}, ""),
    # left pending by restart_policy = manual, and taken back
    (TUNED, {"parameters": {"max_connections": 90, "wal_level": "logical"}}, ""),
    (TUNED, {"parameters": {"max_connections": 100, "wal_level": None}}, ""),
    (TUNED, {"parameters": {"max_connections": 80}}, ""),
    # the policy changes while something is pending
    (ORDERS, {"restart_policy": "automatic"}, "orders"),
    (TUNED, {"parameters": {"max_connections": 70, "work_mem": "16MB"}}, "orders"),
    (TUNED, {"parameters": {"max_connections": "70"}, "description": "the same"}, ""),
    # the engine sizes this one itself, and -1 is another value than what it came to
    (TUNED, {"parameters": {"io_max_concurrency": -1}}, "orders"),
    (TUNED, {"parameters": {"work_mem": "8MB"}}, ""),
    (TUNED, {"parameters": {"io_max_concurrency": None}}, "orders"),
    # started with the default in its files, an engine need not restart to have it without them
    (TUNED, {"parameters": {"max_connections": 100, "max_prepared_transactions": 5}}, "orders"),
    (TUNED, {"parameters": {"max_connections": None}}, ""),
    (TUNED, {"parameters": {"max_connections": 70}}, "orders"),
    # two reasons are one restart
    (ORDERS, {"configuration_group": None, "flavor": "db.tiny"}, "orders"),
    (ORDERS, {"configuration_group": "tuned"}, "orders"),
    (ORDERS, {"restart_policy": "manual", "flavor": "db.small"}, "orders"),
    # of two that are attached, the one whose policy says so; and both
    (BILLING, {"configuration_group": "tuned"}, "billing"),
    (TUNED, {"parameters": {"max_connections": 60}}, "billing"),
    (ORDERS, {"restart_policy": "automatic"}, "orders"),
    (TUNED, {"parameters": {"max_connections": 50, "work_mem": "4MB"}}, "billing orders"),
    (TUNED, {"parameters": {"work_mem": "8MB"}}, ""),
    (BILLING, {"configuration_group": None}, "billing"),
    (TUNED, {"parameters": {"max_connections": 40}}, "orders"),
]
"""Path, merge-patch, and which engines are to be started once for it."""


def starts(serving: Serving, instance: dict[str, Any]) -> tuple[int, object]:
    """How often the agent has started the engine, and when the engine says that it was."""
    with shop(instance, "app") as connection:
        found = connection.execute("SELECT pg_postmaster_start_time()").fetchone()
    assert found is not None
    return agents_count(serving, instance["id"]), found[0]


def shop(instance: dict[str, Any], user: str) -> psycopg.Connection:
    """A connection to the instance's database `shop`."""
    endpoint = instance["status"]["endpoints"][0]
    return psycopg.connect(
        host=endpoint["host"], port=endpoint["port"], dbname="shop", user=user, password=PASSWORD
    )


@pytest.fixture(scope="module")
def orders() -> Iterator[Serving]:
    """A control plane with two PostgreSQL instances: `orders`, of the group `tuned`, and `billing`."""
    with served() as one:
        one.start()
        one.put(TUNED, {"datastore": "postgresql"})
        fields = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}
        one.put(ORDERS, fields | {"configuration_group": "tuned"})
        one.put(BILLING, fields | {"restart_policy": "automatic"})
        for path in INSTANCES:
            one.put(f"{path}/databases/shop", {})
            grants = [{"database": "shop", "privileges": ["CONNECT"]}]
            one.put(f"{path}/users/app", {"password": PASSWORD, "grants": grants})
        for path in INSTANCES:
            one.ready(f"{path}/users/app")
            one.ready(path)
        yield one


def keeps_its_promise(serving: Serving, path: str, patch: dict[str, Any]) -> str:
    """The engines that were started for the patch, which are those that the dry run said."""
    before = {one: starts(serving, serving.call("GET", one).json()) for one in INSTANCES}
    answer = serving.call("PATCH", f"{path}?dry_run=true", patch)
    assert answer.status_code == 200, answer.text
    impact = answer.json()["impact"]
    interrupting = [item for item in impact if item["effect"] in ("restart", "resize", "rebuild")]
    promised = {name for item in interrupting for name in item["instances"]}
    assert serving.call("PATCH", path, patch).status_code in (200, 202)
    for one in INSTANCES:
        after = starts(serving, serving.ready(one))
        restarts = int(one.rpartition("/")[2] in promised)
        assert after[0] == before[one][0] + restarts, (one, patch, impact)
        assert (after[1] != before[one][1]) == bool(restarts), (one, patch, impact)
    return " ".join(sorted(promised))


def test_the_engines_restart_as_often_as_the_dry_run_promised(orders: Serving) -> None:
    for path, patch, expected in STEPS:
        assert keeps_its_promise(orders, path, patch) == expected, patch


PARAMETERS: dict[str, st.SearchStrategy[Any]] = {
    "max_connections": st.sampled_from([None, 100, 90, "80"]),
    "max_prepared_transactions": st.sampled_from([None, 0, 5]),
    "wal_level": st.sampled_from([None, "replica", "logical"]),
    "jit": st.sampled_from([None, "off", True]),
    "work_mem": st.sampled_from([None, "8MB", "16MB"]),
}
PATCHES = st.one_of(
    st.tuples(
        st.just(TUNED),
        st.fixed_dictionaries({"parameters": st.fixed_dictionaries({}, optional=PARAMETERS)}),
    ),
    st.tuples(
        st.sampled_from(INSTANCES),
        st.fixed_dictionaries(
            {},
            optional={
                "restart_policy": st.sampled_from(["manual", "automatic"]),
                "flavor": st.sampled_from(["db.tiny", "db.small"]),
                "configuration_group": st.sampled_from([None, "tuned"]),
            },
        ),
    ),
)


@settings(max_examples=30, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
@given(change=PATCHES)
def test_so_it_does_whatever_is_changed(orders: Serving, change: tuple[str, dict[str, Any]]) -> None:
    """One change after another, so that they meet whatever the ones before have left pending."""
    keeps_its_promise(orders, *change)


OTHERS: dict[str, list[tuple[dict[str, Any], int]]] = {
    "valkey": [
        ({"parameters": {"maxmemory-policy": "allkeys-lru"}}, 0),
        ({"parameters": {"databases": 8}}, 1),
        ({"parameters": {"databases": "8", "maxmemory-policy": None}}, 0),
        ({"flavor": "db.tiny"}, 1),
        ({"parameters": {"databases": None}}, 1),
    ],
    "mariadb": [
        ({"parameters": {"max_connections": 50}}, 0),
        ({"parameters": {"back_log": 100}}, 1),
        ({"parameters": {"back_log": "100", "max_connections": None}}, 0),
        ({"flavor": "db.tiny"}, 1),
        ({"parameters": {"performance_schema": True}}, 1),
    ],
}
"""Merge-patches of an instance or its group, and how often the engine is to be started for each."""


no_mariadb = pytest.mark.skipif(find_mariadb() is None, reason="mariadb-server is not installed")


@pytest.mark.parametrize("datastore", ["valkey", pytest.param("mariadb", marks=no_mariadb)])
def test_so_it_is_with_the_other_engines(orders: Serving, datastore: str) -> None:
    group, instance = f"/configuration-groups/{datastore}", f"/instances/{datastore}"
    orders.put(group, {"datastore": datastore})
    fields = {"flavor": "db.small", "volume": {"size": 1}, "restart_policy": "automatic"}
    orders.put(instance, fields | {"datastore": datastore, "configuration_group": datastore})
    orders.ready(instance)
    for patch, expected in OTHERS[datastore]:
        path = group if "parameters" in patch else instance
        count, since = started(orders, instance)
        impact = orders.call("PATCH", f"{path}?dry_run=true", patch).json()["impact"]
        assert int(any(item["effect"] == "restart" for item in impact)) == expected, (patch, impact)
        assert orders.call("PATCH", path, patch).status_code in (200, 202)
        orders.ready(instance)
        after = started(orders, instance)
        assert after[0] == count + expected, (patch, impact)
        assert (after[1] != since) == bool(expected), (patch, impact)
    assert orders.call("DELETE", instance).status_code == 202


def started(serving: Serving, path: str) -> tuple[int, list[float]]:
    """How often the agent has started the instance's engine, and since when its process runs."""
    instance = serving.call("GET", path).json()["id"]
    running = [process.create_time() for process in serving.engines() if instance in process.cwd()]
    return agents_count(serving, instance), running


def agents_count(serving: Serving, instance_id: str) -> int:
    state = serving.folder / "instances" / instance_id / "agent" / "state.json"
    return int(json.loads(state.read_text())["starts"])


def owners(instance: dict[str, Any], user: str) -> list[tuple[str, str]]:
    """Name and owner of each table in `shop`."""
    with shop(instance, user) as connection:
        return connection.execute(
            "SELECT tablename, tableowner FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        ).fetchall()


def test_what_a_deleted_user_owned_is_where_the_dry_run_promised(orders: Serving) -> None:
    users = {"boss": "reassign", "leaver": "reassign", "keeper": "refuse", "stays": "abandon"}
    grants = [{"database": "shop", "privileges": ["ALL"]}]
    for name, policy in users.items():
        fields = {"password": PASSWORD, "grants": grants, "deletion_policy": policy}
        orders.put(f"{ORDERS}/users/{name}", fields)
    orders.put(f"{ORDERS}/databases/shop", {"owner": "boss"})
    for path in (f"{ORDERS}/databases/shop", *(f"{ORDERS}/users/{name}" for name in users)):
        orders.ready(path)
    instance = orders.ready(ORDERS)
    for name in users:
        with shop(instance, name) as connection:
            connection.execute(f"CREATE TABLE of_{name} ()")

    def seen() -> bool:
        """Whether the control plane has been told what they own: agents look around now and then."""
        return all("shop" in impact(name)["sentence"] for name in ("leaver", "keeper"))

    def impact(name: str) -> dict[str, Any]:
        (found,) = orders.call("DELETE", f"{ORDERS}/users/{name}?dry_run=true").json()["impact"]
        return dict(found)

    orders.put(f"{ORDERS}/databases/nudge", {})
    eventually(seen, 60)
    assert "goes to the owner" in impact("leaver")["sentence"]
    assert "stays until it owns nothing" in impact("keeper")["sentence"]
    assert "stays in the engine" in impact("stays")["sentence"]
    assert orders.call("DELETE", f"{ORDERS}/users/boss?dry_run=true").json()["code"] == "in_use"

    codes = {name: orders.call("DELETE", f"{ORDERS}/users/{name}").status_code for name in users}
    assert codes == {"boss": 409, "leaver": 202, "keeper": 202, "stays": 204}
    keeper = eventually(lambda: refused(orders, "keeper"), 60)
    assert "in shop: table public.of_keeper" in keeper["status"]["message"]
    eventually(lambda: orders.call("GET", f"{ORDERS}/users/leaver").status_code == 404, 60)
    assert owners(instance, "stays") == [
        ("of_boss", "boss"),
        ("of_keeper", "keeper"),
        ("of_leaver", "boss"),
        ("of_stays", "stays"),
    ]
    left = orders.call("GET", f"{ORDERS}/users")
    assert left.status_code == 200, left.text + orders.log()[-3000:]
    managed = {item["name"]: item["status"]["managed"] for item in left.json()["items"]}
    assert managed == {"app": True, "boss": True, "keeper": True, "stays": False}

    with shop(instance, "keeper") as connection:
        connection.execute("DROP TABLE of_keeper")
    orders.call("DELETE", f"{ORDERS}/users/keeper")
    eventually(lambda: orders.call("GET", f"{ORDERS}/users/keeper").status_code == 404, 60)


def refused(serving: Serving, name: str) -> dict[str, Any] | None:
    found: dict[str, Any] = serving.call("GET", f"{ORDERS}/users/{name}").json()
    return found if found["status"]["phase"] == "ERROR" else None
