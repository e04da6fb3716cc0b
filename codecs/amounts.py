"""Prices and amounts of money with their currency: the converters `rate` and `money`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tieout.codecs.columns import Missing, Row
from tieout.codecs.scalars import Params, Step, number_of
from tieout.codecs.values import RATE_UNITS, parse_currency, parse_int
from tieout.reconcilers.quantities import DAY_S, RATE_SCALE, exponent, rounded


def _currency(params: Params) -> Callable[[Row], str | Missing]:
    """Where an amount's currency comes from: a constant or a column."""
    column, constant = params.get("ccy_from"), params.get("ccy")
    if (column is None) == (constant is None):
        raise ValueError("expected one of ccy and ccy_from")
    if column is None:
        code = parse_currency(constant)
        return lambda row: code

    def read(row: Row) -> str | Missing:
        value = row.get(column, Missing.ABSENT)
        if isinstance(value, Missing):
            return value
        return parse_currency(value.strip().upper() if type(value) is str else value)

    return read


def _unit(params: Params) -> tuple[str, int]:
    """The unit of a rate and the seconds of its day."""
    unit, day_s = params.get("unit", "HOUR"), params.get("day_s", DAY_S)
    if unit not in RATE_UNITS:
        raise ValueError(f"unit: found {unit!r}, expected one of {', '.join(RATE_UNITS)}")
    if type(day_s) is not int or day_s <= 0:
        raise ValueError(f"day_s: found {day_s!r}, expected seconds, e.g. 27000")
    return unit, day_s


def rate(params: Params) -> Step:
    """A price of labour."""
    currency, (unit, day_s), allow_double = _currency(params), _unit(params), bool(params.get("allow_double"))
    minor = _minor(params)

    def convert(value: Any, row: Row) -> Any:
        price = number_of(value, allow_double)
        ccy = currency(row)
        if isinstance(ccy, Missing):
            return ccy
        return [parse_int(rounded(price * RATE_SCALE / (10 ** exponent(ccy) if minor else 1))), ccy, unit, day_s]

    return convert


def _minor(params: Params) -> bool:
    """Whether an amount is in minor units."""
    minor = params.get("minor", False)
    if type(minor) is not bool:
        raise ValueError(f"minor: found {minor!r}, expected true or false")
    return minor


def money(params: Params) -> Step:
    """An amount: in major units, or in minor units with minor = true."""
    currency, minor, allow_double = _currency(params), _minor(params), bool(params.get("allow_double"))

    def convert(value: Any, row: Row) -> Any:
        amount = number_of(value, allow_double)
        ccy = currency(row)
        if isinstance(ccy, Missing):
            return ccy
        return [parse_int(rounded(amount * (1 if minor else 10 ** exponent(ccy)))), ccy]

    return convert
