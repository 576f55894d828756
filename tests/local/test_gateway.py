"""`coffret serve --role agents` beside a process that serves the users, each a process of its own."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from serving import Serving, eventually, served

from control_plane.agents.models import Agent
from control_plane.app import create_app
from control_plane.auth.tokens import digest
from control_plane.clouds.registry import open_cloud
from control_plane.database import db, transaction
from control_plane.instances.models import Instance
from control_plane.settings import Settings

INSTANCE = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}
VALKEY = {"datastore": "valkey", "flavor": "db.tiny", "volume": {"size": 1}}
ENGINE = {"state": "running", "version": "18.6", "started_at": None, "restarts": 1, "message": ""}
SECRET = "a-secret-of-a-test"
SOON = 5
"""Seconds in which the other process learns of a write."""


def beside(first: Serving, folder: Path, role: str, **settings: str) -> Serving:
    """Another process of the same deployment; it makes its folder."""
    folder.mkdir()
    shared = {
        "COFFRET_CLOUD": "noop",
        "COFFRET_DATABASE_URL": f"sqlite:///{first.folder}/coffret.db",
        "COFFRET_SECRETS_KEYS": f"{first.folder}/secrets.keys",
    }
    return Serving(folder, role, **shared | settings)


class Agents:
    """Agents by hand at a gateway, of instances whose rows are made here."""

    def __init__(self, api: Serving, gateway: Serving) -> None:
        self.api = api
        self.gateway = gateway
        settings = Settings(data_dir=api.folder, cloud="noop")
        self.app = create_app(settings, open_cloud(settings))
        self.pool = ThreadPoolExecutor(8)
        self.ids: dict[str, str] = {}

    def make(self, name: str) -> None:
        """An instance that is as wanted, and its agent's secret."""
        instance_id = self.ids[name] = self.api.put(f"/instances/{name}", INSTANCE)["id"]
        with self.app.app_context(), transaction() as session:
            instance = session.get_one(Instance, instance_id)
            place = {"host": "10.0.0.10", "listen": ["10.0.0.10"], "port": 5432, "rebuild": None}
            instance.cloud = place | {"server_id": "server", "flavor": instance.flavor}
            instance.cloud_generation = instance.generation
            session.add(Agent(instance_id=instance_id, secret_hash=digest(SECRET)))

    def sync(self, name: str, wait: float = 20) -> requests.Response:
        """One sync of an agent that holds the directive the instance had when it was made."""
        instance_id = self.ids[name]
        report: dict[str, Any] = {
            "protocol": 1,
            "run": "run-1",
            "sequence": 1,
            "agent_version": "0.1.0",
            "etag": f"{instance_id}-1",
            "converged_etag": f"{instance_id}-1",
            "engine": {
                "state": "running",
                "version": "18.6",
                "started_at": None,
                "restarts": 1,
                "message": "",
            },
            "volume_used": 4096,
            "configuration": {"in_sync": True, "pending_restart": [], "errors": {}},
            "restart_done": None,
            "databases": [],
            "users": [],
            "seen_databases": [],
            "seen_users": [],
            "repairs": [],
            "wait": wait,
        }
        headers = {"Authorization": f"Bearer {instance_id}.{SECRET}"}
        url = f"{self.gateway.url}/agent/v1/sync"
        return requests.post(url, json=report, headers=headers, timeout=30)

    def parked(self, name: str) -> "Future[requests.Response]":
        """The answer to come of a sync that is parked by now."""
        self.sync(name, wait=0)  # its news is taken, so that the next one is parked at once
        answer = self.pool.submit(self.sync, name)
        time.sleep(1)  # the lookout has looked, more than once
        assert not answer.done(), answer.result().text
        return answer

    def close(self) -> None:
        self.pool.shutdown()
        with self.app.app_context():
            db.session.remove()
            db.engine.dispose()


