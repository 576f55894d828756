"""All that carries this deployment's name on the cloud, in one list of each kind."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from control_plane.clouds.base import CloudObject
from control_plane.clouds.openstack import volumes
from control_plane.clouds.openstack.connection import OpenStack, is_id
from control_plane.clouds.openstack.errors import asking


@dataclass(frozen=True)
class Inventory:
    cloud: OpenStack

    def objects(self) -> Sequence[CloudObject]:
        """What is shared by instances, a group of servers or the management network's, is not listed."""
        with asking("Nova"):
            servers = list(self.cloud.compute.servers())
        with asking("Cinder"):
            found = [*self._by_metadata("server", servers)]
            found += self._by_metadata("volume", volumes.in_deployment(self.cloud))
        with asking("Neutron"):
            neutron, ours = self.cloud.network, {"project_id": self.cloud.project_id}
            found += self._by_description("port", neutron.ports(**ours))
            found += self._by_description("security group", neutron.security_groups(**ours))
            found += self._by_description("floating IP", neutron.ips(**ours))
        return found

    def _by_metadata(self, kind: str, items: Iterable[Any]) -> Iterator[CloudObject]:
        for item in items:
            if item.metadata.get(volumes.DEPLOYMENT) == self.cloud.deployment:
                yield CloudObject(kind, item.id, item.name, item.metadata.get(volumes.INSTANCE, ""))

    def _by_description(self, kind: str, items: Iterable[Any]) -> Iterator[CloudObject]:
        prefix = self.cloud.description_prefix
        for item in items:
            text = item.description or ""
            if text.startswith(prefix) and is_id(text.removeprefix(prefix)):
                yield CloudObject(kind, item.id, item.name or item.id, text.removeprefix(prefix))
