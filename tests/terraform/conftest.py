import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hcl import Terraform

from bench.service import Service, serving

ROOT = Path(__file__).parents[2]
PROVIDER = ROOT / "terraform-provider"
sys.path.insert(0, str(PROVIDER))  # where codegen is


@pytest.fixture(scope="session")
def document() -> Any:
    """The OpenAPI document as it is committed; `make generated` holds it to the API."""
    return json.loads((ROOT / "docs" / "openapi.json").read_text())


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Service]:
    with serving("noop") as service:
        yield service


@pytest.fixture(scope="session")
def cli(terraform: str, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    return Terraform(terraform, environment, tmp_path_factory.mktemp("cli"))
