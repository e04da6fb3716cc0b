"""A schema registry behind HTTP, for tests: it can demand credentials, fail, and speak TLS."""

from __future__ import annotations

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tieout.streams.registry_memory import MemoryRegistry


class Served:
    """A registry behind an HTTP server that can demand credentials, fail, or answer as a proxy would."""

    def __init__(self) -> None:
        self.registry = MemoryRegistry()
        self.demands: str | None = None
        self.failures: list[int] = []  # statuses of the next answers
        self.down = False
        self.paths: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def secure(self, certificate: Path, key: Path) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        return f"https://localhost:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        served = self

        class Handler(BaseHTTPRequestHandler):
            def _any(self) -> None:
                served.paths.append(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if served.down or served.failures:
                    self._send(served.failures.pop(0) if served.failures else 503, b"<html>upstream</html>")
                elif served.demands not in (None, self.headers.get("Authorization")):
                    self._send(401, b'{"error_code": 401, "message": "Unauthorized"}')
                else:
                    answer = served.registry.call(self.command, self.path, json.loads(body) if body else None)
                    self._send(answer.status, json.dumps(answer.body).encode())

            do_GET = do_POST = do_PUT = _any

            def _send(self, status: int, data: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                pass

        return Handler
