"""agents.10k: how soon a change reaches its agent where a gateway has 10,000 of them, and what that costs.

Measured: 10,000 agents (fleet.py) at one worker of `coffret serve --role agents`, over PostgreSQL.
Meanwhile databases are PUT at another process, `coffret serve --role api`: from sending the PUT to the
agent's having the directive with it, 99th percentile; and the CPU time of the gateway meanwhile, in cores.

Floor: the same agents at a bare Flask app under the same gunicorn settings, which parks them as long and
keeps no state. It is told in its own process whom to answer, with as many bytes.
"""

import asyncio
import copy
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import requests
from flask import Flask
from sqlalchemy import insert, select, update

from bench import postgres
from bench.figure import Figure
from bench.fleet import PARK_SECONDS, Fleet, done, seen
from bench.service import COFFRET, Service, await_url, free_port, keys_for, serving
from control_plane.agents import directive, service
from control_plane.agents.models import Agent
from control_plane.app import create_app
from control_plane.auth.tokens import digest
from control_plane.clouds.registry import open_cloud
from control_plane.database import db, new_id, transaction
from control_plane.databases.models import Database
from control_plane.instances.models import Instance
from control_plane.settings import Settings
from guest_agent import PROTOCOL, __version__

AGENTS = 10_000
DATABASES = 3
"""Of each instance."""
COMING_SECONDS = 60.0
STEADY_SECONDS = 60.0
CHANGES_PER_SECOND = 5
MOST_SECONDS = 2.0
MOST_CORES = 1.0
_SECRET = "a-secret-of-the-bench-{}"  # noqa: S105
_AT_ONCE = 1000


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, postgres.running() as url:
        with serving("noop", role="api", database_url=url) as api:
            members = _fill(url, Path(folder), api)
            with _gateway(url, Path(folder), keys_for(api.data.parent)) as (address, process):
                measured = _Measured(address, process)
                asyncio.run(
                    measured.run(members, lambda n: api.put(f"/instances/agent-{n}/databases/new", {}))
                )
        with _bare() as (address, process), requests.Session() as http:
            floor = _Measured(address, process)
            ids = [member[0] for member in members]
            asyncio.run(floor.run(members, lambda n: http.post(f"{address}/tell/{ids[n]}", timeout=30)))
    fast, cheap = measured.p99 <= MOST_SECONDS, measured.cores <= MOST_CORES
    return [
        Figure("agents.10k", measured.p99, "s", floor.p99, fast, f"at most {MOST_SECONDS} s"),
        Figure("agents.10k.cpu", measured.cores, "cores", floor.cores, cheap, f"at most {MOST_CORES}"),
    ]


Member = tuple[str, str, dict[str, Any]]
"""Id of an instance, its agent's secret, and its report."""


class _Measured:
    """One run of the fleet at a server."""

    def __init__(self, url: str, server: "subprocess.Popen[bytes]") -> None:
        self._url = url
        self._server = psutil.Process(server.pid)
        self.p99 = self.cores = 0.0

    async def run(self, members: list[Member], change: Callable[[int], object]) -> None:
        """Let the fleet come and settle; then measure while `change` is called with numbers of members."""
        fleet = Fleet(self._url)
        for member in members:
            fleet.add(*copy.deepcopy(member))
        await fleet.start(COMING_SECONDS)
        await asyncio.sleep(PARK_SECONDS)
        came = fleet.take_numbers()
        _say("while they came", syncs=came.syncs, refused=came.refused)
        began, cpu = time.monotonic(), self._cpu()
        sent = await self._change(len(members), change)
        await asyncio.sleep(MOST_SECONDS)
        seconds = time.monotonic() - began
        self.cores = (self._cpu() - cpu) / seconds
        numbers = fleet.take_numbers()
        fleet.end()
        took = [numbers.directives.get(members[n][0], began + 3600) - at for n, at in sent.items()]
        self.p99 = statistics.quantiles(took, n=100)[98]
        _say(
            "in the steady time",
            syncs_a_second=numbers.syncs / seconds,
            refused=numbers.refused,
            changes=len(took),
            p50=statistics.median(took),
            p99=self.p99,
            cores=self.cores,
            mebibytes=self._memory() / 2**20,
        )

    async def _change(self, count: int, change: Callable[[int], object]) -> dict[int, float]:
        """When each change was sent; each is of another member."""
        sent: dict[int, float] = {}
        for number in random.sample(range(count), int(STEADY_SECONDS * CHANGES_PER_SECOND)):
            due = time.monotonic() + 1 / CHANGES_PER_SECOND
            sent[number] = time.monotonic()
            await asyncio.to_thread(change, number)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        return sent

    def _cpu(self) -> float:
        times = [one.cpu_times() for one in self._processes()]
        return sum(one.user + one.system for one in times)

    def _memory(self) -> int:
        return sum(int(one.memory_full_info().pss) for one in self._processes())

    def _processes(self) -> list[psutil.Process]:
        return [self._server, *self._server.children(recursive=True)]


def _say(when: str, **numbers: float) -> None:
    said = ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())
    sys.stderr.write(f"  {when}: {said}\n")


