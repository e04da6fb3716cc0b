"""What a new version of a schema breaks: by Avro's rules, and by meaning where Avro sees nothing wrong."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from typing import Any

import fastavro
import pytest
from avro_firm import DATE, MICROS, MILLIS, VARIABLE, ZONED, column, envelope, flat, precise, semantic
from hypothesis import given
from hypothesis import strategies as st

from tieout.codecs.avro_schema import WriterSchema
from tieout.codecs.errors import SchemaUnknown
from tieout.codecs.schema_changes import corrupting, not_flat, unresolvable
from tieout.codecs.schema_source import Registered
from tieout.reconcilers.outcomes import Output
from tieout.schemas import avsc


def record(*fields: Any, name: str = "R") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields)}


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}

RESOLUTION = [
    # what                         reader                                                writer                          breaks at
    ("the same",                   record(field("a", "int")),                            record(field("a", "int")),      []),
    ("int to long",                record(field("a", "long")),                           record(field("a", "int")),      []),
    ("long to int",                record(field("a", "int")),                            record(field("a", "long")),     ["a"]),
    ("string to bytes",            record(field("a", "bytes")),                          record(field("a", "string")),   []),
    ("string to int",              record(field("a", "int")),                            record(field("a", "string")),   ["a"]),
    ("new, with a default",        record(field("a", "int", default=0)),                 record(),                       []),
    ("new, without",               record(field("a", "int")),                            record(),                       ["a"]),
    ("gone",                       record(),                                             record(field("a", "int")),      []),
    ("renamed with an alias",      record(field("b", "int", aliases=["a"])),             record(field("a", "int")),      []),
    ("renamed without",            record(field("b", "int")),                            record(field("a", "int")),      ["b"]),
    ("now nullable",               record(field("a", ["null", "int"])),                  record(field("a", "int")),      []),
    ("no longer nullable",         record(field("a", "int")),              record(field("a", ["null", "int"])),          ["a"]),
    ("a symbol more",              record(field("a", {**ENUM, "symbols": ["A", "B", "C"]})), record(field("a", ENUM)),   []),
    ("a symbol less",              record(field("a", {**ENUM, "symbols": ["A"]})),       record(field("a", ENUM)),       ["a"]),
    ("a symbol less, a default",   record(field("a", {**ENUM, "symbols": ["A"], "default": "A"})), record(field("a", ENUM)), []),
    ("items",                      record(field("a", {"type": "array", "items": "int"})),
     record(field("a", {"type": "array", "items": "string"})),                                                          ["a[]"]),
    ("values",                     record(field("a", {"type": "map", "values": "string"})),
     record(field("a", {"type": "map", "values": "int"})),                                                              ["a{}"]),
    ("size",                       record(field("a", {"type": "fixed", "name": "F", "size": 4})),
     record(field("a", {"type": "fixed", "name": "F", "size": 8})),                                                     ["a"]),
    ("nested",                     record(field("a", record(field("x", "int"), name="N"))),
     record(field("a", record(field("x", "string"), name="N"))),                                                        ["a.x"]),
    ("a type that holds itself",   record(field("a", ["null", "R"])),                    record(field("a", ["null", "R"])), []),
    ("by name",                    record(field("a", record(field("x", "int"), name="N")), field("b", "N")),
     record(field("a", record(field("x", "int"), name="N")), field("b", "N")),                                          []),
]  # fmt: skip


@pytest.mark.parametrize(("what", "reader", "writer", "places"), RESOLUTION, ids=[row[0] for row in RESOLUTION])
def test_resolution(what: str, reader: Any, writer: Any, places: list[str]) -> None:
    assert [each.place for each in unresolvable(reader, writer)] == places


_KINDS = st.sampled_from(["int", "long", "float", "double", "string", "bytes", "boolean"])
_TYPES = _KINDS | st.lists(_KINDS, min_size=1, max_size=2, unique=True).map(lambda kinds: ["null", *kinds])
_SAMPLES: dict[str, Any] = {"int": 3, "long": 4, "float": 0.5, "double": 0.25, "string": "x", "bytes": b"y", "boolean": True,
                            "null": None}


@given(_TYPES, _TYPES)
def test_resolution_agrees_with_an_avro_library(reader: Any, writer: Any) -> None:
    """Whatever we call readable, fastavro reads, branch by branch; what we call unreadable, it refuses for some branch."""
    reading, writing = record(field("a", reader)), record(field("a", writer))
    refused = False
    for branch in writer if isinstance(writer, list) else [writer]:
        buffer = io.BytesIO()
        sample = _SAMPLES[branch] if isinstance(writer, str) or branch == "null" else (branch, _SAMPLES[branch])
        fastavro.schemaless_writer(buffer, writing, {"a": sample})
        buffer.seek(0)
        try:
            fastavro.schemaless_reader(buffer, writing, reading)
        except Exception:
            refused = True
    assert bool(unresolvable(reading, writing)) is refused


MEANING = [
    # what                         before                             after                                              place -> after
    ("nothing",                    [column("x", precise(2))],         [column("x", precise(2))],                         {}),
    ("a column more",              [column("x", "int")],              [column("x", "int"), column("y", "int")],          {}),
    ("wider",                      [column("x", "int")],              [column("x", "long")],                             {}),
    ("now nullable",               [column("x", "int", null=False)],  [column("x", "int")],                              {}),
    ("scale",                      [column("x", precise(2))],         [column("x", precise(4))],                         {"x": "decimal(4)"}),
    ("milliseconds to micro",      [column("x", MILLIS)],             [column("x", MICROS)],                             {"x": "micro_timestamp"}),
    ("days to milliseconds",       [column("x", DATE)],               [column("x", MILLIS)],                             {"x": "timestamp"}),
    ("a number to milliseconds",   [column("x", "long")],             [column("x", MILLIS)],                             {"x": "timestamp"}),
    ("string to decimal",          [column("x", "string")],           [column("x", precise(2))],                         {"x": "decimal(2)"}),
    ("decimal to variable",        [column("x", precise(2))],         [column("x", VARIABLE)],                           {"x": "variable_decimal"}),
    ("decimal to double",          [column("x", precise(2))],         [column("x", "double")],                           {"x": "double"}),
    ("int to double",              [column("x", "int")],              [column("x", "double")],                           {"x": "double"}),
    ("zone lost",                  [column("x", ZONED)],              [column("x", MICROS)],                             {"x": "micro_timestamp"}),
    ("Debezium's and Connect's",   [column("x", MILLIS)],
     [column("x", semantic("long", "org.apache.kafka.connect.data.Timestamp", logicalType="timestamp-millis"))],         {}),
    ("renamed with an alias",      [column("x", "int")],              [column("y", "int", aliases=["x"])],               {}),
    ("renamed, and another type",  [column("x", precise(2))],         [column("y", precise(4), aliases=["x"])],          {"x": "decimal(4)"}),
    ("renamed without",            [column("x", "int")],              [column("y", "int")],                              {"x": "gone, y is new"}),
    ("dropped",                    [column("x", "int")],              [],                                                {"x": "gone"}),
]  # fmt: skip


@pytest.mark.parametrize("form", [envelope, flat])
@pytest.mark.parametrize(("what", "before", "after", "found"), MEANING, ids=[row[0] for row in MEANING])
def test_meaning(form: Any, what: str, before: Any, after: Any, found: dict[str, str]) -> None:
    old, new = (WriterSchema(Registered(json.dumps(form(columns)))) for columns in (before, after))
    breaks = corrupting(old, new)
    assert {each.place: each.after for each in breaks} == found
    assert all(each.why for each in breaks)


def test_what_a_registry_lets_through_is_found_here() -> None:
    """Scale, unit and rename of a nullable column are compatible to Avro: that is why meaning is looked at."""
    for what, before, after, found in MEANING:
        if what in ("scale", "milliseconds to micro", "renamed without"):
            assert unresolvable(envelope(after), envelope(before)) == [], what
            assert found


@pytest.mark.parametrize("output", Output)
def test_our_outputs_are_flat(output: Output) -> None:
    assert not_flat(avsc(output.value)) == []


@pytest.mark.parametrize("kind", [
    {"type": "array", "items": "string"}, ["null", "string", "long"], record(name="N"),
    {"type": "int", "logicalType": "time-millis"}, ["null", {"type": "long", "logicalType": "time-micros"}]])
def test_what_is_not_flat(kind: Any) -> None:
    assert [each.place for each in not_flat(record(field("a", "string"), field("b", kind)))] == ["b"]


NESTED = record(field("a", ["null", "int"]), name="N")
ENDLESS = [
    # what                                schema                                                                      words
    ("a record in itself",                record(field("a", "R")),                                                    "R holds itself"),
    ("a list of itself",                  record(field("a", ["null", "R"])),                                          "R holds itself"),
    ("by way of another",                 record(field("a", record(field("b", "R"), name="N"))),                      "R holds itself"),
    ("in an array",                       record(field("a", {"type": "array", "items": "R"})),                        "R holds itself"),
    ("in a map",                          record(field("a", {"type": "map", "values": "R"})),                         "R holds itself"),
    ("nothing, any number of times",      record(field("a", {"type": "array", "items": "null"})),                     "no bytes"),
    ("empty records likewise",            record(field("a", {"type": "array", "items": record(name="N")})),           "no bytes"),
    ("and empty bytes",                   record(field("a", {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}})), "no bytes"),
    ("one type twice",                    record(field("a", NESTED), field("b", "N")),                                None),
    ("twice in an array",                 record(field("a", NESTED), field("b", {"type": "array", "items": "N"})),    None),
    ("types of one short name",           record(field("a", {**record(field("x", "int"), name="R"), "namespace": "other"})), None),
]  # fmt: skip


@pytest.mark.parametrize(("what", "schema", "words"), ENDLESS, ids=[row[0] for row in ENDLESS])
def test_schemas_whose_values_have_no_bound_are_refused(what: str, schema: Any, words: str | None) -> None:
    """Reading them ends the process, for a payload of a byte or of many: fuzzing found it."""
    if words is None:
        WriterSchema(Registered(json.dumps(schema)))
        return
    with pytest.raises(SchemaUnknown, match=words):
        WriterSchema(Registered(json.dumps(schema)))


_ANY = st.recursive(st.sampled_from(["null", "int", "string", "R", "E", 5, None]),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["type", "name", "items", "values", "fields", "symbols", "size", "logicalType",
                                         "connect.name", "aliases"]), inner, max_size=4), max_leaves=10)


@given(_ANY)
def test_any_json_is_a_schema_or_refused(node: Any) -> None:
    with suppress(SchemaUnknown):
        schema = WriterSchema(Registered(json.dumps(node)))
        schema.columns()
        schema.columns("after")
