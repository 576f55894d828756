"""The users' networks, looked at with their own eyes, and the one of public addresses."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from keystoneauth1.token_endpoint import Token
from openstack import exceptions as sdk
from openstack.network.v2.network import Network
from openstack.network.v2.subnet import Subnet

from control_plane.clouds.base import CloudError, CloudRefusal, ServerSpec
from control_plane.clouds.openstack.cached import Cached
from control_plane.clouds.openstack.connection import OpenStack, is_id

KEPT_SECONDS = 60
_ROUTER_PORTS = (
    "network:router_interface",
    "network:router_interface_distributed",
    "network:ha_router_replicated_interface",
)


@dataclass(frozen=True)
class Networks:
    cloud: OpenStack
    external_key: str
    """Name or id of the network of public addresses; empty: the only one."""
    management_id: str | None
    _subnets: Cached[Sequence[Subnet]] = field(default_factory=lambda: Cached(KEPT_SECONDS))
    _externals: Cached[Sequence[Network]] = field(default_factory=lambda: Cached(KEPT_SECONDS))

    def validate(self, spec: ServerSpec, keystone_token: str | None) -> None:
        """Raises CloudRefusal. The place of an instance that is there is fixed; who may connect is not."""
        if not spec.instance_id:
            self._validate_place(spec, keystone_token)
        if spec.is_public:
            self._validate_public(spec)
        if spec.allowed_cidrs:
            self._validate_families(spec)

    def of(self, spec: ServerSpec) -> dict[str, Any]:
        """What a port in the place that the instance asks for is made with."""
        fixed = {name: spec.network[name] for name in ("subnet_id", "ip_address") if spec.network.get(name)}
        return {"network_id": self.network_id(spec)} | ({"fixed_ips": [fixed]} if fixed else {})

    def network_id(self, spec: ServerSpec) -> str:
        if network_id := spec.network.get("network_id"):
            return str(network_id)
        return str(self._subnet(spec.network["subnet_id"]).network_id)

    def subnets(self, spec: ServerSpec) -> Sequence[Subnet]:
        """All of the network. Raises CloudRefusal when there are none."""
        network_id = self.network_id(spec)
        found = self._subnets.get(
            ("network", network_id), lambda: list(self.cloud.network.subnets(network_id=network_id))
        )
        if not found:
            raise CloudRefusal(f"The network {network_id} has no subnet, or is gone.", "/network")
        return found

    def external(self) -> Network:
        """The network of public addresses. Raises CloudRefusal when it is not clear which."""
        networks = self._externals.get(
            "all", lambda: list(self.cloud.network.networks(is_router_external=True))
        )
        key = self.external_key
        fitting = [network for network in networks if not key or key in (network.id, network.name)]
        if len(fitting) == 1:
            return fitting[0]
        names = ", ".join(sorted(network.name for network in networks)) or "none"
        raise CloudRefusal(
            f"It is not clear where public addresses come from (external networks: {names}):"
            " set is_public to false, or have the operator set COFFRET_OPENSTACK_EXTERNAL_NETWORK.",
            "/access/is_public",
        )

    def _validate_place(self, spec: ServerSpec, token: str | None) -> None:
        network_id, subnet_id = spec.network.get("network_id"), spec.network.get("subnet_id")
        if subnet_id:
            subnet = self._look("subnet", subnet_id, token)
            if network_id and subnet["network_id"] != network_id:
                raise CloudRefusal(
                    f"The subnet {subnet_id} is of the network {subnet['network_id']}, not of {network_id}."
                    " Leave one of the two out.",
                    "/network/subnet_id",
                )
            network_id = subnet["network_id"]
        if not network_id:
            raise CloudRefusal(
                "Name the network to put the instance on: its network_id, or the subnet_id.", "/network"
            )
        network = self._look("network", network_id, token)
        mine = network["shared"] or network["project_id"] == spec.project_id
        if network_id == self.management_id or not mine:
            raise _unknown("network", network_id)
        if not network["subnets"]:
            raise CloudRefusal(f"The network {network_id} has no subnet; add one.", "/network/network_id")
        if address := spec.network.get("ip_address"):
            self._validate_address(spec, ipaddress.ip_address(address))

    def _look(self, kind: str, key: str, token: str | None) -> dict[str, Any]:
        """The network or subnet as the caller sees it, or without a token as the service does."""
        if not is_id(key):
            raise _unknown(kind, key)
        neutron = self.cloud.network
        eyes = {} if token is None else {"auth": Token(neutron.get_endpoint(), token)}
        response = neutron.get(f"/{kind}s/{key}", **eyes)
        if response.status_code in (403, 404):
            raise _unknown(kind, key)
        if response.status_code == 401:
            raise CloudError("Neutron does not take the caller's token, so their network cannot be seen.")
        sdk.raise_from_response(response)
        seen: dict[str, Any] = response.json()[kind]
        return seen

    def _validate_address(
        self, spec: ServerSpec, address: ipaddress.IPv4Address | ipaddress.IPv6Address
    ) -> None:
        pointer = "/network/ip_address"
        chosen = spec.network.get("subnet_id")
        subnets = [each for each in self.subnets(spec) if not chosen or each.id == chosen]
        for subnet in subnets:
            network = ipaddress.ip_network(subnet.cidr)
            if address not in network:
                continue
            reserved = {subnet.gateway_ip, str(network.network_address)}
            if network.version == 4:
                reserved.add(str(network.broadcast_address))
            if str(address) in reserved:
                raise CloudRefusal(f"{address} is not for servers in {network}; choose another.", pointer)
            holders = self.cloud.network.ports(
                network_id=subnet.network_id, fixed_ips=f"ip_address={address}"
            )
            if next(iter(holders), None) is not None:
                raise CloudRefusal(f"{address} is taken; choose another, or leave it out.", pointer)
            return
        cidrs = ", ".join(sorted(subnet.cidr for subnet in subnets))
        raise CloudRefusal(f"{address} is not in {cidrs}.", pointer)

    def _validate_public(self, spec: ServerSpec) -> None:
        pointer = "/access/is_public"
        external, network_id = self.external(), self.network_id(spec)
        if network_id == external.id:
            raise CloudRefusal(
                f"Addresses of {external.name} are public themselves: set is_public to false.", pointer
            )
        if not any(subnet.ip_version == 4 for subnet in self.subnets(spec)):
            raise CloudRefusal("A floating IP needs an IPv4 subnet; set is_public to false.", pointer)
        neutron = self.cloud.network
        ports = neutron.ports(network_id=network_id, device_owner=list(_ROUTER_PORTS))
        for router_id in {port.device_id for port in ports}:
            gateway = neutron.get_router(router_id).external_gateway_info
            if gateway and gateway["network_id"] == external.id:
                return
        raise CloudRefusal(
            f"No router leads from the network {network_id} to {external.name}, where public addresses come"
            " from. Add one, or set is_public to false.",
            pointer,
        )

    def _validate_families(self, spec: ServerSpec) -> None:
        have = {subnet.ip_version for subnet in self.subnets(spec)}
        wanted = {ipaddress.ip_network(cidr).version for cidr in spec.allowed_cidrs or ()}
        if not have & wanted:
            raise CloudRefusal(
                f"Nobody could connect: the instance's network has only IPv{min(have)}, and none of"
                " allowed_cidrs is of it.",
                "/access/allowed_cidrs",
            )

    def _subnet(self, subnet_id: str) -> Subnet:
        found = self._subnets.get(
            ("subnet", subnet_id), lambda: list(self.cloud.network.subnets(id=subnet_id))
        )
        if not found:
            raise _unknown("subnet", subnet_id)
        return found[0]


def _unknown(kind: str, key: str) -> CloudRefusal:
    return CloudRefusal(
        f"The project has no {kind} {key!r}, and none of that id is shared with it.",
        f"/network/{kind}_id",
    )
