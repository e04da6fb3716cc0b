"""A small HTTP server for tests that answers as it is told, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import NamedTuple

from tieout.streams.clock import now_us


class Asked(NamedTuple):
    """One request."""

    method: str
    path: str
    body: bytes
    authorization: str | None


class Reply(NamedTuple):
    """One answer; its clock may be ahead of ours."""

    status: int = 200
    body: str = "{}"
    ahead_s: float = 0.0


@contextmanager
def answering(reply: Callable[[Asked], Reply]) -> Iterator[tuple[str, list[Asked]]]:
    """The address of a server that runs while the block does, and the list that requests are added to."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            asked.append(Asked(self.command, self.path, self.rfile.read(length), self.headers.get("Authorization")))
            made = reply(asked[-1])
            self.send_response_only(made.status)
            self.send_header("Date", formatdate(now_us() / 1e6 + made.ahead_s, usegmt=True))
            self.send_header("Content-Length", str(len(made.body.encode())))
            self.end_headers()
            self.wfile.write(made.body.encode())

        do_GET = do_PUT = do_POST = _answer

        def log_message(self, format: str, *arguments: object) -> None:
            """Tests say what they need to."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
