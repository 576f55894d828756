"""What Terraform does to a real engine, once: actions."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import Serving, served

REQUIRES = """
terraform {
  required_providers {
    coffret = { source = "registry.terraform.io/coffret/coffret" }
  }
}
"""
ACTIONS = """
variable "connections" { type = string }

action "coffret_instance_restart" "orders" {
  config {
    instance = "orders"
  }
}
resource "coffret_configuration_group" "orders" {
  name       = "tuned"
  datastore  = "postgresql"
  parameters = { max_connections = var.connections }
  lifecycle {
    action_trigger {
      events  = [after_update]
      actions = [action.coffret_instance_restart.orders]
    }
  }
}
resource "coffret_instance" "orders" {
  name                = "orders"
  datastore           = "postgresql"
  flavor              = "db.small"
  volume              = { size = 1 }
  configuration_group = coffret_configuration_group.orders.name
}
"""


class Workspace:
    """A folder with a configuration, and Terraform in it."""

    def __init__(self, folder: Path, terraform: str, environment: dict[str, str]) -> None:
        self.folder = folder
        self.command = terraform
        self.environment = environment

    def __call__(self, *arguments: str) -> str:
        """What Terraform says; it must succeed."""
        done = subprocess.run(
            [self.command, *arguments, "-no-color"], cwd=self.folder, env=self.environment,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def control_plane() -> Iterator[Serving]:
    """On the local cloud."""
    with served() as one:
        one.start()
        yield one


@pytest.fixture
def workspace(
    tmp_path: Path, terraform: str, environment: dict[str, str], control_plane: Serving
) -> Workspace:
    version = subprocess.run([terraform, "version", "-json"], capture_output=True, text=True, check=True)
    major, minor = json.loads(version.stdout)["terraform_version"].split(".")[:2]
    if (int(major), int(minor)) < (1, 14):
        pytest.skip("Terraform has actions since 1.14; make setup-dev puts one into .venv/bin")
    token = str(control_plane.session.headers["Authorization"]).removeprefix("Bearer ")
    mine = {"COFFRET_ENDPOINT": control_plane.url, "COFFRET_TOKEN": token}
    return Workspace(tmp_path, terraform, environment | mine)


def starts(control_plane: Serving) -> int:
    """How often the agent has started the engine."""
    (state,) = control_plane.folder.glob("instances/*/agent/state.json")
    return int(json.loads(state.read_text())["starts"])


def orders(control_plane: Serving) -> dict[str, Any]:
    found: dict[str, Any] = control_plane.call("GET", "/instances/orders").json()["status"]
    return found


def test_an_action_restarts_the_engine_once(control_plane: Serving, workspace: Workspace) -> None:
    (workspace.folder / "main.tf").write_text(REQUIRES + ACTIONS)
    apply = ("apply", "-auto-approve", "-var", "connections=50")
    workspace(*apply)
    began = starts(control_plane)
    workspace(*apply)
    assert starts(control_plane) == began, "there was nothing to do"

    said = workspace("apply", "-auto-approve", "-var", "connections=60")
    assert 'restart of the instance "orders": asked for' in said
    assert starts(control_plane) == began + 1
    assert not orders(control_plane)["restart_required"], "what was pending took effect"
    assert orders(control_plane)["ready"], "Terraform waited for it"

    workspace(*apply[:2], "-var", "connections=60", "-invoke=action.coffret_instance_restart.orders")
    assert starts(control_plane) == began + 2
    workspace("destroy", "-auto-approve", "-var", "connections=60")
