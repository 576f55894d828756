"""The reference deployment of docs/operators/scale.md, its files as they are in deploy/."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from certificates import certify
from rabbitmq import RabbitMQ, free_ports
from serving import ROOT, Serving, eventually
from stores import PostgreSQL, started

from control_plane.secrets.keys import new_key
from control_plane.settings import Settings

DEPLOY = ROOT / "deploy"
UNITS = sorted(DEPLOY.glob("systemd/*.service"))
CONFIGURATIONS = sorted(DEPLOY.glob("*.conf"))
INSTANCE = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}
SECONDS = 90


def program(name: str, package: str) -> str:
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not here: apt-get install {package}")
    return found


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.stem))
def test_systemd_takes_the_units(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text()
    role = unit.stem.removeprefix("coffret-")
    assert f"COFFRET_CONFIG=/etc/coffret/{role}.conf" in text
    copy = tmp_path / unit.name
    copy.write_text(text.replace("/opt/coffret/bin/coffret", "/bin/true").replace("=coffret\n", "=root\n"))
    done = subprocess.run(
        [program("systemd-analyze", "systemd"), "verify", "--man=no", copy],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if unit.name in line] == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.stem))
def test_a_unit_waits_until_its_process_has_ended(unit: Path) -> None:
    seconds = int(re.findall(r"^TimeoutStopSec=(\d+)$", unit.read_text(), re.MULTILINE)[0])
    assert seconds > 25 + settings(unit.stem.removeprefix("coffret-")).drain_seconds


def settings(role: str) -> Settings:
    return Settings.load({"COFFRET_CONFIG": str(DEPLOY / f"{role}.conf")})


@pytest.mark.parametrize("file", CONFIGURATIONS, ids=lambda file: str(file.stem))
def test_each_process_has_settings_that_there_are(file: Path) -> None:
    assert settings(file.stem).sqlalchemy_url.get_backend_name() == "postgresql"


def haproxy(folder: Path, ports: dict[str, int]) -> Path:
    """The configuration with this machine's addresses in place of the documented ones, each found once."""
    text = (DEPLOY / "haproxy.cfg").read_text()
    local = {address: f"127.0.0.1:{port}" for address, port in ports.items()}
    for address, here in local.items():
        text, count = re.subn(rf"(?<= ){re.escape(address)}(?=[ \n])", here, text)
        assert count == 1, address
    certify(folder, "127.0.0.1")
    pem = folder / "coffret.pem"
    pem.write_text((folder / "tls.pem").read_text() + (folder / "tls.key").read_text())
    text = text.replace("maxconn 30000", "maxconn 1000")  # as many files as may be open anywhere
    made = folder / "haproxy.cfg"
    made.write_text(
        text.replace("/etc/haproxy/coffret.pem", str(pem)).replace("    log /dev/log local0\n", "")
    )
    return made


