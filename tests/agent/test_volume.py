"""The agent's data volume, on real block devices."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guest_agent import volume
from guest_agent.engines.base import Account
from guest_agent.volume import Volume, VolumeError

CAP_SYS_RESOURCE = 24
MIB = 1 << 20
ID = "0d4a1a5e-4f0c-4c37-9d5a-6a2b8f6f3c11"
MINE = "6f1f1c5e-98c4-4f2e-9f0e-0c9f4f6e2a10"
OTHERS = "aa0e0d0c-1111-4222-8333-444455556666"


def call(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout.strip()


class Disk:
    """A loop device that udev would have named after the volume's id."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "disk"
        self.by_id = folder / "by-id"
        self.mount_point = folder / "volume"
        self.by_id.mkdir()
        self.make(256 * MIB)
        self.device = Path(call("losetup", "--find", "--show", self.file))
        self.attach()

    def make(self, size: int) -> None:
        with self.file.open("ab") as file:
            file.truncate(size)

    def attach(self, name: str = f"virtio-{ID[:20]}") -> None:
        (self.by_id / name).symlink_to(self.device)

    def detach(self) -> None:
        for link in self.by_id.iterdir():
            link.unlink()

    def grow(self, size: int) -> None:
        self.make(size)
        call("losetup", "--set-capacity", self.device)

    def volume(self, instance_id: str = MINE, account: Account | None = None) -> Volume:
        return Volume(ID, instance_id, self.mount_point, self.mount_point / "data", account, self.by_id)

    def unmount(self) -> None:
        if self.mount_point.is_mount():
            call("umount", self.mount_point)

    def content(self) -> str:
        """A digest of every byte."""
        os.sync()
        with self.device.open("rb") as disk:
            return hashlib.file_digest(disk, "sha256").hexdigest()

    def write(self, place: int, content: bytes) -> None:
        with self.device.open("r+b") as disk:
            disk.seek(place)
            disk.write(content)

    def space(self) -> int:
        return shutil.disk_usage(self.mount_point).total

    def close(self) -> None:
        self.unmount()
        call("losetup", "--detach", self.device)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        pytest.skip("needs root and loop devices, to format and mount")
    made = Disk(tmp_path)
    yield made
    made.close()


def test_a_blank_volume_is_formatted_and_mounted(disk: Disk, account: Account) -> None:
    disk.volume(account=account).ensure()
    assert disk.mount_point.is_mount()
    assert (disk.mount_point / "data").stat().st_uid == account.uid
    assert (disk.mount_point / "data").stat().st_mode & 0o777 == 0o700
    assert disk.space() > 200 * MIB
    options = call("findmnt", "--noheadings", "--output", "OPTIONS", disk.mount_point).split(",")
    assert {"rw", "nodev", "nosuid", "noexec"} <= set(options)


def test_a_volume_is_known_by_the_names_of_scsi_too(disk: Disk) -> None:
    disk.detach()
    disk.attach(f"scsi-0QEMU_QEMU_HARDDISK_{ID}")
    disk.volume().ensure()
    assert disk.mount_point.is_mount()


def test_data_is_there_after_a_reboot(disk: Disk) -> None:
    disk.volume().ensure()
    (disk.mount_point / "data/row").write_text("kept")
    disk.unmount()
    disk.volume().ensure()
    assert (disk.mount_point / "data/row").read_text() == "kept"


def test_data_is_there_after_a_crash(disk: Disk) -> None:
    """The disk as it was while mounted, with a journal that was not written back."""
    disk.volume().ensure()
    (disk.mount_point / "data/row").write_text("kept")
    os.sync()
    crashed = disk.file.with_name("crashed")
    shutil.copyfile(disk.file, crashed)
    disk.unmount()
    with crashed.open("rb") as content, disk.device.open("r+b") as device:
        shutil.copyfileobj(content, device)
    disk.volume().ensure()
    assert (disk.mount_point / "data/row").read_text() == "kept"


@pytest.mark.parametrize("mounted", [True, False], ids=["mounted", "detached"])
def test_the_filesystem_grows_with_the_volume(disk: Disk, mounted: bool) -> None:
    if not may_grow():
        pytest.skip("needs CAP_SYS_RESOURCE, to grow a mounted filesystem")
    kept = disk.volume()
    kept.ensure()
    (kept.data / "row").write_text("kept")
    if not mounted:
        disk.unmount()
        kept = disk.volume()
    disk.grow(512 * MIB)
    kept.ensure()
    assert disk.space() > 440 * MIB
    assert (kept.data / "row").read_text() == "kept"
    assert volume.used(disk.mount_point) < 64 * MIB


def may_grow() -> bool:
    status = Path("/proc/self/status").read_text()
    effective = int(status.split("CapEff:")[1].split()[0], 16)
    return bool(effective & 1 << CAP_SYS_RESOURCE)


def partition_table(disk: Disk) -> None:
    subprocess.run(["sfdisk", "--quiet", disk.device], input="label: gpt\n,,L\n", text=True, check=True)


