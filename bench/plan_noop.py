"""plan.noop: a plan that finds nothing to do over 1,000 resources: 100 instances, 450 databases, 450 users.

Measured: `terraform plan` on the noop cloud, after `terraform apply` has made all of them.

Floor: `terraform plan -refresh=false`, which reads nothing but its own state.

plan.noop.requests: how many requests the control plane answers for one such plan. Floor: one an instance.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.figure import Figure, in_turns
from bench.received import received
from bench.service import Service, serving
from scripts.quickstart import write_terraformrc

ROUNDS = 5
MOST = 1.15
INSTANCES = 100
MOST_REQUESTS = INSTANCES + 10
_CONFIGURATION = """
terraform {
  required_providers {
    coffret = { source = "registry.terraform.io/coffret/coffret" }
  }
}

variable "instances" {
  type = number
}

resource "coffret_instance" "all" {
  count     = var.instances
  name      = "pg-${count.index}"
  datastore = "postgresql"
  flavor    = "db.small"
  volume    = { size = 1 }
}

resource "coffret_database" "all" {
  count    = 450
  instance = coffret_instance.all[count.index % var.instances].name
  name     = "db_${count.index}"
}

resource "coffret_user" "all" {
  count               = 450
  instance            = coffret_instance.all[count.index % var.instances].name
  name                = "user_${count.index}"
  password_wo         = "a-password-of-the-bench"
  password_wo_version = 1
  grants              = [{ database = coffret_database.all[count.index].name, privileges = ["ALL"] }]
}
"""


def measure() -> tuple[Figure, Figure]:
    with tempfile.TemporaryDirectory(prefix="coffret-plan-") as name:
        folder = Path(name)
        asked = folder / "requests"
        counted = [sys.executable, "-m", "bench.received", str(asked)]
        with serving("noop", coffret=counted) as service:
            (folder / "main.tf").write_text(_CONFIGURATION)
            write_terraformrc(folder / "terraformrc")
            _terraform(folder, service, "init")
            _terraform(folder, service, "apply", "-auto-approve")
            plan = ("plan", "-detailed-exitcode", "-lock=false")  # exit code 2: something to do
            before = len(received(asked))
            _terraform(folder, service, *plan)
            requests = len(received(asked)) - before
            value, floor = in_turns(
                ROUNDS,
                lambda: _terraform(folder, service, *plan),
                lambda: _terraform(folder, service, *plan, "-refresh=false"),
            )
    return (
        Figure("plan.noop", value, "s", floor, value / floor <= MOST, f"ratio at most {MOST}"),
        Figure(
            "plan.noop.requests", requests, "requests", INSTANCES, requests <= MOST_REQUESTS,
            f"at most {MOST_REQUESTS}",
        ),
    )  # fmt: skip


def _terraform(folder: Path, service: Service, command: str, *options: str) -> float:
    """Seconds that the command takes. Raises RuntimeError with what it said when it fails."""
    began = time.perf_counter()
    done = subprocess.run(
        ["terraform", command, "-input=false", "-no-color", *options],
        cwd=folder,
        env=os.environ
        | {
            "COFFRET_ENDPOINT": service.url,
            "COFFRET_TOKEN": service.token,
            "TF_VAR_instances": str(INSTANCES),
            "TF_CLI_CONFIG_FILE": str(folder / "terraformrc"),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    took = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"terraform {command} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return took
