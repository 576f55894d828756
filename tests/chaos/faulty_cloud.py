"""A cloud in files that all processes share. Like a real one it makes another object each time it is asked.

What was made is written down for good, so that twins that are gone by the end are found, too. The folder
has files that change the weather while processes run:

    faults  the share of calls that fail: with 500, 503, a timeout, or done and the answer lost
    hold    while it is there, no call goes through
"""

import dataclasses
import json
import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from control_plane.clouds import Cloud, CloudError, CloudObject, Port, Server, ServerSpec, Volume
from control_plane.clouds.base import Bootstrap
from control_plane.clouds.noop import cloud as noop
from control_plane.clouds.noop.drivers import Books
from control_plane.settings import Settings

KINDS = ("volume", "port", "server")
T = TypeVar("T")


class Site:
    """The objects, a file each: its kind, instance and number are its name."""

    def __init__(self, folder: Path, seed: str = "") -> None:
        self.folder = folder
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        for kind in KINDS:
            (folder / kind).mkdir(parents=True, exist_ok=True)

    def call(self, what: str, do: Callable[[], T]) -> T:
        """One call of the cloud's API, in this weather."""
        self._note("calls", f"{os.getpid()} {what}")
        while (self.folder / "hold").exists():
            time.sleep(0.02)
        with self._lock:
            fails = self._chance.random() < self._share()
            how = self._chance.randrange(4)
        if not fails:
            return do()
        if how == 3:
            do()
        raise CloudError(
            ("500 Internal Server Error", "503 Service Unavailable", "Timed out", "No answer")[how]
        )

    def _share(self) -> float:
        try:
            return float((self.folder / "faults").read_text())
        except (FileNotFoundError, ValueError):
            return 0.0

    def find(self, kind: str, instance_id: str) -> tuple[str, dict[str, Any]] | None:
        """Id and content of the first one that the instance has."""
        for file in sorted((self.folder / kind).glob(f"{instance_id}.*")):
            try:
                return file.name, json.loads(file.read_text())
            except FileNotFoundError:
                continue
        return None

    def make(self, kind: str, instance_id: str, content: dict[str, Any]) -> str:
        name = f"{instance_id}.{uuid.uuid4().hex[:8]}"
        self.write(kind, name, content)
        self._note("made", f"{kind} {instance_id}")
        return name

    def write(self, kind: str, name: str, content: dict[str, Any]) -> None:
        new = self.folder / kind / f".{uuid.uuid4().hex}"
        new.write_text(json.dumps(content))
        new.replace(self.folder / kind / name)

    def delete(self, kind: str, instance_id: str) -> None:
        for file in (self.folder / kind).glob(f"{instance_id}.*"):
            file.unlink(missing_ok=True)

    def objects(self) -> list[tuple[str, str]]:
        """Kind and id of all there are."""
        files = [(kind, file.name) for kind in KINDS for file in (self.folder / kind).glob("*")]
        return [(kind, name) for kind, name in files if not name.startswith(".")]

    def noted(self, what: str) -> list[list[str]]:
        """`made`: kind and instance of each that was ever made. `calls`: pid and call."""
        file = self.folder / what
        return [line.split(" ", 1) for line in file.read_text().splitlines()] if file.exists() else []

    def _note(self, what: str, line: str) -> None:
        with (self.folder / what).open("a") as file:
            file.write(f"{line}\n")


def instance_of(name: str) -> str:
    """The instance's id in an object's."""
    return name.partition(".")[0]


@dataclasses.dataclass(frozen=True)
class Volumes:
    site: Site

    def validate(self, spec: ServerSpec) -> None:
        """There is room."""

    def ensure(self, spec: ServerSpec, *, known: str | None) -> Volume:
        return self.site.call("volumes.ensure", lambda: self._ensure(spec))

    def _ensure(self, spec: ServerSpec) -> Volume:
        content = {"size": spec.volume_size}
        found = self.site.find("volume", spec.instance_id)
        if found is None:
            return Volume(self.site.make("volume", spec.instance_id, content), spec.volume_size)
        if found[1] != content:
            self.site.write("volume", found[0], content)
        return Volume(found[0], spec.volume_size)

    def delete(self, instance_id: str) -> None:
        self.site.call("volumes.delete", lambda: self.site.delete("volume", instance_id))


@dataclasses.dataclass(frozen=True)
class Network:
    site: Site

    def validate(self, spec: ServerSpec, keystone_token: str | None = None) -> None:
        """Every network is there."""

    def ensure(self, spec: ServerSpec) -> Port:
        return self.site.call("network.ensure", lambda: self._ensure(spec))

    def _ensure(self, spec: ServerSpec) -> Port:
        found = self.site.find("port", spec.instance_id)
        name = found[0] if found else self.site.make("port", spec.instance_id, {})
        return Port(name, f"{spec.instance_id}.noop.invalid", ["127.0.0.1"], 5432)

    def delete(self, instance_id: str) -> None:
        self.site.call("network.delete", lambda: self.site.delete("port", instance_id))


@dataclasses.dataclass(frozen=True)
class Compute:
    site: Site

    def validate(self, spec: ServerSpec) -> None:
        """Every zone has room."""

    def find(self, instance_id: str) -> Server | None:
        return self.site.call("compute.find", lambda: self._find(instance_id))

    def _find(self, instance_id: str) -> Server | None:
        found = self.site.find("server", instance_id)
        return Server(found[0], True, found[1]["flavor"]) if found else None

    def ensure(self, spec: ServerSpec, volume: Volume, port: Port, bootstrap: Bootstrap) -> Server:
        return self.site.call("compute.ensure", lambda: self._ensure(spec, bootstrap))

    def _ensure(self, spec: ServerSpec, bootstrap: Bootstrap) -> Server:
        found = self.site.find("server", spec.instance_id)
        if found is None:
            content = {"flavor": spec.flavor, "token": bootstrap.token()}
            return Server(self.site.make("server", spec.instance_id, content), True, spec.flavor)
        name, content = found
        wanted = content | {"flavor": spec.flavor}
        if bootstrap.silent and not bootstrap.accepts(content["token"]):
            wanted["token"] = bootstrap.token()
        if wanted != content:
            self.site.write("server", name, wanted)
        return Server(name, True, spec.flavor)

    def delete(self, instance_id: str) -> None:
        self.site.call("compute.delete", lambda: self.site.delete("server", instance_id))


@dataclasses.dataclass(frozen=True)
class Inventory:
    site: Site

    def objects(self) -> Sequence[CloudObject]:
        return [CloudObject(kind, name, name, instance_of(name)) for kind, name in self.site.objects()]


def over(site: Site) -> Cloud:
    """The noop cloud with drivers of this site, whose guests are played by the tests."""
    return dataclasses.replace(
        noop(Books()),
        volumes=Volumes(site),
        network=Network(site),
        compute=Compute(site),
        inventory=Inventory(site),
        agentless=False,
        survey_seconds=5.0,
    )


def open_cloud(_: Settings) -> Cloud:
    return over(Site(Path(os.environ["CHAOS_SITE"]), os.environ["CHAOS_SEED"]))
