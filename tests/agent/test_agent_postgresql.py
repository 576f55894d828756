"""The whole guest with a real PostgreSQL, from an empty home to SQL and back."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from agent_home import AGENT, Guest, running, until
from fake_control_plane import ControlPlane
from fake_engine import database, directive, user
from scramp import ScramMechanism
from scramp.utils import b64enc

from guest_agent import process
from guest_agent.engines.base import Home
from guest_agent.engines.postgresql import PostgreSQL, find_binaries
from guest_agent.protocol import DesiredEngine

PASSWORD = "correct horse"


def verifier(password: str) -> str:
    """https://www.postgresql.org/docs/current/catalog-pg-authid.html"""
    salt, stored, server, iterations = ScramMechanism("SCRAM-SHA-256").make_auth_info(password)
    return f"SCRAM-SHA-256${iterations}:{b64enc(salt)}${b64enc(stored)}:{b64enc(server)}"


@pytest.fixture
def guest(tmp_path: Path, make_home: Callable[..., Home]) -> Iterator[tuple[Guest, ControlPlane]]:
    plane = ControlPlane()
    guest = Guest(tmp_path, plane, PostgreSQL(make_home(find_binaries("18"))), AGENT)
    yield guest, plane
    guest.close()
    plane.down()


def test_from_an_empty_home_to_sql_through_kills_drift_and_restart(
    guest: tuple[Guest, ControlPlane],
    free_port: Callable[[], int],
    desired_engine: Callable[..., DesiredEngine],
) -> None:
    agent_home, plane = guest
    port = free_port()

    def want(etag: str, **changes: Any) -> None:
        plane.want(
            directive(
                etag,
                engine=cast(dict[str, Any], desired_engine("postgresql", "18", port)),
                databases=[database("app", owner="ada")],
                users=[user("ada", verifier=verifier_of_ada)],
                **changes,
            )
        )

    def ask(sql: str) -> Any:
        with psycopg.connect(
            host="127.0.0.1", port=port, user="ada", password=PASSWORD, dbname="app"
        ) as connection:
            answer = connection.execute(sql)
            return answer.fetchall() if answer.description else None

    verifier_of_ada = verifier(PASSWORD)
    pid_file = agent_home.engine.home.run / "postgres.pid"

    want("a", parameters={"work_mem": "5MB"})
    agent = agent_home.start()
    report = plane.wait_for(running("a"), 30)
    assert [outcome["done"] for outcome in (*report["databases"], *report["users"])] == [True] * 2
    assert report["engine"]["version"].startswith("18.")
    assert report["volume_used"] > 10_000_000
    ask("CREATE TABLE kept (n int)")
    ask("INSERT INTO kept VALUES (7)")
    assert ask("SHOW work_mem") == [("5MB",)]

    want("b", parameters={"max_connections": "42"})
    report = plane.wait_for(running("b"))
    assert [p["name"] for p in report["configuration"]["pending_restart"]] == ["max_connections"]
    want("c", parameters={"max_connections": "42"}, restart="r-1")
    report = plane.wait_for(running("c"), 20)
    assert report["restart_done"] == "r-1"
    assert report["configuration"]["in_sync"]
    assert ask("SELECT n, current_setting('max_connections') FROM kept") == [(7, "42")]

    postmaster = process.find(pid_file)
    assert postmaster
    os.kill(postmaster.pid, signal.SIGKILL)
    plane.wait_for(lambda report: report["engine"]["restarts"] == 3 and running("c")(report), 20)
    assert ask("SELECT n FROM kept") == [(7,)]

    postmaster = process.find(pid_file)
    agent.kill()
    agent.wait()
    agent_home.engine.drop_database("app")
    agent_home.start()
    plane.wait_for(lambda report: any("app" in sentence for sentence in report["repairs"]))
    until(lambda: ask("SELECT 1") == [(1,)])
    assert process.find(pid_file) == postmaster

    assert agent_home.stop() == 0
    assert process.find(pid_file) is None
    assert PASSWORD not in agent_home.log
    assert verifier_of_ada not in agent_home.log
