"""The encodings of columns: every temporal and decimal mode of change-capture connectors, each by its name.

A captured row is JSON or Avro: a date is a number of days, a `datetime` one of milliseconds, a decimal base64 text or
bytes. What a number means stands in the schema of the message (`connect.py`) or in a mapping's `columns` table.

==================  ===============  ==============================================================================
name                becomes          wire
==================  ===============  ==============================================================================
date                Day              days since 1970; io.debezium.time.Date, Connect's Date, Avro's date
timestamp           Local            milliseconds, no zone; io.debezium.time.Timestamp, Connect's Timestamp
micro_timestamp     Local            microseconds, no zone
nano_timestamp      Local            nanoseconds, cut to microseconds
zoned_timestamp     Instant          ISO 8601 with zone; years beyond 9999 are infinity
instant_ms, _us     Instant          Avro's timestamp-millis and -micros without a Connect name
iso_timestamp       Local            ISO 8601 text, a Z means nothing (time.precision.mode=isostring)
iso_date            Day              ISO text
time                Span             milliseconds since midnight
micro_time          Span             microseconds since midnight
nano_time           Span             nanoseconds since midnight, cut
iso_time            Span             ISO text, a Z means nothing
zoned_time          Span             ISO text with zone, as the time of day in UTC
micro_duration      Span             microseconds; nano_duration: nanoseconds, cut
interval            Span             ISO 8601 duration; one with years or months has no length and is refused
year                int              a year
decimal(S)          Decimal          unscaled big-endian bytes, or their base64; scale S stands in the schema
variable_decimal    Decimal          {scale, value}: carries its own scale
decimal_text        Decimal          digits (decimal.handling.mode=string); NaN and infinities stay text
double              float            whoever needs it exact refuses it
==================  ===============  ==============================================================================
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from tieout.codecs.columns import Day, Decoder, Instant, Local, Span
from tieout.codecs.errors import BadValue, shown
from tieout.codecs.infinity import endless, endless_day
from tieout.codecs.values import DAY_US, EPOCH, day_number, instant_us

_PLACES_MAX: Final = 100  # decimal places; '1e999999999' is a number too, but not one to compute with
_SCALES_KEPT: Final = 256  # encodings of decimals; a schema says its scale in every message
_SECOND_US: Final = 1_000_000
_SPECIAL: Final = {"nan": "NaN", "infinity": "Infinity", "inf": "Infinity", "-infinity": "-Infinity",
                   "-inf": "-Infinity"}

INTEGERS: Final = frozenset(("int8", "int16", "int32", "int64", "int", "long"))
TEXT: Final = frozenset(("string",))
FLOATS: Final = frozenset(("float", "double", "float32", "float64"))
BYTES: Final = frozenset(("bytes", "fixed"))


@dataclass(frozen=True, slots=True)
class WireType:
    """An encoding: its name, how to undo it, and the bare types that may carry it. Calling it decodes a value."""

    name: str
    decode: Decoder
    carriers: frozenset[str] = frozenset()
    bare: bool = False  # only a type of the serialisation: says nothing about what the value means

    def __call__(self, value: Any) -> Any:
        """The value; BadValue when it is not in this encoding."""
        return self.decode(value)

    def agrees_with(self, stated: WireType) -> bool:
        """Whether a message that states `stated` may be read where this encoding is expected."""
        return self.name == stated.name or (stated.bare and stated.name in self.carriers)


def integer(value: Any) -> int:
    """An integer; true and 7.0 are none."""
    if type(value) is int:
        return value
    raise BadValue(f"found {shown(value)}, expected an integer")


def text(value: Any) -> str:
    """Text."""
    if type(value) is str:
        return value
    raise BadValue(f"found {shown(value)}, expected text")


def double(value: Any) -> float | str:
    """A floating-point column: stays a float, so that whoever needs it exact can refuse it; NaN is text."""
    if type(value) in (int, float):
        number = float(value)
        return number if number - number == 0 else _SPECIAL[repr(number)]
    if type(value) is str and value.lower() in _SPECIAL:
        return _SPECIAL[value.lower()]
    raise BadValue(f"found {shown(value)}, expected a number")


def _micros(kind: type[int], numerator: int, denominator: int = 1) -> Decoder:
    """A decoder of integers of another unit; what is finer than a microsecond is cut."""

    def decode(value: Any) -> int:
        return kind(integer(value) * numerator // denominator)

    return decode


def _day(value: Any) -> Day:
    """Days since 1970-01-01."""
    day = integer(value)
    return Day(endless_day(day) or day)


def _iso_day(value: Any) -> Day:
    """'2026-03-10' or '2026-03-10Z'."""
    if (forever := endless(text(value))) is not None:
        return Day(forever)
    try:
        return Day(day_number(value.removesuffix("Z")))
    except ValueError:
        raise BadValue(f"found {shown(value)}, expected an ISO date") from None


def _zoned(value: Any) -> Instant:
    """ISO 8601 with zone."""
    if (forever := endless(text(value))) is not None:
        return Instant(forever)
    try:
        return Instant(instant_us(value))
    except ValueError:
        raise BadValue(f"found {shown(value)}, expected an instant with zone") from None


def _iso_local(value: Any) -> Local:
    """'2026-03-10T17:42:11.123' with or without a Z that means nothing."""
    if (forever := endless(text(value))) is not None:
        return Local(forever)
    try:
        since = datetime.fromisoformat(value.removesuffix("Z") + "+00:00") - EPOCH
    except ValueError:
        raise BadValue(f"found {shown(value)}, expected a date and time without zone") from None
    return Local(since.days * DAY_US + since.seconds * _SECOND_US + since.microseconds)


def _clock(value: Any, expected: str) -> time:
    """A time of day in ISO form."""
    try:
        return time.fromisoformat(text(value))
    except ValueError:
        raise BadValue(f"found {shown(value)}, expected {expected}") from None


def _since_midnight(clock: time) -> int:
    """Microseconds since midnight."""
    return ((clock.hour * 60 + clock.minute) * 60 + clock.second) * _SECOND_US + clock.microsecond


def _iso_time(value: Any) -> Span:
    """'17:42:11.123' with or without a Z that means nothing."""
    return Span(_since_midnight(_clock(text(value).removesuffix("Z"), "a time of day like '17:42:11'")))


def _zoned_time(value: Any) -> Span:
    """'17:42:11+01:00' as the time of day in UTC."""
    clock = _clock(value, "a time of day with zone like '17:42:11Z'")
    offset = clock.utcoffset()
    if offset is None:
        raise BadValue(f"found {shown(value)}, expected a time of day with zone like '17:42:11Z'")
    return Span((_since_midnight(clock) - round(offset.total_seconds()) * _SECOND_US) % DAY_US)


_INTERVAL: Final = re.compile(
    r"(-?)P(?:(-?\d+)Y)?(?:(-?\d+)M)?(?:(-?\d+)D)?(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?\d+(?:\.\d+)?)S)?)?", re.ASCII)


def _interval(value: Any) -> Span:
    """'P1DT7H30M' in microseconds, days of 24 hours; years and months must be 0, they have no length."""
    match = _INTERVAL.fullmatch(text(value)) if len(text(value)) < _PLACES_MAX else None
    if match is None or not any(match.groups()[1:]):
        raise BadValue(f"found {shown(value)}, expected an ISO 8601 duration like 'PT7H30M'")
    sign, *parts = match.groups()
    years, months, days, hours, minutes = (int(part or 0) for part in parts[:-1])
    if years or months:
        raise BadValue(f"found {shown(value)}, expected a duration without years and months: they have no fixed length")
    seconds = Decimal(parts[-1] or 0) + ((days * 24 + hours) * 60 + minutes) * 60
    return Span(int(seconds * _SECOND_US) * (-1 if sign else 1))


def unscaled(data: Any, scale: int) -> Decimal:
    """A big-endian two's complement integer in bytes or base64 with its decimal places: ('AQp0GkYngAA=', 16) is 7.5."""
    if abs(scale) > _PLACES_MAX:
        raise BadValue(f"found scale {scale}, expected at most {_PLACES_MAX} decimal places")
    if type(data) is not bytes:
        try:
            data = b64decode(text(data), validate=True)
        except ValueError:
            raise BadValue(f"found {shown(data)}, expected base64 of an unscaled decimal") from None
    return Decimal(f"{int.from_bytes(data, 'big', signed=True)}E{-scale}")


