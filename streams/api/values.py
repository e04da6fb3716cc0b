"""KPI values: cells added up, turned from base units into exact decimals, and put into the published form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final
from urllib.parse import urlencode

from tieout.reconcilers.quantities import HOUR_S, rounded
from tieout.streams.api.cells import LAG, Cells
from tieout.streams.api.encoding import instant
from tieout.streams.api.freshness import Freshness, Judge, State
from tieout.streams.api.live import TOTAL, Live, Row, Sum
from tieout.streams.sinks.catalogue import Kpi, Unit, decimals

MAIN: Final = "VALUE"
_MICROSECONDS: Final = 1_000_000

# Seconds in one of a unit, for cells counted in seconds or microseconds.
_SECONDS_IN: Final = {Unit.HOURS: HOUR_S, Unit.SECONDS: 1, Unit.DAYS: 24 * HOUR_S}

# KPIs of which a part is held back by open findings, so that the part at risk has a meaning.
AT_RISK: Final = frozenset({"unbilled_hours", "unbilled_value", "unbilled_ageing", "unpriced_hours"})


@dataclass(frozen=True, slots=True)
class Scope:
    """Which cells are meant: for each dimension the values that are wanted."""

    wanted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def where(self) -> Callable[[Row], bool] | None:
        """Whether a cell is meant; None when all are."""
        if not self.wanted:
            return None
        wanted = [(name, frozenset(values)) for name, values in self.wanted.items()]
        return lambda row: all(row[name] in values for name, values in wanted)

    def only(self, dimensions: Sequence[str]) -> Scope:
        """The part of it that these dimensions can express."""
        return Scope({name: values for name, values in self.wanted.items() if name in dimensions})

    def query(self) -> str:
        """The scope as the query of a link, with its question mark; empty when it is everything."""
        pairs = [(name, value) for name, values in self.wanted.items() for value in values]
        return f"?{urlencode(pairs)}" if pairs else ""


def unit_of(kpi: Kpi, measure: str, currency: str | None) -> str:
    """Unit of a row as in `v1.kpi`: 'h', '%', 'count', 's', or for money the currency's code."""
    unit = kpi.measures.get(measure, kpi.unit)
    return currency or unit.value if unit is Unit.MONEY else unit.value


def exact(kpi: Kpi, measure: str, total: Sum, currency: str | None) -> Decimal | None:
    """The value of added cells, rounded once, half away from zero; None for a ratio or mean of nothing."""
    unit = kpi.measures.get(measure, kpi.unit)
    if unit is Unit.MONEY:
        return decimal(Fraction(total.numerator, 10 ** decimals(currency or "XXX")), decimals(currency or "XXX"))
    number = Fraction(total.numerator)
    if total.denominator is not None:
        if total.denominator == 0:
            return None
        number /= total.denominator
    if unit is Unit.RATIO:
        number *= 100
    if unit in _SECONDS_IN:
        number /= _SECONDS_IN[unit] * (_MICROSECONDS if total.unit == "us" else 1)
    return decimal(number, decimals(unit.value))


def decimal(value: Fraction, places: int) -> Decimal:
    """`value` with so many decimals, half away from zero, every one written out."""
    return Decimal(rounded(value * 10**places)).scaleb(-places)


def row_of(kpi: Kpi, measure: str, currency: str | None, total: Sum) -> dict[str, Any]:
    """One added-up row: the value, its exact text, and the base units that add without rounding."""
    value = exact(kpi, measure, total, currency)
    return {
        "measure": measure, "currency": currency, "value": value, "exact": text(value),
        "unit": unit_of(kpi, measure, currency), "numerator": total.numerator, "denominator": total.denominator,
        "base_unit": total.unit,
    }  # fmt: skip


def together(kpi: Kpi, sums: Sequence[Sum]) -> Sum:
    """Sums as one: added, or the worst of them for a lag."""
    whole = Sum(sums[0].unit)
    for part in sums:
        whole.add({"numerator": part.numerator, "denominator": part.denominator})
    if kpi.id == LAG and whole.largest is not None:
        whole.numerator = whole.largest
    return whole


def text(value: Decimal | None) -> str | None:
    """A decimal with all its digits and no exponent."""
    return None if value is None else format(value, "f")


