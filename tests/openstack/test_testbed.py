"""The test bed has what the tests of Coffret on OpenStack need."""

import uuid
from collections.abc import Callable, Iterator

import pytest
from openstack.block_storage.v3.volume import Volume
from openstack.compute.v2.server import Server
from openstack.connection import Connection
from openstack.network.v2.port import Port

pytestmark = [pytest.mark.openstack, pytest.mark.slow]

SECONDS = 90


def test_it_has_flavors_with_much_memory_for_each_cpu(cloud_connection: Connection) -> None:
    memory = {flavor.name: flavor.ram / flavor.vcpus for flavor in cloud_connection.compute.flavors()}
    assert memory["db.highmem.medium"] >= 8 * memory["db.medium"]
    assert memory["db.tiny"] <= memory["db.small"]


def test_it_has_a_fake_and_an_emulated_zone(cloud_connection: Connection) -> None:
    zones = {zone.name: zone.state["available"] for zone in cloud_connection.compute.availability_zones()}
    assert zones["fake"]
    assert zones["lab"]


def test_it_has_a_network_of_the_operator_and_one_of_another_project(cloud_connection: Connection) -> None:
    operators = cloud_connection.network.find_network("lab-net", ignore_missing=False)
    projects = cloud_connection.network.find_network("demo-net", ignore_missing=False)
    assert operators.is_shared
    assert operators.is_router_external
    assert not projects.is_shared
    assert projects.project_id != cloud_connection.current_project_id


def test_it_has_an_image_that_is_ready(cloud_connection: Connection) -> None:
    assert cloud_connection.image.find_image("tiny", ignore_missing=False).status == "active"


@pytest.fixture
def name(cloud_connection: Connection) -> Iterator[str]:
    """The name of all that a test makes; in the end nothing of it is left."""
    name = f"testbed-{uuid.uuid4().hex[:8]}"
    yield name
    delete_all(cloud_connection, name)


def delete_all(connection: Connection, name: str) -> None:
    compute, storage, network = connection.compute, connection.block_storage, connection.network
    for server in compute.servers(name=name):
        compute.delete_server(server)
        compute.wait_for_delete(server, interval=0.5, wait=SECONDS)
    for volume in storage.volumes(name=name):
        storage.wait_for_status(volume, "available", interval=0.5, wait=SECONDS)
        storage.delete_volume(volume)
        storage.wait_for_delete(volume, interval=0.5, wait=SECONDS)
    for port in network.ports(name=name):
        network.delete_port(port)


@pytest.fixture
def port(cloud_connection: Connection, name: str) -> Port:
    """A port of our project on another project's network, as Coffret makes them."""
    network = cloud_connection.network.find_network("demo-net", ignore_missing=False)
    return cloud_connection.network.create_port(name=name, network_id=network.id)


@pytest.fixture
def server(cloud_connection: Connection, name: str, port: Port) -> Server:
    """A server on the fake compute, ACTIVE."""
    server = cloud_connection.compute.create_server(
        name=name,
        image_id=cloud_connection.image.find_image("tiny", ignore_missing=False).id,
        flavor_id=cloud_connection.compute.find_flavor("db.highmem.large", ignore_missing=False).id,
        networks=[{"port": port.id}],
        availability_zone="fake",
    )
    return cloud_connection.compute.wait_for_server(server, interval=0.5, wait=SECONDS)


@pytest.fixture
def attached(cloud_connection: Connection, name: str, server: Server) -> Callable[[str], Volume]:
    """Makes a volume of 1 GiB of a type and attaches it to the server."""
    storage = cloud_connection.block_storage

    def attach(volume_type: str) -> Volume:
        volume = storage.create_volume(name=name, size=1, volume_type=volume_type)
        storage.wait_for_status(volume, "available", interval=0.5, wait=SECONDS)
        cloud_connection.compute.create_volume_attachment(server, volume_id=volume.id)
        return storage.wait_for_status(volume, "in-use", interval=0.5, wait=SECONDS)

    return attach


def grown(connection: Connection, volume: Volume) -> int:
    """Ask for 2 GiB while it is attached; its size in GiB once Cinder is done with it."""
    storage = connection.block_storage
    storage.extend_volume(volume, 2)
    volume = storage.get_volume(volume.id)
    return storage.wait_for_status(volume, "in-use", interval=0.5, wait=SECONDS).size


def test_a_volume_of_rbd_grows_while_it_is_attached(
    cloud_connection: Connection, attached: Callable[[str], Volume]
) -> None:
    assert grown(cloud_connection, attached("rbd")) == 2


def test_a_volume_of_rbd_offline_does_not(
    cloud_connection: Connection, attached: Callable[[str], Volume]
) -> None:
    assert grown(cloud_connection, attached("rbd-offline")) == 1


def test_what_was_deleted_is_gone(
    cloud_connection: Connection, name: str, port: Port, attached: Callable[[str], Volume]
) -> None:
    attached("rbd")
    delete_all(cloud_connection, name)
    assert not list(cloud_connection.compute.servers(name=name))
    assert not list(cloud_connection.block_storage.volumes(name=name))
    assert not list(cloud_connection.network.ports(name=name))
