"""An instance's place in Neutron: a security group, its ports, and a floating IP if it is public.

All belong to the service project and are named for the instance; what carries the same name in another
project is not ours. Their description tells the deployment, and is set with the name in one request.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from openstack import exceptions as sdk
from openstack.network.v2.floating_ip import FloatingIP
from openstack.network.v2.port import Port as NeutronPort
from openstack.network.v2.security_group import SecurityGroup

from control_plane.clouds.base import CloudPending, CloudRefusal, Port, ServerSpec
from control_plane.clouds.openstack.connection import OpenStack
from control_plane.clouds.openstack.errors import asks, reason
from control_plane.clouds.openstack.management import Management
from control_plane.clouds.openstack.networks import Networks
from control_plane.clouds.openstack.rules import ingress, wanted_rules
from control_plane.datastores.managers import MANAGERS

T = TypeVar("T", SecurityGroup, NeutronPort, FloatingIP)


@dataclass(frozen=True)
class Network:
    cloud: OpenStack
    networks: Networks
    management: Management | None
    """Where agents reach the control plane; None: over the user's network."""

    @asks("Neutron")
    def validate(self, spec: ServerSpec, keystone_token: str | None = None) -> None:
        self.networks.validate(spec, keystone_token)

    @asks("Neutron")
    def ensure(self, spec: ServerSpec) -> Port:
        groups = self._groups(spec.instance_id) or [self._create_group(spec.instance_id)]
        self._let_in(spec, groups[0])
        ports, new = self._ports(spec, groups[0])
        for twin in groups[1:]:
            self.cloud.network.delete_security_group(twin)
        user = ports[0]
        addresses = _addresses(user)
        # who has just got a port has no floating IP, and most never want one
        public = self._floating_ip(spec, user) if spec.is_public or not new else None
        return Port(
            id=user.id,
            host=public or addresses[0],
            listen=addresses,
            port=MANAGERS[spec.manager].port,
            attach=[port.id for port in ports],
        )

    @asks("Neutron")
    def delete(self, instance_id: str) -> None:
        """In the order that Neutron allows. Raises CloudPending while it still uses something."""
        neutron = self.cloud.network
        for floating_ip in self._floating_ips(instance_id):
            neutron.delete_ip(floating_ip)
        for port in self._found_ports(instance_id):
            neutron.delete_port(port)
        try:
            for group in self._groups(instance_id):
                neutron.delete_security_group(group)
        except sdk.ConflictException as error:
            raise CloudPending(
                f"Neutron still uses the security group ({reason('Neutron', error)})"
            ) from error
        if self.management is not None:
            self.management.delete_if_unused()

    def _let_in(self, spec: ServerSpec, group: SecurityGroup) -> None:
        """Give the group just the rules that are wanted; new ones come before old ones go."""
        neutron = self.cloud.network
        cidrs = spec.allowed_cidrs
        if cidrs is None:
            cidrs = [subnet.cidr for subnet in self.networks.subnets(spec)]
        missing = wanted_rules(cidrs, MANAGERS[spec.manager].port)
        superfluous = []
        for rule, rule_id in ingress(group.security_group_rules or []):
            if rule in missing:
                missing.remove(rule)
            else:
                superfluous.append(rule_id)
        if missing:
            neutron.create_security_group_rules([rule.body(group.id) for rule in missing])
        for rule_id in superfluous:
            neutron.delete_security_group_rule(rule_id)

    def _ports(self, spec: ServerSpec, group: SecurityGroup) -> tuple[Sequence[NeutronPort], bool]:
        """The user's port, and the management port if there is one; whether any of them is new."""
        names = self._port_names(spec.instance_id)
        wanted: dict[str, dict[str, Any]] = {
            names[0]: self.networks.of(spec) | {"security_groups": [group.id]}
        }
        if self.management is not None:
            wanted[names[1]] = self.management.port()
        have: dict[str, NeutronPort] = {}
        for port in self._found_ports(spec.instance_id):
            if port.name in wanted and port.name not in have:
                have[port.name] = self._in_groups(port, wanted[port.name]["security_groups"])
            elif not port.device_id:
                self.cloud.network.delete_port(port)
        missing = [name for name in wanted if name not in have]
        if missing:
            description = self.cloud.described(spec.instance_id)
            created = self._create_ports(
                [{"name": name, "description": description, **wanted[name]} for name in missing]
            )
            have |= {port.name: port for port in created}
        return [have[name] for name in wanted], bool(missing)

    def _create_ports(self, wanted: list[dict[str, Any]]) -> Iterable[NeutronPort]:
        try:
            return self.cloud.network.create_ports(wanted)
        except sdk.NotFoundException as error:
            said = reason("Neutron", error)
            if "security group" in said.lower():  # deleted meanwhile: the shared one by another process
                if self.management is not None:
                    self.management.forget()
                raise CloudPending("making a security group that has gone anew", 0) from error
            raise CloudRefusal(said, "/network") from error

    def _in_groups(self, port: NeutronPort, groups: list[str]) -> NeutronPort:
        if port.security_group_ids != groups:
            return self.cloud.network.update_port(port, security_groups=groups)
        return port

    def _floating_ip(self, spec: ServerSpec, user: NeutronPort) -> str | None:
        """The public address if there shall be one; removes what shall not be."""
        neutron = self.cloud.network
        there = self._floating_ips(spec.instance_id)
        there.sort(key=lambda each: each.port_id != user.id)  # of twins, the one in use
        kept = there.pop(0) if spec.is_public and there else None
        for spare in there:
            neutron.delete_ip(spare)
        if not spec.is_public:
            return None
        if kept is None:
            kept = neutron.create_ip(
                floating_network_id=self.networks.external().id,
                description=self.cloud.described(spec.instance_id),
                port_id=user.id,
                fixed_ip_address=_ipv4(user),
            )
        elif kept.port_id != user.id:
            kept = neutron.update_ip(kept, port_id=user.id, fixed_ip_address=_ipv4(user))
        address: str = kept.floating_ip_address
        return address

    def _create_group(self, instance_id: str) -> SecurityGroup:
        return self.cloud.network.create_security_group(
            name=self.cloud.named(instance_id), description=self.cloud.described(instance_id)
        )

    def _groups(self, instance_id: str) -> list[SecurityGroup]:
        return _by_age(
            self.cloud.network.security_groups(
                name=self.cloud.named(instance_id), project_id=self.cloud.project_id
            )
        )

    def _port_names(self, instance_id: str) -> tuple[str, str]:
        name = self.cloud.named(instance_id)
        return name, f"{name}-management"

    def _found_ports(self, instance_id: str) -> list[NeutronPort]:
        """Those that a server has come first, then the oldest."""
        names = self._port_names(instance_id)
        ports = self.cloud.network.ports(name=list(names), project_id=self.cloud.project_id)
        return sorted(_by_age(ports), key=lambda port: not port.device_id)

    def _floating_ips(self, instance_id: str) -> list[FloatingIP]:
        """They have no name, and lose their port with it; so the description tells."""
        return _by_age(
            self.cloud.network.ips(
                description=self.cloud.described(instance_id), project_id=self.cloud.project_id
            )
        )


def _addresses(port: NeutronPort) -> list[str]:
    """IPv4 before IPv6; always in the same order."""
    addresses = [ipaddress.ip_address(each["ip_address"]) for each in port.fixed_ips]
    return [str(each) for each in sorted(addresses, key=lambda each: (each.version, int(each)))]


def _ipv4(port: NeutronPort) -> str:
    """The port's first IPv4 address. Raises CloudRefusal for a port without one."""
    for address in _addresses(port):
        if ipaddress.ip_address(address).version == 4:
            return address
    raise CloudRefusal(
        "The instance's port has no IPv4 address, which a floating IP needs: set is_public to false.",
        "/access/is_public",
    )


def _by_age(found: Iterable[T]) -> list[T]:
    """The oldest first: of twins, which a lost answer leaves, everyone keeps the same one."""
    return sorted(found, key=lambda each: (each.created_at, each.id))
