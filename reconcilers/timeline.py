"""Civil days, half-open intervals, business hours and billing cycles: integers in, integers out.

A day is the number of days since 1970-01-01; an instant is microseconds UTC. Zones are IANA names, never offsets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 3_600 * SECOND
DAY: Final = 24 * HOUR
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
FOREVER: Final = 2**62  # an instant, or a day, after all others
_FIRST_DAY: Final = date.min.toordinal() - _EPOCH_ORDINAL + 2  # with room for any zone
_LAST_DAY: Final = date.max.toordinal() - _EPOCH_ORDINAL - 2


class Interval(NamedTuple):
    """Days from `start` (inclusive) to `end` (exclusive)."""

    start: int
    end: int

    def holds(self, day: int) -> bool:
        """Whether the day lies inside."""
        return self.start <= day < self.end

    def overlaps(self, other: Interval) -> bool:
        """Whether the two share a day."""
        return self.start < other.end and other.start < self.end


@cache
def zone(name: str | None) -> ZoneInfo:
    """The zone of an IANA name; UTC where none is given or the name is not known."""
    try:
        return ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")


@lru_cache(maxsize=65_536)
def local_day(instant: int, tz: str | None = None) -> int:
    """The civil day of an instant in a zone."""
    return _moment(instant).astimezone(zone(tz)).date().toordinal() - _EPOCH_ORDINAL


@lru_cache(maxsize=65_536)
def instant_of(day: int, minute: int = 0, tz: str | None = None) -> int:
    """The instant of a local clock time, `minute` minutes after local midnight of `day`; FOREVER, or its negative, of a
    day that no calendar has."""
    if not _FIRST_DAY <= day <= _LAST_DAY:
        return FOREVER if day > 0 else -FOREVER
    local = datetime.combine(as_date(day), datetime.min.time()) + timedelta(minutes=minute)
    return (local.replace(tzinfo=zone(tz)) - _EPOCH) // timedelta(microseconds=1)


def day_length_s(day: int, tz: str | None = None) -> int:
    """Seconds of a civil day in a zone: 23, 24 or 25 hours where clocks are changed."""
    return (instant_of(day + 1, 0, tz) - instant_of(day, 0, tz)) // SECOND


def _moment(instant: int) -> datetime:
    return _EPOCH + timedelta(microseconds=instant)


def as_date(day: int) -> date:
    """The calendar date of a day number."""
    return date.fromordinal(day + _EPOCH_ORDINAL)


def day_text(day: int) -> str:
    """ISO text of a day: 2026-03-10; words for one that no calendar has."""
    if not _FIRST_DAY <= day <= _LAST_DAY:
        return "no end" if day > 0 else "the beginning"
    return as_date(day).isoformat()


def instant_text(instant: int) -> str:
    """RFC 3339 text of an instant in UTC: 2026-03-10T17:42:11Z."""
    return _moment(instant).isoformat().replace("+00:00", "Z")


def weekday(day: int) -> int:
    """Monday is 0."""
    return (day + 3) % 7


def monday(day: int) -> int:
    """The Monday of the day's ISO week."""
    return day - weekday(day)


@lru_cache(maxsize=65_536)
def month_label(day: int) -> str:
    """The calendar month of a day: 2026-03."""
    return as_date(day).strftime("%Y-%m")


@lru_cache(maxsize=4_096)
def month(day: int) -> Interval:
    """The calendar month that holds the day."""
    first = as_date(day).replace(day=1)
    following = (first + timedelta(days=32)).replace(day=1)
    return Interval(first.toordinal() - _EPOCH_ORDINAL, following.toordinal() - _EPOCH_ORDINAL)


class BusinessCalendar(NamedTuple):
    """Working weekdays, opening minutes and holidays of a region."""

    weekdays: tuple[int, ...] = (0, 1, 2, 3, 4)
    opens: int = 9 * 60
    closes: int = 17 * 60
    holidays: frozenset[int] = frozenset()

    def is_open(self, day: int) -> bool:
        """Whether business is done on the day."""
        return weekday(day) in self.weekdays and day not in self.holidays

    def next_open(self, day: int) -> int:
        """The first business day after `day`."""
        return next(later for later in range(day + 1, day + 60) if self.is_open(later))

    def previous_open(self, day: int) -> int:
        """The last business day before `day`."""
        return next(earlier for earlier in range(day - 1, day - 60, -1) if self.is_open(earlier))

    def add_hours(self, instant: int, hours: int, tz: str | None) -> int:
        """The instant at which `hours` business hours have passed since `instant`."""
        left = hours * HOUR
        for start, end in self._openings(instant, tz):
            if left <= end - start:
                return start + left
            left -= end - start
        raise AssertionError("unreachable: openings never end")

    def between(self, since: int, until: int, tz: str | None) -> int:
        """Microseconds of business time from one instant to another; 0 if the second is earlier."""
        found = 0
        for start, end in self._openings(since, tz):
            if start >= until:
                break
            found += min(end, until) - start
        return found

    def _openings(self, instant: int, tz: str | None) -> Iterator[tuple[int, int]]:
        day = local_day(instant, tz)
        while True:
            if self.is_open(day):
                start = max(instant, instant_of(day, self.opens, tz))
                end = instant_of(day, self.closes, tz)
                if start < end:
                    yield start, end
            day += 1


def working_days(days: Iterable[int], calendar: BusinessCalendar) -> list[int]:
    """Those of the days on which business is done."""
    return [day for day in days if calendar.is_open(day)]


def cutoff_window(cutoff_day: int, calendar: BusinessCalendar, tz: str | None) -> tuple[int, int]:
    """The instants between which graces are short: the last two business days up to the cutoff, and one after it."""
    last = cutoff_day if calendar.is_open(cutoff_day) else calendar.previous_open(cutoff_day)
    first = calendar.previous_open(last)
    return instant_of(first, 0, tz), instant_of(calendar.next_open(cutoff_day) + 1, 0, tz)


def effective(rows: Sequence[tuple[int, int, object]], day: int) -> list[object]:
    """Of (start, end, row), the rows in force on the day that began last: a later start replaces an earlier one."""
    valid = [(start, row) for start, end, row in rows if start <= day < end]
    latest = max((start for start, _ in valid), default=None)
    return [row for start, row in valid if start == latest]
