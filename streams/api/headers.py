"""Headers of every answer, that keep a browser honest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

_NEVER_FRAMED: Final = "frame-ancestors 'self'"

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        f"default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; {_NEVER_FRAMED}"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def framed_by(ancestors: Iterable[str]) -> dict[str, str]:
    """Headers of an embed: nothing but our style sheet is loaded, and only these pages may show it."""
    allowed = " ".join(ancestors) or "'none'"
    policy = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'"
    return {
        "Content-Security-Policy": f"{policy}; frame-ancestors {allowed}",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
