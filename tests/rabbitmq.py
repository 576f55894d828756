"""A RabbitMQ for tests: Debian's, on free ports of 127.0.0.1, with a folder and an epmd of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import amqp

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
START_SECONDS = 60


class RabbitMQ:
    """One broker that may be stopped, killed and frozen. What is in its queues stays in its folder."""

    def __init__(self, folder: Path, tls: Path | None) -> None:
        """`tls`: the folder of a certificate, by which it serves TLS as well."""
        self._folder = folder
        self._port, self.tls_port, distribution, epmd = free_ports(4)
        self._epmd: subprocess.Popen[bytes] | None = None
        self._broker: subprocess.Popen[bytes] | None = None
        self.address = f"127.0.0.1:{self._port}"
        self.url = f"amqp://guest:guest@{self.address}//"
        self._environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(epmd),
            "RABBITMQ_NODENAME": f"test{self._port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none.conf"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none"
            ),
        }
        settings = {"disk_free_limit.absolute": "1MB"}
        if tls is not None:
            settings |= {
                "listeners.ssl.1": f"127.0.0.1:{self.tls_port}",
                "ssl_options.certfile": f"{tls}/tls.pem",
                "ssl_options.keyfile": f"{tls}/tls.key",
            }
        lines = [f"{name} = {value}\n" for name, value in settings.items()]
        (folder / "rabbitmq.conf").write_text("".join(lines))
        (folder / "plugins").write_text("[].\n")

    def start(self) -> None:
        """Launch it and wait until it answers."""
        if self._epmd is None:
            # the broker would leave its own behind
            self._epmd = self._spawn("epmd")
        self._broker = self._spawn(str(SERVER))
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            assert self._broker.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def answers(self) -> bool:
        connection = amqp.Connection(self.address, connect_timeout=5)
        try:
            connection.connect()
        except (OSError, amqp.AMQPError):
            return False
        connection.close()
        return True

    def stop(self) -> None:
        """As at its planned end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As at a power failure."""
        self._end(signal.SIGKILL)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Connected as ever, but it says nothing."""
        self._send(signal.SIGSTOP)
        try:
            yield
        finally:
            self._send(signal.SIGCONT)

    def messages(self, queue: str) -> int:
        """How many messages the queue holds that no worker has."""
        with amqp.Connection(self.address) as connection:
            try:
                return int(connection.channel().queue_declare(queue, passive=True).message_count)
            except amqp.NotFound:  # nobody has used it yet
                return 0

    def purge(self, queue: str) -> None:
        """Lose all that is in the queue."""
        with amqp.Connection(self.address) as connection:
            connection.channel().queue_purge(queue)

    def keeps(self, queue: str) -> bool:
        """Whether it will know a new quorum queue after it is killed: it writes them down after seconds."""
        files = self._folder.glob("mnesia/*/quorum/*/names.dets")
        return any(queue.encode() in file.read_bytes() for file in files)

    def log(self) -> str:
        return (self._folder / "output").read_text(errors="replace")[-3000:]

    def close(self) -> None:
        if self._broker is not None and self._broker.poll() is None:
            self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        with (self._folder / "output").open("ab") as output:
            return subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _send(self, number: signal.Signals) -> None:
        assert self._broker is not None
        os.killpg(self._broker.pid, number)  # a shell, and the broker under it

    def _end(self, number: signal.Signals) -> None:
        assert self._broker is not None
        self._send(number)
        self._broker.wait(START_SECONDS)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@contextmanager
def running(tls: Path | None = None) -> Iterator[RabbitMQ]:
    """A broker of one's own, gone at the end. The caller has seen that SERVER is there."""
    folder = Path(tempfile.mkdtemp(prefix="coffret-rabbitmq-"))
    broker = RabbitMQ(folder, tls)
    try:
        broker.start()
        yield broker
    finally:
        broker.close()
        shutil.rmtree(folder, ignore_errors=True)