def decimal(scale: int) -> Decoder:
    """A decoder of Connect's Decimal: bytes, base64, or a JSON number where decimal.format is NUMERIC."""

    def decode(value: Any) -> Decimal | float:
        if type(value) is float:
            return value
        return Decimal(value) if type(value) is int else unscaled(value, scale)

    return decode


def decimal_text(value: Any) -> Decimal:
    """Decimal digits as text; NaN and infinity are refused."""
    try:
        number = Decimal(text(value).strip())
    except ArithmeticError:
        number = Decimal("NaN")
    if number.is_finite() and abs(int(number.as_tuple().exponent)) <= _PLACES_MAX:
        return number
    raise BadValue(f"found {shown(value)}, expected a decimal number",
                   "a numeric column can hold NaN: say what it means with null_if = ['NaN']")


def _decimal_column(value: Any) -> Decimal | str:
    """A column of digits: NaN and infinities stay text, so that a mapping can say what they mean (null_if)."""
    special = _SPECIAL.get(text(value).strip().lower())
    return decimal_text(value) if special is None else special


def _variable_decimal(value: Any) -> Decimal:
    """{"scale": 2, "value": bytes or base64}: a decimal that carries its own scale."""
    if type(value) is dict:
        return unscaled(value.get("value"), integer(value.get("scale")))
    raise BadValue(f"found {shown(value)}, expected an object of scale and value")


