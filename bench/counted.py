"""`coffret` with every HTTP request that it sends noted: `python -m bench.counted FILE ARGUMENTS…`.

The file gets a line a request: the seconds since the epoch, the method, and the URL without its query. A
control plane on OpenStack sends requests to nobody but the cloud.
"""

import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from control_plane import cli

_ID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")


def note_requests(file: Path) -> None:
    """From now on, for all of this process and its forks."""
    out = file.open("a", buffering=1)
    send = HTTPAdapter.send

    def noted(self: HTTPAdapter, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        url = (request.url or "").partition("?")[0]
        out.write(f"{time.time():.3f} {request.method} {_ID.sub('{id}', url)}\n")
        return send(self, request, *args, **kwargs)

    HTTPAdapter.send = noted  # type: ignore[method-assign]


def requests_between(file: Path, begin: float, end: float) -> Counter[str]:
    """How often each method and URL was asked for in that time, in seconds since the epoch."""
    lines = [line.split(" ", 1) for line in file.read_text().splitlines()]
    return Counter(what for when, what in lines if begin <= float(when) < end)


if __name__ == "__main__":
    note_requests(Path(sys.argv[1]))
    del sys.argv[1]
    cli.main(prog_name="coffret")
