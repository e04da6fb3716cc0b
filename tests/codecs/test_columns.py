"""Column encodings: all temporal and decimal modes of the connectors, by schema and by mapping."""

from __future__ import annotations

from base64 import b64encode
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieout.codecs.columns import Day, Instant, Local, Span, is_unavailable, text_of
from tieout.codecs.connect import column_type
from tieout.codecs.errors import BadValue, LossyNumber, SchemaUnknown
from tieout.codecs.wire_types import WIRE_TYPES, unscaled, wire_type

US = 1_773_164_531_123_456  # 2026-03-10T17:42:11.123456Z
CLOCK_US = 63_731_500_000  # 17:42:11.5

BY_SCHEMA = [
    # mode       schema name                                type      wire                             value
    ("adaptive", "io.debezium.time.Date",                   "int32",  20522,                           Day(20522)),
    ("adaptive", "io.debezium.time.Time",                   "int32",  27_000_000,                     Span(27 * 10**9)),
    ("adaptive", "io.debezium.time.MicroTime",              "int64",  27_000_000_000,                 Span(27 * 10**9)),
    ("adaptive", "io.debezium.time.NanoTime",               "int64",  27_000_000_000_999,             Span(27 * 10**9)),
    ("adaptive", "io.debezium.time.Timestamp",              "int64",  1_773_164_531_123,               Local(US - 456)),
    ("adaptive", "io.debezium.time.MicroTimestamp",         "int64",  US,                              Local(US)),
    ("adaptive", "io.debezium.time.NanoTimestamp",          "int64",  US * 1_000 + 999,                Local(US)),
    ("all",      "io.debezium.time.ZonedTimestamp",         "string", "2026-03-10T18:42:11.123456+01:00", Instant(US)),
    ("all",      "io.debezium.time.MicroDuration",          "int64",  -5,                              Span(-5)),
    ("adaptive_time_microseconds", "io.debezium.time.MicroTime", "int64", 1,                           Span(1)),
    ("connect",  "org.apache.kafka.connect.data.Date",      "int32",  20522,                           Day(20522)),
    ("connect",  "org.apache.kafka.connect.data.Time",      "int32",  1,                               Span(1_000)),
    ("connect",  "org.apache.kafka.connect.data.Timestamp", "int64",  1_773_164_531_123,               Local(US - 456)),
    ("isostring", "io.debezium.time.IsoDate",               "string", "2026-03-10Z",                   Day(20522)),
    ("isostring", "io.debezium.time.IsoDate",               "string", "2026-03-10",                    Day(20522)),
    ("isostring", "io.debezium.time.IsoTimestamp",          "string", "2026-03-10T17:42:11.123456Z",   Local(US)),
    ("isostring", "io.debezium.time.IsoTimestamp",          "string", "2026-03-10T17:42:11.123456",    Local(US)),
    ("isostring", "io.debezium.time.IsoTime",               "string", "17:42:11.5Z",                   Span(CLOCK_US)),
    ("isostring", "io.debezium.time.IsoTime",               "string", "17:42:11.5",                    Span(CLOCK_US)),
    ("isostring", "io.debezium.time.IsoDate",               "string", "+292278994-08-17",              Day(2**62)),
    ("isostring", "io.debezium.time.IsoTimestamp",          "string", "-290308-12-21T19:59:27.6Z",     Local(-(2**62))),
    ("all",      "io.debezium.time.ZonedTime",              "string", "18:42:11.5+01:00",              Span(CLOCK_US)),
    ("all", "io.debezium.time.ZonedTime", "string", "00:30:00+01:00", Span(84_600 * 10**6)),
    ("all",      "io.debezium.time.Year",                   "int32",  2026,                            2026),
    ("string", "io.debezium.time.Interval", "string", "P0Y0M1DT7H30M0.5S", Span(113_400_500_000)),
    ("string", "io.debezium.time.Interval", "string", "-PT7H", Span(-25_200 * 10**6)),
    ("numeric",  "io.debezium.time.NanoDuration",           "int64",  1_999,                           Span(1)),
    ("connect",  "org.apache.kafka.connect.data.Decimal",   "bytes",  b"\x36",                         Decimal(54)),
    ("variable", "io.debezium.data.VariableScaleDecimal",   "struct", {"scale": 0, "value": b"\x36"}, Decimal(54)),
    ("double",   None,                                      "double", float("inf"),                    "Infinity"),
    ("plain",    None,                                      "bytes",  b"\x00\xff",                     "AP8="),
    ("plain",    None,                                      "bytes",  "AP8=",                          "AP8="),
    ("plain",    "io.debezium.data.Uuid",                   "string", "6f1c2d3e-0000-4000-8000-0a0b0c0d0e0f",
     "6f1c2d3e-0000-4000-8000-0a0b0c0d0e0f"),
    ("plain",    "io.debezium.data.Enum",                   "string", "open",                          "open"),
    ("plain", None, "struct", {"x": [b"\x00", None]}, {"x": ["AA==", None]}),
    ("variable", "io.debezium.data.VariableScaleDecimal",   "struct", {"scale": 2, "value": "Ng=="},   Decimal("0.54")),
    ("string",   None,                                      "string", "7.50",                          "7.50"),
    ("double",   None,                                      "double", 7,                               7.0),
    ("plain",    None,                                      "int16",  1,                               1),
    ("plain",    None,                                      "boolean", True,                           True),
    ("plain",    "io.debezium.data.Json",                   "string", "{}",                            "{}"),
    ("plain",    "io.debezium.data.geometry.Point",         "struct", {"x": 1.5},                      {"x": 1.5}),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "name", "kind", "wire", "value"), BY_SCHEMA)
