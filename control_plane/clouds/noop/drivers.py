"""Drivers over one set of books: in memory, or in files that all processes on a machine share."""

import threading
from collections import Counter
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from control_plane.clouds.base import (
    Bootstrap,
    Cloud,
    CloudObject,
    CloudRefusal,
    Flavor,
    Port,
    Server,
    ServerSpec,
    Volume,
)
from control_plane.clouds.local.flavors import BUILT_IN
from control_plane.clouds.noop.page import Page
from control_plane.datastores.managers import MANAGERS
from control_plane.settings import Settings

RESYNC_SECONDS = 600.0


@dataclass
class Books:
    """What there is, by instance id. `failures` are raised by the next calls of ensure and delete."""

    volumes: MutableMapping[str, Volume] = field(default_factory=dict)
    ports: MutableMapping[str, Port] = field(default_factory=dict)
    servers: MutableMapping[str, Server] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    failures: list[Exception] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def act(self, call: str) -> None:
        """Count the call, and fail it if a failure is due. The caller holds the lock."""
        self.calls[call] += 1
        if self.failures:
            raise self.failures.pop(0)


@dataclass(frozen=True)
class Images:
    def validate(self, spec: ServerSpec) -> None:
        """All that is in the catalogue can be pretended."""


@dataclass(frozen=True)
class Flavors:
    def flavors(self) -> Sequence[Flavor]:
        return BUILT_IN


@dataclass(frozen=True)
class Volumes:
    books: Books

    def validate(self, spec: ServerSpec) -> None:
        """Books have room for every size."""

    def ensure(self, spec: ServerSpec, *, known: str | None) -> Volume:
        with self.books.lock:
            self.books.act("volumes.ensure")
            there = self.books.volumes.get(spec.instance_id)
            if there is not None and there.size > spec.volume_size:
                raise CloudRefusal(f"The volume has {there.size} GiB; volumes only grow.", "/volume/size")
            volume = Volume(f"volume-{spec.instance_id}", spec.volume_size)
            self.books.volumes[spec.instance_id] = volume
            return volume

    def delete(self, instance_id: str) -> None:
        with self.books.lock:
            self.books.act("volumes.delete")
            self.books.volumes.pop(instance_id, None)


@dataclass(frozen=True)
class Network:
    books: Books

    def validate(self, spec: ServerSpec, keystone_token: str | None = None) -> None:
        """Every network can be pretended."""

    def ensure(self, spec: ServerSpec) -> Port:
        with self.books.lock:
            self.books.act("network.ensure")
            port = Port(
                id=f"port-{spec.instance_id}",
                host=f"{spec.instance_id}.noop.invalid",
                listen=["127.0.0.1"],
                port=MANAGERS[spec.manager].port,
            )
            return self.books.ports.setdefault(spec.instance_id, port)

    def delete(self, instance_id: str) -> None:
        with self.books.lock:
            self.books.act("network.delete")
            self.books.ports.pop(instance_id, None)


@dataclass(frozen=True)
class Compute:
    books: Books

    def validate(self, spec: ServerSpec) -> None:
        """Every zone can be pretended."""

    def find(self, instance_id: str) -> Server | None:
        return self.books.servers.get(instance_id)

    def ensure(self, spec: ServerSpec, volume: Volume, port: Port, bootstrap: Bootstrap) -> Server:
        with self.books.lock:
            self.books.act("compute.ensure")
            server = Server(f"server-{spec.instance_id}", True, spec.flavor, spec.rebuild)
            self.books.servers[spec.instance_id] = server
            return server

    def delete(self, instance_id: str) -> None:
        with self.books.lock:
            self.books.act("compute.delete")
            self.books.servers.pop(instance_id, None)


@dataclass(frozen=True)
class Inventory:
    books: Books

    def objects(self) -> Sequence[CloudObject]:
        with self.books.lock:
            return [
                CloudObject(kind, item.id, item.id, instance_id)
                for kind, page in (
                    ("server", self.books.servers),
                    ("volume", self.books.volumes),
                    ("port", self.books.ports),
                )
                for instance_id in page
                if (item := page.get(instance_id))  # another process may just have deleted it
            ]


def cloud(books: Books) -> Cloud:
    return Cloud(
        name="noop",
        images=Images(),
        flavors=Flavors(),
        volumes=Volumes(books),
        network=Network(books),
        compute=Compute(books),
        inventory=Inventory(books),
        resync_seconds=RESYNC_SECONDS,
        agentless=True,
    )


def open_books(data_dir: Path) -> Books:
    """The books that every process with this data folder keeps."""
    folder = data_dir / "noop"
    return Books(
        Page(folder / "volumes", Volume), Page(folder / "ports", Port), Page(folder / "servers", Server)
    )


def open_cloud(settings: Settings) -> Cloud:
    return cloud(open_books(settings.data_dir))
