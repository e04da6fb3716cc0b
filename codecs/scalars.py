"""Column values to exact numbers, civil dates and instants: what all converters are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tieout.codecs.columns import FIRST_DAY, LAST_DAY, Day, Instant, Row
from tieout.codecs.errors import BadValue, LossyNumber, shown
from tieout.codecs.values import DAY_US, parse_date, parse_instant, parse_int
from tieout.codecs.wire_types import decimal_text

Params = Mapping[str, Any]
Step = Callable[[Any, Row], Any]


def number_of(value: Any, allow_double: bool) -> Fraction:
    """A number, exact; floats only where the mapping allows them, and then their shortest decimal form."""
    if type(value) is int or isinstance(value, Decimal):
        return Fraction(value)
    if type(value) is str:
        return Fraction(decimal_text(value))
    if type(value) is float:
        if not allow_double:
            raise LossyNumber(f"found the floating-point number {value!r}, expected an exact one")
        return Fraction(decimal_text(repr(value)))
    raise BadValue(f"found {shown(value)}, expected a number")


def day_of(value: Any) -> int:
    """A civil date: days since 1970-01-01. A bare number is refused, it could be anything."""
    if type(value) is Day:
        return _calendar_day(value, value)
    if type(value) is str:
        return parse_date(value)
    raise BadValue(f"found {shown(value)}, expected a date",
                   "name the column's type in the mapping's columns table, or a converter such as date_days")


def instant_of(value: Any) -> int:
    """A point in time: microseconds UTC. A local time is refused: its zone must be named."""
    if type(value) is Instant:
        return _within_calendar(value, value)
    if type(value) is str:
        return parse_instant(value)
    raise BadValue(f"found {shown(value)}, expected an instant with zone",
                   "name the zone with a converter: as = 'utc', or as = 'local_time' with zone or zone_from")


def int_of(value: Any) -> int:
    """A whole number; 7.5 is refused, 7.0 as a decimal is 7."""
    if type(value) is int:
        return parse_int(value)
    number = number_of(value, allow_double=False)
    if number.denominator == 1:
        return parse_int(number.numerator)
    raise BadValue(f"found {shown(value)}, expected a whole number")


def _calendar_day(day: int, found: Any) -> int:
    """The day, when a calendar has it."""
    if FIRST_DAY <= day <= LAST_DAY:
        return int(day)
    raise BadValue(f"found {shown(found)}, expected a date between the years 1 and 9999",
                   "say what infinity means with null_if = ['infinity']")


def _within_calendar(us: int, found: Any) -> int:
    """The instant, when a calendar has it."""
    _calendar_day(us // DAY_US, found)
    return int(us)
