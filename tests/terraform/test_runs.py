"""What Terraform does to a real engine in one run: actions, and users that live no longer than it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import Serving, eventually, served
from workspace import Workspace

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


TTL = 3
"""Seconds that a user of these tests outlives a run that is killed."""
USERS = f"""
variable "command" {{ type = string }}

resource "coffret_instance" "orders" {{
  name      = "orders"
  datastore = "postgresql"
  flavor    = "db.small"
  volume    = {{ size = 1 }}
}}
resource "coffret_database" "orders" {{
  instance = coffret_instance.orders.id
  name     = "shop"
}}
ephemeral "coffret_user" "guest" {{
  instance    = coffret_database.orders.instance
  name_prefix = "guest_"
  ttl         = "{TTL}s"
  grants      = [{{ database = coffret_database.orders.id, privileges = ["ALL"] }}]
}}
resource "terraform_data" "guest" {{
  triggers_replace = var.command
  provisioner "local-exec" {{
    interpreter = ["{sys.executable}", "-c"]
    command     = var.command
    environment = {{
      URI      = ephemeral.coffret_user.guest.uris["shop"]
      PASSWORD = ephemeral.coffret_user.guest.password
    }}
  }}
}}
"""
LOGS_IN_ONCE = """
import os, psycopg
assert os.environ["PASSWORD"] in os.environ["URI"]
with psycopg.connect(os.environ["URI"]) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS kept (line int)")
"""
OUTLIVES_TWO_TTLS = f"""
import time
began = time.monotonic()
while time.monotonic() - began < {2 * TTL + 1}:
    {LOGS_IN_ONCE.replace(chr(10), chr(10) + "    ")}
    time.sleep(0.5)
"""
NEVER_ENDS = f"{LOGS_IN_ONCE}\nimport time\nwhile True: time.sleep(60)\n"


@pytest.fixture(scope="module")
def control_plane() -> Iterator[Serving]:
    """On the local cloud."""
    with served(COFFRET_SWEEP_SECONDS="0.5") as one:
        one.start()
        yield one


@pytest.fixture
def workspace(
    tmp_path: Path, terraform: str, environment: dict[str, str], control_plane: Serving
) -> Workspace:
    token = str(control_plane.session.headers["Authorization"]).removeprefix("Bearer ")
    mine = {"COFFRET_ENDPOINT": control_plane.url, "COFFRET_TOKEN": token}
    folder = tmp_path / "workspace"
    folder.mkdir()
    return Workspace(folder, terraform, environment | mine)


@pytest.fixture
def has_actions(terraform: str) -> None:
    version = subprocess.run([terraform, "version", "-json"], capture_output=True, text=True, check=True)
    major, minor = json.loads(version.stdout)["terraform_version"].split(".")[:2]
    if (int(major), int(minor)) < (1, 14):
        pytest.skip("Terraform has actions since 1.14; make setup-dev puts one into .venv/bin")


def starts(control_plane: Serving) -> int:
    """How often the agent has started the engine."""
    (state,) = control_plane.folder.glob("instances/*/agent/state.json")
    return int(json.loads(state.read_text())["starts"])


def orders(control_plane: Serving) -> dict[str, Any]:
    found: dict[str, Any] = control_plane.call("GET", "/instances/orders").json()["status"]
    return found


@pytest.mark.usefixtures("has_actions")
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


def guests(control_plane: Serving) -> list[dict[str, Any]]:
    answer = control_plane.call("GET", "/instances/orders/users")
    found = answer.json()["items"] if answer.ok else []
    return [item for item in found if item["name"].startswith("guest_")]


def test_a_user_lives_for_a_run_and_leaves_nothing(control_plane: Serving, workspace: Workspace) -> None:
    (workspace.folder / "main.tf").write_text(REQUIRES + USERS)
    apply = ("apply", "-auto-approve", "-var")
    told = workspace.folder.parent / "password"
    tells = f"{LOGS_IN_ONCE}\nopen('{told}', 'w').write(os.environ['PASSWORD'])"
    said = workspace(*apply, f"command={tells}", TF_LOG="TRACE", TF_LOG_PATH="log")
    assert guests(control_plane) == [], "Terraform has closed it"
    assert told.read_text() not in workspace.written() + said + control_plane.log()

    workspace(*apply, f"command={OUTLIVES_TWO_TTLS}")
    assert guests(control_plane) == []
    events = control_plane.call("GET", "/events?limit=1000").text
    assert "has expired" not in events, "it was renewed and then dropped, not forgotten"
    workspace("plan", "-var", f"command={OUTLIVES_TWO_TTLS}")
    assert guests(control_plane) == [], "a plan leaves none either"
    workspace("destroy", "-auto-approve", "-var", "command=")


def test_the_user_of_a_run_that_is_killed_goes_by_itself(
    control_plane: Serving, workspace: Workspace
) -> None:
    (workspace.folder / "main.tf").write_text(REQUIRES + USERS)
    command = [workspace.command, "apply", "-auto-approve", "-var", f"command={NEVER_ENDS}"]
    with (workspace.folder / "said").open("wb") as said:
        run = subprocess.Popen(
            command, cwd=workspace.folder, env=workspace.environment, stdout=said, stderr=said,
            start_new_session=True,
        )  # fmt: skip
    try:
        eventually(lambda: "Provisioning with" in (workspace.folder / "said").read_text(), 60)
        (guest,) = guests(control_plane)
    finally:
        os.killpg(run.pid, signal.SIGKILL)  # the provider, too
        run.wait()
    assert guest["status"]["ready"]
    eventually(lambda: guests(control_plane) == [], TTL + 10)
    events = control_plane.call("GET", "/events?limit=1000").text
    assert f"User '{guest['name']}' has expired" in events
