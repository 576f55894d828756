"""The configuration files, and what the file system says against them."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from guest_agent.engines.base import Account, EngineError
from guest_agent.files import update


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
    """Make `path` hold `text`, for the engine's account alone; True when it did not already."""
    if not update(path, text, account):
        return False
    os.utime(path)  # not before it is in place: later than any reload that missed it
    return True
