"""What a real cloud cannot be made to do: fail in the middle, lose an answer, end a token early."""

import base64
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from openstack.compute.v2.server import Server
from requests_mock import Mocker

from control_plane.clouds.base import CloudError, CloudPending, CloudRefusal, ServerSpec, Volume
from control_plane.clouds.openstack.connection import OpenStack
from control_plane.clouds.openstack.errors import asking
from control_plane.clouds.openstack.flavors import Flavors
from control_plane.clouds.openstack.management import open_management
from control_plane.clouds.openstack.network import Network
from control_plane.clouds.openstack.networks import Networks
from control_plane.clouds.openstack.server_steps import Steps
from control_plane.clouds.openstack.volumes import Volumes
from control_plane.clouds.registry import open_cloud
from control_plane.settings import Settings, SettingsError

KEYSTONE, NOVA, CINDER, NEUTRON, GLANCE = (
    f"http://{name}.test" for name in ("keystone", "nova", "cinder", "neutron", "glance")
)
PROJECT = "f5d0e5a0c7b14f1c9c7e6b1f7a3d2c1b"
INSTANCE = "5b6d3c1e-3f0c-4a57-8f55-2d6a3c9e7b10"
DOMAIN = {"id": "default", "name": "Default"}
JSON = {"Content-Type": "application/json"}
TOKEN = "gAAAAAB" + "x" * 180


def _endpoint(url: str) -> dict[str, str]:
    return {"id": url, "interface": "public", "region": "one", "region_id": "one", "url": url}


