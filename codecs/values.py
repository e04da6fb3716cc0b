"""Canonical JSON values to the values of a `Change` and back, by kind.

Strict where a guess could move hours or money: no float is ever an integer, an instant needs its zone, a currency
its three letters. Lenient where the source may know more than we do: a symbol outside an enumeration is UNKNOWN.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, Final

from tieout.codecs.errors import BadValue, LossyNumber, shown
from tieout.reconcilers.entities import UNKNOWN, Attribute, Kind
from tieout.reconcilers.quantities import DAY_S

Parser = Callable[[Any], Any]

EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
DAY_US: Final = 86_400_000_000
RATE_UNITS: Final = ("HOUR", "DAY", "MONTH", "FIXED")
_INT64: Final = 2**63
_CACHED: Final = 65_536  # dates and instants repeat: entries of a week, events of a batch

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)


@lru_cache(_CACHED)
def day_number(text: str) -> int:
    """'2026-03-10' as days since 1970-01-01; ValueError for everything else."""
    if not _DATE.fullmatch(text):
        raise ValueError(text)
    return date.fromisoformat(text).toordinal() - EPOCH_DAY


@lru_cache(_CACHED)
def instant_us(text: str) -> int:
    """RFC 3339 with zone as microseconds UTC, digits beyond the sixth cut; ValueError for everything else."""
    if not _INSTANT.fullmatch(text):
        raise ValueError(text)
    since = datetime.fromisoformat(text.upper()) - EPOCH
    return since.days * DAY_US + since.seconds * 1_000_000 + since.microseconds


def day_text(days: int) -> str:
    """Days since 1970-01-01 as an ISO date."""
    return date.fromordinal(days + EPOCH_DAY).isoformat()


def instant_text(us: int) -> str:
    """Microseconds UTC as RFC 3339 in Z, with a fraction only where there is one."""
    days, rest = divmod(us, DAY_US)
    seconds, fraction = divmod(rest, 1_000_000)
    minutes, second = divmod(seconds, 60)
    tail = f".{fraction:06d}Z" if fraction else "Z"
    return f"{day_text(days)}T{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}{tail}"


def parse_text(value: Any) -> str:
    """A JSON string."""
    if type(value) is str:
        return value
    raise BadValue(f"found {shown(value)}, expected text", "put identifiers in quotes: a number loses leading zeros")


def parse_int(value: Any) -> int:
    """A JSON integer of 64 bits; 7.0 and true are not integers."""
    if type(value) is int and -_INT64 <= value < _INT64:
        return value
    if type(value) is float:
        raise LossyNumber(f"found {shown(value)}, expected an integer", "send whole seconds, minor or micro-units")
    raise BadValue(f"found {shown(value)}, expected an integer of 64 bits")


def parse_bool(value: Any) -> bool:
    """true or false; 0, 1 and text are not."""
    if type(value) is bool:
        return value
    raise BadValue(f"found {shown(value)}, expected true or false")


def parse_date(value: Any) -> int:
    """An ISO date as days since 1970-01-01."""
    try:
        return day_number(value)
    except (ValueError, TypeError):
        raise BadValue(f"found {shown(value)}, expected an ISO date like '2026-03-10'",
                       "a work date is a civil date: send it without time and zone") from None


def parse_instant(value: Any) -> int:
    """RFC 3339 with zone as microseconds UTC."""
    try:
        return instant_us(value)
    except (ValueError, TypeError):
        raise BadValue(f"found {shown(value)}, expected an instant like '2026-03-10T17:40:00Z'",
                       "instants are RFC 3339 and need their zone: Z or +01:00") from None


def parse_currency(value: Any) -> str:
    """An ISO 4217 code in capitals."""
    if type(value) is str and _CURRENCY.fullmatch(value):
        return value
    raise BadValue(f"found currency {shown(value)}, expected three capital letters", "use the ISO 4217 code")


def _member(value: Any, name: str, parser: Parser, example: str) -> Any:
    """The parsed member `name` of a JSON object."""
    if type(value) is not dict or value.get(name) is None:
        raise BadValue(f"found {shown(value)}, expected an object like {example}")
    return parser(value[name])


def parse_rate(value: Any) -> list[Any]:
    """{"rate_e6", "ccy", "unit", "day_s"?} as [rate_e6, ccy, unit, day_s]."""
    example = '{"rate_e6":150000000,"ccy":"GBP","unit":"HOUR"}'
    rate_e6 = _member(value, "rate_e6", parse_int, example)
    ccy = _member(value, "ccy", parse_currency, example)
    unit = _member(value, "unit", parse_text, example)
    if unit not in RATE_UNITS:
        raise BadValue(f"found unit {shown(unit)}, expected one of {', '.join(RATE_UNITS)}")
    day_s = DAY_S if value.get("day_s") is None else parse_int(value["day_s"])
    if day_s <= 0:
        raise BadValue(f"found day_s {day_s}, expected the seconds of a working day, e.g. 27000")
    return [rate_e6, ccy, unit, day_s]


def parse_money(value: Any) -> list[Any]:
    """{"minor", "ccy"} as [minor, ccy]."""
    example = '{"minor":562500,"ccy":"GBP"}'
    return [_member(value, "minor", parse_int, example), _member(value, "ccy", parse_currency, example)]


def parse_texts(value: Any) -> list[str]:
    """A JSON array of strings."""
    if type(value) is list and all(type(item) is str for item in value):
        return value
    raise BadValue(f"found {shown(value)}, expected a list of text")


def _as_it_is(value: Any) -> Any:
    """The value, carried as it is."""
    return value


def _enumeration(members: tuple[str, ...]) -> Parser:
    """A parser of enumeration members: what is outside them is UNKNOWN."""
    symbols = {member: member for member in members}

    def parse(value: Any) -> str:
        if type(value) is not str:
            raise BadValue(f"found {shown(value)}, expected one of {', '.join(members)}")
        return symbols.get(value, UNKNOWN)

    return parse


PARSERS: Final[Mapping[Kind, Parser]] = {
    Kind.TEXT: parse_text, Kind.INT: parse_int, Kind.BOOL: parse_bool, Kind.DATE: parse_date,
    Kind.INSTANT: parse_instant, Kind.RATE: parse_rate, Kind.MONEY: parse_money, Kind.TEXTS: parse_texts,
    Kind.JSON: _as_it_is,
}

_WRITERS: Final[Mapping[Kind, Callable[[Any], Any]]] = {
    Kind.DATE: day_text,
    Kind.INSTANT: instant_text,
    Kind.RATE: lambda rate: dict(zip(("rate_e6", "ccy", "unit", "day_s"), rate, strict=True)),
    Kind.MONEY: lambda money: dict(zip(("minor", "ccy"), money, strict=True)),
}


def parser_of(attribute: Attribute) -> Parser:
    """The function from a JSON value that is not null to the attribute's value; it raises BadValue."""
    return _enumeration(attribute.members) if attribute.members else PARSERS[attribute.kind]


def to_wire(attribute: Attribute, value: Any) -> Any:
    """The canonical JSON value of an attribute's value: the inverse of `parser_of`."""
    writer = _WRITERS.get(attribute.kind)
    return value if value is None or writer is None else writer(value)
