"""Many instances at once, wishes that change while the cloud is at work, and a cloud that is full."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openstack
import pytest
from deployments import SECONDS, Deployment, condition
from openstack.connection import Connection
from projects import OwnProject, own_project
from serving import eventually

pytestmark = pytest.mark.openstack

MANY = 20
LONGEST = 600
"""Seconds in which the cloud makes so many, or deletes them."""
SLOWEST_GET = 1.0
"""Seconds for all but one in a hundred; the machine is the cloud's too."""


@pytest.fixture
def body(cloud_connection: Connection) -> dict[str, Any]:
    """What is asked for a small instance."""
    network = cloud_connection.network.find_network("lab-net", ignore_missing=False)
    return {
        "datastore": "postgresql",
        "version": "18",
        "flavor": "db.tiny",
        "volume": {"size": 1, "type": "rbd"},
        "network": {"network_id": network.id},
        "access": {"allowed_cidrs": ["10.0.0.0/8"]},
        "availability_zone": "fake",
    }


def test_twenty_at_once_are_all_made_once_and_deleted_and_the_api_answers_meanwhile(
    coffret: Deployment, body: dict[str, Any]
) -> None:
    names = [f"pg-{number}" for number in range(MANY)]
    took: list[float] = []

    def instances() -> list[dict[str, Any]]:
        began = time.perf_counter()
        answer = coffret.call("GET", "/instances?limit=100")
        took.append(time.perf_counter() - began)
        assert answer.ok
        return list(answer.json()["items"])

    def all_made() -> bool:
        return all(condition(instance)["status"] == "True" for instance in instances())

    with ThreadPoolExecutor(MANY) as pool:
        list(pool.map(lambda name: coffret.put(f"/instances/{name}", body), names))
        eventually(all_made, LONGEST, 0.1)
        ids = {instance["id"] for instance in instances()}
        assert len(ids) == MANY
        assert {len(kinds) for kinds in owned(coffret, ids).values()} == {4}
        assert Counter(kind for kind, _ in coffret.objects()) == dict.fromkeys(
            ("server", "volume", "port", "security group"), MANY
        )

        list(pool.map(lambda name: coffret.call("DELETE", f"/instances/{name}"), names))
        eventually(lambda: not instances(), LONGEST, 0.1)
    assert coffret.objects() == []
    took.sort()
    assert took[len(took) * 99 // 100] < SLOWEST_GET, f"of {len(took)}: {took[-10:]}"


def owned(coffret: Deployment, ids: set[str]) -> dict[str, set[str]]:
    """The kinds of objects that each instance has, by what they carry of its id."""
    connection = coffret.connection
    found: dict[str, set[str]] = {instance_id: set() for instance_id in ids}
    for server in connection.compute.servers(tags=f"coffret:{coffret.name}"):
        instance_id = server.metadata["coffret_instance"]
        (volume,) = server.attached_volumes
        assert connection.block_storage.get_volume(volume["id"]).metadata["coffret_instance"] == instance_id
        assert server.status == "ACTIVE"
        found[instance_id] |= {"server", "volume"}
    for instance_id in ids:
        (port,) = coffret.ports(instance_id)
        (group,) = coffret.security_groups(instance_id)
        assert port.security_group_ids == [group.id]
        found[instance_id] |= {"port", "security group"}
    return found


def left(coffret: Deployment, instance_id: str) -> list[Any]:
    """What the cloud has of the instance."""
    looks = (coffret.servers, coffret.volumes, coffret.ports, coffret.security_groups)
    return [item for look in looks for item in look(instance_id)]


def building(coffret: Deployment, name: str) -> str:
    """Id of the instance, once Nova builds its server."""
    instance_id = str(coffret.instance(name)["id"])

    def builds() -> bool:
        servers = coffret.servers(instance_id)
        assert all(server.status == "BUILD" for server in servers), "it was built before it was seen"
        return bool(servers)

    eventually(builds, SECONDS)
    return instance_id


@pytest.mark.slow
def test_another_flavor_while_its_server_is_built_is_what_it_gets(
    coffret: Deployment, body: dict[str, Any]
) -> None:
    coffret.put("/instances/hasty", body)
    instance_id = building(coffret, "hasty")
    coffret.change("hasty", flavor="db.small", name="changed", volume={"size": 2, "type": "rbd"})
    instance = coffret.has_cloud_objects("changed")
    server = coffret.server(instance_id)
    assert (server.name, server.flavor.original_name, server.status) == ("changed", "db.small", "ACTIVE")
    assert coffret.volume(instance_id).size == 2
    assert instance["status"]["observed_generation"] in (0, instance["generation"])
    coffret.remove("changed")


@pytest.mark.slow
def test_deleted_while_its_server_is_built_it_leaves_nothing(
    coffret: Deployment, body: dict[str, Any]
) -> None:
    coffret.put("/instances/regretted", body)
    instance_id = building(coffret, "regretted")
    coffret.remove("regretted")
    assert left(coffret, instance_id) == []


@pytest.mark.slow
def test_deleted_before_the_cloud_was_asked_for_much_it_leaves_nothing(
    coffret: Deployment, body: dict[str, Any]
) -> None:
    for number in range(5):
        instance_id = coffret.put("/instances/brief", body)["id"]
        time.sleep(number / 3)
        coffret.remove("brief")
        assert left(coffret, instance_id) == []


@pytest.fixture(scope="module")
def project(admin: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnProject]:
    with own_project(admin, tmp_path_factory.mktemp("cloud")) as project:
        yield project


@pytest.fixture(scope="module")
def cramped(project: OwnProject) -> Iterator[Deployment]:
    """A control plane whose service project has quotas of its own."""
    with pytest.MonkeyPatch.context() as environment:
        for variable, value in project.environment.items():
            environment.setenv(variable, value)
        connection = openstack.connect()
        deployment = Deployment(connection)
        try:
            deployment.start()
            tiny = connection.image.find_image("tiny", ignore_missing=False)
            deployment.put("/datastores/postgresql/versions/18", {"image": tiny.id})
            yield deployment
        finally:
            deployment.clean()
            connection.close()


def limit_servers(admin: Connection, project_id: str, limit: int) -> None:
    admin.compute.update_quota_set(project_id, instances=limit)


def limit_memory(admin: Connection, project_id: str, limit: int) -> None:
    memory_of_tiny = 512
    admin.compute.update_quota_set(project_id, ram=limit if limit < 0 else limit * memory_of_tiny)


def limit_volumes(admin: Connection, project_id: str, limit: int) -> None:
    admin.block_storage.update_quota_set(project_id, volumes=limit)


def limit_storage(admin: Connection, project_id: str, limit: int) -> None:
    admin.block_storage.update_quota_set(project_id, gigabytes=limit)


def limit_ports(admin: Connection, project_id: str, limit: int) -> None:
    admin.network.update_quota(project_id, ports=limit)


@pytest.fixture
def steady(cramped: Deployment, body: dict[str, Any]) -> str:
    """Name of an instance that had its room before."""
    cramped.put("/instances/steady", body)
    return str(cramped.has_cloud_objects("steady")["name"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "who"),
    [
        (limit_servers, "Nova"),
        (limit_memory, "Nova"),
        (limit_volumes, "Cinder"),
        (limit_storage, "Cinder"),
        (limit_ports, "Neutron"),
    ],
)
def test_when_a_quota_is_used_up_it_says_so_and_goes_on_by_itself_once_there_is_room(
    cramped: Deployment,
    project: OwnProject,
    admin: Connection,
    steady: str,
    body: dict[str, Any],
    limit: Callable[[Connection, str, int], None],
    who: str,
) -> None:
    limit(admin, project.id, 1)
    try:
        cramped.put("/instances/waiting", body)
        said = cramped.says("waiting", "uota", "tried again until there is room")
        assert said.startswith(f"{who} says: ")
        instance = cramped.instance("waiting")
        assert (instance["status"]["phase"], condition(instance)["reason"]) == ("BUILD", "Retrying")
        cramped.change(steady, access={"allowed_cidrs": [f"10.0.{len(who)}.0/24"]})
        cramped.has_cloud_objects(steady)
    finally:
        limit(admin, project.id, -1)
    cramped.has_cloud_objects("waiting")
    cramped.server(instance["id"])
    cramped.volume(instance["id"])
    assert len(cramped.ports(instance["id"])) == 1
    cramped.remove("waiting")


@pytest.mark.slow
def test_deleted_while_it_waits_for_room_it_leaves_nothing(
    cramped: Deployment, project: OwnProject, admin: Connection, steady: str, body: dict[str, Any]
) -> None:
    limit_servers(admin, project.id, 1)
    try:
        instance_id = cramped.put("/instances/waiting", body)["id"]
        cramped.says("waiting", "uota")
        cramped.remove("waiting")
        assert left(cramped, instance_id) == []
    finally:
        limit_servers(admin, project.id, -1)
