"""What the test bed holds: accounts, catalogue, flavors, zones, image, networks, volume types.

All is found before it is made: a step that was cut short is run again.
"""

from pathlib import Path

from config import MANAGEMENT_ADDRESS, PASSWORD, PORT, STATE
from openstack.config import OpenStackConfig
from openstack.connection import Connection

ENDPOINTS = {
    ("glance", "image"): f"http://127.0.0.1:{PORT['glance']}",
    ("placement", "placement"): f"http://127.0.0.1:{PORT['placement']}",
    ("nova", "compute"): f"http://127.0.0.1:{PORT['nova']}/v2.1",
    ("neutron", "network"): f"http://127.0.0.1:{PORT['neutron']}",
    ("cinder", "volumev3"): f"http://127.0.0.1:{PORT['cinder']}/v3/%(project_id)s",
    ("cinder", "block-storage"): f"http://127.0.0.1:{PORT['cinder']}/v3/%(project_id)s",
}
# name: MiB of memory, CPUs, GiB of disk
FLAVORS = {
    "db.tiny": (512, 1, 3),
    "db.small": (1024, 1, 4),
    "db.medium": (2048, 2, 6),
    "db.large": (4096, 2, 8),
    "db.highmem.small": (8192, 1, 4),
    "db.highmem.medium": (32768, 2, 8),
    "db.highmem.large": (65536, 4, 8),
}
ZONES = ("fake", "lab")  # each has the one compute host of its name
VOLUME_TYPES = ("rbd", "rbd-offline")


def connect(name: str) -> Connection:
    return Connection(config=OpenStackConfig(config_files=[str(STATE / "clouds.yaml")]).get_one(name))


def make_catalogue() -> None:
    identity = connect("lab-admin").identity
    domain = identity.find_domain("Default")

    def project(name: str):
        return identity.find_project(name) or identity.create_project(name=name, domain_id=domain.id)

    def account(name: str, project_name: str, *roles: str) -> None:
        user = identity.find_user(name) or identity.create_user(
            name=name, password=PASSWORD, domain_id=domain.id
        )
        for role in roles:
            wanted = identity.find_role(role) or identity.create_role(name=role)
            identity.assign_project_role_to_user(project(project_name), user, wanted)

    for service in ("glance", "placement", "nova", "neutron", "cinder"):
        account(service, "service", "admin", "service")
    account("demo", "demo", "member")
    # admin: nobody else may make a port on another project's network; service: to check callers' tokens.
    account("coffret", "coffret", "admin", "service")
    for (name, kind), url in ENDPOINTS.items():
        service = next(identity.services(type=kind), None) or identity.create_service(name=name, type=kind)
        have = {endpoint.interface for endpoint in identity.endpoints(service_id=service.id)}
        for interface in {"public", "internal", "admin"} - have:
            identity.create_endpoint(
                service_id=service.id, interface=interface, url=url, region_id="RegionOne"
            )


def make_resources() -> None:
    admin, demo = connect("lab-admin"), connect("lab-demo")
    for name, (ram, vcpus, disk) in FLAVORS.items():
        admin.compute.find_flavor(name) or admin.compute.create_flavor(
            name=name, ram=ram, vcpus=vcpus, disk=disk
        )
    for name in ZONES:
        zone = admin.compute.find_aggregate(name)
        zone = zone or admin.compute.create_aggregate(name=name, availability_zone=name)
        if name not in (zone.hosts or []):
            admin.compute.add_host_to_aggregate(zone, name)
    for name in VOLUME_TYPES:
        admin.block_storage.find_type(name) or admin.block_storage.create_type(
            name=name, extra_specs={"volume_backend_name": name}
        )
    make_image(admin)
    make_networks(admin, demo)


def make_management() -> None:
    """`lab-mgmt`, the database service's own: no gateway, so a guest's default route stays elsewhere."""
    network = connect("coffret").network
    mine = network.find_network("lab-mgmt") or network.create_network(name="lab-mgmt")
    network.find_subnet("lab-mgmt-subnet") or network.create_subnet(
        name="lab-mgmt-subnet",
        network_id=mine.id,
        ip_version=4,
        cidr="10.79.0.0/24",
        gateway_ip=None,
        allocation_pools=[{"start": "10.79.0.10", "end": "10.79.0.250"}],
    )
    network.find_port("lab-mgmt-host") or network.create_port(
        name="lab-mgmt-host",
        network_id=mine.id,
        fixed_ips=[{"ip_address": MANAGEMENT_ADDRESS}],
        binding_host_id="lab",
        device_owner="testbed:host",
        is_port_security_enabled=False,
    )


def management_port() -> tuple[str, str]:
    """Id and MAC address of the host's port on `lab-mgmt`."""
    port = connect("coffret").network.find_port("lab-mgmt-host", ignore_missing=False)
    return port.id, port.mac_address


def make_image(admin: Connection) -> None:
    if not admin.image.find_image("tiny"):
        empty = Path(STATE / "tiny.raw")
        empty.write_bytes(bytes(1 << 20))
        admin.create_image(
            "tiny",
            filename=str(empty),
            disk_format="raw",
            container_format="bare",
            visibility="public",
            wait=True,
        )


def make_networks(admin: Connection, demo: Connection) -> None:
    """`lab-net`, with the host on it and the floating IPs; behind a router project demo's `demo-net`."""
    lab = admin.network.find_network("lab-net") or admin.network.create_network(
        name="lab-net",
        is_shared=True,
        is_router_external=True,
        provider_network_type="flat",
        provider_physical_network="physnet1",
    )
    admin.network.find_subnet("lab-subnet") or admin.network.create_subnet(
        name="lab-subnet",
        network_id=lab.id,
        ip_version=4,
        cidr="10.77.0.0/24",
        gateway_ip="10.77.0.1",
        allocation_pools=[{"start": "10.77.0.100", "end": "10.77.0.250"}],
    )
    own = demo.network.find_network("demo-net") or demo.network.create_network(name="demo-net")
    subnet = demo.network.find_subnet("demo-subnet") or demo.network.create_subnet(
        name="demo-subnet", network_id=own.id, ip_version=4, cidr="10.78.0.0/24"
    )
    if not demo.network.find_router("demo-router"):
        router = demo.network.create_router(
            name="demo-router", external_gateway_info={"network_id": lab.id}
        )
        demo.network.add_interface_to_router(router, subnet_id=subnet.id)
