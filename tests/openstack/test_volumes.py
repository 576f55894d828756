"""An instance's volume, on a real Cinder: it grows, and its data is never put at risk."""

import dataclasses
import uuid
from collections.abc import Callable, Iterator

import openstack
import pytest
from drivers import Drivers, patiently
from openstack.block_storage.v3.volume import Volume as CinderVolume
from openstack.compute.v2.server import Server
from openstack.connection import Connection

from control_plane.clouds.base import CloudError, CloudRefusal, ServerSpec, Volume

pytestmark = [pytest.mark.openstack, pytest.mark.slow]

SECONDS = 90
TOO_MUCH = 100_000
"""GiB; more than there is."""


@pytest.fixture
def drivers() -> Iterator[Drivers]:
    made = Drivers(volume_type="rbd")
    try:
        yield made
    finally:
        made.clean()


@pytest.fixture
def spec(drivers: Drivers) -> ServerSpec:
    return drivers.spec()


@pytest.fixture(scope="module")
def server(cloud_connection: Connection) -> Iterator[Server]:
    """A server on the fake compute, for volumes to be attached to."""
    compute = cloud_connection.compute
    made = compute.create_server(
        name=f"test-{uuid.uuid4().hex[:8]}",
        image_id=cloud_connection.image.find_image("tiny", ignore_missing=False).id,
        flavor_id=compute.find_flavor("db.highmem.large", ignore_missing=False).id,
        networks="none",
        availability_zone="fake",
    )
    try:
        yield compute.wait_for_server(made, interval=0.5, wait=SECONDS)
    finally:
        compute.delete_server(made)
        compute.wait_for_delete(made, interval=0.5, wait=SECONDS)


@pytest.fixture
def attach(cloud_connection: Connection, server: Server) -> Iterator[Callable[[str], None]]:
    attached: list[str] = []

    def do(volume_id: str) -> None:
        attached.append(volume_id)
        cloud_connection.compute.create_volume_attachment(server, volume_id=volume_id)
        await_status(cloud_connection, volume_id, "in-use")

    yield do
    for volume_id in attached:
        detach(cloud_connection, server, volume_id)


def detach(connection: Connection, server: Server, volume_id: str) -> None:
    connection.compute.delete_volume_attachment(server, volume_id)
    await_status(connection, volume_id, "available")


def await_status(connection: Connection, volume_id: str, status: str) -> None:
    volume = connection.block_storage.get_volume(volume_id)
    connection.block_storage.wait_for_status(volume, status, interval=0.5, wait=SECONDS)


def ready(drivers: Drivers, spec: ServerSpec) -> Volume:
    volume = drivers.volumes.ensure(spec, known=None)
    await_status(drivers.connection, volume.id, "available")
    volume = drivers.volumes.ensure(spec, known=None)
    assert volume.ready
    return volume


def of(spec: ServerSpec, drivers: Drivers) -> list[CinderVolume]:
    """What Cinder has of the instance."""
    return [
        volume
        for volume in drivers.connection.block_storage.volumes()
        if volume.metadata.get("coffret_instance") == spec.instance_id
    ]


def grown(spec: ServerSpec, size: int = 2) -> ServerSpec:
    return dataclasses.replace(spec, volume_size=size)


def test_a_volume_is_made_once_and_says_whose_it_is(drivers: Drivers, spec: ServerSpec) -> None:
    volume = ready(drivers, spec)
    (there,) = of(spec, drivers)
    assert (there.id, there.size, there.name, there.volume_type) == (volume.id, 1, spec.name, "rbd")
    assert there.metadata == {
        "coffret_deployment": drivers.cloud.deployment,
        "coffret_instance": spec.instance_id,
        "coffret_project": spec.project_id,
    }
    drivers.calls.clear()
    assert drivers.volumes.ensure(spec, known=volume.id) == volume
    assert [method for method, _ in drivers.calls] == ["GET"]


