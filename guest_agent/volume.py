"""The data volume of a guest on a cloud: found by its id, formatted once, mounted, grown.

docs/decisions/0010-the-data-volume.md says why it is recognised as it is.
"""

import logging
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from guest_agent.engines.base import Account, EngineError

LABEL = "coffret"
_OPTIONS = "nodev,nosuid,noexec,noatime,errors=remount-ro"
_BY_ID = Path("/dev/disk/by-id")
_FIND_SECONDS = 5.0
"""How long the kernel may take to show a disk that the cloud has attached."""
_EDGE = 4 << 20
_SAMPLE = 64 << 10
_SAMPLES = 64
_MARK_BYTES = 4096
_SLACK = 16 << 20
"""ext4 leaves out an end too small for a group of blocks; volumes grow by GiB."""
_PROGRAM_SECONDS = 3600.0
"""A check of a large filesystem takes its time."""
_REPAIRED = 1
"""https://man7.org/linux/man-pages/man8/e2fsck.8.html: exit codes are bits; above these it gave up."""
_REBOOT = 2

log = logging.getLogger(__name__)


class VolumeError(EngineError):
    """The volume cannot be used; the text says why and what would help. Nothing on it was changed."""


@dataclass
class Volume:
    """The volume whose filesystem has the instance's id as its UUID; no other is ever mounted.

    Its methods raise VolumeError.
    """

    id: str
    """Cinder's."""
    instance_id: str
    mount_point: Path
    data: Path
    """The engine's folder on it."""
    account: Account | None
    devices: Path = _BY_ID

    def ensure(self) -> None:
        """Make it mounted and as large as its disk; cheap when it is so already."""
        device = self._find()
        if self.mount_point.is_mount():
            self._check_mounted(device)
        else:
            self._prepare(device)
            self._mount(device)
        if _size(device) - _filesystem_size(device) > _SLACK:
            _run("resize2fs", device, fails="The filesystem of {} cannot be grown", volume=self.id)
            log.info("the filesystem of volume %s has %d bytes now", self.id, _filesystem_size(device))
        self._own_data()

    def _find(self) -> Path:
        """The disk, by the serial number that the cloud gives it: the volume's id or what fits of it."""
        deadline = time.monotonic() + _FIND_SECONDS
        while True:
            for name in _names(self.id):
                if (self.devices / name).exists():
                    return (self.devices / name).resolve()
            if time.monotonic() > deadline:
                raise VolumeError(
                    f"Volume {self.id} is not attached to this server: there is no disk of its id."
                )
            time.sleep(0.1)

    def _check_mounted(self, device: Path) -> None:
        if self.mount_point.stat().st_dev != device.stat().st_rdev:
            raise VolumeError(f"Another disk than volume {self.id} is mounted; restart the server.")
        if os.statvfs(self.mount_point).f_flag & os.ST_RDONLY:
            raise VolumeError(
                f"Volume {self.id} had errors and is read-only since; restart the server to have it mended."
            )

    def _prepare(self, device: Path) -> None:
        """Leave a whole filesystem of this instance on the disk; anything else there is refused."""
        found, marked = _probe(device), self._is_marked(device)
        if found.get("TYPE") == "ext4" and found.get("LABEL") == LABEL:
            if found.get("UUID") != self.instance_id:
                raise VolumeError(
                    f"Volume {self.id} holds the data of instance {found.get('UUID')},"
                    f" and this is {self.instance_id}; it is left as it is."
                )
            if marked:  # mkfs writes the superblock last, so it was done
                self._unmark(device)
            _check(device, self.id)
        elif marked:
            log.info("formatting volume %s again: that was cut short", self.id)
            self._format(device)
        elif not found and _blank(device):
            log.info("formatting volume %s", self.id)
            self._format(device)
        else:
            what = found.get("TYPE") or found.get("PTTYPE") or "data of an unknown kind"
            raise VolumeError(
                f"Volume {self.id} is not blank: it holds {what}, which Coffret did not make."
                " It is left as it is; delete the instance, or wipe the volume if nobody needs that."
            )

    def _format(self, device: Path) -> None:
        """Make the filesystem, with a mark in the last bytes, which are not its, while that is at work."""
        size = _size(device)
        _write(device, size - _MARK_BYTES, self._mark())
        blocks = (size - _MARK_BYTES) // 1024
        _run(
            "mkfs.ext4", "-q", "-F", "-L", LABEL, "-U", self.instance_id, "-m", "0",
            "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1", device, f"{blocks}k",
            fails="{} cannot be formatted", volume=self.id,
        )  # fmt: skip
        self._unmark(device)

    def _unmark(self, device: Path) -> None:
        _write(device, _size(device) - _MARK_BYTES, bytes(_MARK_BYTES))

    def _mark(self) -> bytes:
        return f"Coffret formats this for instance {self.instance_id}\n".encode().ljust(_MARK_BYTES, b"\0")

    def _is_marked(self, device: Path) -> bool:
        return _read(device, _size(device) - _MARK_BYTES, _MARK_BYTES) == self._mark()

    def _mount(self, device: Path) -> None:
        self.mount_point.mkdir(mode=0o755, parents=True, exist_ok=True)
        _run(
            "mount", "-t", "ext4", "-o", _OPTIONS, device, self.mount_point,
            fails="{} cannot be mounted", volume=self.id,
        )  # fmt: skip
        log.info("volume %s is mounted", self.id)

    def _own_data(self) -> None:
        self.data.mkdir(mode=0o700, exist_ok=True)
        if self.account is not None and self.data.stat().st_uid != self.account.uid:
            os.chown(self.data, self.account.uid, self.account.gid)


