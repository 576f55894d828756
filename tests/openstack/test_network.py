"""An instance's security group, ports and floating IP, on a real Neutron."""

import contextlib
import dataclasses
import uuid
from collections.abc import Iterator
from typing import Any

import openstack
import pytest
from drivers import Drivers, network
from openstack.connection import Connection

from control_plane.clouds.base import CloudError, CloudRefusal, ServerSpec
from control_plane.settings import SettingsError

pytestmark = [pytest.mark.openstack, pytest.mark.slow]

V4, V6 = "10.66.0.0/24", "fd66::/64"


@pytest.fixture(scope="module")
def external(cloud_connection: Connection) -> Any:
    """The cloud's network of public addresses."""
    return next(cloud_connection.network.networks(is_router_external=True))


@pytest.fixture(scope="module")
def place(cloud_connection: Connection, external: Any) -> Iterator[Any]:
    """A network with a router that leads outside."""
    with network(cloud_connection, router_to=external.id) as made:
        yield made


@pytest.fixture
def drivers(place: Any, external: Any) -> Iterator[Drivers]:
    made = Drivers(external=external.id)
    try:
        yield made
    finally:
        made.clean()


@pytest.fixture
def spec(drivers: Drivers, place: Any) -> ServerSpec:
    return drivers.spec(network={"network_id": place.id})


def changed(spec: ServerSpec, **changes: Any) -> ServerSpec:
    return dataclasses.replace(spec, **changes)


def new(spec: ServerSpec, **changes: Any) -> ServerSpec:
    """As it is validated before it is made."""
    return changed(spec, instance_id="", **changes)


def let_in(drivers: Drivers, spec: ServerSpec) -> set[tuple[str, str, int, int]]:
    """What the instance's only security group lets in."""
    (group,) = drivers.connection.network.security_groups(name=f"coffret-{spec.instance_id}")
    return {
        (rule["ethertype"], rule["remote_ip_prefix"], rule["port_range_min"], rule["port_range_max"])
        for rule in group.security_group_rules
        if rule["direction"] == "ingress"
    }


def kinds(drivers: Drivers) -> list[str]:
    return sorted(item.kind for item in drivers.inventory.objects())


def test_an_instance_listens_on_its_port_and_lets_in_its_network(
    drivers: Drivers, spec: ServerSpec
) -> None:
    port = drivers.network.ensure(spec)
    there = drivers.connection.network.get_port(port.id)
    assert port.attach == [port.id]
    assert {each["ip_address"] for each in there.fixed_ips} == set(port.listen)
    assert [":" in address for address in port.listen] == [False, True]
    assert port.host == port.listen[0]
    assert port.port == 5432
    assert let_in(drivers, spec) == {("IPv4", V4, 5432, 5432), ("IPv6", V6, 5432, 5432)}
    (group,) = drivers.connection.network.security_groups(name=f"coffret-{spec.instance_id}")
    assert there.security_group_ids == [group.id]


def test_looking_again_only_looks(drivers: Drivers, spec: ServerSpec) -> None:
    port = drivers.network.ensure(spec)
    drivers.calls.clear()
    assert drivers.network.ensure(spec) == port
    assert [method for method, _ in drivers.calls] == ["GET"] * 3


def test_who_may_connect_changes_in_place(drivers: Drivers, spec: ServerSpec) -> None:
    port = drivers.network.ensure(changed(spec, allowed_cidrs=["192.0.2.0/24", "2001:db8::/32"]))
    assert let_in(drivers, spec) == {
        ("IPv4", "192.0.2.0/24", 5432, 5432),
        ("IPv6", "2001:db8::/32", 5432, 5432),
    }
    assert drivers.network.ensure(changed(spec, allowed_cidrs=["0.0.0.0/0", "2001:db8::/32"])) == port
    assert let_in(drivers, spec) == {
        ("IPv4", "0.0.0.0/0", 5432, 5432),
        ("IPv6", "2001:db8::/32", 5432, 5432),
    }
    drivers.network.ensure(changed(spec, allowed_cidrs=[]))
    assert let_in(drivers, spec) == set()
    drivers.network.ensure(spec)
    assert let_in(drivers, spec) == {("IPv4", V4, 5432, 5432), ("IPv6", V6, 5432, 5432)}


