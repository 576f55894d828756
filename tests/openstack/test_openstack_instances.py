"""Instances on a real OpenStack, in the zone `fake`: servers are ACTIVE in seconds and nothing boots.

So no agent ever reports, and the tests wait for the condition CloudReady.
"""

import base64
import contextlib
import json
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from deployments import SECONDS, Deployment, condition, holds_for
from openstack.connection import Connection
from serving import eventually

pytestmark = pytest.mark.openstack


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
        "availability_zone": "fake",
    }


@pytest.fixture
def make(coffret: Deployment, body: dict[str, Any]) -> Iterator[Callable[..., dict[str, Any]]]:
    """Make an instance of the name, changed by keywords, and wait for its cloud objects."""
    names = []

    def made(name: str, **changes: Any) -> dict[str, Any]:
        names.append(name)
        coffret.put(f"/instances/{name}", body | changes)
        return coffret.has_cloud_objects(name)

    yield made
    for name in names:
        coffret.remove(name)


def test_an_instance_is_one_server_with_one_volume_and_one_port(
    coffret: Deployment, make: Callable[..., dict[str, Any]]
) -> None:
    instance = make("orders")
    server, volume = coffret.server(instance["id"]), coffret.volume(instance["id"])
    (port,) = coffret.ports(instance["id"])
    assert (server.name, server.status) == ("orders", "ACTIVE")
    assert server.flavor.original_name == "db.tiny"
    assert server.availability_zone == "fake"
    assert server.has_config_drive
    assert server.key_name is None
    assert server.metadata["coffret_deployment"] == coffret.name
    assert [item["id"] for item in server.attached_volumes] == [volume.id]
    assert not server.attached_volumes[0]["delete_on_termination"]
    assert (volume.size, volume.status) == (1, "in-use")
    assert port.device_id == server.id
    assert instance["status"]["endpoints"][0]["host"] == port.fixed_ips[0]["ip_address"]


def told(coffret: Deployment, instance_id: str) -> dict[str, Any]:
    """The settings in the server's user-data, which Nova shows the service project."""
    config = base64.b64decode(coffret.server(instance_id).user_data).decode()
    files = {file["path"]: file["content"] for file in yaml.safe_load(config)["write_files"]}
    return dict(json.loads(files["/var/lib/coffret/agent/agent.json"]))


@pytest.mark.slow
def test_its_user_data_tells_the_agent_its_instance_and_its_volume(
    coffret: Deployment, make: Callable[..., dict[str, Any]]
) -> None:
    instance = make("told")
    settings = told(coffret, instance["id"])
    assert settings["instance_id"] == instance["id"]
    assert settings["volume_id"] == coffret.volume(instance["id"]).id
    assert settings["url"] == coffret.url


@pytest.mark.slow
def test_a_server_whose_agent_never_got_in_and_no_longer_can_is_made_anew(
    coffret: Deployment, make: Callable[..., dict[str, Any]]
) -> None:
    instance = make("shut-out")
    token = told(coffret, instance["id"])["bootstrap_token"]
    coffret.look_again("shut-out")
    assert holds_for(5, lambda: coffret.actions(instance["id"]) == ["create"]), "its token is good yet"
    with contextlib.closing(sqlite3.connect(coffret.folder / "coffret.db")) as state, state:
        state.execute(
            "update agents set bootstrap_expires_at = '2020-01-01 00:00:00.000000' where instance_id = ?",
            (instance["id"],),
        )
    coffret.look_again("shut-out")
    eventually(lambda: coffret.actions(instance["id"]) == ["create", "rebuild"], SECONDS, 0.5)
    coffret.wait_for_server(instance["id"], "ACTIVE")
    assert told(coffret, instance["id"])["bootstrap_token"] not in (token, None)


