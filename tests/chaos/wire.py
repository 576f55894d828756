"""A connection to a server that may be cut, whatever is said over it."""

import contextlib
import socket
import threading

from proxying import Proxy


class Wire(Proxy):
    """Forwards all bytes, both ways."""

    def _serve(self, client: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            self._noted(client),
            self._noted(socket.create_connection(self._target)) as server,
        ):
            back = threading.Thread(target=_forward, args=[server, client], daemon=True)
            back.start()
            _forward(client, server)
            back.join()


def _forward(source: socket.socket, target: socket.socket) -> None:
    """Until one of them closes; then both are."""
    with contextlib.suppress(OSError):
        while some := source.recv(65536):
            target.sendall(some)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