def test_a_volume_has_the_type_and_the_name_that_are_asked_for(drivers: Drivers, spec: ServerSpec) -> None:
    spec = dataclasses.replace(spec, volume_type="rbd-offline")
    volume = ready(drivers, spec)
    drivers.volumes.ensure(dataclasses.replace(spec, name="renamed"), known=volume.id)
    (there,) = of(spec, drivers)
    assert (there.volume_type, there.name) == ("rbd-offline", "renamed")


def test_a_type_that_there_is_not_is_refused_with_the_nearest(drivers: Drivers) -> None:
    with pytest.raises(CloudRefusal, match="Did you mean 'rbd-offline'") as refusal:
        drivers.volumes.validate(drivers.spec(instance_id="", volume_type="rbd-ofline"))
    assert refusal.value.pointer == "/volume/type"


def test_a_volume_that_no_server_has_grows(drivers: Drivers, spec: ServerSpec) -> None:
    volume = ready(drivers, spec)
    assert patiently(drivers.volumes.ensure, grown(spec), known=volume.id) == Volume(volume.id, 2)
    with pytest.raises(CloudRefusal, match="only grows"):
        drivers.volumes.ensure(spec, known=volume.id)


def test_an_attached_volume_grows_where_the_backend_can(
    drivers: Drivers, spec: ServerSpec, attach: Callable[[str], None]
) -> None:
    volume = ready(drivers, spec)
    attach(volume.id)
    assert patiently(drivers.volumes.ensure, grown(spec), known=volume.id) == Volume(volume.id, 2)


def test_where_the_backend_cannot_it_is_detached_first(
    drivers: Drivers, spec: ServerSpec, server: Server, attach: Callable[[str], None]
) -> None:
    spec = dataclasses.replace(spec, volume_type="rbd-offline")
    volume = ready(drivers, spec)
    attach(volume.id)
    must_detach = Volume(volume.id, 1, must_detach=True)
    assert patiently(drivers.volumes.ensure, grown(spec), known=volume.id) == must_detach
    drivers.calls.clear()
    assert drivers.volumes.ensure(grown(spec), known=volume.id) == must_detach
    assert len(drivers.calls) == 1
    detach(drivers.connection, server, volume.id)
    assert patiently(drivers.volumes.ensure, grown(spec), known=volume.id) == Volume(volume.id, 2)
    attach(volume.id)
    assert drivers.volumes.ensure(grown(spec), known=volume.id) == Volume(volume.id, 2)


@pytest.mark.parametrize("volume_type", ["rbd", "rbd-offline"])
def test_no_database_is_stopped_for_a_growth_that_there_is_no_room_for(
    drivers: Drivers, spec: ServerSpec, attach: Callable[[str], None], volume_type: str
) -> None:
    spec = dataclasses.replace(spec, volume_type=volume_type)
    volume = ready(drivers, spec)
    attach(volume.id)
    with pytest.raises(CloudError, match=r"did not grow.*Could not find any available"):
        patiently(drivers.volumes.ensure, grown(spec, TOO_MUCH), known=volume.id)
    assert drivers.volumes.ensure(spec, known=volume.id) == volume
    assert drivers.connection.block_storage.get_volume(volume.id).status == "in-use"


def test_a_detached_volume_that_cannot_grow_goes_back_to_its_server(
    drivers: Drivers, spec: ServerSpec, attach: Callable[[str], None]
) -> None:
    spec = dataclasses.replace(spec, volume_type="rbd-offline")
    volume = ready(drivers, spec)
    too_large = grown(spec, TOO_MUCH)
    assert patiently(drivers.volumes.ensure, too_large, known=volume.id) == volume
    attach(volume.id)
    with pytest.raises(CloudError, match="did not grow"):
        patiently(drivers.volumes.ensure, too_large, known=volume.id)


def test_a_volume_that_cinder_could_not_make_is_made_anew(drivers: Drivers, spec: ServerSpec) -> None:
    failed = drivers.volumes.ensure(grown(spec, TOO_MUCH), known=None)
    await_status(drivers.connection, failed.id, "error")
    with pytest.raises(CloudError, match=r"could not make the volume: .*Could not find any available"):
        drivers.volumes.ensure(spec, known=None)
    volume = ready(drivers, spec)
    assert volume.id != failed.id
    assert volume.size == 1


