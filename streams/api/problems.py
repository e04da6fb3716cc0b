"""Errors as RFC 9457 problems: every one names what was found, what is allowed and the nearest valid name.

    Problem
    ├── unauthorized                                   401
    ├── forbidden                                      403
    ├── unknown-kpi, unknown-finding, not-found        404
    ├── method-not-allowed                             405
    ├── no-embed-key                                   409
    ├── wrong-host                                     421
    ├── unknown-parameter, unknown-dimension,
    │   invalid-parameter, invalid-cursor,
    │   too-many-rows                                  422
    ├── too-many-requests                              429
    ├── internal                                       500
    └── no-snapshot, query-too-long                    503
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from tieout.streams.api.encoding import to_json
from tieout.streams.api.headers import HEADERS

MEDIA_TYPE: Final = "application/problem+json"

log = logging.getLogger(__name__)

# What each problem means, for the documentation page; the type of a problem is `/docs#problem-<name>`.
KINDS: Final = {
    "unauthorized": "A token is needed, and the one that was sent, if any, is not known or no longer valid.",
    "forbidden": "The token does not have the scope that this address needs, or another site's page asked.",
    "no-embed-key": "No key to sign embed tokens with is configured.",
    "wrong-host": "Without tokens, only requests to this machine's own names are answered.",
    "too-many-rows": "The query would return more rows than allowed: narrow it.",
    "too-many-requests": "The token's rate is used up; Retry-After says for how many seconds.",
    "too-many-streams": "This process has as many live streams as it may; another one, or polling, is the way out.",
    "query-too-long": "The query was stopped at its deadline: narrow it.",
    "unknown-kpi": "There is no KPI of this id; GET /v1/kpis lists them.",
    "unknown-finding": "There is no finding of this id.",
    "not-found": "There is nothing at this address.",
    "method-not-allowed": "The address exists, but not for this method.",
    "unknown-parameter": "The query has a parameter that this address does not know.",
    "unknown-dimension": "The KPI has no cells by this dimension.",
    "invalid-parameter": "A parameter has a value that is not allowed.",
    "invalid-cursor": "The cursor was not made by this address with these filters.",
    "no-snapshot": "The analyst snapshot that holds history and rows has not been published yet.",
    "http-error": "The request was refused.",
    "internal": "The fault is ours; the log of the process has the details.",
}


class Problem(Exception):
    """An answer that is not the one asked for; `name` is a key of KINDS, the extras become members."""

    def __init__(
        self, status: int, name: str, title: str, detail: str, /, headers: Mapping[str, str] | None = None,
        **extras: Any,
    ) -> None:  # fmt: skip
        super().__init__(detail)
        self.status, self.name, self.title, self.detail = status, name, title, detail
        self.headers = dict(headers or {})
        self.extras = {key: value for key, value in extras.items() if value is not None}

    def body(self) -> dict[str, Any]:
        """The members of the problem document."""
        head = {"type": f"/docs#problem-{self.name}", "title": self.title, "status": self.status, "detail": self.detail}
        return head | self.extras

    def response(self) -> Response:
        """The problem as an HTTP response that no cache keeps."""
        headers = {**self.headers, "Cache-Control": "no-store"}
        return Response(to_json(self.body()), self.status, headers, MEDIA_TYPE)


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The name most like `word`, or None when none is near."""
    folded = {name.lower(): name for name in names}
    matches = get_close_matches(word.lower(), folded, n=1, cutoff=0.5)
    return folded[matches[0]] if matches else None


def unknown_kpi(kpi: str, known: Sequence[str]) -> Problem:
    """404 for a KPI id that the catalogue does not have."""
    return Problem(
        404, "unknown-kpi", "Unknown KPI", f"There is no KPI {kpi!r}.",
        did_you_mean=nearest(kpi, known), allowed=list(known),
    )  # fmt: skip


def unknown_parameter(name: str, allowed: Sequence[str]) -> Problem:
    """422 for a query parameter that an address does not know."""
    return Problem(
        422, "unknown-parameter", "Unknown parameter", f"This address has no parameter {name!r}.",
        parameter=name, did_you_mean=nearest(name, allowed), allowed=list(allowed),
    )  # fmt: skip


def unknown_dimension(kpi: str, dimension: str, allowed: Sequence[str]) -> Problem:
    """422 for a filter or a breakdown by a dimension that the KPI's cells do not carry."""
    return Problem(
        422, "unknown-dimension", "Unknown dimension", f"KPI {kpi!r} has no dimension {dimension!r}.",
        parameter=dimension, did_you_mean=nearest(dimension, allowed), allowed=list(allowed),
    )  # fmt: skip


def no_snapshot(detail: str) -> Problem:
    """503 while the sink has not published anything yet."""
    return Problem(503, "no-snapshot", "No snapshot yet", detail)


def install(app: FastAPI) -> None:
    """Answer every error of the application as a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _internal)


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    parameter = str(first["loc"][-1])
    expected = str(first.get("ctx", {}).get("expected", "")).replace(" or ", ",").split(",")
    allowed = [choice for part in expected if (choice := part.strip(" '"))]
    found = first.get("input")
    return Problem(
        422, "invalid-parameter", "Invalid parameter", f"{parameter}: {first['msg']}; found {found!r}.",
        parameter=parameter, allowed=allowed or None, did_you_mean=nearest(str(found), allowed),
    ).response()  # fmt: skip


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    name = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "http-error")
    title = HTTPStatus(error.status_code).phrase
    detail = f"{request.method} {request.url.path}: {title.lower()}."
    response = Problem(error.status_code, name, title, detail).response()
    response.headers.update(error.headers or {})
    return response


async def _internal(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, getattr(request.scope.get("route"), "path", "(none)"), exc_info=error)
    # Answered outside of every middleware, so it brings the headers itself.
    detail = "This could not be answered; the log has the reason."
    return Problem(500, "internal", "Internal error", detail, headers=HEADERS).response()
