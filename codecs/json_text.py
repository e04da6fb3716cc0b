"""JSON bytes to objects: one place for the parser and its errors."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final

import orjson

from tieout.codecs.errors import NotJson, WrongShape, shown

_SHOWN_BYTES: Final = 40
_LISTED: Final = 8  # members of a list that are columns too; `each` reaches all of them
_DEPTH_MAX: Final = 64
_PLACES_MAX: Final = 100  # decimal places; 1e999999999 is a number too, but not one to compute with


def load_object(data: bytes) -> dict[str, Any]:
    """The one JSON object in `data`; NotJson or WrongShape for everything else."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise NotJson(f"found {shown(data[:_SHOWN_BYTES])}, expected one JSON object: {error}") from None
    if type(value) is not dict:
        raise WrongShape(f"found {shown(value)}, expected a JSON object")
    return value


def load_exact(data: bytes) -> dict[str, Any]:
    """The one JSON object in `data`, numbers with a point as Decimal: what a source wrote as 7.1 is 7.1."""
    load_object(data)  # stricter than the standard library: no NaN, no lone surrogates, nothing behind the document
    try:
        value: dict[str, Any] = json.loads(data, parse_float=_decimal)
    except (ValueError, RecursionError) as error:  # integers of thousands of digits, nesting without end
        raise NotJson(f"found {shown(data[:_SHOWN_BYTES])}, expected one JSON object: {error}") from None
    if is_deep(value):
        raise WrongShape(f"found {shown(data[:_SHOWN_BYTES])}, expected an object nested at most {_DEPTH_MAX} deep")
    return value


def is_deep(value: Any) -> bool:
    """Whether something is nested deeper than anybody nests."""
    level = [value]
    for _ in range(_DEPTH_MAX):
        level = [inner for each in level for inner in (each.values() if type(each) is dict else each)
                 if type(inner) in (dict, list)]
        if not level:
            return False
    return True


def _decimal(text: str) -> Decimal:
    """A JSON number of reasonable size."""
    number = Decimal(text)
    if abs(int(number.as_tuple().exponent)) > _PLACES_MAX:
        raise ValueError(f"a number with more than {_PLACES_MAX} places")
    return number


def flat(value: Any, above: str = "") -> dict[str, Any]:
    """Nested members as columns: {"a": {"b": 1}} is {"a.b": 1}; lists stay, members are 'a.0.b' and 'a.last.b' too.

    Lists inside of lists only stay: their members by number would be more than anybody can hold.
    """
    row: dict[str, Any] = {}
    _flatten(value, above, row, is_listed=False)
    return row


def _flatten(value: Any, name: str, row: dict[str, Any], *, is_listed: bool) -> None:
    if type(value) is dict:
        for member, inner in value.items():
            _flatten(inner, f"{name}.{member}" if name else member, row, is_listed=is_listed)
        return
    row[name] = value
    if type(value) is list and not is_listed:
        for place, inner in (*enumerate(value[:_LISTED]), *(("last", last) for last in value[-1:])):
            if type(inner) is dict:
                _flatten(inner, f"{name}.{place}", row, is_listed=True)
