"""One row that is many records: the days of a weekly timecard, the members of a list, the occurrences of a series.

A part is the row with columns of its own: `day.date, day.no, day.hours` · `<list>.<member>, <list>.no` ·
`repeat.start, repeat.end, repeat.no`. The subject of a map is made of them, so that each part is a record.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final, NamedTuple, Protocol

from tieout.codecs.columns import Day, Missing, Row, text_of
from tieout.codecs.dates import civil_date
from tieout.codecs.errors import BadValue, MissingColumn, WrongShape, shown
from tieout.codecs.json_text import flat
from tieout.codecs.scalars import number_of
from tieout.codecs.values import EPOCH_DAY

WEEK: Final = 7
NOBODY_KNOWS: Final = "nobody_knows"  # of which records a row without columns is the delete
OCCURRENCES_MAX: Final = 400  # of a series: more is a mistake, or a series without end
_EVERY: Final = re.compile(r"(?:every )?(\d{1,3}) (day|week|month)s?|never", re.ASCII)
_ENRICH: Final = "a change that leaves out what did not change cannot be placed: let the source add these columns"


Changed = frozenset[str] | None  # columns that changed where the row may have no others; None: the row is whole


class Part(NamedTuple):
    """A row that is one record. `own` are the columns that make it differ from its siblings."""

    row: Row
    own: frozenset[str] = frozenset()
    empty: bool = False  # there is no such record: what was there before is gone
    number: int = 0  # orders the parts of one row that are the same record; 0 where there are none


class Parts(Protocol):
    """A way to take a row apart."""

    @property
    def reads(self) -> frozenset[str]:
        """Columns of the row."""
        ...

    @property
    def makes(self) -> frozenset[str]:
        """Columns of the parts."""
        ...

    @property
    def apart(self) -> frozenset[str]:
        """Columns of the row of which each belongs to one part."""
        ...

    def of(self, row: Row, changed: Changed) -> Sequence[Part]:
        """The parts of a row that was read; DecodeError when it cannot be taken apart."""
        ...

    def all_of(self, row: Row) -> Sequence[Part]:
        """The parts that a row may have had when all that is known of it is its id; none where nobody can tell."""
        ...


@dataclass(frozen=True, slots=True)
class Days:
    """A weekly row with a column of hours for each weekday, Monday first."""

    start: str  # the column of its first day
    hours: tuple[str, ...]
    only_filled: bool = False  # a day without hours is none of ours: nothing is said about it

    @property
    def reads(self) -> frozenset[str]:
        """The first day and the hours."""
        return frozenset((self.start, *self.hours))

    @property
    def makes(self) -> frozenset[str]:
        """The columns of a day."""
        return frozenset(("day.date", "day.no", "day.hours"))

    @property
    def apart(self) -> frozenset[str]:
        """The hours."""
        return frozenset(self.hours)

    def of(self, row: Row, changed: Changed) -> Sequence[Part]:
        """A part for each day of which the row says something.

        Hours that are not in the row are none where the row has those that did not change; else they are not known.
        """
        known = [name for name in self.hours if name in row]
        whole = changed is None or any(name not in changed for name in known)
        if (not known and changed is None) or (self.only_filled and not whole):
            found = ", ".join(known) or "none"
            raise MissingColumn(f"expected columns {', '.join(self.hours)}, found {found}", _ENRICH)
        parts = [self._day(row, number)._replace(empty=_is_empty(row.get(name, None if whole else Missing.ABSENT)))
                 for number, name in enumerate(self.hours)]
        return [part for part in parts if not part.empty] if self.only_filled else parts

    def all_of(self, row: Row) -> Sequence[Part]:
        """Seven days."""
        return [self._day(row, number) for number in range(WEEK)]

    def _day(self, row: Row, number: int) -> Part:
        """The row of one weekday; where it starts is not known, the day has no date."""
        cell, start = self.hours[number], row.get(self.start)
        part = {name: value for name, value in row.items() if name not in self.hours}
        part["day.no"] = str(number + 1)
        if cell in row:
            part["day.hours"] = row[cell]
        if start is not None and not isinstance(start, Missing):
            first = civil_date(start)
            weekday = (first + 3) % WEEK  # 1970-01-01 was a Thursday
            part["day.date"] = Day(first + (number - weekday) % WEEK)
        return Part(part, frozenset((cell, "day.no", "day.date", "day.hours")))


def _is_empty(cell: Any) -> bool:
    """No hours: null, or a number that is nought."""
    if type(cell) in (int, float, Decimal):
        return bool(cell == 0)
    return cell is None or (type(cell) is str and number_of(cell, allow_double=False) == 0)


@dataclass(frozen=True, slots=True)
class Members:
    """A row with a list: each member is a record."""

    column: str

    @property
    def reads(self) -> frozenset[str]:
        """The list."""
        return frozenset((self.column,))

    @property
    def makes(self) -> frozenset[str]:
        """The member's number; its other columns are its own business."""
        return frozenset((f"{self.column}.no",))

    @property
    def apart(self) -> frozenset[str]:
        """None: a list comes whole."""
        return frozenset()

    def of(self, row: Row, changed: Changed) -> Sequence[Part]:
        """A part for each member; none where there is no list."""
        members = row.get(self.column)
        if members is None or isinstance(members, Missing):
            return []
        if type(members) is not list:
            raise WrongShape(f"column {self.column}: found {shown(members)}, expected a list")
        shared = {name: value for name, value in row.items() if not f"{name}.".startswith(f"{self.column}.")}
        return [Part({f"{self.column}.no": number, **shared, **flat(member, self.column)}, number=number)
                for number, member in enumerate(members, start=1)]

    def all_of(self, row: Row) -> Sequence[Part]:
        """What the row still names."""
        return self.of(row, None)


