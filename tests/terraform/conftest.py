import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.service import Service, serving

ROOT = Path(__file__).parents[2]
PROVIDER = ROOT / "terraform-provider"
sys.path.insert(0, str(PROVIDER))  # where codegen is


@pytest.fixture(scope="session")
def document() -> Any:
    """The OpenAPI document as it is committed; `make generated` holds it to the API."""
    return json.loads((ROOT / "docs" / "openapi.json").read_text())


@pytest.fixture(scope="session")
def go() -> str:
    return _command("go")


@pytest.fixture(scope="session")
def terraform() -> str:
    return _command("terraform")


def _command(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not on PATH; make setup-dev puts it into .venv/bin")
    return found


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Service]:
    with serving("noop") as service:
        yield service


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory, go: str, terraform: str) -> dict[str, str]:
    """Variables with which Terraform finds the provider as it is now."""
    folder = tmp_path_factory.mktemp("provider")
    command = [go, "build", "-o", str(folder / "terraform-provider-coffret"), "."]
    subprocess.run(command, cwd=PROVIDER, check=True)
    settings = folder / "terraformrc"
    override = f'"registry.terraform.io/coffret/coffret" = "{folder}"'
    settings.write_text(f"provider_installation {{\n  dev_overrides {{\n    {override}\n  }}\n}}\n")
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("COFFRET_", "TF_"))}
    return mine | {"TF_CLI_CONFIG_FILE": str(settings), "CHECKPOINT_DISABLE": "1"}
