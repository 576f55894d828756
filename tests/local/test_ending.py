"""`coffret serve` that is told to end, as a process, with work under way."""

import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from serving import ROOT, Serving, eventually, served
from test_gateway import beside

INSTANCE = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}
SLOW = ROOT / "tests" / "work" / "slow"
CLIENTS = 4


@pytest.fixture
def slow() -> Iterator[Serving]:
    """Its cloud makes no server while the file `hold` is there, and it has 2 s to end instead of 20."""
    with served(COFFRET_CLOUD="noop") as one:
        one.settings["HOLD"] = str(one.folder / "hold")
        one.path.insert(0, str(SLOW))
        yield one


def test_what_it_cannot_finish_is_handed_back(slow: Serving) -> None:
    slow.start()
    hold = slow.folder / "hold"
    hold.touch()
    slow.put("/instances/orders", INSTANCE)
    eventually((slow.folder / "held").exists, 30)
    assert slow.stop() < 20
    state = sqlite3.connect(slow.folder / "coffret.db")
    token, due, now = state.execute(
        "SELECT lease_token, next_reconcile_at, unixepoch('now') FROM instances"
    ).fetchone()
    state.close()
    assert token is None
    assert due <= now + 1
    assert "handed back 1 instances" in slow.log()
    hold.unlink()
    slow.start()
    slow.ready("/instances/orders")


def test_what_it_counted_in_is_removed_after_sigkill_and_what_another_counts_in_stays() -> None:
    with served(COFFRET_CLOUD="noop") as one:
        temporary = one.folder / "temporary"
        temporary.mkdir()
        one.settings["TMPDIR"] = str(temporary)
        one.start()
        (of_one,) = temporary.iterdir()
        other = beside(one, one.folder / "other", "api", TMPDIR=str(temporary))
        other.start()
        try:
            (of_other,) = set(temporary.iterdir()) - {of_one}
            one.kill()
            assert of_one.is_dir()
            one.start()
            assert len(list(temporary.iterdir())) == 2
            assert not of_one.exists()
            counted = requests.get(f"{other.url}/metrics", timeout=10).text
            assert 'coffret_requests_total{method="GET",route="/readyz",status="200"}' in counted
        finally:
            other.stop()
        assert not of_other.exists()
        one.stop()
        assert not list(temporary.iterdir())


def test_what_it_can_finish_in_time_is_finished(slow: Serving) -> None:
    slow.start()
    hold = slow.folder / "hold"
    hold.touch()
    slow.put("/instances/orders", INSTANCE)
    eventually((slow.folder / "held").exists, 30)
    assert slow.process is not None
    slow.process.send_signal(signal.SIGTERM)
    hold.unlink()
    assert slow.process.wait(30) == 0
    assert "handed back" not in slow.log()
    state = sqlite3.connect(slow.folder / "coffret.db")
    assert state.execute("SELECT lease_token, cloud_generation FROM instances").fetchone() == (None, 1)
    state.close()


def test_under_load_it_answers_all_that_is_sent_until_a_proxy_knows_and_loses_nothing() -> None:
    """Each client looks at /readyz before it writes, as a proxy does for it."""
    with served(COFFRET_CLOUD="noop", COFFRET_DRAIN_SECONDS="6") as serving:
        serving.start()
        assert serving.process is not None
        serving.put("/instances/orders", INSTANCE)
        acknowledged: list[str] = []
        ended = threading.Event()

        def write(client: int) -> int:
            count = 0
            with requests.Session() as session:
                session.headers.update(serving.session.headers)
                while session.get(f"{serving.url}/readyz", timeout=30).ok:
                    path = f"/instances/orders/databases/db{client}x{count}"
                    answer = session.put(f"{serving.url}/v1{path}", json={}, timeout=30)
                    assert answer.status_code == 202, answer.text
                    acknowledged.append(path)
                    count += 1
            ended.set()
            return count

        with ThreadPoolExecutor(CLIENTS) as pool:
            writers = [pool.submit(write, client) for client in range(CLIENTS)]
            eventually(lambda: len(acknowledged) > 10, 60)
            began = time.monotonic()
            serving.process.send_signal(signal.SIGTERM)
            assert ended.wait(6), "it says at once that it ends"
            fresh = requests.get(
                f"{serving.url}/readyz", timeout=10
            )  # a proxy's looks are connections anew
            assert (fresh.status_code, fresh.json()["status"]) == (503, "ending")
            assert sum(writer.result(60) for writer in writers) == len(acknowledged)
        assert serving.process.wait(30) == 0
        assert time.monotonic() - began < 30
        serving.start()
        for path in acknowledged:
            assert serving.call("GET", path).status_code == 200
        assert "Traceback" not in serving.log()


def test_a_gateway_goes_on_until_a_proxy_knows() -> None:
    with served(COFFRET_CLOUD="noop", COFFRET_DRAIN_SECONDS="6") as gateway:
        gateway.role = "agents"
        gateway.start()
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGTERM)

        def told() -> bool:
            answer = requests.get(f"{gateway.url}/readyz", timeout=10)  # one that is refused fails the test
            return answer.status_code == 503 and answer.json()["status"] == "ending"

        eventually(told, 6)
        assert gateway.process.wait(30) == 0
