"""What every answer has: headers that keep a browser honest, its duration as a metric, and a line in the access log."""

from __future__ import annotations

import logging
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tieout.streams.api.access import CALLER
from tieout.streams.api.headers import HEADERS
from tieout.streams.clock import monotonic_s
from tieout.streams.metrics import histogram

log = logging.getLogger("tieout.streams.api.access_log")


class Guard:
    """Adds the headers and observes the duration until the answer begins, so that a stream is not a slow request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; everything but HTTP goes through untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun_s = monotonic_s()

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                _observe(scope, message["status"], monotonic_s() - begun_s)
            await send(message)

        try:
            await self._app(scope, receive, guarded)
        except Exception:  # answered outside of every middleware
            _observe(scope, 500, monotonic_s() - begun_s)
            raise


def _observe(scope: Scope, status: int, seconds: float) -> None:
    """Label and log with the route's pattern, never with the path that was asked for: paths are endless, and queries
    hold tokens and names.
    """
    route = getattr(scope.get("route"), "path", "(none)")
    method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
    histogram(
        "http_server_request_duration_seconds",
        http_request_method=method,
        http_route=route,
        http_response_status_code=str(status),
    ).observe(seconds)
    caller = scope.get(CALLER)
    level = logging.DEBUG if route in _QUIET and status < 400 else logging.INFO
    log.log(level, "%s %s %d %.1f ms %s", method, route, status, seconds * 1_000, caller.name if caller else "nobody")


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET: Final = frozenset({"/livez", "/readyz", "/startupz", "/metrics", "/static"})
