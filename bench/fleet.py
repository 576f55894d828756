"""A fleet: many agents in one process that speak as guest agents do, over connections of their own.

Each has its secret and its report, which tells of a volume that fills slowly. It comes again when it is
told to, and reports a new directive as done.
"""

import asyncio
import json
import resource
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from guest_agent.backoff import Backoff

PARK_SECONDS = 25
CONVERGE_SECONDS = 0.05
"""From a new directive to its being done."""
GROWTH = 64 << 10
"""Bytes that the volume gets fuller from one sync to the next."""
_FILES = 200
"""That the process opens besides the agents' connections."""


@dataclass
class Numbers:
    """What came about since they were taken last."""

    syncs: int = 0
    refused: int = 0
    """Answers that were neither a directive nor `unchanged`, and connections that broke."""
    directives: dict[str, float] = field(default_factory=dict)
    """Instance id -> when its agent had the newest one, by time.monotonic()."""


class Fleet:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 0
        self.agents: dict[str, Agent] = {}
        self.numbers = Numbers()
        self.ended = False

    def add(self, instance_id: str, secret: str, report: dict[str, Any]) -> None:
        self.agents[instance_id] = Agent(self, instance_id, secret, report)

    async def start(self, seconds: float) -> None:
        """All agents come within so many seconds, one after another."""
        room_for(len(self.agents))
        for agent in self.agents.values():
            agent.come(0)
            await asyncio.sleep(seconds / len(self.agents))

    def take_numbers(self) -> Numbers:
        taken, self.numbers = self.numbers, Numbers()
        return taken

    def end(self) -> None:
        self.ended = True
        for agent in self.agents.values():
            if agent.transport is not None:
                agent.transport.abort()


def room_for(connections: int) -> None:
    """Raises RuntimeError when this process may not open so many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if connections + _FILES > most:
        raise RuntimeError(f"{connections} agents take as many open files; ulimit -Hn says {most}.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Agent(asyncio.Protocol):
    def __init__(self, fleet: Fleet, instance_id: str, secret: str, report: dict[str, Any]) -> None:
        self._fleet = fleet
        self._instance_id = instance_id
        self._head = (
            f"POST /agent/v1/sync HTTP/1.1\r\nHost: {fleet.host}:{fleet.port}\r\n"
            "User-Agent: python-requests/2\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\n"
            "Connection: keep-alive\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {instance_id}.{secret}\r\nContent-Length: "
        )
        self._report = report
        self._backoff = Backoff(0.5, 30)
        self._answer = bytearray()
        self._sent = 0.0
        self.transport: asyncio.Transport | None = None

    def come(self, pause: float) -> None:
        asyncio.get_running_loop().call_later(pause, self._come)

    def _come(self) -> None:
        if self._fleet.ended:
            return
        if self.transport is None:
            asyncio.get_running_loop().create_task(self._connect())
        else:
            self._sync()

    async def _connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: self, self._fleet.host, self._fleet.port
            )
        except OSError:
            self._fleet.numbers.refused += 1
            self.come(self._backoff.next())
        else:
            self._sync()

    def _sync(self) -> None:
        self._report["sequence"] += 1
        self._report["volume_used"] += GROWTH
        body = json.dumps(self._report)
        self._sent = time.monotonic()
        assert self.transport is not None  # noqa: S101 - for mypy
        self.transport.write(f"{self._head}{len(body)}\r\n\r\n{body}".encode())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for mypy
        self.transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        self.transport = None
        self._answer.clear()
        if self._sent:  # it waits for an answer
            self._sent = 0.0
            self._fleet.numbers.refused += 1
            self.come(self._backoff.next())

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, whole, rest = self._answer.partition(b"\r\n\r\n")
        if not whole:
            return
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        status = int(lines[0].split()[1])
        if status != 304 and len(rest) < int(headers.get("content-length", 0)):
            return
        body = bytes(rest)
        self._answer.clear()
        self._take(status, float(headers.get("retry-after", 0)), body)

    def _take(self, status: int, pause: float, body: bytes) -> None:
        now = time.monotonic()
        parked, self._sent = now - self._sent >= 1, 0.0
        self._fleet.numbers.syncs += 1
        if status == 200:
            self._fleet.numbers.directives[self._instance_id] = now
            self._converge(json.loads(body))
            pause = CONVERGE_SECONDS
        elif status != 304:
            self._fleet.numbers.refused += 1
            self.come(max(pause, self._backoff.next()))
            return
        elif not parked:
            pause = max(pause, 1.0)
        self._backoff.reset()
        self.come(pause)

    def _converge(self, directive: dict[str, Any]) -> None:
        self._report |= {
            "etag": directive["etag"],
            "converged_etag": directive["etag"],
            "databases": [done(item) for item in directive["databases"]],
            "users": [done(item) for item in directive["users"]],
            "seen_databases": [seen(item) for item in directive["databases"]],
        }


def done(item: dict[str, Any]) -> dict[str, Any]:
    return {"id": item["id"], "generation": item["generation"], "done": True, "message": ""}


def seen(item: dict[str, Any]) -> dict[str, Any]:
    return {name: item[name] for name in ("name", "character_set", "collation", "owner")}
