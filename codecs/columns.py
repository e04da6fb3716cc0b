"""What a column's value is once its encoding is undone: text, int, bool, Decimal, float, list or dict as in JSON, or
one of the types below. `wire_types.py` makes them, converters and fields read them.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from hashlib import md5
from typing import Any, Final
from uuid import UUID

from tieout.codecs.errors import BadValue, LossyNumber, shown
from tieout.codecs.values import DAY_US, day_number, day_text, instant_text

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
_UNAVAILABLE_BYTES: Final = UNAVAILABLE_TEXT.encode()
_UNAVAILABLE: Final = frozenset((  # in text, in binary.handling.mode bytes, base64 and hex, and for a uuid[]
    UNAVAILABLE_TEXT, b64encode(_UNAVAILABLE_BYTES).decode(), _UNAVAILABLE_BYTES.hex(),
    str(UUID(bytes=md5(_UNAVAILABLE_BYTES, usedforsecurity=False).digest(), version=3)),
))
FIRST_DAY: Final = day_number("0001-01-01")
LAST_DAY: Final = day_number("9999-12-31")
# PostgreSQL's infinite dates overflow the 32 bits that Debezium has for days, in a snapshot otherwise than in the log:
# the sign says nothing. No date of PostgreSQL's own is near them.
_INFINITE_DAYS: Final = {
    -622_191_234: "infinity", -2_147_472_692: "infinity", -625_821_272: "-infinity", -2_147_472_691: "-infinity",
}  # fmt: skip


def is_unavailable(value: Any) -> bool:
    """True for the placeholder of an unchanged column, in each form it has: text, bytes, array, map."""
    kind = type(value)
    if kind is str:
        return value in _UNAVAILABLE
    if kind is bytes:
        return bool(value == _UNAVAILABLE_BYTES)
    if kind in (list, dict) and len(value) == 1:
        inner = next(iter(value))
        return type(inner) in (str, bytes) and is_unavailable(inner)
    return kind is list and value == list(_UNAVAILABLE_BYTES)  # an array of numbers: one for each byte


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
    Day: lambda value: _INFINITE_DAYS.get(value) or _within(value, lambda: day_text(value)),
    Instant: lambda value: _within(value // DAY_US, lambda: instant_text(value)),
    Local: lambda value: _within(value // DAY_US, lambda: instant_text(value).removesuffix("Z")),
}
