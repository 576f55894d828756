"""Nova's flavors."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from control_plane.clouds.base import CloudRefusal, Flavor
from control_plane.clouds.openstack.cached import Cached
from control_plane.clouds.openstack.connection import OpenStack
from control_plane.clouds.openstack.errors import asks
from control_plane.errors import nearest

KEPT_SECONDS = 60


@dataclass(frozen=True)
class Flavors:
    cloud: OpenStack
    _kept: Cached[Sequence[Flavor]] = field(default_factory=lambda: Cached(KEPT_SECONDS))

    @asks("Nova")
    def flavors(self) -> Sequence[Flavor]:
        """Those that the service project may use."""
        return self._kept.get("all", self._ask)

    def find(self, key: str) -> Flavor:
        """By id or name. Raises CloudRefusal."""
        flavors = self.flavors()
        for flavor in flavors:
            if key in (flavor.id, flavor.name):
                return flavor
        names = [flavor.name for flavor in flavors]
        raise CloudRefusal(f"Nova has no flavor {key!r}.{nearest(key, names)}", "/flavor")

    def _ask(self) -> Sequence[Flavor]:
        return [
            Flavor(id=flavor.id, name=flavor.name, ram=flavor.ram, vcpus=flavor.vcpus, disk=flavor.disk)
            for flavor in self.cloud.compute.flavors()
        ]
