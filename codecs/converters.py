"""The converters that a mapping names: column values to attribute values.

A converter is built once from its parameters and then called with a value that is not null and the row it stands in.
Parameters ending in `_from` name columns. What a converter raises when it is built is a mistake of the mapping, what
it raises when it is called is one of the data. Fractions are exact; where a unit is finer than ours (seconds, micro-
units, minor units) the last digit is rounded half away from zero.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from hashlib import sha256
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from tieout.codecs.amounts import money, rate
from tieout.codecs.columns import Day, Instant, Local, Missing, Row, Span, text_of
from tieout.codecs.dates import civil_date, month_start, period, zoned
from tieout.codecs.errors import BadValue, shown
from tieout.codecs.scalars import Params, Step, day_of, int_of, number_of
from tieout.codecs.values import DAY_US, EPOCH, parse_instant
from tieout.reconcilers.entities import Kind
from tieout.reconcilers.quantities import HOUR_S, rounded

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - arithmetic on local times, which have no zone by definition


class Converter(NamedTuple):
    """What a converter gives, the parameters it may have, and how it is built (ValueError on bad parameters)."""

    gives: Kind
    build: Callable[[Params], Step]
    params: tuple[str, ...] = ()


def _plain(convert: Callable[[Any], Any]) -> Callable[[Params], Step]:
    """The builder of a converter without parameters."""
    return lambda params: lambda value, row: convert(value)


def project_code(value: Any) -> str:
    """A project code as a key: NFKC, trimmed, capitals, one '-' for each run of separators; zeros stay."""
    folded = unicodedata.normalize("NFKC", text_of(value)).strip().upper()
    return re.sub(r"[\s_\-\u2010-\u2015]+", "-", folded)


def _flag(value: Any) -> bool:
    """1, true, t, y, yes or their opposites."""
    word = text_of(value).strip().lower()
    if word in ("1", "true", "t", "y", "yes"):
        return True
    if word in ("0", "false", "f", "n", "no"):
        return False
    raise BadValue(f"found {shown(value)}, expected 1, 0, true, false, t, f, y, n, yes or no")


def _date_days(value: Any) -> Day:
    """Days since 1970-01-01."""
    if type(value) in (int, Day):
        return Day(value)
    raise BadValue(f"found {shown(value)}, expected days since 1970-01-01")


def _midnight_date(value: Any) -> Day:
    """The date part of a date and time without zone, never localised; a bare number is milliseconds."""
    if type(value) in (Local, Instant):
        return Day(value // DAY_US)
    if type(value) is int:
        return Day(value * 1_000 // DAY_US)
    raise BadValue(f"found {shown(value)}, expected a date and time")


def _inclusive_end(value: Any) -> Day:
    """The day after the last one: intervals are half-open here."""
    return Day(day_of(value) + 1)


def _epoch(unit_us: int) -> Callable[[Params], Step]:
    """The builder of a converter from a number of `unit_us` microseconds since 1970 UTC."""
    return _plain(lambda value: Instant(int_of(value) * unit_us))


def _utc(value: Any) -> Instant:
    """A local time that is kept in UTC."""
    if type(value) in (Local, Instant):
        return Instant(value)
    if type(value) is str:
        return Instant(parse_instant(value.strip().replace(" ", "T").removesuffix("Z") + "Z"))
    raise BadValue(f"found {shown(value)}, expected a date and time")


def _local_time(params: Params) -> Step:
    """A local time of a named zone; the first of the two where clocks go back."""
    zone_column = params.get("zone_from")
    fixed = None if zone_column else _zone(params.get("zone"))

    def convert(value: Any, row: Row) -> Any:
        zone = fixed
        if zone_column:
            name = row.get(zone_column, Missing.ABSENT)
            if isinstance(name, Missing):
                return Missing.ABSENT
            zone = _data_zone(name)
        return value if type(value) is Instant else _in_zone(_utc(value), zone)

    return convert


def _in_zone(wall_us: int, zone: ZoneInfo | None) -> Instant:
    """The instant at which the clocks of a zone show `wall_us`."""
    try:
        wall = _EPOCH + timedelta(microseconds=wall_us)
        since = wall.replace(tzinfo=zone).astimezone(UTC) - EPOCH
    except OverflowError:
        raise BadValue(f"found the local time {wall_us} us, which no calendar has") from None
    return Instant(since.days * DAY_US + since.seconds * 1_000_000 + since.microseconds)


def _zone(name: Any) -> ZoneInfo:
    """An IANA zone; ValueError when it does not exist."""
    try:
        return ZoneInfo(str(name))
    except (KeyError, ValueError, OSError):
        raise ValueError(f"zone: found {name!r}, expected an IANA zone like 'Europe/London'") from None


def _data_zone(name: Any) -> ZoneInfo:
    """An IANA zone that a row names."""
    try:
        return _zone(name)
    except ValueError as error:
        raise BadValue(str(error)) from None


def _duration(unit_s: int) -> Callable[[Params], Step]:
    """The builder of a converter to seconds from a number of units, or from a time column."""

    def build(params: Params) -> Step:
        allow_double = bool(params.get("allow_double"))

        def convert(value: Any, row: Row) -> int:
            if type(value) is int:
                return value * unit_s
            if type(value) is Span:
                return rounded(Fraction(value, 1_000_000))
            return rounded(number_of(value, allow_double) * unit_s)

        return convert

    return build


def _clock_duration(value: Any) -> int:
    """'7:30' or '7:30:15' as seconds."""
    match = re.fullmatch(r"(\d+):([0-5]\d)(?::([0-5]\d))?", text_of(value).strip(), re.ASCII)
    if match is None:
        raise BadValue(f"found {shown(value)}, expected hours:minutes")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours * HOUR_S + minutes * 60 + seconds


def _basis_points(params: Params) -> Step:
    """A percentage as basis points: 60 is 6000."""
    allow_double = bool(params.get("allow_double"))
    return lambda value, row: rounded(number_of(value, allow_double) * 100)


def _prefix(params: Params) -> Step:
    """The first matching prefix replaced; text without one stays."""
    prefixes = params.get("prefixes")
    if not isinstance(prefixes, Mapping) or not all(isinstance(new, str) for new in prefixes.values()):
        raise ValueError("prefixes: expected a table like {'kimai:' = 'TIME:'}")

    def convert(value: Any, row: Row) -> str:
        text = text_of(value)
        for old, new in prefixes.items():
            if text.startswith(old):
                return f"{new}{text[len(old):]}"
        return text

    return convert


def _split(params: Params) -> Step:
    """Text cut at a separator, empty parts left out."""
    separator = params.get("separator", ";")
    if not isinstance(separator, str) or not separator:
        raise ValueError(f"separator: found {separator!r}, expected text")
    return lambda value, row: [part.strip() for part in text_of(value).split(separator) if part.strip()]


def _part(params: Params) -> Step:
    """One part of text that is cut at a separator; text with fewer parts is refused."""
    separator, at = params.get("separator", ":"), params.get("at", 0)
    if not isinstance(separator, str) or not separator:
        raise ValueError(f"separator: found {separator!r}, expected text")
    if type(at) is not int:
        raise ValueError(f"at: found {at!r}, expected the number of the part, from 0; -1 is the last")

    def convert(value: Any, row: Row) -> str:
        parts = text_of(value).split(separator)
        if -len(parts) <= at < len(parts):
            return parts[at].strip()
        raise BadValue(f"found {shown(value)}, expected more parts, separated by {separator!r}")

    return convert


def _after(params: Params) -> Step:
    """What follows the first separator; text without one is refused."""
    separator = params.get("separator", ":")
    if not isinstance(separator, str) or not separator:
        raise ValueError(f"separator: found {separator!r}, expected text")

    def convert(value: Any, row: Row) -> str:
        _, found, rest = text_of(value).partition(separator)
        if found:
            return rest.strip()
        raise BadValue(f"found {shown(value)}, expected text with {separator!r} in it")

    return convert


_DOUBLE: Final = ("allow_double",)
_AMOUNT: Final = ("ccy", "ccy_from", "allow_double", "minor")

CONVERTERS: Final[Mapping[str, Converter]] = {
    "text": Converter(Kind.TEXT, _plain(text_of)),
    "trim": Converter(Kind.TEXT, _plain(lambda value: text_of(value).strip())),
    "upper": Converter(Kind.TEXT, _plain(lambda value: text_of(value).strip().upper())),
    "project_code": Converter(Kind.TEXT, _plain(project_code)),
    "prefix": Converter(Kind.TEXT, _prefix, ("prefixes",)),
    "hash": Converter(Kind.TEXT, _plain(lambda value: sha256(text_of(value).encode()).hexdigest()[:32])),
    "part": Converter(Kind.TEXT, _part, ("separator", "at")),
    "after": Converter(Kind.TEXT, _after, ("separator",)),
    "period": Converter(Kind.TEXT, _plain(period)),
    "split": Converter(Kind.TEXTS, _split, ("separator",)),
    "flag": Converter(Kind.BOOL, _plain(_flag)),
    "int": Converter(Kind.INT, _plain(int_of)),
    "date_days": Converter(Kind.DATE, _plain(_date_days)),
    "datetime_midnight_date": Converter(Kind.DATE, _plain(_midnight_date)),
    "civil_date": Converter(Kind.DATE, _plain(civil_date)),
    "month_start": Converter(Kind.DATE, _plain(month_start)),
    "inclusive_end": Converter(Kind.DATE, _plain(_inclusive_end)),
    "zoned": Converter(Kind.INSTANT, _plain(zoned)),
    "utc": Converter(Kind.INSTANT, _plain(_utc)),
    "local_time": Converter(Kind.INSTANT, _local_time, ("zone", "zone_from")),
    "epoch_s": Converter(Kind.INSTANT, _epoch(1_000_000)),
    "epoch_ms": Converter(Kind.INSTANT, _epoch(1_000)),
    "epoch_us": Converter(Kind.INSTANT, _epoch(1)),
    "seconds": Converter(Kind.INT, _duration(1), _DOUBLE),
    "minutes": Converter(Kind.INT, _duration(60), _DOUBLE),
    "decimal_hours_to_seconds": Converter(Kind.INT, _duration(HOUR_S), _DOUBLE),
    "clock_duration": Converter(Kind.INT, _plain(_clock_duration)),
    "basis_points": Converter(Kind.INT, _basis_points, _DOUBLE),
    "rate": Converter(Kind.RATE, rate, (*_AMOUNT, "unit", "day_s")),
    "money": Converter(Kind.MONEY, money, _AMOUNT),
}
