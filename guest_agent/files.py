"""Files that appear whole or not at all."""

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
