"""Full disks: under the state database, and under an instance."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from deployment import SETTLING, STARTING, deployed
from serving import eventually, served

POSTGRESQL = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}


@contextmanager
def disk(folder: Path, mib: int) -> Iterator[None]:
    """A file system of so many MiB there."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mib}M,mode=0711", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("full disks are not tested: nothing can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full(folder: Path, mib: int) -> Iterator[None]:
    """No room is left on the folder's disk of so many MiB."""
    filler = folder / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(mib << 20))
    try:
        yield
    finally:
        filler.unlink()


@pytest.mark.chaos
def test_with_the_state_databases_disk_full_nothing_acknowledged_is_lost() -> None:
    with tempfile.TemporaryDirectory(prefix="coffret-disk-") as name, disk(Path(name), 4):
        folder = Path(name)
        with deployed("full", f"sqlite:///{folder}/coffret.db") as one:
            process = one.add("all")
            one.start()
            one.make("before")
            with one.clients_at_work(count=2, instances=4) as clients, full(folder, 4):
                eventually(lambda: "database or disk is full" in process.log(), STARTING)
                assert all(client.is_alive() for client in clients), "they try again"
            one.audit()


@pytest.mark.chaos
def test_an_instance_whose_disk_is_full_says_so_and_goes_on_once_there_is_room() -> None:
    with served() as one:
        instances = one.folder / "instances"
        instances.mkdir(mode=0o711)
        with disk(instances, 256):
            one.start()
            one.put("/instances/orders", POSTGRESQL)
            one.ready("/instances/orders", SETTLING)
            one.put("/instances/orders/databases/before", {})
            one.ready("/instances/orders/databases/before", SETTLING)
            try:
                with full(instances, 256):
                    one.put("/instances/orders/databases/shop", {})
                    eventually(
                        lambda: "No space left" in one.call("GET", "/instances/orders/databases/shop").text,
                        STARTING,
                    )
                for name in ("before", "shop"):
                    one.ready(f"/instances/orders/databases/{name}", SETTLING)
                one.ready("/instances/orders", SETTLING)
            finally:
                one.call("DELETE", "/instances/orders")
                eventually(lambda: one.call("GET", "/instances/orders").status_code == 404, SETTLING)