def test_what_is_asked_again_changes_nothing(
    coffret: Deployment, make: Callable[..., dict[str, Any]], body: dict[str, Any]
) -> None:
    instance = make("again")
    before = coffret.actions(instance["id"])
    coffret.put("/instances/again", body)
    coffret.look_again("again")
    coffret.has_cloud_objects("again")
    assert coffret.actions(instance["id"]) == before


def test_another_flavor_resizes_the_server(
    coffret: Deployment, make: Callable[..., dict[str, Any]]
) -> None:
    instance = make("resized")
    server = coffret.server(instance["id"])
    coffret.change("resized", flavor="db.small")
    coffret.has_cloud_objects("resized")
    resized = coffret.server(instance["id"])
    assert (resized.id, resized.flavor.original_name, resized.status) == (server.id, "db.small", "ACTIVE")
    assert coffret.actions(instance["id"])[-2:] == ["resize", "confirmResize"]


@pytest.mark.slow
def test_a_resize_that_finds_no_host_is_said_and_leaves_the_instance_as_it_is(
    coffret: Deployment, make: Callable[..., dict[str, Any]], giant: str
) -> None:
    instance = make("modest")
    coffret.change("modest", flavor=giant)
    said = coffret.says("modest", "No valid host was found")
    assert f"resizing the server from db.tiny to {giant}" in said
    server = coffret.server(instance["id"])
    assert (server.status, server.flavor.original_name) == ("ACTIVE", "db.tiny")
    coffret.change("modest", flavor="db.tiny")
    coffret.has_cloud_objects("modest")


