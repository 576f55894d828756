"""A release of the provider: built, signed, served, and installed by `terraform init` alone."""

import json
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from certificates import certify
from serving import Serving
from workspace import Workspace

from guest_agent import __version__

ROOT = Path(__file__).parents[2]
PROVIDER = ROOT / "terraform-provider"
NAME = f"terraform-provider-coffret_{__version__}"
HERE = f"linux_{ {'x86_64': 'amd64', 'aarch64': 'arm64'}[platform.machine()] }"
CONFIGURATION = """
terraform {
  required_providers {
    coffret = { source = "HOST/coffret/coffret" }
  }
}

resource "coffret_instance" "orders" {
  name      = "orders-db"
  datastore = "postgresql"
  flavor    = "db.small"
  volume    = { size = 1 }
}
"""


def build(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """What `make provider-release` does, for the platform here."""
    command = [sys.executable, "scripts/provider_release.py", folder, "--platform", HERE, *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, go: str) -> Path:
    folder: Path = tmp_path_factory.mktemp("release")
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@contextmanager
def control_plane(home: Path, release: Path) -> Iterator[Serving]:
    """One that serves TLS by a CA of its own, and the release."""
    certify(home, "localhost")
    tls = {"COFFRET_TLS_CERTIFICATE": str(home / "tls.pem"), "COFFRET_TLS_KEY": str(home / "tls.key")}
    data = home / "data"
    data.mkdir()
    one = Serving(data, COFFRET_CLOUD="noop", COFFRET_PROVIDER_DIR=str(release), **tls)
    one.url = one.url.replace("127.0.0.1", "localhost")
    one.session.verify = str(home / "ca.pem")
    one.session.trust_env = False  # REQUESTS_CA_BUNDLE counts more than the line above
    try:
        one.start()
        yield one
    finally:
        one.clean()


def empty(home: Path, served: Serving, terraform: str) -> Workspace:
    """A folder with a configuration; no CLI configuration, no mirror, no cache of plug-ins."""
    folder = home / "workspace"
    folder.mkdir()
    (folder / "main.tf").write_text(CONFIGURATION.replace("HOST", served.url.removeprefix("https://")))
    return Workspace(
        folder,
        terraform,
        {
            "PATH": f"{Path(terraform).parent}:/usr/bin:/bin",
            "HOME": str(home),
            "CHECKPOINT_DISABLE": "1",
            "SSL_CERT_FILE": str(home / "ca.pem"),
            "COFFRET_ENDPOINT": served.url,
            "COFFRET_TOKEN": str(served.session.headers["Authorization"]).removeprefix("Bearer "),
        },
    )


def test_a_closed_cloud_installs_it_with_terraform_init_alone(
    release: Path, tmp_path: Path, terraform: str
) -> None:
    with control_plane(tmp_path, release) as served:
        workspace = empty(tmp_path, served, terraform)
        said = workspace("init")
        host = served.url.removeprefix("https://")
        key = next(release.glob("*.asc")).stem.rpartition("_")[2]
        assert f"Installed {host}/coffret/coffret v{__version__} (self-signed, key ID {key})" in said
        assert "Plan: 1 to add, 0 to change, 0 to destroy." in workspace("plan", "-out=plan")
        workspace("apply", "plan")
        assert served.ready("/instances/orders-db")["flavor"] == "db.small"

        lock = (workspace.folder / ".terraform.lock.hcl").read_text()
        sums = (release / f"{NAME}_SHA256SUMS").read_text()
        assert set(re.findall(r"zh:(\w{64})", lock)) == set(re.findall(r"\w{64}", sums))


def test_terraform_refuses_what_the_key_did_not_sign(release: Path, tmp_path: Path, terraform: str) -> None:
    spoiled = tmp_path / "spoiled"
    shutil.copytree(release, spoiled)
    sums = spoiled / f"{NAME}_SHA256SUMS"
    sums.write_text(sums.read_text() + f"{'0' * 64}  added-later.zip\n")
    with control_plane(tmp_path, spoiled) as served:
        said = empty(tmp_path, served, terraform)("init", fails=True)
        assert "error checking signature" in " ".join(said.split())


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory, release: Path) -> Path:
    """Built where there was another version, and this one with another platform."""
    folder: Path = tmp_path_factory.mktemp("again")
    for name in (f"{NAME}_plan9_mips.zip", "terraform-provider-coffret_0.0.1_SHA256SUMS"):
        (folder / name).write_text("")
    assert build(folder).returncode == 0
    return folder


