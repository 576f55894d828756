"""A server is an agent's process and its folder; the agent runs the engine."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

import guest_agent
from control_plane.clouds.base import (
    Bootstrap,
    CloudError,
    CloudRefusal,
    Port,
    Server,
    ServerSpec,
    Volume,
)
from control_plane.clouds.local.binaries import Binaries
from control_plane.clouds.local.places import Places, make_folder
from guest_agent import files, process
from guest_agent.engines.base import Account

_STOP_SECONDS = 100
_LEAVE_SECONDS = 10
_STAY_SECONDS = 1
_LOG_BYTES = 10 << 20
_MIB = 1 << 20


@dataclass(frozen=True)
class Compute:
    places: Places
    binaries: Binaries
    account: Account | None

    def validate(self, spec: ServerSpec) -> None:
        if spec.availability_zone is not None:
            raise CloudRefusal(
                "The local cloud is one machine without availability zones; leave it out.",
                "/availability_zone",
            )
        if spec.server_group is not None:
            raise CloudRefusal("The local cloud is one machine; leave server_group out.", "/server_group")
        memory = psutil.virtual_memory().total // _MIB
        if spec.ram > memory:
            raise CloudRefusal(
                f"This machine has {memory} MiB of memory; {spec.flavor} needs {spec.ram}.", "/flavor"
            )

    def find(self, instance_id: str) -> Server | None:
        home = self.places.agent(instance_id)
        if not (home / "agent.json").exists():
            return None
        told = _told(home)
        return Server(instance_id, _agent(home) is not None, told.get("flavor", ""), told.get("rebuild"))

    def ensure(self, spec: ServerSpec, volume: Volume, port: Port, bootstrap: Bootstrap) -> Server:
        home = self.places.agent(spec.instance_id)
        try:
            make_folder(home, 0o700)
            self.places.ensure_run_root()
            self._tell(home, spec, bootstrap)
            if _agent(home) is None:
                _start(home)
        except OSError as error:
            raise CloudError(f"The agent cannot be started: {error}") from error
        return Server(spec.instance_id, True, spec.flavor, spec.rebuild)

    def delete(self, instance_id: str) -> None:
        home = self.places.agent(instance_id)
        try:
            if (home / "agent.json").exists():
                self.places.ensure_run_root()
                _stop(home)
            if home.is_dir():
                shutil.rmtree(home)
            if self.places.run(instance_id).is_dir():
                shutil.rmtree(self.places.run(instance_id))
        except OSError as error:
            raise CloudError(f"The server cannot be removed: {error}") from error

    def _tell(self, home: Path, spec: ServerSpec, bootstrap: Bootstrap) -> None:
        """Write agent.json. An agent that was started with another one makes way; the engine stays."""
        told, ca = _told(home), bootstrap.ca
        wanted: dict[str, Any] = {
            "url": bootstrap.url,
            "ca": str(home / "ca.pem") if ca else None,
            "instance_id": spec.instance_id,
            "manager": spec.manager,
            "data": str(self.places.data(spec.instance_id)),
            "run": str(self.places.run(spec.instance_id)),
            "binaries": str(self.binaries.usable(spec.manager, spec.version)),
            "account": self.account.name if self.account else None,
            "log_format": bootstrap.log_format,
            "agent_version": guest_agent.__version__,
            "rebuild": spec.rebuild,
        }
        same = all(told.get(name) == value for name, value in wanted.items())
        token = told.get("bootstrap_token")
        needed = bootstrap.silent or not _has_secret(home)
        if needed and not (token and bootstrap.accepts(token)):
            token = bootstrap.token()
        wanted |= {"bootstrap_token": token, "flavor": spec.flavor}
        if wanted == told:
            return
        if not same and (agent := _agent(home)) is not None:
            process.stop(agent, signal.SIGUSR2, _LEAVE_SECONDS)
        if ca:
            files.write(home / "ca.pem", ca, mode=0o600)
        files.write(home / "agent.json", json.dumps(wanted, indent=2) + "\n", mode=0o600)


def _told(home: Path) -> dict[str, Any]:
    with contextlib.suppress(FileNotFoundError, ValueError):
        told = json.loads((home / "agent.json").read_text())
        if isinstance(told, dict):
            return told
    return {}


def _has_secret(home: Path) -> bool:
    with contextlib.suppress(FileNotFoundError, ValueError, AttributeError):
        return bool(json.loads((home / "state.json").read_text()).get("secret"))
    return False


def _agent(home: Path) -> psutil.Process | None:
    """The running agent. It notes itself, so that one started by a dead control plane is found."""
    return process.find(home / "agent.pid") or process.find(home / "started.pid")


def _start(home: Path) -> None:
    """Start the agent. Raises CloudError when it was started before and does not stay up now either."""
    log_file, pid_file = home / "agent.log", home / "started.pid"
    again = pid_file.exists()
    if log_file.exists() and log_file.stat().st_size > _LOG_BYTES:
        log_file.replace(home / "agent.log.1")
    agent = process.spawn(
        [sys.executable, "-m", "guest_agent", "run", "--home", home],
        pid_file=pid_file,
        log=log_file,
        cwd=home,
        env=_environment(),
    )
    if again:
        with contextlib.suppress(psutil.TimeoutExpired):
            agent.wait(_STAY_SECONDS)
            if _agent(home) is None:
                words = process.last_words(log_file).splitlines() or ["it said nothing"]
                raise CloudError(f"The agent does not stay up: {words[-1]}")


def _stop(home: Path) -> None:
    """Stop agent and engine. Raises CloudError with the reason when that fails."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "guest_agent", "stop", "--home", str(home)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_STOP_SECONDS,
            cwd=home,
            env=_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CloudError(f"The engine did not stop within {_STOP_SECONDS} s.") from error
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise CloudError(f"The engine does not stop: {words[-1]}")


def _environment() -> dict[str, str]:
    """This process's, without the control plane's settings and tokens."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COFFRET_")}
