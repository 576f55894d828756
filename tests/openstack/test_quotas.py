"""A quota that is used up is said in the cloud's words; once there is room, it goes on."""

from collections.abc import Iterator

import openstack
import pytest
from drivers import Drivers, network
from openstack.connection import Connection
from projects import own_project

from control_plane.clouds.base import CloudError

pytestmark = [pytest.mark.openstack, pytest.mark.slow]

AGAIN = r"tried again until there is room"


@pytest.fixture(scope="module")
def operator(cloud_connection: Connection) -> Iterator[Connection]:
    """The operator of the test bed."""
    with openstack.connect(cloud="lab-admin") as connection:
        yield connection


@pytest.fixture(scope="module")
def drivers(operator: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drivers]:
    """In a service project of their own, so that its quotas are nobody else's."""
    with (
        own_project(operator, tmp_path_factory.mktemp("cloud")) as project,
        pytest.MonkeyPatch.context() as environment,
    ):
        for variable, value in project.environment.items():
            environment.setenv(variable, value)
        made = Drivers()
        try:
            yield made
        finally:
            made.clean()


def test_ports(operator: Connection, drivers: Drivers) -> None:
    with network(drivers.connection, ipv6=False) as place:
        spec = drivers.spec(network={"network_id": place.id})
        operator.network.update_quota(drivers.cloud.project_id, ports=0)
        with pytest.raises(CloudError, match=rf"^Neutron says: .*Quota exceeded.*'port'.*{AGAIN}"):
            drivers.network.ensure(spec)
        operator.network.update_quota(drivers.cloud.project_id, ports=-1)
        port = drivers.network.ensure(spec)
        assert [item.id for item in drivers.inventory.objects() if item.kind == "port"] == [port.id]
        drivers.network.delete(spec.instance_id)


@pytest.mark.parametrize("quota", ["security_groups", "security_group_rules"])
def test_security_groups(operator: Connection, drivers: Drivers, quota: str) -> None:
    with network(drivers.connection, ipv6=False) as place:
        spec = drivers.spec(network={"network_id": place.id})
        operator.network.update_quota(drivers.cloud.project_id, **{quota: 0})
        with pytest.raises(CloudError, match=rf"^Neutron says: .*Quota exceeded.*{AGAIN}"):
            drivers.network.ensure(spec)
        operator.network.update_quota(drivers.cloud.project_id, **{quota: -1})
        drivers.network.ensure(spec)
        kinds = sorted(item.kind for item in drivers.inventory.objects())
        assert kinds == ["port", "security group"]
        drivers.network.delete(spec.instance_id)


def test_volumes(operator: Connection, drivers: Drivers) -> None:
    spec, project = drivers.spec(), drivers.cloud.project_id
    operator.block_storage.update_quota_set(project, volumes=0)
    with pytest.raises(CloudError, match=rf"^Cinder says: .*{AGAIN}"):
        drivers.volumes.ensure(spec, known=None)
    operator.block_storage.update_quota_set(project, volumes=-1)
    volume = drivers.volumes.ensure(spec, known=None)
    while not volume.ready:
        volume = drivers.volumes.ensure(spec, known=None)
    assert len(drivers.inventory.objects()) == 1
