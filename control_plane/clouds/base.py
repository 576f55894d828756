"""The driver interfaces.

Every object is found by the instance's id before it is made, so each `ensure_*` and `delete` may be
called again after a crash. `validate` methods look and never act. Drivers know nothing of Flask or the
state database.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class CloudError(Exception):
    """The cloud failed in a way that may pass: tried again with backoff, said on the instance."""


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


@dataclass(frozen=True)
class Volume:
    id: str
    size: int
    """GiB."""


@dataclass(frozen=True)
class Port:
    id: str
    host: str
    """Where clients connect."""
    listen: Sequence[str]
    """Addresses the engine binds inside the server."""
    port: int


@dataclass(frozen=True)
class Server:
    id: str
    running: bool
    flavor: str


class Images(Protocol):
    def validate(self, spec: ServerSpec) -> None:
        """CloudRefusal unless the datastore version can run on this cloud."""


class Flavors(Protocol):
    def flavors(self) -> Sequence[Flavor]: ...


class Volumes(Protocol):
    def validate(self, spec: ServerSpec) -> None: ...

    def find(self, instance_id: str) -> Volume | None: ...

    def ensure(self, spec: ServerSpec) -> Volume:
        """Create it, or grow it to `volume_size`."""

    def delete(self, instance_id: str) -> None: ...


class Network(Protocol):
    def validate(self, spec: ServerSpec) -> None: ...

    def find(self, instance_id: str) -> Port | None: ...

    def ensure(self, spec: ServerSpec) -> Port:
        """Create the port, or bring it in line with `access`."""

    def delete(self, instance_id: str) -> None: ...


class Compute(Protocol):
    def validate(self, spec: ServerSpec) -> None: ...

    def find(self, instance_id: str) -> Server | None: ...

    def ensure(self, spec: ServerSpec, volume: Volume, port: Port, bootstrap: "Bootstrap") -> Server:
        """Create the server, start it when it is down, resize it when its flavor is another's."""

    def delete(self, instance_id: str) -> None:
        """Stop the engine cleanly and remove the server; the volume stays."""


class Bootstrap(Protocol):
    """Asked by a compute driver when it may have to hand an agent its first credentials."""

    @property
    def url(self) -> str:
        """Where the agent finds the control plane."""

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
    resync_seconds: float
    """How often a converged instance is looked at again."""
    agentless: bool = False
    """Nothing runs on this cloud, so reconcile plays the agents."""

    def validate(self, spec: ServerSpec) -> None:
        """Ask every driver whether it could; raises CloudRefusal."""
        for driver in (self.images, self.volumes, self.network, self.compute):
            driver.validate(spec)
