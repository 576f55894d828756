"""Files written whole or not at all, for the engine's account alone."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from guest_agent.engines.base import Account, EngineError


@contextlib.contextmanager
def file_errors() -> Iterator[None]:
    """What the file system says as EngineError in its own words."""
    try:
        yield
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise EngineError(f"{error.strerror or error}{where}") from error
    except UnicodeError as error:
        raise EngineError(str(error)) from error


def write(path: Path, text: str, account: Account | None) -> bool:
    """Make `path` hold `text`, mode 0600; True when it did not already."""
    try:
        if path.read_text() == text:
            return False
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            if account:
                os.fchown(file.fileno(), account.uid, account.gid)
            os.fsync(file.fileno())
        Path(name).replace(path)
        os.utime(path)  # not before it is in place: later than any reload that missed it
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return True


def own_folder(path: Path, account: Account | None) -> None:
    """Make the folder exist and belong to the engine's account alone."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if account and path.stat().st_uid != account.uid:
        os.chown(path, account.uid, account.gid)
