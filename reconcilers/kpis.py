"""KPIs as retractable sums: what an entry, a finding or a plan contributes to which cells; change is add and retract.

A cell's key carries every dimension; readers add cells over axis and partition. Sums are integers in base units:
seconds, minor units of one currency, counts, microseconds.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from tieout.reconcilers import lags
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.outcomes import Outcome, Output


class Cell(NamedTuple):
    """The identity of a cell, without axis and partition."""

    kpi: str
    unit: str
    measure: str = "VALUE"
    le_code: str | None = None
    region: str | None = None
    practice: str | None = None
    project_code: str | None = None
    billing_cycle_id: str | None = None
    currency: str | None = None
    state: str | None = None
    hold_code: str | None = None
    work_date: int | None = None
    source: str | None = None
    object: str | None = None


MEAN: Final = "MEAN"
BUCKET: Final = "BUCKET"  # cells of which percentiles are made when they are read
OWN_MONEY: Final = frozenset(("INVOICE_DUPLICATE",))  # checks on entries with an impact beside what is unbilled


class Amount(NamedTuple):
    """What a contribution adds: a numerator and, for ratios, a denominator."""

    numerator: int
    denominator: int | None = None


Contribution = Mapping[Cell, Amount]


class Cells:
    """The cells of one partition and who contributes what to them."""

    def __init__(self, axis: Axis, partition: int) -> None:
        self._axis, self._partition = axis, partition
        self._sums: dict[Cell, Amount] = {}
        self._given: dict[Hashable, Contribution] = {}
        self._dirty: set[Cell] = set()

    def give(self, who: Hashable, contribution: Contribution) -> None:
        """Replace what `who` contributes: retract the old, add the new."""
        before = self._given.get(who, {})
        if before == contribution:
            return
        for cell, amount in before.items():
            self._add(cell, -amount.numerator, None if amount.denominator is None else -amount.denominator)
        for cell, amount in contribution.items():
            self._add(cell, amount.numerator, amount.denominator)
        if contribution:
            self._given[who] = contribution
        else:
            self._given.pop(who, None)

    def _add(self, cell: Cell, numerator: int, denominator: int | None) -> None:
        old = self._sums.get(cell, Amount(0))
        below = None if denominator is None and old.denominator is None else (old.denominator or 0) + (denominator or 0)
        self._sums[cell] = Amount(old.numerator + numerator, below)
        self._dirty.add(cell)

    def sums(self) -> dict[Cell, Amount]:
        """All cells that are not empty."""
        return {cell: amount for cell, amount in self._sums.items() if amount.numerator or amount.denominator}

    def forget_changes(self) -> None:
        """After a restore: what is here has been published with the checkpoint."""
        self._dirty.clear()

    def changed(self, now: int, complete_through: int | None) -> list[Outcome]:
        """Rows of `kpi.state` for the cells that moved since the last call; an empty cell is a tombstone."""
        changed = sorted(self._dirty, key=repr)
        self._dirty.clear()
        return [self._outcome(cell, now, complete_through) for cell in changed]

    def _outcome(self, cell: Cell, now: int, complete_through: int | None) -> Outcome:
        key = "|".join(["" if part is None else str(part) for part in (*cell, self._axis.value, self._partition)])
        amount = self._sums[cell]
        if not amount.numerator and not amount.denominator:
            del self._sums[cell]
            return Outcome(Output.KPI_STATE, key, None)
        row = {**cell._asdict(), "axis": self._axis.value, "partition": self._partition,
               "numerator": amount.numerator, "denominator": amount.denominator, "as_of": now,
               "complete_through": complete_through}
        return Outcome(Output.KPI_STATE, key, row)


def of_entry(row: Mapping[str, Any]) -> dict[Cell, Amount]:
    """K1, K2, K4 to K7: what a row of `time_entry.state` contributes."""
    return {**_unbilled(row), **dict(_time_to_bill(row)), **dict(_approval(row))}


def _time_to_bill(row: Mapping[str, Any]) -> Iterator[tuple[Cell, Amount]]:
    """K5: one sample an entry, weighted by its billed seconds; a credit takes it back."""
    if row["billed_s"] <= 0 or row["invoiced_at"] is None:
        return
    yield from _lag(row, "time_to_bill", "lag_d", lags.lag_s(row["worked_at"], row["invoiced_at"]), row["billed_s"])
    for stage, start, end in lags.STAGES:
        lag = lags.lag_s(row[start], row[end])
        if lag is not None:
            cell = Cell("time_to_bill_stages", "lag_d", MEAN, state=stage, **_place(row))
            yield cell, Amount(lag * row["billed_s"], row["billed_s"])


def _approval(row: Mapping[str, Any]) -> Iterator[tuple[Cell, Amount]]:
    """K6: from the first submission to the last approval, by the clock on the wall and in business hours."""
    if row["approved_s"]:
        wall = lags.lag_s(row["submitted_at"], row["approved_at"])
        yield from _lag(row, "approval_latency", "lag_h", wall, row["approved_s"])
        yield from _lag(row, "approval_latency_business", "lag_h", row["approval_business_s"], row["approved_s"])


def _lag(row: Mapping[str, Any], kpi: str, unit: str, lag: int | None, weight: int) -> Iterator[tuple[Cell, Amount]]:
    """The sample of a lag: for the mean, and in its bucket for the percentiles."""
    if lag is not None:
        yield Cell(kpi, unit, MEAN, **_place(row)), Amount(lag * weight, weight)
        yield Cell(kpi, unit, BUCKET, object=f"{lags.bucket_of(lag):02}", **_place(row)), Amount(weight)


def _place(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("le_code", "region", "practice", "project_code", "billing_cycle_id")}


def _unbilled(row: Mapping[str, Any]) -> dict[Cell, Amount]:
    if not row["unbilled_s"]:
        return {}
    dims = {name: row[name] for name in ("le_code", "region", "practice", "project_code", "billing_cycle_id", "state")}
    money = {**dims, "currency": row["currency"]}
    seconds, minor = row["unbilled_s"], row["unbilled_minor"]
    found = {
        Cell("unbilled_hours", "s", **dims): Amount(seconds),
        Cell("unbilled_ageing", "s", "HOURS", work_date=row["work_date"], **money): Amount(seconds),
    }
    if row["unpriced_s"]:
        found[Cell("unpriced_hours", "s", **dims)] = Amount(row["unpriced_s"])
    else:
        found[Cell("unbilled_value", "minor", **money)] = Amount(minor)
        found[Cell("unbilled_ageing", "minor", "VALUE", work_date=row["work_date"], **money)] = Amount(minor)
    if row["held_s"]:
        found[Cell("held_hours", "s", hold_code=row["top_hold"], **dims)] = Amount(row["held_s"])
        if not row["unpriced_s"]:
            found[Cell("held_value", "minor", hold_code=row["top_hold"], **money)] = Amount(row["held_minor"])
    return found


def of_finding(row: Mapping[str, Any]) -> dict[Cell, Amount]:
    """K16: an open finding counts once; its money counts here unless it is that of time entries, which share it."""
    if row["status"] not in ("OPEN", "ACK"):
        return {}
    dims = {name: row[name] for name in ("le_code", "region", "practice", "project_code", "billing_cycle_id")}
    found = {Cell("open_findings", "count", state=row["severity"], hold_code=row["code"], **dims): Amount(1)}
    if not of_entries(row) and row["impact_minor"] and row["currency"]:
        found[Cell("exposure", "minor", currency=row["currency"], hold_code=row["code"], **dims)] = Amount(
            abs(row["impact_minor"]))
    return found


def of_entries(row: Mapping[str, Any]) -> bool:
    """Whether the finding's members are time entries, whose exposure is a union and not a sum."""
    return bool(row["entity"] == "time_entry" or (row["code"] == "RATE_MISMATCH" and row["facet"] != "CARD_DIVERGED"))


def exposure_of_entry(row: Mapping[str, Any], codes: Iterable[str]) -> dict[Cell, Amount]:
    """An entry with open findings is exposed once, with its unbilled value, under its top hold or its first code."""
    named = sorted(codes)
    if not named or not row["unbilled_minor"]:
        return {}
    dims = {name: row[name] for name in ("le_code", "region", "practice", "project_code", "billing_cycle_id")}
    cell = Cell("exposure", "minor", currency=row["currency"], hold_code=row["top_hold"] or named[0], **dims)
    return {cell: Amount(row["unbilled_minor"])}


def of_counts(counts: Mapping[str, Mapping[str, int]],
              healed: Mapping[str, int]) -> Iterator[tuple[Hashable, Contribution]]:
    """K19 and K20: running totals as contributions."""
    for place, totals in counts.items():
        source, _, name = place.partition("|")
        yield ("events", place), {Cell("events", "count", measure, source=source, object=name): Amount(total)
                                  for measure, total in totals.items() if total}
    for code, total in healed.items():
        yield ("healed", code), {Cell("inflight_mismatches", "count", hold_code=code): Amount(total)}
