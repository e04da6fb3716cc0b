"""Rows that are many records: days of a week, members of a list, occurrences of a series."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieout.codecs.columns import Day
from tieout.codecs.errors import BadValue, DecodeError, MissingColumn
from tieout.codecs.parts import OCCURRENCES_MAX, Days, Members, Part, Series, read_every
from tieout.codecs.values import day_text

HOURS = ("mo", "tu", "we", "th", "fr", "sa", "su")
WEEK = Days("start", HOURS)
SPLIT = Days("start", HOURS, only_filled=True)
TASK = Series("from", "to", "until", "state", {"0": None, "1": (1, "week"), "2": (1, "month"), "3": (10, "day")})
ALL = dict.fromkeys(HOURS, 0)


def days(parts: Any) -> list[tuple[str, str, Any, bool]]:
    """Number, date, hours and emptiness of each day."""
    return [(part.row["day.no"], day_text(part.row["day.date"]) if "day.date" in part.row else "",
             part.row.get("day.hours", "-"), part.empty) for part in parts]


CELLS = [
    # what                            row                                   changed   days that are not empty
    ("from a Monday",                 {"start": "2026-03-09", **ALL, "mo": 1, "su": 2}, None,
     [("1", "2026-03-09", 1, False), ("7", "2026-03-15", 2, False)]),
    ("from a Sunday",                 {"start": "2026-03-08", **ALL, "mo": 1, "su": 2}, None,
     [("1", "2026-03-09", 1, False), ("7", "2026-03-08", 2, False)]),
    ("from a Wednesday",              {"start": "2026-04-01", **ALL, "we": 1, "tu": 2}, None,
     [("2", "2026-04-07", 2, False), ("3", "2026-04-01", 1, False)]),
    ("text and decimals",  {"start": "2026-03-09", **ALL, "mo": "7.50", "tu": Decimal("0.00"), "we": "0"}, None,
     [("1", "2026-03-09", "7.50", False)]),
    ("a start that is not known",     {"mo": 1, **dict.fromkeys(HOURS[1:], 0)}, None, [("1", "", 1, False)]),
    ("what did not change shows that the rest is none", {"start": "2026-03-09", "mo": 1}, frozenset(("status",)),
     [("1", "2026-03-09", 1, False)]),
    ("only what changed: the rest is not known", {"mo": 1}, frozenset(("mo",)),
     [("1", "", 1, False), *((str(n), "", "-", False) for n in range(2, 8))]),
]  # fmt: skip


@pytest.mark.parametrize(("row", "changed", "expected"), [row[1:] for row in CELLS], ids=[row[0] for row in CELLS])
def test_a_week_is_a_record_a_day(row: dict[str, Any], changed: frozenset[str] | None, expected: Any) -> None:
    parts = WEEK.of(row, changed)
    assert len(parts) == 7
    assert [day for day in days(parts) if not day[3]] == expected
    assert not any(set(HOURS) & part.row.keys() for part in parts), "a day does not see its siblings"


def test_a_slice_of_a_week_has_only_the_days_that_it_fills() -> None:
    assert days(SPLIT.of({"start": "2026-03-09", **ALL, "fr": 3}, None)) == [("5", "2026-03-13", 3, False)]


@pytest.mark.parametrize(("week", "row", "changed"), [
    (WEEK, {"start": "2026-03-09"}, None),  # a misspelt mapping must not delete a week
    (SPLIT, {"start": "2026-03-09"}, frozenset(("billed",))),
    (SPLIT, {"start": "2026-03-09", "mo": 1}, frozenset(("mo",))),
])
def test_days_that_nobody_can_tell_are_refused(week: Days, row: dict[str, Any], changed: frozenset[str] | None) -> None:
    with pytest.raises(MissingColumn, match="expected columns mo, tu"):
        week.of(row, changed)


def test_an_id_alone_stands_for_seven_days() -> None:
    assert [number for number, *_ in days(WEEK.all_of({"@id": "x"}))] == list("1234567")


@given(st.dates(date(1990, 1, 1), date(2100, 1, 1)), st.lists(st.integers(0, 24), min_size=7, max_size=7))
def test_no_hour_of_a_week_is_lost_or_moved(start: date, hours: list[int]) -> None:
    row = {"start": start.isoformat(), **dict(zip(HOURS, hours, strict=True))}
    parts = [part for part in WEEK.of(row, None) if not part.empty]
    assert sum(part.row["day.hours"] for part in parts) == sum(hours)
    for part in parts:
        day = date.fromisoformat(day_text(part.row["day.date"]))
        assert start <= day < start + timedelta(days=7)
        assert hours[day.weekday()] == part.row["day.hours"]


def test_a_list_is_a_record_a_member() -> None:
    row = {"id": 1, "item": [{"line": 1, "tax": {"code": "S"}}, {"line": 2, "no": 9}], "item.0.line": 1}
    assert [(part.row, part.number) for part in Members("item").of(row, None)] == [
        ({"id": 1, "item.no": 1, "item.line": 1, "item.tax.code": "S"}, 1),
        ({"id": 1, "item.no": 9, "item.line": 2}, 2),
    ]


@pytest.mark.parametrize("row", [{}, {"item": None}, {"item": []}])
def test_no_list_is_no_record(row: dict[str, Any]) -> None:
    assert Members("item").of(row, None) == []


SERIES = [
    # from          to            until         state  occurrences
    ("2026-03-02", "2026-03-27", None,         0,     [("2026-03-02", "2026-03-27")]),
    ("2026-03-02", "2026-03-27", None,         None,  [("2026-03-02", "2026-03-27")]),
    ("2026-03-02", "2026-03-03", "2026-03-16", 1,     [("2026-03-02", "2026-03-03"), ("2026-03-09", "2026-03-10"),
                                                       ("2026-03-16", "2026-03-17")]),
    ("2026-03-02", "2026-03-03", "2026-03-15", 1,     [("2026-03-02", "2026-03-03"), ("2026-03-09", "2026-03-10")]),
    ("2026-03-02", "2026-03-03", "2026-02-01", 1,     [("2026-03-02", "2026-03-03")]),
    ("2025-12-31", "2026-01-01", "2026-03-31", 2,     [("2025-12-31", "2026-01-01"), ("2026-01-31", "2026-02-01"),
                                                       ("2026-02-28", "2026-03-01"), ("2026-03-31", "2026-04-01")]),
    ("2026-03-02", "2026-03-02", "2026-03-12", 3,     [("2026-03-02", "2026-03-02"), ("2026-03-12", "2026-03-12")]),
]  # fmt: skip


def occurrences(parts: Any) -> list[tuple[str, str]]:
    """First and last day of each."""
    return [(day_text(part.row["repeat.start"]), day_text(part.row["repeat.end"])) for part in parts]


@pytest.mark.parametrize(("start", "end", "until", "state", "expected"), SERIES)
def test_a_series_is_a_record_an_occurrence(start: str, end: str, until: str | None, state: Any,
                                            expected: list[tuple[str, str]]) -> None:
    parts = TASK.of({"from": start, "to": end, "until": until, "state": state}, None)
    assert occurrences(parts) == expected
    assert [part.row["repeat.no"] for part in parts] == list(range(1, len(expected) + 1))


@pytest.mark.parametrize(("row", "error", "words"), [
    ({"from": "2026-03-02", "to": "2026-03-03", "state": 1}, BadValue, "without end"),
    ({"from": "2026-03-02", "to": "2026-03-03", "state": 9, "until": "2026-04-01"}, BadValue, "expected one of 0, 1"),
    ({"from": "2026-03-02", "to": "2026-03-03", "state": 1, "until": "2099-01-01"}, BadValue, str(OCCURRENCES_MAX)),
    ({"to": "2026-03-03"}, MissingColumn, "expected from and to"),
    ({"from": "March", "to": "2026-03-03"}, BadValue, "ISO date"),
])
def test_a_series_that_cannot_be_told_is_refused(row: dict[str, Any], error: type[DecodeError], words: str) -> None:
    with pytest.raises(error, match=words):
        TASK.of(row, None)


def test_of_a_deleted_series_only_its_row_tells_the_occurrences() -> None:
    assert TASK.all_of({"@id": "x"}) == []
    assert occurrences(TASK.all_of({"from": "2026-03-02", "to": "2026-03-03", "until": "2026-03-09", "state": 1})) == [
        ("2026-03-02", "2026-03-03"), ("2026-03-09", "2026-03-10")]


@pytest.mark.parametrize(("text", "step"), [("1 week", (1, "week")), ("2 weeks", (2, "week")), ("never", None),
                                            ("every 3 months", (3, "month")), ("10 days", (10, "day"))])
def test_steps(text: str, step: tuple[int, str] | None) -> None:
    assert read_every(text) == step


@pytest.mark.parametrize("text", ["weekly", "0 weeks", "1 year", "", "-1 week"])
def test_steps_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="expected 'never' or a step"):
        read_every(text)


def test_a_day_is_a_day() -> None:
    """No subclass of int leaves a part but those that say what they are."""
    (part,) = TASK.of({"from": Day(20_514), "to": Day(20_514)}, None)
    assert isinstance(part, Part)
    assert type(part.row["repeat.start"]) is Day
