"""A process that dies right after each change that it asked of the cloud, before it could note anything."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from drivers import Drivers, network
from openstack.connection import Connection

from control_plane.clouds.base import CloudError, CloudPending

pytestmark = [pytest.mark.openstack, pytest.mark.slow]

PASSES = 60


class Killed(BaseException):
    """Not an Exception, so that nothing between here and the test handles it."""


@pytest.fixture
def drivers_and_place(cloud_connection: Connection) -> Iterator[tuple[Drivers, str]]:
    """With a floating IP and a management network, so with all that there can be."""
    neutron = cloud_connection.network
    external = next(neutron.networks(is_router_external=True))
    with (
        network(cloud_connection, router_to=external.id) as place,
        network(cloud_connection, ipv6=False, gateway=False) as apart,
    ):
        made = Drivers(external=external.id, management=apart.id)
        try:
            yield made, place.id
        finally:
            made.clean()


def survive(drivers: Drivers, work: Callable[[], Any]) -> int:
    """Do the work, dying after each change, until it is done without one. How often it died."""

    def die(response: Any, **_: Any) -> None:
        if response.request.method != "GET":
            raise Killed

    hooks = drivers.connection.session.session.hooks["response"]
    hooks.append(die)
    deaths = 0
    try:
        for _ in range(PASSES):
            try:
                work()
            except Killed:
                deaths += 1
            except (CloudPending, CloudError):
                continue
            else:
                return deaths
    finally:
        hooks.remove(die)
    raise AssertionError(f"not done after {PASSES} times")


def test_who_dies_after_each_change_leaves_no_twin_and_nothing_behind(
    drivers_and_place: tuple[Drivers, str],
) -> None:
    drivers, place = drivers_and_place
    spec = drivers.spec(network={"network_id": place}, is_public=True)

    def make() -> None:
        drivers.volumes.ensure(spec, known=None)
        drivers.network.ensure(spec)

    assert survive(drivers, make) >= 6
    kinds = sorted(item.kind for item in drivers.inventory.objects())
    assert kinds == ["floating IP", "port", "port", "security group", "volume"]

    def delete() -> None:
        drivers.volumes.delete(spec.instance_id)
        drivers.network.delete(spec.instance_id)

    assert survive(drivers, delete) >= 5
    assert drivers.inventory.objects() == []
    name = f"coffret-{drivers.cloud.deployment}-management"
    assert not list(drivers.connection.network.security_groups(name=name))
