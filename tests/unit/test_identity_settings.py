"""COFFRET_AUTH=keystone with settings that cannot work ends with a sentence."""

import sys
from pathlib import Path

import pytest

from control_plane.auth import identity
from control_plane.settings import Auth, Settings, SettingsError

pytest.importorskip("keystonemiddleware", reason="needs the extra openstack")
KEYSTONE = Settings(auth=Auth.KEYSTONE)


@pytest.fixture(autouse=True)
def _no_cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OS_CLOUD", "OS_AUTH_URL", "OS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    monkeypatch.chdir(tmp_path)


def refused() -> str:
    with pytest.raises(SettingsError) as error:
        identity.open_keystone(KEYSTONE)
    return error.value.detail


def test_without_keystone_nothing_of_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keystonemiddleware", None)
    monkeypatch.setitem(sys.modules, "openstack", None)
    assert identity.open_keystone(Settings()) is None


@pytest.mark.parametrize("library", ["keystonemiddleware", "keystoneauth1", "openstack"])
def test_missing_libraries_are_named_with_the_extra_that_brings_them(
    monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.delitem(sys.modules, "control_plane.auth.keystone", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, library, None)
    said = refused()
    assert f"COFFRET_AUTH=keystone needs the library {library}" in said
    assert "pip install 'coffret[openstack]'" in said


def test_without_a_cloud_it_says_where_one_is_described() -> None:
    assert "clouds.yaml or OS_* variables must say auth_url and an account" in refused()


def test_a_cloud_that_is_not_in_the_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "clouds.yaml").write_text("clouds: {a: {auth: {auth_url: 'http://127.0.0.1:9/v3'}}}")
    monkeypatch.setenv("OS_CLOUD", "production")
    assert "Cloud production was not found" in refused()


def test_a_cloud_without_a_password_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "clouds.yaml").write_text("clouds: {a: {auth: {username: coffret, project_name: service}}}")
    monkeypatch.setenv("OS_CLOUD", "a")
    assert "auth_url" in refused()
