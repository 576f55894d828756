"""The provider registry protocol: what is in the folder is offered to anyone, and nothing else is."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from control_plane.app import create_app
from control_plane.clouds.noop import Books, cloud
from control_plane.provider.releases import Releases
from control_plane.settings import Settings, SettingsError

NAME = "terraform-provider-coffret_{}"
OLD, NEW = NAME.format("0.1.0"), NAME.format("0.2.0-rc.1")
KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"
PROVIDER = "/terraform/providers/v1/coffret/coffret"


def release(folder: Path, name: str, *platforms: str) -> None:
    """Files of a release; zips and signature are of no worth, which is Terraform's to find out."""
    for platform in platforms:
        (folder / f"{name}_{platform}.zip").write_bytes(f"PK of {name} {platform}".encode())
    (folder / f"{name}_manifest.json").write_text('{"metadata": {"protocol_versions": ["6.0"]}}')
    listed = [folder / f"{name}_{platform}.zip" for platform in platforms]
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in listed]
    (folder / f"{name}_SHA256SUMS").write_text("".join(sums))
    (folder / f"{name}_SHA256SUMS.sig").write_bytes(b"\x89signature")
    (folder / f"{name}_0123456789ABCDEF.asc").write_text(KEY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two releases, and a file that is nobody's business."""
    made = tmp_path / "releases"
    made.mkdir()
    release(made, OLD, "linux_amd64")
    release(made, NEW, "linux_amd64", "windows_arm64")
    (made / "secret.asc").write_text("the operator's secret key")
    (tmp_path / "outside").write_text("what is outside")
    return made


class ToTheEnd(FlaskClient):
    """Has an answer read and closed, as a server does."""

    def open(self, *arguments: Any, **more: Any) -> TestResponse:
        return super().open(*arguments, buffered=True, **more)


def application(folder: Path | None, data: Path) -> Flask:
    app = create_app(Settings(data_dir=data, cloud="noop", provider_dir=folder), cloud(Books()))
    app.test_client_class = ToTheEnd
    return app


@pytest.fixture
def client(folder: Path, tmp_path: Path) -> FlaskClient:
    return application(folder, tmp_path).test_client()


def test_terraform_is_led_from_the_host_to_the_versions(client: FlaskClient) -> None:
    discovered = client.get("/.well-known/terraform.json")
    assert discovered.mimetype == "application/json"
    assert discovered.json == {"providers.v1": "/terraform/providers/v1/"}
    versions = client.get(f"{discovered.json['providers.v1']}coffret/coffret/versions").json
    assert versions == {
        "versions": [
            {
                "version": "0.1.0",
                "protocols": ["6.0"],
                "platforms": [{"os": "linux", "arch": "amd64"}],
            },
            {
                "version": "0.2.0-rc.1",
                "protocols": ["6.0"],
                "platforms": [{"os": "linux", "arch": "amd64"}, {"os": "windows", "arch": "arm64"}],
            },
        ]
    }


def test_terraform_is_led_from_a_version_to_its_files(client: FlaskClient, folder: Path) -> None:
    found = client.get(f"{PROVIDER}/0.2.0-rc.1/download/windows/arm64").json
    name = f"{NEW}_windows_arm64.zip"
    assert (found["os"], found["arch"], found["filename"]) == ("windows", "arm64", name)
    assert found["protocols"] == ["6.0"]
    assert found["signing_keys"] == {
        "gpg_public_keys": [{"key_id": "0123456789ABCDEF", "ascii_armor": KEY}]
    }
    served = {part: client.get(found[f"{part}_url"]).data for part in ("download", "shasums")}
    assert served["download"] == (folder / name).read_bytes()
    assert served["shasums"] == (folder / f"{NEW}_SHA256SUMS").read_bytes()
    assert found["shasum"] == hashlib.sha256(served["download"]).hexdigest()
    assert client.get(found["shasums_signature_url"]).data == b"\x89signature"


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/terraform.json",
        f"{PROVIDER}/versions",
        f"{PROVIDER}/0.1.0/download/linux/amd64",
        f"/terraform/files/{OLD}_linux_amd64.zip",
        f"/terraform/files/{OLD}_SHA256SUMS.sig",
    ],
)
def test_answers_have_their_length_and_an_etag(client: FlaskClient, path: str) -> None:
    got, headed = client.get(path), client.head(path)
    assert (got.status_code, headed.status_code) == (200, 200)
    assert int(got.headers["Content-Length"]) == int(headed.headers["Content-Length"]) == len(got.data) > 0
    assert headed.data == b""
    assert headed.headers["ETag"] == got.headers["ETag"]
    assert client.get(path, headers={"If-None-Match": got.headers["ETag"]}).status_code == 304
    refused = client.post(path)
    assert (refused.status_code, refused.json["code"]) == (405, "method_not_allowed")


