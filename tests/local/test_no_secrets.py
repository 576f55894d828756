"""No secret gets into a log, an error, an event, a metric or a command line, whatever happens."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import requests
from serving import Serving, eventually, served
from sqlalchemy import create_engine, text

from control_plane.secrets.keys import Keys

PASSWORDS = ["correct horse battery", "another horse battery"]
SHORT = "s3cr3t!"
"""Too short a password, so that it is refused: an error must not repeat it."""
INSTANCES = {
    "orders": {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}},
    "cache": {"datastore": "valkey", "flavor": "db.tiny", "volume": {"size": 1}},
}


class Watch(threading.Thread):
    """Collects the credentials of agents while they exist, and what processes show of themselves."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder = folder
        self.bootstrap_tokens: set[str] = set()
        self.agent_secrets: set[str] = set()
        self.shown: set[str] = set()
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.02):
            for home in self.folder.glob("instances/*/agent"):
                self.bootstrap_tokens |= found(home / "agent.json", "bootstrap_token")
                self.agent_secrets |= found(home / "state.json", "secret", "next_secret")

    def look_at_processes(self) -> None:
        for process in psutil.process_iter(["cmdline", "environ", "cwd"]):
            about = process.info
            line = " ".join(about["cmdline"] or ())
            if str(self.folder) in line or str(self.folder) in str(about["cwd"]):
                self.shown |= {line, *(about["environ"] or {}).values()}


def found(file: Path, *names: str) -> set[str]:
    try:
        told = json.loads(file.read_text())
    except (OSError, ValueError):
        return set()
    return {told[name] for name in names if told.get(name)}


@pytest.fixture
def serving() -> Iterator[Serving]:
    with served(COFFRET_LOG_LEVEL="DEBUG", COFFRET_AGENT_SECRET_DAYS="0.00001") as one:
        yield one


def test_a_whole_life_leaves_no_secret_where_people_look(serving: Serving) -> None:
    watch = Watch(serving.folder)
    watch.start()
    serving.start()
    token = serving.session.headers["Authorization"].removeprefix("Bearer ")  # type: ignore[union-attr]
    answers = [live(serving), refused(serving, token)]
    made = serving.call("POST", "/tokens", {"name": "ci", "project_id": "default"})
    eventually(lambda: len(watch.agent_secrets) > len(INSTANCES), 30)  # they have changed once
    watch.look_at_processes()
    serving.stop()
    serving.start()
    verifiers = stored(serving.folder)
    events = serving.call("GET", "/events?all_projects=true&limit=1000").text
    metrics = requests.get(f"{serving.url}/metrics", timeout=10).text
    logs = [file.read_text(errors="replace") for file in log_files(serving.folder)]
    for name in INSTANCES:
        answers.append(serving.call("DELETE", f"/instances/{name}").text)
    for name in INSTANCES:
        eventually(lambda name=name: serving.call("GET", f"/instances/{name}").status_code == 404, 60)
    watch.ended.set()
    watch.join()

    secrets = {
        "a password": {*PASSWORDS, SHORT},
        "a verifier": verifiers,
        "a token": {token, token.partition(".")[2], made.json()["token"].partition(".")[2]},
        "an agent's secret": watch.agent_secrets,
        "a bootstrap token": watch.bootstrap_tokens,
        "a key": {(serving.folder / "secrets.keys").read_text().strip()},
    }
    assert len(verifiers) == len(INSTANCES)
    assert len(watch.bootstrap_tokens) >= len(INSTANCES)
    places = {
        "the log": [serving.log()],
        "an agent's or engine's log": logs,
        "an answer": answers,
        "an event": [events],
        "a metric": [metrics],
        "a process's command line or environment": sorted(watch.shown),
    }
    assert "generation" in events or "created" in events
    assert any("new directive" in content for content in logs)
    assert [
        f"{kind} is in {place}"
        for place, texts in places.items()
        for kind, values in secrets.items()
        if any(value in content for value in values for content in texts)
    ] == []


def live(serving: Serving) -> str:
    """Instances, users, changed passwords, drift, an engine that dies; returns what was answered."""
    for name, wanted in INSTANCES.items():
        serving.put(f"/instances/{name}", wanted)
    for name in INSTANCES:
        serving.ready(f"/instances/{name}")
    serving.put("/instances/orders/databases/shop", {})
    grants: dict[str, Any] = {
        "orders": [{"database": "shop", "privileges": ["ALL"]}],
        "cache": [{"privileges": ["+@all"], "keys": ["*"]}],
    }
    answers = []
    for password in PASSWORDS:
        for name in INSTANCES:
            path = f"/instances/{name}/users/app"
            serving.put(path, {"password": password, "grants": grants[name]})
            answers.append(json.dumps(serving.ready(path)))
    drift(serving)
    for engine in serving.engines():
        engine.kill()
    eventually(lambda: len(serving.engines()) == len(INSTANCES), 60)
    for name in INSTANCES:
        serving.ready(f"/instances/{name}")
    return "\n".join(answers)


def drift(serving: Serving) -> None:
    """The user changes their own password, and gets the one back that is wanted."""
    endpoint = serving.call("GET", "/instances/orders").json()["status"]["endpoints"][0]
    where = {"host": endpoint["host"], "port": endpoint["port"], "dbname": "shop", "user": "app"}
    with psycopg.connect(**where, password=PASSWORDS[-1]) as connection:
        connection.execute("ALTER ROLE app PASSWORD 'of their own'")

    def put_right() -> bool:
        try:
            psycopg.connect(**where, password=PASSWORDS[-1]).close()
        except psycopg.OperationalError:
            return False
        return True

    eventually(put_right, 90)


def refused(serving: Serving, token: str) -> str:
    """All that can be wrong with a request that has a secret in it; returns what was answered."""
    path = f"{serving.url}/v1/instances/orders/users/more"
    answers = [
        serving.call("PUT", "/instances/orders/users/more", {"password": SHORT}),
        serving.call("PUT", "/instances/orders/users/more", {"password": [PASSWORDS[0]]}),
        serving.call("PUT", "/instances/orders/users/more", {"pasword": PASSWORDS[0]}),
        serving.call(
            "PUT", "/instances/orders/users/more", {"password": PASSWORDS[0], "grants": PASSWORDS[0]}
        ),
        serving.session.put(path, data=f'{{"password": "{PASSWORDS[0]}"', timeout=10),
        serving.session.put(path, data=PASSWORDS[0], headers={"Content-Type": "text/plain"}, timeout=10),
        requests.get(path, headers={"Authorization": f"Bearer {token}x"}, timeout=10),
        requests.put(path, headers={"Authorization": f"Basic {token}"}, timeout=10),
        requests.get(path, headers={"X-Auth-Token": token}, timeout=10),
        requests.post(
            f"{serving.url}/agent/v1/sync", headers={"Authorization": f"Bearer i.{token}"}, timeout=10
        ),
    ]
    assert all(answer.status_code >= 400 for answer in answers)
    return "\n".join(answer.text for answer in answers)


def stored(folder: Path) -> set[str]:
    """The verifiers in the state database, decrypted."""
    keys = Keys(folder / "secrets.keys")
    engine = create_engine(f"sqlite:///{folder / 'coffret.db'}")
    with engine.connect() as connection:
        rows = connection.scalars(text("SELECT verifier FROM users")).all()
    engine.dispose()
    return {keys.decrypt(row) for row in rows}


def log_files(folder: Path) -> list[Path]:
    return [
        file
        for file in folder.rglob("*")
        if file.is_file() and ("log" in file.suffix or file.name.endswith("log.1") or "/log/" in str(file))
    ]
