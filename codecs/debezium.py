"""Debezium envelopes as JSON: `debezium-json`, and `debezium-json-schema` with the schema in each message.

==========================  ====================================================================================
op c, u                     UPSERT of what the mapping makes of `after`
op r                        SNAPSHOT, likewise
op d                        DELETE by the record key; `before` is never read, it may be partial or absent
op t                        GAP of the whole object: what it held is unknown until it is read again
op m, tombstones, schema    filtered; so are transaction metadata and rows that the mapping skips
d + tombstone + c with      one REKEY (old and new business key) ahead of the new row's UPSERT; the `d` is filtered
`__debezium.newkey/oldkey`
heartbeats                  a watermark
==========================  ====================================================================================

The watermark of a record is its commit instant less a margin; a snapshot moves it only when its table is complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tieout.codecs.columns import FIRST_DAY, LAST_DAY, Decoder, Missing, Row, is_unavailable, schema_decoder
from tieout.codecs.entity_map import EntityMap, TableMapping
from tieout.codecs.errors import DecodeError, MissingKey, WrongShape, shown
from tieout.codecs.json_text import load_object
from tieout.codecs.order import order_token
from tieout.codecs.records import Decoded, RawRecord
from tieout.codecs.values import DAY_US
from tieout.reconcilers.changes import Change, Op

MARGIN_US: Final = 60_000_000  # commits become visible a little out of order: CDC watermarks stay a minute behind
OLD_KEY: Final = "__debezium.oldkey"
NEW_KEY: Final = "__debezium.newkey"

_TOMBSTONE: Final = Decoded(filtered="tombstone")
_ROW_OPS: Final = {"c": Op.UPSERT, "u": Op.UPSERT, "r": Op.SNAPSHOT, "d": Op.DELETE}
_SNAPSHOT_DONE: Final = ("last", "last_in_data_collection")
_STREAMED: Final = (None, False, "false")

Object = Mapping[str, Any]


class _Record(NamedTuple):
    """An envelope, opened: what its rows' changes have in common."""

    raw: RawRecord
    op: Op
    commit_us: int
    seq: str
    after: Object | None
    types: Mapping[str, Decoder] | None  # of the columns of `after`, where the message says
    table: str
    key: Object | None
    key_types: Mapping[str, Decoder] | None


