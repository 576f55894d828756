"""How full the volume is."""

import os
import shutil
from pathlib import Path


def used(data: Path) -> int:
    """Bytes used on the volume mounted at `data`, or under that folder where it is no mount."""
    if data.is_mount():
        return shutil.disk_usage(data).used
    blocks = 0
    for folder, _, files in os.walk(data):
        for name in files:
            try:
                blocks += os.lstat(os.path.join(folder, name)).st_blocks  # noqa: PTH118 - fast path
            except OSError:
                continue  # the engine removes files as we look
    return blocks * 512
