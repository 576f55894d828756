"""A proxy before a control plane: it tells of each write that passes, and cuts the network when told to."""

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator

PLACES = ("before", "unanswered", "answered")
"""Where a write is when it is told of: not yet forwarded; carried out and not answered; answered."""
Watch = Callable[[int, str], None]


class Proxy:
    """Forwards HTTP/1.1 to `port` of this machine. Dry runs are no writes."""

    def __init__(self, port: int) -> None:
        self.lead_to(port)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.port = 0
        self.watch(lambda number, place: None)
        self.restore()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def watch(self, watch: Watch) -> None:
        """Call `watch` with the number of each write, from 0 on, at each of PLACES."""
        self._watch, self._writes = watch, itertools.count()

    def lead_to(self, port: int) -> None:
        """Forward what is connected from now on to another port."""
        self._target = ("127.0.0.1", port)

    def cut(self) -> None:
        """Break all connections and refuse new ones."""
        with self._lock:
            if self._listener is not None:
                _close(self._listener)
                self._listener = None
            for connection in self._open:
                _close(connection)
            self._open.clear()

    def restore(self) -> None:
        """Take connections again."""
        with self._lock:
            if self._listener is None:
                self._listener = socket.create_server(("127.0.0.1", self.port))
                self.port = self._listener.getsockname()[1]
                threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), self._noted(client):
            while request := _message(client):
                if writes := _is_write(request):
                    number = next(self._writes)
                    self._watch(number, "before")
                with self._noted(socket.create_connection(self._target)) as server:
                    server.sendall(request)
                    answer = _message(server)
                if writes:
                    self._watch(number, "unanswered")
                if not answer:
                    return
                client.sendall(answer)
                if writes:
                    self._watch(number, "answered")

    @contextlib.contextmanager
    def _noted(self, connection: socket.socket) -> Iterator[socket.socket]:
        """The connection, for `cut` to break; closed at the end."""
        with connection:
            with self._lock:
                if self._listener is None:
                    raise ConnectionAbortedError
                self._open.add(connection)
            try:
                yield connection
            finally:
                with self._lock:
                    self._open.discard(connection)


def _close(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _is_write(request: bytes) -> bool:
    method, target, _ = request.split(b" ", 2)
    return method != b"GET" and b"dry_run" not in target


def _message(connection: socket.socket) -> bytes:
    """The next request or answer, whole; empty when the other side has closed."""
    text = b""
    while b"\r\n\r\n" not in text:
        if not (more := connection.recv(65536)):
            return b""
        text += more
    head, _, body = text.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
    assert b"transfer-encoding" not in fields, head
    while len(body) < int(fields.get(b"content-length", 0)):
        if not (more := connection.recv(65536)):
            return b""
        body += more
    return head + b"\r\n\r\n" + body