@pytest.mark.slow
def test_a_smaller_root_disk_is_refused_before_anything_is_done(
    coffret: Deployment, make: Callable[..., dict[str, Any]]
) -> None:
    make("shrinking", flavor="db.small")
    answer = coffret.call("PATCH", "/instances/shrinking", {"flavor": "db.tiny"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/flavor"
    assert "can't shrink" in answer.text


def test_a_volume_grows_while_its_server_runs(
    coffret: Deployment, make: Callable[..., dict[str, Any]]
) -> None:
    instance = make("growing")
    coffret.change("growing", volume={"size": 2})
    coffret.has_cloud_objects("growing")
    assert coffret.volume(instance["id"]).size == 2
    assert coffret.server(instance["id"]).status == "ACTIVE"
    assert "stop" not in coffret.actions(instance["id"])


def test_a_volume_that_cannot_is_grown_while_its_server_is_stopped(
    coffret: Deployment, make: Callable[..., dict[str, Any]]
) -> None:
    instance = make("offline", volume={"size": 1, "type": "rbd-offline"})
    volume = coffret.volume(instance["id"])
    coffret.change("offline", volume={"size": 2, "type": "rbd-offline"})
    coffret.has_cloud_objects("offline")
    server, grown = coffret.server(instance["id"]), coffret.volume(instance["id"])
    assert (grown.id, grown.size, grown.status) == (volume.id, 2, "in-use")
    assert [item["id"] for item in server.attached_volumes] == [volume.id]
    assert server.status == "ACTIVE"
    assert coffret.actions(instance["id"])[-4:] == ["stop", "detach_volume", "attach_volume", "start"]


@pytest.mark.slow
def test_another_name_is_the_servers_and_the_volumes(
    coffret: Deployment, make: Callable[..., dict[str, Any]]
) -> None:
    instance = make("before")
    coffret.change("before", name="after")
    coffret.has_cloud_objects("after")
    try:
        assert coffret.server(instance["id"]).name == "after"
        assert coffret.volume(instance["id"]).name == "after"
    finally:
        coffret.change("after", name="before")


@pytest.mark.slow
def test_allowed_cidrs_are_rules_of_its_security_group(
    coffret: Deployment, make: Callable[..., dict[str, Any]]
) -> None:
    instance = make("guarded", access={"allowed_cidrs": ["10.1.0.0/16", "fd00::/64"]})

    def let_in() -> set[str]:
        (group,) = coffret.security_groups(instance["id"])
        rules = [rule for rule in group.security_group_rules if rule["direction"] == "ingress"]
        return {rule["remote_ip_prefix"] for rule in rules}

    assert let_in() == {"10.1.0.0/16", "fd00::/64"}
    coffret.change("guarded", access={"allowed_cidrs": []})
    coffret.has_cloud_objects("guarded")
    assert let_in() == set()
    assert "stop" not in coffret.actions(instance["id"])


def test_a_rebuild_makes_the_server_anew_around_its_volume(
    coffret: Deployment, make: Callable[..., dict[str, Any]]
) -> None:
    instance = make("renewed")
    server, volume = coffret.server(instance["id"]), coffret.volume(instance["id"])
    asked = coffret.call("POST", "/instances/renewed/actions", {"type": "rebuild"}).json()
    coffret.has_cloud_objects("renewed")
    renewed = coffret.server(instance["id"])
    assert renewed.id == server.id
    assert coffret.actions(instance["id"])[-1] == "rebuild"
    assert renewed.metadata["coffret_rebuild"] == asked["id"]
    assert [item["id"] for item in renewed.attached_volumes] == [volume.id]
    told = coffret.call("GET", f"/instances/renewed/actions/{asked['id']}").json()
    assert told["phase"] == "DONE"


def delete_server(coffret: Deployment, instance_id: str) -> str:
    """Behind the control plane's back, and wait until it is gone. Returns its id."""
    server = coffret.server(instance_id)
    coffret.connection.compute.delete_server(server)
    eventually(lambda: not coffret.servers(instance_id), SECONDS, 0.5)
    return str(server.id)


def test_a_server_that_vanished_is_made_again_around_its_volume(
    coffret: Deployment, make: Callable[..., dict[str, Any]]
) -> None:
    instance = make("vanished", rebuild_policy="automatic")
    volume = coffret.volume(instance["id"])
    gone = delete_server(coffret, instance["id"])
    coffret.look_again("vanished")
    eventually(lambda: coffret.servers(instance["id"]), SECONDS, 0.5)
    coffret.has_cloud_objects("vanished")
    server = coffret.server(instance["id"])
    assert server.id != gone
    assert [item["id"] for item in server.attached_volumes] == [volume.id]
    events = coffret.call("GET", f"/events?instance={instance['id']}").json()["items"]
    assert any(gone in event["message"] for event in events)


@pytest.mark.slow
def test_by_a_manual_policy_it_is_said_and_a_rebuild_mends_it(
    coffret: Deployment, make: Callable[..., dict[str, Any]]
) -> None:
    instance = make("manual", rebuild_policy="manual")
    volume = coffret.volume(instance["id"])
    gone = delete_server(coffret, instance["id"])
    coffret.look_again("manual")
    said = coffret.says("manual", gone, "is gone")
    assert "rebuild action" in said
    assert coffret.instance("manual")["status"]["phase"] == "ERROR"
    assert coffret.servers(instance["id"]) == []
    coffret.call("POST", "/instances/manual/actions", {"type": "rebuild"})
    coffret.has_cloud_objects("manual")
    assert [item["id"] for item in coffret.server(instance["id"]).attached_volumes] == [volume.id]


def test_a_volume_that_vanished_is_said_and_never_replaced_by_an_empty_one(
    coffret: Deployment, make: Callable[..., dict[str, Any]]
) -> None:
    instance = make("emptied", rebuild_policy="automatic")
    volume = coffret.volume(instance["id"])
    delete_server(coffret, instance["id"])
    storage = coffret.connection.block_storage
    eventually(lambda: storage.get_volume(volume.id).status == "available", SECONDS, 0.5)
    storage.delete_volume(volume)
    eventually(lambda: not coffret.volumes(instance["id"]), SECONDS, 0.5)
    coffret.look_again("emptied")
    coffret.says("emptied", volume.id, "is gone")
    assert coffret.instance("emptied")["status"]["phase"] == "ERROR"
    assert coffret.volumes(instance["id"]) == []
    assert coffret.servers(instance["id"]) == []


@pytest.mark.slow
def test_a_server_in_error_is_said_and_rebooted(
    coffret: Deployment, make: Callable[..., dict[str, Any]], admin: Connection
) -> None:
    instance = make("erring")
    admin.compute.reset_server_state(coffret.server(instance["id"]).id, "error")
    coffret.look_again("erring")
    eventually(lambda: coffret.actions(instance["id"])[-1] == "reboot", SECONDS, 0.5)
    coffret.wait_for_server(instance["id"], "ACTIVE")
    coffret.has_cloud_objects("erring")
    events = coffret.call("GET", f"/events?instance={instance['id']}").json()["items"]
    assert any("in ERROR" in event["message"] for event in events)


@pytest.mark.slow
def test_a_server_that_someone_stopped_is_started(
    coffret: Deployment, make: Callable[..., dict[str, Any]]
) -> None:
    instance = make("stopped")
    coffret.connection.compute.stop_server(coffret.server(instance["id"]))
    coffret.wait_for_server(instance["id"], "SHUTOFF")
    coffret.look_again("stopped")
    coffret.wait_for_server(instance["id"], "ACTIVE")


@pytest.mark.slow
def test_a_server_that_an_operator_paused_is_left_alone_until_it_goes_on(
    coffret: Deployment, make: Callable[..., dict[str, Any]]
) -> None:
    instance = make("paused")
    server = coffret.server(instance["id"])
    coffret.connection.compute.pause_server(server)
    coffret.wait_for_server(instance["id"], "PAUSED")
    coffret.look_again("paused")
    coffret.says("paused", server.id, "is paused", "operator")
    coffret.connection.compute.unpause_server(server)
    coffret.has_cloud_objects("paused")


@pytest.mark.slow
def test_a_locked_server_is_not_changed_until_it_is_unlocked(
    coffret: Deployment, make: Callable[..., dict[str, Any]]
) -> None:
    instance = make("locked")
    server = coffret.server(instance["id"])
    coffret.connection.compute.lock_server(server, locked_reason="an audit")
    coffret.look_again("locked")
    coffret.has_cloud_objects("locked")
    coffret.change("locked", flavor="db.small")
    coffret.says("locked", "is locked (an audit)")
    coffret.connection.compute.unlock_server(server)
    coffret.has_cloud_objects("locked")
    assert coffret.server(instance["id"]).flavor.original_name == "db.small"


@pytest.mark.slow
def test_a_volume_that_someone_detached_is_attached_again(
    coffret: Deployment, make: Callable[..., dict[str, Any]]
) -> None:
    instance = make("detached")
    server, volume = coffret.server(instance["id"]), coffret.volume(instance["id"])
    coffret.connection.compute.delete_volume_attachment(server, volume.id)
    eventually(lambda: coffret.volume(instance["id"]).status == "available", SECONDS, 0.5)
    coffret.look_again("detached")
    eventually(lambda: coffret.volume(instance["id"]).status == "in-use", SECONDS, 0.5)


@pytest.mark.slow
def test_a_port_that_someone_deleted_is_made_again_for_the_server(
    coffret: Deployment, make: Callable[..., dict[str, Any]]
) -> None:
    instance = make("unplugged")
    server, (port,) = coffret.server(instance["id"]), coffret.ports(instance["id"])
    coffret.connection.network.delete_port(port)
    coffret.look_again("unplugged")
    eventually(
        lambda: [each.device_id for each in coffret.ports(instance["id"])] == [server.id], SECONDS, 0.5
    )
    coffret.has_cloud_objects("unplugged")
    assert coffret.server(instance["id"]).id == server.id


@pytest.mark.slow
def test_of_two_servers_with_its_tags_the_one_with_the_volume_stays(
    coffret: Deployment, make: Callable[..., dict[str, Any]]
) -> None:
    instance = make("twin")
    server = coffret.server(instance["id"])
    coffret.connection.compute.create_server(
        name="twin",
        image_id=server.image.id,
        flavor_id=coffret.connection.compute.find_flavor("db.tiny").id,
        networks="none",
        availability_zone="fake",
        tags=server.tags,
    )
    eventually(lambda: len(coffret.servers(instance["id"])) == 2, SECONDS, 0.5)
    coffret.look_again("twin")
    eventually(lambda: len(coffret.servers(instance["id"])) == 1, SECONDS, 0.5)
    assert coffret.server(instance["id"]).id == server.id


def test_without_a_valid_host_it_is_said_and_goes_on_once_there_is_one(
    coffret: Deployment, body: dict[str, Any], giant: str
) -> None:
    coffret.put("/instances/large", body | {"flavor": giant})
    said = coffret.says("large", "No valid host was found")
    assert "It is made again" in said
    instance = coffret.instance("large")
    assert condition(instance)["reason"] == "Retrying"
    coffret.change("large", flavor="db.tiny")
    coffret.has_cloud_objects("large")
    assert coffret.server(instance["id"]).flavor.original_name == "db.tiny"
    assert len(coffret.volumes(instance["id"])) == len(coffret.ports(instance["id"])) == 1
    coffret.remove("large")


def reserve(coffret: Deployment, volume_id: str) -> None:
    """Leave the volume as Nova does when its API is stopped in the middle of making a server."""
    storage = coffret.connection.block_storage
    storage.post(
        "/attachments",
        json={"attachment": {"volume_uuid": volume_id, "instance_uuid": str(uuid.uuid4())}},
        microversion="3.54",
    )
    eventually(lambda: storage.get_volume(volume_id).status == "reserved", SECONDS, 0.5)


@pytest.mark.slow
def test_a_volume_that_nova_forgot_to_let_go_of_is_freed(
    coffret: Deployment, make: Callable[..., dict[str, Any]]
) -> None:
    instance = make("forgotten")
    volume = coffret.volume(instance["id"])
    delete_server(coffret, instance["id"])
    eventually(lambda: coffret.volume(instance["id"]).status == "available", SECONDS, 0.5)
    reserve(coffret, volume.id)
    coffret.look_again("forgotten")
    eventually(lambda: coffret.servers(instance["id"]), SECONDS, 0.5)
    coffret.has_cloud_objects("forgotten")
    assert [item["id"] for item in coffret.server(instance["id"]).attached_volumes] == [volume.id]
    delete_server(coffret, instance["id"])
    eventually(lambda: coffret.volume(instance["id"]).status == "available", SECONDS, 0.5)
    reserve(coffret, volume.id)


@contextlib.contextmanager
def quota(admin: Connection, project_id: str, **limits: int) -> Iterator[None]:
    """Nova's quota of a project, lowered for a moment."""
    admin.compute.update_quota_set(project_id, **limits)
    try:
        yield
    finally:
        admin.compute.revert_quota_set(project_id)


def test_a_used_up_quota_is_said_and_it_goes_on_once_there_is_room(
    coffret: Deployment, body: dict[str, Any], admin: Connection
) -> None:
    group = {"name": "many", "policy": "soft-anti-affinity"}
    with quota(admin, coffret.connection.current_project_id, server_groups=0):
        coffret.put("/instances/waiting", body | {"server_group": group})
        coffret.says("waiting", "Quota exceeded", "tried again until there is room")
        assert coffret.servers(coffret.instance("waiting")["id"]) == []
    coffret.has_cloud_objects("waiting")
    coffret.remove("waiting")


@pytest.mark.slow
def test_instances_that_shall_not_share_a_host_wait_for_another(
    coffret: Deployment, body: dict[str, Any]
) -> None:
    apart = body | {"server_group": {"name": "apart", "policy": "anti-affinity"}}
    coffret.put("/instances/first", apart)
    coffret.has_cloud_objects("first")
    coffret.put("/instances/second", apart)
    coffret.says("second", "No valid host was found")
    coffret.remove("first")
    coffret.has_cloud_objects("second")
    coffret.remove("second")
    assert not [kind for kind, _ in coffret.objects() if kind == "server group"]


@pytest.mark.slow
def test_instances_made_at_once_find_one_server_group(coffret: Deployment, body: dict[str, Any]) -> None:
    names = [f"peer{number}" for number in range(4)]
    for name in names:
        group = {"name": "peers", "policy": "soft-anti-affinity"}
        coffret.put(f"/instances/{name}", body | {"server_group": group})
    ids = {coffret.server(coffret.has_cloud_objects(name)["id"]).id for name in names}
    groups = [group for group in coffret.connection.compute.server_groups() if coffret.name in group.name]
    assert [set(group.member_ids) for group in groups] == [ids]
    answer = coffret.call(
        "PUT", "/instances/other", body | {"server_group": {"name": "peers", "policy": "affinity"}}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/server_group"
    for name in names:
        coffret.remove(name)
    assert not [kind for kind, _ in coffret.objects() if kind == "server group"]


@pytest.mark.slow
def test_a_zone_that_is_not_there_is_refused_with_those_that_are(
    coffret: Deployment, body: dict[str, Any]
) -> None:
    answer = coffret.call("PUT", "/instances/nowhere", body | {"availability_zone": "fakes"})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == "/availability_zone"
    assert "Did you mean 'fake'?" in error["detail"]


def building(coffret: Deployment, instance_id: str) -> None:
    eventually(lambda: coffret.servers(instance_id), SECONDS, 0.1)


def stopped(coffret: Deployment, instance_id: str) -> None:
    coffret.has_cloud_objects(instance_id)
    coffret.connection.compute.stop_server(coffret.server(instance_id))
    coffret.wait_for_server(instance_id, "SHUTOFF")


def paused(coffret: Deployment, instance_id: str) -> None:
    coffret.has_cloud_objects(instance_id)
    coffret.connection.compute.pause_server(coffret.server(instance_id))
    coffret.wait_for_server(instance_id, "PAUSED")


def resizing(coffret: Deployment, instance_id: str) -> None:
    coffret.has_cloud_objects(instance_id)
    coffret.change(instance_id, flavor="db.small")
    eventually(lambda: "resize" in coffret.actions(instance_id), SECONDS, 0.1)


def without_a_volume(coffret: Deployment, instance_id: str) -> None:
    coffret.has_cloud_objects(instance_id)
    server, volume = coffret.server(instance_id), coffret.volume(instance_id)
    coffret.connection.compute.delete_volume_attachment(server, volume.id)
    eventually(lambda: coffret.volume(instance_id).status == "available", SECONDS, 0.5)
    coffret.connection.block_storage.delete_volume(volume)


@pytest.mark.slow
@pytest.mark.parametrize("state", [building, stopped, paused, resizing, without_a_volume])
def test_deleted_in_any_state_it_leaves_nothing(
    coffret: Deployment, body: dict[str, Any], state: Callable[[Deployment, str], None]
) -> None:
    instance = coffret.put(f"/instances/{state.__name__.replace('_', '-')}", body)
    state(coffret, instance["id"])
    coffret.remove(instance["id"])
    assert not [name for _, name in coffret.objects() if instance["id"] in name]
    assert coffret.servers(instance["id"]) == coffret.volumes(instance["id"]) == []


@pytest.mark.slow
def test_deleted_in_error_it_leaves_nothing(
    coffret: Deployment, make: Callable[..., dict[str, Any]], admin: Connection, body: dict[str, Any]
) -> None:
    coffret.put("/instances/broken", body)
    instance = coffret.has_cloud_objects("broken")
    admin.compute.reset_server_state(coffret.server(instance["id"]).id, "error")
    coffret.remove("broken")
    assert coffret.servers(instance["id"]) == coffret.volumes(instance["id"]) == []
    assert holds_for(2, lambda: not coffret.ports(instance["id"]))
