"""What the snapshot knows about a KPI: its course over time, the view that recomputes it, and the rows behind it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tieout.streams.api.cells import LAG
from tieout.streams.api.encoding import instant
from tieout.streams.api.live import Sum
from tieout.streams.api.snapshot import Record, Snapshot
from tieout.streams.api.values import Scope, row_of
from tieout.streams.sinks.catalogue import Kpi, Unit

_LEAF: Final = (
    "measure", "le_code", "region", "practice", "project_code", "billing_cycle_id", "currency", "state", "hold_code",
)  # fmt: skip
_BASE_UNITS: Final = {Unit.HOURS: "s", Unit.MONEY: "minor", Unit.SECONDS: "us"}


@dataclass(frozen=True, slots=True)
class Span:
    """Buckets of `step` from the one that holds `start` to the one that holds `end`; all in microseconds."""

    start: int
    end: int
    step: int

    def buckets(self) -> range:
        """The starts of the buckets."""
        first = self.start - self.start % self.step
        return range(first, max(self.end, first) + 1, self.step)


@dataclass(frozen=True, slots=True)
class Opened:
    """Where the rows behind a KPI are: the amount of each adds up to the KPI's numerator."""

    view: str
    key: tuple[str, ...]
    amount: str
    unit: str
    only: str = "TRUE"
    renamed: tuple[tuple[str, str], ...] = ()  # dimension -> column, where they differ

    def column(self, dimension: str) -> str:
        """The column that holds a dimension."""
        return dict(self.renamed).get(dimension, dimension)


_ENTRY: Final = ("entry_key", "project_code", "work_date", "state", "top_hold", "currency")
_FINDING: Final = ("finding_id", "code", "facet", "business_key", "severity", "queue", "explanation")
_HOLD: Final = (("hold_code", "top_hold"),)

# Names and no persons: an entry is opened by its key, not by who worked it.
OPENED: Final[Mapping[str, Opened]] = {
    "unbilled_hours": Opened("v1.time_entry", _ENTRY, "unbilled_s", "s", renamed=_HOLD),
    "unbilled_value": Opened("v1.time_entry", _ENTRY, "unbilled_minor", "minor", renamed=_HOLD),
    "unpriced_hours": Opened("v1.time_entry", _ENTRY, "unpriced_s", "s", renamed=_HOLD),
    "held_hours": Opened("v1.time_entry", _ENTRY, "held_s", "s", renamed=_HOLD),
    "held_value": Opened("v1.time_entry", _ENTRY, "held_minor", "minor", renamed=_HOLD),
    "open_findings": Opened(
        "v1.finding", _FINDING, "1", "count", "status IN ('OPEN', 'ACK')",
        (("state", "severity"), ("hold_code", "code")),
    ),
}


def condition(scope: Scope, column: Mapping[str, str] | None = None) -> tuple[str, list[Any]]:
    """The scope as an SQL condition with its bound values."""
    terms, bound = ["TRUE"], []
    for dimension, values in scope.wanted.items():
        terms.append(f"{(column or {}).get(dimension, dimension)} IN (SELECT unnest(?))")
        bound.append(list(values))
    return " AND ".join(terms), bound


def series(snapshot: Snapshot, kpi: Kpi, scope: Scope, span: Span) -> list[Record]:
    """A row per bucket, measure and currency: the value at the bucket's end, carried on where nothing changed."""
    levels: dict[tuple[str, str | None], dict[str | None, Sum]] = defaultdict(dict)
    pending = list(reversed(_steps(snapshot, kpi, scope, span)))
    rows: list[Record] = []
    for bucket in span.buckets():
        while pending and pending[-1]["bucket"] <= bucket:
            _advance(levels, kpi, pending.pop())
        at = min(bucket + span.step, span.end)
        for group, parts in sorted(levels.items(), key=lambda item: (item[0][0], item[0][1] or "")):
            row = row_of(kpi, *group, _combined(kpi, parts))
            rows.append({"time": instant(bucket), "as_of": instant(at), **row, "complete": at == bucket + span.step})
    return rows


def value_at(snapshot: Snapshot, kpi: Kpi, scope: Scope, at: int) -> list[Record]:
    """The rows of a KPI as they stood at an instant."""
    return series(snapshot, kpi, scope, Span(at, at, 1))


def span_of(snapshot: Snapshot, kpi: Kpi) -> tuple[int, int] | None:
    """First and last instant of a KPI's history, microseconds."""
    sql = "SELECT epoch_us(min(as_of)) AS first, epoch_us(max(as_of)) AS last FROM v1.kpi_history WHERE kpi = ?"
    found = snapshot.rows(sql, [kpi.id])[0]
    return None if found["first"] is None else (found["first"], found["last"])


