"""A real `coffret serve` on the OpenStack that OS_CLOUD names, and what it made there."""

import json
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openstack.block_storage.v3.volume import Volume
from openstack.compute.v2.server import Server
from openstack.connection import Connection
from serving import Serving, eventually

SECONDS = 120
"""For the slowest of clouds to do one thing."""


class Deployment(Serving):
    """Its objects carry a name of their own; `clean` leaves none of them."""

    def __init__(self, connection: Connection, **settings: str) -> None:
        self.name = f"test-{uuid.uuid4().hex[:8]}"
        self.connection = connection
        folder = Path(tempfile.mkdtemp(prefix=f"coffret-{self.name}-"))
        super().__init__(folder, COFFRET_CLOUD="openstack", COFFRET_DEPLOYMENT=self.name, **settings)

    def has_cloud_objects(self, name: str, seconds: float = SECONDS) -> dict[str, Any]:
        """The instance, once its cloud objects are as wanted."""

        def look() -> dict[str, Any] | None:
            instance = self.instance(name)
            return instance if condition(instance)["status"] == "True" else None

        return dict(eventually(look, seconds, 0.5))

    def says(self, name: str, *words: str, seconds: float = SECONDS) -> str:
        """What the instance says of its cloud objects, once it has all the words."""

        def look() -> str | None:
            message: str = condition(self.instance(name))["message"]
            return message if all(word in message for word in words) else None

        return str(eventually(look, seconds, 0.5))

    def instance(self, name: str) -> dict[str, Any]:
        answer = self.call("GET", f"/instances/{name}")
        assert answer.ok, answer.text
        return dict(answer.json())

    def change(self, name: str, /, **fields: Any) -> None:
        answer = self.call("PATCH", f"/instances/{name}", fields)
        assert answer.ok, answer.text

    def look_again(self, name: str) -> None:
        """Have it reconciled now, as else it is every ten minutes."""
        self.change(name, labels={"looked": uuid.uuid4().hex})

    def remove(self, name: str, seconds: float = SECONDS) -> None:
        """Delete the instance and wait until it is gone."""
        assert self.call("DELETE", f"/instances/{name}").status_code in (202, 204)
        eventually(lambda: self.call("GET", f"/instances/{name}").status_code == 404, seconds, 0.5)

    def servers(self, instance_id: str) -> list[Server]:
        return list(self.connection.compute.servers(tags=f"coffret-instance:{instance_id}"))

    def server(self, instance_id: str) -> Server:
        """The one server; fails when there are several."""
        (server,) = self.servers(instance_id)
        return server

    def volumes(self, instance_id: str) -> list[Volume]:
        query = json.dumps({"coffret_instance": instance_id})
        return list(self.connection.block_storage.volumes(properties=query))

    def volume(self, instance_id: str) -> Volume:
        (volume,) = self.volumes(instance_id)
        return volume

    def ports(self, instance_id: str) -> list[Any]:
        return [port for port in self.connection.network.ports() if instance_id in port.name]

    def security_groups(self, instance_id: str) -> list[Any]:
        groups = self.connection.network.security_groups()
        return [group for group in groups if instance_id in group.name]

    def actions(self, instance_id: str) -> list[str]:
        """What was asked of Nova for the server, the oldest first."""
        server = self.server(instance_id)
        return [item.action for item in self.connection.compute.server_actions(server)][::-1]

    def objects(self) -> list[tuple[str, str]]:
        """Kind and name of all that the deployment has on the cloud, looked for by whatever it carries."""
        connection, found = self.connection, list[tuple[str, str]]()
        for kind, items in (
            ("server", connection.compute.servers()),
            ("server group", connection.compute.server_groups()),
            ("volume", connection.block_storage.volumes()),
            ("port", connection.network.ports(project_id=connection.current_project_id)),
            ("security group", connection.network.security_groups()),
            ("floating IP", connection.network.ips()),
        ):
            found += [(kind, item.name) for item in items if self.name in json.dumps(item.to_dict())]
        return found

    def wait_for_server(self, instance_id: str, status: str) -> Server:
        def look() -> Server | None:
            server = self.server(instance_id)
            return server if server.status == status and not server.task_state else None

        found: Server = eventually(look, SECONDS, 0.5)
        return found

    def clean(self) -> None:
        """Delete the instances through the API and, should that fail, what they left."""
        try:
            if self.process is not None and self.process.poll() is None:
                instances = self.call("GET", "/instances").json()["items"]
                for instance in instances:
                    if instance["deletion_protection"]:
                        self.change(instance["name"], deletion_protection=False)
                    self.call("DELETE", f"/instances/{instance['name']}")
                eventually(lambda: not self.call("GET", "/instances").json()["items"], SECONDS, 0.5)
            assert self.objects() == []
        finally:
            if self.process is not None and self.process.poll() is None:
                self.stop()
            self._wipe()
            shutil.rmtree(self.folder)

    def _wipe(self) -> None:
        compute, storage, network = (
            self.connection.compute,
            self.connection.block_storage,
            self.connection.network,
        )
        for server in compute.servers(tags=f"coffret:{self.name}"):
            compute.delete_server(server, force=True)
        gone: Callable[[], bool] = lambda: not list(compute.servers(tags=f"coffret:{self.name}"))  # noqa: E731
        eventually(gone, SECONDS, 0.5)
        for volume in storage.volumes(properties=json.dumps({"coffret_deployment": self.name})):
            for attachment in storage.attachments(volume_id=volume.id):
                storage.delete_attachment(attachment)
            storage.delete_volume(volume)
        for group in compute.server_groups():
            if self.name in group.name:
                compute.delete_server_group(group)
        for port in network.ports(project_id=self.connection.current_project_id):
            if self.name in port.description:
                network.delete_port(port)
        for group in network.security_groups():
            if self.name in group.description:
                network.delete_security_group(group)


def condition(instance: dict[str, Any]) -> dict[str, Any]:
    """How its cloud objects are."""
    found = (each for each in instance["status"]["conditions"] if each["type"] == "CloudReady")
    return dict(next(found))


def holds_for(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether it is true now and stays so."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not holds():
            return False
        time.sleep(0.5)
    return True
