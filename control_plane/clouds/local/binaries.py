"""The engines' binaries on this machine, in a place where the engines' account can read them."""

import hashlib
import importlib
import os
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path

from control_plane.clouds.base import CloudError
from control_plane.clouds.local.account import readable
from guest_agent.engines.base import Account, EngineError


@dataclass
class Binaries:
    copies: Path
    """Folder for copies of binaries that the account cannot read, such as a virtual environment's."""
    account: Account | None
    _found: dict[tuple[str, str], Path] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, manager: str, version: str) -> Path | None:
        """The folder with the engine's programs; None when this version is not on this machine."""
        known = self._found.get((manager, version))
        if known is not None and known.is_dir():
            return known
        try:
            plugin = importlib.import_module(f"guest_agent.engines.{manager}")
            found: Path | None = plugin.find_binaries(version)
        except (ImportError, EngineError):
            return None
        if found is not None:
            self._found[manager, version] = found
        return found

    def usable(self, manager: str, version: str) -> Path:
        """As find(), copied first if need be. Raises CloudError."""
        found = self.find(manager, version)
        if found is None:
            raise CloudError(f"{manager} {version} is not on this machine any more; install it again.")
        if readable(found, self.account) and all(
            readable(item.resolve(), self.account) for item in found.iterdir()
        ):
            return found
        with self._lock:
            return self._copy(manager, found)

    def _copy(self, manager: str, found: Path) -> Path:
        """Copy the whole prefix, since programs look for their libraries beside their own folder."""
        source = found.parent if found.name == "bin" else found
        inside = found.relative_to(source)
        copy = self.copies / f"{manager}-{_mark(found)}"
        if not copy.is_dir():
            new = copy.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            try:
                shutil.copytree(source, new, symlinks=True)
                for folder, _, names in os.walk(new):
                    Path(folder).chmod(0o755)
                    for file in (Path(folder) / name for name in names):
                        if not file.is_symlink():
                            file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
                new.rename(copy)
            except OSError as error:
                shutil.rmtree(new, ignore_errors=True)
                raise CloudError(f"The binaries of {manager} cannot be copied: {error}") from error
        return copy / inside


def _mark(folder: Path) -> str:
    """Changes when the programs in the folder are other ones."""
    seen = sorted((item.name, item.stat().st_size, int(item.stat().st_mtime)) for item in folder.iterdir())
    return hashlib.sha256(repr((str(folder), seen)).encode()).hexdigest()[:12]
