"""Where the connection to OpenStack comes from: clouds.yaml and OS_* variables, by openstacksdk."""

import functools
import logging
import os
import threading
import uuid
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, cast

import requests
from keystoneauth1 import exceptions as keystone
from keystoneauth1.session import Session, TCPKeepAliveAdapter
from openstack import exceptions as sdk
from openstack.block_storage.v3._proxy import Proxy as BlockStorage
from openstack.compute.v2._proxy import Proxy as Compute
from openstack.config import OpenStackConfig
from openstack.connection import Connection
from openstack.image.v2._proxy import Proxy as Image
from openstack.network.v2._proxy import Proxy as Network

from control_plane.clouds.openstack.errors import reason
from control_plane.settings import SettingsError

COMPUTE_MICROVERSION = "2.93"
BLOCK_STORAGE_MICROVERSION = "3.70"
"""Those of Zed, and not the newest that there are: what a call means does not change under us."""
LOOK_SECONDS = 30
"""Until a request that only looks is given up; it is sent once more, which is well within a lease."""
ACT_SECONDS = 60
"""Until another one is. What it asked for may have been done all the same."""
KEPT_CONNECTIONS = 50
"""To each service; more than threads that usually work at once."""


class PatientSession(Session):
    """Repeats a request that only looks. Another is sent once: it may be its answer that was lost."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for scheme in list(self.session.adapters):
            self.session.mount(scheme, TCPKeepAliveAdapter(pool_maxsize=KEPT_CONNECTIONS))

    def request(self, url: str, method: str, *args: Any, **kwargs: Any) -> requests.Response:
        looks = method in ("GET", "HEAD")
        kwargs |= {
            "connect_retries": int(looks),
            "status_code_retries": int(looks),
            "retriable_status_codes": [502, 503],
            "timeout": LOOK_SECONDS if looks else ACT_SECONDS,
        }
        return super().request(url, method, *args, **kwargs)


def is_id(key: str) -> bool:
    """Whether it can be an id of a cloud's object: a UUID. What is not one must not get into a path."""
    try:
        return str(uuid.UUID(key)) == key.lower()
    except ValueError:
        return False


def connect() -> Connection:
    """Log in to the cloud that OS_CLOUD or OS_* variables name.

    Raises SettingsError when they name none, or one that is too old, and the cloud's own errors.
    """
    # At DEBUG it writes down the bodies of requests, user-data among them.
    logging.getLogger("keystoneauth").setLevel(logging.INFO)
    try:
        region = OpenStackConfig(
            app_name="coffret", app_version=version("coffret"), session_constructor=PatientSession
        ).get_one(
            compute_default_microversion=COMPUTE_MICROVERSION,
            block_storage_default_microversion=BLOCK_STORAGE_MICROVERSION,
        )
        connection = Connection(config=region, strict_proxies=True)
        connection.session.get_token()
        for service in ("compute", "block_storage", "network", "image"):
            getattr(connection, service)  # found now: threads that use it first would each look for it
    except (sdk.ConfigException, keystone.AuthPluginException, OSError) as error:
        raise SettingsError(
            f"OS_CLOUD={os.environ.get('OS_CLOUD', '')!r} does not name a cloud that can be used: {error}"
        ) from error
    return connection


@dataclass(frozen=True)
class OpenStack:
    """The services of one cloud, for all threads.

    A keystoneauth session gets a new token by itself, under a lock, and openstacksdk's proxies keep
    nothing between calls; so one connection serves all threads of a process, as in OpenStack's own
    services. A fork may not share its sockets: each process has its own.
    """

    deployment: str
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _opened: dict[int, Connection] = field(default_factory=dict)

    @property
    def connection(self) -> Connection:
        """Raises SettingsError and the cloud's own errors, the first time in a process."""
        process = os.getpid()
        if process not in self._opened:
            with self._lock:
                if process not in self._opened:
                    self._opened[process] = connect()
        return self._opened[process]

    @property
    def compute(self) -> Compute:
        return self.connection.compute

    @property
    def block_storage(self) -> BlockStorage:
        return cast(BlockStorage, self.connection.block_storage)

    @property
    def network(self) -> Network:
        return self.connection.network

    @property
    def image(self) -> Image:
        return cast(Image, self.connection.image)

    @functools.cached_property
    def project_id(self) -> str:
        """Of the service project, which owns all objects."""
        return cast(str, self.connection.current_project_id)

    def named(self, instance_id: str) -> str:
        """Name of an instance's objects in Neutron."""
        return f"coffret-{instance_id}"

    def described(self, instance_id: str) -> str:
        """Description of an instance's objects, which tells whose of several control planes it is."""
        return f"{self.description_prefix}{instance_id}"

    @property
    def description_prefix(self) -> str:
        return f"coffret {self.deployment}: instance "

    def log_in(self) -> None:
        """Raises SettingsError unless the cloud lets us in now."""
        try:
            self.connection  # noqa: B018
        except (sdk.SDKException, keystone.ClientException) as error:
            raise SettingsError(
                f"The cloud that OS_CLOUD={os.environ.get('OS_CLOUD', '')!r} names cannot be used:"
                f" {reason('OpenStack', error)}"
            ) from error

    def hang_up(self) -> None:
        """Before a fork: connections do not survive one."""
        for connection in self._opened.values():
            connection.close()
        self._opened.clear()
