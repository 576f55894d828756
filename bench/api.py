"""api.list and api.get: requests a second with 100 instances, under gunicorn with 2 workers.

Measured: GET /v1/instances?limit=100, and GET /v1/instances/{name}, with a token, on the noop cloud, from
16 kept connections of 2 processes on this machine.

Floor: the same load on a bare Flask view that answers with the same bytes under the same gunicorn settings.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figure import Figure, in_turns
from bench.load import requests_per_second
from bench.service import Service, await_url, free_port, serving

INSTANCES = 100
WORKERS = 2
ROUNDS = 5
SECONDS = 2.0
LEAST = 0.4


def measure_list() -> Figure:
    return _measure("api.list", f"/v1/instances?limit={INSTANCES}")


def measure_get() -> Figure:
    return _measure("api.get", "/v1/instances/pg-50")


def _measure(name: str, path: str) -> Figure:
    with serving("noop", WORKERS) as service:
        _fill(service)
        body = service.http.get(service.url + path, timeout=30).content
        with _bare(body) as bare:
            value, floor = in_turns(
                ROUNDS,
                lambda: requests_per_second(service.url + path, service.token, SECONDS),
                lambda: requests_per_second(bare + path, service.token, SECONDS),
            )
    return Figure(name, value, "requests/s", floor, value / floor >= LEAST, f"ratio at least {LEAST}")


def _fill(service: Service) -> None:
    names = [f"pg-{number}" for number in range(INSTANCES)]
    for name in names:
        service.put(
            f"/instances/{name}",
            {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}},
        )
    for name in names:
        service.ready(f"/instances/{name}")


@contextmanager
def _bare(body: bytes) -> Iterator[str]:
    """The URL of a bare server that answers with `body`."""
    bind = f"127.0.0.1:{free_port()}"
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(body)
        server = subprocess.Popen(
            [sys.executable, "-m", "bench.bare", bind, str(WORKERS), file.name], start_new_session=True
        )
        try:
            await_url(f"http://{bind}/", server)
            yield f"http://{bind}"
        finally:
            server.terminate()
            server.wait(60)