class Values:
    """Values of KPIs from the live rows."""

    def __init__(self, live: Live, judge: Judge, catalogue: Mapping[str, Kpi]) -> None:
        self.live, self.judge, self.catalogue = live, judge, catalogue
        self.cells = Cells(live, judge)

    def as_of(self) -> str | None:
        """The newest processing instant that was read."""
        return instant(self.live.as_of)

    def rows(self, kpi: Kpi, scope: Scope) -> list[dict[str, Any]]:
        """One row per measure and currency, in order; a KPI that adds up to nothing has the row 0."""
        sums = self.cells.sums(kpi.id, where=scope.where())
        ordered = sorted(sums.items(), key=lambda item: _order(item[0]))
        rows = [row_of(kpi, group[0], group[1], total) for group, total in ordered]
        return rows or self._nothing(kpi)

    def value(self, kpi: Kpi, scope: Scope | None = None) -> dict[str, Any]:
        """The published form of a value; with several currencies or measures they stand in `rows`."""
        scope = scope or Scope()
        rows = self.rows(kpi, scope)
        single = rows[0] if len(rows) == 1 else {"value": None, "exact": None, "unit": kpi.unit.value, "currency": None}
        fresh = self.freshness(kpi)
        return {
            "id": kpi.id,
            "title": kpi.title,
            **{name: single[name] for name in ("value", "exact", "unit", "currency")},
            "as_of": self.as_of(),
            "complete_through": instant(fresh.complete_through),
            "freshness": fresh.body(),
            "comparison": None,
            "at_risk": self.at_risk(kpi, scope),
            "explain": f"/v1/kpis/{kpi.id}/explain{scope.query()}",
            "scope": {name: list(values) for name, values in scope.wanted.items()},
            "rows": rows,
        }

    def breakdown(self, kpi: Kpi, by: str, scope: Scope, limit: int) -> list[dict[str, Any]]:
        """Rows by one dimension, largest first, and one for the rest; numerators add up to those of `rows`."""
        groups: dict[tuple[str, str | None], list[tuple[Any, Sum]]] = {}
        for (part, measure, currency), total in self.cells.sums(kpi.id, (by, *TOTAL), scope.where()).items():
            groups.setdefault((measure, currency), []).append((part, total))
        rows: list[dict[str, Any]] = []
        for (measure, currency), parts in sorted(groups.items(), key=lambda item: _order(item[0])):
            parts.sort(key=lambda pair: (-pair[1].numerator, str(pair[0])))
            rest = [total for _, total in parts[limit:]]
            shown: list[tuple[Any, Sum, int | None]] = [(part, total, None) for part, total in parts[:limit]]
            if rest:
                shown.append((None, together(kpi, rest), len(rest)))
            rows += [row_of(kpi, measure, currency, total) | {by: part, "rest_of": n} for part, total, n in shown]
        return rows

    def freshness(self, kpi: Kpi) -> Freshness:
        """Freshness of the KPI's sources; unknown until the topics have been read to their ends."""
        fresh = self.judge.freshness(kpi.id)
        if self.live.ready.is_set():
            return fresh
        return Freshness(State.UNKNOWN, fresh.complete_through, fresh.stale, "still reading the topics")

    def at_risk(self, kpi: Kpi, scope: Scope) -> dict[str, Any] | None:
        """The part of an unbilled KPI that open findings hold back, each hour once."""
        if kpi.id not in AT_RISK:
            return None
        hours, money = self.catalogue["held_hours"], self.catalogue["held_value"]
        held = self.rows(hours, scope.only(hours.dimensions))
        amounts = [row for row in self.rows(money, scope.only(money.dimensions)) if row["numerator"]]
        return {
            "hours": held[0]["value"],
            "amounts": [{name: row[name] for name in ("currency", "value", "exact")} for row in amounts],
            "findings": f"/v1/findings{scope.only(FINDING_SCOPE).query()}",
        }

    def _nothing(self, kpi: Kpi) -> list[dict[str, Any]]:
        """Nothing to add is 0 for what adds, nothing for a ratio, and unknown while the topics are being read."""
        total = Sum({Unit.HOURS: "s", Unit.MONEY: "minor"}.get(kpi.unit, "count"))
        row = row_of(kpi, MAIN, None, total)
        if kpi.unit is Unit.RATIO or "MEAN" in kpi.measures or not self.live.ready.is_set():
            row |= {"value": None, "exact": None}
        return [row]


FINDING_SCOPE: Final = ("le_code", "region", "practice", "project_code", "billing_cycle_id", "currency")


def _order(group: tuple[Any, ...]) -> tuple[bool, str, str]:
    measure, currency = group
    return measure != MAIN, measure, currency or ""
