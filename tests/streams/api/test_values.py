"""Values are exact: rounded once, from base units, in decimals."""

from __future__ import annotations

from decimal import Decimal

import pytest
from api_firm import DAY, MINUTE, NOON, TODAY, UK, Firm

from tieout.streams.api.freshness import State, behind_text
from tieout.streams.api.live import Sum
from tieout.streams.api.values import Scope, exact
from tieout.streams.sinks.catalogue import BY_ID


@pytest.mark.parametrize(
    ("kpi", "unit", "numerator", "denominator", "currency", "expected"),
    [
        ("unbilled_hours", "s", 27_000, None, None, "7.5000"),
        ("unbilled_hours", "s", 1, None, None, "0.0003"),  # 0.00027… up
        ("unbilled_hours", "s", -1, None, None, "-0.0003"),  # half away from zero, both ways
        ("unbilled_value", "minor", 562_500, None, "GBP", "5625.00"),
        ("unbilled_value", "minor", 562_500, None, "JPY", "562500"),
        ("unbilled_value", "minor", 562_500, None, "BHD", "562.500"),
        ("unbilled_value", "minor", 2**63 - 1, None, "GBP", "92233720368547758.07"),  # no float could hold it
        ("assignment_sync_rate", "count", 1, 8, None, "12.5"),
        ("assignment_sync_rate", "count", 115, 118, None, "97.5"),
        ("assignment_sync_rate", "count", 0, 0, None, None),  # a share of nothing is no number
        ("open_findings", "count", 12, None, None, "12"),
        ("sync_lag", "us", 12_345_600, None, None, "12.346"),
    ],
)
def test_value(
    kpi: str, unit: str, numerator: int, denominator: int | None, currency: str | None, expected: str | None
) -> None:
    total = Sum(unit)
    total.add({"numerator": numerator, "denominator": denominator})
    value = exact(BY_ID[kpi], "VALUE", total, currency)
    assert value == (None if expected is None else Decimal(expected))
    assert expected is None or format(value, "f") == expected


def test_filters_select_cells(furnished: Firm) -> None:
    kpi = BY_ID["unbilled_hours"]
    whole = furnished.values.value(kpi)
    assert whole["exact"] == "427.5003"
    assert furnished.values.value(kpi, Scope({"le_code": ("US01",)}))["exact"] == "112.5000"
    assert furnished.values.value(kpi, Scope({"le_code": ("US01", "UK01"), "state": ("HELD",)}))["exact"] == "62.5000"
    assert furnished.values.value(kpi, Scope({"le_code": ("FR01",)}))["exact"] == "0.0000"


def test_what_is_not_known_yet_is_not_zero(firm: Firm) -> None:
    firm.live.ready.clear()
    value = firm.values.value(BY_ID["unbilled_hours"])
    assert (value["value"], value["freshness"]["state"]) == (None, "UNKNOWN")


def test_the_worst_source_is_the_lag(firm: Firm) -> None:
    firm.source("ERP/main", behind_us=12 * MINUTE)
    firm.source("TIME/main", behind_us=3_000_000)
    value = firm.values.value(BY_ID["sync_lag"])
    assert (value["exact"], value["unit"]) == ("720.000", "s")
    parts = firm.values.breakdown(BY_ID["sync_lag"], "state", Scope(), 10)
    assert [(row["state"], row["exact"]) for row in parts] == [("ERP/main", "720.000"), ("TIME/main", "3.000")]


def test_age_buckets_are_made_when_they_are_read(firm: Firm) -> None:
    for days in (0, 30, 31, 45, 46, 60, 61, 90, 91):
        firm.cell("unbilled_ageing", 3_600, "s", measure="HOURS", work_date=TODAY - days, **UK)
    rows = firm.values.breakdown(BY_ID["unbilled_ageing"], "state", Scope(), 10)
    assert {row["state"]: row["exact"] for row in rows} == {
        "0-30": "2.0000", "31-45": "2.0000", "46-60": "2.0000", "61-90": "2.0000", "90+": "1.0000",
    }  # fmt: skip
    firm.source("TIME/main", as_of=NOON + 400 * DAY)  # time passes, no cell changes
    assert [row["state"] for row in firm.values.breakdown(BY_ID["unbilled_ageing"], "state", Scope(), 10)] == ["90+"]


def test_breakdown_and_rest_add_up(furnished: Firm) -> None:
    kpi = BY_ID["unbilled_hours"]
    whole = furnished.values.rows(kpi, Scope())[0]
    for limit in (1, 2, 10):
        parts = furnished.values.breakdown(kpi, "state", Scope(), limit)
        assert sum(row["numerator"] for row in parts) == whole["numerator"]
    assert [row["rest_of"] for row in furnished.values.breakdown(kpi, "state", Scope(), 1)] == [None, 2]


def test_at_risk_is_what_findings_hold_back(furnished: Firm) -> None:
    risk = furnished.values.value(BY_ID["unbilled_value"], Scope({"region": ("EMEA",)}))["at_risk"]
    assert risk["hours"] == Decimal("50.0000")
    assert [(row["currency"], row["exact"]) for row in risk["amounts"]] == [("GBP", "7500.00")]
    assert risk["findings"] == "/v1/findings?region=EMEA"
    assert furnished.values.value(BY_ID["sync_lag"])["at_risk"] is None


def test_a_late_source_makes_its_kpis_stale_and_no_others(furnished: Firm) -> None:
    furnished.source("SCHED/main", behind_us=12 * MINUTE, state="STALE")
    assignments = furnished.values.value(BY_ID["unsynchronised_assignments"])["freshness"]
    assert assignments["state"] == "STALE"
    assert assignments["note"] == "as of 10 Mar 12:00 UTC, SCHED is 12 min behind"
    assert [source["source"] for source in assignments["stale_sources"]] == ["SCHED/main"]
    assert furnished.values.value(BY_ID["unbilled_hours"])["freshness"]["state"] == "FRESH"
    assert furnished.values.value(BY_ID["open_findings"])["freshness"]["state"] == "STALE"


def test_complete_through_is_the_slowest_source(furnished: Firm) -> None:
    furnished.source("ERP/main", behind_us=2 * MINUTE)
    assert furnished.values.value(BY_ID["unbilled_hours"])["complete_through"] == "2026-03-10T11:58:00.000Z"
    furnished.source("ERP/main", watermark_at=None, state="UNKNOWN")
    unknown = furnished.values.value(BY_ID["unbilled_hours"])
    assert (unknown["complete_through"], unknown["freshness"]["state"]) == (None, "UNKNOWN")


def test_in_wall_time_a_source_turns_stale_by_itself(firm: Firm) -> None:
    firm.judge._wall = True
    firm.source("ERP/main")  # says FRESH, at a noon long ago
    assert firm.judge.sources()[0].state is State.STALE


def test_two_instances_are_two_sources(firm: Firm) -> None:
    firm.source("TIME/emea")
    firm.source("TIME/amer", behind_us=30 * MINUTE, state="STALE")
    assert firm.values.value(BY_ID["unbilled_hours"])["freshness"]["state"] == "STALE"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "up to date"), (45, "45 s behind"), (60, "1 min behind"), (720, "12 min behind"), (7_199, "119 min behind"),
     (7_200, "2 h behind"), (200_000, "2 d behind")],
)  # fmt: skip
def test_delays_in_words(seconds: int, expected: str) -> None:
    assert behind_text(seconds * 1_000_000) == expected
