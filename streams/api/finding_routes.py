"""Findings and sources over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from tieout.streams.api import findings, history, models
from tieout.streams.api.access import Caller, Who
from tieout.streams.api.answers import Format, answer, rows_answer
from tieout.streams.api.encoding import to_json
from tieout.streams.api.parameters import Filter, known_parameters
from tieout.streams.api.problems import Problem
from tieout.streams.api.services import Parts, Services
from tieout.streams.api.sources import source_rows
from tieout.streams.personal import masked_finding

router = APIRouter(
    prefix="/v1", tags=["Findings and sources"], dependencies=[Depends(known_parameters)], responses=models.PROBLEMS
)

FormatOf = Annotated[Format, Query(alias="format", description="json, or csv with a header.")]
Status = Literal["PENDING", "OPEN", "ACK", "SUPPRESSED", "RESOLVED_AUTO", "RESOLVED_MANUAL", "WAIVED"]
Severity = Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]
Order = Literal["impact", "severity", "age", "updated"]

_COLUMNS: Final = (
    "finding_id", "code", "check_no", "facet", "status", "severity", "queue", "entity", "business_key", "attribute",
    "le_code", "region", "practice", "project_code", "billing_cycle_id", "impact_s", "impact_hours", "impact_minor",
    "impact", "impact_exact", "currency", "estimated", "left_system", "left_value", "right_system", "right_value",
    "owner_system", "onset_at", "deadline_at", "opened_at", "resolved_at", "resolution", "episode", "entries_count",
    "explanation", "rule_version", "updated_at",
)  # fmt: skip


def wanted(
    code: Filter = None,
    facet: Filter = None,
    status: Annotated[list[Status] | None, Query(description="Repeat for several; open ones are OPEN and ACK.")] = None,
    severity: Annotated[list[Severity] | None, Query(description="Repeat for several.")] = None,
    queue: Filter = None,
    le_code: Filter = None,
    region: Filter = None,
    practice: Filter = None,
    project_code: Filter = None,
    billing_cycle_id: Filter = None,
    currency: Filter = None,
    entity: Filter = None,
    business_key: Filter = None,
) -> dict[str, Sequence[str]]:
    """The filters of a request by column; their names are those of `v1.finding`."""
    given: dict[str, Sequence[str] | None] = {
        "code": code, "facet": facet, "status": status, "severity": severity, "queue": queue, "le_code": le_code,
        "region": region, "practice": practice, "project_code": project_code, "billing_cycle_id": billing_cycle_id,
        "currency": currency, "entity": entity, "business_key": business_key,
    }  # fmt: skip
    return {name: values for name, values in given.items() if values}


@router.get("/findings", response_model=models.FindingPage, summary="Findings, filtered, in pages")
def list_findings(
    request: Request,
    parts: Parts,
    who: Who,
    given: Annotated[dict[str, Sequence[str]], Depends(wanted)],
    order: Annotated[Order, Query(description="Which comes first.")] = "impact",
    limit: Annotated[int, Query(ge=1, le=1_000)] = 50,
    cursor: Annotated[str | None, Query(description="next_cursor of the page before.", max_length=4_000)] = None,
    shape: Annotated[Literal["object", "rows"], Query(description="A page, or only its rows.")] = "object",
    form: FormatOf = "json",
) -> Response:
    """Live findings; `total` counts all that match, `next_cursor` is null on the last page."""
    found = findings.page(parts.live.findings(), findings.Query(given, order, limit, cursor))
    rows = [findings.body(row, detail=who.detail) for row in found.rows]
    if form == "csv" or shape == "rows":
        response = rows_answer(request, rows, form, _COLUMNS)
        if found.next_cursor:
            following = request.url.include_query_params(cursor=found.next_cursor)
            response.headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
        return response
    return answer(request, to_json({"items": rows, "total": found.total, "next_cursor": found.next_cursor}))


@router.get("/findings/{finding_id}", response_model=models.Finding, summary="A finding, with its life")
def one_finding(
    request: Request, parts: Parts, who: Who, finding_id: Annotated[str, Path(description="The finding's UUID.")]
) -> Response:
    """The finding now, and every step so far from the snapshot; without one, `history` is null."""
    row = parts.live.finding(finding_id)
    if row is None:
        raise Problem(404, "unknown-finding", "Unknown finding", f"There is no finding {finding_id!r}.")
    body = findings.body(row, detail=who.detail)
    return answer(request, to_json(body | {"history": _history(parts, who, finding_id)}))


def _history(parts: Services, who: Caller, finding_id: str) -> list[dict[str, Any]] | None:
    try:
        steps = list(history.events_of(parts.snapshot, finding_id))
        return steps if who.detail else [masked_finding(step) for step in steps]
    except Problem:
        return None


@router.get("/sources", response_model=list[models.Source], summary="How far every source has been read")
def list_sources(request: Request, parts: Parts, form: FormatOf = "json") -> Response:
    """Every source as a whole (object '*') and each of its objects: watermark, delay, state and counts."""
    rows = source_rows(parts.values)
    return rows_answer(request, rows, form, list(rows[0]) if rows else ["source", "state"])
