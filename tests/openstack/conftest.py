"""Tests on a real OpenStack, the test bed or any other: OS_CLOUD and OS_CLIENT_CONFIG_FILE name it."""

import os
from collections.abc import Iterator

import openstack
import pytest
from openstack.connection import Connection


@pytest.fixture(scope="session")
def cloud_connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """The cloud. Only `make test-openstack` uses it: OS_CLOUD in a shell does not mean that tests may."""
    if request.config.option.markexpr != "openstack":
        pytest.skip("needs an OpenStack: make test-openstack")
    if "OS_CLOUD" not in os.environ:
        pytest.skip(
            "no cloud: OS_CLOUD is not set; `make testbed` brings one up, tests/testbed/README.md says how"
        )
    with openstack.connect() as connection:
        yield connection
