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
            try:
                return copied(found, self.copies / f"{manager}-{_mark(found)}")
            except OSError as error:
                raise CloudError(f"The binaries of {manager} cannot be copied: {error}") from error


def copied(found: Path, copy: Path) -> Path:
    """The folder of programs in a copy that everyone can read, made unless it is there. Raises OSError.

    Programs look for their libraries beside their own folder, so the whole prefix is copied, and where it
    is in a wheel the folder of libraries that auditwheel puts beside the wheel's package.
    """
    prefix = found.parent if found.name == "bin" else found
    root, parts = prefix, [prefix]
    for package in (prefix, *prefix.parents):
        libraries = package.parent / f"{package.name}.libs"
        if libraries.is_dir():
            root, parts = package.parent, [prefix, libraries]
            break
    if not copy.is_dir():
        new = copy.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        try:
            for part in parts:
                shutil.copytree(part, new / part.relative_to(root), symlinks=True)
            for folder, _, names in os.walk(new):
                Path(folder).chmod(0o755)
                for file in (Path(folder) / name for name in names):
                    if not file.is_symlink():
                        file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
            new.rename(copy)
        except OSError:
            shutil.rmtree(new, ignore_errors=True)
            raise
    return copy / found.relative_to(root)


def _mark(folder: Path) -> str:
    """Changes when the programs in the folder are other ones."""
    seen = sorted((item.name, item.stat().st_size, int(item.stat().st_mtime)) for item in folder.iterdir())
    return hashlib.sha256(repr((str(folder), seen)).encode()).hexdigest()[:12]
