"""What a dry run promised is what then happened to a real engine: how often it was started says so."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from serving import Serving, served

ORDERS = "/instances/orders"
TUNED = "/configuration-groups/tuned"
PASSWORD = "correct horse battery"

STEPS: list[tuple[str, dict[str, Any], int]] = [
    # what runs takes it, at once or never
    (TUNED, {"parameters": {"work_mem": "8MB"}}, 0),
    (TUNED, {"parameters": {"work_mem": "8192kB", "max_connections": 100}}, 0),
    (ORDERS, {"volume": {"size": 2}, "labels": {"team": "shop"}}, 0),
    # left pending by restart_policy = manual, and taken back
    (TUNED, {"parameters": {"max_connections": 90, "wal_level": "logical"}}, 0),
    (TUNED, {"parameters": {"max_connections": 100, "wal_level": None}}, 0),
    (TUNED, {"parameters": {"max_connections": 80}}, 0),
    # the policy changes while something is pending
    (ORDERS, {"restart_policy": "automatic"}, 1),
    (TUNED, {"parameters": {"max_connections": 70, "work_mem": "16MB"}}, 1),
    (TUNED, {"parameters": {"max_connections": "70"}, "description": "the same"}, 0),
    # the engine sizes this one itself, and -1 is another value than what it came to
    (TUNED, {"parameters": {"io_max_concurrency": -1}}, 1),
    (TUNED, {"parameters": {"work_mem": "8MB"}}, 0),
    (TUNED, {"parameters": {"io_max_concurrency": None}}, 1),
    # started with the default in its files, an engine need not restart to have it without them
    (TUNED, {"parameters": {"max_connections": 100, "max_prepared_transactions": 5}}, 1),
    (TUNED, {"parameters": {"max_connections": None}}, 0),
    (TUNED, {"parameters": {"max_connections": 70}}, 1),
    # two reasons are one restart
    (ORDERS, {"configuration_group": None, "flavor": "db.tiny"}, 1),
    (ORDERS, {"configuration_group": "tuned"}, 1),
    (ORDERS, {"restart_policy": "manual", "flavor": "db.small"}, 1),
]
"""Path, merge-patch, and how often the engine is to be started for it."""


def starts(serving: Serving) -> tuple[int, object]:
    """How often the agent has started the engine, and when the engine says that it was."""
    (state,) = serving.folder.glob("instances/*/agent/state.json")
    endpoint = serving.call("GET", ORDERS).json()["status"]["endpoints"][0]
    with psycopg.connect(
        host=endpoint["host"], port=endpoint["port"], dbname="shop", user="app", password=PASSWORD
    ) as connection:
        found = connection.execute("SELECT pg_postmaster_start_time()").fetchone()
    assert found is not None
    return json.loads(state.read_text())["starts"], found[0]


@pytest.fixture(scope="module")
def orders() -> Iterator[Serving]:
    """A control plane with a PostgreSQL instance `orders`, attached to the group `tuned`."""
    with served() as one:
        one.start()
        one.put(TUNED, {"datastore": "postgresql"})
        fields = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}
        one.put(ORDERS, fields | {"configuration_group": "tuned"})
        one.put(f"{ORDERS}/databases/shop", {})
        grants = [{"database": "shop", "privileges": ["CONNECT"]}]
        one.put(f"{ORDERS}/users/app", {"password": PASSWORD, "grants": grants})
        one.ready(f"{ORDERS}/users/app")
        one.ready(ORDERS)
        yield one


def keeps_its_promise(serving: Serving, path: str, patch: dict[str, Any]) -> int:
    """How often the engine was started for the patch, which is as often as the dry run said."""
    count, started = starts(serving)
    answer = serving.call("PATCH", f"{path}?dry_run=true", patch)
    assert answer.status_code == 200, answer.text
    impact = answer.json()["impact"]
    promised = int(any(item["effect"] in ("restart", "resize", "rebuild") for item in impact))
    assert serving.call("PATCH", path, patch).status_code in (200, 202)
    serving.ready(ORDERS)
    after = starts(serving)
    assert after[0] == count + promised, (patch, impact)
    assert (after[1] != started) == bool(promised), (patch, impact)
    return promised


def test_the_engine_restarts_as_often_as_the_dry_run_promised(orders: Serving) -> None:
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
        st.just(ORDERS),
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
