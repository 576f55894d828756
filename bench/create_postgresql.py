"""create.postgresql: from the PUT of an instance to the answer to its first SQL.

Measured: PUT of an instance, a database and a user, one after another without waiting; then the user's
connection URI as soon as the user is ready; then SELECT 1 as that user over TCP. The instance is
deleted outside the measured time.

Floor: initdb with the agent's options, a start with the agent's settings of that flavor, and SELECT 1
over the socket as the superuser, tried every millisecond. No database, no user, no control plane.
"""

import itertools
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from bench.figure import Figure, in_turns
from bench.service import Service, free_port, serving
from guest_agent import settings
from guest_agent.engines.base import Home
from guest_agent.engines.postgresql import binaries, cluster, configuration
from guest_agent.engines.postgresql.names import ADMIN
from guest_agent.protocol import DesiredEngine
from guest_agent.settings import Settings

ROUNDS = 7
MOST = 1.5
_PASSWORD = "a-password-of-the-bench"  # noqa: S105 - of engines that live for a second

_INSTANCE = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}


def measure() -> Figure:
    with serving("local") as service, tempfile.TemporaryDirectory(prefix="coffret-floor-") as folder:
        Path(folder).chmod(0o711)
        service.put("/instances/warm-up", _INSTANCE)
        known = service.agent("warm-up")
        service.delete("/instances/warm-up")
        numbers = itertools.count()
        value, floor = in_turns(
            ROUNDS,
            lambda: _by_coffret(service, f"pg-{next(numbers)}"),
            lambda: _by_hand(Path(folder) / f"pg-{next(numbers)}", known),
        )
    met = value / floor <= MOST
    return Figure("create.postgresql", value, "s", floor, met, f"ratio at most {MOST}")


def _by_coffret(service: Service, name: str) -> float:
    at = f"/instances/{name}"
    user = {"password": _PASSWORD, "grants": [{"database": "app", "privileges": ["ALL"]}]}
    began = time.perf_counter()
    service.put(at, _INSTANCE)
    service.put(f"{at}/databases/app", {})
    service.put(f"{at}/users/app", user)
    uri = service.ready(f"{at}/users/app")["status"]["uris"]["app"]
    with psycopg.connect(uri, password=_PASSWORD) as connection:
        connection.execute("SELECT 1")
    took = time.perf_counter() - began
    service.delete(at)
    return took


def _by_hand(folder: Path, known: Settings) -> float:
    binary = Path(known.binaries or "")
    account = settings.account(known.account)
    home = settings.engine_home(folder / "data", folder / "run", binary, account)
    folder.chmod(0o711)
    engine = DesiredEngine(
        manager="postgresql",
        version=binaries.read_version(binary),
        listen=["127.0.0.1"],
        port=free_port(),
        ram=1024,
        vcpus=1,
        volume_size=1,
    )
    text = configuration.render(configuration.settings(home, engine))
    data = cluster.data_directory(home)
    began = time.perf_counter()
    cluster.initialise(home, binary, engine["version"])
    (data / "postgresql.conf").write_text(text)
    (data / "pg_hba.conf").write_text(cluster.HBA)
    (data / "pg_ident.conf").write_text(cluster.ident(account))
    server = subprocess.Popen(
        [binary / "postgres", "-D", data],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=cluster.environment(),
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
    try:
        _first_sql(home, engine["port"], server)
        took = time.perf_counter() - began
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
        shutil.rmtree(folder)
    return took


def _first_sql(home: Home, port: int, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        try:
            with psycopg.connect(
                host=str(home.run), port=port, user=ADMIN, dbname="postgres"
            ) as connection:
                connection.execute("SELECT 1")
                return
        except psycopg.OperationalError:
            time.sleep(0.001)
    raise RuntimeError(f"postgres ended with {server.returncode}")