@dataclass(frozen=True, slots=True)
class DebeziumCodec:
    """Decodes one connector's envelopes with a mapping. `epoch` is raised by hand when the source's log starts anew."""

    source: str  # "SYSTEM/instance"
    mapping: TableMapping
    with_schema: bool
    margin_us: int = MARGIN_US
    epoch: int = 0

    def decode(self, raw: RawRecord) -> Decoded:
        """The changes of one record; raises DecodeError."""
        if raw.value is None:
            return _TOMBSTONE
        envelope, schema = self._open(load_object(raw.value), "value")
        op = envelope.get("op")
        if op is None:
            return self._control(envelope)
        return self._change(raw, op, envelope, schema)

    def _open(self, message: Object, what: str) -> tuple[Object, Object | None]:
        """The payload of a message and its schema, as the format has them."""
        wrapped = "schema" in message and "payload" in message and len(message) == 2
        if wrapped is not self.with_schema:
            found, other = ("schema and payload", "-schema") if wrapped else ("no schema and payload", "")
            raise WrongShape(f"{what}: found {found}", f"set format = \"debezium-json{other}\" for this source")
        if not wrapped:
            return message, None
        payload, schema = message["payload"], message["schema"]
        if type(payload) is not dict or type(schema) is not dict:
            raise WrongShape(f"{what}: found payload {shown(payload)}, expected an object with its schema")
        return payload, schema

    def _control(self, envelope: Object) -> Decoded:
        """What has no operation: heartbeats, transaction metadata, schema changes."""
        if envelope.keys() == {"ts_ms"}:
            return Decoded(watermark_us=_instant_us(envelope) - self.margin_us, heartbeat=True)
        if envelope.get("status") in ("BEGIN", "END") and "id" in envelope:
            return Decoded(filtered="transaction_metadata")
        if "ddl" in envelope or "tableChanges" in envelope:
            return Decoded(filtered="schema_change")
        raise WrongShape(f"found {', '.join(sorted(envelope)[:8]) or 'an empty object'}, expected op, source and after",
                         "a flattened record (ExtractNewRecordState) is another format: debezium-flat")

    def _change(self, raw: RawRecord, op: Any, envelope: Object, schema: Object | None) -> Decoded:
        """What an envelope with an operation says."""
        source = envelope.get("source")
        if type(source) is not dict:
            raise WrongShape(f"source: found {shown(source)}, expected an object")
        commit_us = _commit_us(source)
        watermark_us = self._watermark_us(source, commit_us)
        if op == "m":
            return Decoded(watermark_us=watermark_us, filtered="logical_message")
        maps = self.mapping.for_table(_table_names(source))
        if not maps:
            return Decoded(watermark_us=watermark_us, filtered="other_table")
        seq = self._token(source)
        if op == "t":
            gaps = tuple(Change(each.entity.name, "", Op.GAP, self.source, "", commit_us, seq, {},
                                f"{source.get('table')}:truncate:{seq}", _origin(raw)) for each in maps)
            return Decoded(gaps, watermark_us)
        if not isinstance(op, str) or op not in _ROW_OPS:
            raise WrongShape(f"op: found {shown(op)}, expected one of c, r, u, d, t, m")
        record = self._record(raw, _ROW_OPS[op], commit_us, seq, envelope, schema)
        return self._rows(record, maps, watermark_us)

    def _record(self, raw: RawRecord, op: Op, commit_us: int, seq: str, envelope: Object, schema: Object | None
                ) -> _Record:
        """The opened envelope of a row."""
        after = envelope.get("after")
        if op is not Op.DELETE and type(after) is not dict:
            raise WrongShape(f"after: found {shown(after)}, expected the row")
        key, key_types = self._key(raw.key)
        types = None if schema is None else _column_types(_struct(schema, "after"))
        return _Record(raw, op, commit_us, seq, after, types, str(envelope["source"].get("table")), key, key_types)

    def _key(self, key: bytes | None) -> tuple[Object | None, Mapping[str, Decoder] | None]:
        """The columns of a record key and their types; None where the record has no key."""
        if key is None:
            return None, None
        try:
            payload, schema = self._open(load_object(key), "key")
        except DecodeError as error:
            raise error.within("key") from None
        return payload, None if schema is None else _column_types(schema)

    def _rows(self, record: _Record, maps: tuple[EntityMap, ...], watermark_us: int | None) -> Decoded:
        """The changes that the maps make of a row."""
        if record.op is Op.DELETE and record.raw.header(NEW_KEY) is not None:
            return Decoded(watermark_us=watermark_us, filtered="rekeyed")
        changes: list[Change] = []
        reason = None
        for each in maps:
            skipped = self._row_changes(record, each, changes)
            reason = reason or skipped
        return Decoded(tuple(changes), watermark_us, filtered=None if changes else reason)

    def _row_changes(self, record: _Record, each: EntityMap, changes: list[Change]) -> str | None:
        """Append the changes of one map; returns why there are none."""
        key = _decoded(record.key or {}, record.key_types or each.columns)
        if record.op is Op.DELETE:
            if record.key is None:
                raise MissingKey("found a delete without key, before is not trusted",
                                 "give the table a primary key, or set message.key.columns in the connector")
            changes.append(self._make(record, each, Op.DELETE, each.subject_of({}, key), each.identity(key)))
            return None
        row = _decoded(record.after or {}, record.types or each.columns, each.reads)
        reason = each.skipped(row)
        if reason is not None:
            return reason
        subject, asserted = each.subject_of(row, key), each.asserted(row)
        old_key = record.raw.header(OLD_KEY)
        if old_key is not None:
            changes.extend(self._rekeyed(record, each, row, old_key, asserted, subject))
        changes.append(self._make(record, each, Op.DELETE if each.deleted(row) else record.op, subject, asserted))
        return None

    def _rekeyed(self, record: _Record, each: EntityMap, row: Row, header: bytes, asserted: dict[str, Any],
                 subject: str) -> list[Change]:
        """The change of business key that goes with a change of primary key, if it is one."""
        old, types = self._header_key(header)
        old_columns = _decoded(old, types or record.key_types or each.columns)
        before = each.key_of(each.asserted({**row, **old_columns}), each.subject_of(row, old_columns))
        after = each.key_of(asserted, subject)
        if not before or not after or before == after:
            return []
        return [self._make(record, each, Op.REKEY, subject, {"old": before, "new": after}, after)]

    def _header_key(self, header: bytes) -> tuple[Object, Mapping[str, Decoder] | None]:
        """A record key in a header: the key alone, or wrapped with its schema, whatever the format of values."""
        try:
            message = load_object(header)
        except DecodeError as error:
            raise error.within(OLD_KEY) from None
        schema, payload = message.get("schema"), message.get("payload")
        if type(schema) is dict and type(payload) is dict:
            return payload, _column_types(schema)
        return message, None

    def _make(self, record: _Record, each: EntityMap, op: Op, subject: str, asserted: Mapping[str, Any],
              key: str | None = None) -> Change:
        """A change of this record."""
        return Change(
            each.entity.name, each.key_of(asserted, subject) if key is None else key, op, self.source, subject,
            record.commit_us, record.seq, asserted, f"{record.table}:{subject}:{record.seq}:{op.value}",
            _origin(record.raw),
        )

    def _token(self, source: Object) -> str:
        """The order token; those of a later epoch sort behind all others."""
        token = order_token(source)
        return f"~{self.epoch:04d}:{token}" if self.epoch else token

    def _watermark_us(self, source: Object, commit_us: int) -> int | None:
        """The watermark that a record proves: none while a snapshot of its table goes on."""
        snapshot = source.get("snapshot")
        if snapshot in _STREAMED or snapshot in _SNAPSHOT_DONE:
            return commit_us - self.margin_us
        return None


