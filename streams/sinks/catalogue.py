"""The KPI catalogue: what each KPI is called, means, is made of and which way is good.

The API, the command line and the comments in DuckDB read it here, so that a tile, a table and a query say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from tieout.reconcilers.quantities import exponent, rounded


class Direction(StrEnum):
    """Which way is good."""

    LOWER = "lower"  # less is better
    HIGHER = "higher"  # more is better
    NEUTRAL = "neutral"  # a measure of activity, not of quality


class Unit(StrEnum):
    """Unit of a KPI's value as people read it."""

    HOURS = "h"  # 4 decimals
    MONEY = "money"  # major units, with the exponent of its currency; `unit` of a row is the currency's code
    RATIO = "%"  # 1 decimal, half away from zero
    COUNT = "count"  # whole
    SECONDS = "s"  # 3 decimals
    DAYS = "d"  # 4 decimals


LAG_MEASURES: Final = ("MEAN", "P50", "P90")
ORGANISATION: Final = ("le_code", "region", "practice", "project_code", "billing_cycle_id")


@dataclass(frozen=True, slots=True)
class Kpi:
    """One KPI. `dimensions` are the columns of `v1.kpi` that its leaf cells fill."""

    id: str
    number: str  # K1 … K26 of the domain model
    title: str
    definition: str  # one sentence for people
    unit: Unit
    formula: str  # in words of the v1 columns
    direction: Direction
    dimensions: tuple[str, ...] = ORGANISATION
    measures: Mapping[str, Unit] = field(default_factory=dict)  # where they are more than VALUE

    @property
    def view(self) -> str:
        """The DuckDB view that recomputes the KPI from rows."""
        return f"v1.kpi_{self.id}"


