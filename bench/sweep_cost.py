"""sweep.cost: one sweep over 10,000 converged instances in PostgreSQL, whose agents were all heard of.

Measured: a sweep that does all that one ever does, the search for silent agents, for old events and the
survey of the cloud included. That is the noop cloud, with the objects of all instances.
scrape.cost: a look at /metrics of `coffret serve` over the same database.

Floor: the SELECTs by hand that find what is due, who is silent, and what each instance has on the cloud.
"""

import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import psycopg
from flask import Flask
from sqlalchemy import select

from bench import many, postgres
from bench.figure import Figure, in_turns
from bench.service import serving
from control_plane.clouds import Cloud, Port, Server, Volume
from control_plane.clouds.noop import Books, cloud
from control_plane.database import db
from control_plane.instances.models import Instance
from control_plane.work import survey, turns
from control_plane.work.lease import void_ended
from control_plane.work.sweep import Sweep, notice_silence, request_due

INSTANCES = 10_000
ROUNDS = 9
MOST_SECONDS = 1.0
MOST_SECONDS_OF_A_SCRAPE = 0.1
_BY_HAND = (
    "SELECT id FROM instances WHERE next_reconcile_at <= extract(epoch FROM now())",
    "SELECT instance_id FROM agents WHERE last_seen_at < now() AT TIME ZONE 'UTC' - interval '60 s'",
    "SELECT id, name, cloud, deleting FROM instances",
)


def measure() -> list[Figure]:
    with (
        postgres.running() as url,
        serving("noop", project=many.LARGE_PROJECT, role="api", database_url=url) as api,
        psycopg.connect(url.replace("+psycopg", "")) as connection,
    ):
        many.fill(api, url, INSTANCES)
        with many.opened(url, api) as app:
            sweep, floor = _sweeps(app, connection)
        scrape = median(
            _seconds(lambda: api.http.get(f"{api.url}/metrics", timeout=60).raise_for_status())
            for _ in range(ROUNDS)
        )
    return [
        _figure("sweep.cost", sweep, floor, MOST_SECONDS),
        _figure("scrape.cost", scrape, None, MOST_SECONDS_OF_A_SCRAPE),
    ]


def _figure(name: str, value: float, floor: float | None, most: float) -> Figure:
    return Figure(name, value, "s", floor, value <= most, f"at most {most} s")


def _sweeps(app: Flask, connection: "psycopg.Connection[Any]") -> tuple[float, float]:
    there, runner = _cloud(), app.extensions["coffret_runner"]
    sweeper = Sweep(app, there, runner, seconds=0)
    sweeper.sweep()  # its turns begin

    def sweep() -> None:
        void_ended()
        sweeper.sweep()
        notice_silence()  # a sweep of a process that has been there for a minute does

    def measured() -> float:
        for turn in ("survey", "forgetting events"):
            turns.forgo(turn)
        return _seconds(sweep)

    found = [request_due(runner), notice_silence(), len(survey.take(there).sentences)]
    if any(found):
        raise RuntimeError(f"what is converged gives the sweep work: {found}")
    parts = {
        "what is due": lambda: request_due(runner),
        "who is silent": notice_silence,
        "the survey": lambda: survey.take(there),
    }
    for name, part in parts.items():
        sys.stderr.write(f"  {name}: {median(_seconds(part) for _ in range(ROUNDS)):.3g} s\n")
    return in_turns(ROUNDS, measured, lambda: _seconds(lambda: _ask(connection)))


def _ask(connection: "psycopg.Connection[Any]") -> None:
    for query in _BY_HAND:
        connection.execute(query).fetchall()


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _cloud() -> Cloud:
    """With the objects of all instances."""
    books = Books()
    for key, cloud_of in db.session.execute(select(Instance.id, Instance.cloud)):
        books.volumes[key] = Volume(cloud_of["volume_id"], cloud_of["volume_size"])
        books.ports[key] = Port(cloud_of["port_id"], cloud_of["host"], cloud_of["listen"], cloud_of["port"])
        books.servers[key] = Server(cloud_of["server_id"], True, cloud_of["flavor"])
    db.session.rollback()
    return cloud(books)
