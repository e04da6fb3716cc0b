"""How an answer is given: JSON or CSV, in the shape that a dashboard wants, with a strong ETag and 304."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from fastapi import Request, Response

from tieout.streams.api.encoding import to_csv, to_json

Format = Literal["json", "csv"]
Shape = Literal["object", "rows", "geckoboard"]

CACHE: Final = "private, max-age=5, stale-while-revalidate=60"
JSON: Final = "application/json"
CSV: Final = "text/csv; charset=utf-8; header=present"

_KEPT: Final = 256


def answer(request: Request, body: bytes, media_type: str = JSON) -> Response:
    """200 with the body, or 304 when the client has it already."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": CACHE, "Vary": "Accept, Authorization"}
    if _has(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, media_type)


def rows_answer(request: Request, rows: Sequence[Mapping[str, Any]], form: Format, columns: Sequence[str]) -> Response:
    """Flat rows: a JSON array at the root, which tools read without being told a path, or CSV with a header."""
    if form == "csv":
        return answer(request, to_csv(rows, columns), CSV)
    return answer(request, to_json(rows))


class Rendered:
    """Answers made from the snapshot, kept until the next one is published: a repeated question asks no database."""

    def __init__(self) -> None:
        self._kept: tuple[str | None, dict[str, tuple[bytes, str]]] = (None, {})

    def get(self, identity: str | None, question: str, make: Callable[[], tuple[bytes, str]]) -> tuple[bytes, str]:
        """The body and media type for a question, made at most once a snapshot."""
        kept = self._kept
        if kept[0] != identity or len(kept[1]) >= _KEPT:
            kept = self._kept = (identity, {})
        if question not in kept[1]:
            kept[1][question] = make()
        return kept[1][question]


def _has(header: str, tag: str) -> bool:
    """Whether an If-None-Match names the tag; compared weakly, as RFC 9110 wants for it."""
    tags = [part.strip().removeprefix("W/") for part in header.split(",")]
    return "*" in tags or tag in tags
