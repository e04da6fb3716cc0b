"""`debezium-flat`: what is left of an envelope, where from, and what cannot be read without it; damage and mutations."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from avro_firm import column, flat, key, schemas, written
from hypothesis import given
from hypothesis import strategies as st

from tieout.codecs.debezium_flat import FlatCodec
from tieout.codecs.debezium_rows import MARGIN_US, Rows
from tieout.codecs.errors import BadFraming, DecodeError, MissingOrder, WrongShape
from tieout.codecs.mapping import parse
from tieout.codecs.openers import AnyOpener, AvroOpener
from tieout.codecs.records import Decoded, RawRecord
from tieout.reconcilers.changes import Op

MakeRaw = Callable[..., RawRecord]

COMMIT_US = 1_773_164_531_000_000
WATERMARK_US = COMMIT_US - MARGIN_US
TEXT = """
name = "t"
version = 1
[[map]]
entity = "project"
table = "%s"
[map.fields]
project_code = { from = "code", required = true }
name = "name"
"""
TWO_TABLES = TEXT % "public.project" + (TEXT % "public.client").partition("version = 1")[2].replace(
    'entity = "project"', 'entity = "customer"').replace("project_code", "customer_no")
ROWS = Rows("PSA/home", parse(TEXT % "public.project", "t.toml"))
CODEC = FlatCodec(ROWS, AnyOpener())
KEY = {"code": "ACME"}
VALUE: dict[str, Any] = {"code": "ACME", "name": "Acme", "__op": "u", "__table": "project", "__deleted": "false",
                         "__source_ts_ms": COMMIT_US // 1000, "__lsn": 200}
SEQ = "00000000000000000200:00000000000000000200"


def value(**members: Any) -> dict[str, Any]:
    """The record above with members replaced; `...` takes one away."""
    return {name: member for name, member in {**VALUE, **members}.items() if member is not ...}


POSITIONS = [
    # members kept                                                                                 order token
    ({"__lsn": 200},                                                                               SEQ),
    ({"__lsn": "200"},                                                                             SEQ),
    ({"__source_lsn": 200},                                                                        SEQ),
    ({"__lsn": 200, "__sequence": '["100","200"]'}, "00000000000000000100:00000000000000000200"),
    ({"__lsn": 200, "__sequence": '[null,"200"]'},                                                 SEQ),
    ({"__commit_lsn": "00000027:00000758:0005", "__change_lsn": "00000027:00000758:0003", "__event_serial_no": 2},
     "00000027:00000758:0005|00000027:00000758:0003|000002"),
    ({"__file": "binlog.000412", "__pos": 7, "__row": 3}, "mysql:binlog.0000000412:000000000007:0003"),
    ({"__file": "binlog.000412", "__pos": 7, "__connector": "mariadb"}, "mysql:binlog.0000000412:000000000007:0000"),
    ({"__scn": "12", "__commit_scn": "13", "__ssn": 1}, "00000000000000000013:00000000000000000012::0000000001"),
]  # fmt: skip


@pytest.mark.parametrize(("members", "seq"), POSITIONS)
def test_order_tokens(raw: MakeRaw, members: dict[str, Any], seq: str) -> None:
    """From members, and as well from headers, as text, as JSON text and wrapped with a schema."""
    (change,) = CODEC.decode(raw({**value(__lsn=...), **members}, key=KEY)).changes
    assert change.seq == seq
    plain = [(name, str(member).encode()) for name, member in members.items()]
    quoted = [(name, json.dumps(member).encode()) for name, member in members.items()]
    wrapped = [(name, json.dumps({"schema": {"type": "string"}, "payload": member}).encode())
               for name, member in members.items()]
    for headers in (plain, quoted, wrapped):
        (change,) = CODEC.decode(raw(value(__lsn=...), key=KEY, headers=tuple(headers))).changes
        assert change.seq == seq


OPERATIONS = [
    # what                        record                                          op             watermark
    ("create",                    value(__op="c"),                                Op.UPSERT,     WATERMARK_US),
    ("update",                    value(),                                        Op.UPSERT,     WATERMARK_US),
    ("op not kept",               value(__op=...),                                Op.UPSERT,     WATERMARK_US),
    ("snapshot",                  value(__op="r"),                                Op.SNAPSHOT,   None),
    ("snapshot, marker kept",     value(__op="r", __snapshot="true"),             Op.SNAPSHOT,   None),
    ("incremental snapshot",      value(__op="r", __snapshot="incremental"),      Op.SNAPSHOT,   None),
    ("rewritten delete",          value(__op="d", __deleted="true"),              Op.DELETE,     WATERMARK_US),
    ("rewritten, as a boolean",   value(__op=..., __deleted=True),                Op.DELETE,     WATERMARK_US),
    ("delete, not rewritten",     value(__op="d", __deleted=...),                 Op.DELETE,     WATERMARK_US),
    ("the connector's own clock", value(__source_ts_ms=..., __ts_ms=COMMIT_US // 1000), Op.UPSERT, None),
    ("microseconds",              value(__source_ts_us=COMMIT_US),                Op.UPSERT,     WATERMARK_US),
]  # fmt: skip


@pytest.mark.parametrize(("what", "record", "op", "watermark_us"), OPERATIONS, ids=[row[0] for row in OPERATIONS])
def test_operations(raw: MakeRaw, what: str, record: Any, op: Op, watermark_us: int | None) -> None:
    decoded = CODEC.decode(raw(record, key=KEY))
    (change,) = decoded.changes
    assert (change.op, change.key, change.subject, change.commit_us) == (op, "ACME", "ACME", COMMIT_US)
    assert dict(change.asserted) == ({"project_code": "ACME"} if op is Op.DELETE else {
        "project_code": "ACME", "name": "Acme"})
    assert decoded.watermark_us == watermark_us


def test_the_last_row_of_a_snapshot_closes_its_object(raw: MakeRaw) -> None:
    changes = CODEC.decode(raw(value(__op="r", __snapshot="last"), key=KEY)).changes
    assert [(change.op, change.subject, change.key) for change in changes] == [
        (Op.SNAPSHOT, "ACME", "ACME"), (Op.SNAPSHOT, "", "")]


def test_a_change_of_key_is_one_rekey(raw: MakeRaw) -> None:
    headers = (("__debezium.newkey", b'{"code":"ACME-UK"}'),)
    assert CODEC.decode(raw(value(__op="d", __deleted="true"), key=KEY, headers=headers)).filtered == "rekeyed"
    headers = (("__debezium.oldkey", b'{"code":"ACME"}'),)
    changes = CODEC.decode(raw(value(code="ACME-UK"), key={"code": "ACME-UK"}, headers=headers)).changes
    assert [(change.op, change.key) for change in changes] == [(Op.REKEY, "ACME-UK"), (Op.UPSERT, "ACME-UK")]


TABLES = [
    # mapping's tables   kept                                                    topic                  entity
    (TEXT % "public.project", {},                                                "x",                   "project"),
    (TEXT % "public.project", {"__schema": "public"},                            "x",                   "project"),
    (TEXT % "public.project", {"__schema": "audit"},                             "x",                   None),
    (TEXT % "public.project", {"__table": "other"},                              "x",                   None),
    (TEXT % "public.project", {"__table": ...},                                  "psa.public.project",  "project"),
    (TEXT % "public.project", {"__table": ...},                                  "routed",              "project"),
    (TWO_TABLES,              {"__table": ...},                                  "psa.public.client",   "customer"),
    (TWO_TABLES,              {"__table": "client"},                             "routed",              "customer"),
    (TWO_TABLES,              {"__table": ...},                                  "routed",              WrongShape),
]  # fmt: skip


@pytest.mark.parametrize(("text", "members", "topic", "entity"), TABLES)
def test_tables(raw: MakeRaw, text: str, members: Any, topic: str, entity: Any) -> None:
    codec = FlatCodec(Rows("PSA/home", parse(text, "t.toml")), AnyOpener())
    record = raw(value(**members), key=KEY, topic=topic)
    if entity is WrongShape:
        with pytest.raises(WrongShape, match="no __table"):
            codec.decode(record)
        return
    decoded = codec.decode(record)
    assert [change.entity for change in decoded.changes] == ([entity] if entity else [])
    assert decoded.filtered == (None if entity else "other_table")


REFUSED = [
    # what                          record                                               error          words
    ("no token",                    value(__lsn=...),                                    MissingOrder,  "no order token"),
    ("half a token",                value(__lsn=..., __file="binlog.1"),                 MissingOrder,  "source.pos"),
    ("nothing kept",                {"code": "ACME"},                                    MissingOrder,  "found code"),
    ("nothing at all",              {},                                                  MissingOrder,  "an empty object"),
    ("an envelope",                 {"op": "c", "source": {}, "after": {}},              WrongShape,    "found an envelope"),
    ("no instant",                  value(__source_ts_ms=...),                           WrongShape,    "commit instant"),
    ("an instant that is none",     value(__source_ts_ms="soon"),                        WrongShape,    "ts_ms"),
    ("no operation",                value(__op="x"),                                     WrongShape,    "__op"),
    ("an operation that is a list", value(__op=["c"]),                                   WrongShape,    "__op"),
    ("Avro, no schemas",            b"\x00\x00\x00\x00\x01\x02",                         BadFraming,    "no schemas"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "record", "error", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refuses(raw: MakeRaw, what: str, record: Any, error: type[DecodeError], words: str) -> None:
    with pytest.raises(DecodeError) as caught:
        CODEC.decode(raw(record, key=KEY))
    assert type(caught.value) is error
    assert words in str(caught.value)
    assert caught.value.hint


def test_a_missing_token_is_refused_with_what_to_add(raw: MakeRaw) -> None:
    with pytest.raises(MissingOrder) as caught:
        CODEC.decode(raw(value(__lsn=...), key=KEY))
    assert "add.fields=op,table,source.ts_ms,lsn,sequence" in caught.value.hint


def test_tombstones(raw: MakeRaw) -> None:
    """A delete where headers place it; nothing where deletes are rewritten beside it; else it cannot be read."""
    headers = tuple((name, str(VALUE[name]).encode()) for name in ("__table", "__source_ts_ms", "__lsn"))
    (change,) = CODEC.decode(raw(None, key=KEY, headers=headers)).changes
    assert (change.op, change.subject, change.seq) == (Op.DELETE, "ACME", SEQ)
    with pytest.raises(MissingOrder) as caught:
        CODEC.decode(raw(None, key=KEY))
    assert "delete.tombstone.handling.mode=rewrite" in caught.value.hint
    ignoring = FlatCodec(ROWS, AnyOpener(), "ignore")
    assert ignoring.decode(raw(None, key=KEY)) == Decoded(filtered="tombstone")


AVRO_VALUE, AVRO_KEY = flat([column("code", "string"), column("name", "string")]), key([column("code", "string", null=False)])
AVRO = FlatCodec(ROWS, AnyOpener(AvroOpener(schemas(AVRO_VALUE, AVRO_KEY))))
AVRO_RECORD = RawRecord("raw", 2, 7, 0, written(AVRO_KEY, KEY, 2), written(AVRO_VALUE, VALUE))


def test_three_serialisations_say_the_same(raw: MakeRaw) -> None:
    fields = [{"field": name, "type": "string"} for name in ("code", "name")]
    with_schema = CODEC.decode(raw({"schema": {"type": "struct", "fields": fields}, "payload": VALUE},
                                   key={"schema": {"type": "struct", "fields": fields[:1]}, "payload": KEY}))
    assert CODEC.decode(raw(VALUE, key=KEY)) == with_schema == AVRO.decode(AVRO_RECORD)


def test_damage_is_refused(raw: MakeRaw, refuses_damage: Callable[..., None]) -> None:
    refuses_damage(CODEC, raw(VALUE, key=KEY))
    whole = AVRO_RECORD.value or b""
    for cut in range(len(whole)):
        with pytest.raises(DecodeError):
            AVRO.decode(AVRO_RECORD._replace(value=whole[:cut]))
    for tail in (b"\x00", b"x"):
        with pytest.raises(DecodeError):
            AVRO.decode(AVRO_RECORD._replace(value=whole + tail))


_ANY: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just([]) | st.just({})


@given(st.dictionaries(st.sampled_from([*VALUE, "__sequence", "__snapshot", "__file", "__pos", "__commit_lsn", "__ts_ms",
                                        "__source_ts_us", "__schema", "__db", "op", "ts_ms"]), _ANY, max_size=6),
       st.lists(st.tuples(st.sampled_from(["__op", "__lsn", "__table", "__debezium.oldkey", "__debezium.newkey"]),
                          st.binary(max_size=8) | st.none()), max_size=3))
def test_whatever_is_kept_is_read_or_refused(members: dict[str, Any], headers: list[tuple[str, bytes | None]]) -> None:
    record = json.dumps({**VALUE, **members}, default=str).encode()
    with suppress(DecodeError):
        for change in CODEC.decode(RawRecord("raw", 0, 0, 0, b'{"code":"ACME"}', record, tuple(headers))).changes:
            assert change.seq
    with suppress(DecodeError):
        CODEC.decode(RawRecord("raw", 0, 0, 0, b'{"code":"ACME"}', None, tuple(headers)))


@given(st.lists(st.tuples(st.integers(0, len(AVRO_RECORD.value or b"") - 1), st.integers(0, 255)), max_size=4))
def test_mutations_of_avro_are_read_or_refused(edits: list[tuple[int, int]]) -> None:
    data = bytearray(AVRO_RECORD.value or b"")
    for at, byte in edits:
        data[at] = byte
    with suppress(DecodeError):
        AVRO.decode(AVRO_RECORD._replace(value=bytes(data)))
