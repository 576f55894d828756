"""The drivers of a deployment that is a test's own, and what they made."""

import dataclasses
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from openstack.connection import Connection

from control_plane.clouds.base import CloudPending, ServerSpec
from control_plane.clouds.openstack.connection import OpenStack
from control_plane.clouds.openstack.inventory import Inventory
from control_plane.clouds.openstack.management import open_management
from control_plane.clouds.openstack.network import Network
from control_plane.clouds.openstack.networks import Networks
from control_plane.clouds.openstack.volumes import Volumes


class Drivers:
    """`calls` lists each request that was sent: its method and path."""

    def __init__(self, *, volume_type: str = "", external: str = "", management: str = "") -> None:
        self.cloud = OpenStack(f"test-{uuid.uuid4().hex[:8]}")
        self.calls: list[tuple[str, str]] = []
        self.connection.session.session.hooks["response"].append(self._count)
        opened = open_management(self.cloud, management)
        self.networks = Networks(self.cloud, external, opened.network_id if opened else None)
        self.network = Network(self.cloud, self.networks, opened)
        self.volumes = Volumes(self.cloud, volume_type, "")
        self.inventory = Inventory(self.cloud)

    @property
    def connection(self) -> Connection:
        return self.cloud.connection

    def spec(self, **changes: Any) -> ServerSpec:
        """A PostgreSQL that nobody has made yet."""
        spec = ServerSpec(
            instance_id=str(uuid.uuid4()),
            name=f"{self.cloud.deployment}-instance",
            project_id=self.cloud.project_id,
            datastore="postgresql",
            manager="postgresql",
            version="18",
            image=None,
            image_tags=[],
            flavor="db.tiny",
            ram=512,
            vcpus=1,
            volume_size=1,
            volume_type=None,
            availability_zone=None,
            is_public=False,
            allowed_cidrs=None,
        )
        return dataclasses.replace(spec, **changes)

    def delete(self, instance_id: str) -> None:
        for driver in (self.volumes, self.network):
            patiently(driver.delete, instance_id)

    def clean(self) -> None:
        for instance_id in {item.instance_id for item in self.inventory.objects()}:
            self.delete(instance_id)

    def _count(self, response: Any, **_: Any) -> None:
        self.calls.append((response.request.method, response.request.path_url))


def patiently(call: Any, *arguments: Any, **named: Any) -> Any:
    """What the call returns, as often as it takes while the cloud is at work."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return call(*arguments, **named)
        except CloudPending as pending:
            if time.monotonic() > deadline:
                raise
            time.sleep(min(pending.again, 1))


@contextmanager
def network(
    connection: Connection, *, router_to: str | None = None, ipv6: bool = True, gateway: bool = True
) -> Iterator[Any]:
    """A network of the service project's own, 10.66.0.0/24 and perhaps fd66::/64."""
    neutron, name = connection.network, f"test-{uuid.uuid4().hex[:8]}"
    made = neutron.create_network(name=name)
    router = None
    try:
        subnet = neutron.create_subnet(
            name=name,
            network_id=made.id,
            ip_version=4,
            cidr="10.66.0.0/24",
            enable_dhcp=False,
            **({} if gateway else {"gateway_ip": None}),
        )
        if ipv6:
            neutron.create_subnet(
                name=f"{name}-6", network_id=made.id, ip_version=6, cidr="fd66::/64", enable_dhcp=False
            )
        if router_to is not None:
            router = neutron.create_router(name=name, external_gateway_info={"network_id": router_to})
            neutron.add_interface_to_router(router, subnet)
        yield neutron.get_network(made.id)
    finally:
        if router is not None:
            neutron.remove_interface_from_router(router, subnet)
            neutron.delete_router(router)
        neutron.delete_network(made)
