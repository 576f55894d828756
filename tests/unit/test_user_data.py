"""What a server on OpenStack is told when it is made."""

import base64
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from control_plane.clouds import CloudRefusal, ServerSpec
from control_plane.clouds.openstack.user_data import user_data
from control_plane.datastores.managers import MANAGERS
from guest_agent.settings import Settings

CA = "-----BEGIN CERTIFICATE-----\nMIIB…\n-----END CERTIFICATE-----\n"


@dataclass
class Bootstrap:
    url: str = "https://coffret.example:8779"
    ca: str | None = None
    log_format: str = "json"
    registered: bool = False
    waiting: bool = False
    silent: bool = False
    made: int = 0

    def accepts(self, token: str) -> bool:
        return False

    def token(self) -> str:
        self.made += 1
        return f"token-{self.made}"


def spec(manager: str = "postgresql") -> ServerSpec:
    return ServerSpec(
        instance_id="6e1f6f4e-4b8f-4c70-a2f4-4d6b1d5d5c7b",
        name="orders",
        project_id="shop",
        datastore=manager,
        manager=manager,
        version="18",
        image="0b7c",
        image_tags=(),
        flavor="db.small",
        ram=1024,
        vcpus=1,
        volume_size=5,
        volume_type=None,
        availability_zone=None,
        is_public=False,
        allowed_cidrs=None,
    )


def read(text: str) -> dict[str, Any]:
    """As cloud-init does."""
    plain = base64.b64decode(text).decode()
    assert plain.startswith("#cloud-config\n")
    return dict(yaml.safe_load(plain))


def written(text: str) -> dict[str, Any]:
    """The files that cloud-init writes, by path."""
    return {file["path"]: file for file in read(text)["write_files"]}


def agent_json(text: str) -> dict[str, Any]:
    return dict(yaml.safe_load(written(text)["/var/lib/coffret/agent/agent.json"]["content"]))


def test_the_agent_is_told_all_that_it_needs_to_report_and_to_find_its_volume() -> None:
    told = agent_json(user_data(spec(), "volume-1", Bootstrap()))
    assert told == {
        "url": "https://coffret.example:8779",
        "ca": None,
        "instance_id": "6e1f6f4e-4b8f-4c70-a2f4-4d6b1d5d5c7b",
        "bootstrap_token": "token-1",
        "manager": "postgresql",
        "data": "/var/lib/coffret/volume/data",
        "run": "/run/coffret",
        "binaries": None,
        "account": "postgres",
        "volume_id": "volume-1",
        "log_format": "json",
    }
    assert set(told) <= set(Settings.__dataclass_fields__)


@pytest.mark.parametrize("manager", MANAGERS)
def test_every_engine_runs_as_its_packages_account(manager: str) -> None:
    account = agent_json(user_data(spec(manager), "volume-1", Bootstrap()))["account"]
    assert account in ("postgres", "mysql", "valkey")
    assert account == MANAGERS[manager].account


def test_only_root_reads_what_is_written() -> None:
    for file in written(user_data(spec(), "volume-1", Bootstrap(ca=CA))).values():
        assert (file["owner"], file["permissions"]) == ("root:root", "0600")


def test_the_agent_starts_after_its_settings_are_there() -> None:
    config = read(user_data(spec(), "volume-1", Bootstrap(ca=CA)))
    assert config["write_files"][-1]["path"].endswith("/agent.json")
    assert config["runcmd"] == [["systemctl", "start", "--no-block", "coffret-agent"]]


def test_the_ca_is_written_and_named() -> None:
    text = user_data(spec(), "volume-1", Bootstrap(ca=CA))
    assert written(text)["/var/lib/coffret/agent/ca.pem"]["content"] == CA
    assert agent_json(text)["ca"] == "/var/lib/coffret/agent/ca.pem"


def test_the_bootstrap_token_is_the_only_secret() -> None:
    config = read(user_data(spec(), "volume-1", Bootstrap()))
    assert set(config) == {"write_files", "runcmd"}
    assert len(config["write_files"]) == 1


def test_every_server_gets_a_token_of_its_own() -> None:
    bootstrap = Bootstrap()
    first, second = (agent_json(user_data(spec(), "volume-1", bootstrap)) for _ in range(2))
    assert first["bootstrap_token"] != second["bootstrap_token"]


def test_a_long_chain_of_cas_still_fits() -> None:
    assert len(user_data(spec(), "volume-1", Bootstrap(ca=CA.replace("…", "A" * 40000)))) < 64 << 10


def test_a_systems_whole_bundle_is_refused_with_what_would_be_right() -> None:
    with pytest.raises(CloudRefusal, match=r"only the CA .* COFFRET_AGENT_CA"):
        user_data(spec(), "volume-1", Bootstrap(ca=CA * 2000))