def test_haproxy_takes_its_configuration(tmp_path: Path) -> None:
    made = haproxy(tmp_path, dict.fromkeys((":443", ":8443"), 1))
    done = subprocess.run(
        [program("haproxy", "haproxy"), "-c", "-f", made], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


class Reference:
    """HAProxy, two API processes, a gateway and two workers on this machine, on the noop cloud."""

    def __init__(self, folder: Path, broker: RabbitMQ, database_url: str, stack: ExitStack) -> None:
        (folder / "secrets.keys").write_text(f"{new_key()}\n")
        names = (":443", ":8443", "10.0.0.11:8779", "10.0.0.12:8779", "10.0.0.11:8780")
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.url = f"https://127.0.0.1:{ports[':443']}"
        self.agents_url = f"https://127.0.0.1:{ports[':8443']}"
        shared = {
            "COFFRET_DATA_DIR": str(folder),
            "COFFRET_DATABASE_URL": database_url,
            "COFFRET_SECRETS_KEYS": str(folder / "secrets.keys"),
            "COFFRET_BROKER_URL": broker.url,
            "COFFRET_DEPLOYMENT": folder.name,
            "COFFRET_AGENT_URL": self.agents_url,
            "COFFRET_CLOUD": "noop",
        }
        given = {role: shared | {"COFFRET_CONFIG": str(DEPLOY / f"{role}.conf")} for role in ROLES}

        def serve(role: str, address: str) -> Serving:
            one = Serving(folder, role, **given[role] | {"COFFRET_BIND": f"127.0.0.1:{ports[address]}"})
            one.url = f"http://127.0.0.1:{ports[address]}"
            stack.callback(ended, one)
            return one

        self.apis = [serve("api", address) for address in names[2:4]]
        self.gateway = serve("agents", names[4])
        self.session = requests.Session()
        self.session.trust_env = False  # whose bundle of authorities would go before this one
        self.session.verify = str(folder / "ca.pem")
        self.apis[0].start()
        self.session.headers.update(self.apis[0].session.headers)
        for one in (self.apis[1], self.gateway):
            one.session.headers.update(self.session.headers)
            one.start()
        log = stack.enter_context((folder / "others.log").open("ab"))
        worker = self.apis[0].command("worker", "--concurrency", "2")
        environment = self.apis[0].environment | given["worker"] | {"COFFRET_METRICS_BIND": ""}
        proxy = [program("haproxy", "haproxy"), "-db", "-f", str(haproxy(folder, ports))]
        for command in (worker, worker, proxy):
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)

    def answers(self) -> bool:
        try:
            return self.session.get(f"{self.url}/readyz", timeout=10).ok
        except requests.ConnectionError:
            return False

    def call(self, method: str, path: str, body: Any = None) -> requests.Response:
        return self.session.request(method, f"{self.url}/v1{path}", json=body, timeout=60)

    def ready(self, path: str) -> None:
        eventually(
            lambda: self.call("GET", f"{path}?wait_for=ready&timeout=5").json()["status"]["ready"], SECONDS
        )


ROLES = ("api", "agents", "worker")


def ended(one: Serving) -> None:
    if one.process is not None and one.process.poll() is None:
        one.kill()


@pytest.fixture
def reference(rabbitmq: RabbitMQ) -> Iterator[Reference]:
    folder = Path(tempfile.mkdtemp(prefix="coffret-reference-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        try:
            server = stack.enter_context(started(PostgreSQL))
        except LookupError as missing:
            pytest.skip(f"the reference deployment is not tested: {missing}")
        yield Reference(folder, rabbitmq, server.make("coffret_reference"), stack)


@pytest.mark.slow
def test_it_serves_while_processes_are_killed_and_replaced(reference: Reference) -> None:
    eventually(reference.answers, SECONDS)
    assert reference.call("PUT", "/instances/orders", INSTANCE).status_code == 202
    reference.ready("/instances/orders")
    made = []

    def write() -> None:
        path = f"/instances/orders/databases/db{len(made)}"
        answer = reference.call("PUT", path, {})
        assert answer.status_code == 202, f"{answer.status_code}: {answer.text}"
        made.append(path)

    reference.apis[0].kill()
    for _ in range(20):
        write()
    reference.apis[0].start()
    told = reference.apis[1].process
    assert told is not None
    told.send_signal(signal.SIGTERM)
    began = time.monotonic()
    while told.poll() is None:
        write()
        assert time.monotonic() - began < 40
    for _ in range(5):
        write()
    for path in made:
        reference.ready(path)
    metrics = reference.session.get(f"{reference.url}/metrics", timeout=10)
    assert metrics.status_code == 404, "what they say is nobody's business outside"
    agents = f"{reference.agents_url}/agent/v1/sync"
    stranger = requests.post(agents, json={}, timeout=10, verify=str(reference.session.verify))
    assert stranger.status_code == 401
    assert reference.session.get(f"{reference.agents_url}/v1/instances", timeout=10).status_code == 404
