"""MariaDB's nodes that replicate to each other by Galera."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pymysql
from rabbitmq import free_ports
from stores import MariaDB

PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")
SYNC_WAIT = 7
"""A statement sees what any node has committed before it began: docs/operators/state-database.md."""


class Node(MariaDB):
    name = "galera"

    def __init__(self, folder: Path, port: int, group: Sequence[int], number: int) -> None:
        """`group`: the ports at which the nodes speak to each other; the first one begins the cluster."""
        super().__init__(folder, port)
        self._group = group
        self._number = number
        self._transfer = free_ports(2)

    def command(self) -> Sequence[str]:
        members = ",".join(f"127.0.0.1:{port}" for port in self._group)
        here = self._group[self._number]
        options = {
            "base_port": here, "gmcast.listen_addr": f"tcp://127.0.0.1:{here}",
            "ist.recv_addr": f"127.0.0.1:{self._transfer[0]}", "gcache.size": "16M",
        }  # fmt: skip
        return [
            *super().command(), "--wsrep-on=ON", f"--wsrep-provider={PROVIDER}",
            "--wsrep-cluster-name=coffret", f"--wsrep-cluster-address=gcomm://{members}",
            "--wsrep-node-address=127.0.0.1", f"--wsrep-sync-wait={SYNC_WAIT}",
            f"--wsrep-provider-options={';'.join(f'{name}={value}' for name, value in options.items())}",
            "--wsrep-sst-method=rsync", f"--wsrep-sst-receive-address=127.0.0.1:{self._transfer[1]}",
            "--binlog-format=ROW", "--innodb-autoinc-lock-mode=2",
            *(["--wsrep-new-cluster"] if self._number == 0 else []),
        ]  # fmt: skip

    def answers(self) -> bool:
        with contextlib.suppress(pymysql.err.Error):
            return self._status("wsrep_ready") == "ON"
        return False

    @property
    def refused(self) -> int:
        """Transactions that met another node's, and were begun for nothing."""
        return sum(
            int(self._status(name)) for name in ("wsrep_local_cert_failures", "wsrep_local_bf_aborts")
        )

    @contextmanager
    def late(self) -> Iterator[None]:
        """Meanwhile it takes nothing from the others."""
        root = pymysql.connect(unix_socket=str(self.run / "s"), user="root")
        with root, root.cursor() as cursor:
            cursor.execute("FLUSH TABLES WITH READ LOCK")
            yield

    def kill(self) -> None:
        """As at a power failure. It is not started again."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def _status(self, name: str) -> str:
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute("SHOW STATUS LIKE %s", (name,))
            row = cursor.fetchone()
        assert row is not None, name
        value: str = row[1]
        return value


@contextmanager
def cluster(size: int = 3) -> Iterator[list[Node]]:
    """So many nodes of one cluster. Raises LookupError when the programs are not on this machine."""
    MariaDB.binaries()
    if not PROVIDER.exists() or shutil.which("rsync") is None:
        raise LookupError("apt-get install galera-4 rsync")
    folder = Path(tempfile.mkdtemp(prefix="coffret-galera-", dir="/tmp"))  # short paths for sockets
    folder.chmod(0o755)
    ports = free_ports(2 * size)
    nodes = [Node(folder / str(number), ports[number], ports[size:], number) for number in range(size)]
    try:
        for node in nodes:
            node.start()
        yield nodes
    finally:
        for node in reversed(nodes):
            node.stop()
        shutil.rmtree(folder)
