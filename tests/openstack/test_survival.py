"""Coffret dies, or the cloud fails it, at every request that changes something: all is there, once.

One instance that has all that an instance may have is made and deleted, over many lives of the control
plane, each of which gets a little further than the one before.
"""

import contextlib
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from deployments import SECONDS, Deployment, condition
from openstack.connection import Connection
from serving import eventually

pytestmark = pytest.mark.openstack

ORDERS = "/instances/orders"
ALL = {"server": 1, "server group": 1, "volume": 1, "port": 1, "security group": 1, "floating IP": 1}
MAKING = {
    "POST /v2.0/floatingips",
    "POST /v2.0/ports",
    "POST /v2.0/security-group-rules",
    "POST /v2.0/security-groups",
    "POST /v2.1/os-server-groups",
    "POST /v2.1/servers",
    "POST /v3/*/volumes",
}
DELETING = {
    "DELETE /v2.0/floatingips/*",
    "DELETE /v2.0/ports/*",
    "DELETE /v2.0/security-groups/*",
    "DELETE /v2.1/os-server-groups/*",
    "DELETE /v3/*/volumes/*",
    "POST /v2.1/servers/*/action forceDelete",
    "POST /v2.1/servers/*/action os-stop",
}


class Mortal(Deployment):
    """A deployment that is started again and again; its lives may have a fault, as faults.py says."""

    fault = ""

    @property
    def log_of_faults(self) -> Path:
        return self.folder / "faults"

    def command(self, *arguments: str) -> list[str]:
        if not self.fault or arguments != ("serve",):
            return super().command(*arguments)
        return [sys.executable, str(Path(__file__).with_name("faults.py")), *arguments]

    def live(self, fault: str) -> None:
        """Begin the next life."""
        if not self.is_dead():
            self.stop()
        self.fault = fault
        self.settings |= {"CLOUD_FAULT": fault, "CLOUD_FAULT_LOG": str(self.log_of_faults)}
        self.launch()

    def is_dead(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def hits(self) -> list[str]:
        return self.log_of_faults.read_text().splitlines()

    def suffers(self, fault: str, until: Callable[[], bool], hits: int = 1) -> None:
        """Live with the fault until that is so; a life in which it hits so many requests ends."""

        def ends() -> bool:
            return self.is_dead() or len(self.hits()) >= before + hits or until()

        while True:
            before = len(self.hits())
            self.live(fault)
            eventually(ends, SECONDS, 0.2)
            if not self.is_dead() and until():
                return

    def is_made(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return bool(condition(self.instance("orders"))["status"] == "True")
        return False

    def is_gone(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return self.call("GET", ORDERS).status_code == 404
        return False

    def counted(self) -> dict[str, int]:
        return dict(Counter(kind for kind, _ in self.objects()))


@pytest.fixture
def coffret(cloud_connection: Connection) -> Iterator[Mortal]:
    """A control plane, with a token of the project whose network the instance is put on."""
    deployment = Mortal(cloud_connection)
    deployment.log_of_faults.touch()
    project = cloud_connection.network.find_network("demo-net", ignore_missing=False).project_id
    create = deployment.command("token", "create", "test", "--role", "admin", "--project", project)
    made = subprocess.run(create, env=deployment.environment, check=True, capture_output=True, text=True)
    deployment.session.headers["Authorization"] = f"Bearer {made.stdout.strip()}"
    try:
        deployment.start()
        tiny = cloud_connection.image.find_image("tiny", ignore_missing=False)
        deployment.put("/datastores/postgresql/versions/18", {"image": tiny.id})
        yield deployment
    finally:
        deployment.live("")
        eventually(deployment.answers, SECONDS)
        deployment.clean()


@pytest.fixture
def orders(coffret: Mortal) -> Mortal:
    """The control plane once an instance is asked for, and before the cloud was."""
    network = coffret.connection.network.find_network("demo-net", ignore_missing=False)
    coffret.live("killed")
    eventually(coffret.answers, SECONDS)
    with contextlib.suppress(requests.ConnectionError):
        coffret.put(
            ORDERS,
            {
                "datastore": "postgresql",
                "version": "18",
                "flavor": "db.tiny",
                "volume": {"size": 1, "type": "rbd"},
                "network": {"network_id": network.id},
                "access": {"is_public": True, "allowed_cidrs": ["10.0.0.0/8"]},
                "server_group": {"name": "spread", "policy": "soft-anti-affinity"},
                "availability_zone": "fake",
            },
        )
    eventually(coffret.is_dead, SECONDS)
    return coffret


def test_killed_after_each_request_it_makes_and_deletes_all_once(orders: Mortal) -> None:
    orders.suffers("killed", orders.is_made)
    assert sorted(orders.hits()) == sorted(MAKING)
    assert orders.counted() == ALL
    assert len(orders.server(orders.instance("orders")["id"]).attached_volumes) == 1

    with contextlib.suppress(requests.ConnectionError):
        orders.call("DELETE", ORDERS)
    orders.suffers("killed", orders.is_gone)
    assert sorted(orders.hits()) == sorted(MAKING | DELETING)
    assert orders.counted() == {}


def test_a_cloud_that_fails_and_loses_answers_gets_all_once(orders: Mortal) -> None:
    orders.suffers("failing", orders.is_made, hits=8)
    met = Counter(orders.hits())
    assert set(met) >= MAKING
    assert orders.counted() == ALL

    orders.call("DELETE", ORDERS)
    orders.suffers("failing", orders.is_gone, hits=4)
    met = Counter(orders.hits())
    assert set(met) >= DELETING
    assert orders.counted() == {}