def lvm(disk: Disk) -> None:
    disk.write(512, b"LABELONE" + bytes([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0]) + b"LVM2 001")


def luks(disk: Disk) -> None:
    disk.write(0, b"LUKS\xba\xbe\x00\x01aes" + bytes(500))


def damaged_superblock(disk: Disk) -> None:
    disk.volume().ensure()
    disk.unmount()
    disk.write(0, bytes(4096))


FOREIGN: dict[str, tuple[Callable[[Disk], object], str]] = {
    "ext4": (lambda disk: call("mkfs.ext4", "-q", "-F", disk.device), "it holds ext4"),
    "ext4 of the same name": (
        lambda disk: call("mkfs.ext4", "-q", "-F", "-L", "coffret", disk.device),
        "holds the data of instance",
    ),
    "swap": (lambda disk: call("mkswap", disk.device), "it holds swap"),
    "partition table": (partition_table, "it holds"),
    "LVM": (lvm, "it holds"),
    "LUKS": (luks, "it holds crypto_LUKS"),
    "bytes at the beginning": (lambda disk: disk.write(70_000, b"x"), "data of an unknown kind"),
    "bytes in the middle": (lambda disk: disk.write(128 * MIB, b"x"), "data of an unknown kind"),
    "bytes at the end": (lambda disk: disk.write(256 * MIB - 1, b"x"), "data of an unknown kind"),
    "our filesystem without its superblock": (damaged_superblock, "data of an unknown kind"),
    "another instance's": (lambda disk: made_for_another(disk), f"instance {OTHERS}"),
    "another instance's, half made": (lambda disk: cut_short(disk, OTHERS), "data of an unknown kind"),
}


def made_for_another(disk: Disk) -> None:
    disk.volume(OTHERS).ensure()
    disk.unmount()


@pytest.mark.parametrize("what", FOREIGN)
def test_data_that_is_not_the_instances_is_refused_and_left_as_it_is(disk: Disk, what: str) -> None:
    put, said = FOREIGN[what]
    put(disk)
    before = disk.content()
    with pytest.raises(VolumeError, match=f"Volume {ID} .*{said}"):
        disk.volume().ensure()
    assert not disk.mount_point.is_mount()
    assert disk.content() == before


def cut_short(disk: Disk, instance_id: str = MINE) -> None:
    """mkfs was killed before its superblock: there are tables, and the mark."""
    whole = disk.volume(instance_id)
    whole._format(disk.device)
    disk.write(1024, bytes(1024))
    disk.write(256 * MIB - 4096, whole._mark())


def test_formatting_that_was_cut_short_is_done_again(disk: Disk) -> None:
    cut_short(disk)
    disk.volume().ensure()
    assert disk.mount_point.is_mount()


def test_formatting_that_was_killed_at_any_moment_is_done_again(disk: Disk) -> None:
    """Killed for real, a little later each time, until it comes to its end."""
    disk.grow(2048 * MIB)
    kills = 0
    for delay in range(0, 400, 4):
        disk.write(0, bytes(8 * MIB))
        call("fallocate", "--punch-hole", "--offset", "0", "--length", "2048MiB", disk.file)
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            disk.volume()._prepare(disk.device)
            os._exit(0)
        with contextlib.suppress(ProcessLookupError):  # it ended already
            os.setpgid(child, child)  # whoever of the two comes first
        time.sleep(delay / 1000)
        done, _ = os.waitpid(child, os.WNOHANG)
        if not done:
            os.killpg(child, 9)
            os.waitpid(child, 0)
            kills += 1
        disk.volume().ensure()
        assert disk.mount_point.is_mount()
        disk.unmount()
        if done:
            break
    assert kills > 2


def test_a_crash_after_formatting_and_before_mounting_loses_nothing_later(disk: Disk) -> None:
    """The mark was still there when the filesystem was whole; a filesystem is never made again."""
    disk.volume()._format(disk.device)
    disk.write(256 * MIB - 4096, disk.volume()._mark())
    disk.volume().ensure()
    (disk.mount_point / "data/row").write_text("kept")
    disk.unmount()
    disk.volume().ensure()
    assert (disk.mount_point / "data/row").read_text() == "kept"


def test_a_volume_that_is_not_attached_is_said(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume, "_FIND_SECONDS", 0.2)
    disk.detach()
    with pytest.raises(VolumeError, match=f"Volume {ID} is not attached"):
        disk.volume().ensure()
    assert not disk.mount_point.exists()


def test_a_filesystem_that_went_read_only_is_said(disk: Disk) -> None:
    disk.volume().ensure()
    call("mount", "-o", "remount,ro", disk.mount_point)
    with pytest.raises(VolumeError, match="read-only"):
        disk.volume().ensure()


def test_another_disk_in_its_place_is_said(disk: Disk) -> None:
    call("mkdir", "-p", disk.mount_point)
    call("mount", "-t", "tmpfs", "tmpfs", disk.mount_point)
    with pytest.raises(VolumeError, match="Another disk"):
        disk.volume().ensure()
