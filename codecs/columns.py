"""Column values as change-capture connectors encode them, to values that know what they are.

A captured row is JSON: a date is a number of days, a `datetime` one of milliseconds, a decimal base64 text. What a
number means stands in the schema of the message, or, where messages travel without schemas, in the mapping. After
this module a value is text, int, bool, Decimal, float, list or dict as in JSON, or one of the types below.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from tieout.codecs.errors import BadValue, LossyNumber, shown
from tieout.codecs.values import DAY_US, EPOCH, day_number, day_text, instant_text, instant_us

Decoder = Callable[[Any], Any]
Row = Mapping[str, Any]


class Missing(Enum):
    """Why a column has no value. Neither is null."""

    ABSENT = "absent"  # not in the message
    UNAVAILABLE = "unavailable"  # unchanged and not read by the connector (PostgreSQL TOAST)


class Day(int):
    """A civil date: days since 1970-01-01."""


class Instant(int):
    """A point in time: microseconds UTC."""


class Local(int):
    """A date and time without zone: microseconds since 1970-01-01T00:00 of whatever zone was meant."""


class Span(int):
    """A duration or a time of day: microseconds."""


UNAVAILABLE_TEXT: Final = "__debezium_unavailable_value"
_UNAVAILABLE_BASE64: Final = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="
FIRST_DAY: Final = day_number("0001-01-01")
LAST_DAY: Final = day_number("9999-12-31")
_FOREVER: Final = 2**62
_PLACES_MAX: Final = 100  # decimal places; '1e999999999' is a number too, but not one to compute with


def is_unavailable(value: Any) -> bool:
    """True for the placeholder of an unchanged column, in each form it has: text, bytes, array, map."""
    if type(value) is str:
        return value in (UNAVAILABLE_TEXT, _UNAVAILABLE_BASE64)
    if type(value) in (list, dict) and len(value) == 1:
        return is_unavailable(next(iter(value)))
    return False


def text_of(value: Any) -> str:
    """A scalar as text, for ids, templates and enum maps; dates that no calendar has are '-infinity' and 'infinity'."""
    writer = _TEXTS.get(type(value))
    if writer is not None:
        return writer(value)
    if type(value) is float:
        raise LossyNumber(f"found {shown(value)}, which has no exact text")
    raise BadValue(f"found {shown(value)}, expected a value with a text form")


def _within(day: int, finite: Callable[[], str]) -> str:
    """The text of a finite value, or which infinity it is."""
    if FIRST_DAY <= day <= LAST_DAY:
        return finite()
    return "infinity" if day > 0 else "-infinity"


_TEXTS: Final[Mapping[type, Callable[[Any], str]]] = {
    str: lambda value: value,
    int: str,
    bool: lambda value: "true" if value else "false",
    Decimal: lambda value: format(value, "f"),
    Day: lambda value: _within(value, lambda: day_text(value)),
    Instant: lambda value: _within(value // DAY_US, lambda: instant_text(value)),
    Local: lambda value: _within(value // DAY_US, lambda: instant_text(value).removesuffix("Z")),
}


def _integer(value: Any) -> int:
    """An integer; true and 7.0 are none."""
    if type(value) is int:
        return value
    raise BadValue(f"found {shown(value)}, expected an integer")


def _text(value: Any) -> str:
    """Text."""
    if type(value) is str:
        return value
    raise BadValue(f"found {shown(value)}, expected text")


def _bool(value: Any) -> bool:
    """true or false."""
    if type(value) is bool:
        return value
    raise BadValue(f"found {shown(value)}, expected true or false")


def _double(value: Any) -> float:
    """A floating-point column: stays a float, so that whoever needs it exact can refuse it."""
    if type(value) in (int, float):
        return float(value)
    raise BadValue(f"found {shown(value)}, expected a number")


def _as_it_is(value: Any) -> Any:
    """The value, unchanged."""
    return value


def _micros(kind: type[int], numerator: int, denominator: int = 1) -> Decoder:
    """A decoder of integers of another unit; what is finer than a microsecond is cut."""

    def decode(value: Any) -> int:
        return kind(_integer(value) * numerator // denominator)

    return decode


def _day(value: Any) -> Day:
    """Days since 1970-01-01."""
    return Day(_integer(value))


def _iso_day(value: Any) -> Day:
    """'2026-03-10' or '2026-03-10Z'."""
    try:
        return Day(day_number(_text(value).removesuffix("Z")))
    except ValueError:
        raise BadValue(f"found {shown(value)}, expected an ISO date") from None


def _zoned(value: Any) -> Instant:
    """ISO 8601 with zone; years beyond 9999 are how 'infinity' is written."""
    text = _text(value)
    if text[:1] in ("+", "-") or text in ("infinity", "-infinity"):
        return Instant(-_FOREVER if text[0] == "-" else _FOREVER)
    try:
        return Instant(instant_us(text))
    except ValueError:
        raise BadValue(f"found {shown(value)}, expected an instant with zone") from None


def _iso_local(value: Any) -> Local:
    """'2026-03-10T17:42:11.123' with or without a Z that means nothing."""
    try:
        since = datetime.fromisoformat(_text(value).removesuffix("Z") + "+00:00") - EPOCH
    except ValueError:
        raise BadValue(f"found {shown(value)}, expected a date and time without zone") from None
    return Local(since.days * DAY_US + since.seconds * 1_000_000 + since.microseconds)


def unscaled(text: Any, scale: int) -> Decimal:
    """Base64 of a big-endian two's complement integer, with its decimal places: ('AQp0GkYngAA=', 16) is 7.5."""
    if abs(scale) > _PLACES_MAX:
        raise BadValue(f"found scale {scale}, expected at most {_PLACES_MAX} decimal places")
    try:
        data = b64decode(_text(text), validate=True)
    except ValueError:
        raise BadValue(f"found {shown(text)}, expected base64 of an unscaled decimal") from None
    return Decimal(f"{int.from_bytes(data, 'big', signed=True)}E{-scale}")


