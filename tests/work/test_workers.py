"""Processes of `coffret serve` and `coffret worker` over RabbitMQ, on the noop cloud."""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests
from rabbitmq import RabbitMQ, free_ports
from serving import Serving, eventually

from control_plane.clouds.noop import open_books

INSTANCE = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}
SLOW = Path(__file__).parent / "slow"
SECONDS = 60
"""Far less than a lease lasts, and enough on a busy machine."""


class Deployment:
    """One `coffret serve` and its workers, on one machine."""

    def __init__(self, folder: Path, broker: RabbitMQ) -> None:
        self.serving = Serving(
            folder,
            COFFRET_CLOUD="noop",
            COFFRET_WORK="celery",
            COFFRET_BROKER_URL=broker.url,
            COFFRET_DEPLOYMENT=folder.name,
            COFFRET_WORKERS="2",
            HOLD=str(folder / "hold"),
        )
        self.serving.path.insert(0, str(SLOW))
        self.broker = broker
        self.queue = f"{folder.name}.work"
        self.books = open_books(folder)
        self._folder = folder
        self._stack = ExitStack()

    def worker(self, **settings: str) -> subprocess.Popen[bytes]:
        log = self._stack.enter_context((self._folder / "work.log").open("ab"))
        process = subprocess.Popen(
            self.serving.command("worker", "--concurrency", "2"),
            env=self.serving.environment | settings,
            stdout=log,
            stderr=log,
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    @contextmanager
    def held(self) -> Iterator[None]:
        """The cloud makes no server meanwhile."""
        hold = self._folder / "hold"
        hold.touch()
        try:
            yield
        finally:
            hold.unlink()

    def holders(self) -> list[int]:
        """Pids of the processes that asked the cloud for a server, one for each time."""
        file = self._folder / "held"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def log(self) -> str:
        return (self._folder / "work.log").read_text()

    def close(self) -> None:
        self._stack.close()
        self.serving.clean()


@pytest.fixture
def deployment(rabbitmq: RabbitMQ) -> Iterator[Deployment]:
    folder = Path(tempfile.mkdtemp(prefix="coffret-work-"))
    one = Deployment(folder, rabbitmq)
    one.serving.start()
    yield one
    one.close()
    shutil.rmtree(folder, ignore_errors=True)


def test_workers_do_what_the_server_is_asked_for(deployment: Deployment) -> None:
    serving = deployment.serving
    serving.put("/instances/early", INSTANCE)
    eventually(lambda: deployment.broker.messages(deployment.queue) == 1, SECONDS)
    assert not deployment.books.servers, "nobody works yet"
    workers = [deployment.worker(), deployment.worker()]
    serving.ready("/instances/early", SECONDS)
    names = [f"i{number}" for number in range(20)]
    for name in names:
        serving.put(f"/instances/{name}", INSTANCE)
    for name in names:
        serving.ready(f"/instances/{name}", SECONDS)
    for name in names:
        serving.call("DELETE", f"/instances/{name}")
    eventually(lambda: len(deployment.books.servers) == 1, SECONDS)
    eventually(lambda: len(deployment.books.volumes) == 1, SECONDS)
    for worker in workers:
        began = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(SECONDS) == 0, deployment.log()
        assert time.monotonic() - began < 10, "it had nothing to wait for"
    assert "Traceback" not in deployment.log()
    for text in (deployment.log(), serving.log()):
        assert ":guest@" not in text, "the broker's password is nobody's business"


def test_each_process_is_counted(deployment: Deployment) -> None:
    """Both processes of the server at one place, and a worker at its own."""
    serving = deployment.serving
    bind = f"127.0.0.1:{free_ports(1)[0]}"
    deployment.worker(COFFRET_METRICS_BIND=bind)
    serving.put("/instances/orders", INSTANCE)
    serving.ready("/instances/orders", SECONDS)
    for _ in range(40):
        with requests.Session() as fresh:  # so that either process may get it
            assert fresh.get(f"{serving.url}/healthz", timeout=10).ok
    counted = serving.session.get(f"{serving.url}/metrics", timeout=10).text
    assert 'coffret_requests_total{method="GET",route="/healthz",status="200"} 40.0' in counted
    assert "coffret_queue_age_seconds 0.0" in counted
    ready = requests.get(f"http://{bind}/readyz", timeout=10)
    assert ready.json() == {"status": "ok", "database": "ok", "broker": "ok", "cloud": "ok"}
    assert requests.get(f"http://{bind}/v1/instances", timeout=10).status_code == 404
    looks = requests.get(f"http://{bind}/metrics", timeout=10).text
    assert 'coffret_reconcile_seconds_count{outcome="done"}' in looks


def test_what_a_killed_worker_had_in_hand_is_taken_over_at_once(deployment: Deployment) -> None:
    workers = {process.pid: process for process in (deployment.worker(), deployment.worker())}
    with deployment.held():
        deployment.serving.put("/instances/orders", INSTANCE)
        eventually(deployment.holders, SECONDS)
        killed = workers.pop(deployment.holders()[0])
        killed.kill()
        killed.wait()
        began = time.monotonic()
        eventually(lambda: len(deployment.holders()) == 2, SECONDS)
        assert time.monotonic() - began < 15
        assert deployment.holders()[1] in workers
    deployment.serving.ready("/instances/orders", SECONDS)
    assert len(deployment.books.servers) == 1


def test_a_worker_that_is_told_to_end_hands_back_what_it_cannot_finish(deployment: Deployment) -> None:
    workers = {process.pid: process for process in (deployment.worker(), deployment.worker())}
    with deployment.held():
        deployment.serving.put("/instances/orders", INSTANCE)
        eventually(deployment.holders, SECONDS)
        told = workers.pop(deployment.holders()[0])
        told.send_signal(signal.SIGTERM)
        assert told.wait(SECONDS) == 0, deployment.log()
        eventually(lambda: len(deployment.holders()) == 2, SECONDS)
        assert deployment.holders()[1] in workers
    assert "handed back 1 instances" in deployment.log()
    deployment.serving.ready("/instances/orders", SECONDS)


def test_nothing_is_lost_while_the_broker_is_away(deployment: Deployment) -> None:
    serving = deployment.serving
    deployment.worker()
    serving.put("/instances/before", INSTANCE)
    serving.ready("/instances/before", SECONDS)
    eventually(lambda: deployment.broker.keeps(deployment.queue), SECONDS)
    deployment.broker.kill()
    try:
        began = time.monotonic()
        for number in range(5):
            serving.put(f"/instances/i{number}", INSTANCE)
        assert time.monotonic() - began < 15, "an answer does not wait for the broker"
    finally:
        deployment.broker.start()
    for number in range(5):
        serving.ready(f"/instances/i{number}", SECONDS)
    assert serving.log().count("the broker takes nothing") == 1, "it is said once"


def test_a_silent_broker_keeps_nobody_waiting(deployment: Deployment) -> None:
    serving = deployment.serving
    deployment.worker()
    serving.put("/instances/before", INSTANCE)
    serving.ready("/instances/before", SECONDS)
    with deployment.broker.frozen():
        began = time.monotonic()
        for number in range(5):
            serving.put(f"/instances/i{number}", INSTANCE)
        assert time.monotonic() - began < 15, "an answer does not wait for the broker"
    for number in range(5):
        serving.ready(f"/instances/i{number}", SECONDS)


def test_a_purged_queue_is_filled_again_by_the_sweep(deployment: Deployment) -> None:
    serving = deployment.serving
    serving.put("/instances/orders", INSTANCE)
    eventually(lambda: deployment.broker.messages(deployment.queue) == 1, SECONDS)
    deployment.broker.purge(deployment.queue)
    deployment.worker()
    serving.ready("/instances/orders", SECONDS)
