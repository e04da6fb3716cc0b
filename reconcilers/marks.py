"""Instants of a record's life that its views do not show, kept when its versions are folded into one.

`created` is its first commit; `submitted` the first time it was handed in, by its own word where it states one;
`posted` the first time it was posted; `state`, `billed` and `approved_at` are the commits since which these attributes
have their values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

MARKS: Final = "$marks"  # asserted by the version that others were folded into
SINCE: Final = ("state", "billed", "approved_at")  # attributes of which it is kept since when they have their value


class Dated(Protocol):
    """A version, as far as it matters here."""

    @property
    def commit_us(self) -> int:
        """The commit instant."""

    @property
    def asserted(self) -> Mapping[str, Any]:
        """What it says."""


def of_versions(versions: Iterable[Dated]) -> dict[str, int]:
    """The marks of versions in order, those of earlier versions that were folded among them included."""
    found: dict[str, int] = {}
    values: dict[str, Any] = {}
    for version in versions:
        kept: Mapping[str, int] = version.asserted.get(MARKS) or {}
        found.update({name: at for name, at in kept.items() if name in SINCE or name not in found})
        values.update({name: version.asserted[name] for name in SINCE if name in kept})
        _note(found, values, version)
    return found


def _note(found: dict[str, int], values: dict[str, Any], version: Dated) -> None:
    said, at = version.asserted, version.commit_us
    found.setdefault("created", at)
    if said.get("submitted_at") is not None or said.get("state") == "SUBMITTED":
        found.setdefault("submitted", said.get("submitted_at") or at)
    if said.get("voucher") or said.get("state") in ("POSTED", "SENT", "PAID"):
        found.setdefault("posted", at)
    for name in SINCE:
        if name in said and (name not in values or values[name] != said[name]):
            values[name], found[name] = said[name], at
