"""Objects that are lost from sight, read again and emptied, and schemas that change, through `tieout replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
from oracle.replaying import replay
from scenarios.dsl import ERP, PSA, TIME, Capture, fixture

Rows = list[tuple[Any, ...]]
ORDERS = [{}, {"shuffle": 7}, {"shuffle": 8, "duplicate": 0.4}, {"shuffle": 9, "partitions": 3}]

LABOUR: dict[str, Any] = {"le_code": "UK01", "txn_type": "COST"}


def lost_and_found() -> Capture:
    """The ERP loses postings on Tuesday at noon, is read again on Thursday at noon, and E3 is not among what it has.

    The PSA, which has E2 with 6 h, empties its entries on Friday.
    """
    firm = fixture()
    for number, key in enumerate(("E1", "E2", "E3"), 9):
        firm.enter(key, f"2026-03-{number:02d}", hours=7.5, at="2026-03-16T09:00:00Z")
        firm.approve(key, at="2026-03-16T10:00:00Z")
        firm.post(key, at="2026-03-16T11:00:00Z")
    firm.update("E2", at="2026-03-16T10:30:00Z", sources=(PSA,), qty_s=21_600)
    firm.happened(ERP, "posted_labour", "gap", at="2026-03-17T12:00:00Z")
    firm.enter("E4", "2026-03-12", hours=7.5, at="2026-03-17T13:00:00Z")
    firm.approve("E4", at="2026-03-17T14:00:00Z")  # its posting is lost
    for key in ("E1", "E2", "E4"):
        firm.put(ERP, "posted_labour", "snapshot", at="2026-03-19T11:59:00Z", **posting(firm, key))
    firm.happened(ERP, "posted_labour", "snapshot", at="2026-03-19T12:00:00Z")
    firm.happened(PSA, "time_entry", "truncated", at="2026-03-20T12:00:00Z")
    return firm


def posting(firm: Capture, key: str) -> dict[str, Any]:
    row = firm.entries[key]
    same = ("project_code", "worker_no", "work_date", "qty_s")
    return LABOUR | {name: row[name] for name in same} | {
        "erp_txn_id": f"T-{key}", "origin_ref": f"TIME:{key}", "accounting_date": row["work_date"], "voucher": "V",
        "qty_s": 27_000}


def played(capture: Capture, path: Path, until: str, **options: Any) -> duckdb.DuckDBPyConnection:
    """The store after a replay of what had been sent until then."""
    capture.lines = [line for line in capture.lines if line[1]["time"] <= until]
    replay(capture.write(path / "capture.jsonl"), path / "tieout.duckdb", until=until, assume_fresh=True, **options)
    connection = duckdb.connect(str(path / "tieout.duckdb"), read_only=True)
    connection.execute("SET timezone = 'UTC'")
    return connection


def findings(connection: duckdb.DuckDBPyConnection) -> Rows:
    return connection.execute("""
        SELECT code, facet, business_key, status, strftime(onset_at, '%d %H:%M') FROM v1.finding
        WHERE code IN ('CDC_GAP', 'TIME_LATE_TO_ERP', 'TIME_QTY_MISMATCH') ORDER BY ALL""").fetchall()


def states(connection: duckdb.DuckDBPyConnection) -> Rows:
    return connection.execute("SELECT entry_key, state, top_hold FROM v1.time_entry ORDER BY 1").fetchall()


LATE, QTY, GAP = "TIME_LATE_TO_ERP", "TIME_QTY_MISMATCH", ("CDC_GAP", None, f"{ERP}|posted_labour")

MOMENTS: list[tuple[str, Rows, Rows]] = [
    ("2026-03-16T18:00:00Z",
     [(QTY, "QTY", "TIME:E2", "OPEN", "16 11:00")],
     [("TIME:E1", "READY", None), ("TIME:E2", "HELD", "H16"), ("TIME:E3", "READY", None)]),
    ("2026-03-18T18:00:00Z",  # nothing is known of the ERP's postings: E4 may well be there
     [(*GAP, "OPEN", "17 12:00"), (LATE, "POSTED", "TIME:E4", "SUPPRESSED", "17 14:00"),
      (LATE, "STAGED", "TIME:E4", "SUPPRESSED", "17 14:00"), (QTY, "QTY", "TIME:E2", "OPEN", "16 11:00")],
     [("TIME:E1", "HELD", "H19"), ("TIME:E2", "HELD", "H16"), ("TIME:E3", "HELD", "H19"),
      ("TIME:E4", "APPROVED_PENDING", None)]),
    ("2026-03-19T13:00:00Z",  # E4 was there, E3 is not any more: its grace has just begun
     [(*GAP, "RESOLVED_AUTO", "17 12:00"), (QTY, "QTY", "TIME:E2", "OPEN", "16 11:00")],
     [("TIME:E1", "READY", None), ("TIME:E2", "HELD", "H16"), ("TIME:E3", "APPROVED_PENDING", None),
      ("TIME:E4", "READY", None)]),
    ("2026-03-20T18:00:00Z",  # the PSA has no entries, so it disagrees with none
     [(*GAP, "RESOLVED_AUTO", "17 12:00"), (LATE, "POSTED", "TIME:E3", "OPEN", "19 12:00"),
      (LATE, "STAGED", "TIME:E3", "OPEN", "19 12:00"), (QTY, "QTY", "TIME:E2", "RESOLVED_AUTO", "16 11:00")],
     [("TIME:E1", "READY", None), ("TIME:E2", "READY", None), ("TIME:E3", "HELD", "H22"),
      ("TIME:E4", "READY", None)]),
]


@pytest.mark.parametrize("options", ORDERS, ids=lambda options: "-".join(map(str, options.values())) or "captured")
@pytest.mark.parametrize(("until", "expected", "entries"), MOMENTS, ids=lambda value: value if isinstance(
    value, str) else "")
def test_an_object_that_is_lost_read_again_and_emptied(tmp_path: Path, until: str, expected: Rows, entries: Rows,
                                                       options: dict[str, Any]) -> None:
    with played(lost_and_found(), tmp_path, until, **options) as connection:
        assert findings(connection) == expected
        assert states(connection) == entries
        assert connection.execute("""
            SELECT system, received = applied + duplicates + stale + parked + filtered + dead_lettered
            FROM v1.source WHERE object = '*' AND system IN ('ERP', 'PSA', 'TIME') ORDER BY 1""").fetchall() == [
                ("ERP", True), ("PSA", True), ("TIME", True)]


def test_minutes_that_come_as_hours_are_not_applied_and_are_seen(tmp_path: Path) -> None:
    """250 entries of 450 hours each: none is billed, and the drift detector says why."""
    firm = fixture()
    firm.enter("E1", "2026-03-09", hours=7.5, at="2026-03-16T09:00:00Z")
    for number in range(250):
        firm.enter(f"M{number}", "2026-03-10", hours=450, at="2026-03-16T10:00:00Z", psa=False)
    with played(firm, tmp_path, "2026-03-16T12:00:00Z") as connection:
        found = connection.execute("""
            SELECT facet, business_key, status, entries_count, left_value FROM v1.finding
            WHERE code = 'SCHEMA_INCOMPATIBLE'""").fetchall()
        assert found == [("SEMANTIC", f"{TIME}|time_entry", "OPEN", 250, "450.00 h")]
        assert connection.execute("SELECT count(*) FROM v1.time_entry").fetchall() == [(1,)]
        assert connection.execute("SELECT reason, count(*) FROM v1.dead_letter GROUP BY 1").fetchall() == [
            ("implausible_quantity", 250)]


STRANGE: list[tuple[str, str, list[tuple[Any, ...]]]] = [
    ("2026-03-16T18:00:00Z", "APPROVED", []),
    ("2026-03-17T18:00:00Z", "UNKNOWN", [("ENUM", f"{TIME}|time_entry", "OPEN", 1, "state")]),
    ("2026-03-18T18:00:00Z", "APPROVED", [("ENUM", f"{TIME}|time_entry", "RESOLVED_AUTO", 1, "state")]),
]


@pytest.mark.parametrize("options", ORDERS, ids=lambda options: "-".join(map(str, options.values())) or "captured")
@pytest.mark.parametrize(("until", "status", "expected"), STRANGE, ids=[row[0][:10] for row in STRANGE])
def test_a_state_that_nobody_knows_is_told_until_one_comes_that_is_known(
        tmp_path: Path, until: str, status: str, expected: Rows, options: dict[str, Any]) -> None:
    firm = fixture()
    firm.enter("E1", "2026-03-09", hours=7.5, at="2026-03-16T09:00:00Z")
    firm.approve("E1", at="2026-03-16T10:00:00Z")
    firm.update("E1", at="2026-03-17T10:00:00Z", sources=(TIME,), state="BLESSED")
    firm.update("E1", at="2026-03-18T10:00:00Z", sources=(TIME,), state="APPROVED")
    with played(firm, tmp_path, until, **options) as connection:
        assert connection.execute("SELECT status FROM v1.time_entry").fetchall() == [(status,)]
        assert connection.execute("""
            SELECT facet, business_key, status, entries_count, attribute FROM v1.finding
            WHERE code = 'SCHEMA_INCOMPATIBLE'""").fetchall() == expected
