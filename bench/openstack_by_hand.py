"""The floor of create.openstack: what an operator would write to make such servers once.

A plain openstacksdk script with one thread a server. It asks for the volume first and sees to the network
while Cinder makes it; it finds nothing again after a crash, and nobody can ask it to change anything.
"""

import base64
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from openstack.connection import Connection

PATIENCE = 600
POLL = 2
"""Seconds between two looks at what the cloud is at: openstacksdk's own."""
USER_DATA = base64.b64encode(b"#cloud-config\n" + b"# what a guest agent is told\n" * 100).decode()


@dataclass(frozen=True)
class Wish:
    """What each server shall be made of; ids but for the zone and the volume type."""

    image: str
    flavor: str
    network: str
    zone: str
    volume_type: str
    port: int
    allowed_cidrs: Sequence[str]


def make_all(cloud: Connection, names: Sequence[str], wish: Wish) -> float:
    """Make a server of each name with all it needs, all at once. Returns the seconds it took."""
    began = time.perf_counter()
    _each(names, lambda name: _make(cloud, name, wish))
    return time.perf_counter() - began


def delete_all(cloud: Connection, names: Sequence[str]) -> None:
    """Delete what make_all() made, or has begun to make."""
    _each(names, lambda name: _delete(cloud, name))


def _each(names: Sequence[str], act: Callable[[str], None]) -> None:
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(act, names))


def _make(cloud: Connection, name: str, wish: Wish) -> None:
    volume = cloud.block_storage.create_volume(name=name, size=1, volume_type=wish.volume_type)
    group = cloud.network.create_security_group(name=name)
    cloud.network.create_security_group_rules(
        [_rule(group.id, cidr, wish.port) for cidr in wish.allowed_cidrs]
    )
    port = cloud.network.create_port(name=name, network_id=wish.network, security_group_ids=[group.id])
    cloud.block_storage.wait_for_status(volume, "available", interval=POLL, wait=PATIENCE)
    server = cloud.compute.create_server(
        name=name,
        image_id=wish.image,
        flavor_id=wish.flavor,
        availability_zone=wish.zone,
        networks=[{"port": port.id}],
        block_device_mapping=[
            {
                "boot_index": 0,
                "uuid": wish.image,
                "source_type": "image",
                "destination_type": "local",
                "delete_on_termination": True,
            },
            {
                "boot_index": -1,
                "uuid": volume.id,
                "source_type": "volume",
                "destination_type": "volume",
                "delete_on_termination": False,
            },
        ],
        config_drive=True,
        user_data=USER_DATA,
    )
    cloud.compute.wait_for_server(server, interval=POLL, wait=PATIENCE)


def _rule(group: str, cidr: str, port: int) -> dict[str, Any]:
    return {
        "security_group_id": group,
        "direction": "ingress",
        "ether_type": "IPv6" if ":" in cidr else "IPv4",
        "protocol": "tcp",
        "port_range_min": port,
        "port_range_max": port,
        "remote_ip_prefix": cidr,
    }


def _delete(cloud: Connection, name: str) -> None:
    for server in cloud.compute.servers(name=f"^{name}$"):
        cloud.compute.delete_server(server)
        cloud.compute.wait_for_delete(server, interval=POLL, wait=PATIENCE)
    for volume in cloud.block_storage.volumes(name=name):
        cloud.block_storage.wait_for_status(volume, "available", interval=POLL, wait=PATIENCE)
        cloud.block_storage.delete_volume(volume.id)
        cloud.block_storage.wait_for_delete(volume, interval=POLL, wait=PATIENCE)
    for port in cloud.network.ports(name=name):
        cloud.network.delete_port(port)
    for group in cloud.network.security_groups(name=name):
        cloud.network.delete_security_group(group)