def _steps(snapshot: Snapshot, kpi: Kpi, scope: Scope, span: Span) -> list[Record]:
    """What changed in each bucket; all that was before the first one stands in the first."""
    where, bound = condition(scope)
    part = "state" if kpi.id == LAG else "NULL::VARCHAR"
    sql = f"""
        WITH leaf AS (
            SELECT epoch_us(as_of) AS moment, measure, currency, {part} AS part,
                   numerator - lag(numerator, 1, 0) OVER cell AS numerator,
                   denominator - lag(denominator, 1, 0) OVER cell AS denominator
            FROM v1.kpi_history WHERE kpi = ? AND {where}
            WINDOW cell AS (PARTITION BY {", ".join(_LEAF)} ORDER BY as_of))
        SELECT greatest(moment - moment % ?, ?) AS bucket, measure, currency, part, sum(numerator)::BIGINT AS numerator,
               sum(denominator)::BIGINT AS denominator, count(*) AS cells
        FROM leaf WHERE moment <= ? GROUP BY ALL ORDER BY bucket"""
    return snapshot.rows(sql, [kpi.id, *bound, span.step, span.buckets()[0], span.end])


def _advance(levels: dict[tuple[str, str | None], dict[str | None, Sum]], kpi: Kpi, step: Record) -> None:
    unit = _BASE_UNITS.get(kpi.measures.get(step["measure"], kpi.unit), "count")
    parts = levels[step["measure"], step["currency"]]
    parts.setdefault(step["part"], Sum(unit)).add(step)


def _combined(kpi: Kpi, parts: Mapping[str | None, Sum]) -> Sum:
    """Parts of which the worst counts (lags); everything else has one part."""
    return max(parts.values(), key=lambda part: part.numerator) if kpi.id == LAG else next(iter(parts.values()))


def view_sql(snapshot: Snapshot, kpi: Kpi) -> str | None:
    """The text of the view that recomputes the KPI from rows."""
    schema, _, name = kpi.view.partition(".")
    found = snapshot.rows("SELECT sql FROM duckdb_views() WHERE schema_name = ? AND view_name = ?", [schema, name])
    return found[0]["sql"] if found else None


def recomputed(snapshot: Snapshot, kpi: Kpi, scope: Scope) -> list[Record]:
    """The KPI's rows added up from its SQL view, in base units."""
    where, bound = condition(scope)
    total = "max(numerator)" if kpi.id == LAG else "sum(numerator)"
    sql = f"""SELECT measure, currency, {total}::BIGINT AS numerator, sum(denominator)::BIGINT AS denominator
              FROM {kpi.view} WHERE {where} GROUP BY ALL ORDER BY measure, currency"""
    return [row_of(kpi, row["measure"], row["currency"], _sum(kpi, row)) for row in snapshot.rows(sql, bound)]


def opened(snapshot: Snapshot, kpi: Kpi, scope: Scope, limit: int) -> dict[str, Any]:
    """The rows behind the number, largest first, and what the rest of them adds up to."""
    place = OPENED.get(kpi.id)
    if place is None:
        place = Opened(kpi.view, _LEAF, "numerator", _BASE_UNITS.get(kpi.unit, "count"))
    where, bound = condition(scope, dict(place.renamed))
    columns = ", ".join(place.key)
    sql = f"""
        SELECT {columns}, ({place.amount})::BIGINT AS amount, sum(amount) OVER ()::BIGINT AS total,
               count(*) OVER () AS found
        FROM {place.view} WHERE {place.only} AND ({place.amount}) <> 0 AND {where}
        ORDER BY abs(amount) DESC, {columns} LIMIT ?"""
    rows = snapshot.rows(sql, [*bound, limit])
    return {"view": place.view, "base_unit": place.unit, **_with_rest(rows)}


def _with_rest(rows: list[Record]) -> dict[str, Any]:
    total, found = (rows[0]["total"], rows[0]["found"]) if rows else (0, 0)
    shown = [{name: value for name, value in row.items() if name not in ("total", "found")} for row in rows]
    rest = {"count": found - len(rows), "amount": total - sum(row["amount"] for row in rows)}
    return {"count": found, "total": total, "rows": shown, "rest": rest}


def _sum(kpi: Kpi, row: Record) -> Sum:
    total = Sum(_BASE_UNITS.get(kpi.measures.get(row["measure"], kpi.unit), "count"))
    total.add(row)
    return total


def events_of(snapshot: Snapshot, finding_id: str) -> Iterator[Record]:
    """The steps in the life of a finding, oldest first."""
    sql = """SELECT step, status, epoch_us("at") AS at, actor, reason, impact_s, impact_minor, currency, queue
             FROM v1.finding_event WHERE finding_id = ? ORDER BY "at", event_id"""
    for row in snapshot.rows(sql, [finding_id]):
        yield {**row, "at": instant(row["at"])}