class Cloud:
    """A cloud of canned answers that says which requests it got."""

    def __init__(self, mock: Mocker) -> None:
        self.mock = mock
        self.catalogue: list[dict[str, Any]] = [
            {"type": kind, "name": kind, "id": kind, "endpoints": [_endpoint(url)]}
            for kind, url in (
                ("compute", f"{NOVA}/v2.1"),
                ("block-storage", f"{CINDER}/v3"),
                ("network", NEUTRON),
                ("image", GLANCE),
            )
        ]
        token = {
            "user": {"id": "u", "name": "coffret", "domain": DOMAIN},
            "project": {"id": PROJECT, "name": "service", "domain": DOMAIN},
            "methods": ["password"],
            "issued_at": "2026-01-01T00:00:00.000000Z",
            "expires_at": "2999-01-01T00:00:00.000000Z",
            "catalog": self.catalogue,
        }
        links = [{"rel": "self", "href": f"{KEYSTONE}/v3/"}]
        mock.get(f"{KEYSTONE}/v3", json={"version": {"id": "v3.14", "status": "stable", "links": links}})
        self.logins = mock.post(
            f"{KEYSTONE}/v3/auth/tokens", json={"token": token}, headers={"X-Subject-Token": TOKEN}
        )
        for url, version, newest in (
            (f"{NOVA}/v2.1", "v2.1", "2.93"),
            (f"{CINDER}/v3", "v3.0", "3.70"),
            (f"{GLANCE}/v2", "v2.15", ""),
        ):
            links = [{"rel": "self", "href": url}]
            shown = {
                "id": version,
                "status": "CURRENT",
                "version": newest,
                "min_version": "2.1",
                "links": links,
            }
            if url.startswith(CINDER):
                shown["min_version"] = "3.0"
            mock.get(f"{url}/", json={"version": shown})
            mock.get(url, json={"version": shown})
        mock.get(f"{NEUTRON}/v2.0", json={"version": {"id": "v2.0", "status": "CURRENT", "links": []}})
        mock.get(f"{GLANCE}/", json={"versions": [shown]})
        mock.get(GLANCE, json={"versions": [shown]})

    def sent(self, method: str, path: str) -> list[Any]:
        return [each for each in self.mock.request_history if each.method == method and each.path == path]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, requests_mock: Mocker) -> Iterator[Cloud]:
    for name, value in {
        "OS_AUTH_URL": f"{KEYSTONE}/v3",
        "OS_USERNAME": "coffret",
        "OS_PASSWORD": "s3cret",
        "OS_PROJECT_NAME": "service",
        "OS_USER_DOMAIN_ID": "default",
        "OS_PROJECT_DOMAIN_ID": "default",
        "OS_CLIENT_CONFIG_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("OS_CLOUD", raising=False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return Cloud(requests_mock)


@pytest.fixture
def openstack(cloud: Cloud) -> OpenStack:
    opened = OpenStack("test")
    assert opened.project_id == PROJECT
    return opened


@pytest.fixture
def volumes(openstack: OpenStack) -> Volumes:
    return Volumes(openstack, "", "")


@pytest.fixture
def network(openstack: OpenStack) -> Network:
    return Network(openstack, Networks(openstack, "", None), None)


SPEC = ServerSpec(
    instance_id=INSTANCE,
    name="orders",
    project_id="team",
    datastore="postgresql",
    manager="postgresql",
    version="18",
    image=None,
    image_tags=[],
    flavor="db.tiny",
    ram=512,
    vcpus=1,
    volume_size=1,
    volume_type=None,
    availability_zone=None,
    is_public=False,
    allowed_cidrs=[],
    network={"network_id": "62db8a50-9b70-49e6-851f-15dfb0fd4e05"},
)
LIST, MAKE = f"{CINDER}/v3/volumes/detail", f"{CINDER}/v3/volumes"
VOLUME: dict[str, Any] = {
    "id": "8bf5cf53-696a-47a6-ad5a-8b0a88499f7a",
    "name": "orders",
    "size": 1,
    "status": "creating",
    "attachments": [],
    "metadata": {"coffret_instance": INSTANCE},
}


@pytest.fixture(autouse=True)
def _the_volume_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VOLUME, "created_at", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f"))


def test_a_look_that_fails_once_is_repeated(cloud: Cloud, volumes: Volumes) -> None:
    cloud.mock.get(LIST, [{"status_code": 503}, {"json": {"volumes": [VOLUME]}}])
    assert volumes.ensure(SPEC, known=None).id == VOLUME["id"]


@pytest.mark.parametrize("status", ["creating", "extending"])
def test_a_volume_that_cinder_never_gets_done_with_is_said(
    cloud: Cloud, volumes: Volumes, status: str
) -> None:
    stuck = VOLUME | {"status": status, "created_at": "2026-01-02T03:04:05.000000"}
    cloud.mock.get(LIST, json={"volumes": [stuck]})
    with pytest.raises(CloudError, match=f"in status {status} since 2026-01-02 03:04 UTC"):
        volumes.ensure(SPEC, known=None)


def test_a_volume_in_error_that_once_lived_is_kept_though_no_row_knows_it(
    cloud: Cloud, volumes: Volumes
) -> None:
    """A state database restored from an old copy may not."""
    lived = VOLUME | {
        "status": "error",
        "created_at": "2026-01-02T03:04:05.000000",
        "updated_at": "2026-01-03T03:04:05.000000",
    }
    cloud.mock.get(LIST, json={"volumes": [lived]})
    cloud.mock.get(f"{CINDER}/v3/messages", json={"messages": []})
    with pytest.raises(CloudError, match="The data may be whole"):
        volumes.ensure(SPEC, known=None)
    assert not [each for each in cloud.mock.request_history if each.method == "DELETE"]


def test_a_service_that_stays_away_is_named(cloud: Cloud, volumes: Volumes) -> None:
    cloud.mock.get(LIST, status_code=503, text="no backend")
    with pytest.raises(CloudError, match=r"^Cinder says: "):
        volumes.ensure(SPEC, known=None)
    cloud.mock.get(LIST, exc=requests.exceptions.ConnectionError("refused"))
    with pytest.raises(CloudError, match=r"^Cinder cannot be reached at http://cinder\.test\.$"):
        volumes.ensure(SPEC, known=None)
    cloud.mock.get(LIST, exc=requests.exceptions.ReadTimeout("slow"))
    with pytest.raises(CloudError, match=r"^Cinder did not answer in time at http://cinder\.test\.$"):
        volumes.ensure(SPEC, known=None)


@pytest.mark.parametrize(
    "lost",
    [
        {"exc": requests.exceptions.ReadTimeout("slow")},
        {"exc": requests.exceptions.ConnectionError("reset")},
        {"status_code": 502},
        {"status_code": 503},
    ],
)
def test_what_was_made_though_the_answer_was_lost_is_found_and_not_made_again(
    cloud: Cloud, volumes: Volumes, lost: dict[str, Any]
) -> None:
    cloud.mock.get(LIST, json={"volumes": []})
    cloud.mock.post(MAKE, **lost)
    with pytest.raises(CloudError):
        volumes.ensure(SPEC, known=None)
    cloud.mock.get(LIST, json={"volumes": [VOLUME]})
    assert volumes.ensure(SPEC, known=None).id == VOLUME["id"]
    assert len(cloud.sent("POST", "/v3/volumes")) == 1


def test_a_group_whose_answer_was_lost_is_not_made_again(cloud: Cloud, network: Network) -> None:
    groups, ports = f"{NEUTRON}/v2.0/security-groups", f"{NEUTRON}/v2.0/ports"
    made = {"id": "6c30bcc4-0ca8-42db-8739-05166febce21", "created_at": "1", "security_group_rules": []}
    cloud.mock.get(groups, json={"security_groups": []})
    cloud.mock.post(groups, exc=requests.exceptions.ReadTimeout("slow"))
    with pytest.raises(CloudError, match="Neutron did not answer in time"):
        network.ensure(SPEC)
    cloud.mock.get(groups, json={"security_groups": [made]})
    cloud.mock.get(ports, json={"ports": []})
    cloud.mock.post(ports, status_code=503)
    with pytest.raises(CloudError, match="Neutron says"):
        network.ensure(SPEC)
    assert len(cloud.sent("POST", "/v2.0/security-groups")) == 1
    assert len(cloud.sent("POST", "/v2.0/ports")) == 1


def test_nothing_of_another_project_is_asked_for(cloud: Cloud, network: Network) -> None:
    cloud.mock.get(f"{NEUTRON}/v2.0/security-groups", status_code=500)
    with pytest.raises(CloudError):
        network.ensure(SPEC)
    (asked,) = cloud.sent("GET", "/v2.0/security-groups")
    assert asked.qs["project_id"] == [PROJECT]


def test_a_token_that_ended_is_replaced(cloud: Cloud, volumes: Volumes) -> None:
    cloud.mock.get(LIST, [{"status_code": 401}, {"json": {"volumes": [VOLUME]}}])
    volumes.ensure(SPEC, known=None)
    assert cloud.logins.call_count == 2


def test_no_request_waits_forever(cloud: Cloud, volumes: Volumes) -> None:
    cloud.mock.get(LIST, json={"volumes": []})
    cloud.mock.post(MAKE, json={"volume": VOLUME})
    volumes.ensure(SPEC, known=None)
    assert all(each.timeout for each in cloud.mock.request_history)
    assert "coffret/" in cloud.mock.last_request.headers["User-Agent"]


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (
            413,
            {"overLimit": {"message": "Quota exceeded for gigabytes"}},
            CloudError,
            "until there is room",
        ),
        (403, {"forbidden": {"message": "Quota exceeded for cores"}}, CloudError, "until there is room"),
        (
            409,
            {"NeutronError": {"message": "Quota exceeded for resources: ['port']."}},
            CloudError,
            r"says: Quota exceeded for resources: \['port'\]\. It is tried again until there is room\.",
        ),
        (409, {"conflictingRequest": {"message": "Port is in use"}}, CloudError, "Port is in use"),
        (403, {"forbidden": {"message": "Policy doesn't allow it"}}, CloudError, "lacks a role"),
        (
            400,
            {"badRequest": {"message": "Invalid volume: status must be available"}},
            CloudError,
            "must be",
        ),
        (400, {"badRequest": {"message": "Flavor's disk is too small"}}, CloudRefusal, "disk is too small"),
        (
            404,
            {"itemNotFound": {"message": "Volume x could not be found"}},
            CloudError,
            "could not be found",
        ),
        (500, {"computeFault": {"message": "Unexpected"}}, CloudError, "Unexpected"),
        (504, {}, CloudError, "says"),
    ],
)
def test_what_may_pass_is_told_from_what_stays(
    cloud: Cloud, openstack: OpenStack, status: int, body: Any, kind: type[Exception], said: str
) -> None:
    cloud.mock.post(MAKE, status_code=status, json=body, headers=JSON)
    with pytest.raises((CloudError, CloudRefusal), match=said) as error, asking("Cinder"):
        openstack.block_storage.create_volume(size=1)
    assert type(error.value) is kind


