"""Findings as people ask for them: filtered, ordered, in pages that stay put while rows change."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple

from tieout.reconcilers.quantities import HOUR_S, exponent, hours_text, money_text
from tieout.streams.api.encoding import instant
from tieout.streams.api.live import Row
from tieout.streams.api.problems import Problem
from tieout.streams.api.values import decimal, text
from tieout.streams.personal import masked_finding

OPEN: Final = ("OPEN", "ACK")
_INSTANTS: Final = ("onset_at", "deadline_at", "opened_at", "resolved_at", "updated_at")
_LISTS: Final = ("systems", "entries")
_SEVERITIES: Final = {"CRITICAL": 0, "HIGH": 1, "MEDIUM": 2, "LOW": 3}


def body(row: Row, *, detail: bool = False) -> dict[str, Any]:
    """A finding under the names of `v1.finding`, with its impact also in hours and money; `detail`: nothing masked."""
    row = row if detail else masked_finding(row)
    return {
        **row,
        **{name: instant(row[name]) for name in _INSTANTS},
        **{name: row[name].split("|") if row[name] else [] for name in _LISTS},
        "impact_hours": decimal(Fraction(row["impact_s"], HOUR_S), 4),
        "impact": impact(row),
        "impact_exact": text(impact(row)),
    }


def brief(row: Row) -> dict[str, Any]:
    """What an event says about a finding that changed; an event is for everybody, so it is masked."""
    row = masked_finding(row)
    names = ("finding_id", "code", "facet", "status", "severity", "queue", "business_key", "explanation", "currency")
    said = {name: row[name] for name in names}
    return {**said, "impact_exact": text(impact(row)), "updated_at": instant(row["updated_at"])}


def impact(row: Row) -> Decimal | None:
    """The money of a finding in major units, signed; None where it is not money."""
    if row["currency"] is None:
        return None
    places = exponent(row["currency"])
    return Decimal(row["impact_minor"]).scaleb(-places)


def impact_text(row: Row) -> str:
    """The impact for people: '5,625.00 GBP', else '7.50 h'."""
    if row["currency"] is not None and row["impact_minor"]:
        return money_text(row["impact_minor"], row["currency"])
    return hours_text(row["impact_s"]) if row["impact_s"] else "–"


def _by_impact(row: Row) -> tuple[Any, ...]:
    """Largest money first, in its own currency's major units; then hours, then severity. Nothing is converted."""
    money = abs(row["impact_minor"]) * 10_000 // 10 ** exponent(row["currency"]) if row["currency"] else 0
    return -money, -row["impact_s"], _SEVERITIES.get(row["severity"], 9)


def _by_age(row: Row) -> tuple[Any, ...]:
    return (row["onset_at"],)


def _by_newest(row: Row) -> tuple[Any, ...]:
    return (-row["updated_at"],)


def _by_severity(row: Row) -> tuple[Any, ...]:
    return _SEVERITIES.get(row["severity"], 9), *_by_impact(row)


ORDERS: Final[Mapping[str, Callable[[Row], tuple[Any, ...]]]] = {
    "impact": _by_impact,
    "severity": _by_severity,
    "age": _by_age,
    "updated": _by_newest,
}


@dataclass(frozen=True, slots=True)
class Query:
    """Which findings, in which order; a page starts after `after`."""

    wanted: Mapping[str, Sequence[str]]
    order: str = "impact"
    limit: int = 50
    cursor: str | None = None

    def name(self) -> str:
        """What a cursor belongs to: another filter or order cannot use it."""
        return json.dumps([self.order, sorted((name, sorted(values)) for name, values in self.wanted.items())])


class Page(NamedTuple):
    """Some findings of the `total` that match, and where the next page starts."""

    rows: list[Row]
    total: int
    next_cursor: str | None


def page(rows: Iterable[Row], query: Query) -> Page:
    """The page of a query; keyset pages, so a finding that opens or closes meanwhile moves no other one."""
    key = ORDERS[query.order]
    matching = [row for row in rows if all(row[name] in values for name, values in query.wanted.items())]
    keyed = sorted((((*key(row), row["finding_id"]), row) for row in matching), key=lambda pair: pair[0])
    start = _decode(query) if query.cursor else None
    rest = [row for place, row in keyed if start is None or place > start]
    some = rest[: query.limit]
    following = _encode(query, (*key(some[-1]), some[-1]["finding_id"])) if len(rest) > len(some) else None
    return Page(some, len(matching), following)


def _encode(query: Query, place: tuple[Any, ...]) -> str:
    return base64.urlsafe_b64encode(json.dumps([query.name(), *place]).encode()).decode().rstrip("=")


def _decode(query: Query) -> tuple[Any, ...]:
    try:
        padded = f"{query.cursor}{'=' * (-len(query.cursor or '') % 4)}"
        name, *place = json.loads(base64.urlsafe_b64decode(padded))
        if name != query.name() or len(place) != len(ORDERS[query.order](_BLANK)) + 1:
            raise ValueError("of another query")
        if not all(isinstance(part, int) for part in place[:-1]) or not isinstance(place[-1], str):
            raise ValueError("tampered with")
    except (ValueError, TypeError, binascii.Error):
        raise Problem(
            422, "invalid-cursor", "Invalid cursor",
            "The cursor is of another query: take next_cursor of the page before, with the same filters and order.",
            parameter="cursor",
        ) from None  # fmt: skip
    return tuple(place)


_BLANK: Final[Row] = {
    "impact_minor": 0, "impact_s": 0, "currency": None, "severity": "LOW", "onset_at": 0, "updated_at": 0,
}  # fmt: skip
