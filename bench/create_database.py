"""create.database: from the PUT of a database on a ready instance to its being ready.

Measured: PUT, then GET with wait_for=ready, over one kept connection as Terraform's provider does.

Floor, for comparison only, since the target is a time: CREATE DATABASE by hand over psycopg in the same
engine, as its superuser. What was made by hand is dropped outside the measured time.
"""

import itertools
import time

import psycopg

from bench.figure import Figure, in_turns
from bench.service import Service, serving
from guest_agent.engines.postgresql.names import ADMIN

ROUNDS = 15
MOST_SECONDS = 0.3
_INSTANCE = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}


def measure() -> Figure:
    with serving("local") as service:
        service.put(
            "/instances/pg", {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}
        )
        instance = service.ready("/instances/pg")
        numbers = itertools.count()
        _by_coffret(service, "warm_up")
        with psycopg.connect(
            host=service.agent("pg").run,
            port=instance["status"]["endpoints"][0]["port"],
            user=ADMIN,
            dbname="postgres",
            autocommit=True,
        ) as connection:
            value, floor = in_turns(
                ROUNDS,
                lambda: _by_coffret(service, f"db_{next(numbers)}"),
                lambda: _by_hand(connection),
            )
    met = value <= MOST_SECONDS
    return Figure("create.database", value, "s", floor, met, f"at most {MOST_SECONDS} s")


def _by_coffret(service: Service, name: str) -> float:
    began = time.perf_counter()
    service.put(f"/instances/pg/databases/{name}", {})
    service.ready(f"/instances/pg/databases/{name}")
    return time.perf_counter() - began


def _by_hand(connection: psycopg.Connection[tuple[object, ...]]) -> float:
    began = time.perf_counter()
    connection.execute("CREATE DATABASE by_hand")
    took = time.perf_counter() - began
    connection.execute("DROP DATABASE by_hand")
    return took