def test_no_secret_gets_into_a_message(cloud: Cloud, openstack: OpenStack) -> None:
    user_data = base64.b64encode(json.dumps({"bootstrap_token": "t0p-s3cret" * 5}).encode()).decode()
    message = f"Invalid input for field user_data. Value: {user_data}. {TOKEN} is too long"
    cloud.mock.post(
        f"{NOVA}/v2.1/servers", status_code=400, json={"badRequest": {"message": message}}, headers=JSON
    )
    with pytest.raises(CloudRefusal, match="Invalid input for field user_data") as error, asking("Nova"):
        openstack.compute.create_server(name="orders", user_data=user_data)
    assert user_data[:20] not in str(error.value)
    assert TOKEN[:20] not in str(error.value)


def test_an_account_that_is_not_let_in_any_more_is_said(cloud: Cloud, volumes: Volumes) -> None:
    cloud.mock.get(LIST, status_code=401)
    cloud.mock.post(
        f"{KEYSTONE}/v3/auth/tokens",
        status_code=401,
        json={"error": {"message": "Requires authentication"}},
        headers=JSON,
    )
    with pytest.raises(CloudError, match=r"Keystone says: Requires authentication.*Coffret's own account"):
        volumes.ensure(SPEC, known=None)


def test_a_cloud_that_is_too_old_is_said(cloud: Cloud) -> None:
    links = [{"rel": "self", "href": f"{NOVA}/v2.1"}]
    shown = {"id": "v2.1", "status": "CURRENT", "version": "2.79", "min_version": "2.1", "links": links}
    for url in (f"{NOVA}/v2.1", f"{NOVA}/v2.1/"):
        cloud.mock.get(url, json={"version": shown})
    with pytest.raises(SettingsError, match=r"2\.93.*2\.79"):
        OpenStack("test").log_in()


