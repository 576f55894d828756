"""Load: how many requests a second a server answers to clients that keep their connections."""

import selectors
import socket
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from urllib.parse import urlsplit

PROCESSES = 2
CONNECTIONS = 8
"""Of each process. Together a few more than a worker of gunicorn can have in hand at once."""


def requests_per_second(url: str, token: str, seconds: float) -> float:
    """Raises RuntimeError when an answer is not 200."""
    with ProcessPoolExecutor(PROCESSES) as pool:
        return sum(pool.map(partial(_client, url, token), [seconds] * PROCESSES))


def _client(url: str, token: str, seconds: float) -> float:
    """One request in flight a connection; counts what is answered after a fifth of the time."""
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    request = (
        f"GET {parts.path}{query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Authorization: Bearer {token}\r\nAccept: application/json\r\n\r\n"
    ).encode()
    buffer = bytearray(1 << 20)
    left: dict[socket.socket, int] = {}
    with selectors.DefaultSelector() as ready:
        for _ in range(CONNECTIONS):
            connection = socket.create_connection((parts.hostname, parts.port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ready.register(connection, selectors.EVENT_READ)
            connection.sendall(request)
            left[connection] = 0
        answered = 0
        now = time.perf_counter()
        begin, end = now + seconds / 5, now + seconds
        while now < end:
            for key, _ in ready.select(1):
                connection = key.fileobj  # type: ignore[assignment]
                size = connection.recv_into(buffer)
                left[connection] = (left[connection] or _length(buffer, size)) - size
                if not left[connection]:
                    connection.sendall(request)
                    answered += now > begin
            now = time.perf_counter()
        for connection in left:
            connection.close()
    return answered / (end - begin)


def _length(buffer: bytearray, size: int) -> int:
    """Bytes of the answer that begins in the buffer, its head included."""
    end = buffer.find(b"\r\n\r\n", 0, size)
    head = bytes(buffer[:end]).lower()
    _, found, rest = head.partition(b"content-length: ")
    if end < 0 or not found or not head.startswith(b"http/1.1 200"):
        raise RuntimeError(f"the server answers {bytes(buffer[: min(size, 300)])!r}")
    return end + 4 + int(rest.split(b"\r\n", 1)[0])
