"""Reading a catalogue from an engine started for nothing else."""

import os
import socket
import tempfile
from pathlib import Path

from guest_agent import engines, settings
from guest_agent.protocol import Catalogue, DesiredEngine


def read(manager: str, version: str) -> Catalogue:
    """The catalogue of an engine installed on this machine. Raises EngineError."""
    owner = settings.account("nobody" if os.geteuid() == 0 else None)
    with tempfile.TemporaryDirectory(prefix="coffret-") as folder:
        top = Path(folder)
        top.chmod(0o755)  # the engine's account must get through
        home = settings.engine_home(top / "data", top / "run", None, owner)
        engine = engines.plugin(manager)(home)
        wanted = DesiredEngine(
            manager=manager,
            version=version,
            listen=["127.0.0.1"],
            port=_free_port(),
            ram=2048,
            vcpus=1,
            volume_size=1,
        )
        engine.prepare(wanted, {})
        engine.start(wanted)
        try:
            return engine.catalogue()
        finally:
            engine.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
