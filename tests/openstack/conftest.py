"""Tests on a real OpenStack, the test bed or any other: OS_CLOUD and OS_CLIENT_CONFIG_FILE name it."""

import os
import uuid
from collections.abc import Iterator

import openstack
import pytest
from deployments import Deployment
from openstack.connection import Connection


@pytest.fixture(scope="session", autouse=True)
def cloud_connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """The cloud. Only `make test-openstack` uses it: OS_CLOUD in a shell does not mean that tests may."""
    if not request.config.option.markexpr.startswith("openstack"):
        pytest.skip("needs an OpenStack: make test-openstack")
    if "OS_CLOUD" not in os.environ:
        pytest.skip(
            "no cloud: OS_CLOUD is not set; `make testbed` brings one up, tests/testbed/README.md says how"
        )
    with openstack.connect() as connection:
        yield connection


@pytest.fixture(scope="session")
def admin(cloud_connection: Connection) -> Iterator[Connection]:
    """The operator of the test bed."""
    with openstack.connect(cloud="lab-admin") as connection:
        yield connection


@pytest.fixture(scope="session")
def giant(admin: Connection) -> Iterator[str]:
    """Name of a flavor that no host has room for."""
    name = f"test-giant-{uuid.uuid4().hex[:8]}"
    flavor = admin.compute.create_flavor(name=name, ram=4096, vcpus=10_000, disk=8)
    yield name
    admin.compute.delete_flavor(flavor)


@pytest.fixture(scope="module")
def coffret(cloud_connection: Connection, giant: str) -> Iterator[Deployment]:
    """A control plane on the cloud, whose PostgreSQL 18 is made of the image `tiny`."""
    deployment = Deployment(cloud_connection)
    try:
        deployment.start()
        tiny = cloud_connection.image.find_image("tiny", ignore_missing=False)
        deployment.put("/datastores/postgresql/versions/18", {"image": tiny.id})
        yield deployment
    finally:
        deployment.clean()
