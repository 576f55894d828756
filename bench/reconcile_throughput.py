"""reconcile.throughput: instances converged a second by 1, 2 and 4 workers, over PostgreSQL and RabbitMQ.

Measured: new instances on the noop cloud, asked for over the API while nobody works. Then the workers
start, each with 4 threads; the time counts from when all of them take messages to when each instance is
ready and nothing is due. An instance takes two looks: one that makes it, one that tells that it is ready.

The noop cloud answers at once, so this is what Coffret, PostgreSQL and RabbitMQ cost. They share this
machine's cores: it grows with the workers until those are full. So what is asked of as many workers as
there are cores is near to what one of them does times their number, or times what the cores had room for
while it was alone. What is asked of more workers than cores is that they are not much worse than those.
Nothing else does this: there is no floor.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import amqp
import psutil
import psycopg

from bench import postgres
from bench.figure import Figure
from bench.service import COFFRET, Service, keys_for, serving
from tests import rabbitmq

INSTANCES = 1000
WORKERS = (1, 2, 4)
THREADS = 4
NEAR = 0.8
"""Of what as many workers would do if each did as much as one alone, or as full cores let them."""
_PATIENCE = 300.0
_CONVERGED = (
    "SELECT count(*) FROM instances WHERE ready AND lease_token IS NULL"
    " AND next_reconcile_at > extract(epoch FROM clock_timestamp()) + 5"
)


class Measured(NamedTuple):
    rate: float
    """Instances a second."""
    busy: float
    """Share of this machine's cores that was not idle meanwhile, whatever for."""


def measure() -> list[Figure]:
    measured: dict[int, Measured] = {}
    for workers in WORKERS:
        measured[workers] = one = _measure(workers)
        sys.stderr.write(f"  {workers} workers: {one.rate:.4g} instances/s, cores {one.busy:.0%} busy\n")
    return [_figure(workers, measured) for workers in WORKERS]


def _figure(workers: int, measured: dict[int, Measured]) -> Figure:
    rate, alone = measured[workers].rate, measured[1]
    cores = os.cpu_count() or 1
    if workers <= cores:
        room = min(workers, 1 / alone.busy)
        least = 0.0 if workers == 1 else NEAR * room * alone.rate
        target = f"at least {least:.4g}, {NEAR} of {room:.2f} times what one worker did"
    else:
        fewer = max(count for count in measured if count <= cores)
        least = NEAR * measured[fewer].rate
        target = f"at least {least:.4g}, {NEAR} of what {fewer} workers did on {cores} cores"
    return Figure(f"reconcile.throughput.{workers}", rate, "instances/s", None, rate >= least, target)


def _measure(workers: int) -> Measured:
    if not rabbitmq.SERVER.exists():
        raise RuntimeError("RabbitMQ is not on this machine: apt-get install rabbitmq-server")
    with (
        postgres.running() as url,
        rabbitmq.running() as broker,
        _asked(url, broker.url) as service,
        psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection,
        _working(workers, service, url, broker.url),
    ):
        _await_consumers(workers, broker)
        began, before = time.monotonic(), _converged(connection)
        psutil.cpu_percent()  # from here on
        while (now := _converged(connection)) < INSTANCES:
            if time.monotonic() - began > _PATIENCE:
                raise RuntimeError(f"{now} of {INSTANCES} instances converged in {_PATIENCE:g} s")
            time.sleep(0.05)
        busy = psutil.cpu_percent() / 100
        return Measured((INSTANCES - before) / (time.monotonic() - began), busy)


@contextmanager
def _asked(url: str, broker_url: str) -> Iterator[Service]:
    """A control plane that was asked for the instances."""
    much = "1000000000"
    with serving(
        "noop",
        role="api",
        database_url=url,
        work="celery",
        broker_url=broker_url,
        quota_instances=much,
        quota_ram=much,
        quota_volume_size=much,
    ) as service:
        for number in range(INSTANCES):
            service.put(
                f"/instances/pg-{number}",
                {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}},
            )
        yield service


@contextmanager
def _working(workers: int, service: Service, url: str, broker_url: str) -> Iterator[None]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("COFFRET_")} | {
        "COFFRET_DATA_DIR": str(service.data),
        "COFFRET_CLOUD": "noop",
        "COFFRET_DATABASE_URL": url,
        "COFFRET_SECRETS_KEYS": str(keys_for(service.data.parent)),
        "COFFRET_WORK": "celery",
        "COFFRET_BROKER_URL": broker_url,
        "COFFRET_LOG_LEVEL": "WARNING",
    }
    command = [*COFFRET, "worker", "--concurrency", str(THREADS)]
    processes = [subprocess.Popen(command, env=env) for _ in range(workers)]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(60)


def _await_consumers(workers: int, broker: rabbitmq.RabbitMQ) -> None:
    deadline = time.monotonic() + _PATIENCE
    with amqp.Connection(broker.address) as connection:
        channel = connection.channel()
        while channel.queue_declare("coffret.work", passive=True).consumer_count < workers:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{workers} workers did not start in {_PATIENCE:g} s")
            time.sleep(0.02)


def _converged(connection: "psycopg.Connection[tuple[int]]") -> int:
    row = connection.execute(_CONVERGED).fetchone()
    return row[0] if row else 0