def decimal(scale: int) -> Decoder:
    """A decoder of Connect's Decimal: base64, or a JSON number where decimal.format is NUMERIC."""

    def decode(value: Any) -> Decimal | float:
        if type(value) is float:
            return value
        return Decimal(value) if type(value) is int else unscaled(value, scale)

    return decode


def decimal_text(value: Any) -> Decimal:
    """Decimal digits as text; NaN and infinity are refused."""
    try:
        number = Decimal(_text(value).strip())
    except ArithmeticError:
        number = Decimal("NaN")
    if number.is_finite() and abs(int(number.as_tuple().exponent)) <= _PLACES_MAX:
        return number
    raise BadValue(f"found {shown(value)}, expected a decimal number")


def _variable_decimal(value: Any) -> Decimal:
    """{"scale": 2, "value": base64}: a decimal that carries its own scale."""
    if type(value) is dict:
        return unscaled(value.get("value"), _integer(value.get("scale")))
    raise BadValue(f"found {shown(value)}, expected an object of scale and value")


# Names that a mapping's `columns` table uses; those of `_SEMANTIC` in messages with schemas mean the same.
WIRE_TYPES: Final[Mapping[str, Decoder]] = {
    "date": _day,
    "timestamp": _micros(Local, 1_000),
    "micro_timestamp": _micros(Local, 1),
    "nano_timestamp": _micros(Local, 1, 1_000),
    "zoned_timestamp": _zoned,
    "time": _micros(Span, 1_000),
    "micro_time": _micros(Span, 1),
    "nano_time": _micros(Span, 1, 1_000),
    "micro_duration": _micros(Span, 1),
    "nano_duration": _micros(Span, 1, 1_000),
    "iso_date": _iso_day,
    "iso_timestamp": _iso_local,
    "decimal_text": decimal_text,
    "variable_decimal": _variable_decimal,
    "double": _double,
}

_SEMANTIC: Final[Mapping[str, Decoder]] = {
    "io.debezium.time.Date": WIRE_TYPES["date"],
    "io.debezium.time.Timestamp": WIRE_TYPES["timestamp"],
    "io.debezium.time.MicroTimestamp": WIRE_TYPES["micro_timestamp"],
    "io.debezium.time.NanoTimestamp": WIRE_TYPES["nano_timestamp"],
    "io.debezium.time.ZonedTimestamp": WIRE_TYPES["zoned_timestamp"],
    "io.debezium.time.Time": WIRE_TYPES["time"],
    "io.debezium.time.MicroTime": WIRE_TYPES["micro_time"],
    "io.debezium.time.NanoTime": WIRE_TYPES["nano_time"],
    "io.debezium.time.MicroDuration": WIRE_TYPES["micro_duration"],
    "io.debezium.time.NanoDuration": WIRE_TYPES["nano_duration"],
    "io.debezium.time.IsoDate": WIRE_TYPES["iso_date"],
    "io.debezium.time.IsoTimestamp": WIRE_TYPES["iso_timestamp"],
    "io.debezium.data.VariableScaleDecimal": WIRE_TYPES["variable_decimal"],
    "org.apache.kafka.connect.data.Date": WIRE_TYPES["date"],
    "org.apache.kafka.connect.data.Timestamp": WIRE_TYPES["timestamp"],
    "org.apache.kafka.connect.data.Time": WIRE_TYPES["time"],
}

_PRIMITIVE: Final[Mapping[str, Decoder]] = {
    "int8": _integer, "int16": _integer, "int32": _integer, "int64": _integer, "string": _text, "boolean": _bool,
    "float": _double, "double": _double, "float32": _double, "float64": _double,
}


def schema_decoder(field: Mapping[str, Any]) -> Decoder:
    """The decoder of a column from its field in a Connect schema; types without meaning to us pass as they are."""
    name = field.get("name")
    if name == "org.apache.kafka.connect.data.Decimal":
        return _schema_decimal(field)
    semantic = _SEMANTIC.get(name) if isinstance(name, str) else None
    if semantic is not None:
        return semantic
    kind = field.get("type")
    return _PRIMITIVE.get(kind, _as_it_is) if isinstance(kind, str) else _as_it_is


def _schema_decimal(field: Mapping[str, Any]) -> Decoder:
    """A decimal whose scale stands in the schema; without it the bytes mean nothing."""
    parameters = field.get("parameters")
    scale = parameters.get("scale") if isinstance(parameters, dict) else None
    try:
        return decimal(int(str(scale)))
    except ValueError:
        raise BadValue(f"{field.get('field')}: found scale {shown(scale)} in the schema, expected an integer") from None


def wire_type(name: str) -> Decoder | None:
    """The decoder that a mapping names: one of `WIRE_TYPES` or 'decimal(16)'; None when there is none."""
    if name.startswith("decimal(") and name.endswith(")"):
        scale = name[len("decimal("):-1]
        return decimal(int(scale)) if scale.isascii() and scale.isdigit() else None
    return WIRE_TYPES.get(name)
