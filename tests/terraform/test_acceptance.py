"""The provider's own tests, those in Terraform against a control plane among them."""

import subprocess
from pathlib import Path

from bench.service import Service

PROVIDER = Path(__file__).parents[2] / "terraform-provider"


def test_the_provider_passes_its_tests_against_a_control_plane(
    control_plane: Service, environment: dict[str, str], go: str, terraform: str
) -> None:
    variables = environment | {
        "TF_ACC": "1",
        "TF_ACC_TERRAFORM_PATH": terraform,
        "COFFRET_ENDPOINT": control_plane.url,
        "COFFRET_TOKEN": control_plane.token,
    }
    del variables["TF_CLI_CONFIG_FILE"]  # the tests are the provider themselves
    done = subprocess.run(
        [go, "test", "-count=1", "-timeout=15m", "./..."],
        cwd=PROVIDER, env=variables, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
