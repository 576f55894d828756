"""Callers known by a real Keystone. The cloud's driver plays no part: instances are noop's."""

import json
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from contract import INSTANCE, problem
from flask import Flask
from foreign import own, refused_everywhere, seen
from keystoneauth1.identity import V3ApplicationCredential, V3Password
from keystoneauth1.session import Session
from openstack.connection import Connection
from openstack.identity.v3.project import Project
from openstack.identity.v3.user import User
from serving import Serving, eventually
from werkzeug.test import TestResponse

from control_plane.app import create_app
from control_plane.auth import keystone
from control_plane.clouds.noop import Books, cloud
from control_plane.clouds.noop.drivers import Network
from control_plane.database import db
from control_plane.datastores.service import import_shipped
from control_plane.settings import Auth, Settings

pytestmark = pytest.mark.openstack
PASSWORD = uuid.uuid4().hex


@dataclass(frozen=True, eq=False)
class Someone:
    """A user of the cloud, made for these tests."""

    admin: Connection
    user: User
    project: Project | None = None

    @property
    def auth_url(self) -> str:
        return str(self.admin.config.config["auth"]["auth_url"])

    def session(self, **scope: Any) -> Session:
        """Logged in; with the project unless another scope is given."""
        if not scope and self.project is not None:
            scope = {"project_id": self.project.id}
        auth = V3Password(self.auth_url, user_id=self.user.id, password=PASSWORD, **scope)
        return Session(auth, verify=self.admin.session.verify)

    def token(self, **scope: Any) -> str:
        return str(self.session(**scope).get_token())

    def application_credential(self, **fields: Any) -> Any:
        return Connection(session=self.session()).identity.create_application_credential(
            self.user, name=uuid.uuid4().hex, **fields
        )

    def token_of(self, credential: Any) -> str:
        auth = V3ApplicationCredential(
            self.auth_url,
            application_credential_id=credential.id,
            application_credential_secret=credential.secret,
        )
        return str(Session(auth, verify=self.admin.session.verify).get_token())


@pytest.fixture(scope="module")
def people(cloud_connection: Connection) -> Iterator[Callable[..., Someone]]:
    """Makes users, each with roles in a project of its own or another's. In the end they are gone."""
    identity = cloud_connection.identity
    made: list[Any] = []

    def make(*roles: str, project: Project | None = None) -> Someone:
        name = f"coffret-test-{uuid.uuid4().hex[:8]}"
        if project is None:
            project = identity.create_project(name=name)
            made.append((identity.delete_project, project))
        user = identity.create_user(name=name, password=PASSWORD)
        made.append((identity.delete_user, user))
        for role in roles:
            identity.assign_project_role_to_user(project, user, identity.find_role(role))
        return Someone(cloud_connection, user, project)

    yield make
    for delete, each in reversed(made):
        delete(each)


@pytest.fixture(scope="module")
def ann(people: Callable[..., Someone]) -> Someone:
    """A member of one project."""
    return people("member")


@pytest.fixture(scope="module")
def bob(people: Callable[..., Someone]) -> Someone:
    """A member of another."""
    return people("member")


class Client:
    """The API of an application in this process, with tokens of Keystone."""

    def __init__(self, app: Flask) -> None:
        self.app = app

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        """`headers` are written with underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.app.test_client().open(f"/v1{path}", method=method, json=body, headers=sent)

    def get(self, path: str, token: str) -> TestResponse:
        return self("GET", path, X_Auth_Token=token)


@pytest.fixture
def client(cloud_connection: Connection, tmp_path: Path) -> Iterator[Client]:
    app = create_app(Settings(data_dir=tmp_path, cloud="noop", auth=Auth.KEYSTONE), cloud(Books()))
    with app.app_context():
        db.create_all()
        import_shipped(images=False)
    yield Client(app)
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def clouds_yaml(folder: Path, connection: Connection, **auth: Any) -> dict[str, str]:
    """The environment for a cloud like the tests' own, but for what is given. None leaves it out."""
    config = connection.config.config
    wanted = {key: value for key, value in (config["auth"] | auth).items() if value is not None}
    known = {key: config[key] for key in ("region_name", "cacert", "verify") if config.get(key)}
    file = folder / "clouds.yaml"
    file.write_text(json.dumps({"clouds": {"other": known | {"auth": wanted}}}))
    return {"OS_CLIENT_CONFIG_FILE": str(file), "OS_CLOUD": "other"}


