"""Debezium envelopes: `debezium-json`, `debezium-json-schema` with the schema in each message, and `debezium-avro`.

==========================  ====================================================================================
op c, u                     UPSERT of what the mapping makes of `after`
op r                        SNAPSHOT, likewise; behind the last row of a table one SNAPSHOT of the whole object:
                            it has been read to its end
op d                        DELETE by the record key; `before` is never read, it may be partial or absent
op t                        TRUNCATE of the whole object: every row that it held is gone
op m, tombstones, schema    filtered; so are transaction metadata, signals and rows that the mapping skips
d + tombstone + c with      the `d` is filtered; the `c` is one REKEY (old and new code) ahead of the UPSERT of a
`__debezium.newkey/oldkey`  project; for other entities the UPSERT, and a DELETE of the record with the old key
heartbeats                  a watermark
notifications               SNAPSHOT of the whole object when an incremental snapshot has read its table
==========================  ====================================================================================

The watermark of a record is its commit instant less a margin; a snapshot moves it only when its table is complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tieout.codecs.debezium_control import control, shown_name, table_names
from tieout.codecs.debezium_rows import SNAPSHOT_DONE, Record, Rows, instant_us, opened_key
from tieout.codecs.errors import WrongShape, shown
from tieout.codecs.lost import arrived_us, readable
from tieout.codecs.openers import AvroOpener, Opened, Opener
from tieout.codecs.records import Decoded, RawRecord
from tieout.reconcilers.changes import Change, Op

Object = Mapping[str, Any]

TOMBSTONE: Final = Decoded(filtered="tombstone")
ROW_OPS: Final = {"c": Op.UPSERT, "u": Op.UPSERT, "r": Op.SNAPSHOT, "d": Op.DELETE}


@dataclass(frozen=True, slots=True)
class DebeziumCodec:
    """Decodes one connector's envelopes."""

    rows: Rows
    opener: Opener

    def decode(self, raw: RawRecord) -> Decoded:
        """The changes of one record; raises DecodeError."""
        if raw.value is None:
            return TOMBSTONE
        opened = self.opener.value(raw.value)
        op = opened.members.get("op")
        if op is None:
            return control(raw, opened.members, self.rows)
        return self._change(raw, op, opened)

    def lost(self, raw: RawRecord) -> tuple[Change, ...]:
        """Gaps of the records that an envelope is about which cannot be read, as its key names them."""
        members = readable(lambda: self.opener.value(raw.value or b"").members, {})
        source = members.get("source")
        place = source if type(source) is dict else {}
        names = [place.get(name) for name in ("db", "schema", "table")] if place else raw.topic.split(".")
        maps = readable(lambda: self.rows.mapping.for_table(table_names(*names)), ())
        key, columns = readable(lambda: opened_key(self.opener, raw.key), (None, None))
        commit_us = readable(lambda: _commit_us(place), arrived_us(raw))
        return self.rows.lost(Record(raw, Op.GAP, commit_us, "", "", key=key, key_columns=columns), maps)

    def _change(self, raw: RawRecord, op: Any, opened: Opened) -> Decoded:
        """What an envelope with an operation says."""
        source = opened.members.get("source")
        if type(source) is not dict:
            raise WrongShape(f"source: found {shown(source)}, expected an object")
        commit_us, snapshot = _commit_us(source), source.get("snapshot")
        watermark_us = self.rows.watermark_us(snapshot, commit_us)
        if op == "m":
            return Decoded(watermark_us=watermark_us, filtered="logical_message")
        maps = self.rows.mapping.for_table(table_names(*(source.get(name) for name in ("db", "schema", "table"))))
        if not maps:
            return Decoded(watermark_us=watermark_us, filtered="other_table")
        seq, table = self.rows.token(source), shown_name(source.get("table"))
        record = Record(raw, Op.TRUNCATE, commit_us, seq, table)
        if op == "t":
            return Decoded(tuple(self.rows.of_object(record, maps, Op.TRUNCATE, "truncate")), watermark_us)
        if not isinstance(op, str) or op not in ROW_OPS:
            raise WrongShape(f"op: found {shown(op)}, expected one of c, r, u, d, t, m")
        record = self._filled(record, ROW_OPS[op], opened)
        return self.rows.changes(record, maps, watermark_us, closes=op == "r" and snapshot in SNAPSHOT_DONE)

    def _filled(self, record: Record, op: Op, opened: Opened) -> Record:
        """The record with its row and key."""
        after = opened.members.get("after")
        if op is not Op.DELETE and type(after) is not dict:
            raise WrongShape(f"after: found {shown(after)}, expected the row")
        key, key_columns = opened_key(self.opener, record.raw.key)
        columns = opened.schema.columns("after") if opened.schema and op is not Op.DELETE else None
        return record._replace(op=op, row=after, columns=columns, key=key, key_columns=key_columns)


@dataclass(frozen=True, slots=True)
class DebeziumAvroCodec(DebeziumCodec):
    """The same in Avro: schemas can be fetched ahead."""

    opener: AvroOpener

    def prepare(self, raw: RawRecord) -> None:
        """Fetch the schemas that `raw` needs; SchemasUnreachable when nobody answers now."""
        self.opener.prepare(raw)


def _commit_us(source: Object) -> int:
    """The commit instant at the source."""
    try:
        return instant_us(source)
    except WrongShape as error:
        raise error.within("source") from None
