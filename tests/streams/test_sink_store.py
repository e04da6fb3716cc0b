"""The analyst store: upserts, tombstones, events, history, offsets, versions; every view and column explained."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sink_rows import DAY, NOW, cell, decision, entry, finding, finding_event, gone, source

from tieout.reconcilers.outcomes import Outcome
from tieout.streams.sinks.catalogue import KPIS
from tieout.streams.sinks.reader import canned
from tieout.streams.sinks.store import Store, StoreError


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store(tmp_path / "store.duckdb") as store:
        yield store


EVERYTHING: tuple[Outcome, ...] = (
    entry(1), entry(2, state="HELD", held_s=27_000, ready_s=0, top_hold="H22", holds="H22|H04"), finding(2),
    finding_event(2), finding_event(2, "RESOLVED_AUTO"), decision(1), cell(27_000, state="READY"), source(),
)
LETTER = {"topic": "raw.time", "partition": 3, "offset": 42, "ts": NOW, "source": "TIME/kimai", "object": "time_entry",
          "reason": "not_json", "hint": "look at the producer", "payload": b"\xff{"}
PARKED = ("TIME/kimai|time_entry|7|1|", {**LETTER, "reason": "UNRESOLVED_REFERENCE", "reference": "worker|8"})


def content(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    views = [name for (name,) in store.query("SELECT view_name FROM duckdb_views() WHERE schema_name = 'v1'")]
    return {view: store.query(f"SELECT * FROM v1.{view} ORDER BY ALL") for view in views}


def test_writing_twice_changes_nothing(store: Store) -> None:
    """The same outcomes in one batch, again, and twice within a batch: the same rows in every view."""
    store.write(EVERYTHING, dead_letters=[LETTER], parked=[PARKED])
    once = content(store)
    store.write(EVERYTHING, dead_letters=[LETTER], parked=[PARKED])
    store.write((*EVERYTHING, *EVERYTHING), dead_letters=[LETTER, LETTER], parked=[PARKED, PARKED])
    assert content(store) == once
    assert {view: len(rows) for view, rows in once.items() if not view.startswith("kpi_")} == {
        "time_entry": 2, "finding": 1, "finding_event": 2, "billing_decision": 1, "kpi": 1, "source": 1,
        "dead_letter": 1, "parked": 1, "meta_freshness": 2,
    }


@pytest.mark.parametrize("batches", [
    pytest.param([[entry(1, state="HELD"), entry(1)]], id="within a batch"),
    pytest.param([[entry(1, state="HELD")], [entry(1)]], id="across batches"),
    pytest.param([[entry(1), gone(entry(1)), entry(1)]], id="after a tombstone"),
])
def test_the_last_row_of_a_key_wins(store: Store, batches: list[list[Outcome]]) -> None:
    for batch in batches:
        store.write(batch)
    assert store.query("SELECT entry_key, state FROM v1.time_entry") == [("TIME:1", "READY")]


def test_a_tombstone_takes_the_row_away(store: Store) -> None:
    store.write([entry(1), entry(2), cell(5)])
    store.write([gone(entry(1)), gone(cell(5)), gone(entry(9))])
    assert store.query("SELECT entry_key FROM v1.time_entry") == [("TIME:2",)]
    assert store.query("SELECT * FROM v1.kpi") == []


def test_a_released_record_is_no_longer_parked(store: Store) -> None:
    store.write([], parked=[PARKED])
    assert store.query("SELECT reference, payload FROM v1.parked") == [("worker|8", b"\xff{")]
    store.write([], parked=[(PARKED[0], None)])
    assert store.query("SELECT * FROM v1.parked") == []


def test_rows_and_offsets_are_one_transaction(store: Store) -> None:
    """A batch that fails leaves neither rows nor offsets; the store goes on working."""
    store.write([entry(1)], {("a", 0): 1, ("a", 1): 7})
    with pytest.raises(duckdb.Error):
        store.write([entry(2)], {("a", 0): 2**70})
    assert store.query("SELECT entry_key FROM v1.time_entry") == [("TIME:1",)]
    store.write([entry(3)], {("a", 0): 3, ("b", 0): 4})
    assert store.offsets() == {("a", 0): 3, ("a", 1): 7, ("b", 0): 4}


def test_dates_instants_and_lists_arrive_as_such(store: Store) -> None:
    store.write([entry(1, holds="H22|H04", top_hold="H22"), entry(2)])
    columns = "work_date::VARCHAR, updated_at::VARCHAR, holds"
    assert store.query(f"SELECT {columns} FROM v1.time_entry ORDER BY entry_key") == [
        ("2026-03-10", "2026-03-10 11:00:00", ["H22", "H04"]), ("2026-03-10", "2026-03-10 11:00:00", [])]


def test_a_store_has_one_writer_and_one_version(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    with Store(path) as store:
        store.set_meta("schema_version", "0")
    with pytest.raises(StoreError, match=r"store version 0, this build writes version 2: move the file away"):
        Store(path)


def test_reopening_keeps_everything(tmp_path: Path) -> None:
    with Store(tmp_path / "store.duckdb") as store:
        store.write(EVERYTHING, {("a", 0): 9})
        before = content(store)
    with Store(tmp_path / "store.duckdb") as store:
        assert content(store) == before
        assert store.offsets() == {("a", 0): 9}


HISTORY = [
    # batches of (numerator, denominator, minute), None: a tombstone      history: (minute, numerator, denominator)
    pytest.param([[(5, None, 1)], [(7, None, 2)]], [(1, 5, None), (2, 7, None)], id="each change"),
    pytest.param([[(5, None, 1), (7, None, 2)]], [(1, 5, None), (2, 7, None)], id="within a batch"),
    pytest.param([[(5, None, 1)], [(5, None, 2)]], [(1, 5, None)], id="no change, no row"),
    pytest.param([[(5, None, 1)], [None], [(2, None, 3)]], [(1, 0, None), (3, 2, None)], id="gone in the same instant"),
    pytest.param([[(5, None, 1), None, (2, None, 3)]], [(1, 5, None), (3, 2, None)], id="gone as of the batch"),
    pytest.param([[(1, 2, 1)], [None], [(3, 4, 2)]], [(1, 0, 0), (2, 3, 4)], id="a ratio"),
]


@pytest.mark.parametrize(("batches", "expected"), HISTORY)
def test_history_has_a_row_per_change(store: Store, batches: list[Any], expected: list[Any]) -> None:
    for batch in batches:
        store.write([
            gone(cell(0)) if said is None else cell(said[0], denominator=said[1], as_of=NOW + said[2] * 60_000_000)
            for said in batch
        ])
    rows = store.query("SELECT epoch_us(as_of), numerator, denominator FROM v1.kpi_history ORDER BY as_of")
    assert [((at - NOW) // 60_000_000, numerator, below) for at, numerator, below in rows] == expected


def test_history_adds_partitions_up(store: Store) -> None:
    store.write([cell(5, as_of=NOW), cell(3, partition=1, as_of=NOW + 1)])
    store.write([cell(6, as_of=NOW + 2), cell(1, partition=1, as_of=NOW + 2)])
    assert store.query("SELECT numerator FROM v1.kpi_history ORDER BY as_of") == [(5,), (8,), (7,)]


def test_lag_is_kept_once_a_minute(store: Store) -> None:
    """Its cell moves with every tick: of a minute only the last point stays."""
    for second in range(0, 130, 10):
        store.write([cell(second + 1, kpi="sync_lag", unit="us", source="ERP/ax", as_of=NOW + second * 1_000_000)])
    assert store.query("SELECT numerator FROM v1.kpi_history ORDER BY as_of") == [(51,), (111,), (121,)]


@pytest.mark.parametrize(("currency", "minor", "expected"), [
    ("GBP", 112_501, "1125.01"), ("JPY", 112_501, "112501"), ("BHD", 112_501, "112.501"), ("CLF", -5, "-0.0005"),
    ("GBP", 900_719_925_474_099_301, "9007199254740993.01"),
])
def test_money_is_exact_in_major_units(store: Store, currency: str, minor: int, expected: str) -> None:
    """Also beyond 2**53, where a float would round."""
    store.write([cell(minor, kpi="unbilled_value", unit="minor", currency=currency)])
    ((value, unit),) = store.query("SELECT value, unit FROM v1.kpi")
    assert isinstance(value, Decimal)
    assert (value, unit) == (Decimal(expected), currency)


@pytest.mark.parametrize(("said", "expected", "unit"), [
    ({"numerator": 27_000}, "7.5", "h"),
    ({"numerator": 1}, "0.0003", "h"),
    ({"numerator": -1}, "-0.0003", "h"),
    ({"numerator": 7, "denominator": 8, "unit": "count"}, "87.5", "%"),
    ({"numerator": 1, "denominator": 2_000, "unit": "count"}, "0.1", "%"),
    ({"numerator": 0, "denominator": 5, "unit": "count"}, "0", "%"),
    ({"numerator": 1_500_500, "unit": "us"}, "1.501", "s"),
    ({"numerator": 3, "unit": "count"}, "3", "count"),
])
def test_hours_ratios_lags_and_counts(store: Store, said: dict[str, Any], expected: str, unit: str) -> None:
    """4 decimals, 1 decimal, 3 decimals; half away from zero."""
    store.write([cell(**said)])
    assert store.query("SELECT value, unit FROM v1.kpi") == [(Decimal(expected), unit)]


@pytest.mark.parametrize("said", [{"numerator": 0}, {"numerator": 0, "denominator": 0, "unit": "count"}])
def test_an_empty_cell_is_no_row(store: Store, said: dict[str, Any]) -> None:
    store.write([cell(**said)])
    assert store.query("SELECT * FROM v1.kpi") == []


def test_every_view_and_column_is_explained(store: Store) -> None:
    views = store.query("SELECT view_name FROM duckdb_views() WHERE schema_name = 'v1' AND comment IS NULL")
    columns = store.query("SELECT table_name, column_name FROM duckdb_columns() "
                          "WHERE schema_name = 'v1' AND (comment IS NULL OR comment = '')")
    assert (views, columns) == ([], [])
    tables = store.query("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'v1'")
    assert tables == []  # views are the interface


CONTRACT = {
    "time_entry": "entry_key worker_no project_code account_no le_code region practice billing_cycle_id work_date "
                  "status state approved_s billed_s unbilled_s overbilled_s written_off_s proposed_s ready_s held_s "
                  "rate_e6 currency unbilled_minor ready_minor held_minor applied_minor billed_minor "
                  "adjustment_due_minor top_hold holds updated_at",
    "finding": "finding_id code facet entity business_key attribute systems episode status severity queue region "
               "le_code practice project_code billing_cycle_id impact_s impact_minor currency estimated left_system "
               "left_value right_system right_value owner_system onset_at deadline_at opened_at resolved_at resolution "
               "entries_count explanation rule_version",
    "finding_event": "finding_id code facet entity business_key attribute systems episode step at actor reason",
    "source": "system instance object watermark_at last_event_at state received applied duplicates stale parked "
              "filtered dead_lettered",
    **dict.fromkeys(
        ("kpi", "kpi_history", *(f"kpi_{kpi.id}" for kpi in KPIS)),
        "kpi measure le_code region practice project_code billing_cycle_id currency state hold_code value numerator "
        "denominator unit as_of complete_through freshness"),
    "dead_letter": "", "parked": "", "meta_freshness": "",
}


@pytest.mark.parametrize("view", CONTRACT)
def test_views_have_the_columns_of_the_contract(store: Store, view: str) -> None:
    found = store.query("SELECT column_name FROM duckdb_columns() WHERE schema_name = 'v1' AND table_name = ?", [view])
    assert found
    assert set(CONTRACT[view].split()) - {name for (name,) in found} == set()


def test_sources_account_for_every_change(store: Store) -> None:
    """Applied, duplicate and stale changes come from the cells of all partitions; '*' adds the objects up."""
    store.write([
        source(), source(object="time_entry", received=10, parked=1, filtered=2, dead_lettered=1),
        source(object="resource", received=4),
        *(cell(count, kpi="events", unit="count", measure=measure, source="TIME/kimai", object=name, partition=at)
          for measure, name, at, count in (
              ("APPLIED", "time_entry", 0, 2), ("APPLIED", "time_entry", 1, 1), ("DUPLICATE", "time_entry", 1, 2),
              ("STALE", "time_entry", 0, 1), ("APPLIED", "resource", 0, 4))),
    ])
    columns = "object, received, applied, duplicates, stale, parked, filtered, dead_lettered"
    assert store.query(f"SELECT {columns} FROM v1.source ORDER BY object") == [
        ("*", 14, 7, 2, 1, 1, 2, 1), ("resource", 4, 4, 0, 0, 0, 0, 0), ("time_entry", 10, 3, 2, 1, 1, 2, 1)]
    assert store.query("SELECT kpi, value FROM v1.kpi") == [("duplicates_suppressed", 2)]
    assert store.query("SELECT numerator FROM v1.kpi_duplicates_suppressed") == [(2,)]


@pytest.mark.parametrize(("sources", "state", "stale"), [
    ([source()], "FRESH", []),
    ([source(), source("ERP/ax", state="STALE")], "STALE", ["ERP/ax"]),
    ([source(), source("ERP/ax", state="UNKNOWN", watermark_at=None)], "UNKNOWN", ["ERP/ax"]),
    ([], "UNKNOWN", []),
])
def test_freshness_is_the_worst_of_the_sources(
    store: Store, sources: list[Outcome], state: str, stale: list[str]
) -> None:
    store.write([*sources, cell(1)])
    assert store.query("SELECT state, stale_sources FROM v1.meta_freshness WHERE source = '*'") == [(state, stale)]
    complete = NOW - 10**6 if state in ("FRESH", "STALE") else None
    assert store.query("SELECT epoch_us(as_of), epoch_us(complete_through), freshness FROM v1.kpi") == [
        (NOW, complete, state)]


@pytest.mark.parametrize(("age", "bucket"), [
    (-1, "0-30"), (0, "0-30"), (30, "0-30"), (31, "31-45"), (45, "31-45"), (46, "46-60"), (60, "46-60"), (61, "61-90"),
    (90, "61-90"), (91, "90+"),
])
def test_ageing_buckets(store: Store, age: int, bucket: str) -> None:
    """Bounds are inclusive on both sides; the age is that at as_of."""
    work_date = DAY - age
    store.write([
        entry(1, work_date=work_date),
        cell(27_000, kpi="unbilled_ageing", measure="HOURS", work_date=work_date, currency="GBP", state="READY"),
    ])
    assert store.query("SELECT state, measure, value FROM v1.kpi") == [(bucket, "HOURS", Decimal("7.5"))]
    assert store.query("SELECT state FROM v1.kpi_unbilled_ageing") == [(bucket,), (bucket,)]


@pytest.mark.parametrize("name", sorted(canned()))
def test_shipped_queries_run(store: Store, name: str) -> None:
    store.write(EVERYTHING, dead_letters=[LETTER])
    query = canned()[name]
    assert query.question.endswith(("?", ")"))
    rows = store.query(query.sql)
    assert (rows == []) == (name in {"balance", "wrong-rate", "no-rate", "ageing"})


def test_a_stale_source_costs_what_waits_for_it(tmp_path: Path) -> None:
    """The row of SOURCE_STALE shows entries, seconds and money that its project partitions cannot evaluate."""
    cells = [cell(count, kpi="unevaluated", unit=unit, measure=measure, source="ERP/ax", partition=partition, **more)
             for measure, unit, counts, more in (("ENTRIES", "count", (2, 1), {}), ("HOURS", "s", (3_600, 1_800), {}),
                                                 ("VALUE", "minor", (15_000, 7_500), {"currency": "GBP"}))
             for partition, count in enumerate(counts)]
    with Store(tmp_path / "t.duckdb") as store:
        store.write([finding(code="SOURCE_STALE", business_key="ERP/ax", status="OPEN", facet=None, entity="source",
                             impact_minor=0, currency=None), *cells])
    with duckdb.connect(str(tmp_path / "t.duckdb"), read_only=True) as con:
        row = con.execute("SELECT entries_count, impact_s, impact_minor, currency FROM v1.finding").fetchall()
        assert row == [(3, 5_400, 22_500, "GBP")]
        assert con.execute("SELECT count(*) FROM v1.kpi WHERE kpi = 'unevaluated'").fetchall() == [(0,)]
        assert con.execute("SELECT count(*) FROM v1.kpi_exposure").fetchall() == [(0,)], "as the streamed K16 has it"


UNREAD: dict[str, Any] = {
    "code": "SCHEMA_INCOMPATIBLE", "business_key": "TIME/kimai|time_entry", "facet": None, "entries_count": 412,
    "impact_s": 412 * 27_000, "impact_minor": 0, "currency": None, "estimated": True, "entity": "source"}
WHOLE = {"unbilled_s": 27_000, "currency": "GBP"}
ONE: dict[str, Any] = {"kpi": "unread", "unit": "minor", "source": "TIME/kimai", "object": "time_entry",
                       "currency": "GBP", "denominator": 1}
MEANS: list[tuple[dict[str, Any], list[dict[str, Any]], tuple[int, str | None]]] = [
    ({}, [{**WHOLE, "unbilled_minor": 112_500}], (46_350_000, "GBP")),  # 412 x 1,125.00
    ({"entries_count": 3}, [{**WHOLE, "unbilled_minor": 10}, {**WHOLE, "unbilled_minor": 15}], (38, "GBP")),  # 37.5
    ({}, [{**WHOLE, "unbilled_minor": 112_500}, {**WHOLE, "unbilled_s": 0, "unbilled_minor": 0}], (46_350_000, "GBP")),
    ({}, [{**WHOLE, "unbilled_minor": 9}, {**WHOLE, "unbilled_minor": 9, "currency": "EUR"}], (0, None)),
    ({}, [], (0, None)),
    ({"impact_s": 0}, [{**WHOLE, "unbilled_minor": 9}], (0, None)),  # of an object without quantities
    ({"facet": "SEMANTIC"}, [{**WHOLE, "unbilled_minor": 9}], (0, None)),
    ({"status": "RESOLVED_AUTO"}, [{**WHOLE, "unbilled_minor": 9}], (0, None)),
]


NAMED: list[tuple[list[tuple[int, dict[str, Any]]], tuple[int, str | None]]] = [
    # cells of the project axis                                             412 letters; entries of GBP and EUR 0.09
    ([(112_500, {})],                                                       (46_350_000, "GBP")),
    ([(112_500, {}), (0, {"partition": 1})],                                (23_175_000, "GBP")),  # one is billed
    ([(100, {"denominator": 3})],                                           (13_733, "GBP")),  # 13,733.33
    ([(112_500, {"currency": "EUR"}), (112_500, {})],                       (0, None)),
    ([(112_500, {"source": "TIME/other"})],                                 (0, None)),
    ([(112_500, {"object": "posted_labour"})],                              (0, None)),
    ([],                                                                    (0, None)),
]  # fmt: skip


@pytest.mark.parametrize(("cells", "money"), NAMED)
def test_the_mean_is_of_the_entries_that_letters_name_where_they_name_any(
        store: Store, cells: list[tuple[int, dict[str, Any]]], money: tuple[int, str | None]) -> None:
    store.write([finding(**{"status": "OPEN", **UNREAD}), entry(1, **WHOLE, unbilled_minor=9),
                 entry(2, **{**WHOLE, "currency": "EUR"}, unbilled_minor=9),
                 *(cell(minor, **{**ONE, **more}) for minor, more in cells)])
    assert store.query("SELECT impact_minor, currency FROM v1.finding") == [money]
    assert store.query("SELECT count(*) FROM v1.kpi WHERE kpi = 'unread'") == [(0,)]


@pytest.mark.parametrize(("more", "entries", "money"), MEANS)
def test_what_cannot_be_read_is_worth_its_number_times_the_mean_entry(
        store: Store, more: dict[str, Any], entries: list[dict[str, Any]], money: tuple[int, str | None]) -> None:
    store.write([finding(**{"status": "OPEN", **UNREAD, **more}),
                 *(entry(number, **each) for number, each in enumerate(entries))])
    assert store.query("SELECT impact_minor, currency FROM v1.finding") == [money]
    assert store.query("SELECT * FROM v1.kpi_exposure") == []
