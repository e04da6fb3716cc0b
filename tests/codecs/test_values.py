"""Values by kind: what is accepted, what is refused, and that writing is the inverse of reading."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieout.codecs.errors import BadValue, DecodeError, LossyNumber
from tieout.codecs.values import DAY_US, instant_text, parser_of, to_wire
from tieout.reconcilers.entities import Attribute, Kind

STATES = Attribute(Kind.TEXT, ("DRAFT", "APPROVED"))

ACCEPTED = [
    # kind            wire                                        value
    (Kind.TEXT,       "007",                                      "007"),
    (Kind.TEXT,       "",                                         ""),
    (Kind.INT,        27000,                                      27000),
    (Kind.INT,        -(2**63),                                   -(2**63)),
    (Kind.BOOL,       False,                                      False),
    (Kind.DATE,       "1970-01-01",                               0),
    (Kind.DATE,       "2026-03-10",                               20522),
    (Kind.DATE,       "1969-12-31",                               -1),
    (Kind.INSTANT,    "1970-01-01T00:00:00Z",                     0),
    (Kind.INSTANT,    "2026-03-10T17:42:11Z",                     1773164531000000),
    (Kind.INSTANT,    "2026-03-10T18:42:11+01:00",                1773164531000000),
    (Kind.INSTANT,    "2026-03-10t17:42:11z",                     1773164531000000),
    (Kind.INSTANT,    "2026-03-10T17:42:11.25Z",                  1773164531250000),
    (Kind.INSTANT,    "2026-03-10T17:42:11.123456789Z",           1773164531123456),
    (Kind.RATE,       {"rate_e6": 150000000, "ccy": "GBP", "unit": "HOUR"}, [150000000, "GBP", "HOUR", 28800]),
    (Kind.RATE,       {"rate_e6": 1000, "ccy": "GBP", "unit": "DAY", "day_s": 27000}, [1000, "GBP", "DAY", 27000]),
    (Kind.MONEY,      {"minor": 562500, "ccy": "GBP"},            [562500, "GBP"]),
    (Kind.MONEY,      {"minor": -1, "ccy": "JPY", "x": 1},        [-1, "JPY"]),
    (Kind.TEXTS,      ["SA", "SC"],                               ["SA", "SC"]),
    (Kind.JSON,       [{"type": "DATE"}],                         [{"type": "DATE"}]),
]  # fmt: skip

REFUSED = [
    # kind            wire                                        error
    (Kind.TEXT,       88121,                                      BadValue),
    (Kind.TEXT,       True,                                       BadValue),
    (Kind.INT,        7.0,                                        LossyNumber),
    (Kind.INT,        "7",                                        BadValue),
    (Kind.INT,        True,                                       BadValue),
    (Kind.INT,        2**63,                                      BadValue),
    (Kind.BOOL,       1,                                          BadValue),
    (Kind.BOOL,       "true",                                     BadValue),
    (Kind.DATE,       "2026-3-10",                                BadValue),
    (Kind.DATE,       "20260310",                                 BadValue),
    (Kind.DATE,       "2026-W11-2",                               BadValue),
    (Kind.DATE,       "2026-02-29",                               BadValue),
    (Kind.DATE,       "2026-03-10T00:00:00Z",                     BadValue),
    (Kind.DATE,       "٢٠٢٦-03-10",                               BadValue),
    (Kind.DATE,       20522,                                      BadValue),
    (Kind.INSTANT,    "2026-03-10T17:42:11",                      BadValue),
    (Kind.INSTANT,    "2026-03-10 17:42:11Z",                     BadValue),
    (Kind.INSTANT,    "2026-03-10T17:42:60Z",                     BadValue),
    (Kind.INSTANT,    "2026-03-10T24:00:00Z",                     BadValue),
    (Kind.INSTANT,    "2026-03-10T17:42:11+25:00",                BadValue),
    (Kind.INSTANT,    1773164531000,                              BadValue),
    (Kind.INSTANT,    ["2026-03-10T17:42:11Z"],                   BadValue),
    (Kind.RATE,       150.0,                                      BadValue),
    (Kind.RATE,       {"rate_e6": 150.0, "ccy": "GBP", "unit": "HOUR"}, LossyNumber),
    (Kind.RATE,       {"rate_e6": 150000000, "ccy": "gbp", "unit": "HOUR"}, BadValue),
    (Kind.RATE,       {"rate_e6": 150000000, "ccy": "GBP"},       BadValue),
    (Kind.RATE,       {"rate_e6": 150000000, "ccy": "GBP", "unit": "WEEK"}, BadValue),
    (Kind.RATE,       {"rate_e6": 150000000, "ccy": "GBP", "unit": "DAY", "day_s": 0}, BadValue),
    (Kind.MONEY,      {"minor": 5625.00, "ccy": "GBP"},           LossyNumber),
    (Kind.MONEY,      {"minor": "562500", "ccy": "GBP"},          BadValue),
    (Kind.MONEY,      {"ccy": "GBP"},                             BadValue),
    (Kind.MONEY,      "5625.00 GBP",                              BadValue),
    (Kind.TEXTS,      ["SA", 1],                                  BadValue),
    (Kind.TEXTS,      "SA",                                       BadValue),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "wire", "value"), ACCEPTED)
def test_accepts(kind: Kind, wire: Any, value: Any) -> None:
    found = parser_of(Attribute(kind))(wire)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(("kind", "wire", "error"), REFUSED)
def test_refuses(kind: Kind, wire: Any, error: type[DecodeError]) -> None:
    with pytest.raises(error) as caught:
        parser_of(Attribute(kind))(wire)
    assert "found" in str(caught.value)
    assert caught.value.hint


def test_a_symbol_outside_the_enumeration_is_unknown() -> None:
    assert [parser_of(STATES)(symbol) for symbol in ("APPROVED", "approved", "NEW")] == ["APPROVED"] + ["UNKNOWN"] * 2
    with pytest.raises(BadValue):
        parser_of(STATES)(2)


_INT64 = st.integers(-(2**63), 2**63 - 1)
_CCY = st.sampled_from(["GBP", "JPY", "BHD"])
_VALUES = {
    Kind.DATE: st.integers(-719_162, 2_932_896),
    Kind.INSTANT: st.integers(-719_162 * DAY_US, 2_932_897 * DAY_US - 1),
    Kind.RATE: st.tuples(_INT64, _CCY, st.sampled_from(["HOUR", "DAY"]), st.integers(1, 86_400)).map(list),
    Kind.MONEY: st.tuples(_INT64, _CCY).map(list),
    Kind.INT: _INT64,
    Kind.TEXT: st.text(),
}


@pytest.mark.parametrize("kind", _VALUES)
def test_reading_what_was_written_gives_it_back(kind: Kind) -> None:
    @given(_VALUES[kind])
    def check(value: Any) -> None:
        assert parser_of(Attribute(kind))(to_wire(Attribute(kind), value)) == value

    check()


def test_instants_show_a_fraction_only_where_there_is_one() -> None:
    assert [instant_text(us) for us in (0, 1, -1)] == [
        "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000001Z", "1969-12-31T23:59:59.999999Z"]
