"""The mapping language: what a field makes of a row, and every mistake named with its file and key."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieout.codecs.columns import Day, Instant, Local, Missing, Span
from tieout.codecs.converters import CONVERTERS
from tieout.codecs.errors import BadValue, DecodeError, LossyNumber, MappingError, MissingColumn, UnknownFormat
from tieout.codecs.formats import codec
from tieout.codecs.mapping import load, parse
from tieout.reconcilers.entities import Kind
from tieout.reconcilers.quantities import rounded

GONE = object()  # the attribute is not asserted

ATTRIBUTES = {  # an attribute of each kind, and its entity
    Kind.TEXT: ("project", "name"), Kind.INT: ("time_entry", "qty_s"), Kind.BOOL: ("project", "billable"),
    Kind.DATE: ("project", "start"), Kind.INSTANT: ("time_entry", "start_at"), Kind.RATE: ("assignment", "bill_rate"),
    Kind.MONEY: ("opportunity", "amount"), Kind.TEXTS: ("project", "aliases"),
}  # fmt: skip
KEYS = {"project": "project_code", "time_entry": "origin_id", "opportunity": "opportunity_no"}


def evaluate(spec: str, row: dict[str, Any], kind: Kind = Kind.TEXT, attribute: str = "", entity: str = "") -> Any:
    """The value that a field of that TOML gives for a row."""
    entity, attribute = (entity, attribute) if entity else ATTRIBUTES[kind]
    keys = "".join(f'{name} = {{ const = "k" }}\n' for name in (KEYS.get(entity), "origin_system")
                   if name and name != attribute and (name != "origin_system" or entity == "time_entry"))
    text = f'name = "t"\nversion = 1\n[[map]]\nentity = "{entity}"\n[map.fields]\n{keys}{attribute} = {spec}\n'
    (table,) = parse(text.replace('origin_system = { const = "k"', 'origin_system = { const = "TIME"'), "t.toml").maps
    return table.asserted(row).get(attribute, GONE)


UK = "2026-03-10"
FIELDS = [
    # spec                                                                row                                   value
    ('"a"',                                                         {"a": "x"},                           "x"),
    ('"a"',                                                         {"a": 7},                             "7"),
    ('"a"',                                                         {"a": None},                          None),
    ('"a"',                                                         {},                                   GONE),
    ('"a"',                                                         {"a": Missing.UNAVAILABLE},           GONE),
    ('{ from = "a", required = true }',                             {"a": Missing.UNAVAILABLE},           GONE),
    ('{ from = "a", null_if = ["", 0, 1900-01-01] }',               {"a": ""},                            None),
    ('{ from = "a", null_if = ["", 0, 1900-01-01] }',               {"a": 0},                             None),
    ('{ from = "a", as = "upper" }',                                {"a": " uk01 "},                      "UK01"),
    ('{ from = "a", as = "trim" }',                                 {"a": " uk01 "},                      "uk01"),
    ('{ from = "a", as = "project_code" }', {"a": " acme _ 024017\u2013b"}, "ACME-024017-B"),
    ('{ from = "a", as = "project_code" }',                         {"a": "\uff21\uff23\uff2d\uff25"},    "ACME"),
    ('{ from = "a", as = "prefix", prefixes = { "kimai:" = "TIME:" } }', {"a": "kimai:1"}, "TIME:1"),
    ('{ from = "a", as = "prefix", prefixes = { "kimai:" = "TIME:" } }', {"a": "psa:1"},                       "psa:1"),
    ('{ const = "x" }',                                             {},                                   "x"),
    ('{ template = "{a}:{b}-c" }',                                  {"a": 1, "b": "x"},                   "1:x-c"),
    ('{ template = "{a}:{b}" }',                                    {"a": 1},                             GONE),
    ('{ template = "{a}:{b}" }',                                    {"a": 1, "b": None},                  None),
    ('{ first_of = ["a", "b"] }',                                   {"a": "x", "b": "y"},                 "x"),
    ('{ first_of = ["a", "b"] }',                                   {"a": None, "b": "y"},                "y"),
    ('{ first_of = ["a", "b"] }',                                   {"b": "y"},                           "y"),
    ('{ first_of = ["a", "b"] }',                                   {"a": None},                          None),
    ('{ first_of = ["a", "b"] }',                                   {},                                   GONE),
    ('{ first_of = ["a", "b"] }',                                   {"a": Missing.UNAVAILABLE, "b": "y"}, GONE),
    ('{ first_of = [{ from = "a", null_if = ["-"] }, { const = "z" }] }', {"a": "-"},                           "z"),
    ('{ from = "a", enum = { 1 = "one", true = "yes" } }',          {"a": 1},                             "one"),
    ('{ from = "a", enum = { 1 = "one", true = "yes" } }',          {"a": True},                          "yes"),
    ('{ from = "a", enum = { 1 = "one" }, otherwise = "many" }',    {"a": 2},                             "many"),
    ('{ from = "a", as = "upper", enum = { X = "one" } }',          {"a": "x"},                           "one"),
    ('{ from = "a", as = "part", at = 1 }',                         {"a": "x: y:z"},                      "y"),
    ('{ from = "a", as = "part", separator = "/", at = -1 }',       {"a": "x/y/z"},                       "z"),
    ('{ from = "a", as = "after" }',                                {"a": "psa:a1:b"},                    "a1:b"),
    ('{ from = "a", as = "period" }',                               {"a": "Mar 2026"},                    "2026-03"),
    ('{ from = "a", as = "period" }',                               {"a": "september-2026"},              "2026-09"),
    ('{ from = "a", as = "period" }',                               {"a": "2026-12"},                     "2026-12"),
    ('{ null = true }',                                             {},                                   None),
    ('{ from = "a", when = [{ column = "b", in = [true] }] }',      {"a": "x", "b": True},                "x"),
    ('{ from = "a", when = [{ column = "b", in = [true] }] }',      {"a": "x", "b": False},               GONE),
    ('{ from = "a", when = [{ column = "b", in = [true] }] }',      {"a": "x"},                           GONE),
    ('{ const = "c", when = [{ column = "b", is = "set" }] }',      {"b": 0},                             "c"),
    ('{ template = "{a}", when = [{ column = "b", is = "null" }] }', {"a": "x", "b": None},                "x"),
    ('{ null = true, when = [{ column = "a", not_in = ["x"] }] }',  {"a": "y"},                           None),
    ('{ null = true, when = [{ column = "a", not_in = ["x"] }] }',  {"a": "x"},                           GONE),
    ('{ from = "a", when = [{ column = "a", is = "changed" }] }', {"a": "x", "@changed": {"a"}}, "x"),
    ('{ from = "a", when = [{ column = "a", is = "changed" }] }', {"a": "x", "@changed": {"b"}}, GONE),
    ('{ from = "a", when = [{ column = "a", is = "changed" }] }',   {"a": "x"},                           "x"),
    ('{ from = "a", ref = { entity = "project" } }', {"a": 317}, {"$ref": ["project", "317"]}),
    ('{ from = "a", ref = { entity = "project", system = "PSA" } }', {"a": "x"}, {"$ref": ["project", "x", "PSA"]}),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "row", "value"), FIELDS)
def test_fields(spec: str, row: dict[str, Any], value: Any) -> None:
    assert evaluate(spec, row) == value


GBP = 'ccy = "GBP"'
HASH_OF_X = "2d711642b726b04401627ca9fbac32f5"  # first half of SHA-256
CONVERSIONS = [
    # converter and parameters                                     kind          column value                value
    ("",                                                     Kind.INT,     7,                       7),
    ("",                                                     Kind.INT,     Decimal("7.00"),         7),
    ("",                                                     Kind.BOOL,    True,                    True),
    ("",                                                     Kind.DATE,    Day(20522),              20522),
    ("",                                                     Kind.DATE,    UK,                      20522),
    ("",                                                     Kind.INSTANT, Instant(5),              5),
    ("",                                                     Kind.INSTANT, "1970-01-01T00:00:00Z",  0),
    ('as = "int"',                                           Kind.INT,     "42",                    42),
    ('as = "flag"',                                          Kind.BOOL,    1,                       True),
    ('as = "flag"',                                          Kind.BOOL,    "N",                     False),
    ('as = "hash"', Kind.TEXT, "x", HASH_OF_X),
    ('as = "split"',                                         Kind.TEXTS,   "a; b;;c",               ["a", "b", "c"]),
    ('as = "split", separator = ","',                        Kind.TEXTS,   "a,b",                   ["a", "b"]),
    ('as = "date_days"',                                     Kind.DATE,    20522,                   20522),
    ('as = "datetime_midnight_date"',                        Kind.DATE,    1773100800000,           20522),
    ('as = "datetime_midnight_date"',                        Kind.DATE,    Local(1773144000000000), 20522),
    ('as = "datetime_midnight_date"',                        Kind.DATE,    Local(-1),               -1),
    ('as = "civil_date"',                                    Kind.DATE,    UK,                      20522),
    ('as = "civil_date"',                                    Kind.DATE,    f"{UK}T23:59:59-08:00",  20522),
    ('as = "civil_date"',                                    Kind.DATE,    f"{UK} 23:59:59",        20522),
    ('as = "civil_date"',                                    Kind.DATE,    1773144000000,           20522),
    ('as = "civil_date"',                                    Kind.DATE,    Instant(1773144000000000), 20522),
    ('as = "month_start"',                                   Kind.DATE,    "Mar 2026",              20513),
    ('as = "month_start"',                                   Kind.DATE,    UK,                      20513),
    ('as = "zoned"',                                         Kind.INSTANT, "1970-01-01T01:00:00+0100", 0),
    ('as = "zoned"',                                         Kind.INSTANT, "1970-01-01 00:00:00.5Z", 500_000),
    ('as = "zoned"',                                         Kind.INSTANT, 1,                       1_000),
    ('as = "inclusive_end"',                                 Kind.DATE,    Day(20522),              20523),
    ('as = "inclusive_end"',                                 Kind.DATE,    "2026-02-28",            20513),
    ('as = ["datetime_midnight_date", "inclusive_end"]',     Kind.DATE,    1773100800000,           20523),
    ('as = "utc"',                                           Kind.INSTANT, Local(7),                7),
    ('as = "utc"',                                           Kind.INSTANT, "1970-01-01 00:00:01",   1_000_000),
    ('as = "local_time", zone = "Europe/London"',            Kind.INSTANT, Local(1782864000000000), 1782860400000000),
    ('as = "local_time", zone_from = "zone"',                Kind.INSTANT, Local(0),                18_000_000_000),
    ('as = "local_time", zone = "Asia/Tokyo"',               Kind.INSTANT, Instant(7),              7),
    ('as = "epoch_s"',                                       Kind.INSTANT, 1,                       1_000_000),
    ('as = "epoch_ms"',                                      Kind.INSTANT, "1",                     1_000),
    ('as = "epoch_us"',                                      Kind.INSTANT, 1,                       1),
    ('as = "seconds"',                                       Kind.INT,     Span(27_000_000_000),    27000),
    ('as = "minutes"',                                       Kind.INT,     450,                     27000),
    ('as = "decimal_hours_to_seconds"',                      Kind.INT,     "7.5",                   27000),
    ('as = "decimal_hours_to_seconds"',                      Kind.INT,     Decimal("0.33"),         1188),
    ('as = "decimal_hours_to_seconds"',                      Kind.INT,     Decimal("-0.25"),        -900),
    ('as = "decimal_hours_to_seconds"',                      Kind.INT,     "0.3333",                1200),
    ('as = "decimal_hours_to_seconds", allow_double = true', Kind.INT,     7.1,                     25560),
    ('as = "clock_duration"',                                Kind.INT,     "7:30",                  27000),
    ('as = "clock_duration"',                                Kind.INT,     "100:00:01",             360_001),
    ('as = "basis_points"',                                  Kind.INT,     60,                      6000),
    (f'as = "rate", {GBP}', Kind.RATE, "165.0", [165_000_000, "GBP", "HOUR", 28_800]),
    (f'as = "rate", {GBP}, unit = "DAY", day_s = 27000', Kind.RATE, 1000, [10**9, "GBP", "DAY", 27_000]),
    ('as = "rate", ccy_from = "ccy"', Kind.RATE, Decimal("0.0000005"), [1, "JPY", "HOUR", 28_800]),
    (f'as = "rate", {GBP}, minor = true', Kind.RATE, 15050, [150_500_000, "GBP", "HOUR", 28_800]),
    ('as = "rate", ccy_from = "ccy", minor = true', Kind.RATE, 15050, [15_050_000_000, "JPY", "HOUR", 28_800]),
    (f'as = "money", {GBP}',                                 Kind.MONEY,   "5625.00",               [562_500, "GBP"]),
    (f'as = "money", {GBP}',                                 Kind.MONEY,   "-0.005",                [-1, "GBP"]),
    (f'as = "money", {GBP}, minor = true',                   Kind.MONEY,   5625,                    [5625, "GBP"]),
    ('as = "money", ccy_from = "ccy"',                       Kind.MONEY,   "148000",                [148_000, "JPY"]),
    ('as = "money", ccy = "BHD"',                            Kind.MONEY,   "327.156",               [327_156, "BHD"]),
    ('as = "money", ccy_from = "none"',                      Kind.MONEY,   "1",                     GONE),
]  # fmt: skip


def _row(value: Any) -> dict[str, Any]:
    return {"a": value, "ccy": " jpy ", "zone": "America/New_York", "null": None}


def _spec(text: str) -> str:
    return f'{{ from = "a"{", " if text else ""}{text} }}'


@pytest.mark.parametrize(("text", "kind", "column", "value"), CONVERSIONS)
def test_conversions(text: str, kind: Kind, column: Any, value: Any) -> None:
    found = evaluate(_spec(text), _row(column), kind)
    assert found == value
    assert type(found) is type(value), "no subclass leaves a mapping: frames are JSON"


def test_every_converter_is_tested_here() -> None:
    tested = " ".join(text for text, *_ in CONVERSIONS) + " ".join(spec for spec, *_ in FIELDS)
    assert [name for name in CONVERTERS if f'"{name}"' not in tested and name != "text"] == []


REFUSED_VALUES = [
    # converter and parameters                     kind          column value             error
    ("",                                       Kind.TEXT,    True,                      BadValue),
    ("",                                       Kind.TEXT,    Decimal(1),                BadValue),
    ("",                                       Kind.TEXT,    7.5,                       BadValue),
    ("",                                       Kind.INT,     True,                      BadValue),
    ("",                                       Kind.INT,     7.0,                       LossyNumber),
    ("",                                       Kind.INT,     "7.5",                     BadValue),
    ("",                                       Kind.INT,     2**63,                     BadValue),
    ("",                                       Kind.BOOL,    1,                         BadValue),
    ("",                                       Kind.DATE,    20522,                     BadValue),
    ("",                                       Kind.DATE,    Local(0),                  BadValue),
    ("",                                       Kind.DATE,    Day(2**31 - 1),            BadValue),
    ("",                                       Kind.INSTANT, Local(0),                  BadValue),
    ("",                                       Kind.INSTANT, 0,                         BadValue),
    ("",                                       Kind.INSTANT, Instant(2**62),            BadValue),
    ('as = "flag"',                            Kind.BOOL,    2,                         BadValue),
    ('as = "date_days"',                       Kind.DATE,    "2026-03-10",              BadValue),
    ('as = "inclusive_end"',                   Kind.DATE,    20522,                     BadValue),
    ('as = "inclusive_end"',                   Kind.DATE,    "9999-12-31",              BadValue),
    ('as = "datetime_midnight_date"',          Kind.DATE,    "2026-03-10",              BadValue),
    ('as = "civil_date"',                      Kind.DATE,    "10/03/2026",              BadValue),
    ('as = "civil_date"',                      Kind.DATE,    "2026-02-30",              BadValue),
    ('as = "civil_date"',                      Kind.DATE,    10**18,                    BadValue),
    ('as = "month_start"',                     Kind.DATE,    "FY26",                    BadValue),
    ('as = "month_start"',                     Kind.DATE,    "2026-13",                 BadValue),
    ('as = "period"',                          Kind.TEXT,    "Mai 2026",                BadValue),
    ('as = "part", at = 3',                    Kind.TEXT,    "a:b",                     BadValue),
    ('as = "after"',                           Kind.TEXT,    "ab",                      BadValue),
    ('as = "zoned"',                           Kind.INSTANT, "2026-03-10T17:40:00",     BadValue),
    ('as = "zoned"',                           Kind.INSTANT, 10**18,                    BadValue),
    ('as = "utc"',                             Kind.INSTANT, 0,                         BadValue),
    ('as = "local_time", zone = "Asia/Tokyo"', Kind.INSTANT, Local(-62135596800000000), BadValue),
    ('as = "local_time", zone_from = "a"',     Kind.INSTANT, "Mars/Olympus",            BadValue),
    ('as = "decimal_hours_to_seconds"',        Kind.INT,     7.5,                       LossyNumber),
    ('as = "decimal_hours_to_seconds"',        Kind.INT,     "7h",                      BadValue),
    ('as = "clock_duration"',                  Kind.INT,     "7:60",                    BadValue),
    (f'as = "money", {GBP}',                   Kind.MONEY,   56.25,                     LossyNumber),
    (f'as = "money", {GBP}',                   Kind.MONEY,   "1" + "0" * 20,            BadValue),
    ('as = "money", ccy_from = "null"',        Kind.MONEY,   "1",                       BadValue),
    ('enum = { 1 = true }',                    Kind.BOOL,    2,                         BadValue),
    ('enum = { 1 = true }',                    Kind.BOOL,    1.0,                       LossyNumber),
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind", "column", "error"), REFUSED_VALUES)
def test_refused_values_name_attribute_and_column(text: str, kind: Kind, column: Any, error: type[DecodeError]) -> None:
    with pytest.raises(DecodeError) as caught:
        evaluate(_spec(text), _row(column), kind)
    assert type(caught.value) is error
    assert str(caught.value).startswith(".".join(ATTRIBUTES[kind]) + ": column a: ")
    assert caught.value.hint


def test_a_required_column_that_is_gone_is_a_changed_schema() -> None:
    with pytest.raises(MissingColumn, match=r"project\.name: expected column 'a', found b"):
        evaluate('{ from = "a", required = true }', {"b": 1})


@pytest.mark.parametrize(("symbol", "state"), [("2", "APPROVED"), ("9", "UNKNOWN")])
def test_an_enumeration_takes_unknown_for_what_is_not_in_the_table(symbol: str, state: str) -> None:
    spec = '{ from = "a", enum = { 2 = "APPROVED" } }'
    assert evaluate(spec, {"a": symbol}, entity="time_entry", attribute="state") == state


CONDITIONS = [
    # condition                                value                  skipped
    ('{ column = "x", is = "null" }',          None,                  True),
    ('{ column = "x", is = "null" }',          0,                     False),
    ('{ column = "x", is = "set" }',           0,                     True),
    ('{ column = "x", in = [1, "b"] }',        1,                     True),
    ('{ column = "x", in = [1, "b"] }',        "1",                   True),
    ('{ column = "x", in = [1, "b"] }',        None,                  False),
    ('{ column = "x", not_in = ["b"] }',       "a",                   True),
    ('{ column = "x", not_in = ["b"] }',       None,                  False),
    ('{ column = "x", is = "null" }',          Missing.UNAVAILABLE,   False),
    ('{ column = "y", is = "null" }',          None,                  False),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "value", "skipped"), CONDITIONS)
def test_conditions(condition: str, value: Any, skipped: bool) -> None:
    text = f"""name = "t"\nversion = 1\n[[map]]\nentity = "project"\nskip = [{condition}]\ndelete = [{condition}]
               fields = {{ project_code = "x" }}"""
    (table,) = parse(text, "t.toml").maps
    assert (table.skipped({"x": value}) is not None, table.deleted({"x": value})) == (skipped, skipped)


BAD = """
name = 7
vershun = 1
[[map]]
entity = "time_entri"
[[map]]
entity = "time_entry"
tabel = "t"
subject = "{}"
skip = [{ column = "a" }, { column = "a", is = "nul" }]
columns = { a = "datum" }
[map.fields]
origin_id = { from = "id", as = "txt" }
hours = "h"
qty_s = { from = "a", as = "money", ccy = "GBP" }
billable = { from = "a", enum = { 1 = "yes" } }
state = { from = "a", enum = { 1 = "APROVED" } }
time_type = { const = "WERK" }
work_date = { from = "a", as = "date_days", zone = "UTC" }
start_at = { from = "a", as = "local_time", zone = "Mars/Olympus" }
end_at = { template = "{a}" }
source_rate = "a"
source_amount = { from = "a", as = "money" }
worker_no = { from = "a", ref = { entity = "worker", system = "HR" } }
note_hash = { from = "a", const = "b" }
role_code = { null = false }
billed = { from = "a", when = [{ column = "b", is = "new" }] }
[[map]]
entity = "assignment"
days = { start = "a", hours = ["b"], empty = "keep", rest = 1 }
claims = "yes"
commit = { from = "a", as = "minutes" }
fields = { role_code = { from = "a", as = "part", at = "1" } }
[[map]]
entity = "assignment"
each = "a"
repeat = { start = "a", end = "b", until = "c", state = "d", every = { 1 = "weekly" } }
fields = { role_code = "b" }
[[map]]
entity = "assignment"
repeat = { start = "a", end = "b", until = "c", every = { 1 = "weekly" } }
fields = { role_code = "b" }
"""
PROBLEMS = [
    "bad.toml: vershun: no such key; did you mean 'version'?",
    "bad.toml: name: found 7, expected text",
    "bad.toml: version: found None, expected an integer",
    "bad.toml: map[0].entity: found 'time_entri', no such entity; did you mean 'time_entry'?",
    "bad.toml: map[1].tabel: no such key; did you mean 'table'?",
    "bad.toml: map[1].fields.hours: no such key",
    "bad.toml: map[1].fields: expected origin_system, part of the business key of time_entry",
    "bad.toml: map[1].fields.origin_id.as: found 'txt'",
    "bad.toml: map[1].fields.qty_s.as: 'money' gives money, the attribute is int",
    "bad.toml: map[1].fields.billable.enum.1: found 'yes', expected true or false",
    "bad.toml: map[1].fields.state.enum.1: found 'APROVED'",
    "bad.toml: map[1].fields.time_type.const: found 'WERK', expected one of WORK",
    "bad.toml: map[1].fields.work_date.zone: no such key",
    "bad.toml: map[1].fields.start_at: local_time: zone: found 'Mars/Olympus'",
    "bad.toml: map[1].fields.end_at.template: gives text, the attribute is instant",
    "bad.toml: map[1].fields.source_rate: expected as = 'rate'",
    "bad.toml: map[1].fields.source_amount: money: expected one of ccy and ccy_from",
    "bad.toml: map[1].fields.worker_no.ref.entity: found 'worker'",
    "bad.toml: map[1].fields.worker_no.ref.system: found 'HR'",
    "bad.toml: map[1].fields.note_hash: found from and const, expected one of",
    "bad.toml: map[1].fields.role_code.null: found False, expected true",
    "bad.toml: map[1].fields.billed.when[0].is: found 'new', expected one of null, set, changed",
    "bad.toml: map[2].days.rest: no such key",
    "bad.toml: map[2].days.hours: found ['b'], expected seven columns",
    "bad.toml: map[2].days.empty: found 'keep'",
    "bad.toml: map[2].claims: found 'yes', expected true or false",
    "bad.toml: map[2].commit.as: 'minutes' gives int, the attribute is instant",
    "bad.toml: map[2].fields.role_code: part: at: found '1'",
    "bad.toml: map[3]: found each and repeat, expected one of days, each, repeat",
    "bad.toml: map[4].repeat.state: found None, expected text",
    "bad.toml: map[4].repeat.every.1: found 'weekly', expected 'never' or a step",
    "bad.toml: map[1].subject: found '{}'",
    "bad.toml: map[1].skip[0]: found no test, expected one of is, in, not_in",
    "bad.toml: map[1].skip[1].is: found 'nul'",
    "bad.toml: map[1].columns.a: found 'datum'",
]


def test_all_mistakes_of_a_file_at_once_each_with_its_key() -> None:
    with pytest.raises(MappingError) as caught:
        parse(BAD, "bad.toml")
    found = list(caught.value.problems)
    assert [expected for expected in PROBLEMS if not any(problem.startswith(expected) for problem in found)] == []
    assert len(found) == len(PROBLEMS)


@pytest.mark.parametrize(("text", "problem"), [
    ("name = ", "t.toml: not TOML: "), ('name = "t"\nversion = 1', "t.toml: map: found None, expected a list")])
def test_files_that_are_no_mapping(text: str, problem: str) -> None:
    with pytest.raises(MappingError) as caught:
        parse(text, "t.toml")
    assert caught.value.problems[0].startswith(problem)


def test_a_mapping_beside_the_configuration_goes_first(tmp_path: Path) -> None:
    (tmp_path / "kimai.toml").write_text(
        'name = "mine"\nversion = 2\n[[map]]\nentity = "project"\nfields = { project_code = "code" }\n')
    assert load("kimai", [tmp_path]).name == "mine"
    assert load(str(tmp_path / "kimai.toml")).version == 2
    assert load("kimai").name == "kimai"
    with pytest.raises(MappingError, match=r"did you mean 'kimai'"):
        load("kimay", [tmp_path])


CONFIGURATIONS = [
    ("debezium", {}, UnknownFormat, "did you mean 'debezium-json'"),
    ("debezium-json", {"mapping": "kimai"}, UnknownFormat, "source: found ''"),
    ("debezium-json", {"mapping": "kimai", "source": "KIMAI/x"}, UnknownFormat, "SYSTEM/instance"),
    ("debezium-json", {"source": "TIME/x"}, UnknownFormat, "mapping: expected"),
    ("debezium-json", {"source": "TIME/x", "mapping": "kimai", "entiti": "x"}, UnknownFormat, "did you mean 'entity'"),
    ("debezium-json", {"source": "TIME/x", "mapping": "nope"}, MappingError, "expected a file or one of ax, bamboohr"),
    ("debezium-json", {"source": "TIME/x", "mapping": "kimai", "entity": "projekt"}, MappingError, "'project'?"),
]


@pytest.mark.parametrize(("format", "options", "error", "words"), CONFIGURATIONS)
def test_a_codec_that_cannot_be_built_says_why(format: str, options: dict[str, Any], error: type[Exception],
                                               words: str) -> None:
    with pytest.raises(error) as caught:
        codec(format, options)
    assert words in str(caught.value)


@given(st.decimals(min_value=-(10**6), max_value=10**6, places=6))
def test_hours_and_money_are_exact_to_the_last_digit(number: Decimal) -> None:
    hours = evaluate(_spec('as = "decimal_hours_to_seconds"'), _row(number), Kind.INT)
    money = evaluate(_spec(f'as = "money", {GBP}'), _row(format(number, "f")), Kind.MONEY)
    assert hours == rounded(Fraction(number) * 3600)
    assert money == [rounded(Fraction(number) * 100), "GBP"]
