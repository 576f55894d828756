"""`coffret` on a cloud that fails it, as the variable CLOUD_FAULT says:

    CLOUD_FAULT=killed CLOUD_FAULT_LOG=FILE python faults.py serve

`killed`: once a request that changes something on the cloud has gone through, the whole service dies by
SIGKILL, before it has seen the answer.
`failing`: a request that changes something is answered 503 and does nothing, then goes through but its
answer is lost, and is well only at the third time. One that only looks is answered 503 once. So is each
kind of request, over all lives that share a log.

CLOUD_FAULT_LOG gets a line for each request that was hit: its method, path and action.
"""

import json
import os
import re
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import requests
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from control_plane import cli

_ID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")


class Log:
    """What was hit, by this life and those before it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._lines = Counter(file.read_text().splitlines())

    def hit(self, what: str, times: int) -> int:
        """Note one more hit of this kind. Returns which one it is; 0, noting nothing, after `times`."""
        with self._lock:
            if self._lines[what] == times:
                return 0
            self._lines[what] += 1
            with self._file.open("a") as out:
                out.write(f"{what}\n")
            return self._lines[what]


def kind(request: PreparedRequest) -> str:
    """Method and path without ids, and for a server's action its name."""
    path = _ID.sub("*", (request.path_url or "").partition("?")[0])
    if path.endswith("/action"):
        return f"{request.method} {path} {next(iter(json.loads(request.body or b'{}')))}"
    return f"{request.method} {path}"


def install(fault: str, log: Log) -> None:
    """Let the fault happen in the forks of this process: gunicorn's worker, not the check at the start."""
    send = HTTPAdapter.send
    master = os.getpid()

    def killed(self: HTTPAdapter, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        response = send(self, request, *args, **kwargs)
        if not _looks(request):
            log.hit(kind(request), -1)
            os.kill(master, signal.SIGKILL)  # first, or it would start another worker
            os.kill(os.getpid(), signal.SIGKILL)
        return response

    def failing(self: HTTPAdapter, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        match log.hit(kind(request), 1 if _looks(request) else 2):
            case 1:
                return _unavailable(request)
            case 2:
                send(self, request, *args, **kwargs).close()
                raise requests.ConnectionError("Connection aborted: no answer came", request=request)
            case _:
                return send(self, request, *args, **kwargs)

    faulty = {"killed": killed, "failing": failing}[fault]

    def sent(self: HTTPAdapter, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        logs_in = "/auth/tokens" in (request.path_url or "")
        spared = logs_in or os.getpid() == master
        return (send if spared else faulty)(self, request, *args, **kwargs)

    HTTPAdapter.send = sent  # type: ignore[method-assign]


def _looks(request: PreparedRequest) -> bool:
    return request.method in ("GET", "HEAD")


def _unavailable(request: PreparedRequest) -> Response:
    response = Response()
    response.status_code = 503
    response.reason = "Service Unavailable"
    response.url = request.url or ""
    response.request = request
    response.headers["Content-Type"] = "text/plain"
    response._content = b"The server is currently unavailable."
    return response


if __name__ == "__main__":
    install(os.environ.pop("CLOUD_FAULT"), Log(Path(os.environ.pop("CLOUD_FAULT_LOG"))))
    cli.main(prog_name="coffret")
