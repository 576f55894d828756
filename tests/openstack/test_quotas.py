"""A quota that is used up is said in the cloud's words; once there is room, it goes on."""

import contextlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import openstack
import pytest
from drivers import Drivers, network
from openstack.connection import Connection

from control_plane.clouds.base import CloudError

pytestmark = pytest.mark.openstack

AGAIN = r"tried again until there is room"


@pytest.fixture(scope="module")
def operator(cloud_connection: Connection) -> Iterator[Connection]:
    """The operator of the test bed."""
    with openstack.connect(cloud="lab-admin") as connection:
        yield connection


@pytest.fixture(scope="module")
def drivers(operator: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drivers]:
    """In a service project of their own, so that its quotas are nobody else's."""
    name, identity = f"test-{uuid.uuid4().hex[:8]}", operator.identity
    folder: Path = tmp_path_factory.mktemp("cloud")
    with contextlib.ExitStack() as ending, pytest.MonkeyPatch.context() as environment:
        project = identity.create_project(name=name)
        ending.callback(identity.delete_project, project)
        user = identity.create_user(name=name, password=name, default_project_id=project.id)
        ending.callback(identity.delete_user, user)
        identity.assign_project_role_to_user(project, user, identity.find_role("admin"))
        login = operator.config.auth | {"username": name, "password": name, "project_name": name}
        own = {"region_name": operator.config.region_name, "auth": login}
        (folder / "clouds.yaml").write_text(json.dumps({"clouds": {"own": own}}))
        environment.setenv("OS_CLIENT_CONFIG_FILE", str(folder / "clouds.yaml"))
        environment.setenv("OS_CLOUD", "own")
        made = Drivers()
        ending.callback(_delete_groups, operator, project.id)
        ending.callback(made.clean)
        yield made


def _delete_groups(operator: Connection, project_id: str) -> None:
    """Neutron gives every project a default group, and keeps it when the project goes."""
    for group in operator.network.security_groups(project_id=project_id):
        operator.network.delete_security_group(group)


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