KPIS: Final[tuple[Kpi, ...]] = (
    Kpi("unbilled_hours", "K1", "Unbilled approved hours",
        "Approved billable hours that no posted invoice covers and nobody wrote off, by billing state.",
        Unit.HOURS, "sum(unbilled_s) / 3600 over time entries", Direction.LOWER, (*ORGANISATION, "state")),
    Kpi("unbilled_value", "K2", "Unbilled approved value",
        "Value of the unbilled approved hours at the resolved rate; hours without a rate are in unpriced_hours.",
        Unit.MONEY, "sum(unbilled_minor) over time entries, per currency", Direction.LOWER,
        (*ORGANISATION, "currency", "state")),
    Kpi("unpriced_hours", "K2", "Unpriced unbilled hours",
        "Unbilled approved hours for which no rate could be resolved: part of unbilled_hours, not of unbilled_value.",
        Unit.HOURS, "sum(unpriced_s) / 3600 over time entries", Direction.LOWER, (*ORGANISATION, "state")),
    Kpi("held_hours", "K4", "Held hours",
        "Unbilled approved hours that a hold keeps from being billed, by the hold of highest precedence.",
        Unit.HOURS, "sum(held_s) / 3600 over time entries, by top_hold", Direction.LOWER,
        (*ORGANISATION, "state", "hold_code")),
    Kpi("held_value", "K4", "Held value",
        "Value of the held hours at the resolved rate, by the hold of highest precedence.",
        Unit.MONEY, "sum(held_minor) over time entries, by top_hold, per currency", Direction.LOWER,
        (*ORGANISATION, "currency", "state", "hold_code")),
    Kpi("time_to_bill", "K5", "Time to bill",
        "Days from the end of the day of the work to the posting of the invoice, weighted by billed hours; an entry "
        "that is credited takes its sample back, one that is billed in parts counts once, at the last part. "
        "An invoice of the day of the work took no days.",
        Unit.DAYS, "sum(billed_s * (invoiced_at - worked_at)) / sum(billed_s); percentiles from 60 geometric buckets",
        Direction.LOWER, ORGANISATION, dict.fromkeys(LAG_MEASURES, Unit.DAYS)),
    Kpi("time_to_bill_stages", "K5", "Time to bill by stage",
        "Mean days of each stage (state) on the way to the invoice: SUBMIT, APPROVE, ERP, READY and INVOICE.",
        Unit.DAYS, "differences of worked_at, submitted_at, approved_at, posted_at, ready_at and invoiced_at, weighted "
        "by billed_s", Direction.LOWER, (*ORGANISATION, "state"), {"MEAN": Unit.DAYS}),
    Kpi("approval_latency", "K6", "Approval latency",
        "Hours from the first submission of an entry to its last approval, weighted by approved hours; an approval "
        "that is repeated replaces its sample.",
        Unit.HOURS, "sum(approved_s * (approved_at - submitted_at)) / sum(approved_s); percentiles from 60 geometric "
        "buckets", Direction.LOWER, ORGANISATION, dict.fromkeys(LAG_MEASURES, Unit.HOURS)),
    Kpi("approval_latency_business", "K6", "Approval latency in business hours",
        "The same in business hours of the legal entity's zone.",
        Unit.HOURS, "sum(approved_s * approval_business_s) / sum(approved_s); percentiles likewise",
        Direction.LOWER, ORGANISATION, dict.fromkeys(LAG_MEASURES, Unit.HOURS)),
    Kpi("unbilled_ageing", "K7", "Unbilled ageing",
        "Unbilled hours and value by days since the work: 0-30, 31-45, 46-60, 61-90 and 90+; the bucket stands in "
        "state and is computed when it is read, since age changes without any event.",
        Unit.HOURS, "unbilled_s and unbilled_minor by bucket of as_of (UTC date) - work_date", Direction.LOWER,
        (*ORGANISATION, "currency", "state"), {"HOURS": Unit.HOURS, "VALUE": Unit.MONEY}),
    Kpi("assignment_sync_rate", "K13", "Assignment sync rate",
        "Share of the hard-booked weeks of a project and worker on which every required system agrees.",
        Unit.RATIO, "cells in tolerance / all HARD (project, worker, week) cells", Direction.HIGHER,
        ("le_code", "region", "practice", "project_code")),
    Kpi("unsynchronised_assignments", "K13", "Unsynchronised assignments",
        "Hard-booked weeks of a project and worker on which the required systems disagree or one has nothing.",
        Unit.COUNT, "all HARD (project, worker, week) cells - cells in tolerance", Direction.LOWER,
        ("le_code", "region", "practice", "project_code")),
    Kpi("open_findings", "K16", "Open findings",
        "Findings that are open or acknowledged, by severity (state) and check (hold_code).",
        Unit.COUNT, "count of findings with status OPEN or ACK", Direction.LOWER,
        (*ORGANISATION, "state", "hold_code")),
    Kpi("exposure", "K16", "Exposure",
        "Money that open findings are about: the unbilled value of the time entries they name, each entry once and "
        "under its hold of highest precedence, and the impact of findings that are not about entries, less that of "
        "SOURCE_STALE and SCHEMA_INCOMPATIBLE, which is money of entries.",
        Unit.MONEY, "sum(unbilled_minor) over the union of entries of open findings, plus sum(abs(impact_minor)) of "
        "the other open findings, per currency",
        Direction.LOWER, (*ORGANISATION, "currency", "hold_code")),
    Kpi("sync_lag", "K18", "Sync lag",
        "How far a source's watermark is behind the processing instant; the source stands in state.",
        Unit.SECONDS, "as_of - watermark_at per source", Direction.LOWER, ("state",)),
    Kpi("inflight_mismatches", "K19", "In-flight mismatches",
        "Differences that healed within their grace and so never became a finding, by check (hold_code).",
        Unit.COUNT, "count of predicates that turned false before their deadline", Direction.NEUTRAL, ("hold_code",)),
    Kpi("duplicates_suppressed", "K20", "Duplicates suppressed",
        "Changes delivered more than once that had no second effect.",
        Unit.COUNT, "sum(duplicates) over sources", Direction.NEUTRAL, ()),
)

BY_ID: Final[Mapping[str, Kpi]] = MappingProxyType({kpi.id: kpi for kpi in KPIS})


# Parts of one unit.
_BASE: Final[Mapping[str, int]] = {Unit.HOURS: 3_600, Unit.DAYS: 86_400, Unit.SECONDS: 1_000_000, Unit.COUNT: 1}


def value(unit: str, numerator: int, denominator: int | None = None) -> Decimal | None:
    """The value that people read, exact, of summed cells; `unit` as for `decimals`. None for a ratio of nothing."""
    places = decimals(unit)
    if unit == Unit.RATIO or denominator is not None:
        if not denominator:
            return None
        base = Fraction(numerator * 100 if unit == Unit.RATIO else numerator, denominator)
        base /= 1 if unit == Unit.RATIO else _BASE[unit]
    else:
        base = Fraction(numerator, _BASE.get(unit, 10**places))
    return Decimal(rounded(base * 10**places)).scaleb(-places)


def decimals(unit: str) -> int:
    """Decimal places of a value whose row says `unit` ('h', 'd', '%', 's', 'count' or a currency's code)."""
    fixed: dict[str, int] = {Unit.HOURS: 4, Unit.DAYS: 4, Unit.RATIO: 1, Unit.SECONDS: 3, Unit.COUNT: 0}
    return fixed[unit] if unit in fixed else exponent(unit)
