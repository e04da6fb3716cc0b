"""The one door of the API: every request passes here before any route sees it."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from tieout.streams.api.access import CALLER, EMBED, Access, Caller, needed
from tieout.streams.api.limits import Buckets
from tieout.streams.api.problems import Problem

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_PROBES: Final = frozenset({"/livez", "/readyz", "/startupz"})


class Gate:
    """Host, origin, identity, scope and rate, in this order; what fails is answered as a problem."""

    def __init__(self, app: ASGIApp, access: Access, buckets: Buckets, origins: frozenset[str]) -> None:
        self._app, self._access, self._buckets, self._origins = app, access, buckets, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an allowed request on, with its caller in the scope."""
        if scope["type"] == "http":
            try:
                self._admit(scope)
            except Problem as problem:
                await problem.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _admit(self, scope: Scope) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        self._check_origin(scope["method"], headers)
        if (need := needed(path)) is None and path not in _PROBES:
            self._count(_peer(scope))
            return
        caller = self._caller(scope, headers)
        if caller is not None:
            scope[CALLER] = caller
        if need is None:  # a probe: open to all, with its details for `ops`
            return
        self._count(caller.name if caller and caller.name != "anonymous" else _peer(scope))
        if caller is None:
            raise _unauthorized()
        if need not in caller.scopes:
            raise Problem(403, "forbidden", "Not allowed", f"This needs the scope {need}.", needs=need)

    def _caller(self, scope: Scope, headers: Headers) -> Caller | None:
        if scope["path"].startswith(EMBED):
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token")
            if given:
                try:
                    return self._access.bearer_of(given[0])
                except Problem:
                    self._count(_peer(scope))
                    raise
        return self._access.caller(headers.get("authorization", ""))

    def _check_origin(self, method: str, headers: Headers) -> None:
        host = headers.get("host", "")
        if not self._access.is_local(host):
            raise Problem(
                421, "wrong-host", "Not this host",
                "Without tokens only 127.0.0.1 and localhost are answered: another name may be another site's.",
            )  # fmt: skip
        origin = headers.get("origin")
        if method in _SAFE or origin is None or origin in self._origins or urlsplit(origin).netloc == host:
            return
        raise Problem(403, "forbidden", "Not allowed", "Pages of other origins may not do this (api.cors_origins).")

    def _count(self, who: str) -> None:
        if wait_s := self._buckets.take(who):
            raise Problem(
                429, "too-many-requests", "Too many requests", f"Ask again in {wait_s} s.",
                headers={"Retry-After": str(wait_s)},
            )  # fmt: skip


def _peer(scope: Scope) -> str:
    return f"from {(scope.get('client') or ('unknown',))[0]}"


def _unauthorized() -> Problem:
    return Problem(
        401, "unauthorized", "Not authorized", "Send a token: Authorization: Bearer …, or as the password of Basic.",
        headers={"WWW-Authenticate": 'Bearer realm="tieout", Basic realm="tieout", charset="UTF-8"'},
    )  # fmt: skip
