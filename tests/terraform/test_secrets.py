"""Passwords and tokens are found nowhere but where they were given: no state, plan, output, log or database."""

import base64
import json
import os
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


class Run:
    """The quickstart, with everything logged that Terraform, its provider and the control plane log."""

    def __init__(
        self, folder: Path, terraform: str, environment: dict[str, str], serving: Serving
    ) -> None:
        self.folder, self.serving = folder, serving
        self.said = ""
        self._terraform = terraform
        self.passwords = [f"first-{secrets.token_hex(8)}", f"second-{secrets.token_hex(8)}"]
        self.token = str(serving.session.headers["Authorization"]).removeprefix("Bearer ")
        self._environment = environment | {
            "COFFRET_ENDPOINT": serving.url,
            "COFFRET_TOKEN": self.token,
            "TF_LOG": "TRACE",
            "TF_LOG_PROVIDER": "TRACE",
            "TF_LOG_SDK_PROTO": "TRACE",
            "TF_LOG_PATH": str(folder / "trace.log"),
        }
        for file in EXAMPLE.glob("*.tf"):
            shutil.copy(file, folder)

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


def test_secrets_are_written_nowhere(run: Run) -> None:
    first, second = run.passwords
    run.run("plan", "-out=plan", password=first)
    run.run("show", "plan", password=first)
    run.run("show", "-json", "plan", password=first)
    run.run("apply", "plan", password=first)
    run.run("apply", "-auto-approve", password=second, version=2)
    run.run("output", "-json", password=second)
    run.run("apply", "-auto-approve", "-json", password=TOO_SHORT, version=3, fails=True)
    run.run("state", "pull", password=second)
    run.run("destroy", "-auto-approve", password=second, version=2)

    written = dict(run.texts())
    assert b"ApplyResourceChange" in written[str(run.folder / "trace.log")], "it does not log all"
    assert b"PUT /v1/instances/orders-db/users/app" in written[str(run.serving.folder / "serve.log")]
    assert len(list(run.folder.glob("*tfstate*"))) == 2
    assert run.places_of("orders-db"), "what is no secret is found"
    for secret in (*run.passwords, TOO_SHORT, run.token):
        assert run.places_of(secret) == []
