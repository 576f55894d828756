"""SIGKILL of `coffret serve` at any moment: started again, it goes on where it was."""

import contextlib
import itertools
import random
import threading
import time

import pytest
import requests
from serving import Serving, eventually, serving

__all__ = ["serving"]

POSTGRESQL = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}
VALKEY = {"datastore": "valkey", "flavor": "db.tiny", "volume": {"size": 1}}


@pytest.mark.parametrize(
    "seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]
)
def test_killed_at_random_while_it_makes_instances_it_makes_each_once(serving: Serving, seed: int) -> None:
    chance = random.Random(seed)
    serving.start()
    names = [f"cache{number}" for number in range(4)]
    for name in names:
        serving.put(f"/instances/{name}", VALKEY)
        for _ in range(2):
            serving.call(
                "PUT", f"/instances/{name}/users/app", {"password": "a-long-password", "grants": []}
            )
    for _ in range(5):
        time.sleep(chance.uniform(0, 0.6))
        serving.kill()
        serving.launch()
        time.sleep(chance.uniform(0.2, 2.0))
    eventually(serving.answers, 20)
    for name in names:
        serving.ready(f"/instances/{name}")
        serving.ready(f"/instances/{name}/users/app")
    assert len(serving.agents()) == len(names)
    assert len(serving.engines()) == len(names)
    assert len(list((serving.folder / "ports").iterdir())) == len(names)


@pytest.mark.parametrize(
    "seconds",
    [0.0, pytest.param(0.03, marks=pytest.mark.slow), 0.1, pytest.param(0.3, marks=pytest.mark.slow), 0.8],
)
def test_killed_soon_after_a_put_the_instance_still_comes(serving: Serving, seconds: float) -> None:
    serving.start()
    serving.put("/instances/orders", POSTGRESQL)
    time.sleep(seconds)
    serving.kill()
    serving.start()
    serving.ready("/instances/orders")
    assert len(serving.agents()) == 1
    assert len(serving.engines()) == 1


def test_running_engines_are_found_again_and_not_started_twice(serving: Serving) -> None:
    serving.start()
    serving.put("/instances/orders", POSTGRESQL)
    serving.ready("/instances/orders")
    agents, engines = serving.agents(), serving.engines()
    serving.kill()
    assert serving.engines() == engines, "the engine goes on without the control plane"
    serving.start()
    serving.put("/instances/orders/databases/shop", {})
    serving.ready("/instances/orders/databases/shop")
    assert (serving.agents(), serving.engines()) == (agents, engines)


def test_at_another_address_the_agents_follow_and_the_engines_stay(serving: Serving) -> None:
    serving.start()
    serving.put("/instances/cache", VALKEY)
    serving.ready("/instances/cache")
    engines = serving.engines()
    serving.kill()
    moved = Serving(serving.folder)
    moved.path = serving.path
    moved.session.headers.update(serving.session.headers)
    moved.start()
    serving.process = moved.process
    moved.put("/instances/cache/users/app", {"password": "a-long-password", "grants": []})
    moved.ready("/instances/cache/users/app")
    assert moved.engines() == engines
    assert len(moved.agents()) == 1


def test_killed_while_it_deletes_it_deletes_to_the_end(serving: Serving) -> None:
    serving.start()
    serving.put("/instances/orders", POSTGRESQL)
    serving.ready("/instances/orders")
    serving.call("DELETE", "/instances/orders")
    time.sleep(0.3)
    serving.kill()
    serving.start()
    eventually(lambda: serving.call("GET", "/instances/orders").status_code == 404, 60)
    eventually(lambda: not serving.agents() and not serving.engines(), 10)
    assert not list((serving.folder / "instances").iterdir())


def test_an_acknowledged_put_is_never_lost(serving: Serving) -> None:
    serving.start()
    serving.put("/instances/cache", VALKEY)
    serving.ready("/instances/cache")
    acknowledged: list[str] = []
    over = threading.Event()

    def write() -> None:
        session = requests.Session()
        session.headers.update(serving.session.headers)
        url = f"{serving.url}/v1/instances/cache/users"
        for number in itertools.count():
            if over.is_set():
                return
            wish = {"password": "a-long-password", "grants": []}
            with contextlib.suppress(requests.RequestException):
                if session.put(f"{url}/user{number}", json=wish, timeout=30).status_code == 202:
                    acknowledged.append(f"user{number}")
            time.sleep(0.03)

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(3):
        enough = len(acknowledged) + 3
        eventually(lambda enough=enough: len(acknowledged) >= enough, 60)
        time.sleep(random.uniform(0, 0.1))
        serving.kill()
        serving.start()
    over.set()
    writer.join()
    for name in acknowledged:
        serving.ready(f"/instances/cache/users/{name}")
