"""Which folder is for what, and who may enter it."""

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from control_plane.clouds.base import CloudError
from control_plane.clouds.local.account import blocking_folder
from control_plane.settings import SettingsError
from guest_agent.engines.base import Account

LONGEST_RUN = 80
"""Bytes of a run folder's path: a socket's has at most 107."""


@dataclass(frozen=True)
class Places:
    root: Path
    passage: int
    """Mode of folders that only lead on to others: enterable when engines have another account."""
    run_root: Path

    @classmethod
    def open(cls, root: Path, account: Account | None) -> "Places":
        """Make the folders. Raises SettingsError when the engines' account cannot get in."""
        passage = 0o700 if account is None else 0o711
        mark = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:8]
        run_root = Path(tempfile.gettempdir()) / f"coffret-{os.geteuid()}-{mark}"
        places = cls(root, passage, run_root)
        if len(os.fsencode(run_root)) > LONGEST_RUN - 13:
            raise SettingsError(
                f"The folder for temporary files, {run_root.parent}, has too long a path for the"
                " sockets of the engines; set TMPDIR to a shorter one, such as /tmp."
            )
        try:
            for folder in (root, places.instances, places.ports, places.engines):
                make_folder(folder, passage)
        except OSError as error:
            raise SettingsError(f"COFFRET_DATA_DIR={root} cannot be used: {error}.") from error
        blocking = blocking_folder(places.instances, account)
        if account is not None and blocking is not None:
            mode = stat.S_IMODE(blocking.stat().st_mode)
            raise SettingsError(
                f"COFFRET_DATA_DIR={root}: the account {account.name!r}, which engines run as, cannot"
                f" enter {blocking} (mode {mode:04o}). Set COFFRET_DATA_DIR to a folder it can get to,"
                f" such as /var/lib/coffret, or let it pass with `chmod o+x {blocking}`."
            )
        return places

    @property
    def instances(self) -> Path:
        return self.root / "instances"

    @property
    def ports(self) -> Path:
        return self.root / "ports"

    @property
    def engines(self) -> Path:
        return self.root / "engines"

    def agent(self, instance_id: str) -> Path:
        return self.instances / instance_id / "agent"

    def volume(self, instance_id: str) -> Path:
        return self.instances / instance_id / "volume"

    def data(self, instance_id: str) -> Path:
        return self.volume(instance_id) / "data"

    def run(self, instance_id: str) -> Path:
        return self.run_root / instance_id.replace("-", "")[:12]

    def ensure_run_root(self) -> None:
        """Make the folder of sockets, which a reboot may wipe. Raises CloudError if it is not ours."""
        make_folder(self.run_root, self.passage)
        found = self.run_root.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise CloudError(f"{self.run_root} is not a folder of this account; remove it.")


def make_folder(folder: Path, mode: int) -> None:
    """Make a folder with just this mode, whatever the umask; one that is there keeps its own."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(mode)
