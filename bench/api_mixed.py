"""api.mixed: how long requests take where there are 10,000 instances, against 100.

Measured: 4 kept connections of one process at `coffret serve --role api` with 2 workers, over PostgreSQL;
80 % reads, 20 % writes, for the same five projects in both: one that has a fifth of all instances, and
four of 20. What is not asked for (the other projects) must cost nothing, and a project that has 2,000
instances must not be slower than one that has 20. Nobody works meanwhile on what the writes ask for.

Floor: the same load at the same program with 100 instances, in turns.
"""

import http.client
import json
import random
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median, quantiles
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psycopg

from bench import many, postgres
from bench.figure import Figure
from bench.service import Service, serving

INSTANCES = 10_000
FEW = 100
CONNECTIONS = 4
WORKERS = 2
ROUNDS = 7
SECONDS = 6.0
MOST = 1.5
PROJECTS = (many.LARGE_PROJECT, *(f"small-{number}" for number in range(4)))
_PAGE = 20


class Request(NamedTuple):
    method: str
    path: str
    body: Any = None
    statuses: Sequence[int] = (200, 201, 202)


def measure() -> list[Figure]:
    with ExitStack() as stack:
        url = stack.enter_context(postgres.running())
        loads = {count: _load(stack, url, count) for count in (INSTANCES, FEW)}
        for load in loads.values():
            load.run(SECONDS)  # until what is kept in processes is there
        rounds: dict[int, list[tuple[float, float]]] = {INSTANCES: [], FEW: []}
        for number in range(ROUNDS):
            for count in (INSTANCES, FEW) if number % 2 else (FEW, INSTANCES):
                rounds[count].append(loads[count].run(SECONDS))
            _say(f"round {number + 1} of {ROUNDS}", rounds[INSTANCES][-1], rounds[FEW][-1])
        for kind, took in loads[INSTANCES].medians().items():
            _say(kind, (took,), (loads[FEW].medians()[kind],))
    return [
        _figure(f"api.mixed.{name}", *(median(one[place] for one in rounds[count]) for count in rounds))
        for place, name in enumerate(("p50", "p99"))
    ]


def _figure(name: str, value: float, floor: float) -> Figure:
    return Figure(name, value, "ms", floor, value / floor <= MOST, f"ratio at most {MOST}")


def _say(what: str, values: Sequence[float], floors: Sequence[float]) -> None:
    def listed(numbers: Sequence[float]) -> str:
        return " and ".join(f"{number:.3g}" for number in numbers)

    sys.stderr.write(f"  {what}: {listed(values)} ms, floor {listed(floors)} ms\n")


def _load(stack: ExitStack, url: str, count: int) -> "Load":
    name = f"with_{count}"
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    own = f"{url.rpartition('/')[0]}/{name}"
    api = stack.enter_context(
        serving("noop", WORKERS, project=many.LARGE_PROJECT, role="api", database_url=own)
    )
    many.fill(api, own, count)
    with many.opened(own, api):
        tokens = many.tokens_of(PROJECTS)
    return Load(api, tokens, many.names(count))


class Load:
    def __init__(self, api: Service, tokens: dict[str, str], names: dict[str, list[str]]) -> None:
        self._address = urlsplit(api.url).netloc
        self._tokens = tokens
        self._names = names
        self._random = random.Random(1)  # noqa: S311 - the same at each run
        self._took: dict[str, list[float]] = {}
        """Milliseconds by kind of request."""

    def run(self, seconds: float) -> tuple[float, float]:
        """Milliseconds that half of the requests take, and 99 % of them."""
        seeds = [self._random.random() for _ in range(CONNECTIONS)]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            took = [
                one for of_one in pool.map(lambda seed: self._ask(seed, seconds), seeds) for one in of_one
            ]
        for kind, milliseconds in took:
            self._took.setdefault(kind, []).append(milliseconds)
        cuts = quantiles((milliseconds for _, milliseconds in took), n=100)
        return cuts[49], cuts[98]

    def medians(self) -> dict[str, float]:
        return {kind: median(took) for kind, took in sorted(self._took.items())}

    def _ask(self, seed: float, seconds: float) -> list[tuple[str, float]]:
        """Ask one after the other over one connection; kind and milliseconds of each."""
        choose = random.Random(seed)  # noqa: S311
        connection = http.client.HTTPConnection(self._address, timeout=60)
        took: list[tuple[str, float]] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            project = many.LARGE_PROJECT if choose.random() < 0.5 else choose.choice(PROJECTS[1:])
            kind = choose.choices(list(KINDS), [share for share, _ in KINDS.values()])[0]
            request = KINDS[kind][1](choose, self._names[project])
            headers = {
                "Authorization": f"Bearer {self._tokens[project]}",
                "Content-Type": "application/merge-patch+json"
                if request.method == "PATCH"
                else "application/json",
            }
            body = None if request.body is None else json.dumps(request.body)
            began = time.perf_counter()
            connection.request(request.method, f"/v1/instances{request.path}", body, headers)
            answer = connection.getresponse()
            said = answer.read()
            took.append((kind, (time.perf_counter() - began) * 1000))
            if answer.status not in request.statuses:
                raise RuntimeError(f"{request.method} {request.path}: {answer.status} {said[:300]!r}")
        connection.close()
        return took


def _any(choose: random.Random, names: Sequence[str]) -> str:
    return f"/{choose.choice(names)}"


def _missing(choose: random.Random, names: Sequence[str]) -> Request:
    return Request("GET", f"{_any(choose, names)}x", statuses=(404,))


def _list(choose: random.Random, names: Sequence[str]) -> Request:
    after = names[choose.randrange(max(1, len(names) - _PAGE))]
    return Request("GET", f"?limit={_PAGE}&marker={after}")


def _database(choose: random.Random, names: Sequence[str]) -> Request:
    policy = choose.choice(["drop", "refuse"])
    path = f"{_any(choose, names)}/databases/database-1"
    return Request("PUT", path, {"character_set": "UTF8", "deletion_policy": policy})


def _user(choose: random.Random, names: Sequence[str]) -> Request:
    grants = [
        {"database": "database-0", "privileges": choose.choice([["CONNECT"], ["CONNECT", "TEMPORARY"]])}
    ]
    return Request("PUT", f"{_any(choose, names)}/users/app", {"grants": grants})


def _labels(choose: random.Random, names: Sequence[str]) -> Request:
    """Of every second instance; the others are for `_unchanged`."""
    return Request("PATCH", _any(choose, names[::2]), {"labels": {"team": str(choose.randrange(10**9))}})


def _unchanged(choose: random.Random, names: Sequence[str]) -> Request:
    return Request("PUT", _any(choose, names[1::2]), many.BODY)


KINDS: dict[str, tuple[int, Any]] = {
    "get": (30, lambda choose, names: Request("GET", _any(choose, names))),
    "get a missing one": (
        5,
        lambda choose, names: Request("GET", f"{_any(choose, names)}x", statuses=(404,)),
    ),
    "get with what is inside": (
        15,
        lambda choose, names: Request("GET", f"{_any(choose, names)}?include=databases,users"),
    ),
    "list instances": (15, _list),
    "list databases": (15, lambda choose, names: Request("GET", f"{_any(choose, names)}/databases")),
    "put database": (5, _database),
    "put user": (5, _user),
    "patch labels": (5, _labels),
    "put what is there": (5, _unchanged),
}
"""Kind of request -> how many of 100, and what makes one."""