def test_the_same_sources_make_the_same_zip(release: Path, again: Path) -> None:
    sums = f"{NAME}_SHA256SUMS"
    assert (again / sums).read_text() == (release / sums).read_text()


def test_a_release_takes_the_place_of_the_one_before_it(again: Path) -> None:
    assert not (again / f"{NAME}_plan9_mips.zip").exists()
    assert (again / "terraform-provider-coffret_0.0.1_SHA256SUMS").exists()
    assert len(list(again.glob("*.asc"))) == 1


def test_the_program_in_the_zip_is_the_provider_and_can_be_run(release: Path) -> None:
    with zipfile.ZipFile(release / f"{NAME}_{HERE}.zip") as zipped:
        (entry,) = zipped.infolist()
    assert entry.filename == f"terraform-provider-coffret_v{__version__}"
    assert entry.external_attr >> 16 == 0o100755


@pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg, by which keys are made, is not installed")
def test_an_operators_own_key_signs_and_gpg_agrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)

    def gpg(*arguments: str) -> str:
        command = ["gpg", "--homedir", home, "--batch", "--pinentry-mode", "loopback", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    protected = ["--passphrase", "only for this test"]
    gpg(*protected, "--quick-generate-key", "operator", "rsa2048", "sign")
    secret = tmp_path / "secret.asc"
    secret.write_text(gpg(*protected, "--armor", "--export-secret-keys", "operator"))
    folder = tmp_path / "release"

    refused = build(folder, "--key", str(secret))
    assert refused.returncode != 0
    assert "COFFRET_SIGNING_PASSPHRASE does not unlock" in refused.stderr
    assert not folder.exists()

    monkeypatch.setenv("COFFRET_SIGNING_PASSPHRASE", "only for this test")
    assert build(folder, "--key", str(secret)).returncode == 0
    sums = folder / f"{NAME}_SHA256SUMS"
    gpg("--verify", f"{sums}.sig", str(sums))
    fingerprint = gpg("--with-colons", "--list-keys").partition("\nfpr:")[2].split(":")[8]
    (public,) = folder.glob("*.asc")
    assert public.name == f"{NAME}_{fingerprint[-16:]}.asc"
    assert "PRIVATE" not in public.read_text()


def test_a_platform_that_is_not_built_is_refused(tmp_path: Path) -> None:
    refused = build(tmp_path, "--platform", "plan9_mips")
    assert refused.returncode != 0
    assert "plan9_mips: .goreleaser.yml has linux_amd64, linux_arm64" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_goreleaser_makes_files_of_the_same_names() -> None:
    recipe = yaml.safe_load((PROVIDER / ".goreleaser.yml").read_text())
    (build,), (archive,), (signature,) = recipe["builds"], recipe["archives"], recipe["signs"]

    def named(template: str) -> str:
        known = {"ProjectName": recipe["project_name"], "Version": __version__}
        known |= dict(zip(("Os", "Arch"), HERE.split("_"), strict=True))
        return re.sub(r"{{ \.(\w+) }}", lambda found: known[found[1]], template)

    assert named(build["binary"]) == f"terraform-provider-coffret_v{__version__}"
    assert build["env"] == ["CGO_ENABLED=0"]
    assert f"-X main.version={__version__}" in named(" ".join(build["ldflags"]))
    assert archive["formats"] == ["zip"]
    assert named(archive["name_template"]) == f"{NAME}_{HERE}"
    assert named(recipe["checksum"]["name_template"]) == f"{NAME}_SHA256SUMS"
    assert signature["artifacts"] == "checksum"
    assert {"--detach-sign", "--local-user"} <= set(signature["args"])
    for part in ("checksum", "release"):
        (manifest,) = recipe[part]["extra_files"]
        assert (PROVIDER / manifest["glob"]).exists()
        assert named(manifest["name_template"]) == f"{NAME}_manifest.json"


def test_the_manifest_names_the_protocol_that_the_provider_speaks() -> None:
    manifest = json.loads((PROVIDER / "terraform-registry-manifest.json").read_text())
    assert manifest == {"version": 1, "metadata": {"protocol_versions": ["6.0"]}}
    assert "tf6server.Serve(" in (PROVIDER / "main.go").read_text()