def _fill(url: str, folder: Path, api: Service) -> list[Member]:
    """One instance by the API and by its agent's word, and copies of its rows."""
    api.put("/instances/agent-0", {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 10}})
    for number in range(DATABASES):
        api.put(f"/instances/agent-0/databases/database-{number}", {"character_set": "UTF8"})
    settings = Settings(
        data_dir=folder, database_url=url, secrets_keys=keys_for(api.data.parent), cloud="noop"
    )
    app = create_app(settings, open_cloud(settings))
    with app.app_context():
        first = _converge(app)
        return _copy(first)


def _converge(app: Flask) -> str:
    """What drivers and an agent would do to the first instance. Returns its id."""
    with transaction() as session:
        instance = session.scalars(select(Instance)).one()
        instance.cloud = {
            "server_id": new_id(), "volume_id": new_id(), "port_id": new_id(), "volume_size": 10,
            "flavor": instance.flavor, "rebuild": None, "host": "10.0.0.10", "listen": ["::"], "port": 5432,
        }  # fmt: skip
        instance.cloud_generation = instance.generation
        wanted = directive.build(instance)
        assert wanted is not None  # noqa: S101 - it has a port
        service.store(instance, _report(wanted))  # type: ignore[arg-type]
        session.flush()
        instance.next_reconcile_at = None
        return instance.id


def _report(wanted: Any) -> dict[str, Any]:
    grant = {"privileges": ["CONNECT", "TEMPORARY"], "database": "database-0"}
    return {
        "protocol": PROTOCOL,
        "run": new_id(),
        "sequence": 0,
        "agent_version": __version__,
        "etag": wanted["etag"],
        "converged_etag": wanted["etag"],
        "engine": {
            "state": "running",
            "version": "18.6",
            "started_at": "2026-01-01T00:00:00.000+00:00",
            "restarts": 1,
            "message": "",
        },
        "volume_used": 2 << 30,
        "configuration": {"in_sync": True, "pending_restart": [], "errors": {}},
        "restart_done": None,
        "databases": [done(item) for item in wanted["databases"]],
        "users": [],
        "seen_databases": [seen(item) for item in wanted["databases"]],
        "seen_users": [{"name": name, "host": "%", "grants": [grant]} for name in ("app", "reports")],
        "repairs": [],
        "wait": PARK_SECONDS,
    }


def _copy(first: str) -> list[Member]:
    """AGENTS instances like the first one, each with an agent that is registered."""
    instances, databases = Instance.__table__, Database.__table__
    row = dict(db.session.execute(select(instances)).one()._mapping)
    inside = [dict(found._mapping) for found in db.session.execute(select(databases))]
    members: list[Member] = []
    rows: dict[Any, list[dict[str, Any]]] = {instances: [], databases: [], Agent.__table__: []}
    for number in range(AGENTS):
        instance_id = new_id() if number else first
        own = [
            one | {"id": new_id() if number else one["id"], "instance_id": instance_id} for one in inside
        ]
        etag = f"{instance_id}-{row['desired_revision']}"
        secret = _SECRET.format(number)
        report = _report({"etag": etag, "databases": own})
        members.append((instance_id, secret, report))
        rows[Agent.__table__].append({"instance_id": instance_id, "secret_hash": digest(secret)})
        if number:
            kept = service.kept(report, {})  # type: ignore[arg-type]
            own_columns = {"id": instance_id, "name": f"agent-{number}", "report": kept}
            rows[instances].append(row | own_columns)
            rows[databases] += own
    for table, made in rows.items():
        for begin in range(0, len(made), _AT_ONCE):
            db.session.execute(insert(table), made[begin : begin + _AT_ONCE])
    db.session.execute(update(Instance).values(next_reconcile_at=None))
    db.session.commit()
    return members


@contextmanager
def _gateway(url: str, folder: Path, keys: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    bind = f"127.0.0.1:{free_port()}"
    env = {name: value for name, value in os.environ.items() if not name.startswith("COFFRET_")}
    env |= {
        "COFFRET_DATA_DIR": str(folder),
        "COFFRET_DATABASE_URL": url,
        "COFFRET_SECRETS_KEYS": str(keys),
        "COFFRET_CLOUD": "noop",
        "COFFRET_BIND": bind,
        "COFFRET_LOG_LEVEL": "WARNING",
        "COFFRET_AGENTS_PARKED_LIMIT": str(AGENTS + 1000),
    }
    with _process([*COFFRET, "serve", "--role", "agents"], env, bind, "/readyz") as server:
        yield server


@contextmanager
def _bare() -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    bind = f"127.0.0.1:{free_port()}"
    with _process([sys.executable, "-m", "bench.parking", bind], dict(os.environ), bind, "/") as server:
        yield server


@contextmanager
def _process(
    command: list[str], env: dict[str, str], bind: str, path: str
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    server = subprocess.Popen(command, env=env, start_new_session=True)
    try:
        await_url(f"http://{bind}{path}", server)
        yield f"http://{bind}", server
    finally:
        server.terminate()
        server.wait(60)
