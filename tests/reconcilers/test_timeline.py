"""Civil time: zones, business hours, cutoffs, months. Drawn from the scenarios where they have figures."""

from __future__ import annotations

import pytest
from firm import day, us

from tieout.reconcilers.timeline import (
    BusinessCalendar,
    Interval,
    cutoff_window,
    effective,
    instant_of,
    instant_text,
    local_day,
    monday,
    month,
    month_label,
)

WEEK = BusinessCalendar()


def test_a_late_evening_belongs_to_its_local_day() -> None:
    assert local_day(us("2026-04-01T05:30:00Z"), "America/Los_Angeles") == day("2026-03-31")
    assert local_day(us("2026-04-01T05:30:00Z"), "Europe/London") == day("2026-04-01")


@pytest.mark.parametrize(("start", "hours", "tz", "expected"), [
    ("2026-03-13T16:42:00Z", 16, "Europe/London", "2026-03-17T16:42:00Z"),  # check 26: Friday 16:42 to Tuesday 16:42
    ("2026-03-02T09:00:00Z", 4, "UTC", "2026-03-02T13:00:00Z"),
    ("2026-03-06T20:00:00Z", 1, "UTC", "2026-03-09T10:00:00Z"),  # Friday night: Monday 09:00 and one hour
    ("2026-03-27T16:00:00Z", 2, "Europe/London", "2026-03-30T09:00:00Z"),  # over the change to summer time
])
def test_business_hours(start: str, hours: int, tz: str, expected: str) -> None:
    assert instant_text(WEEK.add_hours(us(start), hours, tz)) == expected


def test_a_holiday_is_no_business_day() -> None:
    good_friday = BusinessCalendar(holidays=frozenset((day("2026-04-03"), day("2026-04-06"))))
    assert good_friday.next_open(day("2026-04-02")) == day("2026-04-07")


def test_the_cutoff_window_of_march() -> None:
    start, end = cutoff_window(day("2026-03-31"), WEEK, "Europe/London")
    assert (instant_text(start), instant_text(end)) == ("2026-03-29T23:00:00Z", "2026-04-01T23:00:00Z")


def test_the_cutoff_window_of_a_month_that_ends_on_a_sunday() -> None:
    start, end = cutoff_window(day("2026-05-31"), WEEK, "UTC")  # Thursday and Friday before, Monday after
    assert (instant_text(start), instant_text(end)) == ("2026-05-28T00:00:00Z", "2026-06-02T00:00:00Z")


@pytest.mark.parametrize(("at", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_days_are_as_long_as_they_are(at: str, hours: int) -> None:
    length = instant_of(day(at) + 1, 0, "Europe/London") - instant_of(day(at), 0, "Europe/London")
    assert length == hours * 3_600_000_000


def test_months_and_weeks() -> None:
    assert month(day("2026-02-28")) == Interval(day("2026-02-01"), day("2026-03-01"))
    assert month_label(day("2026-12-31")) == "2026-12"
    assert monday(day("2026-03-15")) == day("2026-03-09")


def test_of_effective_rows_the_one_that_began_last_counts() -> None:
    rows = [(1, 100, "old"), (50, 100, "new"), (50, 60, "also new"), (200, 300, "later")]
    assert effective(rows, 40) == ["old"]
    assert effective(rows, 55) == ["new", "also new"]
    assert effective(rows, 150) == []
