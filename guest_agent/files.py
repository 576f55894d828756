"""Files that appear whole or not at all, and folders of the engine's own."""

import os
import tempfile
from pathlib import Path

from guest_agent.engines.base import Account


def write(path: Path, text: str, *, mode: int = 0o640, account: Account | None = None) -> None:
    """Write `text` beside `path` and move it there; it belongs to `account` where one is given.

    The new file has a fresh name, so nobody who may write to the folder can lead it elsewhere.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if account:
                os.fchown(file.fileno(), account.uid, account.gid)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def update(path: Path, text: str, account: Account | None) -> bool:
    """Make the file hold `text`, for `account` alone; True when it did not already."""
    try:
        if path.read_text() == text:
            return False
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    write(path, text, mode=0o600, account=account)
    return True


def own_folder(folder: Path, account: Account | None) -> None:
    """Make the folder exist and belong to the engine's account alone."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if account and folder.stat().st_uid != account.uid:
        os.chown(folder, account.uid, account.gid)