def test_a_cloud_that_lacks_a_service_is_said(cloud: Cloud) -> None:
    cloud.catalogue[:] = [service for service in cloud.catalogue if service["type"] != "block-storage"]
    with pytest.raises(SettingsError, match="block-storage"):
        OpenStack("test").log_in()


def test_a_name_that_two_networks_have_is_no_management_network(cloud: Cloud, openstack: OpenStack) -> None:
    two = [{"id": str(number), "name": "management"} for number in range(2)]
    cloud.mock.get(f"{NEUTRON}/v2.0/networks/management", status_code=404)
    cloud.mock.get(f"{NEUTRON}/v2.0/networks", json={"networks": two})
    with pytest.raises(SettingsError, match="not the name or id of one network"):
        open_management(openstack, "management")


def test_who_chooses_openstack_without_its_library_is_told_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.startswith("control_plane.clouds.openstack")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("control_plane.clouds.openstack", raising=False)
    monkeypatch.setitem(sys.modules, "keystoneauth1", None)
    with pytest.raises(SettingsError, match=r"pip install 'coffret\[openstack\]'"):
        open_cloud(Settings(cloud="openstack"))


def test_a_resize_is_confirmed_once_though_nova_still_shows_it_unconfirmed(
    cloud: Cloud, openstack: OpenStack
) -> None:
    """While Nova confirms, the server stays in VERIFY_RESIZE without a task."""
    server = Server(id=INSTANCE, status="VERIFY_RESIZE", flavor={"original_name": SPEC.flavor})
    refusal = {"badRequest": {"message": "Instance has not been resized."}}
    answers = [{"status_code": 204}, {"status_code": 400, "json": refusal, "headers": JSON}]
    cloud.mock.post(f"{NOVA}/v2.1/servers/{INSTANCE}/action", answers)
    for _ in answers:
        with pytest.raises(CloudPending, match="completing the server's resize"):
            Steps(openstack, Flavors(openstack), server, SPEC, Volume("v", 1)).settle_resize()
