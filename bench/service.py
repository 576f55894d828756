"""A control plane for one measurement: `coffret serve` with a folder of its own, gone at the end."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from control_plane.clouds.local.places import Places
from control_plane.secrets.keys import DEFAULT_FILE, new_key
from guest_agent import settings

COFFRET = [sys.executable, "-m", "control_plane.cli"]
_PATIENCE = 60.0
_CLOUDS_PATIENCE = 900.0


@dataclass(frozen=True)
class Service:
    url: str
    token: str
    data: Path
    http: requests.Session

    def get(self, path: str, **query: str | float) -> Any:
        return self._ask("GET", path, params=query)

    def put(self, path: str, body: dict[str, Any]) -> Any:
        return self._ask("PUT", path, json=body)

    def ready(self, path: str) -> Any:
        """The resource once it is ready; RuntimeError when it does not become so."""
        shown = self.get(path, wait_for="ready", timeout=60)
        if not shown["status"]["ready"]:
            raise RuntimeError(f"{path} did not become ready: {shown['status']}")
        return shown

    def delete(self, path: str) -> None:
        """Delete the resource and wait until it is gone."""
        deadline = time.monotonic() + _PATIENCE
        while self._ask("DELETE", path) is not None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{path} is not deleted after {_PATIENCE:g} s")
            time.sleep(0.05)

    def delete_all(self) -> None:
        """Delete all instances at once and wait until they are gone."""
        deadline = time.monotonic() + _CLOUDS_PATIENCE
        while left := self.get("/instances", limit=200)["items"]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(left)} instances are not deleted after {_CLOUDS_PATIENCE:g} s")
            for instance in left:
                if instance["status"]["phase"] != "SHUTDOWN":
                    self._ask("DELETE", f"/instances/{instance['name']}")
            time.sleep(1)

    def agent(self, instance: str) -> settings.Settings:
        """What the agent of a ready instance was told: account, binaries, folders."""
        instance_id = self.ready(f"/instances/{instance}")["id"]
        return settings.read(Places.open(self.data, None).agent(instance_id))

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        answer = self.http.request(method, f"{self.url}/v1{path}", timeout=90, **more)
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None


@contextmanager
def serving(
    cloud: str,
    workers: int = 1,
    *,
    coffret: Sequence[str] = COFFRET,
    project: str = "default",
    role: str = "all",
    **settings: str,
) -> Iterator[Service]:
    """A control plane that answers, and a token of `project`; `coffret` is the command to run.

    At its end its instances are deleted, unless its `role` leaves that to others, and it is stopped.
    """
    data = Path(tempfile.mkdtemp(prefix="coffret-bench-"))
    data.chmod(0o711)  # engines of another account pass through to their own folders
    bind = f"127.0.0.1:{free_port()}"
    env = {name: value for name, value in os.environ.items() if not name.startswith("COFFRET_")}
    env |= {
        "COFFRET_DATA_DIR": str(data / "coffret"),
        "COFFRET_CLOUD": cloud,
        "COFFRET_BIND": bind,
        "COFFRET_WORKERS": str(workers),
        "COFFRET_LOG_LEVEL": "WARNING",
        "COFFRET_SECRETS_KEYS": str(keys_for(data)),
        **{f"COFFRET_RATE_{kind}": "1000000000/minute" for kind in ("READS", "WRITES")},  # counted, not met
    }
    env |= {f"COFFRET_{name.upper()}": value for name, value in settings.items()}
    create = [*COFFRET, "token", "create", "bench", "--role", "admin", "--project", project]
    token = subprocess.run(create, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    process = subprocess.Popen([*coffret, "serve", "--role", role], env=env, start_new_session=True)
    try:
        with requests.Session() as http:
            http.trust_env = False
            http.headers["Authorization"] = f"Bearer {token}"
            await_url(f"http://{bind}/readyz", process)
            service = Service(f"http://{bind}", token, data / "coffret", http)
            try:
                yield service
            finally:
                if role != "all":
                    pass
                elif cloud == "local":
                    for instance in service.get("/instances")["items"]:
                        service.delete(f"/instances/{instance['name']}")
                elif cloud != "noop":
                    service.delete_all()
    finally:
        process.terminate()
        process.wait(_PATIENCE)
        shutil.rmtree(data)


def keys_for(folder: Path) -> Path:
    """A file in the folder with the key of secrets, as the processes of one deployment need it."""
    keys = folder / DEFAULT_FILE
    if not keys.exists():
        keys.write_text(f"{new_key()}\n")
    return keys


def await_url(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the URL answers well; RuntimeError when it does not, or the process has ended."""
    deadline = time.monotonic() + _PATIENCE
    answer = "nothing"
    while process.poll() is None and time.monotonic() < deadline:
        try:
            response = requests.get(url, timeout=5)
            if response.ok:
                return
            answer = response.text
        except requests.RequestException as error:
            answer = str(error)
        time.sleep(0.05)
    raise RuntimeError(f"{url} does not answer as it should; the last answer was: {answer}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
