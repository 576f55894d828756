"""What tests of several folders need: databases, a broker, and Terraform with this checkout's provider."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import certify
from rabbitmq import SERVER, RabbitMQ, running
from stores import SERVERS, File, OnServer, Store, or_skip, started

PROVIDER = Path(__file__).parents[1] / "terraform-provider"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long. tests/openstack has rules of its own."""
    for item in items:
        if item.get_closest_marker("chaos") and "chaos" not in config.option.markexpr:
            item.add_marker(pytest.mark.skip(reason="takes minutes: make test-chaos"))
    if "slow" in config.option.markexpr:
        return
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("openstack"):
            item.add_marker(pytest.mark.skip(reason="takes long and rarely breaks: make test-slow"))


@pytest.fixture(scope="session")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate for 127.0.0.1, and the CA that it is by."""
    folder = tmp_path_factory.mktemp("certified")
    certify(folder, "127.0.0.1")
    return folder


@pytest.fixture(scope="session")
def rabbitmq(certified: Path) -> Iterator[RabbitMQ]:
    """A broker that all tests use together, each with a queue of its own."""
    if not SERVER.exists():
        pytest.skip("work over RabbitMQ is not tested: apt-get install rabbitmq-server")
    with running(certified) as broker:
        yield broker


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


@pytest.fixture(scope="session", params=["sqlite", *SERVERS])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Each of the databases that the state can be kept in."""
    if request.param == "sqlite":
        yield File()
        return
    with or_skip(started(SERVERS[request.param]), f"the state on {request.param}") as server:
        yield OnServer(server)
