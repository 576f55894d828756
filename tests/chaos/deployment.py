"""A deployment to break: API processes, workers and gateways over one database and RabbitMQ."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests
from audit import at_rest, findings
from clients import Client, Ledger
from faulty_cloud import Site, over
from guests import Guests, await_all
from rabbitmq import free_ports
from serving import ROOT, eventually
from stores import let_go

from control_plane.app import create_app
from control_plane.auth import Role, tokens
from control_plane.secrets.keys import new_key
from control_plane.settings import Settings

COFFRET = Path(__file__).with_name("coffret.py")
STARTING = 120
"""Seconds that a process may take to answer on a busy machine."""
SETTLING = 300
"""Seconds after the last blow in which all must be as wanted; a machine of its own takes a tenth."""
WEIGHTLESS = "1000000/second"


class Process:
    """One process of the deployment, which may be killed, frozen and started again."""

    def __init__(
        self, name: str, arguments: Sequence[str], environment: dict[str, str], folder: Path
    ) -> None:
        self.name = name
        self.environment = environment
        self._arguments = arguments
        self._log = folder / f"{name}.log"
        self._starts = 0
        self.running: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.environment['COFFRET_BIND']}"

    def start(self) -> None:
        self._starts = self.log().count("working on up to") + 1
        with self._log.open("ab") as log:
            self.running = subprocess.Popen(
                [sys.executable, str(COFFRET), *self._arguments],
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def answers(self) -> bool:
        assert self.running is not None
        assert self.running.poll() is None, self.log()
        try:
            return requests.get(f"{self.url}/readyz", timeout=10).ok
        except requests.RequestException:
            return False

    def is_up(self) -> bool:
        """Whether it has come up since it was started last; a worker says so in its log."""
        if self._arguments[0] == "worker":
            return self.log().count("working on up to") >= self._starts
        return self.answers()

    def send(self, number: signal.Signals) -> None:
        assert self.running is not None
        self.running.send_signal(number)

    def kill(self) -> None:
        """As at a power failure."""
        if self.running is not None:
            self.running.kill()
            self.running.wait()

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""


class Deployment:
    """Its processes, the clients and the guests; `chance` makes every random choice of a test."""

    def __init__(
        self, folder: Path, seed: str, database_url: str, broker_url: str, ttl: float = 120
    ) -> None:
        print(f"seed {seed}, in {folder}")  # noqa: T201 - pytest shows it when the test fails
        self.folder = folder
        self.chance = random.Random(seed)
        self.ledger = Ledger()
        self.site = Site(folder / "site")
        self.processes: dict[str, Process] = {}
        keys = folder / "secrets.keys"
        keys.write_text(f"{new_key()}\n")
        self._settings = {
            "COFFRET_CLOUD": "noop",
            "COFFRET_DATABASE_URL": database_url,
            "COFFRET_SECRETS_KEYS": str(keys),
            "COFFRET_WORK": "celery" if broker_url else "inline",
            "COFFRET_BROKER_URL": broker_url,
            "COFFRET_DEPLOYMENT": folder.name,
            "COFFRET_SWEEP_SECONDS": "1",
            "COFFRET_THREADS": "8",
            "COFFRET_PARKED_LIMIT": "2",
            "COFFRET_QUOTA_INSTANCES": "1000",
            "COFFRET_RATE_READS": WEIGHTLESS,
            "COFFRET_RATE_WRITES": WEIGHTLESS,
            "CHAOS_SITE": str(folder / "site"),
            "CHAOS_TTL": str(ttl),
            "CHAOS_SILENT": "60",
            "CHAOS_CLOCK": "0",
        }
        settings = Settings(data_dir=folder, cloud="noop", database_url=database_url, secrets_keys=keys)
        self.app = create_app(settings, over(self.site))
        self.token = ""
        self.guests: Guests | None = None

    def add(self, kind: str, **settings: str) -> Process:
        """One more process of a kind, `api`, `agents`, `worker` or `all`; not started."""
        name = f"{kind}{len(self.processes)}"
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("COFFRET_")}
        environment = (
            inherited
            | self._settings
            | {
                "PYTHONPATH": str(ROOT),
                "COFFRET_DATA_DIR": str(self.folder / name),
                "COFFRET_BIND": f"127.0.0.1:{free_ports(1)[0]}",
                "CHAOS_SEED": f"{self.chance.random()}",
            }
        )
        arguments = ["worker", "--concurrency", "4"] if kind == "worker" else ["serve", "--role", kind]
        process = Process(name, arguments, environment | settings, self.folder)
        self.processes[name] = process
        return process

    def start(self) -> None:
        """All processes, the first one alone, since it makes the tables; they answer when it returns."""
        first, *others = self.processes.values()
        first.start()
        eventually(first.answers, STARTING)
        with self.app.app_context():
            _, self.token = tokens.create("chaos", "chaos", Role.ADMIN)
        for process in others:
            process.start()
        for process in others:
            eventually(process.is_up, STARTING)
        gateways = [process.url for process in self.of("agents", "all")]
        self.guests = Guests(self.site, gateways, random.Random(self.chance.random()))

    def of(self, *kinds: str) -> list[Process]:
        return [process for process in self.processes.values() if process.name.startswith(kinds)]

    def client(self) -> Client:
        urls = [process.url for process in self.of("api", "all")]
        return Client(urls, self.token, self.ledger, random.Random(self.chance.random()))

    @contextmanager
    def clients_at_work(self, count: int, instances: int) -> Iterator[list[threading.Thread]]:
        """So many clients make, change and delete so many instances; at the end all is acknowledged."""
        clients = [self.client() for _ in range(count)]
        names = [f"i{number}" for number in range(instances)]
        threads = [client.live(names[number::count]) for number, client in enumerate(clients)]
        yield threads
        await_all(threads, SETTLING)
        for client in clients:
            if client.failure is not None:
                raise client.failure

    def make(self, *names: str) -> None:
        """Instances with what is inside them, acknowledged when it returns."""
        client = self.client()
        for name in names:
            client.make(name)

    def audit(self) -> None:
        """Wait until nothing is left to do; then all must be as it was acknowledged."""
        assert self.guests is not None
        with contextlib.suppress(AssertionError):  # what is not as it should be is found next
            eventually(lambda: at_rest(self.app), SETTLING, 0.5)
        found = findings(self.app, self.ledger, self.site, self.guests.by_instance)
        assert not found, "\n".join(found)

    def log(self) -> str:
        return "\n".join(process.log() for process in self.processes.values())

    def close(self) -> None:
        if self.guests is not None:
            self.guests.close()
        for process in self.processes.values():
            process.kill()
        let_go(self.app)


@contextmanager
def deployed(
    seed: str, database_url: str = "", broker_url: str = "", ttl: float = 120
) -> Iterator[Deployment]:
    """A deployment without processes yet; without a database's URL, over SQLite in its folder."""
    folder = Path(tempfile.mkdtemp(prefix="coffret-chaos-"))
    one = Deployment(folder, seed, database_url or f"sqlite:///{folder}/coffret.db", broker_url, ttl)
    try:
        yield one
    finally:
        one.close()
        shutil.rmtree(folder, ignore_errors=True)
