"""A throw-away PostgreSQL server to keep the state of a measured control plane in."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from bench.service import free_port
from control_plane.clouds.local.account import of_engines
from control_plane.clouds.local.binaries import Binaries
from guest_agent.engines.postgresql.binaries import find_binaries, read_version

ACCOUNT = "nobody"
"""Who it runs as when root measures."""
_PATIENCE = 60.0


@contextmanager
def running() -> Iterator[str]:
    """The SQLAlchemy URL of an empty database, as durable as PostgreSQL is by default."""
    if (found := find_binaries(None)) is None:
        raise RuntimeError("PostgreSQL is not on this machine; make setup-dev brings it.")
    folder = Path(tempfile.mkdtemp(prefix="coffret-pg-", dir="/tmp"))
    owner: dict[str, Any] = {}
    account = of_engines(ACCOUNT)
    if account is not None:
        os.chown(folder, account.uid, account.gid)
        owner = {"user": account.uid, "group": account.gid, "extra_groups": []}
    binaries = Binaries(folder / "engines", account).usable("postgresql", read_version(found))
    data, port = folder / "data", free_port()
    made = [str(binaries / "initdb"), "--auth=trust", "--username=coffret", "--encoding=UTF8", "--locale=C"]
    subprocess.run([*made, f"--pgdata={data}"], cwd="/", check=True, stdout=subprocess.DEVNULL, **owner)
    options = [f"--port={port}", "--listen_addresses=127.0.0.1", f"--unix_socket_directories={folder}"]
    with (folder / "log").open("wb") as log:
        command = [str(binaries / "postgres"), "-D", str(data), *options, "--max_connections=300"]
        server: subprocess.Popen[bytes] = subprocess.Popen(
            command, cwd="/", stdout=log, stderr=log, **owner
        )
    url = f"postgresql://coffret@127.0.0.1:{port}/postgres"
    try:
        _await(url, server, folder / "log")
        yield url.replace("postgresql://", "postgresql+psycopg://")
    finally:
        server.send_signal(signal.SIGINT)  # SIGTERM would wait for whoever is connected
        server.wait(_PATIENCE)
        shutil.rmtree(folder)


def _await(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while server.poll() is None and time.monotonic() < deadline:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"PostgreSQL does not answer: {log.read_text()}")
