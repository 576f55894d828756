"""An agent's home, and the agents started in it as processes."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fake_control_plane import ControlPlane

from guest_agent.engines.base import Engine

AGENT = ["-m", "guest_agent"]
FAKE_AGENT = [str(Path(__file__).with_name("fake_engine.py"))]
"""The same, with the fake engine on offer."""


class Guest:
    """A home with agent.json, and the agents started in it."""

    def __init__(self, home: Path, plane: ControlPlane, engine: Engine, program: Sequence[str]) -> None:
        self.home = home
        self.engine = engine
        self.program = program
        self.settings = {
            "url": plane.url,
            "ca": None,
            "instance_id": "i-1",
            "bootstrap_token": "token-1",
            "manager": engine.manager,
            "data": str(engine.home.data),
            "run": str(engine.home.run),
            "binaries": engine.home.binaries and str(engine.home.binaries),
            "account": engine.home.account and engine.home.account.name,
            "drift_seconds": 0.5,
        }
        self.write()
        self.agents: list[subprocess.Popen[bytes]] = []

    def write(self, **changes: Any) -> None:
        self.settings |= changes
        (self.home / "agent.json").write_text(json.dumps(self.settings))

    def command(self, name: str) -> list[str]:
        return [sys.executable, *self.program, name, "--home", str(self.home)]

    def start(self) -> subprocess.Popen[bytes]:
        with (self.home / "log").open("ab") as log:
            agent = subprocess.Popen(self.command("run"), stdout=log, stderr=log)
        self.agents.append(agent)
        return agent

    def stop(self) -> int:
        return subprocess.run(self.command("stop"), timeout=20, capture_output=True).returncode

    def close(self) -> None:
        """Kill the agents and stop the engine."""
        for agent in self.agents:
            agent.kill()
            agent.wait()
        self.engine.stop()

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.home / "state.json").read_text())
        return found


def until(holds: Callable[[], object], timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.02)


def running(etag: str) -> Callable[[Any], bool]:
    return lambda report: report["engine"]["state"] == "running" and report["converged_etag"] == etag
