"""Money from time: one formula, exact, rounded once and by name."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieout.reconcilers.quantities import (
    Rate,
    Rounding,
    amount_minor,
    exponent,
    hours_text,
    money_text,
    rate_text,
    rounded,
)


@pytest.mark.parametrize(("qty_s", "rate", "expected"), [
    (27_000, Rate(150_000_000, "GBP"), 112_500),  # 7.5 h at 150.00
    (28_800, Rate(140_000_000, "EUR"), 112_000),  # S09: 8 h at 140.00
    (28_800, Rate(18_500_000_000, "JPY"), 148_000),  # no minor unit
    (26_100, Rate(45_125_000, "BHD"), 327_156),  # 327.15625 in thousandths
    (1_188, Rate(100_000_000, "GBP"), 3_300),  # 0.33 h as typed
    (1_200, Rate(100_000_000, "GBP"), 3_333),  # 20 minutes
    (27_000, Rate(1_000_000_000, "GBP", "DAY", 27_000), 100_000),  # a day of 7.5 h at 1,000 a day
    (3_600, Rate(1_000_000_000, "GBP", "DAY", 27_000), 13_333),  # 133 1/3 an hour, kept exact until here
])
def test_amounts_of_the_domain_model(qty_s: int, rate: Rate, expected: int) -> None:
    assert amount_minor(qty_s, rate) == expected


@pytest.mark.parametrize(("value", "away", "even", "down"), [
    ("1/2", 1, 0, 0), ("3/2", 2, 2, 1), ("5/2", 3, 2, 2), ("-1/2", -1, 0, 0), ("-3/2", -2, -2, -1), ("7/3", 2, 2, 2),
])
def test_roundings(value: str, away: int, even: int, down: int) -> None:
    exact = Fraction(value)
    rules = (Rounding.HALF_AWAY, Rounding.HALF_EVEN, Rounding.DOWN)
    assert [rounded(exact, rule) for rule in rules] == [away, even, down]


@given(st.integers(0, 10**7), st.integers(0, 10**9), st.sampled_from(["GBP", "JPY", "BHD", "CLF"]))
def test_an_amount_is_off_by_half_a_minor_unit_at_most(qty_s: int, rate_e6: int, ccy: str) -> None:
    exact = Fraction(qty_s * rate_e6 * 10 ** exponent(ccy), 3_600 * 10**6)
    assert abs(amount_minor(qty_s, Rate(rate_e6, ccy)) - exact) <= Fraction(1, 2)


def test_texts_for_people() -> None:
    assert hours_text(27_000) == "7.50 h"
    assert hours_text(-5_400) == "-1.50 h"
    assert money_text(562_500, "GBP") == "5,625.00 GBP"
    assert money_text(-148_000, "JPY") == "-148,000 JPY"
    assert money_text(327_156, "BHD") == "327.156 BHD"
    assert rate_text(Rate(150_000_000, "GBP")) == "150.00 GBP/h"