def used(folder: Path) -> int:
    """Bytes used on the volume mounted at `folder`, or under that folder where it is no mount."""
    if folder.is_mount():
        return shutil.disk_usage(folder).used
    blocks = 0
    for path, _, files in os.walk(folder):
        for name in files:
            try:
                blocks += os.lstat(os.path.join(path, name)).st_blocks  # noqa: PTH118 - fast path
            except OSError:
                continue  # the engine removes files as we look
    return blocks * 512


def _names(volume_id: str) -> Iterator[str]:
    """Names that udev gives a disk by its serial number; virtio's has room for 20 characters."""
    yield f"virtio-{volume_id[:20]}"
    for serial in (volume_id, volume_id[:20]):
        yield f"scsi-0QEMU_QEMU_HARDDISK_{serial}"


def _probe(device: Path) -> dict[str, str]:
    """What blkid knows of the disk by looking at it, not at its cache; empty when it knows nothing."""
    done = _call("blkid", "--probe", "--output", "export", device)
    if done.returncode == 8:
        return {"TYPE": "several kinds of data at once"}
    if done.returncode not in (0, 2):
        raise VolumeError(f"{device} cannot be looked at: {done.stderr.strip()}")
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def _blank(device: Path) -> bool:
    """Whether nothing but zeros is at either end, where signatures are, and in samples between."""
    size = _size(device)
    step = max(size // _SAMPLES, _SAMPLE)
    places = [(0, _EDGE), (max(size - _EDGE, 0), _EDGE)]
    places += [(start, _SAMPLE) for start in range(0, size, step)]
    return not any(_read(device, start, length).strip(b"\0") for start, length in places)


def _check(device: Path, volume_id: str) -> None:
    """Mend what a crash left, as far as that loses nothing."""
    done = _call("e2fsck", "-p", device)
    if done.returncode & ~(_REPAIRED | _REBOOT):
        words = (done.stdout + done.stderr).strip().splitlines() or [f"exit code {done.returncode}"]
        raise VolumeError(
            f"The filesystem of volume {volume_id} is damaged, and e2fsck does not mend it unasked:"
            f" {words[0]}. Run e2fsck on the volume, or restore a backup."
        )
    if done.returncode & _REPAIRED:
        log.warning("the filesystem of volume %s was mended: %s", volume_id, done.stdout.strip())


def _size(device: Path) -> int:
    """Bytes."""
    with device.open("rb") as disk:
        return disk.seek(0, os.SEEK_END)


def _filesystem_size(device: Path) -> int:
    """Bytes, as the superblock has it: https://docs.kernel.org/filesystems/ext4/super.html"""
    block = _read(device, 1024, 1024)
    blocks, shift, more = (int.from_bytes(block[at : at + 4], "little") for at in (0x4, 0x18, 0x150))
    return (blocks | more << 32) << (10 + shift)


def _read(device: Path, start: int, length: int) -> bytes:
    with device.open("rb") as disk:
        disk.seek(start)
        return disk.read(length)


def _write(device: Path, start: int, content: bytes) -> None:
    with device.open("r+b") as disk:
        disk.seek(start)
        disk.write(content)
        disk.flush()
        os.fsync(disk.fileno())


def _run(*command: str | Path, fails: str, volume: str) -> None:
    done = _call(*command)
    if done.returncode:
        words = done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
        raise VolumeError(f"{fails.format(f'Volume {volume}')}: {words}")


def _call(*command: str | Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROGRAM_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VolumeError(f"{command[0]} could not be run: {error}") from error
