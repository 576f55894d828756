"""The host's side of the guests' network, and what Neutron's agents leave on the host."""

import re
import subprocess

from config import MANAGEMENT_ADDRESS
from processes import ENVIRONMENT, Failed

ADDRESS = "10.77.0.1"
LINK = re.compile(r"\d+: ((?:tap|brq)[0-9a-f]{8}-[0-9a-f]{2}|vxlan-\d+|lab-host|lab-mgmt)[@:]")


def plug() -> None:
    """A veth pair: Neutron bridges lab-phys as physnet1, the host has the gateway's address on lab-host."""
    if not links("lab-host"):
        ip("link", "add", "lab-host", "type", "veth", "peer", "name", "lab-phys")
    ip("address", "replace", f"{ADDRESS}/24", "dev", "lab-host")
    ip("link", "set", "lab-host", "up")
    ip("link", "set", "lab-phys", "up")


def plug_management(port: str, mac: str) -> None:
    """A veth pair: Neutron's agent bridges the end that is named after the port, the host has the other.

    So the host is on a project's network as a guest is, which is how Octavia reaches its own.
    """
    if not links("lab-mgmt"):
        ip("link", "add", "lab-mgmt", "address", mac, "type", "veth", "peer", "name", f"tap{port[:11]}")
    ip("link", "set", "lab-mgmt", "mtu", "1450")  # VXLAN takes 50
    ip("address", "replace", f"{MANAGEMENT_ADDRESS}/24", "dev", "lab-mgmt")
    ip("link", "set", "lab-mgmt", "up")
    ip("link", "set", f"tap{port[:11]}", "up")


def clear() -> None:
    """Remove namespaces, links, sets and rules of Neutron, and the veth pair."""
    for line in ip("netns", "list").splitlines():
        if line.startswith(("qdhcp-", "qrouter-")):
            ip("netns", "delete", line.split()[0])
    for link in links():
        host("ip", "link", "delete", link, check=False)  # it may have gone with its namespace or its peer
    if left := links():
        raise Failed(f"these network links cannot be deleted: {', '.join(left)}")
    for family in ("iptables", "ip6tables", "ebtables-nft"):
        rules = host(f"{family}-save")
        if "neutron" in rules:
            kept = "".join(line for line in rules.splitlines(keepends=True) if "neutron" not in line)
            host(f"{family}-restore", given=kept)
    for name in host("ipset", "list", "-name").splitlines():
        if re.fullmatch(r"NI?Pv[46][0-9a-f-]+", name):
            host("ipset", "destroy", name)


def links(*name: str) -> list[str]:
    return LINK.findall(host("ip", "-oneline", "link", "show", *name, check=not name))


def ip(*arguments: str) -> str:
    return host("ip", *arguments)


def host(*command: str, given: str | None = None, check: bool = True) -> str:
    done = subprocess.run(
        command, env=ENVIRONMENT, input=given, capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