def test_by_schema(mode: str, name: str | None, kind: str, wire: Any, value: Any) -> None:
    found = column_type({"type": kind, "name": name, "field": "x", "parameters": {"scale": "0"}})(wire)
    assert (found, type(found)) == (value, type(value))


def test_precise_decimals_take_their_scale_from_the_schema() -> None:
    field = {"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "16"}}
    decode = column_type(field)
    assert (decode("AQp0GkYngAA="), decode("FuX6QgdlAAA="), decode(3)) == (Decimal("7.5"), Decimal(165), Decimal(3))
    assert type(decode(7.5)) is float, "decimal.format=NUMERIC gives a float: whoever needs it exact refuses it"
    with pytest.raises(SchemaUnknown, match="scale"):
        column_type({**field, "parameters": {}})


BY_MAPPING = [("date", 20522, Day(20522)), ("timestamp", 1_773_164_531_123, Local(US - 456)),
              ("zoned_timestamp", "2026-03-10T17:42:11.123456Z", Instant(US)),
              ("decimal(16)", "AQp0GkYngAA=", Decimal("7.5")),
              ("decimal_text", "7.50", Decimal("7.50")), ("decimal(0)", "AA==", Decimal(0))]


@pytest.mark.parametrize(("name", "wire", "value"), BY_MAPPING)
def test_by_mapping(name: str, wire: Any, value: Any) -> None:
    decode = wire_type(name)
    assert decode is not None
    assert (decode(wire), type(decode(wire))) == (value, type(value))


@pytest.mark.parametrize("name", ["Date", "decimal", "decimal()", "decimal(-1)", "decimal(x)", ""])
def test_unknown_wire_types(name: str) -> None:
    assert wire_type(name) is None


REFUSED = [("date", "2026-03-10"), ("date", 20522.0), ("date", True), ("timestamp", "x"),
           ("zoned_timestamp", "2026-03-10"),
           ("zoned_timestamp", 5), ("iso_date", "10.3.2026"), ("iso_timestamp", "yesterday"),
           ("decimal(2)", "no base64!"),
           ("decimal(2)", None), ("decimal_text", "1e999999999"),
           ("decimal_text", ""), ("decimal_text", 7), ("variable_decimal", "Ng=="),
           ("variable_decimal", {"scale": 10**9, "value": "Ng=="}), ("variable_decimal", {"value": "Ng=="}),
           ("double", "7.5"), ("interval", "P1Y"), ("interval", "P2M"), ("interval", "P"), ("interval", "7 hours"),
           ("interval", 7), ("zoned_time", "17:42:11"), ("zoned_time", "25:00Z"), ("iso_time", 5), ("year", "2026"),
           ("decimal(2)", {}), ("instant_us", 1.5)]


@pytest.mark.parametrize(("name", "wire"), REFUSED)
def test_refuses(name: str, wire: Any) -> None:
    decode = wire_type(name)
    assert decode is not None
    with pytest.raises(BadValue, match="found"):
        decode(wire)


SPECIALS = [("decimal_text", "NaN", "NaN"), ("decimal_text", "-Infinity", "-Infinity"), ("decimal_text", "nan", "NaN"),
            ("double", float("nan"), "NaN"), ("double", "NaN", "NaN"), ("double", float("-inf"), "-Infinity")]


@pytest.mark.parametrize(("name", "wire", "found"), SPECIALS)
def test_what_is_no_number_has_a_text_that_null_if_can_name(name: str, wire: Any, found: str) -> None:
    assert text_of(WIRE_TYPES[name](wire)) == found


def test_arrays_decode_their_items() -> None:
    item = {"type": "int32", "name": "io.debezium.time.Date"}
    assert column_type({"type": "array", "items": item})([20522, None]) == [Day(20522), None]
    with pytest.raises(BadValue, match="expected a list"):
        column_type({"type": "array", "items": item})("{20522}")


AGREEMENTS = [
    # pinned           stated by the schema                                                               agrees
    ("date",           {"type": "int32", "name": "io.debezium.time.Date"},                                True),
    ("date",           {"type": "int32", "name": "org.apache.kafka.connect.data.Date"},                   True),
    ("date",           {"type": "int32"},                                                                 True),
    ("date",           {"type": "string"},                                                                False),
    ("timestamp",      {"type": "int64", "name": "io.debezium.time.MicroTimestamp"},                      False),
    ("timestamp",      {"type": "int64", "name": "org.apache.kafka.connect.data.Timestamp"},              True),
    ("decimal(16)", {"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "16"}},
     True),
    ("decimal(16)",    {"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "6"}},
     False),
    ("decimal(16)",    {"type": "string"},                                                                False),
    ("decimal(16)",    {"type": "double"},                                                                False),
    ("decimal_text",   {"type": "string"},                                                                True),
    ("decimal_text",   {"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "2"}},
     False),
    ("double",         {"type": "double"},                                                                True),
    ("double",         {"type": "float32"},                                                               True),
    ("zoned_timestamp", {"type": "string", "name": "io.debezium.time.ZonedTimestamp"},                    True),
    ("zoned_timestamp", {"type": "string", "name": "io.debezium.time.ZonedTime"},                         False),
]  # fmt: skip


@pytest.mark.parametrize(("pinned", "stated", "agrees"), AGREEMENTS)
def test_what_a_pin_agrees_with(pinned: str, stated: dict[str, Any], agrees: bool) -> None:
    pin = wire_type(pinned)
    assert pin is not None
    assert pin.agrees_with(column_type(stated)) is agrees


@given(st.integers(-(10**37), 10**37), st.integers(0, 38))
def test_decimals_are_exact(number: int, scale: int) -> None:
    """Also with more digits than the default context of `decimal` keeps."""
    data = number.to_bytes(17, "big", signed=True)
    assert Fraction(unscaled(b64encode(data).decode(), scale)) == Fraction(number, 10**scale)


TEXTS = [("x", "x"), (7, "7"), (True, "true"), (Decimal("7.50"), "7.50"), (Decimal("1E+3"), "1000"),
         (Day(20522), "2026-03-10"),
         (Instant(0), "1970-01-01T00:00:00Z"), (Local(0), "1970-01-01T00:00:00"), (Day(2**31 - 1), "infinity"),
         (Day(-622_191_234), "infinity"), (Day(-2_147_472_692), "infinity"), (Day(-625_821_272), "-infinity"),
         (Day(-2_147_472_691), "-infinity"), (Day(-(2**31)), "-infinity"), (Instant(2**62), "infinity"),
         (Local(-(2**62)), "-infinity")]


@pytest.mark.parametrize(("value", "text"), TEXTS)
def test_texts(value: Any, text: str) -> None:
    assert text_of(value) == text


def test_what_has_no_text() -> None:
    with pytest.raises(LossyNumber):
        text_of(7.5)
    values: list[Any] = [[], {}, None, Span(1)]
    for value in values:
        with pytest.raises(BadValue):
            text_of(value)


@pytest.mark.parametrize(("days", "text"), [
    (2**31 - 1, "infinity"), (-(2**31), "-infinity"),  # limits of the type
    (-2147472692, "infinity"), (-2147472691, "-infinity"),  # streamed by Debezium 3.6
    (-622191234, "infinity"),  # in its snapshots
    (-719162, "0001-01-01"), (2932896, "9999-12-31")])
def test_infinite_dates_as_connectors_write_them(days: int, text: str) -> None:
    assert text_of(WIRE_TYPES["date"](days)) == text


def test_infinite_instants() -> None:
    decode = WIRE_TYPES["zoned_timestamp"]
    assert [text_of(decode(text)) for text in ("+294247-01-10T04:00:25.2Z", "-4713-01-01T00:00:00Z", "infinity")] == [
        "infinity", "-infinity", "infinity"]


@pytest.mark.parametrize(("value", "answer"), [
    ("__debezium_unavailable_value", True), ({"__debezium_unavailable_value": "__debezium_unavailable_value"}, True),
    (b"__debezium_unavailable_value", True), (list(b"__debezium_unavailable_value"), True),
    ("5f5f646562657a69756d5f756e617661696c61626c655f76616c7565", True), (b"", False), ([1, 2], False),
    ("other", False), ([], False), (["a", "b"], False), (None, False), (0, False)])
def test_unavailable(value: Any, answer: bool) -> None:
    assert is_unavailable(value) is answer