def test_a_download_goes_on_where_it_was_cut_off(client: FlaskClient, folder: Path) -> None:
    path = f"/terraform/files/{OLD}_linux_amd64.zip"
    rest = client.get(path, headers={"Range": "bytes=3-", "If-Range": client.head(path).headers["ETag"]})
    assert rest.status_code == 206
    assert rest.data == (folder / f"{OLD}_linux_amd64.zip").read_bytes()[3:]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (f"{PROVIDER}/9.9.9/download/linux/amd64", "There is 0.1.0, 0.2.0-rc.1."),
        (f"{PROVIDER}/v0.1.0/download/linux/amd64", "no version 'v0.1.0'"),
        (f"{PROVIDER}/0.1.0/download/plan9/mips", "not here for 'plan9_mips'. There is linux_amd64."),
        (f"{PROVIDER}/0.1.0/download/linux/%2e%2e", "not here for 'linux_..'"),
        ("/terraform/providers/v1/hashicorp/aws/versions", ""),
        ("/terraform/files/secret.asc", "no file 'secret.asc'"),
        (f"/terraform/files/{OLD}_manifest.json", "no file"),
        ("/terraform/files/..", "no file '..'"),
        ("/terraform/files/%2e%2e%2foutside", ""),
        ("/terraform/files/../outside", ""),
        ("/terraform/files/..%5coutside", "no file"),
        (f"/terraform/files//{OLD}_SHA256SUMS", ""),
        (f"/terraform/files/{OLD}_SHA256SUMS%00", "no file"),
        ("/terraform/files/", ""),
    ],
)
def test_what_is_not_offered_is_not_there(client: FlaskClient, path: str, says: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found"), answer.data
    assert says in answer.json["detail"]
    assert client.head(path).status_code == 404


def test_files_that_come_later_are_not_served(client: FlaskClient, folder: Path) -> None:
    release(folder, NAME.format("0.3.0"), "linux_amd64")
    assert client.get(f"/terraform/files/{NAME.format('0.3.0')}_linux_amd64.zip").status_code == 404


def test_a_control_plane_without_the_provider_says_that_it_has_none(tmp_path: Path) -> None:
    client = application(None, tmp_path).test_client()
    client.application.extensions["coffret_releases"] = Releases()  # whatever this checkout has built
    assert client.get("/.well-known/terraform.json").json == {}
    assert client.get(f"{PROVIDER}/versions").json == {"versions": []}
    answer = client.get(f"{PROVIDER}/0.1.0/download/linux/amd64")
    assert answer.status_code == 404
    assert answer.json["detail"] == "There is no version '0.1.0' of the provider here."


def test_a_platform_whose_zip_was_left_out_is_not_offered(folder: Path) -> None:
    (folder / f"{NEW}_windows_arm64.zip").unlink()
    assert list(Releases.open(folder).find("0.2.0-rc.1").packages) == [("linux", "amd64")]


def rewrite(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (remove(f"{OLD}_SHA256SUMS.sig"), f"{OLD}_SHA256SUMS.sig is missing"),
        (remove(f"{OLD}_manifest.json"), f"{OLD}_manifest.json is missing"),
        (remove(f"{OLD}_0123456789ABCDEF.asc"), f"{OLD}_KEYID.asc"),
        (remove(f"{OLD}_SHA256SUMS"), f"{OLD}_linux_amd64.zip is not in the SHA256SUMS"),
        (rewrite(f"{OLD}_plan9_mips.zip", "PK"), f"{OLD}_plan9_mips.zip is not in the SHA256SUMS"),
        (rewrite(f"{OLD}_SHA256SUMS", "\nwhat?\n"), f"{OLD}_SHA256SUMS:1: this is not a checksum"),
        (rewrite(f"{OLD}_manifest.json", "{}"), "has no metadata.protocol_versions"),
        (rewrite(f"{OLD}_manifest.json", "[1]"), "has no metadata.protocol_versions"),
        (rewrite(f"{OLD}_linux_amd64.zip", "PK"), f"{OLD}_linux_amd64.zip does not have its checksum"),
    ],
)
def test_a_release_that_is_not_whole_ends_the_start(
    folder: Path, spoil: Callable[[Path], object], says: str
) -> None:
    spoil(folder)
    with pytest.raises(SettingsError, match=r"docs/operators/provider\.md") as error:
        Releases.open(folder).check()
    assert f"COFFRET_PROVIDER_DIR={folder}" in error.value.detail
    assert says in error.value.detail


def test_a_folder_that_is_missing_or_empty_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file or directory"):
        application(tmp_path / "nowhere", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match="no terraform-provider-coffret_VERSION_SHA256SUMS"):
        application(tmp_path / "empty", tmp_path)
