"""A connection to a server that may be cut or fall silent, whatever is said over it."""

import contextlib
import socket
import threading

from proxying import Proxy


class Wire(Proxy):
    """Forwards all bytes, both ways; swallows them while it is silent."""

    silent = False

    def _serve(self, client: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            self._noted(client),
            self._noted(socket.create_connection(self._target)) as server,
        ):
            back = threading.Thread(target=self._forward, args=[server, client], daemon=True)
            back.start()
            self._forward(client, server)
            back.join()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        """Until one of them closes; then both are."""
        with contextlib.suppress(OSError):
            while some := source.recv(65536):
                if not self.silent:
                    target.sendall(some)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
