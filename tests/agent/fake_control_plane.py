"""The agent's side of a control plane: a real HTTP server for one instance."""

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from guest_agent.protocol import SECRET_HEADER, Report

Predicate = Callable[[Report], bool]


class ControlPlane:
    """Everything it was sent is in `reports`; `directive` is what it wants."""

    def __init__(self, tls: Path | None = None) -> None:
        """`tls`: folder with tls.pem and tls.key; plain HTTP without."""
        self._tls = tls
        self.changed = threading.Condition()
        self.token: str | None = "token-1"
        self.secret: str | None = None
        self.next_secret: str | None = None
        """Handed out with every answer; the only one once it was used."""
        self.secrets_given = 0
        self.lose_register_answer = False
        self.gone = False
        self.parks = True
        self.retry_after = "0"
        self.late = 0.0
        """Seconds that the answer to a parked sync is on its way."""
        self.directive: dict[str, Any] | None = None
        self.reports: list[Report] = []
        self.syncs_parked = 0
        self._connections: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self.up()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    def up(self) -> None:
        plane = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                plane._connections.add(self.connection)

            def finish(self) -> None:
                plane._connections.discard(self.connection)
                super().finish()

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = plane._answer(self.path, body, self.headers.get("Authorization"))
                if answer is None:
                    self.close_connection = True
                    return
                status, content = answer
                text = b"" if content is None else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Retry-After", plane.retry_after)
                if plane.next_secret is not None:
                    self.send_header(SECRET_HEADER, plane.next_secret)
                if status != 304:
                    self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass  # agents that were killed

        self._server = Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        if self._tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._tls / "tls.pem", self._tls / "tls.key")
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        """Vanish, with all connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
            for connection in list(self._connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def want(self, directive: dict[str, Any]) -> None:
        with self.changed:
            self.directive = directive
            self.changed.notify_all()

    def wait_for(self, holds: Predicate, timeout: float = 30) -> Report:
        """The first report, of those to come or the newest, for which `holds`."""
        with self.changed:
            seen = max(0, len(self.reports) - 1)
            deadline = time.monotonic() + timeout
            while True:
                for report in self.reports[seen:]:
                    if holds(report):
                        return report
                seen = len(self.reports)
                if not self.changed.wait(deadline - time.monotonic()):
                    last = self.reports[-1] if self.reports else None
                    raise AssertionError(f"no such report; the last one: {last}")

    def _answer(
        self, path: str, body: dict[str, Any], authorization: str | None
    ) -> tuple[int, dict[str, Any] | None] | None:
        if path == "/agent/v1/register":
            with self.changed:
                if self.token is None or body["bootstrap_token"] != self.token:
                    return 401, {"title": "Unauthorized", "detail": "no such token"}
                self.token = None
                self.secrets_given += 1
                self.secret = f"secret-{self.secrets_given}"
                if self.lose_register_answer:
                    return None
                return 200, {"secret": self.secret}
        with self.changed:
            if self.gone:
                return 410, None
            if self.next_secret is not None and authorization == f"Bearer i-1.{self.next_secret}":
                self.secret, self.next_secret = self.next_secret, None
            if authorization != f"Bearer i-1.{self.secret}":
                return 401, {"title": "Unauthorized"}
            self.reports.append(body)  # type: ignore[arg-type]
            self.changed.notify_all()
            self.syncs_parked += 1
            self.changed.wait_for(
                lambda: self.gone or self._news_for(body) or self._server is None,
                body["wait"] if self.parks else 0,
            )
            self.syncs_parked -= 1
            if self._server is None:
                return None
            if self.gone:
                return 410, None
            answer = (200, self.directive) if self._news_for(body) else (304, None)
        time.sleep(self.late if body["wait"] else 0)
        return answer

    def _news_for(self, report: dict[str, Any]) -> bool:
        return self.directive is not None and self.directive["etag"] != report["etag"]