_ALL: Final = (
    WireType("date", _day, INTEGERS),
    WireType("timestamp", _micros(Local, 1_000), INTEGERS),
    WireType("micro_timestamp", _micros(Local, 1), INTEGERS),
    WireType("nano_timestamp", _micros(Local, 1, 1_000), INTEGERS),
    WireType("zoned_timestamp", _zoned, TEXT),
    WireType("instant_ms", _micros(Instant, 1_000), INTEGERS),
    WireType("instant_us", _micros(Instant, 1), INTEGERS),
    WireType("time", _micros(Span, 1_000), INTEGERS),
    WireType("micro_time", _micros(Span, 1), INTEGERS),
    WireType("nano_time", _micros(Span, 1, 1_000), INTEGERS),
    WireType("zoned_time", _zoned_time, TEXT),
    WireType("micro_duration", _micros(Span, 1), INTEGERS),
    WireType("nano_duration", _micros(Span, 1, 1_000), INTEGERS),
    WireType("interval", _interval, TEXT),
    WireType("year", integer, INTEGERS),
    WireType("iso_date", _iso_day, TEXT),
    WireType("iso_time", _iso_time, TEXT),
    WireType("iso_timestamp", _iso_local, TEXT),
    WireType("decimal_text", _decimal_column, TEXT),
    WireType("variable_decimal", _variable_decimal, frozenset(("struct",))),
    WireType("double", double, FLOATS),
)
# Names that a mapping's `columns` table uses; schemas in messages mean the same by other names.
WIRE_TYPES: Final[Mapping[str, WireType]] = {each.name: each for each in _ALL}


@lru_cache(_SCALES_KEPT)
def decimal_type(scale: int) -> WireType:
    """The encoding of decimals of one scale."""
    return WireType(f"decimal({scale})", decimal(scale), BYTES)


def wire_type(name: str) -> WireType | None:
    """The encoding that a mapping names: one of `WIRE_TYPES` or 'decimal(16)'; None when there is none."""
    if name.startswith("decimal(") and name.endswith(")"):
        scale = name[len("decimal("):-1]
        return decimal_type(int(scale)) if scale.isascii() and scale.isdigit() else None
    return WIRE_TYPES.get(name)
