"""The whole of it on a guest that boots: Terraform, Keystone, Nova, the agent, SQL over the network.

It needs what `make guest-image` left, and on another cloud than the test bed these variables:
GUEST_TEST_USER_CLOUD, a user's in clouds.yaml; GUEST_TEST_NETWORK, of that user, with a router to the
external one; GUEST_TEST_MANAGEMENT_NETWORK and GUEST_TEST_ADDRESS, where this machine is reached from it;
GUEST_TEST_ZONE; GUEST_TEST_CIDR, where this machine's connections to floating IPs come from.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openstack
import psycopg
import pytest
import yaml
from certificates import certify
from deployments import Deployment
from openstack.connection import Connection
from serving import ROOT, eventually

pytestmark = pytest.mark.openstack

BUILT = Path(os.environ.get("GUEST_IMAGE_DIR", ROOT / "build/guest-image"))
USER_CLOUD = os.environ.get("GUEST_TEST_USER_CLOUD", "lab-demo")
NETWORK = os.environ.get("GUEST_TEST_NETWORK", "demo-net")
MANAGEMENT_NETWORK = os.environ.get("GUEST_TEST_MANAGEMENT_NETWORK", "lab-mgmt")
ADDRESS = os.environ.get("GUEST_TEST_ADDRESS", "10.79.0.1")
ZONE = os.environ.get("GUEST_TEST_ZONE", "lab")
CIDR = os.environ.get("GUEST_TEST_CIDR", "10.77.0.1/32")
PASSWORD = "over-the-network-1"
BOOT = 600.0
"""Seconds for an emulated guest on a machine with other things to do."""


class Guests(Deployment):
    """Serves TLS, by a CA of its own, where guests reach it."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(
            connection,
            COFFRET_AUTH="keystone",
            COFFRET_OPENSTACK_MANAGEMENT_NETWORK=MANAGEMENT_NETWORK,
        )
        with socket.socket() as probe:
            probe.bind((ADDRESS, 0))
            bind = f"{ADDRESS}:{probe.getsockname()[1]}"
        certify(self.folder, ADDRESS)
        self.url = f"https://{bind}"
        self.ca = self.folder / "ca.pem"
        self.session.verify = str(self.ca)
        self.session.trust_env = False
        self.settings |= {
            "COFFRET_BIND": bind,
            "COFFRET_AGENT_CA": str(self.ca),
            "COFFRET_TLS_CERTIFICATE": str(self.folder / "tls.pem"),
            "COFFRET_TLS_KEY": str(self.folder / "tls.key"),
        }

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            self.command(*arguments), env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def console(self) -> str:
        """What the only server's agent said."""
        (server,) = self.connection.compute.servers(tags=f"coffret:{self.name}")
        output = self.connection.compute.get_server_console_output(server)
        return str(output["output"])


@pytest.fixture(scope="module")
def user() -> Iterator[Connection]:
    with openstack.connect(cloud=USER_CLOUD) as connection:
        yield connection


@pytest.fixture(scope="module")
def guests(cloud_connection: Connection, user: Connection) -> Iterator[Guests]:
    """With the versions that are in the guest image; calls over REST are the user's project's."""
    deployment = Guests(cloud_connection)
    try:
        deployment.start()
        deployment.run("datastore", "import", *map(str, sorted(BUILT.glob("*.json"))))
        token = deployment.run("token", "create", "user", "--project", user.current_project_id)
        deployment.session.headers["Authorization"] = f"Bearer {token}"
        yield deployment
    finally:
        deployment.clean()


@pytest.fixture(scope="module")
def region(cloud_connection: Connection, guests: Guests) -> Iterator[str]:
    """A region in Keystone's catalogue that has this control plane alone."""
    identity = cloud_connection.identity
    identity.create_region(id=guests.name)
    services = {service.id for service in identity.services(type="database")}
    guests.run("keystone", "register", "--url", guests.url, "--region", guests.name)
    yield guests.name
    for endpoint in list(identity.endpoints(region_id=guests.name)):
        identity.delete_endpoint(endpoint)
    for service in list(identity.services(type="database")):
        if service.id not in services and not list(identity.endpoints(service_id=service.id)):
            identity.delete_service(service)
    identity.delete_region(guests.name)


