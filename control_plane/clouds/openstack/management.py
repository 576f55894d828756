"""The network over which agents reach the control plane, where users' networks have no way to it."""

from dataclasses import dataclass, field
from typing import Any

from openstack import exceptions as sdk

from control_plane.clouds.openstack.cached import Cached
from control_plane.clouds.openstack.connection import OpenStack
from control_plane.settings import SettingsError

KEPT_SECONDS = 60


@dataclass(frozen=True)
class Management:
    """Servers get a second port on it, in a security group shared by all that lets nothing in."""

    cloud: OpenStack
    network_id: str
    _group: Cached[str] = field(default_factory=lambda: Cached(KEPT_SECONDS))

    def port(self) -> dict[str, Any]:
        """What a port on it is made with."""
        return {
            "network_id": self.network_id,
            "security_groups": [self._group.get("id", self._find_or_create)],
        }

    def forget(self) -> None:
        """Look for the group again: another process may have deleted it."""
        self._group.forget()

    def delete_if_unused(self) -> None:
        """The last instance that goes takes the group along."""
        for group_id in self._ids():
            try:
                self.cloud.network.delete_security_group(group_id)
            except sdk.ConflictException:
                return
        self._group.forget()

    @property
    def _name(self) -> str:
        return f"coffret-{self.cloud.deployment}-management"

    def _find_or_create(self) -> str:
        ids = self._ids()
        if ids:
            return ids[0]
        group = self.cloud.network.create_security_group(
            name=self._name,
            description=f"coffret {self.cloud.deployment}: management; lets nothing in",
        )
        group_id: str = group.id
        return group_id

    def _ids(self) -> list[str]:
        """The oldest first: every process takes the same one."""
        groups = self.cloud.network.security_groups(name=self._name, project_id=self.cloud.project_id)
        return [group.id for group in sorted(groups, key=lambda group: (group.created_at, group.id))]


def open_management(cloud: OpenStack, key: str) -> Management | None:
    """On the network with this name or id; None for an empty key. Raises SettingsError."""
    if not key:
        return None
    setting = f"COFFRET_OPENSTACK_MANAGEMENT_NETWORK={key}"
    try:
        network = cloud.network.find_network(key, ignore_missing=False)
    except (sdk.NotFoundException, sdk.DuplicateResource) as error:
        raise SettingsError(f"{setting} is not the name or id of one network of the cloud.") from error
    subnets = list(cloud.network.subnets(network_id=network.id))
    if not subnets:
        raise SettingsError(f"{setting} has no subnet, so ports on it get no address.")
    for subnet in subnets:
        if subnet.gateway_ip is not None:
            raise SettingsError(
                f"{setting}: its subnet {subnet.name or subnet.id} has the gateway {subnet.gateway_ip}, and"
                " servers could get their default route there, away from their users. Make it one without:"
                " `openstack subnet set --gateway none`; --host-route leads to a control plane elsewhere."
            )
    return Management(cloud, network.id)
