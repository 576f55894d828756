"""What a dry run promised is what then happened to a real engine: how often it was started says so."""

import json
from typing import Any

import psycopg
from serving import Serving, serving

__all__ = ["serving"]

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


def test_the_engine_restarts_as_often_as_the_dry_run_promised(serving: Serving) -> None:
    serving.start()
    serving.put(TUNED, {"datastore": "postgresql"})
    fields = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}
    serving.put(ORDERS, fields | {"configuration_group": "tuned"})
    serving.put(f"{ORDERS}/databases/shop", {})
    grants = [{"database": "shop", "privileges": ["CONNECT"]}]
    serving.put(f"{ORDERS}/users/app", {"password": PASSWORD, "grants": grants})
    serving.ready(f"{ORDERS}/users/app")
    serving.ready(ORDERS)
    for path, patch, expected in STEPS:
        count, started = starts(serving)
        answer = serving.call("PATCH", f"{path}?dry_run=true", patch)
        assert answer.status_code == 200, answer.text
        promised = {item["effect"] for item in answer.json()["impact"]} & {"restart", "resize", "rebuild"}
        assert len(promised) == expected, (patch, answer.json()["impact"])
        assert serving.call("PATCH", path, patch).status_code in (200, 202)
        serving.ready(ORDERS)
        assert starts(serving)[0] == count + expected, patch
        assert (starts(serving)[1] != started) == bool(expected), patch
