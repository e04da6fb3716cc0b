"""Debezium envelopes: every operation, snapshot markers, key changes, control records, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieout.codecs.debezium import DebeziumCodec
from tieout.codecs.debezium_rows import MARGIN_US, Rows
from tieout.codecs.entity_map import TableMapping
from tieout.codecs.errors import (
    BadValue,
    DecodeError,
    LossyNumber,
    MissingColumn,
    MissingKey,
    MissingOrder,
    NotJson,
    WrongShape,
)
from tieout.codecs.mapping import parse
from tieout.codecs.openers import JsonOpener
from tieout.codecs.records import Decoded, RawRecord
from tieout.reconcilers.changes import Change, Op

MakeRaw = Callable[..., RawRecord]

MAPPING = parse("""
name = "test"
version = 1
[[map]]
entity = "project"
table = "public.project"
skip = [{ column = "kind", in = ["template"], reason = "template" }]
columns = { starts_on = "date" }
[map.fields]
project_code = { from = "code", required = true }
name = "name"
start = "starts_on"
""", "test.toml")


def of(mapping: TableMapping, *, with_schema: bool = False, epoch: int = 0) -> DebeziumCodec:
    """The codec of the source PSA/home."""
    return DebeziumCodec(Rows("PSA/home", mapping, epoch=epoch), JsonOpener(with_schema))


CODEC = of(MAPPING)
COMMIT_US = 1_773_164_531_000_000
ORIGIN = ("raw", 2, 7)
SEQ = "00000000000000000100:00000000000000000200"
SOURCE = {"connector": "postgresql", "ts_ms": 1773164531000, "snapshot": "false", "db": "psa", "schema": "public",
          "table": "project", "lsn": 200, "sequence": '["100","200"]'}
ROW = {"code": "ACME", "name": "Acme", "starts_on": 20454, "unused": 1}
ENVELOPE: dict[str, Any] = {"before": None, "after": ROW, "source": SOURCE, "op": "c", "ts_ms": 1773164531420}
KEY = {"code": "ACME"}


def envelope(**members: Any) -> dict[str, Any]:
    """The envelope above with members replaced; `source` and `after` members are merged, `...` takes one away."""
    merged = {**ENVELOPE, **members}
    for name in ("source", "after"):
        if isinstance(members.get(name), dict):
            merged[name] = {k: v for k, v in {**ENVELOPE[name], **members[name]}.items() if v is not ...}
    return {name: value for name, value in merged.items() if value is not ...}


def project(op: Op, asserted: dict[str, Any], key: str = "ACME", subject: str = "ACME") -> Change:
    """The change that the record gives."""
    return Change("project", key, op, "PSA/home", subject, COMMIT_US, SEQ, asserted,
                  f"project:{subject}:{SEQ}:{op.value}", ("raw", 2, 7))


ASSERTED = {"project_code": "ACME", "name": "Acme", "start": 20454}
WATERMARK_US = COMMIT_US - MARGIN_US

OPERATIONS = [
    # what                                     envelope                                          decoded
    ("create",             envelope(),                                       ((project(Op.UPSERT, ASSERTED),), None)),
    ("update",             envelope(op="u", before={"code": "OLD"}),         ((project(Op.UPSERT, ASSERTED),), None)),
    ("read",               envelope(op="r"),                                 ((project(Op.SNAPSHOT, ASSERTED),), None)),
    ("delete, no before",  envelope(op="d", after=None),
     ((project(Op.DELETE, {"project_code": "ACME"}),), None)),
    ("delete, before lies", envelope(op="d", after=None, before={"code": "OTHER", "name": "x"}),
     ((project(Op.DELETE, {"project_code": "ACME"}),), None)),
    ("truncate",           envelope(op="t", after=None), ((Change(
        "project", "", Op.TRUNCATE, "PSA/home", "", COMMIT_US, SEQ, {}, f"project:truncate:{SEQ}", ORIGIN),), None)),
    ("message",            envelope(op="m", message={"prefix": "x", "content": ""}),  ((), "logical_message")),
    ("another table",      envelope(source={"table": "customer"}),           ((), "other_table")),
    ("another schema",     envelope(source={"schema": "audit"}),             ((), "other_table")),
    ("skipped",            envelope(after={"kind": "template"}),             ((), "template")),
    ("null is asserted",   envelope(after={"name": None}),
     ((project(Op.UPSERT, {**ASSERTED, "name": None}),), None)),
    ("absent is not",      envelope(after={"name": ...}),
     ((project(Op.UPSERT, {"project_code": "ACME", "start": 20454}),), None)),
    ("unavailable is not", envelope(op="u", after={"name": "__debezium_unavailable_value"}),
     ((project(Op.UPSERT, {"project_code": "ACME", "start": 20454}),), None)),
    ("unavailable bytes",  envelope(op="u", after={"name": "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="}),
     ((project(Op.UPSERT, {"project_code": "ACME", "start": 20454}),), None)),
    ("unavailable array",  envelope(op="u", after={"name": ["__debezium_unavailable_value"]}),
     ((project(Op.UPSERT, {"project_code": "ACME", "start": 20454}),), None)),
]  # fmt: skip


@pytest.mark.parametrize(("what", "value", "expected"), OPERATIONS)
def test_operations(raw: MakeRaw, what: str, value: dict[str, Any], expected: tuple[Any, str | None]) -> None:
    decoded = CODEC.decode(raw(value, key=KEY))
    assert (decoded.changes, decoded.filtered) == expected
    assert decoded.watermark_us == WATERMARK_US


def test_damage_is_refused(raw: MakeRaw, refuses_damage: Callable[..., None]) -> None:
    refuses_damage(CODEC, raw(envelope(), key=KEY))


CONTROL: list[tuple[str, Any, Decoded]] = [
    # what                     value                                                            decoded
    ("tombstone",              None,                                                  Decoded(filtered="tombstone")),
    ("heartbeat",              {"ts_ms": 1773164531000},                Decoded((), WATERMARK_US, heartbeat=True)),
    ("transaction begin",      {"status": "BEGIN", "id": "571", "ts_ms": 1, "event_count": None},
     Decoded(filtered="transaction_metadata")),
    ("transaction end",        {"status": "END", "id": "571", "event_count": 2, "data_collections": []},
     Decoded(filtered="transaction_metadata")),
    ("schema change",          {"source": SOURCE, "databaseName": "psa", "ddl": "ALTER TABLE", "tableChanges": []},
     Decoded(filtered="schema_change")),
]  # fmt: skip


@pytest.mark.parametrize("with_schema", [False, True])
@pytest.mark.parametrize(("what", "value", "expected"), CONTROL)
def test_control_records(raw: MakeRaw, what: str, value: Any, expected: Decoded, with_schema: bool) -> None:
    if with_schema and value is not None:
        value = {"schema": {"type": "struct", "fields": []}, "payload": value}
    decoded = of(MAPPING, with_schema=with_schema).decode(raw(value, key={"serverName": "x"}))
    assert decoded == expected


SNAPSHOTS = [
    # marker                        the watermark moves
    ("false",                       True),
    (False,                         True),
    (None,                          True),
    ("true",                        False),
    (True,                          False),
    ("first",                       False),
    ("first_in_data_collection",    False),
    ("incremental",                 False),
    ("last_in_data_collection",     True),
    ("last",                        True),
]  # fmt: skip


@pytest.mark.parametrize(("marker", "moves"), SNAPSHOTS)
def test_the_watermark_stands_still_during_a_snapshot(raw: MakeRaw, marker: Any, moves: bool) -> None:
    decoded = CODEC.decode(raw(envelope(op="r", source={"snapshot": marker}), key=KEY))
    assert decoded.watermark_us == (WATERMARK_US if moves else None)
    assert decoded.changes[0].op is Op.SNAPSHOT


OLD_KEYS = [
    ("plain", {"code": "ACME"}),
    ("with schema", {"schema": {"type": "struct", "fields": [{"type": "string", "field": "code"}]},
                     "payload": {"code": "ACME"}}),
]


@pytest.mark.parametrize(("what", "old_key"), OLD_KEYS)
def test_a_change_of_key_is_one_rekey(raw: MakeRaw, what: str, old_key: dict[str, Any]) -> None:
    """d(old, newkey) + tombstone + c(new, oldkey): no delete, one REKEY, then the new row."""
    new_key = {"code": "ACME-UK"}
    headers = (("__debezium.newkey", json.dumps(new_key).encode()),)
    assert CODEC.decode(raw(envelope(op="d", after=None), key=KEY, headers=headers)) == Decoded(
        (), WATERMARK_US, filtered="rekeyed")
    assert CODEC.decode(raw(None, key=KEY)) == Decoded(filtered="tombstone")
    headers = (("__debezium.oldkey", json.dumps(old_key).encode()),)
    decoded = CODEC.decode(raw(envelope(after={"code": "ACME-UK"}), key=new_key, headers=headers))
    assert decoded.changes == (
        project(Op.REKEY, {"old": "ACME", "new": "ACME-UK"}, "ACME-UK", "ACME-UK"),
        Change("project", "ACME-UK", Op.UPSERT, "PSA/home", "ACME-UK", decoded.changes[0].commit_us, f"{SEQ}:1",
               {**ASSERTED, "project_code": "ACME-UK"}, f"project:ACME-UK:{SEQ}:1:UPSERT", decoded.changes[0].origin),
    )


def test_a_rekey_and_its_row_are_two_versions(raw: MakeRaw) -> None:
    """Of two changes of a record with one token the second would pass for a duplicate."""
    headers = (("__debezium.oldkey", b'{"code":"ACME"}'),)
    rekey, row = CODEC.decode(raw(envelope(after={"code": "NEW"}), key={"code": "NEW"}, headers=headers)).changes
    later = CODEC.decode(raw(envelope(source={"lsn": 201}), key=KEY)).changes[0]
    assert rekey.seq < row.seq < later.seq


def test_a_new_surrogate_id_is_no_change_of_business_key(raw: MakeRaw) -> None:
    """The record under the old id is no more: it would come back when the new one is deleted."""
    headers = (("__debezium.oldkey", b'{"id":1}'),)
    decoded = CODEC.decode(raw(envelope(), key={"id": 2}, headers=headers))
    assert decoded.changes == (project(Op.UPSERT, ASSERTED, subject="2"), project(Op.DELETE, {}, subject="1"))


def test_a_new_business_key_ends_the_record_with_the_old_one(raw: MakeRaw) -> None:
    """Only projects live on under another code."""
    text = 'name="t"\nversion=1\n[[map]]\nentity="assignment"\nfields={worker_no="who"}'
    headers = (("__debezium.oldkey", b'{"id":1}'),)
    record = raw(envelope(after={"who": "W1"}), key={"id": 2}, headers=headers)
    changes = of(parse(text, "t.toml")).decode(record).changes
    assert [(each.op, each.key, each.subject) for each in changes] == [(Op.UPSERT, "2", "2"), (Op.DELETE, "1", "1")]


def test_a_delete_whose_key_is_not_the_business_key_names_the_record(raw: MakeRaw) -> None:
    (change,) = CODEC.decode(raw(envelope(op="d", after=None, before=ROW), key={"id": 2, "part": "b"})).changes
    assert (change.key, change.subject, change.asserted) == ("", "2:b", {})


def test_without_a_record_key_the_mapping_names_the_subject(raw: MakeRaw) -> None:
    text = 'name="t"\nversion=1\n[[map]]\nentity="project"\nsubject="{code}"\nfields={project_code="code"}'
    codec = of(parse(text, "t.toml"))
    (change,) = codec.decode(raw(envelope(), key=None)).changes
    assert (change.subject, change.key) == ("ACME", "ACME")
    with pytest.raises(MissingKey, match="delete without key"):
        codec.decode(raw(envelope(op="d", after=None, before=ROW), key=None))


def test_a_row_can_be_several_entities(raw: MakeRaw) -> None:
    text = """
    name = "t"
    version = 1
    [[map]]
    entity = "customer"
    fields = { customer_no = "customer" }
    [[map]]
    entity = "project"
    fields = { project_code = "code", customer_no = "customer" }
    """
    codec = of(parse(text, "t.toml"))
    changes = codec.decode(raw(envelope(after={"customer": "C1"}), key=KEY)).changes
    assert [(change.entity, change.key) for change in changes] == [("customer", "C1"), ("project", "ACME")]


MYSQL = {"connector": "mysql", "db": "psa", "schema": ..., "file": "binlog.000009", "pos": 7, "row": 0}
SQLSERVER = {"connector": "sqlserver", "commit_lsn": "0027:0758:0005", "change_lsn": "0027:0758:0003",
             "event_serial_no": 1}
IN_ORDER: list[tuple[str, list[dict[str, Any]]]] = [
    # one row, in the order in which its source committed
    ("deleted and created in one transaction",  [{"lsn": 200}, {"lsn": 208}]),
    ("interleaved, committed later",            [{"lsn": 300, "sequence": '["250","300"]'},
                                                 {"lsn": 280, "sequence": '["310","280"]'}]),
    ("read in a snapshot, then changed",        [{"lsn": 200, "sequence": '[null,"200"]', "snapshot": "true"},
                                                 {"lsn": 208, "sequence": '["204","208"]'}]),
    ("rows of one statement",                   [{**MYSQL, "row": 2}, {**MYSQL, "row": 10}, {**MYSQL, "row": 100}]),
    ("statements of one file",                  [{**MYSQL, "pos": 99}, {**MYSQL, "pos": 100}]),
    ("files of a server",                       [{**MYSQL, "file": "binlog.999999"},
                                                 {**MYSQL, "file": "binlog.1000000"}]),
    ("halves of an update",                     [SQLSERVER, {**SQLSERVER, "event_serial_no": 2}]),
    ("changes of a transaction",                [SQLSERVER, {**SQLSERVER, "change_lsn": "0027:0758:0004"}]),
    ("transactions",                            [SQLSERVER, {**SQLSERVER, "commit_lsn": "0028:0000:0001"}]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "sources"), IN_ORDER, ids=[row[0] for row in IN_ORDER])
def test_order_tokens_sort_as_the_source_committed(raw: MakeRaw, what: str, sources: list[dict[str, Any]]) -> None:
    """Within one millisecond, whatever arrives first."""
    codec = of(parse('name="t"\nversion=1\n[[map]]\nentity="project"\nfields={project_code="code"}', "t.toml"))
    tokens = [codec.decode(raw(envelope(source=each), key=KEY)).changes[0].seq for each in sources]
    assert tokens == sorted(tokens)
    assert len(set(tokens)) == len(tokens)


def test_a_later_epoch_sorts_behind_every_token(raw: MakeRaw) -> None:
    later = of(MAPPING, epoch=1)
    old, new = (codec.decode(raw(envelope(), key=KEY)).changes[0].seq for codec in (CODEC, later))
    assert old < new


REFUSED = [
    # value                                                 key           error          words
    (b"\x00\x00\x00\x00\x01\x10",                           KEY,          NotJson,       "expected one JSON object"),
    (b"null",                                               KEY,          WrongShape,    "expected a JSON object"),
    ({"code": "ACME", "name": "Acme"},                      KEY,          WrongShape,    "op, source and after"),
    ({},                                                    KEY,          WrongShape,    "an empty object"),
    (envelope(source={"ts_ms": 2**63}),                     KEY,          WrongShape,    "since 1970"),
    ({"schema": {}, "payload": {}},                         KEY,          WrongShape,    "found schema and payload"),
    (envelope(op="x"),                                      KEY,          WrongShape,    "op: found 'x'"),
    (envelope(source=...),                                  KEY,          WrongShape,    "source: found None"),
    (envelope(source={"ts_ms": ...}),                       KEY,          WrongShape,    "source: ts_ms: found None"),
    (envelope(source={"connector": "mongodb"}),             KEY,          MissingOrder,  "source.connector"),
    (envelope(source={"lsn": ...}),                         KEY,          MissingOrder,  "source.lsn"),
    (envelope(after=None),                                  KEY,          WrongShape,    "after: found None"),
    (envelope(),                                            None,         MissingKey,    "record without key"),
    (envelope(),                                            b"\x00\x00",  NotJson,       "key: found"),
    (envelope(),                                            b'"ACME"',    WrongShape,    "key: found"),
    (envelope(op="d", after=None),                          None,         MissingKey,    "delete without key"),
    (envelope(after={"code": ...}),                         KEY,          MissingColumn, "expected column 'code'"),
    (envelope(after={"starts_on": "2026"}),                 KEY,          BadValue,      "column starts_on"),
    (envelope(after={"starts_on": 2147483647}),             KEY,          BadValue,      "project.start: column"),
    (envelope(after={"name": 7.5}),                         KEY,          BadValue,      "project.name: column name"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "key", "error", "words"), REFUSED)
def test_refuses(raw: MakeRaw, value: Any, key: Any, error: type[DecodeError], words: str) -> None:
    with pytest.raises(DecodeError) as caught:
        CODEC.decode(raw(value, key=key))
    assert type(caught.value) is error
    assert words in str(caught.value)
    assert caught.value.hint


def test_a_double_is_refused_where_exactness_counts_unless_the_mapping_allows_it(raw: MakeRaw) -> None:
    text = """
    name = "t"
    version = 1
    [[map]]
    entity = "rate"
    [map.fields]
    rate_id = "code"
    rate = { from = "price", as = "rate", ccy = "GBP" %s}
    """
    value = raw(envelope(after={"price": 150.1}), key=KEY)
    with pytest.raises(LossyNumber) as caught:
        of(parse(text % "", "t.toml")).decode(value)
    assert "decimal.handling.mode=string" in caught.value.hint
    allowed = of(parse(text % ", allow_double = true", "t.toml"))
    assert allowed.decode(value).changes[0].asserted["rate"] == [150100000, "GBP", "HOUR", 28800]


_JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
                     lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                         st.sampled_from([*ENVELOPE, *SOURCE, *ROW, "schema", "payload", "fields"]), inner, max_size=4),
                     max_leaves=12)


@given(value=st.dictionaries(st.sampled_from([*ENVELOPE, "schema", "payload"]), _JSON), key=_JSON,
       with_schema=st.booleans())
def test_never_fails_otherwise_than_with_a_decode_error(value: dict[str, Any], key: Any, with_schema: bool) -> None:
    message: dict[str, Any] = {**ENVELOPE, **value}
    if with_schema:
        message = {"schema": value.get("schema"), "payload": message}
    codec = of(MAPPING, with_schema=with_schema)
    with suppress(DecodeError):
        codec.decode(RawRecord("raw", 0, 0, 0, json.dumps(key).encode(), json.dumps(message).encode(),
                               (("__debezium.oldkey", json.dumps(value).encode()),)))
