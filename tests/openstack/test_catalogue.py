"""What a cloud has to offer: its images and flavors; and whether it can be used at all."""

import dataclasses
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from drivers import Drivers
from openstack.connection import Connection

from control_plane.clouds.base import CloudRefusal, ServerSpec
from control_plane.clouds.openstack.flavors import Flavors
from control_plane.clouds.openstack.images import Images
from control_plane.clouds.registry import open_cloud
from control_plane.settings import Settings, SettingsError

pytestmark = [pytest.mark.openstack, pytest.mark.slow]


@pytest.fixture(scope="module")
def drivers(cloud_connection: Connection) -> Drivers:
    return Drivers()


@pytest.fixture
def images(drivers: Drivers) -> Images:
    return Images(drivers.cloud, Flavors(drivers.cloud))


@pytest.fixture
def spec(drivers: Drivers, images: Images) -> ServerSpec:
    """New, with a flavor that there is."""
    flavor = min(images.flavors.flavors(), key=lambda flavor: flavor.disk)
    return drivers.spec(instance_id="", flavor=flavor.name, ram=flavor.ram, vcpus=flavor.vcpus)


@pytest.fixture
def register(cloud_connection: Connection) -> Iterator[Callable[..., str]]:
    """Registers an image of nothing with these properties; returns its id."""
    glance, made = cloud_connection.image, []

    def do(**properties: Any) -> str:
        image = glance.create_image(
            name="coffret-test",
            data=b"nothing",
            disk_format="raw",
            container_format="bare",
            allow_duplicates=True,
            **properties,
        )
        made.append(image)
        return str(image.id)

    yield do
    for image in made:
        glance.delete_image(image)


def test_flavors_say_their_memory_for_each_cpu(images: Images, cloud_connection: Connection) -> None:
    of_nova = {flavor.name: flavor for flavor in cloud_connection.compute.flavors()}
    assert {flavor.name for flavor in images.flavors.flavors()} == set(of_nova)
    for flavor in images.flavors.flavors():
        assert flavor.memory_per_vcpu == of_nova[flavor.name].ram // of_nova[flavor.name].vcpus
        assert images.flavors.find(flavor.id) == images.flavors.find(flavor.name) == flavor
    name = max(of_nova, key=len)
    with pytest.raises(CloudRefusal, match=f"Did you mean '{name}'"):
        images.flavors.find(f"{name}x")


def test_an_image_is_found_by_id_or_is_the_newest_active_one_with_all_tags(
    images: Images, spec: ServerSpec, register: Callable[..., str], cloud_connection: Connection
) -> None:
    tag = f"coffret-test-{uuid.uuid4().hex[:8]}"
    older = register(tags=[tag, "postgresql"])
    time.sleep(1.1)  # Glance counts in seconds
    newer = register(tags=[tag, "postgresql"])
    register(tags=[tag])
    by_tags = dataclasses.replace(spec, image_tags=[tag, "postgresql"])
    assert images.resolve(dataclasses.replace(spec, image=older)) == older
    images.validate(by_tags)
    assert images.resolve(by_tags) == newer
    cloud_connection.image.deactivate_image(newer)
    assert images.resolve(by_tags) == older
    with pytest.raises(CloudRefusal, match="is deactivated, not active"):
        images.resolve(dataclasses.replace(spec, image=newer))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "neither image nor image_tags"),
        ({"image": str(uuid.uuid4())}, "Glance has no image"),
        ({"image": "../tasks"}, "Glance has no image"),
        ({"image_tags": ["nothing-has-this"]}, "no active image with the tags nothing-has-this"),
    ],
)
def test_a_version_without_an_image_is_refused(
    images: Images, spec: ServerSpec, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(CloudRefusal, match=said) as refusal:
        images.validate(dataclasses.replace(spec, **asked))
    assert refusal.value.pointer == "/version"


@pytest.mark.parametrize(
    ("least", "said"), [("min_disk", "GiB of root disk"), ("min_ram", "MiB of memory")]
)
def test_a_flavor_too_small_for_the_image_is_refused(
    images: Images, spec: ServerSpec, register: Callable[..., str], least: str, said: str
) -> None:
    image = register(**{least: 1 << 20})
    with pytest.raises(CloudRefusal, match=f"{said}.* needs {1 << 20}") as refusal:
        images.validate(dataclasses.replace(spec, image=image))
    assert refusal.value.pointer == "/flavor"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"OS_CLOUD": "no-such-cloud"}, "no-such-cloud"),
        (
            {"OS_CLOUD": "wrong-password"},
            "Keystone says: The request you have made requires authentication",
        ),
        ({"OS_CLOUD": "nobody-there"}, r"cannot be reached at http://127\.0\.0\.1:9"),
    ],
)
def test_a_cloud_that_cannot_be_used_is_said_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cloud_connection: Connection,
    environment: dict[str, str],
    said: str,
) -> None:
    url = cloud_connection.config.auth["auth_url"]
    login = (
        "username: nobody, password: s3cret, project_name: none,"
        " user_domain_id: default, project_domain_id: default"
    )
    (tmp_path / "clouds.yaml").write_text(
        "clouds:\n"
        f"  wrong-password: {{auth: {{auth_url: {url}, {login}}}}}\n"
        f"  nobody-there: {{auth: {{auth_url: 'http://127.0.0.1:9/v3', {login}}}}}\n"
    )
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=said) as error:
        open_cloud(Settings(cloud="openstack"))
    assert environment["OS_CLOUD"] in str(error.value)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("setting", ["openstack_management_network", "openstack_external_network"])
def test_a_network_that_there_is_not_is_said_at_the_start(
    cloud_connection: Connection, setting: str
) -> None:
    with pytest.raises(SettingsError, match=f"COFFRET_{setting.upper()}"):
        open_cloud(Settings(cloud="openstack", **{setting: "nowhere"}))


def test_a_cloud_lists_what_carries_its_deployments_name_and_nothing_else(drivers: Drivers) -> None:
    other, (one, two) = Drivers(), (drivers.spec(), drivers.spec())
    try:
        drivers.volumes.ensure(one, known=None)
        other.volumes.ensure(two, known=None)
        for each, spec in ((drivers, one), (other, two)):
            (listed,) = each.inventory.objects()
            assert (listed.kind, listed.name, listed.instance_id) == ("volume", spec.name, spec.instance_id)
    finally:
        drivers.clean()
        other.clean()
    assert not drivers.inventory.objects()
