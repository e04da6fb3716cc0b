"""Civil time of the simulated firm: instants are microseconds UTC, days are `date`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE

FIRST_DAY: Final = date(2026, 3, 9)  # a Monday; the four weeks cross a month-end, a change to summer time and Easter
LAST_DAY: Final = date(2026, 4, 2)
WINDOW_FROM: Final = date(2026, 3, 27)  # a generous cutoff window: the ERP posts quickly in it
HOLIDAYS: Final = {
    "UK": frozenset({date(2026, 4, 3), date(2026, 4, 6), date(2026, 5, 4), date(2026, 5, 25)}),
    "DE": frozenset({date(2026, 4, 3), date(2026, 4, 6), date(2026, 5, 1), date(2026, 5, 14), date(2026, 5, 25)}),
}


@cache
def zone(name: str) -> ZoneInfo:
    """The IANA zone."""
    return ZoneInfo(name)


def micros(moment: datetime) -> int:
    """An aware datetime as microseconds UTC, exact."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def utc(text: str) -> int:
    """'2026-03-17T10:00' as an instant, read as UTC."""
    return micros(datetime.fromisoformat(text).replace(tzinfo=UTC))


def local(day: date, minute: int, tz: str) -> int:
    """The instant of `minute` minutes after midnight on the clock of `tz`."""
    hour, rest = divmod(minute, 60)
    return micros(datetime(day.year, day.month, day.day, hour, rest, tzinfo=zone(tz)))


def iso(instant_us: int) -> str:
    """RFC 3339 with zone, microseconds only where there are some."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant_us)
    return moment.replace(tzinfo=None).isoformat() + "Z"


def days(first: date, end: date) -> Iterator[date]:
    """Each day of the half-open interval."""
    for number in range((end - first).days):
        yield first + timedelta(days=number)


def is_workday(day: date, country: str) -> bool:
    """Monday to Friday and no public holiday of the country."""
    return day.weekday() < 5 and day not in HOLIDAYS[country]


def next_workday(day: date, country: str) -> date:
    """The first working day after `day`."""
    day += timedelta(days=1)
    while not is_workday(day, country):
        day += timedelta(days=1)
    return day


def workdays(country: str) -> list[date]:
    """The working days that are played."""
    return [day for day in days(FIRST_DAY, LAST_DAY + timedelta(days=1)) if is_workday(day, country)]


STARTS_AT: Final = utc("2026-03-08T20:00")  # masters are loaded in the five minutes after this
ENDS_AT: Final = utc("2026-04-04T12:00")  # every planted deadline has passed by then
