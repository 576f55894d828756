"""Homes for real engines: under root they belong to nobody, since no engine runs as root."""

import os
import pwd
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from control_plane.clouds.local.account import readable
from control_plane.clouds.local.binaries import copied
from guest_agent import process
from guest_agent.engines.base import Account, Home
from guest_agent.protocol import DesiredEngine

MakeHome = Callable[..., Home]
FreePort = Callable[[], int]
MakeDesiredEngine = Callable[..., DesiredEngine]


@pytest.fixture(scope="session")
def account() -> Account | None:
    """Who engines run as: nobody when the tests run as root, else whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_name, nobody.pw_uid, nobody.pw_gid)


@pytest.fixture(scope="session")
def make_home(account: Account | None) -> Iterator[MakeHome]:
    """`make_home(binaries=None)` -> an empty home; what still runs in it at the end is killed."""
    root = Path(tempfile.mkdtemp(prefix="coffret-", dir="/tmp"))  # short paths for sockets
    root.chmod(0o755)
    homes: list[Home] = []

    def make(binaries: Path | None = None) -> Home:
        place = root / str(len(homes))
        place.mkdir()
        home = Home(
            data=place / "data",
            run=place / "run",
            binaries=binaries and _readable(binaries, root, account),
            account=account,
        )
        for folder in (home.data, home.run):
            folder.mkdir(mode=0o700)
            if account:
                os.chown(folder, account.uid, account.gid)
        homes.append(home)
        return home

    yield make

    for home in homes:
        for pid_file in home.run.glob("*.pid"):
            if left := process.find(pid_file):
                children = left.children(recursive=True)
                for each in (left, *children):
                    each.kill()
                psutil.wait_procs([left, *children], timeout=10)
    shutil.rmtree(root)


def _readable(binaries: Path, root: Path, account: Account | None) -> Path:
    """The folder itself, or a copy of its tree where it lies in somebody's private place."""
    if readable(binaries, account):
        return binaries
    return copied(binaries, root / f"binaries-{binaries.parent.name}")


@pytest.fixture(scope="session")
def free_port() -> FreePort:
    """`free_port()` -> a port on loopback that nobody listened on a moment ago."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return cast(int, probe.getsockname()[1])

    return find


@pytest.fixture(scope="session")
def desired_engine() -> MakeDesiredEngine:
    """`desired_engine(manager, version, port, **changes)` -> the engine part of a directive."""

    def make(manager: str, version: str, port: int, **changes: Any) -> DesiredEngine:
        wanted: dict[str, Any] = {
            "manager": manager,
            "version": version,
            "listen": ["127.0.0.1"],
            "port": port,
            "ram": 512,
            "vcpus": 1,
            "volume_size": 1,
        }
        return cast(DesiredEngine, wanted | changes)

    return make