@pytest.fixture(scope="module")
def agents() -> Iterator[Agents]:
    """At a gateway that parks two of them, beside a process that serves users and nothing else.

    Shared, since the processes take long to start; each test has instances of its own.
    """
    with served() as first:
        first.role = "api"
        first.settings["COFFRET_CLOUD"] = "noop"
        first.start()
        gateway = beside(first, first.folder / "gateway", "agents", COFFRET_AGENTS_PARKED_LIMIT="2")
        gateway.start()
        found = Agents(first, gateway)
        yield found
        gateway.stop()
        found.close()


def test_an_agent_parked_at_the_gateway_learns_of_what_the_users_process_wrote(agents: Agents) -> None:
    agents.make("told")
    answer = agents.parked("told")
    began = time.monotonic()
    agents.api.put("/instances/told/databases/shop", {})
    told = answer.result(30)
    assert time.monotonic() - began < SOON
    assert [item["name"] for item in told.json()["databases"]] == ["shop"]


def test_a_client_that_waits_at_the_users_process_learns_of_a_report_to_the_gateway(agents: Agents) -> None:
    agents.make("waited-for")
    path = "/instances/waited-for?wait_for=ready&timeout=20"
    answer = agents.pool.submit(lambda: agents.api.call("GET", path))
    time.sleep(1)
    assert not answer.done()
    began = time.monotonic()
    assert agents.sync("waited-for", wait=0).status_code == 304
    assert answer.result(30).json()["status"]["ready"]
    assert time.monotonic() - began < SOON


def test_past_the_bound_an_agent_is_asked_to_come_later(agents: Agents) -> None:
    for name in ("one", "two", "three"):
        agents.make(name)
    parked = [agents.parked(name) for name in ("one", "two")]
    agents.sync("three", wait=0)
    began = time.monotonic()
    answer = agents.sync("three")
    assert time.monotonic() - began < SOON
    assert answer.status_code == 304
    assert int(answer.headers["Retry-After"]) >= 3
    for name, kept in zip(("one", "two"), parked, strict=True):
        agents.api.put(f"/instances/{name}/databases/shop", {})
        assert kept.result(30).status_code == 200


def test_a_gateway_that_ends_answers_all_who_are_parked(agents: Agents) -> None:
    for name in ("this", "that"):
        agents.make(name)
    parked = [agents.parked(name) for name in ("this", "that")]
    assert agents.gateway.process is not None
    began = time.monotonic()
    agents.gateway.process.terminate()
    for answer in parked:
        assert answer.result(30).status_code == 304
    assert time.monotonic() - began < SOON
    assert agents.gateway.process.wait(15) == 0
    assert time.monotonic() - began < 15
    agents.gateway.start()


def test_a_gateway_runs_on_greenlets_and_holds_few_connections(agents: Agents) -> None:
    agents.make("light")
    answer = agents.parked("light")
    assert agents.gateway.process is not None
    (worker,) = psutil.Process(agents.gateway.process.pid).children()
    assert worker.num_threads() <= 3, "its own, gevent's for names, and one to spare"
    files = [file.path for file in worker.open_files() if file.path.endswith("coffret.db")]
    assert len(files) <= 3
    agents.api.put("/instances/light/databases/shop", {})
    answer.result(30)


def test_a_real_agent_works_through_the_gateway_and_finds_it_again() -> None:
    with served() as whole:
        whole.launch()  # makes the file with the keys and the state
        eventually(whole.answers, 20)
        whole.stop()
        gateway = beside(whole, whole.folder / "gateway", "agents")
        whole.settings["COFFRET_AGENT_URL"] = gateway.url
        whole.start()
        gateway.start()
        whole.put("/instances/cache", VALKEY)
        whole.ready("/instances/cache")
        user = {"password": "correct horse battery", "grants": []}
        whole.put("/instances/cache/users/before", user)
        whole.ready("/instances/cache/users/before", 10)
        gateway.kill()
        whole.put("/instances/cache/users/after", user)
        gateway.start()
        whole.ready("/instances/cache/users/after", 30)
        gateway.stop()
