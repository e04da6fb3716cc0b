"""KPIs over HTTP: the catalogue, values now, their course, their parts and the rows behind them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from tieout.streams.api import history, models
from tieout.streams.api.answers import CSV, JSON, Format, Shape, answer, rows_answer
from tieout.streams.api.encoding import instant, to_csv, to_json
from tieout.streams.api.freshness import FEEDS
from tieout.streams.api.history import Span
from tieout.streams.api.parameters import check_dimensions, dimensions, instant_us, known_parameters, scope, step_us
from tieout.streams.api.problems import Problem
from tieout.streams.api.services import Parts, Services
from tieout.streams.api.shapes import COLUMNS, flat, geckoboard
from tieout.streams.api.sources import source_bodies
from tieout.streams.api.values import Scope, text
from tieout.streams.sinks.catalogue import Direction, Kpi

router = APIRouter(
    prefix="/v1/kpis", tags=["KPIs"], dependencies=[Depends(known_parameters)], responses=models.PROBLEMS
)

KpiId = Annotated[str, Path(description="A KPI of the catalogue, e.g. unbilled_hours.", examples=["unbilled_hours"])]
In = Annotated[Scope, Depends(scope)]
FormatOf = Annotated[Format, Query(alias="format", description="json, or csv with a header.")]
Dimension = Literal[
    "le_code", "region", "practice", "project_code", "billing_cycle_id", "currency", "state", "hold_code"
]
Basis = Literal["previous_hour", "previous_day", "previous_week", "previous_month"]

_HOUR_US: Final = 3_600_000_000
_BACK_US: Final[Mapping[str, int]] = {
    "previous_hour": _HOUR_US,
    "previous_day": 24 * _HOUR_US,
    "previous_week": 7 * 24 * _HOUR_US,
    "previous_month": 28 * 24 * _HOUR_US,  # four weeks, so that weekdays match
}
_MOST_POINTS: Final = 2_000
_DESCRIBED: Final = ("id", "number", "title", "definition", "unit", "formula", "direction", "view")
_ROW: Final = ("measure", "currency", "value", "exact", "unit", "numerator", "denominator", "base_unit")


@router.get("", response_model=list[models.CatalogueEntry], summary="The KPI catalogue")
def catalogue(request: Request, parts: Parts, form: FormatOf = "json") -> Response:
    """Every KPI: title, definition, unit, formula, direction, dimensions and the systems that it is made from."""
    rows = [_entry(kpi) for kpi in parts.catalogue.values()]
    if form == "csv":
        return answer(request, to_csv([row | {"sources": "|".join(row["sources"])} for row in rows]), CSV)
    return answer(request, to_json(rows))


def _entry(kpi: Kpi) -> dict[str, Any]:
    return {name: getattr(kpi, name) for name in _DESCRIBED} | {
        "dimensions": list(dimensions(kpi)),
        "measures": list(kpi.measures) or ["VALUE"],
        "sources": list(FEEDS.get(kpi.id, ("ERP", "PSA", "HCM", "CRM", "SCHED", "TIME"))),
        "href": f"/v1/kpis/{kpi.id}",
    }


@router.get("/{kpi_id}", response_model=models.KpiValue, summary="A value now")
def value(
    request: Request,
    parts: Parts,
    kpi_id: KpiId,
    within: In,
    shape: Annotated[Shape, Query(description="One object, flat rows, or Geckoboard's number widget.")] = "object",
    form: FormatOf = "json",
    compare: Annotated[Basis | None, Query(description="Also the value of then, from the history.")] = None,
) -> Response:
    """The live value with its freshness; money also as an exact text, several currencies as rows, never added."""
    kpi = _known(parts, kpi_id, within)
    body = parts.values.value(kpi, within)
    body["comparison"] = None if compare is None else _comparison(parts, kpi, within, compare, body)
    if shape == "geckoboard":
        return answer(request, to_json(geckoboard(body)))
    if shape == "rows" or form == "csv":
        filtered = [name for name in body["scope"] if name != "currency"]
        return rows_answer(request, flat(body), form, (*COLUMNS, *filtered))
    return answer(request, to_json(body))


def _comparison(parts: Services, kpi: Kpi, within: Scope, basis: str, body: Mapping[str, Any]) -> dict[str, Any]:
    now = parts.live.as_of
    before = [] if now is None else history.value_at(parts.snapshot, kpi, within, now - _BACK_US[basis])
    known = {(row["measure"], row["currency"]): row["value"] for row in before}
    rows = [_change(row, known.get((row["measure"], row["currency"])), kpi.direction) for row in body["rows"]]
    single = rows[0] if len(rows) == 1 else {}
    at = None if now is None else instant(now - _BACK_US[basis])
    return {"basis": basis, "at": at, **{name: single.get(name) for name in ("value", "delta", "better")}, "rows": rows}


def _change(row: Mapping[str, Any], before: Decimal | None, direction: Direction) -> dict[str, Any]:
    delta = None if row["value"] is None or before is None else row["value"] - before
    better = None
    if delta and direction is not Direction.NEUTRAL:
        better = (delta < 0) is (direction is Direction.LOWER)
    return {
        "measure": row["measure"], "currency": row["currency"], "value": before, "exact": text(before),
        "delta": delta, "better": better,
    }  # fmt: skip


@router.get("/{kpi_id}/series", response_model=list[models.Point], summary="The course of a value")
def series(
    request: Request,
    parts: Parts,
    kpi_id: KpiId,
    within: In,
    start: Annotated[datetime | None, Query(alias="from", description="First instant; default: 60 steps back.")] = None,
    end: Annotated[datetime | None, Query(alias="to", description="Last instant; default: the newest.")] = None,
    step: Annotated[str, Query(description="Width of a row: a number and m, h, d or w.", examples=["1h", "1d"])] = "1d",
    form: FormatOf = "json",
) -> Response:
    """Flat rows, one per step, measure and currency: the value at the end of the step, from the published snapshot."""
    kpi = _known(parts, kpi_id, within)
    width, first, last = step_us(step), instant_us(start, "from"), instant_us(end, "to")

    def make() -> tuple[bytes, str]:
        span = _span(parts, kpi, width, first, last)
        rows = [] if span is None else history.series(parts.snapshot, kpi, within, span)
        if form == "csv":
            return to_csv(rows, ("time", "as_of", *_ROW, "complete")), CSV
        return to_json(rows), JSON

    return _from_snapshot(request, parts, make)


def _span(parts: Services, kpi: Kpi, step: int, start: int | None, end: int | None) -> Span | None:
    known = history.span_of(parts.snapshot, kpi)
    if known is None:
        return None
    end = max(known[1], parts.live.as_of or 0) if end is None else end
    start = max(known[0], end - 60 * step) if start is None else start
    if start > end or (end - start) // step > _MOST_POINTS:
        raise Problem(
            422, "invalid-parameter", "Invalid parameter",
            f"from {instant(start)} to {instant(end)} must be forward and at most {_MOST_POINTS} steps.",
            parameter="from" if start > end else "step",
        )  # fmt: skip
    return Span(start, end, step)


@router.get("/{kpi_id}/breakdown", response_model=list[models.Part], summary="A value by one dimension")
def breakdown(
    request: Request,
    parts: Parts,
    kpi_id: KpiId,
    within: In,
    by: Annotated[Dimension, Query(description="The dimension; the catalogue says which ones a KPI has.")] = "le_code",
    limit: Annotated[int, Query(ge=1, le=10_000, description="Most rows; the rest is one row more.")] = 1_000,
    form: FormatOf = "json",
) -> Response:
    """Flat live rows by one dimension, largest first; their numerators add up to the numerator of the value."""
    kpi = _known(parts, kpi_id, within)
    check_dimensions(kpi, [by])
    rows = parts.values.breakdown(kpi, by, within, limit)
    return rows_answer(request, rows, form, (by, *(name for name in _ROW if name != by), "rest_of"))


@router.get("/{kpi_id}/explain", response_model=models.Explanation, summary="Why a value is what it is")
def explain(
    request: Request,
    parts: Parts,
    kpi_id: KpiId,
    within: In,
    limit: Annotated[int, Query(ge=1, le=1_000, description="Most rows; the rest is given as one sum.")] = 50,
) -> Response:
    """Definition, sources, SQL, and the rows behind the number as published: rows and rest add up to it exactly."""
    kpi = _known(parts, kpi_id, within)
    return _from_snapshot(request, parts, lambda: (to_json(_explanation(parts, kpi, within, limit)), JSON))


def _explanation(parts: Services, kpi: Kpi, within: Scope, limit: int) -> dict[str, Any]:
    feeds = FEEDS.get(kpi.id)
    inputs = [row for row in source_bodies(parts.values) if feeds is None or row["system"] in feeds]
    return {
        **_entry(kpi),
        "scope": {name: list(values) for name, values in within.wanted.items()},
        **history.stands_at(parts.snapshot),
        "value": history.recomputed(parts.snapshot, kpi, within),
        "inputs": inputs,
        "excluded": _excluded(parts, kpi, within),
        "records": history.opened(parts.snapshot, kpi, within, limit),
        "sql": history.view_sql(parts.snapshot, kpi),
    }


def _excluded(parts: Services, kpi: Kpi, within: Scope) -> list[dict[str, Any]]:
    """What a reader might expect in the number and does not find there."""
    if kpi.id not in ("unbilled_value", "held_value", "exposure"):
        return []
    unpriced = parts.catalogue["unpriced_hours"]
    hours = parts.values.rows(unpriced, within.only(unpriced.dimensions))[0]
    return [{"reason": "no rate could be resolved", "hours": hours["value"], "kpi": "/v1/kpis/unpriced_hours"}]


def _known(parts: Services, kpi_id: str, within: Scope) -> Kpi:
    kpi = parts.kpi(kpi_id)
    check_dimensions(kpi, within.wanted)
    return kpi


def _from_snapshot(request: Request, parts: Services, make: Any) -> Response:
    question = f"{request.url.path}?{request.url.query}"
    return answer(request, *parts.rendered.get(parts.snapshot.identity(), question, make))
