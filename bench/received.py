"""`coffret` with each request of the API that it gets noted: `python -m bench.received FILE ARGUMENTS…`.

The file gets a line a request: the method, and the path.
"""

import sys
from pathlib import Path

from flask import Flask, request, request_started

from control_plane import cli


def note_requests(file: Path) -> None:
    """From now on, for all of this process and its forks."""
    out = file.open("a", buffering=1)

    def note(_: Flask, **__: object) -> None:
        if request.path.startswith("/v1/"):
            out.write(f"{request.method} {request.full_path}\n")

    request_started.connect(note, weak=False)


def received(file: Path) -> list[str]:
    return file.read_text().splitlines()


if __name__ == "__main__":
    note_requests(Path(sys.argv[1]))
    del sys.argv[1]
    cli.main(prog_name="coffret")
