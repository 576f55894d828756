"""A real `coffret serve`, in a folder of its own; on the local cloud unless told otherwise."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from flask import g

from control_plane.app import create_app
from control_plane.auth import Role, tokens
from control_plane.auth.context import operator
from control_plane.clouds import noop
from control_plane.clouds.local.places import Places
from control_plane.database import db
from control_plane.settings import Settings

ROOT = Path(__file__).parents[1]
HURRIED = ROOT / "tests/local/hurried"
ENGINES = ("postgres", "valkey-server", "mariadbd")
STARTING = 60
"""Seconds that a control plane may take until it answers: two where nothing else runs."""


class Serving:
    """One control plane that may be killed and started again."""

    def __init__(self, folder: Path, role: str = "all", **settings: str) -> None:
        self.folder = folder
        self.role = role
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            bind = f"127.0.0.1:{probe.getsockname()[1]}"
        scheme = "https" if "COFFRET_TLS_CERTIFICATE" in settings else "http"
        self.url = f"{scheme}://{bind}"
        self.settings = {"COFFRET_DATA_DIR": str(folder), "COFFRET_BIND": bind} | settings
        self.path = [str(ROOT)]
        self.process: subprocess.Popen[bytes] | None = None
        self.session = requests.Session()

    def command(self, *arguments: str) -> list[str]:
        # -P: else the code in the directory that tests run in comes before that in `path`
        return [sys.executable, "-P", "-W", "error::ResourceWarning", "-m", "control_plane.cli", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        mine = {name: value for name, value in os.environ.items() if not name.startswith("COFFRET_")}
        return mine | {"PYTHONPATH": os.pathsep.join(self.path)} | self.settings

    def start(self) -> None:
        """Launch it and wait until it answers."""
        self.launch()
        eventually(self.answers, STARTING)
        if "Authorization" not in self.session.headers:
            self.session.headers["Authorization"] = f"Bearer {self._token()}"

    def _token(self) -> str:
        """An administrator's, made as `coffret token create` does it, without another process."""
        settings = Settings.load(self.settings)
        app = create_app(settings, noop.open_cloud(settings))
        with app.app_context():
            g.caller, g.source = operator(), "tests"
            _, text = tokens.create("test", "default", Role.ADMIN, None)
            db.session.remove()
            db.engine.dispose()
        return text

    def launch(self) -> None:
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command("serve", "--role", self.role), env=self.environment, stdout=log, stderr=log
            )

    def answers(self) -> bool:
        try:
            return self.session.get(f"{self.url}/readyz", timeout=5).ok
        except requests.ConnectionError:
            assert self.process is not None
            assert self.process.poll() is None, self.log()
            return False

    def kill(self) -> None:
        """SIGKILL, as at a power failure of the control plane alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> float:
        """SIGTERM; returns how many seconds it took."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        return time.monotonic() - began

    def log(self) -> str:
        return (self.folder / "serve.log").read_text()

    def call(self, method: str, path: str, body: Any = None) -> requests.Response:
        return self.session.request(method, f"{self.url}/v1{path}", json=body, timeout=60)

    def put(self, path: str, body: Any) -> dict[str, Any]:
        answer = self.call("PUT", path, body)
        assert answer.status_code in (200, 201, 202), answer.text
        return dict(answer.json())

    def ready(self, path: str, seconds: float = 60) -> dict[str, Any]:
        """The resource, once it is ready."""

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.call("GET", f"{path}?wait_for=ready&timeout=5").json()
            return found if found["status"]["ready"] else None

        return dict(eventually(look, seconds))

    def agents(self) -> list[psutil.Process]:
        return _without_children(self._processes("guest_agent", "run"))

    def engines(self) -> list[psutil.Process]:
        """Engines in the folder; not their own children, nor those that only read a file of options."""
        found = [each for name in ENGINES for each in self._processes(name, unless=("--help", "-C"))]
        return _without_children(found)

    def _processes(self, *words: str, unless: Collection[str] = ()) -> list[psutil.Process]:
        """Processes in this folder whose command line has all the words, and none of the others."""
        found = []
        for process in psutil.process_iter(["cmdline", "cwd", "status"]):
            line, cwd = process.info["cmdline"] or [], process.info["cwd"] or ""
            inside = str(self.folder) in " ".join(line) or cwd.startswith(str(self.folder))
            named = all(any(word in part for part in line) for word in words) and not {*unless} & {*line}
            if inside and named and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found

    def clean(self) -> None:
        """End all that runs here, and remove it."""
        self.session.close()
        ending = self.process if self.process is not None and self.process.poll() is None else None
        if ending is not None:
            ending.send_signal(signal.SIGTERM)
        self._stop_agents()  # at once: it would wait some seconds for what they may ask on open connections
        if ending is not None:
            ending.wait(30)
        if self.agents() or self.engines():  # of an instance that it was about to make
            self._stop_agents()
        shutil.rmtree(Places.open(self.folder, None).run_root, ignore_errors=True)
        shutil.rmtree(self.folder)

    def _stop_agents(self) -> None:
        """And their engines, all at the same time."""
        stops = [
            subprocess.Popen(
                [sys.executable, "-m", "guest_agent", "stop", "--home", str(home)],
                env=self.environment,
                stdout=subprocess.DEVNULL,
            )
            for home in self.folder.glob("instances/*/agent")
            if (home / "agent.json").exists()
        ]
        assert [stop.wait() for stop in stops] == [0] * len(stops)


def _without_children(found: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; a child has its parent's command line, be it only until it has its own."""
    kept = []
    for process in found:
        with suppress(psutil.NoSuchProcess):
            if process.parent() not in found:
                kept.append(process)
    return kept


def eventually(holds: Callable[[], Any], seconds: float, pause: float = 0.05) -> Any:
    """What `holds` returns once it is true, asked every `pause` seconds; fails when it stays false."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(pause)
    return found


@contextmanager
def served(**settings: str) -> Iterator[Serving]:
    """With settings, by their variables. Under root the folder must let the engines' account pass, which
    pytest's own do not."""
    folder = Path(tempfile.mkdtemp(prefix="coffret-test-"))
    folder.chmod(0o711)
    one = Serving(folder, **settings)
    try:
        yield one
    finally:
        one.clean()


@pytest.fixture
def serving() -> Iterator[Serving]:
    """One that waits less for what it looks after; see tests/local/hurried."""
    with served() as one:
        one.path.insert(0, str(HURRIED))
        yield one
