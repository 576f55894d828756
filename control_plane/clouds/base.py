"""The driver interfaces.

Every object is found by the instance's id before it is made, so each `ensure_*` and `delete` may be
called again after a crash. `validate` methods look and never act. Drivers know nothing of Flask or the
state database.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from control_plane.errors import CoffretError


class CloudError(CoffretError):
    """The cloud failed in a way that may pass: tried again with backoff, said on the instance."""

    code = "cloud_unavailable"
    title = "The cloud cannot be asked now"


class CloudPending(Exception):
    """The cloud is at work and nothing is wrong: look again in `again` seconds. Says what is awaited."""

    def __init__(self, detail: str, again: float = 2.0) -> None:
        super().__init__(detail)
        self.again = again


class CloudRefusal(Exception):
    """The cloud will never do this as asked. The text says what would be right.

    From `validate` it becomes a 422 at `pointer`; later it leaves the instance in ERROR until what is
    desired changes.
    """

    def __init__(self, detail: str, pointer: str = "") -> None:
        super().__init__(detail)
        self.pointer = pointer


@dataclass(frozen=True)
class Flavor:
    id: str
    name: str
    ram: int
    """MiB."""
    vcpus: int
    disk: int
    """GiB of root disk; 0 where that means nothing."""

    @property
    def memory_per_vcpu(self) -> int:
        """MiB."""
        return self.ram // self.vcpus


@dataclass(frozen=True)
class ServerSpec:
    """All that a driver may need to know of an instance."""

    instance_id: str
    name: str
    project_id: str
    datastore: str
    manager: str
    version: str
    image: str | None
    image_tags: Sequence[str]
    flavor: str
    ram: int
    vcpus: int
    volume_size: int
    volume_type: str | None
    availability_zone: str | None
    is_public: bool
    allowed_cidrs: Sequence[str] | None
    network: dict[str, Any] = field(default_factory=dict)
    """network_id, subnet_id, ip_address."""
    server_group: dict[str, str] | None = None
    """name and policy; instances of a project that name the same one are placed by it."""
    rebuild: str | None = None
    """Id of the newest rebuild action; a server made for an older one is made anew from the image."""


@dataclass(frozen=True)
class Volume:
    id: str
    size: int
    """GiB."""
    ready: bool = True
    """Whether a server can have it; a new one may take its time."""
    must_detach: bool = False
    """It is smaller than wanted and grows only while no server has it."""


@dataclass(frozen=True)
class Port:
    id: str
    host: str
    """Where clients connect."""
    listen: Sequence[str]
    """Addresses the engine binds inside the server."""
    port: int
    attach: Sequence[str] = ()
    """Ids of the ports to give the server, in this order; the user's is the first."""


@dataclass(frozen=True)
class Server:
    id: str
    running: bool
    flavor: str
    rebuild: str | None = None
    """Id of the rebuild action that it was made for."""
    busy: str = ""
    """What the cloud does to it at the moment, as a sentence's end: `building the server`."""


@dataclass(frozen=True)
class CloudObject:
    """Something on the cloud that carries this deployment's name."""

    kind: str
    """`server`, `volume`, `port`, `security group`, `floating IP`, `server group`."""
    id: str
    name: str
    instance_id: str


class Images(Protocol):
    def validate(self, spec: ServerSpec) -> None:
        """CloudRefusal unless the datastore version can run on this cloud."""


class Flavors(Protocol):
    def flavors(self) -> Sequence[Flavor]: ...


class Volumes(Protocol):
    def validate(self, spec: ServerSpec) -> None: ...

    def ensure(self, spec: ServerSpec, *, known: str | None) -> Volume:
        """Create it, or grow it to `volume_size`.

        `known`: id of the one that was ready before, so that a server may have had it. That it is gone
        is a CloudRefusal, never a new, empty volume.
        """

    def delete(self, instance_id: str) -> None: ...


class Network(Protocol):
    def validate(self, spec: ServerSpec, keystone_token: str | None = None) -> None:
        """`keystone_token`: the caller's, to see the network with their eyes."""

    def ensure(self, spec: ServerSpec) -> Port:
        """Create the port, or bring it in line with `access`."""

    def delete(self, instance_id: str) -> None: ...


class Compute(Protocol):
    def validate(self, spec: ServerSpec) -> None: ...

    def find(self, instance_id: str) -> Server | None: ...

    def ensure(self, spec: ServerSpec, volume: Volume, port: Port, bootstrap: "Bootstrap") -> Server:
        """Create the server, or make what there is as wanted: its flavor, image, volume, name, running.

        Raises CloudPending while the cloud is at work.
        """

    def delete(self, instance_id: str) -> None:
        """Stop the engine cleanly and remove the server; the volume stays. Raises CloudPending."""


class Inventory(Protocol):
    def objects(self) -> Sequence[CloudObject]:
        """All that carries this deployment's name, in as few calls as the cloud allows."""


class Bootstrap(Protocol):
    """Asked by a compute driver when it may have to hand an agent its first credentials."""

    @property
    def url(self) -> str:
        """Where the agent finds the control plane."""

    @property
    def ca(self) -> str | None:
        """PEM text of the CA that the agent shall know the control plane by; None: its system's."""

    @property
    def log_format(self) -> str:
        """How the agent shall write its log: `plain` or `json`."""

    @property
    def registered(self) -> bool:
        """Whether an agent ever traded in a token."""

    @property
    def waiting(self) -> bool:
        """Whether a token handed out before may still be traded in."""

    @property
    def silent(self) -> bool:
        """Whether an agent that was heard of is heard of no more; its secret may be lost."""

    def accepts(self, token: str) -> bool:
        """Whether a token handed out before would still be taken."""

    def token(self) -> str:
        """A new single-use bootstrap token, valid for 30 minutes; the ones before are void."""


@dataclass(frozen=True)
class Cloud:
    name: str
    images: Images
    flavors: Flavors
    volumes: Volumes
    network: Network
    compute: Compute
    inventory: Inventory
    resync_seconds: float
    """How often a converged instance is looked at again."""
    survey_seconds: float = 300.0
    """How often what is on the cloud is held against the rows."""
    resizes: bool = False
    """Instances are servers: another flavor resizes one, and a volume may have to leave it to grow."""
    agentless: bool = False
    """Nothing runs on this cloud, so reconcile plays the agents."""

    def validate(self, spec: ServerSpec, keystone_token: str | None = None) -> None:
        """Ask every driver whether it could; raises CloudRefusal, and CloudError when it can't say."""
        self.network.validate(spec, keystone_token)
        for driver in (self.images, self.volumes, self.compute):
            driver.validate(spec)

    def delete(self, instance_id: str, between: Callable[[], None] = lambda: None) -> None:
        """Remove all that the instance has, `between` called after each step. Raises CloudPending."""
        for driver in (self.compute, self.volumes, self.network):
            driver.delete(instance_id)
            between()