def _origin(raw: RawRecord) -> tuple[str, int, int]:
    """Where the record was read."""
    return raw.topic, raw.partition, raw.offset


def _instant_us(members: Object) -> int:
    """The instant that a block states, as fine as it says it: `ts_us`, else `ts_ms`."""
    name, unit_us = ("ts_us", 1) if "ts_us" in members else ("ts_ms", 1_000)
    value = members.get(name)
    if type(value) is int and FIRST_DAY <= value * unit_us // DAY_US <= LAST_DAY:
        return value * unit_us
    raise WrongShape(f"{name}: found {shown(value)}, expected an integer since 1970")


def _commit_us(source: Object) -> int:
    """The commit instant at the source."""
    try:
        return _instant_us(source)
    except WrongShape as error:
        raise error.within("source") from None


def _table_names(source: Object) -> tuple[str, ...]:
    """The name of a row's table, alone and qualified by schema and database."""
    parts = [str(source[name]) for name in ("db", "schema", "table") if source.get(name) is not None]
    return tuple(".".join(parts[start:]) for start in range(len(parts)))


def _struct(schema: Object, name: str) -> Object:
    """The schema of a member of a struct."""
    fields = schema.get("fields")
    for each in fields if type(fields) is list else ():
        if type(each) is dict and each.get("field") == name:
            return each
    raise WrongShape(f"schema: expected a field {name!r}")


def _column_types(struct: Object) -> dict[str, Decoder]:
    """The decoders of the columns of a struct."""
    fields = struct.get("fields")
    if type(fields) is not list or not all(type(each) is dict for each in fields):
        raise WrongShape(f"schema: found fields {shown(fields)}, expected a list of objects")
    return {str(each.get("field")): schema_decoder(each) for each in fields}


def _decoded(columns: Object, types: Mapping[str, Decoder], wanted: frozenset[str] | None = None) -> dict[str, Any]:
    """The wanted columns with values that know what they are; those without a type stay as they are."""
    row: dict[str, Any] = {}
    for name, value in columns.items():
        if wanted is not None and name not in wanted:
            continue
        if is_unavailable(value):
            row[name] = Missing.UNAVAILABLE
        elif value is None or name not in types:
            row[name] = value
        else:
            try:
                row[name] = types[name](value)
            except DecodeError as error:
                raise error.within(f"column {name}") from None
    return row
