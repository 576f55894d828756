"""Files that hold secrets, and are whole or not there."""

import os
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Replace `path`, readable by its owner only; a crash leaves the old text or the new one."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
