"""`debezium-avro`: what is read, what changes in mid-stream, and what is refused; whole, cut, padded and mutated."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from avro_firm import (
    DATE,
    MICROS,
    MILLIS,
    VARIABLE,
    ZONED,
    column,
    envelope,
    key,
    message,
    precise,
    schemas,
    semantic,
    written,
)
from hypothesis import example, given
from hypothesis import strategies as st

from tieout.codecs.debezium import DebeziumAvroCodec
from tieout.codecs.debezium_rows import MARGIN_US, Rows
from tieout.codecs.errors import (
    BadAvro,
    BadFraming,
    BadValue,
    DecodeError,
    LossyNumber,
    MissingColumn,
    SchemaChanged,
    SchemasUnreachable,
    SchemaUnknown,
    WrongShape,
)
from tieout.codecs.mapping import parse
from tieout.codecs.openers import AvroOpener
from tieout.codecs.records import Decoded, RawRecord
from tieout.codecs.schema_source import GivenSchemas, Registered
from tieout.reconcilers.changes import Op

MakeRaw = Callable[..., RawRecord]

COMMIT_US = 1_773_164_531_000_000
KEY = key([column("id", "long", null=False)])
COLUMNS = [column("id", "long", null=False), column("code", "string"), column("starts_on", DATE),
           column("price", precise(4)), column("note", "string")]
VALUE = envelope(COLUMNS)
ROW = {"id": 2**60 + 1, "code": "ACME", "starts_on": 20454, "price": (1_500_000).to_bytes(3, "big"), "note": None}
ASSERTED = {"contract_no": "ACME", "line_no": 1, "rate": [150_000_000, "GBP", "HOUR", 28800], "valid_from": 20454}

MAPPING_TEXT = """
name = "t"
version = 1
[[map]]
entity = "rate"
columns = { %s }
[map.fields]
rate_id = { from = "code", required = true }
rate = { from = "price", as = "rate", ccy = "GBP", null_if = ["NaN"] %s}
effective_from = { from = "starts_on", null_if = ["infinity"] }
"""


def codec(source: Any, pins: str = "", more: str = "") -> DebeziumAvroCodec:
    """A codec of the source PSA/home over the mapping above."""
    return DebeziumAvroCodec(Rows("PSA/home", parse(MAPPING_TEXT % (pins, more), "t.toml")), AvroOpener(source))


def asserted(schema: Any, row: Any, pins: str = "", more: str = "") -> dict[str, Any]:
    """What the change of a row asserts, its id aside."""
    raw = RawRecord("raw", 2, 7, 0, written(KEY, {"id": 7}, 2), written(schema, message(row)))
    (change,) = codec(schemas(schema, KEY), pins, more).decode(raw).changes
    return {name: value for name, value in change.asserted.items() if name != "rate_id"}


def test_a_record_is_read_with_key_and_value(raw: MakeRaw) -> None:
    """Ids beyond 2^53 stay exact."""
    source = schemas(VALUE, KEY)
    decoded = codec(source).decode(raw(written(VALUE, message(ROW)), key=written(KEY, {"id": 2**60 + 1}, 2)))
    (change,) = decoded.changes
    assert (change.entity, change.key, change.op, change.subject) == (
        "rate", "ACME", Op.UPSERT, "1152921504606846977")
    assert change.seq == "00000000000000000100:00000000000000000200"
    assert change.commit_us == COMMIT_US
    assert dict(change.asserted) == {"rate_id": "ACME", "rate": [150_000_000, "GBP", "HOUR", 28800],
                                     "effective_from": 20454}
    assert decoded.watermark_us == COMMIT_US - MARGIN_US


def test_operations(raw: MakeRaw) -> None:
    reader, at = codec(schemas(VALUE, KEY)), written(KEY, {"id": 7}, 2)

    def ops(row: Any, op: str, **block: Any) -> list[tuple[Op, str]]:
        changes = reader.decode(raw(written(VALUE, message(row, op, **block)), key=at)).changes
        return [(change.op, change.subject) for change in changes]

    assert ops(ROW, "u") == [(Op.UPSERT, "7")]
    assert ops(ROW, "r", snapshot="true") == [(Op.SNAPSHOT, "7")]
    assert ops(ROW, "r", snapshot="last") == [(Op.SNAPSHOT, "7"), (Op.SNAPSHOT, "")]
    assert ops(None, "d") == [(Op.DELETE, "7")]
    assert ops(None, "t") == [(Op.TRUNCATE, "")]
    assert reader.decode(raw(None, key=at)) == Decoded(filtered="tombstone")


CONTROL = [
    # what                    fields                                                       value             says
    ("heartbeat",             [column("ts_ms", "long", null=False)],                        {"ts_ms": COMMIT_US // 1000},
     Decoded((), COMMIT_US - MARGIN_US, heartbeat=True)),
    ("transaction metadata",  [column("status", "string", null=False), column("id", "string", null=False),
                               column("event_count", "long"), column("ts_ms", "long")],
     {"status": "END", "id": "5:9", "event_count": 2, "ts_ms": 1}, Decoded(filtered="transaction_metadata")),
    ("schema change",         [column("databaseName", "string"), column("ddl", "string")],
     {"databaseName": "psa", "ddl": "ALTER TABLE"},                            Decoded(filtered="schema_change")),
]  # fmt: skip


@pytest.mark.parametrize(("what", "fields", "value", "expected"), CONTROL)
def test_control_records(raw: MakeRaw, what: str, fields: list[Any], value: Any, expected: Decoded) -> None:
    schema = {"type": "record", "name": "Control", "fields": fields}
    assert codec(schemas(schema)).decode(raw(written(schema, value))) == expected


ENCODINGS = [
    # what                       starts_on is                price is                value on the wire    asserted
    ("precise",                  DATE,                       precise(2),             (20454, b"\x3a\x98"), (20454, 150_000_000)),
    ("precise, negative scale",  DATE,                       precise(-1),            (20454, b"\x0f"),     (20454, 150_000_000)),
    ("variable scale",           DATE,                       VARIABLE,
     (20454, {"scale": 1, "value": b"\x05\xdc"}),            (20454, 150_000_000)),
    ("string",                   DATE,                       "string",               (20454, "150.00"),    (20454, 150_000_000)),
    ("NaN",                      DATE,                       "double",               (20454, float("nan")), (20454, None)),
    ("wider integer",            DATE,                       "int",                  (20454, 150),         (20454, 150_000_000)),
    ("infinity",                 DATE,                       "string",               (2**31 - 1, "150"),   (None, 150_000_000)),
    ("logical date alone",       {"type": "int", "logicalType": "date"}, "string",   (20454, "150"),       (20454, 150_000_000)),
    ("logical decimal alone",    DATE, {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
     (20454, b"\x3a\x98"),                                                           (20454, 150_000_000)),
    ("fixed decimal",            DATE, {"type": "fixed", "name": "F", "size": 4, "logicalType": "decimal",
                                        "precision": 9, "scale": 2}, (20454, b"\x00\x00\x3a\x98"), (20454, 150_000_000)),
]  # fmt: skip


@pytest.mark.parametrize(("what", "starts_on", "price", "wire", "expected"), ENCODINGS, ids=[row[0] for row in ENCODINGS])
def test_encodings(what: str, starts_on: Any, price: Any, wire: Any, expected: Any) -> None:
    schema = envelope([column("code", "string"), column("starts_on", starts_on), column("price", price)])
    found = asserted(schema, {"code": "A", "starts_on": wire[0], "price": wire[1]})
    rate = found["rate"]
    assert (found["effective_from"], rate and rate[0]) == expected


def test_a_double_needs_the_permission_of_the_mapping() -> None:
    schema = envelope([column("code", "string"), column("price", "double")])
    with pytest.raises(LossyNumber):
        asserted(schema, {"code": "A", "price": 150.1})
    assert asserted(schema, {"code": "A", "price": 150.1}, more=", allow_double = true")["rate"][0] == 150_100_000


@given(st.integers(-(10**37), 10**37), st.integers(0, 18))
def test_decimals_are_exact(number: int, scale: int) -> None:
    schema = envelope([column("code", "string"), column("price", precise(scale, 38))])
    wanted = Decimal(number).scaleb(-scale) * 10**6
    wire = {"code": "A", "price": number.to_bytes(17, "big", signed=True)}
    if abs(wanted) >= 2**63 - 1:
        with pytest.raises(BadValue):
            asserted(schema, wire)
    else:
        assert abs(asserted(schema, wire)["rate"][0] - wanted) <= Decimal("0.5")


# --- schema change in mid-stream: version 1 is VALUE's columns --------------------------------------------------------

CHANGED = [
    # what                                version 2 has                     its row             pins            verdict
    ("a new column with a default",       [*COLUMNS, column("extra", "string")], {"extra": "x"}, "",            150_000_000),
    ("another scale, exact",              [column("code", "string"), column("price", precise(2)), column("starts_on", DATE)],
     {"price": b"\x3a\x98"},                                                                    "",            150_000_000),
    ("another scale, pinned",             [column("code", "string"), column("price", precise(2)), column("starts_on", DATE)],
     {"price": b"\x3a\x98"},                                              'price = "decimal(4)"', SchemaChanged),
    ("decimal to string, pinned",         [column("code", "string"), column("price", "string"), column("starts_on", DATE)],
     {"price": "150"},                                                    'price = "decimal(4)"', SchemaChanged),
    ("decimal to double, pinned",         [column("code", "string"), column("price", "double"), column("starts_on", DATE)],
     {"price": 150.0},                                                    'price = "decimal(4)"', SchemaChanged),
    ("string to decimal, pinned",         COLUMNS,  {},                   'price = "decimal_text"', SchemaChanged),
    ("days to milliseconds, pinned",      [column("code", "string"), column("price", precise(4)), column("starts_on", MILLIS)],
     {"starts_on": 1},                                                    'starts_on = "date"', SchemaChanged),
    ("days to microseconds, not pinned",  [column("code", "string"), column("price", precise(4)), column("starts_on", MICROS)],
     {"starts_on": 1},                                                                          "",            BadValue),
    ("date to text with zone, pinned",    [column("code", "string"), column("price", precise(4)), column("starts_on", ZONED)],
     {"starts_on": "2026-03-10T00:00:00Z"},                               'starts_on = "date"', SchemaChanged),
    ("renamed with an alias",             [column("code", "string"), column("cost", precise(4), aliases=["price"]),
                                           column("starts_on", DATE)],    {"cost": ROW["price"]}, "",          150_000_000),
    ("renamed without alias",             [column("code", "string"), column("cost", precise(4)), column("starts_on", DATE)],
     {"cost": ROW["price"]},                                                                    "",            MissingColumn),
    ("a column that nobody reads is gone", [column for column in COLUMNS if column["name"] != "note"], {}, "", 150_000_000),
    ("the business key is gone",          [column("price", precise(4)), column("starts_on", DATE)], {},  "",   MissingColumn),
]  # fmt: skip


@pytest.mark.parametrize(("what", "columns", "row", "pins", "verdict"), CHANGED, ids=[row[0] for row in CHANGED])
def test_a_schema_change_is_exact_or_refused(raw: MakeRaw, what: str, columns: Any, row: Any, pins: str, verdict: Any
                                             ) -> None:
    """And older records, with the schema that wrote them, are read as before."""
    newer = envelope(columns)
    names = {column["name"] for column in columns}
    value = {name: value for name, value in {**ROW, **row}.items() if name in names}
    reader = codec(schemas(VALUE, newer, KEY), pins)
    record = raw(written(newer, message(value), 2), key=written(KEY, {"id": 7}, 3))
    if isinstance(verdict, int):
        (change,) = reader.decode(record).changes
        assert change.asserted["rate"][0] == verdict
        (older,) = reader.decode(raw(written(VALUE, message(ROW)), key=written(KEY, {"id": 7}, 3))).changes
        assert older.asserted["rate"][0] == verdict
        return
    with pytest.raises(verdict) as caught:
        reader.decode(record)
    assert caught.value.schema_break is (verdict is not BadValue)


def test_a_mapping_that_knows_both_columns_survives_the_change_from_one_to_the_other(raw: MakeRaw) -> None:
    """`first_of` says that either will do: a column that is gone is no loss while an alternative is there."""
    text = """
    name = "t"
    version = 1
    [[map]]
    entity = "time_entry"
    [map.fields]
    origin_system = { const = "TIME" }
    origin_id = "id"
    qty_s = { first_of = [{ from = "minutes", as = "minutes" }, { from = "hours", as = "decimal_hours_to_seconds" }] }
    """
    old = envelope([column("id", "string"), column("minutes", "int")])
    new = envelope([column("id", "string"), column("hours", "string")])
    reader = DebeziumAvroCodec(Rows("TIME/home", parse(text, "t.toml")), AvroOpener(schemas(old, new)))
    values = [written(old, message({"id": "1", "minutes": 450}), 1), written(new, message({"id": "1", "hours": "7.5"}), 2)]
    found = [reader.decode(raw(value, key={"id": "1"})).changes[0].asserted["qty_s"] for value in values]
    assert found == [27_000, 27_000]


def test_hours_become_minutes_and_a_column_is_dropped(raw: MakeRaw) -> None:
    """Scenario 16: a new column wins over the old one for the same quantity, a dropped one is a break of the schema."""
    text = """
    name = "t"
    version = 1
    [[map]]
    entity = "time_entry"
    [map.fields]
    origin_system = { const = "TIME" }
    origin_id = "id"
    project_code = { from = "project_id", required = true }
    qty_s = { first_of = [{ from = "duration_minutes", as = "minutes" },
                          { from = "hours", as = "decimal_hours_to_seconds", allow_double = true }] }
    """
    first = [column("id", "string"), column("hours", "double"), column("project_id", "string")]
    second = [*first, column("duration_minutes", "int")]
    third = [each for each in second if each["name"] != "project_id"]
    known = [envelope(columns) for columns in (first, second, third)]
    reader = DebeziumAvroCodec(Rows("TIME/home", parse(text, "t.toml")), AvroOpener(schemas(*known)))
    row = {"id": "1", "hours": 7.5, "project_id": "P", "duration_minutes": 450}

    def quantity(version: int) -> Any:
        names = {each["name"] for each in (first, second, third)[version - 1]}
        value = message({name: value for name, value in row.items() if name in names})
        return reader.decode(raw(written(known[version - 1], value, version), key={"id": "1"})).changes[0].asserted["qty_s"]

    assert [quantity(1), quantity(2)] == [27_000, 27_000]
    with pytest.raises(MissingColumn, match="project_id") as caught:
        quantity(3)
    assert caught.value.schema_break


TYPES = [
    # what               type                                                 wire                                          asserted
    ("uuid",             semantic("string", "io.debezium.data.Uuid"),         "6f1c2d3e-0000-4000-8000-0a0b0c0d0e0f",       ...),
    ("json",             semantic("string", "io.debezium.data.Json"),         '{"id":9007199254740993}',                    ...),
    ("enum",             semantic("string", "io.debezium.data.Enum"),         "open",                                       ...),
    ("Avro enum",        {"type": "enum", "name": "E", "symbols": ["open"]},  "open",                                       ...),
    ("bytes",            "bytes",                                             b"\x00\xff",                                  "AP8="),
    ("unavailable text", "string",                                            "__debezium_unavailable_value",               None),
    ("unavailable bytes", "bytes",                                            b"__debezium_unavailable_value",              None),
    ("unavailable array", {"type": "array", "items": ["null", "int"]},        list(b"__debezium_unavailable_value"),        None),
    ("unavailable uuids", {"type": "array", "items": "string"},
     [str(UUID("1b1f1a1e-7a0c-3c4a-8f3c-2c1d1f0e6f3a"))],                                                                   BadValue),
]  # fmt: skip


@pytest.mark.parametrize(("what", "kind", "wire", "expected"), TYPES, ids=[row[0] for row in TYPES])
def test_other_types(raw: MakeRaw, what: str, kind: Any, wire: Any, expected: Any) -> None:
    text = 'name="t"\nversion=1\n[[map]]\nentity="project"\nfields={project_code="code", name="x"}'
    schema = envelope([column("code", "string"), column("x", kind)])
    reader = DebeziumAvroCodec(Rows("PSA/home", parse(text, "t.toml")), AvroOpener(schemas(schema)))
    record = raw(written(schema, message({"code": "A", "x": wire})), key={"code": "A"})
    if expected is BadValue:
        with pytest.raises(BadValue):
            reader.decode(record)
        return
    (change,) = reader.decode(record).changes
    assert change.asserted.get("name") == (wire if expected is ... else expected)


# --- refusals ---------------------------------------------------------------------------------------------------------

WHOLE = written(VALUE, message(ROW))
REFUSED = [
    # what                     value                                                    error          words
    ("JSON",                   b'{"op":"c"}',                                           BadFraming,    "expected 00"),
    ("an unknown schema",      b"\x00\x00\x00\x00\x63" + WHOLE[5:],                     SchemaUnknown, "schema id 99"),
    ("another schema's bytes", b"\x00\x00\x00\x00\x02" + WHOLE[5:],                     BadAvro,       "behind the record"),
    ("no record",              written("string", "x", 3),                                WrongShape,    "expected a record"),
    ("no Avro schema",         b"\x00\x00\x00\x00\x04",                                 SchemaUnknown, "UnknownType"),
    ("no JSON",                b"\x00\x00\x00\x00\x05",                                 SchemaUnknown, "Avro schema in JSON"),
    ("eight bytes of id",      b"\x00\x00\x00\x00\x00\x00\x00\x00\x01" + WHOLE[5:],     BadFraming,    "schema id 0"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "value", "error", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refuses(raw: MakeRaw, what: str, value: bytes, error: type[DecodeError], words: str) -> None:
    import json

    known = {1: json.dumps(VALUE), 2: json.dumps(KEY), 3: '"string"', 4: '{"type": "recrod"}', 5: "{"}
    reader = codec(GivenSchemas({number: Registered(text) for number, text in known.items()}))
    with pytest.raises(DecodeError) as caught:
        reader.decode(raw(value, key=written(KEY, {"id": 7}, 2)))
    assert type(caught.value) is error
    assert words in str(caught.value)
    assert caught.value.hint


def test_a_registry_that_is_down_is_nobodys_fault(raw: MakeRaw) -> None:
    """No DecodeError: the record is neither dead-lettered nor passed over. Once it answers, the record is read."""

    class Down:
        up = False

        def schema(self, schema_id: int) -> Registered:
            if not self.up:
                raise SchemasUnreachable("connection refused")
            return schemas(VALUE, KEY).schema(schema_id)

    source = Down()
    reader, record = codec(source), raw(WHOLE, key=written(KEY, {"id": 7}, 2))
    with pytest.raises(SchemasUnreachable):
        reader.prepare(record)
    with pytest.raises(SchemasUnreachable):
        reader.decode(record)
    source.up = True
    reader.prepare(record)
    source.up = False
    assert reader.decode(record).changes


def test_references_are_part_of_a_schema(raw: MakeRaw) -> None:
    import json

    whole = json.loads(json.dumps(VALUE))
    inner = whole["fields"][2]["type"]
    whole["fields"][2]["type"] = "io.debezium.connector.postgresql.Source"
    source = GivenSchemas({1: Registered(json.dumps(whole), (json.dumps(inner),)), 2: Registered(json.dumps(KEY))})
    assert codec(source).decode(raw(WHOLE, key=written(KEY, {"id": 7}, 2))).changes


# --- damage -----------------------------------------------------------------------------------------------------------


def test_damage_is_refused(raw: MakeRaw) -> None:
    reader, record = codec(schemas(VALUE, KEY)), raw(WHOLE, key=written(KEY, {"id": 7}, 2))
    assert reader.decode(record).changes
    for cut in range(len(WHOLE)):
        with pytest.raises(DecodeError):
            reader.decode(record._replace(value=WHOLE[:cut]))
    for tail in (b"\x00", b"x", b"{}", WHOLE):
        with pytest.raises(DecodeError):
            reader.decode(record._replace(value=WHOLE + tail))
    at = record.key or b""
    for cut in range(1, len(at)):
        with pytest.raises(DecodeError):
            reader.decode(record._replace(key=at[:cut]))


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=6),
       st.binary(max_size=16))
@example([(5, 1)], b"")
def test_mutations_are_read_or_refused(edits: list[tuple[int, int]], key_bytes: bytes) -> None:
    """Whatever the bytes, a whole set of changes comes out or a DecodeError; nothing else."""
    data = bytearray(WHOLE)
    for at, byte in edits:
        data[at] = byte
    reader = codec(schemas(VALUE, KEY))
    with suppress(DecodeError):
        for change in reader.decode(RawRecord("raw", 0, 0, 0, b"\x00\x00\x00\x00\x02" + key_bytes, bytes(data))).changes:
            assert change.subject
            assert isinstance(change.seq, str)


_SCHEMA = st.recursive(
    st.sampled_from(["null", "int", "long", "string", "bytes", "double", "boolean", "Value", "nonsense", 7, None]),
    lambda inner: st.lists(inner, max_size=3) | st.fixed_dictionaries({"type": inner}) | st.builds(
        lambda name, kinds: {"type": "record", "name": name,
                             "fields": [{"name": f"f{at}", "type": kind} for at, kind in enumerate(kinds)]},
        st.sampled_from(["Envelope", "Value", "A"]), st.lists(inner, max_size=3)), max_leaves=8)


@given(_SCHEMA, st.binary(max_size=40))
def test_any_schema_and_any_bytes_are_read_or_refused(schema: Any, payload: bytes) -> None:
    import json

    reader = codec(GivenSchemas({1: Registered(json.dumps(schema), (), (json.dumps(schema),))}))
    with suppress(DecodeError):
        reader.decode(RawRecord("raw", 0, 0, 0, None, b"\x00\x00\x00\x00\x01" + payload))