def test_a_hole_made_by_hand_is_closed(drivers: Drivers, spec: ServerSpec) -> None:
    drivers.network.ensure(spec)
    (group,) = drivers.connection.network.security_groups(name=f"coffret-{spec.instance_id}")
    drivers.connection.network.create_security_group_rule(
        security_group_id=group.id, direction="ingress", ethertype="IPv4"
    )
    drivers.network.ensure(spec)
    assert let_in(drivers, spec) == {("IPv4", V4, 5432, 5432), ("IPv6", V6, 5432, 5432)}


def test_a_port_taken_out_of_its_group_is_put_back(drivers: Drivers, spec: ServerSpec) -> None:
    port = drivers.network.ensure(spec)
    groups = drivers.connection.network.get_port(port.id).security_group_ids
    drivers.connection.network.update_port(port.id, security_groups=[])
    drivers.network.ensure(spec)
    assert drivers.connection.network.get_port(port.id).security_group_ids == groups


def test_an_instance_gets_the_address_that_it_asks_for(drivers: Drivers, place: Any) -> None:
    subnet = next(drivers.connection.network.subnets(network_id=place.id, ip_version=4))
    spec = drivers.spec(network={"subnet_id": subnet.id, "ip_address": "10.66.0.77"})
    drivers.network.validate(new(spec))
    assert drivers.network.ensure(spec).listen == ["10.66.0.77"]
    assert let_in(drivers, spec) == {("IPv4", V4, 5432, 5432), ("IPv6", V6, 5432, 5432)}
    with pytest.raises(CloudRefusal, match=r"10\.66\.0\.77 is taken") as refusal:
        drivers.network.validate(new(spec))
    assert refusal.value.pointer == "/network/ip_address"


def test_a_public_instance_has_a_floating_ip_until_it_is_public_no_more(
    drivers: Drivers, spec: ServerSpec, external: Any
) -> None:
    private = drivers.network.ensure(spec)
    public = drivers.network.ensure(changed(spec, is_public=True))
    (floating,) = drivers.connection.network.ips(port_id=private.id)
    assert floating.floating_network_id == external.id
    assert public.host == floating.floating_ip_address
    assert public.listen == private.listen
    assert drivers.network.ensure(changed(spec, is_public=True)) == public
    assert drivers.network.ensure(spec) == private
    assert kinds(drivers) == ["port", "security group"]


def test_agents_have_a_second_port_where_nothing_gets_in(
    cloud_connection: Connection, drivers: Drivers, place: Any, external: Any
) -> None:
    with network(cloud_connection, ipv6=False) as apart:
        (subnet,) = cloud_connection.network.subnets(network_id=apart.id)
        with pytest.raises(SettingsError, match=r"has the gateway 10\.66\.0\.1"):
            Drivers(management=apart.name)
        cloud_connection.network.update_subnet(subnet, gateway_ip=None)
        managed = Drivers(external=external.id, management=apart.name)
        name = f"coffret-{managed.cloud.deployment}-management"
        one, other = (managed.spec(network={"network_id": place.id}) for _ in range(2))
        try:
            ports = [managed.network.ensure(each) for each in (one, other)]
            assert managed.network.ensure(one) == ports[0]
            (group,) = cloud_connection.network.security_groups(name=name)
            assert {rule["direction"] for rule in group.security_group_rules} == {"egress"}
            for port in ports:
                users, managements = map(cloud_connection.network.get_port, port.attach)
                assert (users.network_id, managements.network_id) == (place.id, apart.id)
                assert managements.security_group_ids == [group.id]
                assert not {each["ip_address"] for each in managements.fixed_ips} & set(port.listen)
            with pytest.raises(CloudRefusal):
                managed.network.validate(new(one, network={"network_id": apart.id}))
            managed.network.delete(one.instance_id)
            assert list(cloud_connection.network.security_groups(name=name))
            managed.network.delete(other.instance_id)
            assert not list(cloud_connection.network.security_groups(name=name))
            managed.network.ensure(one)  # another process took the last one along; here it is remembered
        finally:
            managed.clean()
        assert not list(cloud_connection.network.security_groups(name=name))


def test_of_twins_that_a_lost_answer_left_the_oldest_stays(drivers: Drivers, spec: ServerSpec) -> None:
    port = drivers.network.ensure(changed(spec, is_public=True))
    neutron, cloud = drivers.connection.network, drivers.cloud
    both = {"name": cloud.named(spec.instance_id), "description": cloud.described(spec.instance_id)}
    neutron.create_port(network_id=spec.network["network_id"], **both)
    neutron.create_security_group(**both)
    floating = next(neutron.ips(port_id=port.id))
    neutron.create_ip(floating_network_id=floating.floating_network_id, description=both["description"])
    assert kinds(drivers) == [
        "floating IP",
        "floating IP",
        "port",
        "port",
        "security group",
        "security group",
    ]
    assert drivers.network.ensure(changed(spec, is_public=True)) == port
    assert kinds(drivers) == ["floating IP", "port", "security group"]


