"""`moved` blocks from the OpenStack provider's Trove resources, whose state is written here by hand."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.service import Service

TROVE = "registry.terraform.io/terraform-provider-openstack/openstack"
INSTANCE_ID = "6e9b7c1c-5a4b-4c5e-9d0f-3a7a1f0f9a11"
DATASTORE = [{"type": "postgresql", "version": "18"}]
BEFORE: dict[str, dict[str, Any]] = {
    "openstack_db_instance_v1": {
        "id": INSTANCE_ID, "region": "RegionOne", "name": "moved-db", "flavor_id": "db.small", "size": 1,
        "datastore": DATASTORE, "configuration_id": "", "network": [], "database": [],
        "user": [{"name": "app", "password": "an-old-secret", "host": "", "databases": []}],
    },
    "openstack_db_configuration_v1": {
        "id": "0c6ccd1b-1a53-4ba7-a9b8-3f6f4f6bd5a1", "name": "moved-settings", "description": "Settings",
        "datastore": DATASTORE,
        "configuration": [{"name": "work_mem", "value": "8MB", "string_type": None}],
    },
    "openstack_db_database_v1": {
        "id": f"{INSTANCE_ID}/orders", "instance_id": INSTANCE_ID, "name": "orders",
    },
    "openstack_db_user_v1": {
        "id": f"{INSTANCE_ID}/app", "instance_id": INSTANCE_ID, "name": "app", "host": "",
        "password": "an-old-secret", "databases": ["orders"],
    },
}  # fmt: skip
AFTER = {
    "openstack_db_instance_v1": "coffret_instance",
    "openstack_db_configuration_v1": "coffret_configuration_group",
    "openstack_db_database_v1": "coffret_database",
    "openstack_db_user_v1": "coffret_user",
}
CONFIGURATION = """
terraform {
  required_providers {
    coffret = { source = "registry.terraform.io/coffret/coffret" }
  }
}
provider "coffret" {
  adopt = true
}
resource "coffret_configuration_group" "orders" {
  name        = "moved-settings"
  description = "Settings"
  datastore   = "postgresql"
  parameters  = { work_mem = "8MB" }
}
resource "coffret_instance" "orders" {
  name      = "moved-db"
  datastore = "postgresql"
  flavor    = "db.small"
  volume    = { size = 1 }
}
resource "coffret_database" "orders" {
  instance = coffret_instance.orders.name
  name     = "orders"
}
resource "coffret_user" "orders" {
  instance            = coffret_instance.orders.name
  name                = "app"
  password_wo         = "a-new-secret"
  password_wo_version = 1
  grants              = [{ database = coffret_database.orders.name, privileges = ["ALL"] }]
}
"""


class Workspace:
    """A folder with the state of before and the configuration of after."""

    def __init__(self, folder: Path, terraform: str, environment: dict[str, str], service: Service) -> None:
        self.folder = folder
        self._terraform = terraform
        ours = Path(environment["TF_CLI_CONFIG_FILE"]).parent
        # Terraform starts the provider of whatever is in the state. A move does without: ours stands in.
        theirs = folder / "theirs"
        theirs.mkdir()
        shutil.copy(ours / "terraform-provider-coffret", theirs / "terraform-provider-openstack")
        settings = folder / "terraformrc"
        settings.write_text(
            "provider_installation {\n  dev_overrides {\n"
            f'    "registry.terraform.io/coffret/coffret" = "{ours}"\n'
            f'    "{TROVE}" = "{theirs}"\n  }}\n}}\n'
        )
        self._environment = environment | {
            "TF_CLI_CONFIG_FILE": str(settings),
            "COFFRET_ENDPOINT": service.url,
            "COFFRET_TOKEN": service.token,
        }
        moves = [
            f"moved {{\n  from = {old}.orders\n  to = {new}.orders\n}}\n" for old, new in AFTER.items()
        ]
        (folder / "main.tf").write_text(CONFIGURATION + "".join(moves))
        resources = [
            {
                "mode": "managed", "type": kind, "name": "orders", "provider": f'provider["{TROVE}"]',
                "instances": [{"schema_version": 0, "attributes": attributes}],
            }
            for kind, attributes in BEFORE.items()
        ]  # fmt: skip
        state = {
            "version": 4,
            "terraform_version": "1.11.0",
            "serial": 1,
            "lineage": "before",
            "outputs": {},
        }
        (folder / "terraform.tfstate").write_text(json.dumps(state | {"resources": resources}))

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [self._terraform, *arguments], cwd=self.folder, env=self._environment, text=True,
            capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def plan(self) -> dict[str, list[str]]:
        """What is to be done, by address."""
        self.run("plan", "-out=plan")
        changes = json.loads(self.run("show", "-json", "plan"))["resource_changes"]
        return {change["address"]: change["change"]["actions"] for change in changes}

    def state(self) -> dict[str, dict[str, Any]]:
        """The values in the state, by type."""
        resources = json.loads((self.folder / "terraform.tfstate").read_text())["resources"]
        return {found["type"]: found["instances"][0]["attributes"] for found in resources}


@pytest.fixture
def workspace(
    tmp_path: Path, terraform: str, environment: dict[str, str], control_plane: Service
) -> Workspace:
    return Workspace(tmp_path, terraform, environment, control_plane)


def test_what_is_there_under_its_name_is_moved_and_the_rest_is_made(
    workspace: Workspace, control_plane: Service
) -> None:
    body = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}
    control_plane.put("/instances/moved-db", body)
    instance = control_plane.ready("/instances/moved-db")["id"]
    database = control_plane.put("/instances/moved-db/databases/orders", {})["id"]

    assert workspace.plan() == {
        "coffret_instance.orders": ["no-op"],
        "coffret_configuration_group.orders": ["create"],
        "coffret_database.orders": [
            "create"
        ],  # there is no instance here of Trove's id; it is taken over below
        "coffret_user.orders": ["create"],
    }
    workspace.run("apply", "plan")

    state = workspace.state()
    assert set(state) == set(AFTER.values())
    assert state["coffret_instance"]["id"] == instance
    assert state["coffret_database"]["id"] == database
    assert state["coffret_configuration_group"]["parameters"] == {"work_mem": "8MB"}
    assert "secret" not in (workspace.folder / "terraform.tfstate").read_text()
    assert set(map(tuple, workspace.plan().values())) == {("no-op",)}
    workspace.run("destroy", "-auto-approve")


def test_a_move_without_a_look_at_the_control_plane_has_what_maps(workspace: Workspace) -> None:
    workspace.run("plan", "-refresh=false", "-out=plan")
    shown = json.loads(workspace.run("show", "-json", "plan"))
    before = {change["address"]: change["change"]["before"] for change in shown["resource_changes"]}
    instance = before["coffret_instance.orders"]
    assert (instance["flavor"], instance["volume"]["size"], instance["version"]) == ("db.small", 1, "18")
    assert before["coffret_configuration_group.orders"]["parameters"] == {"work_mem": "8MB"}
    user = before["coffret_user.orders"]
    assert (user["instance"], user["name"], user["password_wo"]) == (INSTANCE_ID, "app", None)
    assert [grant["database"] for grant in user["grants"]] == ["orders"]