class Example:
    """examples/openstack in a folder of its own, and what of it is overridden."""

    def __init__(self, folder: Path, terraform: str, environment: dict[str, str], variables: Any) -> None:
        shutil.copytree(ROOT / "examples/openstack", folder, dirs_exist_ok=True)
        self.folder = folder
        self.terraform = terraform
        self.environment = environment
        self.variables = [f"-var={name}={value}" for name, value in variables.items()]

    def apply(self, overrides: str = "") -> None:
        (self.folder / "changed_override.tf").write_text(overrides)
        self.run("apply")

    def run(self, command: str) -> None:
        done = subprocess.run(
            [self.terraform, command, "-auto-approve", "-input=false", "-no-color", *self.variables],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=BOOT,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def example(
    tmp_path_factory: pytest.TempPathFactory,
    guests: Guests,
    region: str,
    user: Connection,
    environment: dict[str, str],
    terraform: str,
) -> Example:
    """The example, applied as the user by what clouds.yaml says and nothing else."""
    folder = tmp_path_factory.mktemp("example")
    cloud = {"auth": user.config.config["auth"], "region_name": region}
    (folder / "clouds.yaml").write_text(yaml.safe_dump({"clouds": {"mine": cloud}}))
    mine = {name: text for name, text in environment.items() if not name.startswith("OS_")}
    applied = Example(
        folder,
        terraform,
        mine | {"SSL_CERT_FILE": str(guests.ca)},
        {
            "cloud": "mine",
            "network_id": user.network.find_network(NETWORK, ignore_missing=False).id,
            "allowed_cidrs": f'["{CIDR}"]',
            "availability_zone": ZONE,
            "app_password": PASSWORD,
        },
    )
    applied.apply()
    return applied


def ask(guests: Guests, *statements: str) -> Any:
    """Run SQL as the user, at the public address; what the last statement returns first."""
    host = guests.instance("orders-db")["status"]["endpoints"][0]["host"]
    with psycopg.connect(
        host=host, dbname="orders", user="app", password=PASSWORD, connect_timeout=10, autocommit=True
    ) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchone()[0] if cursor.description else None  # type: ignore[index]


def answers_after(guests: Guests, started: Any) -> None:
    """Wait until an engine that was started later than `started` answers."""

    def look() -> bool:
        try:
            return bool(ask(guests, "SELECT pg_postmaster_start_time()") > started)
        except psycopg.OperationalError:
            return False

    eventually(look, BOOT, 2)
    guests.ready("/instances/orders-db")


@pytest.mark.usefixtures("example")
def test_the_user_runs_sql_over_the_network(guests: Guests) -> None:
    ask(guests, "CREATE TABLE orders (what text)", "INSERT INTO orders VALUES ('kept')")
    assert ask(guests, "SHOW server_version").startswith("15.")
    assert ask(guests, "SHOW work_mem") == "8MB"


@pytest.mark.usefixtures("example")
def test_the_agent_came_in_by_its_certificate_authority(guests: Guests) -> None:
    assert guests.url.startswith("https://")
    assert "registered" in guests.console()


def test_a_changed_parameter_is_applied_inside(guests: Guests, example: Example) -> None:
    example.apply('resource "coffret_configuration_group" "orders" { parameters = { work_mem = "16384" } }')
    eventually(lambda: ask(guests, "SHOW work_mem") == "16MB", 60, 1)


def test_a_larger_volume_is_a_larger_filesystem(guests: Guests, example: Example) -> None:
    example.apply('resource "coffret_instance" "orders" { volume = { size = 2 } }')
    eventually(lambda: f"has {2 << 30} bytes now" in guests.console(), 120, 1)
    assert ask(guests, "SELECT what FROM orders") == "kept"


@pytest.mark.usefixtures("example")
def test_a_reboot_keeps_the_data(guests: Guests) -> None:
    started = ask(guests, "SELECT pg_postmaster_start_time()")
    (server,) = guests.connection.compute.servers(tags=f"coffret:{guests.name}")
    guests.connection.compute.reboot_server(server, "SOFT")
    answers_after(guests, started)
    assert ask(guests, "SELECT what FROM orders") == "kept"


@pytest.mark.usefixtures("example")
def test_a_rebuild_keeps_the_data(guests: Guests) -> None:
    """The root disk is new, so the agent registers anew, with a token that was not there before."""
    started = ask(guests, "SELECT pg_postmaster_start_time()")
    assert guests.call("POST", "/instances/orders-db/actions", {"type": "rebuild"}).ok
    answers_after(guests, started)
    assert ask(guests, "SELECT what FROM orders") == "kept"
    (server,) = guests.connection.compute.servers(tags=f"coffret:{guests.name}")
    assert [item.action for item in guests.connection.compute.server_actions(server)].count("rebuild") == 1


def test_destroy_leaves_nothing(guests: Guests, example: Example) -> None:
    example.run("destroy")
    assert guests.objects() == []
    assert guests.call("GET", "/instances").json()["items"] == []
