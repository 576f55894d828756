"""The Terraform provider logs in at Keystone and finds the control plane in its catalogue."""

import os
import secrets
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from openstack.connection import Connection

from bench.service import COFFRET, Service, serving

pytestmark = [pytest.mark.openstack, pytest.mark.slow]

CONFIGURATION = """
terraform {
  required_providers {
    coffret = { source = "registry.terraform.io/coffret/coffret" }
  }
}

provider "coffret" {
%s
}

resource "coffret_instance" "orders" {
  name      = "orders-db"
  datastore = "postgresql"
  flavor    = "db.small"
  volume    = { size = 1 }
}

resource "coffret_database" "orders" {
  instance = coffret_instance.orders.name
  name     = "orders"
}
"""


@dataclass(frozen=True)
class User:
    """Somebody with the role member in a project of their own."""

    auth_url: str
    name: str
    password: str
    domain: str
    project: str
    project_id: str
    region: str
    """Where the control plane is, and nothing else."""
    home: str | None
    """Where the cloud's other services are."""

    @property
    def auth(self) -> dict[str, str]:
        """What clouds.yaml has under `auth`."""
        return {
            "auth_url": self.auth_url,
            "username": self.name,
            "password": self.password,
            "user_domain_id": self.domain,
            "project_name": self.project,
            "project_domain_id": self.domain,
        }

    @property
    def variables(self) -> dict[str, str]:
        """What an openrc file sets."""
        return {f"OS_{name.upper()}": text for name, text in self.auth.items()} | {
            "OS_REGION_NAME": self.region
        }

    def connect(self) -> Connection:
        return Connection(auth=self.auth, region_name=self.home, identity_api_version="3")


@pytest.fixture(scope="module")
def control_plane(cloud_connection: Connection) -> Iterator[Service]:
    with serving("noop", auth="keystone", deployment="test-terraform-identity") as service:
        yield service


@pytest.fixture(scope="module")
def user(cloud_connection: Connection, control_plane: Service) -> Iterator[User]:
    """A user, and the control plane in a region of the catalogue that is there for this test alone."""
    identity = cloud_connection.identity
    name = f"coffret-test-{uuid.uuid4().hex[:8]}"
    password = secrets.token_urlsafe()
    with ExitStack() as undo:
        region = identity.create_region(id=name)
        undo.callback(identity.delete_region, region)
        services = {service.id for service in identity.services(type="database")}
        undo.callback(unregister, cloud_connection, name, services)
        register = [*COFFRET, "keystone", "register", "--url", control_plane.url, "--region", name]
        mine = {key: value for key, value in os.environ.items() if not key.startswith("COFFRET_")}
        subprocess.run(register, check=True, env=mine)
        domain = cloud_connection.session.auth.get_access(cloud_connection.session).user_domain_id
        project = identity.create_project(name=name, domain_id=domain)
        undo.callback(identity.delete_project, project)
        somebody = identity.create_user(
            name=name, password=password, domain_id=domain, default_project_id=project.id
        )
        undo.callback(identity.delete_user, somebody)
        identity.assign_project_role_to_user(project, somebody, identity.find_role("member"))
        auth_url = cloud_connection.config.config["auth"]["auth_url"]
        home = cloud_connection.config.region_name
        yield User(auth_url, name, password, domain, name, project.id, name, home)


def unregister(cloud: Connection, region: str, before: set[str]) -> None:
    """Take the region's endpoints out of the catalogue, and the service unless others use it."""
    for endpoint in list(cloud.identity.endpoints(region_id=region)):
        cloud.identity.delete_endpoint(endpoint)
    for service in list(cloud.identity.services(type="database")):
        if service.id not in before and not list(cloud.identity.endpoints(service_id=service.id)):
            cloud.identity.delete_service(service)


@dataclass(frozen=True)
class Workspace:
    """A folder with a configuration, and Terraform in it."""

    folder: Path
    terraform: str
    environment: dict[str, str]

    def run(self, command: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.terraform, command, "-input=false", "-no-color", *options],
            cwd=self.folder, env=self.environment | variables, capture_output=True, text=True, timeout=300,
        )  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path, environment: dict[str, str], terraform: str) -> Workspace:
    """Without what the shell says of clouds: the test says it all."""
    mine = {name: text for name, text in environment.items() if not name.startswith("OS_")}
    return Workspace(tmp_path, terraform, mine)