@pytest.fixture
def start(cloud_connection: Connection, tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    """Runs `coffret serve`; all that it writes is in its folder, its log at DEBUG."""
    served = []

    def begin(**environment: str) -> Serving:
        folder = tmp_path / uuid.uuid4().hex
        folder.mkdir()
        settings = {"COFFRET_CLOUD": "noop", "COFFRET_AUTH": "keystone", "COFFRET_LOG_LEVEL": "DEBUG"}
        serving = Serving(folder, **settings | environment)
        served.append(serving)
        serving.start()
        return serving

    yield begin
    for serving in served:
        serving.clean()


def ask(serving: Serving, method: str, path: str, body: Any, token: str) -> requests.Response:
    headers = {"X-Auth-Token": token}
    return requests.request(method, serving.url + path, json=body, headers=headers, timeout=60)


def test_a_member_works_in_their_project(client: Client, ann: Someone) -> None:
    token = ann.token()
    assert client("PUT", "/instances/orders", INSTANCE, X_Auth_Token=token).status_code == 202
    assert client.get("/instances/orders", token).status_code == 200
    (event,) = client.get("/events", token).json["items"]  # type: ignore[index]
    assert event["actor"] == f"{ann.user.name} ({ann.user.id})"
    assert ann.project is not None
    assert client.get(f"/quotas/{ann.project.id}", token).status_code == 200
    problem(client("PUT", f"/quotas/{ann.project.id}", {}, X_Auth_Token=token), 403, "forbidden")


@pytest.mark.slow
def test_the_cloud_is_asked_with_the_callers_own_token(
    client: Client, ann: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    eyes = []
    monkeypatch.setattr(Network, "validate", lambda self, spec, token=None: eyes.append(token))
    token = ann.token()
    assert client("PUT", "/instances/orders", INSTANCE, X_Auth_Token=token).status_code == 202
    assert eyes == [token]


@pytest.mark.slow
def test_roles_of_keystone_are_what_counts(
    client: Client, people: Callable[..., Someone], ann: Someone
) -> None:
    reader = people("reader", project=ann.project).token()
    assert client.get("/instances", reader).status_code == 200
    denied = client("PUT", "/instances/orders", INSTANCE, X_Auth_Token=reader)
    problem(denied, 403, "forbidden", says="needs the role member (rule 'coffret:instances:update')")
    admin = people("admin", project=ann.project).token()
    assert (
        client("PUT", "/datastores/mine", {"manager": "postgresql"}, X_Auth_Token=admin).status_code == 201
    )


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X_Auth_Token": ""},
        {"X_Auth_Token": "garbage"},
        {"X_Auth_Token": "gAAAAA" + "x" * 5000},
        {"X_Auth_Token": "\xe9\xff"},
        {"X_Auth_Token": "a b"},
        {"X_Auth_Token": "../users"},
        {"X_Storage_Token": "garbage"},
        {"Authorization": "Bearer cfrt_00000000-0000-0000-0000-000000000000.secret"},
        {"X_Identity_Status": "Confirmed", "X_Project_Id": "p", "X_User_Id": "u", "X_Roles": "admin"},
        {"X_Auth_Token": "", "X_Identity_Status": "Confirmed", "X_Roles": "admin", "X_Project_Id": "p"},
    ],
)
def test_without_a_token_that_keystone_knows_nothing_is_shown(
    client: Client, headers: dict[str, str]
) -> None:
    for path in ("/instances", "/nothing"):
        answer = client("GET", path, **headers)
        problem(answer, 401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"].startswith('Keystone uri="http')
        assert answer.headers["WWW-Authenticate"].endswith(", Bearer")


@pytest.mark.slow
def test_what_a_caller_says_of_themselves_does_not_count(
    client: Client, ann: Someone, bob: Someone
) -> None:
    token = ann.token()
    assert client("PUT", "/instances/orders", INSTANCE, X_Auth_Token=token).status_code == 202
    assert ann.project is not None
    forged = {"X_Project_Id": ann.project.id, "X_Tenant_Id": ann.project.id, "X_Roles": "admin"}
    answer = client("GET", "/instances", X_Auth_Token=bob.token(), **forged)
    assert answer.json == {"items": [], "links": []}
    problem(client("GET", "/tokens", X_Auth_Token=bob.token(), **forged), 403, "forbidden")


@pytest.mark.slow
def test_two_tokens_at_once_are_refused(client: Client, ann: Someone) -> None:
    answer = client("GET", "/instances", X_Auth_Token=ann.token(), Authorization="Bearer cfrt_a.b")
    problem(answer, 401, "unauthenticated", says="both")


def test_a_token_without_a_project_is_refused_with_a_reason(
    client: Client, cloud_connection: Connection, ann: Someone
) -> None:
    identity = cloud_connection.identity
    member = identity.find_role("member")
    domain = cloud_connection.identity.get_domain(ann.user.domain_id)
    identity.assign_domain_role_to_user(domain, ann.user, member)
    identity.assign_system_role_to_user(ann.user, member, "all")
    said = {
        "is scoped to nothing": ann.token(unscoped=True),
        "is scoped to a domain": ann.token(domain_id=domain.id),
        "is scoped to the system": ann.token(system_scope="all"),
    }
    for says, token in said.items():
        problem(client.get("/instances", token), 403, "forbidden", says=says)


def test_an_application_credential_works_until_it_is_revoked(
    client: Client, ann: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keystone, "CACHE_SECONDS", 0.2)
    credential = ann.application_credential(roles=[{"name": "reader"}])
    token = ann.token_of(credential)
    assert client.get("/instances", token).status_code == 200
    denied = client("PUT", "/instances/orders", INSTANCE, X_Auth_Token=token)
    problem(denied, 403, "forbidden", says="the token has reader")
    Connection(session=ann.session()).identity.delete_application_credential(ann.user, credential)
    eventually(lambda: client.get("/instances", token).status_code == 401, 10)
    problem(client.get("/instances", token), 401, "unauthenticated", says="revoked")


@pytest.mark.slow
def test_a_token_ends_when_it_expires_though_it_was_just_seen(
    client: Client, ann: Someone, cloud_connection: Connection
) -> None:
    until = datetime.now(UTC) + timedelta(seconds=20)
    credential = ann.application_credential(expires_at=until.strftime("%Y-%m-%dT%H:%M:%S.000000"))
    token = ann.token_of(credential)
    assert client.get("/instances", token).status_code == 200
    eventually(lambda: client.get("/instances", token).status_code == 401, 40)
    problem(client.get("/instances", token), 401, "unauthenticated", says="expired")


@pytest.mark.slow
def test_our_own_token_is_renewed_when_it_ends(
    client: Client, ann: Someone, bob: Someone, cloud_connection: Connection
) -> None:
    assert client.get("/instances", ann.token()).status_code == 200
    session = client.app.extensions["coffret_keystone"].session
    ours = session.get_token()
    cloud_connection.identity.delete("/auth/tokens", headers={"X-Subject-Token": ours})
    assert client.get("/instances", bob.token()).status_code == 200
    assert session.get_token() != ours


@pytest.mark.slow
def test_a_keystone_that_hangs_does_not_hold_all_threads(
    cloud_connection: Connection, tmp_path: Path, ann: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keystone, "TIMEOUT_SECONDS", 2)
    token = ann.token()
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v3"
        for name, value in clouds_yaml(tmp_path, cloud_connection, auth_url=url).items():
            monkeypatch.setenv(name, value)
        app = create_app(Settings(data_dir=tmp_path, cloud="noop", auth=Auth.KEYSTONE), cloud(Books()))
        client = Client(app)

        def seconds(number: int) -> float:
            began = time.monotonic()
            problem(client.get("/instances", f"{token}{number}"), 503, "identity_unavailable")
            return time.monotonic() - began

        with ThreadPoolExecutor(20) as callers:
            taken = sorted(callers.map(seconds, range(20)))
    assert taken[11] < 2  # twelve of twenty do not wait for Keystone
    assert taken[-1] < 8


@pytest.mark.slow
def test_keystone_is_asked_once_for_many_requests(
    client: Client, ann: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    answer = keystone.Keystone._ask

    def counted(self: keystone.Keystone, *arguments: Any) -> Any:
        asked.append(arguments)
        return answer(self, *arguments)

    monkeypatch.setattr(keystone.Keystone, "_ask", counted)
    token = ann.token()
    for _ in range(10):
        assert client.get("/instances", token).status_code == 200
    assert len(asked) == 1


def test_another_project_sees_and_touches_nothing(
    start: Callable[..., Serving], ann: Someone, bob: Someone
) -> None:
    serving = start()
    document = requests.get(f"{serving.url}/openapi.json", timeout=10).json()
    tokens = {ann: ann.token(), bob: bob.token()}

    def sent_by(someone: Someone) -> Callable[[str, str, Any], tuple[int, str]]:
        def send(method: str, path: str, body: Any) -> tuple[int, str]:
            answer = ask(serving, method, path, body, tokens[someone])
            return answer.status_code, answer.text

        return send

    assert ann.project is not None
    names, ids = own(sent_by(ann), ann.project.id)

    def settled() -> bool:
        answer = ask(serving, "GET", "/v1/instances/ledger/actions", None, tokens[ann])
        ready = ask(serving, "GET", "/v1/instances/ledger?wait_for=ready", None, tokens[ann])
        done = all(action["finished_at"] for action in answer.json()["items"])
        return bool(done and ready.json()["status"]["ready"])

    eventually(settled, 30)
    before = seen(document, sent_by(ann), ids)
    assert list(refused_everywhere(document, sent_by(bob), names, ids)) == []
    assert seen(document, sent_by(ann), ids) == before


def test_no_secret_is_written_anywhere(
    start: Callable[..., Serving], ann: Someone, cloud_connection: Connection
) -> None:
    serving = start()
    credential = ann.application_credential()
    secrets = {
        "a user's token": ann.token(),
        "an application credential's token": ann.token_of(credential),
        "an application credential's secret": credential.secret,
        "the password of Coffret's account": cloud_connection.config.config["auth"].get("password"),
    }
    refused = ann.token(unscoped=True)
    for token in (*list(secrets.values())[:2], refused):
        ask(serving, "PUT", "/v1/instances/orders", INSTANCE, token)
        ask(serving, "GET", "/v1/instances/orders?wait_for=ready", None, token)
        ask(serving, "GET", "/v1/events", None, token)
    serving.stop()
    assert "DEBUG" in serving.log()
    written = {file: file.read_bytes() for file in serving.folder.rglob("*") if file.is_file()}
    assert any(b"orders" in content for content in written.values())
    for what, secret in (secrets | {"a refused token": refused}).items():
        if what.startswith("the password") and secret == cloud_connection.config.config["auth"]["username"]:
            continue
        for file, content in written.items():
            assert secret is None or secret.encode() not in content, f"{what} is in {file.name}"


@pytest.mark.slow
def test_while_keystone_is_away_its_callers_wait_and_others_work(
    start: Callable[..., Serving], cloud_connection: Connection, tmp_path: Path, ann: Someone
) -> None:
    serving = start(**clouds_yaml(tmp_path, cloud_connection, auth_url="http://127.0.0.1:9/v3"))
    answer = ask(serving, "GET", "/v1/instances", None, ann.token())
    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "identity_unavailable"
    assert int(answer.headers["Retry-After"]) > 0
    assert serving.call("GET", "/instances").status_code == 200  # with a token of its own
    assert "Keystone does not answer" in serving.log()


def refused_start(environment: dict[str, str], folder: Path) -> str:
    """What `coffret serve` says when it does not start."""
    settings = {"COFFRET_CLOUD": "noop", "COFFRET_AUTH": "keystone"}
    serving = Serving(folder / "refused", **settings | environment)
    run = subprocess.run(
        serving.command("serve"), env=serving.environment, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 1, run.stderr
    return run.stderr


@pytest.mark.slow
def test_an_account_that_keystone_refuses_is_said_at_the_start(
    cloud_connection: Connection, tmp_path: Path
) -> None:
    wrong = clouds_yaml(tmp_path, cloud_connection, password="not-the-password")
    said = refused_start(wrong, tmp_path)
    assert "Keystone refuses the account that OS_CLOUD='other' names" in said
    assert "not-the-password" not in said
    nowhere = {"project_name": None, "project_domain_name": None, "project_id": None}
    said = refused_start(clouds_yaml(tmp_path, cloud_connection, **nowhere), tmp_path)
    assert "has no project" in said
    assert "Cloud nope was not found" in refused_start({"OS_CLOUD": "nope"}, tmp_path)


@pytest.mark.slow
def test_an_account_that_may_not_check_tokens_is_our_fault_and_not_the_callers(
    start: Callable[..., Serving], ann: Someone, bob: Someone, cloud_connection: Connection, tmp_path: Path
) -> None:
    assert ann.project is not None
    account = {
        "username": ann.user.name,
        "password": PASSWORD,
        "project_name": ann.project.name,
    }
    serving = start(**clouds_yaml(tmp_path, cloud_connection, **account))
    assert "give it the role service" in serving.log()
    assert ask(serving, "GET", "/v1/instances", None, bob.token()).status_code == 503
    assert "give our account the role service" in serving.log()


@pytest.fixture
def region(cloud_connection: Connection) -> Iterator[str]:
    """A region for these tests alone; in the end nothing of it is in the catalogue."""
    identity = cloud_connection.identity
    name = f"coffret-test-{uuid.uuid4().hex[:8]}"
    identity.create_region(id=name)
    before = {service.id for service in identity.services(type="database")}
    yield name
    for endpoint in identity.endpoints(region_id=name):
        identity.delete_endpoint(endpoint)
    identity.delete_region(name)
    for service in identity.services(type="database"):
        if service.id not in before and not list(identity.endpoints(service_id=service.id)):
            identity.delete_service(service)


def register(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [*Serving(Path()).command("keystone", "register"), *arguments]
    return subprocess.run(
        command, env=Serving(Path()).environment | environment, capture_output=True, text=True, timeout=60
    )


def endpoints(connection: Connection, region: str) -> dict[str, str]:
    return {item.interface: item.url for item in connection.identity.endpoints(region_id=region)}


def test_the_control_plane_is_put_into_the_catalogue(
    cloud_connection: Connection, region: str, ann: Someone
) -> None:
    first = register("--url", "https://coffret.example.org:8779/", "--region", region)
    assert first.returncode == 0, first.stderr
    everywhere = dict.fromkeys(("public", "internal", "admin"), "https://coffret.example.org:8779")
    assert endpoints(cloud_connection, region) == everywhere
    again = register("--url", "https://coffret.example.org:8779", "--region", region)
    assert again.stdout.count("there already") == 4
    moved = register("--url", "http://10.0.0.1:1", "--region", region, "--interface", "internal")
    assert "instead of https://coffret.example.org:8779" in moved.stdout
    assert endpoints(cloud_connection, region) == everywhere | {"internal": "http://10.0.0.1:1"}
    found = ann.session().get_endpoint(service_type="database", region_name=region, interface="public")
    assert found == "https://coffret.example.org:8779"


@pytest.mark.slow
def test_a_disabled_endpoint_is_enabled_again(cloud_connection: Connection, region: str) -> None:
    identity = cloud_connection.identity
    register("--url", "http://10.0.0.1:1", "--region", region)
    for endpoint in identity.endpoints(region_id=region):
        identity.update_endpoint(endpoint, is_enabled=False)
    assert register("--url", "http://10.0.0.1:1", "--region", region).stdout.count(" enabled") == 3
    assert all(endpoint.is_enabled for endpoint in identity.endpoints(region_id=region))


@pytest.mark.slow
def test_what_cannot_be_registered_is_said(
    cloud_connection: Connection, region: str, tmp_path: Path, ann: Someone
) -> None:
    assert ann.project is not None
    account = {"username": ann.user.name, "password": PASSWORD, "project_name": ann.project.name}
    member = clouds_yaml(tmp_path, cloud_connection, **account)
    assert "an admin of the cloud" in register("--url", "http://10.0.0.1:1", **member).stderr
    for arguments, says in (
        (("--url", "http://10.0.0.1:1/v1"), "clients append /v1"),
        (("--url", "10.0.0.1:1"), "is not a URL"),
        (("--url", "http://10.0.0.1:1", "--region", region + "x"), f"Did you mean '{region}'?"),
    ):
        run = register(*arguments)
        assert run.returncode == 1
        assert says in run.stderr
    assert endpoints(cloud_connection, region) == {}


@pytest.mark.slow
def test_another_database_service_in_the_region_is_not_put_aside(
    cloud_connection: Connection, region: str
) -> None:
    identity = cloud_connection.identity
    other = identity.create_service(name="trove", type="database")
    identity.create_endpoint(
        service_id=other.id, region_id=region, interface="public", url="http://10.0.0.1:2"
    )
    run = register("--url", "http://10.0.0.1:1", "--region", region)
    assert run.returncode == 1
    assert "has a service 'trove' of the type 'database'" in run.stderr
    assert endpoints(cloud_connection, region) == {"public": "http://10.0.0.1:2"}


@pytest.mark.slow
def test_access_rules_of_an_application_credential_hold(client: Client, region: str, ann: Someone) -> None:
    register("--url", "http://10.0.0.1:1", "--region", region)
    rules = [{"service": "database", "method": "GET", "path": "/v1/instances/*"}]
    token = ann.token_of(ann.application_credential(access_rules=rules))
    problem(client.get("/instances/orders", token), 404, "not_found")
    problem(client.get("/instances", token), 403, "forbidden", says="access rules")
    denied = client("DELETE", "/instances/orders", X_Auth_Token=token)
    problem(denied, 403, "forbidden", says="do not allow DELETE /v1/instances/orders")
    for service in ("garbage", token, ann.token()):
        sent = {"X_Service_Token": service, "X_Service_Identity_Status": "Confirmed"}
        around = client("DELETE", "/instances/orders", X_Auth_Token=token, **sent)
        problem(around, 401, "unauthenticated", says="X-Service-Token is not the token of a service")


@pytest.mark.slow
def test_a_service_may_pass_on_a_callers_token(
    client: Client, ann: Someone, people: Callable[..., Someone]
) -> None:
    service = people("service")
    answer = client("GET", "/instances", X_Auth_Token=ann.token(), X_Service_Token=service.token())
    assert answer.status_code == 200
