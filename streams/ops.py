"""The operations server of a process: metrics and probes on a thread of its own, up before Kafka is.

`/livez` fails only when the process should be restarted; a rebalance or a recovery makes it unready, never dead.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, NamedTuple, Self

from tieout.streams.clock import monotonic_s
from tieout.streams.metrics import exposition
from tieout.streams.settings import Ops

Probe = Literal["live", "ready", "started"]
_PATHS: dict[str, Probe] = {"/livez": "live", "/readyz": "ready", "/startupz": "started"}

log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What a check found: whether it passes, and the measured value or reason."""

    ok: bool
    detail: str = ""


class Heartbeat:
    """A check that passes while somebody beats often enough: the loop that must not hang."""

    def __init__(self, *, within_s: float) -> None:
        self._within_s = within_s
        self._last_s = monotonic_s()

    def beat(self) -> None:
        """Say that the loop turns."""
        self._last_s = monotonic_s()

    def __call__(self) -> Answer:
        age_s = monotonic_s() - self._last_s
        return Answer(age_s <= self._within_s, f"{age_s:.1f} s since the last turn, limit {self._within_s:.0f} s")


class OpsServer:
    """Serves /metrics, /livez, /readyz and /startupz; a process is not started until `ready` checks passed once."""

    def __init__(self, ops: Ops, role: str) -> None:
        self.role = role
        self._ops = ops
        self._checks: dict[Probe, dict[str, Callable[[], Answer | bool]]] = {"live": {}, "ready": {}, "started": {}}
        self._started = False
        self._begun_s = monotonic_s()
        self._server: ThreadingHTTPServer | None = None

    def check(self, name: str, passes: Callable[[], Answer | bool], probe: Probe = "ready") -> None:
        """Add a check to a probe; `passes` is called from another thread and should only look at values."""
        self._checks[probe][name] = passes

    def start(self) -> Self:
        """Bind and serve; raises OSError with the address when the port is taken."""
        address = (self._ops.host, self._ops.port)
        try:
            self._server = ThreadingHTTPServer(address, _handler(self))
        except OSError as error:
            remedy = f"{address[0]}:{address[1]} (set TIEOUT_OPS__PORT, 0 takes any free port)"
            raise OSError(error.errno, f"{error.strerror}: {remedy}") from error
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="ops", daemon=True).start()
        log.info("metrics and probes on %s", self.url)
        return self

    @property
    def url(self) -> str:
        """Where it listens: 'http://127.0.0.1:9464'."""
        if self._server is None:
            raise RuntimeError("the operations server is not started")
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def stop(self) -> None:
        """Close the port."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def probe(self, probe: Probe) -> tuple[bool, dict[str, Any]]:
        """Run a probe's checks: whether all pass, and the body that says so check by check."""
        answers = {name: _run(passes) for name, passes in self._checks[probe].items()}
        ok = all(answer.ok for answer in answers.values())
        if probe == "ready" and ok:
            self._started = True
        if probe == "started" and not self._started:
            answers["ready_once"] = Answer(self.probe("ready")[0], "every readiness check has passed once")
            ok = all(answer.ok for answer in answers.values())
        return ok, {
            "status": "ok" if ok else "failed",
            "role": self.role,
            "uptime_seconds": round(monotonic_s() - self._begun_s, 1),
            "checks": {name: {"ok": answer.ok, "detail": answer.detail} for name, answer in answers.items()},
        }


def _run(passes: Callable[[], Answer | bool]) -> Answer:
    """A check that raises has failed; its exception is the detail."""
    try:
        answer = passes()
    except Exception as error:
        return Answer(False, f"{type(error).__name__}: {error}")
    return answer if isinstance(answer, Answer) else Answer(answer)


def _handler(ops: OpsServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version = "tieout"
        sys_version = ""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                body, kind = exposition()
                self._send(HTTPStatus.OK, body, kind)
            elif path in _PATHS:
                ok, answer = ops.probe(_PATHS[path])
                self._json(HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE, answer)
            else:
                self._json(HTTPStatus.NOT_FOUND, {"status": "unknown path", "paths": ["/metrics", *_PATHS]})

        def _json(self, status: HTTPStatus, answer: dict[str, Any]) -> None:
            self._send(status, json.dumps(answer).encode() + b"\n", "application/json")

        def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            log.debug(format, *args)

    return Handler
