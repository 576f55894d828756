"""Passwords and tokens are found nowhere but where they were given: in no file, output, log or database."""

import base64
import secrets
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import ROOT, Serving, served

EXAMPLE = ROOT / "examples" / "quickstart"
TOO_SHORT = "Zq7-xy"
"""A password that the control plane refuses."""


BY_VARIABLE = """
variable "token" {
  type      = string
  sensitive = true
  ephemeral = true
}

provider "coffret" {
  token = var.token
}
"""

GUEST = """
ephemeral "coffret_user" "guest" {
  instance = coffret_instance.orders.id
  grants   = [{ database = coffret_database.orders.name, privileges = ["CONNECT"] }]
}

variable "told" {
  type = string
}

resource "terraform_data" "told" {
  provisioner "local-exec" {
    command     = "printenv GUEST >'${var.told}'"
    environment = { GUEST = ephemeral.coffret_user.guest.password }
  }
}
"""
"""A user for the run, whose password the provider chooses and `told` is told."""


class Run:
    """The quickstart, with everything logged that Terraform, its provider and the control plane log."""

    def __init__(self, folder: Path, terraform: str, environment: dict[str, str], serving: Serving) -> None:
        self.folder, self.told, self.serving = folder / "run", folder / "told", serving
        self.folder.mkdir()
        self.said = ""
        self._terraform = terraform
        self.passwords = [f"first-{secrets.token_hex(8)}", f"second-{secrets.token_hex(8)}"]
        self.token = str(serving.session.headers["Authorization"]).removeprefix("Bearer ")
        self._environment = environment | {
            "COFFRET_ENDPOINT": serving.url,
            "COFFRET_TOKEN": self.token,
            "TF_VAR_token": self.token,
            "TF_VAR_told": str(self.told),
            "TF_LOG": "TRACE",
            "TF_LOG_PROVIDER": "TRACE",
            "TF_LOG_SDK_PROTO": "TRACE",
            "TF_LOG_PATH": str(self.folder / "trace.log"),
        }
        for file in EXAMPLE.glob("*.tf"):
            shutil.copy(file, self.folder)
        (self.folder / "guest.tf").write_text(GUEST)

    def take_token_by_variable(self) -> None:
        versions = self.folder / "versions.tf"
        text = versions.read_text()
        assert 'provider "coffret" {}' in text
        versions.write_text(text.replace('provider "coffret" {}', BY_VARIABLE))
        del self._environment["COFFRET_TOKEN"]

    def run(self, *arguments: str, password: str, version: int = 1, fails: bool = False) -> str:
        done = subprocess.run(
            [self._terraform, *arguments], cwd=self.folder, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self._environment | {
                "TF_VAR_app_password": password, "TF_VAR_app_password_version": str(version),
            },
        )  # fmt: skip
        assert (done.returncode != 0) == fails, done.stdout
        self.said += done.stdout
        return done.stdout

    def texts(self) -> Iterator[tuple[str, bytes]]:
        """All that anybody has written, by where it is."""
        yield "output", self.said.encode()
        for file in [*self.folder.rglob("*"), *self.serving.folder.rglob("*")]:
            if not file.is_file():
                continue
            yield str(file), file.read_bytes()
            if zipfile.is_zipfile(file):  # a plan
                with zipfile.ZipFile(file) as packed:
                    yield from ((f"{file}: {name}", packed.read(name)) for name in packed.namelist())

    def places_of(self, secret: str) -> list[str]:
        """Where a text is, as it is or in Base64."""
        forms = {secret.encode(), base64.b64encode(secret.encode()).rstrip(b"=")[:-1]}
        return [place for place, text in self.texts() if any(form in text for form in forms)]


@pytest.fixture
def run(tmp_path: Path, terraform: str, environment: dict[str, str]) -> Iterator[Run]:
    with served(COFFRET_CLOUD="noop", COFFRET_LOG_LEVEL="DEBUG") as serving:
        serving.start()
        yield Run(tmp_path, terraform, environment, serving)


@pytest.mark.parametrize("token_from", ["environment", pytest.param("variable", marks=pytest.mark.slow)])
def test_secrets_are_written_nowhere(run: Run, token_from: str) -> None:
    if token_from == "variable":
        run.take_token_by_variable()
    first, second = run.passwords
    run.run("plan", "-out=plan", password=first)
    run.run("show", "-json", "plan", password=first)
    run.run("apply", "plan", password=first)
    run.run("apply", "-auto-approve", "-json", password=TOO_SHORT, version=2, fails=True)
    run.run("apply", "-auto-approve", password=second, version=3)
    run.run("output", "-json", password=second)
    run.run("destroy", "-auto-approve", password=second, version=3)

    written = dict(run.texts())
    trace = written[str(run.folder / "trace.log")]
    assert b"ApplyResourceChange" in trace, "it does not log all"
    assert b"provider.terraform-provider-coffret" in trace, "it does not log all"
    assert b"orders-db" in written[str(run.serving.folder / "serve.log")]
    assert len(list(run.folder.glob("terraform.tfstate*"))) == 2
    guests = run.told.read_text().strip()
    assert len(guests) > 15
    for secret in (first, second, guests, TOO_SHORT, run.token):
        assert run.places_of(secret) == []


def test_a_secret_that_is_written_would_be_found(run: Run) -> None:
    run.run("plan", "-out=plan", password=run.passwords[0])
    found = run.places_of("orders-settings")  # is in the plan, which is packed, and in what is said of it
    assert any("tfplan" in place for place in found)
    assert "output" in found
    encoded = base64.b64encode(run.passwords[0].encode())
    (run.folder / "note").write_bytes(encoded)
    assert run.places_of(run.passwords[0]) == [str(run.folder / "note")]
