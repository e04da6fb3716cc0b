"""Seconds, money and rates: integers only, one amount formula, rounding by name.

Labour is integer seconds; money is integer minor units with an ISO 4217 code; a rate is integer micro-units of the
currency per HOUR, DAY, MONTH or FIXED. Nothing here ever becomes a float.
"""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction
from typing import Final, NamedTuple

HOUR_S: Final = 3_600
DAY_S: Final = 28_800  # a working day where no calendar says otherwise: 8 h
RATE_SCALE: Final = 1_000_000

# ISO 4217 exponents that differ from 2 (list of 2025-05-12). Changing one is a schema migration.
_EXPONENTS: Final = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND",
                     "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


class Rounding(StrEnum):
    """How a legal entity rounds an amount to its minor unit."""

    HALF_AWAY = "HALF_AWAY"  # commercial rounding, the default
    HALF_EVEN = "HALF_EVEN"  # banker's rounding
    DOWN = "DOWN"  # towards zero


class Money(NamedTuple):
    """An amount in minor units of `ccy`."""

    minor: int
    ccy: str


class Rate(NamedTuple):
    """A price of labour: micro-units of `ccy` per `unit`; `day_s` seconds make a DAY."""

    rate_e6: int
    ccy: str
    unit: str = "HOUR"
    day_s: int = DAY_S

    def per_hour_e6(self) -> Fraction:
        """The rate per hour in micro-units, kept exact (1,000 a day of 7.5 h is 133 1/3 an hour)."""
        if self.unit == "DAY":
            return Fraction(self.rate_e6 * HOUR_S, self.day_s)
        return Fraction(self.rate_e6)


def exponent(ccy: str) -> int:
    """Decimal places of the currency's minor unit."""
    return _EXPONENTS.get(ccy, 2)


def rounded(value: Fraction, rounding: Rounding = Rounding.HALF_AWAY) -> int:
    """`value` as an integer under the named rule."""
    if rounding is Rounding.HALF_EVEN:
        return round(value)
    whole, rest = divmod(abs(value.numerator), value.denominator)
    if rounding is Rounding.HALF_AWAY and 2 * rest >= value.denominator:
        whole += 1
    return whole if value >= 0 else -whole


def amount_minor(qty_s: int, rate: Rate, rounding: Rounding = Rounding.HALF_AWAY) -> int:
    """The only formula that makes money from time: qty_s · rate · 10^exponent / (3600 · 10^6), rounded once."""
    price = rate.per_hour_e6() * qty_s * 10 ** exponent(rate.ccy) / (HOUR_S * RATE_SCALE)
    return rounded(price, rounding)


def hours_text(qty_s: int) -> str:
    """Seconds as decimal hours for people: 27000 -> '7.50 h'."""
    hundredths = rounded(Fraction(qty_s * 100, HOUR_S))
    sign = "-" if hundredths < 0 else ""
    return f"{sign}{abs(hundredths) // 100:,}.{abs(hundredths) % 100:02d} h"


def money_text(minor: int, ccy: str) -> str:
    """Minor units for people: (562500, 'GBP') -> '5,625.00 GBP'."""
    places = exponent(ccy)
    sign, whole = ("-" if minor < 0 else ""), abs(minor)
    if places == 0:
        return f"{sign}{whole:,} {ccy}"
    return f"{sign}{whole // 10**places:,}.{whole % 10**places:0{places}d} {ccy}"


def rate_text(rate: Rate) -> str:
    """A rate for people: '150.00 GBP/h'."""
    unit = {"HOUR": "h", "DAY": "d", "MONTH": "month", "FIXED": "fixed"}.get(rate.unit, rate.unit)
    hundredths = rounded(Fraction(rate.rate_e6 * 100, RATE_SCALE))
    return f"{hundredths // 100:,}.{hundredths % 100:02d} {rate.ccy}/{unit}"
