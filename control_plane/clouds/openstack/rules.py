"""Who may connect, as rules of a security group."""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """A rule for what comes in, by all that tells two such rules apart."""

    ethertype: str
    remote_ip_prefix: str | None
    port_range_min: int | None
    port_range_max: int | None
    protocol: str | None = "tcp"
    remote_group_id: str | None = None
    remote_address_group_id: str | None = None

    def body(self, group_id: str) -> dict[str, Any]:
        """As Neutron takes it."""
        return {
            "security_group_id": group_id,
            "direction": "ingress",
            "ethertype": self.ethertype,
            "protocol": self.protocol,
            "port_range_min": self.port_range_min,
            "port_range_max": self.port_range_max,
            "remote_ip_prefix": self.remote_ip_prefix,
        }


def wanted_rules(cidrs: Iterable[str], port: int) -> set[Rule]:
    return {Rule(f"IPv{ipaddress.ip_network(cidr).version}", cidr, port, port) for cidr in cidrs}


def ingress(rules: Iterable[Mapping[str, Any]]) -> Iterable[tuple[Rule, str]]:
    """The rules for what comes in, as Neutron shows them, each with its id."""
    for rule in rules:
        if rule["direction"] == "ingress":
            yield Rule(*(rule.get(name) for name in Rule.__dataclass_fields__)), rule["id"]  # type: ignore[arg-type]