@dataclass(frozen=True, slots=True)
class Series:
    """A booking that repeats: each occurrence is a record."""

    start: str
    end: str  # inclusive
    until: str  # the last day of the series, inclusive
    state: str
    every: Mapping[str, tuple[int, str] | None]  # text of `state` -> (2, "week"), None: does not repeat

    @property
    def reads(self) -> frozenset[str]:
        """The first occurrence and how it repeats."""
        return frozenset((self.start, self.end, self.until, self.state))

    @property
    def makes(self) -> frozenset[str]:
        """The columns of an occurrence."""
        return frozenset(("repeat.start", "repeat.end", "repeat.no"))

    @property
    def apart(self) -> frozenset[str]:
        """None: a series comes whole."""
        return frozenset()

    def of(self, row: Row, changed: Changed) -> Sequence[Part]:
        """The occurrences that start until the end of the series."""
        start, end = row.get(self.start), row.get(self.end)
        if start is None or end is None or isinstance(start, Missing) or isinstance(end, Missing):
            raise MissingColumn(f"expected {self.start} and {self.end}, found {', '.join(sorted(row))}", _ENRICH)
        first = civil_date(start)
        days = civil_date(end) - first
        return [Part({**row, "repeat.no": number, "repeat.start": Day(begins), "repeat.end": Day(begins + days)})
                for number, begins in enumerate(self._starts(first, row), start=1)]

    def _starts(self, first: int, row: Row) -> list[int]:
        """The first days of the occurrences."""
        step = self._step(row)
        if step is None:
            return [first]
        until = self._until(row)
        starts = [first]
        while (begins := _moved(first, step, len(starts))) <= until:
            if len(starts) == OCCURRENCES_MAX:
                raise BadValue(f"column {self.until}: found a series of more than {OCCURRENCES_MAX} occurrences")
            starts.append(begins)
        return starts

    def all_of(self, row: Row) -> Sequence[Part]:
        """What the row still names."""
        return self.of(row, None) if row.get(self.start) is not None else []

    def _step(self, row: Row) -> tuple[int, str] | None:
        """How far the occurrences are apart; None where the booking does not repeat."""
        state = row.get(self.state)
        if state is None or isinstance(state, Missing):
            return None
        if text_of(state) not in self.every:
            raise BadValue(f"column {self.state}: found {shown(state)}, expected one of {', '.join(self.every)}",
                           "add it to repeat.every of the mapping")
        return self.every[text_of(state)]

    def _until(self, row: Row) -> int:
        """The last day of the series."""
        until = row.get(self.until)
        if until is None or isinstance(until, Missing):
            raise BadValue(f"column {self.until}: found a series without end, expected its last day")
        return civil_date(until)


def _moved(day: int, step: tuple[int, str], times: int) -> int:
    """The day after so many steps; the 31st is the last day of shorter months."""
    count, unit = step[0] * times, step[1]
    if unit != "month":
        return day + count * (WEEK if unit == "week" else 1)
    at = date.fromordinal(day + EPOCH_DAY)
    years, month = divmod(at.month - 1 + count, 12)
    year = min(at.year + years, date.max.year)
    return date(year, month + 1, min(at.day, monthrange(year, month + 1)[1])).toordinal() - EPOCH_DAY


def read_every(text: str) -> tuple[int, str] | None:
    """'2 weeks' as (2, 'week'), 'never' as None; ValueError for everything else."""
    match = _EVERY.fullmatch(text)
    if match is None or match[1] == "0":
        raise ValueError(f"found {text!r}, expected 'never' or a step like '2 weeks' or '1 month'")
    return None if match[1] is None else (int(match[1]), match[2])