def configure(workspace: Workspace, block: str = "") -> None:
    (workspace.folder / "main.tf").write_text(CONFIGURATION % block)


def lives(workspace: Workspace, control_plane: Service, user: User, *hidden: str, **variables: str) -> None:
    """The configuration is planned, applied, found as it should be and destroyed, and says no secret."""
    said: list[str] = []
    for command, *options in (
        ("plan", "-out=plan"),
        ("apply", "plan"),
        ("plan", "-detailed-exitcode"),
    ):
        done = workspace.run(command, *options, TF_LOG="TRACE", **variables)
        assert done.returncode == 0, done.stdout + done.stderr[-4000:]
        said += done.stdout, done.stderr
    quota: Any = control_plane.get(f"/quotas/{user.project_id}")
    assert quota["status"]["usage"]["instances"] == 1, quota
    done = workspace.run("destroy", "-auto-approve", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    said.append((workspace.folder / "terraform.tfstate.backup").read_text())
    assert "TRACE" in said[1]
    for secret in hidden:
        assert not any(secret in text for text in said)


def test_a_cloud_of_clouds_yaml_is_enough(workspace: Workspace, control_plane: Service, user: User) -> None:
    cloud = {"auth": user.auth | {}, "region_name": user.region}
    del cloud["auth"]["password"]
    folder = workspace.folder
    (folder / "clouds.yaml").write_text(yaml.safe_dump({"clouds": {"mine": cloud}}))
    secure = {"clouds": {"mine": {"auth": {"password": user.password}}}}
    (folder / "secure.yaml").write_text(yaml.safe_dump(secure))
    configure(workspace, '  cloud = "mine"')
    lives(workspace, control_plane, user, user.password)


def test_os_variables_are_enough(workspace: Workspace, control_plane: Service, user: User) -> None:
    configure(workspace)
    lives(workspace, control_plane, user, user.password, **user.variables)


def test_an_application_credential_is_enough(
    workspace: Workspace, control_plane: Service, user: User
) -> None:
    with user.connect() as connection:
        made = connection.identity.create_application_credential(
            connection.current_user_id, name="terraform", roles=[{"name": "member"}]
        )
    configure(
        workspace,
        f'  auth_url = "{user.auth_url}"\n'
        f'  region = "{user.region}"\n'
        f'  application_credential_id = "{made.id}"',
    )
    lives(workspace, control_plane, user, made.secret, OS_APPLICATION_CREDENTIAL_SECRET=made.secret)


def test_a_token_of_keystone_is_enough(workspace: Workspace, control_plane: Service, user: User) -> None:
    with user.connect() as connection:
        token = connection.auth_token
    configure(workspace)
    lives(
        workspace, control_plane, user, token,
        OS_AUTH_URL=user.auth_url, OS_TOKEN=token, OS_REGION_NAME=user.region,
    )  # fmt: skip


def test_a_token_of_the_control_planes_own_is_taken_before_a_cloud(
    workspace: Workspace, control_plane: Service
) -> None:
    configure(workspace)
    done = workspace.run(
        "plan", COFFRET_ENDPOINT=control_plane.url, COFFRET_TOKEN=control_plane.token, OS_CLOUD="nowhere"
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_password_is_said_without_showing_it(workspace: Workspace, user: User) -> None:
    configure(workspace)
    done = workspace.run("plan", **user.variables | {"OS_PASSWORD": "a-wrong-password"})
    assert done.returncode == 1
    text = " ".join(done.stderr.replace("│", " ").split())
    assert "Keystone refuses the login" in text
    assert f'"{user.name}" of the environment variable OS_USERNAME' in text
    assert "a-wrong-password" not in done.stdout + done.stderr


def test_a_region_without_a_control_plane_is_said_with_those_that_have_one(
    workspace: Workspace, user: User
) -> None:
    configure(workspace)
    done = workspace.run("plan", **user.variables | {"OS_REGION_NAME": "Elsewhere"})
    assert done.returncode == 1
    text = " ".join(done.stderr.replace("│", " ").split())
    assert "public in Elsewhere" in text
    assert f"public in {user.region} (coffret)" in text
