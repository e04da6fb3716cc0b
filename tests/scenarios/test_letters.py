"""A posting that cannot be read, through `tieout replay`: its entry is unknown to the ERP, not missing there."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import duckdb
import orjson
import pytest
from oracle.replaying import instant_us, records
from scenarios.dsl import ERP, Capture, P, fixture

from tieout.codecs.records import RawRecord
from tieout.streams import replay as product
from tieout.streams.deadletters import REPLAYED_FROM
from tieout.streams.pipeline import Batch, Pipeline

Rows = list[tuple[Any, ...]]
ORDERS: list[dict[str, Any]] = [{}, {"shuffle": 7}, {"shuffle": 8, "duplicate": 0.4}, {"shuffle": 9, "partitions": 3}]
BROKEN, AGAIN = "broken", "again"


def posting(qty_s: Any) -> dict[str, Any]:
    return {"le_code": "UK01", "txn_type": "COST", "project_code": P, "worker_no": "W1001", "work_date": "2026-03-10",
            "qty_s": qty_s, "erp_txn_id": "T-E2", "origin_ref": "TIME:E2", "accounting_date": "2026-03-10",
            "voucher": "V"}


def firm(*, mended: bool, later: bool = False) -> Capture:
    """Three approved entries; E1 is posted, E2's posting has a quantity that is no number, E3 is not posted at all.

    On Thursday noon the letter is replayed with the mapping mended, or the ERP changes the posting once more.
    """
    capture = fixture()
    for number, key in enumerate(("E1", "E2", "E3"), 9):
        capture.enter(key, f"2026-03-{number:02d}", hours=7.5, at="2026-03-16T09:00:00Z")
        capture.approve(key, at="2026-03-16T10:00:00Z")
    capture.post("E1", at="2026-03-16T11:00:00Z")
    capture.put(ERP, "posted_labour", at="2026-03-16T11:00:00Z", seq="000000009001", event_id=BROKEN, **posting("much"))
    if mended:
        capture.put(ERP, "posted_labour", at="2026-03-16T11:00:00Z", seq="000000009001", event_id=AGAIN,
                    arrives="2026-03-19T12:00:00Z", **posting(27_000))
    if later:
        capture.put(ERP, "posted_labour", at="2026-03-19T12:00:00Z", seq="000000009002", **posting(27_000))
    return capture


def lines(capture: Capture, path: Path, until: str) -> tuple[list[RawRecord], str]:
    """What had arrived until then, the replayed record with its header; and the origin of the letter."""
    found = [line for line in records(capture.write(path / "capture.jsonl")) if line.ts_ms * 1_000 <= instant_us(until)]
    ids = {orjson.loads(line.value or b"{}")["id"]: line for line in found}
    origin = "{0.topic}/{0.partition}/{0.offset}".format(ids[BROKEN])
    return [line._replace(headers=((REPLAYED_FROM, origin.encode()),)) if line is ids.get(AGAIN) else line
            for line in found], origin


def verdict(capture: Capture, path: Path, until: str, *, drop: bool = False, **options: Any
            ) -> tuple[Rows, Rows, list[bool]]:
    """Findings about postings, states of the entries, and whether the counts of every source add up."""
    captured, origin = lines(capture, path, until)
    tick = Pipeline.tick

    def dropping(self: Pipeline, **moment: Any) -> Batch:
        self.dropped(origin)
        return tick(self, **moment)

    chosen = product.Options(until_us=instant_us(until), assume_fresh=True, **options)
    with patch.object(Pipeline, "tick", dropping if drop else tick):
        product.replay(captured, path / "tieout.duckdb", chosen)
    with duckdb.connect(str(path / "tieout.duckdb"), read_only=True) as connection:
        findings = connection.execute("""
            SELECT facet, business_key, status FROM v1.finding WHERE code = 'TIME_LATE_TO_ERP' ORDER BY ALL""").fetchall()
        states = connection.execute("SELECT entry_key, state, top_hold FROM v1.time_entry ORDER BY 1").fetchall()
        adds_up = connection.execute("""
            SELECT received = applied + duplicates + stale + parked + filtered + dead_lettered FROM v1.source
            WHERE object = '*' AND system IN ('ERP', 'PSA', 'TIME') ORDER BY system""").fetchall()
    return findings, states, [fine for (fine,) in adds_up]


E1, E3 = ("TIME:E1", "READY", None), ("TIME:E3", "HELD", "H22")
MISSING: Rows = [("POSTED", "TIME:E3", "OPEN"), ("STAGED", "TIME:E3", "OPEN")]
UNKNOWN: Rows = [("POSTED", "TIME:E2", "SUPPRESSED"), MISSING[0], ("STAGED", "TIME:E2", "SUPPRESSED"), MISSING[1]]
GIVEN_UP: Rows = [("POSTED", "TIME:E2", "OPEN"), MISSING[0], ("STAGED", "TIME:E2", "OPEN"), MISSING[1]]

MOMENTS: list[tuple[str, dict[str, bool], str, bool, Rows, Rows]] = [
    ("unread", {"mended": False}, "2026-03-18T18:00:00Z", False, UNKNOWN, [("TIME:E2", "APPROVED_PENDING", None)]),
    ("before-the-replay", {"mended": True}, "2026-03-18T18:00:00Z", False, UNKNOWN,
     [("TIME:E2", "APPROVED_PENDING", None)]),
    ("replayed", {"mended": True}, "2026-03-19T18:00:00Z", False, MISSING, [("TIME:E2", "READY", None)]),
    ("changed-later", {"mended": False, "later": True}, "2026-03-19T18:00:00Z", False, MISSING,
     [("TIME:E2", "READY", None)]),
    ("dropped", {"mended": False}, "2026-03-18T18:00:00Z", True, GIVEN_UP, [("TIME:E2", "HELD", "H22")]),
]


@pytest.mark.parametrize("options", ORDERS, ids=lambda options: "-".join(map(str, options.values())) or "captured")
@pytest.mark.parametrize(("story", "until", "drop", "findings", "entry"), [moment[1:] for moment in MOMENTS],
                         ids=[moment[0] for moment in MOMENTS])
def test_a_posting_that_cannot_be_read_is_unknown_until_it_is_replayed_changed_or_dropped(
        tmp_path: Path, story: dict[str, bool], until: str, drop: bool, findings: Rows, entry: Rows,
        options: dict[str, Any]) -> None:
    found, states, adds_up = verdict(firm(**story), tmp_path, until, drop=drop, **options)
    assert found == findings
    assert states == [E1, *entry, E3]
    assert adds_up == [True, True, True]
