"""What the overview page shows when it is opened; its script keeps the same things up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from tieout.streams.api import findings
from tieout.streams.api.services import Services
from tieout.streams.api.sources import source_bodies
from tieout.streams.api.values import Scope

SHOWN: Final = 15  # findings in the table

STATES: Final[Mapping[str, tuple[str, str]]] = {
    "FRESH": ("ok", "On time"),
    "STALE": ("warn", "Behind"),
    "UNKNOWN": ("unknown", "Not known yet"),
}
SEVERITIES: Final[Mapping[str, tuple[str, str]]] = {
    "CRITICAL": ("critical", "Critical"),
    "HIGH": ("high", "High"),
    "MEDIUM": ("medium", "Medium"),
    "LOW": ("low", "Low"),
}
BILLING: Final[Mapping[str, str]] = {
    "READY": "Ready to bill",
    "PROPOSED": "On a draft invoice",
    "APPROVED_PENDING": "Being checked",
    "HELD": "Held",
    "PROPOSED_HELD": "On a draft, held",
}
HOLDS: Final[Mapping[str, str]] = {
    "H01": "Rate missing", "H02": "Rate ambiguous", "H03": "Rate differs", "H04": "No assignment",
    "H05": "Outside the assignment", "H06": "Other role than assigned", "H07": "Billing attributes missing",
    "H08": "Cost centre closed", "H09": "Currency or exchange rate", "H10": "Tax", "H11": "Budget used up",
    "H12": "Cap or contract terms", "H13": "Milestone", "H14": "Project identity or status", "H15": "Task unknown",
    "H16": "Quantity differs", "H17": "Duplicate time", "H18": "Person unmatched", "H19": "Source behind",
    "H20": "Expense differs", "H21": "Held by hand", "H22": "Not in the ERP",
}  # fmt: skip


def context(parts: Services) -> dict[str, Any]:
    """Everything that the template needs."""
    values = {kpi.id: parts.values.value(kpi) for kpi in parts.catalogue.values()}
    return {
        "values": values,
        "definitions": {kpi.id: kpi.definition for kpi in parts.catalogue.values()},
        "billing": _billing(parts),
        "holds": _parts(parts, "held_hours", "hold_code", HOLDS),
        "severities": _severities(parts),
        "findings": _findings(parts),
        "sources": source_bodies(parts.values),
        "overall": parts.publisher.overall(),
        "last_id": parts.hub.last_id,
        "labels": {"states": STATES, "severities": SEVERITIES, "billing": BILLING, "holds": HOLDS},
    }


def _parts(parts: Services, kpi: str, by: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    rows = parts.values.breakdown(parts.catalogue[kpi], by, Scope(), limit=8)
    named = [row | {"code": row[by] or "", "label": labels.get(row[by], row[by] or "Other")} for row in rows]
    return [row for row in named if row["numerator"]]


def _billing(parts: Services) -> list[dict[str, Any]]:
    """Unbilled hours by billing state in the order of the way to an invoice, with the place of each in a bar."""
    rows = {row["code"]: row for row in _parts(parts, "unbilled_hours", "state", BILLING)}
    known = [rows.pop(code) for code in BILLING if code in rows]
    return with_bars([*known, *rows.values()])


def with_bars(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with `x` and `width` of their share in thousandths; the whole is 1,000."""
    total = sum(max(0, row["numerator"]) for row in rows) or 1
    edges, seen = [0], 0
    for row in rows:
        seen += max(0, row["numerator"])
        edges.append(seen * 1_000 // total)
    return [row | {"x": edges[i], "width": edges[i + 1] - edges[i]} for i, row in enumerate(rows)]


def _severities(parts: Services) -> list[dict[str, Any]]:
    rows = {row["state"]: row for row in parts.values.breakdown(parts.catalogue["open_findings"], "state", Scope(), 10)}
    return [{"code": code, "count": rows[code]["numerator"] if code in rows else 0} for code in SEVERITIES]


def _findings(parts: Services) -> dict[str, Any]:
    query = findings.Query({"status": findings.OPEN}, "impact", SHOWN)
    found = findings.page(parts.live.findings(), query)
    now = parts.judge.now()
    rows = [findings.body(row) | {"age": age_text(now, row["onset_at"])} for row in found.rows]
    return {"rows": rows, "total": found.total}


def age_text(now: int | None, since: int) -> str:
    """How long ago, in the two largest units: '3 d 4 h', '2 h 5 min', '40 s'."""
    seconds = max(0, (now or since) - since) // 1_000_000
    for size, unit, smaller, small_unit in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min")):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"


def number(value: Decimal | int | str | None, places: int | None = None) -> str:
    """A number for people with thousands apart: '1,284.50'; a dash for nothing."""
    if value is None:
        return "–"
    exact = Decimal(value)
    if places is not None:
        exact = exact.quantize(Decimal(1).scaleb(-places))
    return f"{exact:,f}"


def clock_text(at: str | None) -> str:
    """An RFC 3339 instant for people: '10 Mar 14:03 UTC'."""
    if at is None:
        return "never"
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    return f"{int(at[8:10])} {months[int(at[5:7]) - 1]} {at[11:16]} UTC"


def aspects(row: Mapping[str, Any]) -> str:
    """What stands under the money of a finding: '7.50 h, over-billed, estimated'."""
    hours = [f"{number(row['impact_hours'], 2)} h"] if row["impact_s"] else []
    over = ["over-billed"] if row["impact_minor"] < 0 else []
    return ", ".join([*hours, *over, *(["estimated"] if row["estimated"] else [])])


def amounts(value: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The rows of a money value that name a currency."""
    return [row for row in value["rows"] if row["currency"]]


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "number": number,
    "clock": clock_text,
    "amounts": amounts,
    "aspects": aspects,
}
