"""gunicorn's worker with threads, and a bound on the time that a client may take of a thread.

A thread reads a request and writes its answer with a socket that blocks, so a hundred clients that stop in
the middle would hold all threads for as long as they like.
"""

import contextlib
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

from gunicorn.workers.gthread import ThreadWorker


@dataclass
class _Turn:
    """A thread's work for a connection."""

    began: float
    request: Any = None
    """gunicorn's, once its head has come."""

    @property
    def received(self) -> bool:
        if self.request is None:
            return False
        reader = self.request.body.reader  # of a body with a length, or in chunks
        return bool(getattr(reader, "length", None) == 0 or getattr(reader, "parser", reader) is None)


class PatientWorker(ThreadWorker):
    """Hears no more of a request that has not come whole in `request_seconds` of the settings, and hangs up
    on a client that has not taken its answer in `ANSWER_SECONDS`."""

    ANSWER_SECONDS = 120.0
    """From the request's beginning; the longest wait of an answer is about half of that."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turns: dict[Any, _Turn] = {}
        self._lock = threading.Lock()

    def handle(self, conn: Any) -> Any:
        with self._lock:
            self._turns[conn] = _Turn(time.monotonic())
        try:
            return super().handle(conn)
        finally:
            with self._lock:
                del self._turns[conn]

    def handle_request(self, req: Any, conn: Any) -> Any:
        self._turns[conn].request = req
        return super().handle_request(req, conn)

    def notify(self) -> None:
        """gunicorn calls this once a second."""
        super().notify()
        app: Any = self.wsgi
        limit = app.extensions["coffret_settings"].request_seconds
        now = time.monotonic()
        with self._lock:  # held, so that no connection is closed and its number another's meanwhile
            for conn, turn in self._turns.items():
                if now - turn.began > self.ANSWER_SECONDS:
                    _shut(conn.sock, socket.SHUT_RDWR)
                elif now - turn.began > limit and not turn.received:
                    _shut(conn.sock, socket.SHUT_RD)


def _shut(sock: socket.socket, how: int) -> None:
    """The thread that reads finds the end, and one that writes a broken pipe."""
    with contextlib.suppress(OSError):  # the client has gone
        socket.socket.shutdown(sock, how)  # not a TLS socket's own, which forgets its state at once
