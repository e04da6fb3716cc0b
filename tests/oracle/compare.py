"""Row by row: what the oracle says against what a replay or the stream wrote into its `v1` views."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

Rows = dict[tuple[Any, ...], dict[str, Any]]

ENTRY_COLUMNS = (
    "worker_no",
    "account_no",
    "le_code",
    "region",
    "practice",
    "billing_cycle_id",
    "work_date",
    "status",
    "state",
    "approved_s",
    "billed_s",
    "unbilled_s",
    "overbilled_s",
    "written_off_s",
    "proposed_s",
    "ready_s",
    "held_s",
    "rate_e6",
    "currency",
    "unbilled_minor",
    "ready_minor",
    "held_minor",
    "applied_minor",
    "billed_minor",
    "adjustment_due_minor",
    "top_hold",
    "holds",
)
FINDING_COLUMNS = (
    "status",
    "onset_us",
    "deadline_us",
    "resolved_us",
    "impact_s",
    "impact_minor",
    "currency",
    "estimated",
    "entries_count",
)
QUANTITIES = ("approved_s", "billed_s", "unbilled_s", "overbilled_s", "written_off_s", "proposed_s")
CHECKS = (
    "PROJECT_NOT_SYNCED",
    "ASSIGNMENT_NOT_REFLECTED",
    "ASSIGNMENT_PLAN_DRIFT",
    "RATE_MISSING",
    "RATE_MISMATCH",
    "TIME_LATE_TO_ERP",
    "TIME_QTY_MISMATCH",
    "TIME_WITHOUT_ASSIGNMENT",
    "SOURCE_STALE",
    "RATE_AMBIGUOUS",
    "TIME_OUTSIDE_ASSIGNMENT",
    "TIME_DUPLICATE",
    "INVOICE_DUPLICATE",
)  # those that the oracle knows; of others it says nothing
STREAMED_FINDINGS = """SELECT code, facet, business_key, episode, status, epoch_us(onset_at) AS onset_us,
    epoch_us(deadline_at) AS deadline_us, epoch_us(resolved_at) AS resolved_us, impact_s, impact_minor, currency,
    estimated, entries_count
    FROM v1.finding WHERE status NOT IN ('PENDING', 'SUPPRESSED')"""
SUPPRESSED_FINDINGS = STREAMED_FINDINGS.replace("NOT IN ('PENDING', 'SUPPRESSED')", "= 'SUPPRESSED'")
COMPARED_KPIS = (
    "unbilled_hours",
    "unbilled_value",
    "unpriced_hours",
    "held_hours",
    "held_value",
    "assignment_sync_rate",
    "unsynchronised_assignments",
    "time_to_bill",
    "approval_latency",
    "approval_latency_business",
)
STREAMED_KPIS = f"""SELECT kpi, currency, sum(numerator)::HUGEINT AS numerator, sum(denominator)::BIGINT AS denominator
    FROM v1.kpi WHERE kpi IN {COMPARED_KPIS} AND measure IN ('VALUE', 'MEAN') GROUP BY ALL"""
STREAMED_LAGS = """SELECT entry_key, project_code, CASE WHEN billed_s > 0 THEN epoch_us(worked_at) END AS worked_us,
    CASE WHEN billed_s > 0 THEN epoch_us(invoiced_at) END AS invoiced_us,
    CASE WHEN status = 'APPROVED' AND approved_s > 0 THEN epoch_us(submitted_at) END AS submitted_us,
    CASE WHEN status = 'APPROVED' AND approved_s > 0 THEN epoch_us(approved_at) END AS approved_us
    FROM v1.time_entry WHERE billed_s > 0 OR (status = 'APPROVED' AND approved_s > 0)"""


def compare(oracle: duckdb.DuckDBPyConnection, database: Path) -> list[str]:
    """Every difference as a readable line; none when both agree."""
    with duckdb.connect(str(database), read_only=True) as stream:
        stream.execute("SET timezone = 'UTC'")
        return [
            *differences("time_entry", entries(oracle, "time_entry"), entries(stream, "v1.time_entry")),
            *differences(
                "finding",
                _steady(_without(findings(oracle, "SELECT * FROM finding"), findings(stream, SUPPRESSED_FINDINGS))),
                _steady(known(findings(stream, STREAMED_FINDINGS))),
            ),
            *differences("lag", lags(oracle, "SELECT * FROM lag"), lags(stream, STREAMED_LAGS)),
            *differences("kpi", kpis(oracle, "SELECT * FROM kpi"), kpis(stream, STREAMED_KPIS)),
        ]


def every_entry(con: duckdb.DuckDBPyConnection, table: str) -> Rows:
    """Rows of time entries by (entry, project)."""
    rows = _select(con, f"SELECT entry_key, project_code, {', '.join(ENTRY_COLUMNS)} FROM {table}")
    return {(row.pop("entry_key"), row.pop("project_code")): row for row in rows}


def entries(con: duckdb.DuckDBPyConnection, table: str) -> Rows:
    """Rows of time entries less those that are void and empty: whether such a row is kept says nothing."""
    rows = every_entry(con, table)
    return {key: row for key, row in rows.items() if row["state"] != "VOID" or any(row[name] for name in QUANTITIES)}


def findings(con: duckdb.DuckDBPyConnection, query: str) -> Rows:
    """Findings by (code, facet, key, episode).

    How long a source stayed behind the clock is a detection of its own, so a SOURCE_STALE that is over is left out.
    """
    found: Rows = {}
    for row in _select(con, query):
        key = (row["code"], row["facet"], row["business_key"], row["episode"])
        if row["code"] != "SOURCE_STALE":
            found[key] = {
                name: row[name]
                for name in FINDING_COLUMNS
                if row["entries_count"] is not None or name != "entries_count"
            }
        elif row["status"] == "OPEN":
            found[(*key[:3], 1)] = {name: row[name] for name in ("status", "onset_us", "deadline_us")}
    return found


def known(rows: Rows) -> Rows:
    """Findings of the checks that the oracle works out."""
    return {key: row for key, row in rows.items() if key[0] in CHECKS}


def _without(rows: Rows, others: Rows) -> Rows:
    """Rows whose finding does not wait for a stale source: one that came back within its episode shows that."""
    return {key: row for key, row in rows.items() if key not in others}


def _steady(rows: Rows) -> Rows:
    """Without the onset of SOURCE_STALE: its episode begins where the processing clock first ran away from it."""
    return {key: {"status": row["status"]} if key[0] == "SOURCE_STALE" else row for key, row in rows.items()}


def kpis(con: duckdb.DuckDBPyConnection, query: str) -> Rows:
    """KPI sums by (kpi, currency); a cell of nothing is no cell."""
    rows = _select(con, query)
    return {
        (row["kpi"], row["currency"]): {"numerator": row["numerator"], "denominator": row["denominator"]}
        for row in rows
        if row["numerator"] or row["denominator"]
    }


def lags(con: duckdb.DuckDBPyConnection, query: str) -> Rows:
    """The instants that K5 and K6 are made of, by (entry, project)."""
    return {(row.pop("entry_key"), row.pop("project_code")): row for row in _select(con, query)}


def _select(con: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    cursor = con.execute(query)
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def differences(table: str, expected: Rows, found: Rows) -> list[str]:
    """What differs between the oracle's rows and the stream's, a readable line each."""
    lines = []
    for key in sorted(expected.keys() | found.keys(), key=repr):
        name = f"{table} {'|'.join(str(part) for part in key)}"
        if key not in found:
            lines.append(f"{name}: only the oracle has it: {_readable(expected[key])}")
        elif key not in expected:
            lines.append(f"{name}: only the stream has it: {_readable(found[key])}")
        else:
            lines += _unequal(name, expected[key], found[key])
    return lines


def _unequal(name: str, expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    shared = expected.keys() & found.keys()
    return [
        f"{name}: {column}: oracle {_shown(column, expected[column])}, stream {_shown(column, found[column])}"
        for column in sorted(shared)
        if expected[column] != found[column]
    ]


def _readable(row: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name}={_shown(name, value)}" for name, value in row.items() if value not in (None, 0, [], False)
    )


def _shown(column: str, value: Any) -> str:
    if column.endswith("_us") and isinstance(value, int):
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value)).isoformat().replace("+00:00", "Z")
    return repr(value)
