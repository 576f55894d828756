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
CUT_OFF = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
"""What a client sees of a death: no answer, or half of one."""
LIVES = 20
"""More than it should take to make the instance, or to delete it."""
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
        if not self.fault or arguments[0] != "serve":
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

    def suffers(self, fault: str, until: Callable[[], bool]) -> None:
        """Live with the fault until that is so; a life ends once it was hit, so no pause grows."""

        def ends() -> bool:
            return self.is_dead() or len(self.hits()) > before or until()

        for _ in range(LIVES):
            before = len(self.hits())
            self.live(fault)
            eventually(ends, SECONDS, 0.2)
            if not self.is_dead() and until():
                return
        raise AssertionError(f"{LIVES} lives were not enough; hit were {self.hits()}")

    def is_asked(self) -> None:
        """For the instance; it may die of that."""
        eventually(self.answers, SECONDS)
        tiny = self.connection.image.find_image("tiny", ignore_missing=False)
        network = self.connection.network.find_network("demo-net", ignore_missing=False)
        self.put("/datastores/postgresql/versions/18", {"image": tiny.id})
        with contextlib.suppress(*CUT_OFF):
            self.put(
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

    def is_made(self) -> bool:
        with contextlib.suppress(*CUT_OFF):
            return bool(condition(self.instance("orders"))["status"] == "True")
        return False

    def is_made_when_asked_again(self) -> bool:
        """Without the growing pauses after each failure."""
        made = self.is_made()
        if not made and not self.is_dead():
            with contextlib.suppress(*CUT_OFF):
                if condition(self.instance("orders"))["message"]:
                    self.look_again("orders")
        return made

    def is_gone(self) -> bool:
        with contextlib.suppress(*CUT_OFF):
            return self.call("GET", ORDERS).status_code == 404
        return False

    def counted(self) -> dict[str, int]:
        return dict(Counter(kind for kind, _ in self.objects()))


@pytest.fixture
def coffret(cloud_connection: Connection) -> Iterator[Mortal]:
    """Not alive yet; it has a token of the project whose network the instance is put on."""
    deployment = Mortal(cloud_connection)
    deployment.log_of_faults.touch()
    project = cloud_connection.network.find_network("demo-net", ignore_missing=False).project_id
    create = deployment.command("token", "create", "test", "--role", "admin", "--project", project)
    made = subprocess.run(create, env=deployment.environment, check=True, capture_output=True, text=True)
    deployment.session.headers["Authorization"] = f"Bearer {made.stdout.strip()}"
    try:
        yield deployment
    finally:
        deployment.live("")
        eventually(deployment.answers, SECONDS)
        deployment.clean()


def test_killed_after_each_request_it_makes_and_deletes_all_once(coffret: Mortal) -> None:
    coffret.live("killed")
    coffret.is_asked()
    coffret.suffers("killed", coffret.is_made)
    assert sorted(coffret.hits()) == sorted(MAKING)
    assert coffret.counted() == ALL
    assert len(coffret.server(coffret.instance("orders")["id"]).attached_volumes) == 1

    with contextlib.suppress(*CUT_OFF):
        coffret.call("DELETE", ORDERS)
    coffret.suffers("killed", coffret.is_gone)
    assert sorted(coffret.hits()) == sorted(MAKING | DELETING)
    assert coffret.counted() == {}


@pytest.mark.slow
def test_a_cloud_that_fails_and_loses_answers_gets_all_once(coffret: Mortal) -> None:
    coffret.live("failing")
    coffret.is_asked()
    eventually(coffret.is_made_when_asked_again, 2 * SECONDS, 0.5)
    met = Counter(coffret.hits())
    assert {kind for kind, times in met.items() if times == 2} == MAKING
    assert coffret.counted() == ALL

    coffret.call("DELETE", ORDERS)
    coffret.suffers("failing", coffret.is_gone)
    met = Counter(coffret.hits())
    assert {kind for kind, times in met.items() if times == 2} == MAKING | DELETING
    assert coffret.counted() == {}