def test_what_is_deleted_is_gone_however_often_it_is_deleted(drivers: Drivers, spec: ServerSpec) -> None:
    port = drivers.network.ensure(changed(spec, is_public=True))
    assert kinds(drivers) == ["floating IP", "port", "security group"]
    drivers.connection.network.delete_port(port.id)  # a delete that was cut short
    for _ in range(2):
        drivers.network.delete(spec.instance_id)
        assert kinds(drivers) == []


def test_what_has_our_name_in_another_project_is_not_ours(drivers: Drivers, spec: ServerSpec) -> None:
    with openstack.connect(cloud="lab-demo") as stranger, contextlib.ExitStack() as ending:
        theirs = stranger.network.create_security_group(
            name=drivers.cloud.named(spec.instance_id),
            description=drivers.cloud.described(spec.instance_id),
        )
        ending.callback(stranger.network.delete_security_group, theirs)
        port = drivers.network.ensure(spec)
        assert theirs.id not in drivers.connection.network.get_port(port.id).security_group_ids
        drivers.network.delete(spec.instance_id)
        assert stranger.network.get_security_group(theirs.id)


NOWHERE = str(uuid.uuid4())


@pytest.mark.parametrize(
    ("asked", "pointer", "said"),
    [
        ({"network": {}}, "/network", "Name the network"),
        ({"network": {"network_id": NOWHERE}}, "/network/network_id", "no network"),
        ({"network": {"network_id": "../ports"}}, "/network/network_id", "no network"),
        ({"network": {"subnet_id": NOWHERE}}, "/network/subnet_id", "no subnet"),
        ({"ip_address": "10.67.0.1"}, "/network/ip_address", "not in 10.66.0.0/24, fd66::/64"),
        ({"ip_address": "10.66.0.1"}, "/network/ip_address", "not for servers"),
        ({"ip_address": "10.66.0.255"}, "/network/ip_address", "not for servers"),
        ({"project_id": "another"}, "/network/network_id", "no network"),
    ],
)
def test_a_place_that_is_none_is_refused_before_anything_is_made(
    drivers: Drivers, spec: ServerSpec, asked: dict[str, Any], pointer: str, said: str
) -> None:
    if "ip_address" in asked:
        asked = {"network": {**spec.network, **asked}}
    with pytest.raises(CloudRefusal, match=said) as refusal:
        drivers.network.validate(new(spec, **asked))
    assert refusal.value.pointer == pointer


def test_a_subnet_of_another_network_is_refused(drivers: Drivers, spec: ServerSpec, external: Any) -> None:
    subnet = next(drivers.connection.network.subnets(network_id=spec.network["network_id"]))
    wrong = {"network_id": external.id, "subnet_id": subnet.id}
    with pytest.raises(CloudRefusal, match="Leave one of the two out"):
        drivers.network.validate(new(spec, network=wrong))


def test_public_needs_a_way_outside(
    cloud_connection: Connection, drivers: Drivers, spec: ServerSpec, external: Any
) -> None:
    drivers.network.validate(new(spec, is_public=True))
    with network(cloud_connection, ipv6=False) as isolated:
        inside = {"network_id": isolated.id}
        drivers.network.validate(new(spec, network=inside))
        with pytest.raises(CloudRefusal, match="No router leads"):
            drivers.network.validate(new(spec, network=inside, is_public=True))
        with pytest.raises(CloudRefusal, match="Nobody could connect"):
            drivers.network.validate(new(spec, network=inside, allowed_cidrs=["2001:db8::/32"]))


def test_a_network_is_looked_at_with_the_callers_eyes(drivers: Drivers, spec: ServerSpec) -> None:
    with openstack.connect(cloud="lab-demo") as caller:
        project, token = caller.current_project_id, caller.session.get_token()
        own = next(caller.network.networks(project_id=project))
        seen = new(spec, project_id=project, network={"network_id": own.id})
        drivers.network.validate(seen, token)
        with pytest.raises(CloudRefusal, match="no network"):
            drivers.network.validate(new(spec, project_id=project), token)
        with pytest.raises(CloudError, match="does not take the caller's token"):
            drivers.network.validate(seen, "expired")
    with pytest.raises(CloudRefusal, match="no network"):
        drivers.network.validate(new(seen, project_id=drivers.cloud.project_id), None)