def test_a_volume_in_error_is_said_and_kept_until_the_operator_has_looked(
    drivers: Drivers, spec: ServerSpec, attach: Callable[[str], None]
) -> None:
    volume = ready(drivers, spec)
    with openstack.connect(cloud="lab-admin") as admin:
        for status in ("error", "error_extending"):
            admin.block_storage.reset_volume_status(volume.id, status=status)
            with pytest.raises(CloudError, match=f"in status {status}"):
                drivers.volumes.ensure(spec, known=volume.id)
        admin.block_storage.reset_volume_status(volume.id, status="available")
        assert drivers.volumes.ensure(spec, known=volume.id) == volume
        attach(volume.id)
        admin.block_storage.reset_volume_status(volume.id, status="error")
        with pytest.raises(CloudError, match="makes it in-use again"):
            drivers.volumes.ensure(spec, known=volume.id)
        admin.block_storage.reset_volume_status(volume.id, status="in-use")


def test_a_volume_that_is_gone_is_never_replaced(drivers: Drivers, spec: ServerSpec) -> None:
    volume = ready(drivers, spec)
    drivers.volumes.delete(spec.instance_id)
    with pytest.raises(CloudRefusal, match=f"{volume.id} is gone"):
        drivers.volumes.ensure(spec, known=volume.id)
    assert of(spec, drivers) == []


def test_of_twins_that_a_lost_answer_left_the_one_with_the_data_stays(
    drivers: Drivers, spec: ServerSpec
) -> None:
    volume = ready(drivers, spec)
    metadata = of(spec, drivers)[0].metadata
    storage = drivers.connection.block_storage
    for known in (None, volume.id):
        twin = storage.create_volume(name=spec.name, size=1, metadata=metadata)
        await_status(drivers.connection, twin.id, "available")
        assert drivers.volumes.ensure(spec, known=known) == volume
        storage.wait_for_delete(twin, interval=0.5, wait=SECONDS)
    younger = storage.create_volume(name=spec.name, size=1, metadata=metadata)
    await_status(drivers.connection, younger.id, "available")
    assert drivers.volumes.ensure(spec, known=younger.id).id == younger.id


def test_a_copy_that_an_operator_made_is_not_touched(drivers: Drivers, spec: ServerSpec) -> None:
    volume = ready(drivers, spec)
    metadata = of(spec, drivers)[0].metadata
    copy = drivers.connection.block_storage.create_volume(
        name="copy", size=1, source_volume_id=volume.id, metadata=metadata
    )
    await_status(drivers.connection, copy.id, "available")
    assert drivers.volumes.ensure(spec, known=volume.id) == volume
    assert {each.id for each in of(spec, drivers)} == {volume.id, copy.id}


def test_what_is_deleted_is_gone_however_often_it_is_deleted(drivers: Drivers, spec: ServerSpec) -> None:
    ready(drivers, spec)
    for _ in range(2):
        patiently(drivers.volumes.delete, spec.instance_id)
        assert of(spec, drivers) == []


def test_an_attached_volume_is_not_deleted(
    drivers: Drivers, spec: ServerSpec, server: Server, attach: Callable[[str], None]
) -> None:
    volume = ready(drivers, spec)
    attach(volume.id)
    with pytest.raises(CloudError, match=f"is in-use, the server {server.id} has it"):
        drivers.volumes.delete(spec.instance_id)


def test_snapshots_that_hold_a_volume_are_named(drivers: Drivers, spec: ServerSpec) -> None:
    volume, storage = ready(drivers, spec), drivers.connection.block_storage
    snapshot = storage.create_snapshot(volume_id=volume.id, name="by-hand")
    storage.wait_for_status(snapshot, "available", interval=0.5, wait=SECONDS)
    with pytest.raises(CloudError, match="by-hand"):
        drivers.volumes.delete(spec.instance_id)
    storage.delete_snapshot(snapshot)
    storage.wait_for_delete(snapshot, interval=0.5, wait=SECONDS)
    patiently(drivers.volumes.delete, spec.instance_id)
    assert of(spec, drivers) == []
