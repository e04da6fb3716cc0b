"""Rows in memory: cells of partitions add, new rows retract old ones, tombstones retract for good."""

from __future__ import annotations

import random

from api_firm import NOON, UK, US, Firm

from tieout.streams.api.live import TOTAL, sum_up


def total(firm: Firm, kpi: str) -> dict[tuple[object, ...], int]:
    return {group: found.numerator for group, found in firm.live.sums(kpi).items()}


def test_cells_of_all_partitions_are_added(firm: Firm) -> None:
    firm.cell("unbilled_hours", 3_600, "s", partition=0, **UK)
    firm.cell("unbilled_hours", 1_800, "s", partition=3, **UK)
    assert total(firm, "unbilled_hours") == {("VALUE", None): 5_400}


def test_a_new_row_of_a_cell_replaces_the_one_before(firm: Firm) -> None:
    firm.cell("unbilled_hours", 3_600, "s", **UK)
    firm.cell("unbilled_hours", 7_200, "s", **UK)
    assert total(firm, "unbilled_hours") == {("VALUE", None): 7_200}


def test_a_tombstone_takes_its_cell_out(firm: Firm) -> None:
    firm.cell("unbilled_hours", 3_600, "s", **UK)
    firm.cell("unbilled_hours", 7_200, "s", **US)
    firm.cell("unbilled_hours", 0, "s", gone=True, **UK)
    assert total(firm, "unbilled_hours") == {("VALUE", None): 7_200}
    firm.cell("unbilled_hours", 0, "s", gone=True, **US)
    assert total(firm, "unbilled_hours") == {}
    firm.cell("unbilled_hours", 0, "s", gone=True, **US)  # of a cell that is not there: nothing happens


def test_currencies_stay_apart_and_only_money_has_one(firm: Firm) -> None:
    firm.cell("unbilled_value", 100, "minor", currency="GBP", **UK)
    firm.cell("unbilled_value", 200, "minor", currency="USD", **UK)
    firm.cell("unbilled_hours", 3_600, "s", currency="GBP", **UK)
    assert total(firm, "unbilled_value") == {("VALUE", "GBP"): 100, ("VALUE", "USD"): 200}
    assert total(firm, "unbilled_hours") == {("VALUE", None): 3_600}


def test_duplicates_are_counted_from_the_events(firm: Firm) -> None:
    firm.cell("events", 4, "count", measure="DUPLICATE", source="TIME/main", object="time_entry")
    firm.cell("events", 9, "count", measure="APPLIED", source="TIME/main", object="time_entry")
    assert total(firm, "duplicates_suppressed") == {("VALUE", None): 4}


def test_incremental_totals_equal_a_sum_over_all_cells() -> None:
    from pathlib import Path

    pick = random.Random(7)
    firm = Firm(Path("."))
    for _ in range(2_000):
        firm.cell(
            "unbilled_value", pick.randrange(-500, 10_000), "minor", partition=pick.randrange(4),
            currency=pick.choice(["GBP", "USD", "JPY"]), project_code=f"P-{pick.randrange(20)}",
            denominator=pick.choice([None, 3]), gone=pick.random() < 0.3,
        )  # fmt: skip
    fresh = sum_up(firm.live.cells("unbilled_value"), TOTAL, None)
    kept = firm.live.sums("unbilled_value")
    assert {group: (s.numerator, s.denominator, s.cells) for group, s in kept.items()} == {
        group: (s.numerator, s.denominator, s.cells) for group, s in fresh.items()
    }


def test_changes_are_told_once(firm: Firm) -> None:
    firm.cell("unbilled_hours", 3_600, "s", **UK)
    firm.finding("f-1")
    firm.source("ERP/main")
    changes = firm.live.changes()
    told = [set(names) for names in (changes.kpis, changes.findings, changes.sources)]
    assert told == [{"unbilled_hours"}, {"f-1"}, {"ERP/main|*"}]
    assert not firm.live.changes()


def test_as_of_is_the_newest_instant_of_any_row(firm: Firm) -> None:
    assert firm.live.as_of is None
    firm.cell("unbilled_hours", 1, "s", as_of=NOON + 5, **UK)
    firm.source("ERP/main", as_of=NOON - 5)
    assert firm.live.as_of == NOON + 5
