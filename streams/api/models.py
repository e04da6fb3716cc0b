"""The published shapes, for the OpenAPI document; answers are built exactly, not through these models."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field


class _Model(BaseModel):
    model_config = ConfigDict(extra="allow")


class ProblemDocument(_Model):
    """An error, RFC 9457."""

    type: str = Field(examples=["/docs#problem-unknown-kpi"])
    title: str
    status: int
    detail: str
    parameter: str | None = None
    did_you_mean: str | None = Field(None, description="The nearest valid name.")
    allowed: list[str] | None = None


class StaleSource(_Model):
    """A source that is further behind than it may be."""

    source: str = Field(examples=["ERP/main"])
    system: str
    state: str
    watermark_at: str | None
    behind_s: int | None


class FreshnessBody(_Model):
    """How far a number can be trusted."""

    state: str = Field(description="FRESH, STALE or UNKNOWN.")
    stale_sources: list[StaleSource]
    note: str = Field(description="The sentence for a tile.", examples=["as of 10 Mar 14:03 UTC, ERP is 12 min behind"])


class ValueRow(_Model):
    """A value in one measure and currency, rounded for people and exact in base units."""

    measure: str
    currency: str | None
    value: Decimal | None
    exact: str | None = Field(description="The value as text, with every digit.")
    unit: str
    numerator: int = Field(description="In base units: these add without rounding.")
    denominator: int | None
    base_unit: str = Field(description="s, minor, count or us.")


class KpiValue(_Model):
    """A KPI now; `value` is null where several currencies or measures stand in `rows`."""

    id: str
    title: str
    value: Decimal | None
    exact: str | None
    unit: str
    currency: str | None
    as_of: str | None = Field(description="Newest processing instant that was read.")
    complete_through: str | None = Field(description="Source commit instant up to which all was delivered.")
    freshness: FreshnessBody
    comparison: dict[str, Any] | None
    at_risk: dict[str, Any] | None = Field(description="The part that open findings hold back, each hour once.")
    explain: str = Field(description="Where the rows behind the number are.")
    scope: dict[str, list[str]]
    rows: list[ValueRow]


class CatalogueEntry(_Model):
    """What a KPI is."""

    id: str
    number: str
    title: str
    definition: str
    unit: str
    formula: str
    direction: str = Field(description="Which way is good: lower, higher or neutral.")
    dimensions: list[str]
    measures: list[str]
    sources: list[str] = Field(description="Systems whose delay makes the KPI stale.")
    view: str
    href: str


class Point(ValueRow):
    """A value at the end of one step."""

    time: str = Field(description="Start of the step.")
    as_of: str = Field(description="The instant that the value stands for.")
    complete: bool = Field(description="False for a step that is not over yet.")


class Part(ValueRow):
    """A value for one member of a dimension, which stands under the dimension's own name."""

    rest_of: int | None = Field(description="How many members the row for the rest adds up.")


class Records(_Model):
    """Rows behind a number in one measure and currency: the amounts of `rows` and `rest` add up to `total`."""

    view: str
    measure: str
    currency: str | None
    base_unit: str
    count: int
    total: int
    rows: list[dict[str, Any]]
    rest: dict[str, int] | None = Field(description="What is not shown; null where the worst counts and nothing adds.")


class Explanation(_Model):
    """A number opened."""

    id: str
    title: str
    definition: str
    formula: str
    scope: dict[str, list[str]]
    value: list[ValueRow]
    inputs: list[dict[str, Any]]
    excluded: list[dict[str, Any]]
    as_of: str | None = Field(description="Newest processing instant in the snapshot.")
    complete_through: str | None
    records: list[Records]
    sql: str | None


class Finding(_Model):
    """A finding under the names of `v1.finding`."""

    finding_id: str
    code: str
    facet: str | None
    status: str
    severity: str
    queue: str
    business_key: str
    impact_s: int
    impact_hours: Decimal
    impact_minor: int
    impact: Decimal | None
    impact_exact: str | None
    currency: str | None
    explanation: str
    systems: list[str]
    entries: list[str]


class FindingPage(_Model):
    """Findings in order."""

    items: list[Finding]
    total: int
    next_cursor: str | None


class Source(_Model):
    """How far a source object has been read."""

    source: str
    system: str
    instance: str
    object: str
    state: str
    watermark_at: str | None
    behind_s: int | None
    behind: str
    limit_s: int
    received: int
    applied: int
    duplicates: int
    stale: int
    parked: int
    filtered: int
    dead_lettered: int


def _refused(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/problem+json": {"schema": _PROBLEM}}}


_PROBLEM: Final = {"$ref": "#/components/schemas/ProblemDocument"}

PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    404: _refused("There is no such thing"),
    422: _refused("A parameter is unknown or has a value that is not allowed"),
    503: _refused("The snapshot is not published yet"),
}
