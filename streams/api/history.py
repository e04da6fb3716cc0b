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
    """Where the rows behind a KPI are: the amounts of a measure and currency add up to the KPI's numerator."""

    view: str
    key: tuple[str, ...]
    amount: str
    measure: str = "'VALUE'"
    currency: str = "NULL::VARCHAR"
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
    "unbilled_hours": Opened("v1.time_entry", _ENTRY, "unbilled_s", renamed=_HOLD),
    "unbilled_value": Opened("v1.time_entry", _ENTRY, "unbilled_minor", currency="currency", renamed=_HOLD),
    "unpriced_hours": Opened("v1.time_entry", _ENTRY, "unpriced_s", renamed=_HOLD),
    "held_hours": Opened("v1.time_entry", _ENTRY, "held_s", renamed=_HOLD),
    "held_value": Opened("v1.time_entry", _ENTRY, "held_minor", currency="currency", renamed=_HOLD),
    "open_findings": Opened(
        "v1.finding", _FINDING, "1", only="status IN ('OPEN', 'ACK')",
        renamed=(("state", "severity"), ("hold_code", "code")),
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
    parts = levels[step["measure"], step["currency"]]
    parts.setdefault(step["part"], Sum(base_unit(kpi, step["measure"]))).add(step)


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


def opened(snapshot: Snapshot, kpi: Kpi, scope: Scope, limit: int) -> list[Record]:
    """The rows behind the number, largest first, and what the rest adds up to; one group a measure and currency."""
    place = OPENED.get(kpi.id) or Opened(kpi.view, _LEAF, "numerator", "measure", "currency")
    where, bound = condition(scope, dict(place.renamed))
    columns = ", ".join(place.key)
    total = "max(amount)" if kpi.id == LAG else "sum(amount)"
    sql = f"""
        WITH record AS (
            SELECT {place.measure} AS in_measure, {place.currency} AS in_currency, {columns},
                   ({place.amount})::BIGINT AS amount
            FROM {place.view} WHERE {place.only} AND ({place.amount}) <> 0 AND {where})
        SELECT *, ({total} OVER part)::BIGINT AS total, count(*) OVER part AS found
        FROM record WINDOW part AS (PARTITION BY in_measure, in_currency)
        QUALIFY row_number() OVER (PARTITION BY in_measure, in_currency ORDER BY abs(amount) DESC, {columns}) <= ?
        ORDER BY in_measure, in_currency, abs(amount) DESC, {columns}"""
    groups: dict[tuple[str, str | None], list[Record]] = defaultdict(list)
    for row in snapshot.rows(sql, [*bound, limit]):
        groups[row.pop("in_measure"), row.pop("in_currency")].append(row)
    return [_group(kpi, place.view, *group, rows) for group, rows in groups.items()]


def _group(kpi: Kpi, view: str, measure: str, currency: str | None, rows: list[Record]) -> Record:
    total, found = rows[0]["total"], rows[0]["found"]
    shown = [{name: value for name, value in row.items() if name not in ("total", "found")} for row in rows]
    amounts = sum(row["amount"] for row in rows)
    rest = None if kpi.id == LAG else {"count": found - len(rows), "amount": total - amounts}
    return {
        "view": view, "measure": measure, "currency": currency, "base_unit": base_unit(kpi, measure),
        "count": found, "total": total, "rows": shown, "rest": rest,
    }  # fmt: skip


def base_unit(kpi: Kpi, measure: str) -> str:
    """What a measure is counted in: s, minor, us or count."""
    return _BASE_UNITS.get(kpi.measures.get(measure, kpi.unit), "count")


def stands_at(snapshot: Snapshot) -> Record:
    """How far the published snapshot is: `as_of` and `complete_through`."""
    sql = """SELECT epoch_us(as_of) AS as_of, epoch_us(watermark_at) AS complete_through
             FROM v1.meta_freshness WHERE source = '*'"""
    found = snapshot.rows(sql)
    return {name: instant(found[0][name] if found else None) for name in ("as_of", "complete_through")}


def _sum(kpi: Kpi, row: Record) -> Sum:
    total = Sum(base_unit(kpi, row["measure"]))
    total.add(row)
    return total


def events_of(snapshot: Snapshot, finding_id: str) -> Iterator[Record]:
    """The steps in the life of a finding, oldest first."""
    sql = """SELECT step, status, epoch_us("at") AS at, actor, reason, impact_s, impact_minor, currency, queue
             FROM v1.finding_event WHERE finding_id = ? ORDER BY "at", event_id"""
    for row in snapshot.rows(sql, [finding_id]):
        yield {**row, "at": instant(row["at"])}
