"""Flattened Debezium records (`debezium-flat`): the row alone, as ExtractNewRecordState leaves it, JSON or Avro.

What the envelope said is left in members or headers that begin with `__`, as far as the connector was told to keep it
(`add.fields`, `add.headers`, their default prefix):

==============================  ================================================================================
order token (needed)            lsn, better with sequence (PostgreSQL) · commit_lsn, change_lsn, event_serial_no
                                (SQL Server) · file, pos, row (MySQL, MariaDB) · scn, commit_scn, rs_id, ssn (Oracle)
source.ts_ms (or source.ts_us)  commit instant. `ts_ms` alone is when the connector saw it: it stands in, and gives no
                                watermark
op                              as in an envelope; without it rows are upserts
deleted                         true: DELETE, in the modes that rewrite deletes
db, schema, table               which table; else the end of the topic's name, else the mapping's only table
snapshot                        snapshot markers; without it a row of op r proves no watermark
==============================  ================================================================================

A tombstone with an order token in its headers is a DELETE. One without is refused: it may be all that is left of a
delete, and it cannot be placed; where deletes are rewritten beside it, `tombstones = "ignore"` says so. In the mode
that drops deletes there is nothing to see: rows that are gone at the source stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from tieout.codecs.debezium import ROW_OPS, TOMBSTONE
from tieout.codecs.debezium_control import control, shown_name, table_names
from tieout.codecs.debezium_rows import SNAPSHOT_DONE, Record, Rows, instant_us, opened_key
from tieout.codecs.entity_map import EntityMap, TableMapping
from tieout.codecs.errors import MissingOrder, WrongShape, shown
from tieout.codecs.lost import arrived_us, readable
from tieout.codecs.openers import AnyOpener, Opened
from tieout.codecs.records import Decoded, RawRecord
from tieout.reconcilers.changes import Change, Op

Object = Mapping[str, Any]
Tombstones = Literal["refuse", "ignore"]

_PREFIXES: Final = ("__", "__source_")
_POSITION: Final = {  # a member that only one connector has, and what its position consists of
    "commit_lsn": ("sqlserver", ("commit_lsn", "change_lsn", "event_serial_no")),
    "lsn": ("postgresql", ("lsn", "sequence")),
    "file": ("mysql", ("file", "pos", "row")),
    "scn": ("oracle", ("scn", "commit_scn", "rs_id", "ssn")),
}
_ADVICE: Final = (
    "let the transform keep the position: add.fields=op,table,source.ts_ms,lsn,sequence (PostgreSQL), …,commit_lsn,"
    "change_lsn,event_serial_no (SQL Server), …,file,pos,row (MySQL), …,scn,commit_scn,rs_id,ssn (Oracle)")
_TOMBSTONE_ADVICE: Final = (
    "set delete.tombstone.handling.mode=rewrite in the transform; where it is rewrite-with-tombstone, set tombstones = "
    "\"ignore\" for this source")


class _Kept:
    """What is kept of the envelope, in members or headers."""

    def __init__(self, members: Object, raw: RawRecord) -> None:
        self._members, self._raw = members, raw

    def get(self, name: str) -> Any:
        """The value, None when it was not kept."""
        for prefix in _PREFIXES:
            if (value := self._exactly(prefix + name)) is not None:
                return value
        return None

    def any(self) -> bool:
        """Whether anything was kept."""
        names = (*self._members, *(name for name, _ in self._raw.headers or ()))
        return any(name.startswith("__") and not name.startswith("__debezium.") for name in names)

    def block(self) -> Object | None:
        """The position as a source block; None when there is none."""
        for sign, (connector, names) in _POSITION.items():
            if self.get(sign) is not None:
                return {"connector": self.get("connector") or connector, **{name: self.get(name) for name in names}}
        return None

    def commit_us(self) -> tuple[int, bool]:
        """The commit instant, and whether it is the source's own."""
        for prefix in reversed(_PREFIXES):
            block = {name: self._exactly(prefix + name) for name in ("ts_us", "ts_ms")}
            known = {name: value for name, value in block.items() if value is not None}
            if known:
                try:
                    return instant_us(known), prefix != "__"
                except WrongShape as error:
                    raise error.within(prefix.rstrip("_")) from None
        raise WrongShape("found neither __source_ts_ms nor __ts_ms, expected the commit instant", _ADVICE)

    def _exactly(self, name: str) -> Any:
        value = self._members.get(name)
        return value if value is not None else _header_value(self._raw.header(name))


@dataclass(frozen=True, slots=True)
class FlatCodec:
    """Decodes the flattened records of one connector."""

    rows: Rows
    opener: AnyOpener
    tombstones: Tombstones = "refuse"

    def prepare(self, raw: RawRecord) -> None:
        """Fetch the schemas that `raw` needs; SchemasUnreachable when nobody answers now."""
        self.opener.prepare(raw)

    def decode(self, raw: RawRecord) -> Decoded:
        """The changes of one record; raises DecodeError."""
        if raw.value is None:
            return self._tombstone(raw)
        opened = self.opener.value(raw.value)
        kept = _Kept(opened.members, raw)
        if not kept.any():
            return self._unmarked(raw, opened.members)
        return self._change(raw, kept, opened)

    def lost(self, raw: RawRecord) -> tuple[Change, ...]:
        """Gaps of the records that a row is about which cannot be read, as its key names them."""
        kept = _Kept(readable(lambda: self.opener.value(raw.value).members if raw.value else {}, {}), raw)
        maps = readable(lambda: self._maps(kept, raw.topic), ())
        key, columns = readable(lambda: opened_key(self.opener, raw.key), (None, None))
        commit_us, _ = readable(kept.commit_us, (arrived_us(raw), False))
        return self.rows.lost(Record(raw, Op.GAP, commit_us, "", "", key=key, key_columns=columns), maps)

    def _tombstone(self, raw: RawRecord) -> Decoded:
        """A delete where its headers place it; else nothing, or not readable."""
        kept = _Kept({}, raw)
        if kept.block() is not None:
            return self._change(raw, kept, None)
        if self.tombstones == "ignore":
            return TOMBSTONE
        raise MissingOrder("found a tombstone without order token", _TOMBSTONE_ADVICE)

    def _unmarked(self, raw: RawRecord, members: Object) -> Decoded:
        """What the transform lets through as it is, or a row about which nothing was kept."""
        if members.get("op") == "m":  # pg_logical_emit_message: no row, so the transform passes it on as it is
            return Decoded(filtered="logical_message")
        if "op" in members and "source" in members:
            raise WrongShape("found an envelope, expected a flattened record",
                             "set format = \"debezium-json\" (or -avro), or flatten this topic too")
        try:
            return control(raw, members, self.rows)
        except WrongShape:
            names = ", ".join(sorted(map(str, members))[:8]) or "an empty object"
            raise MissingOrder(f"found {names}, expected an order token in members or headers", _ADVICE) from None

    def _change(self, raw: RawRecord, kept: _Kept, opened: Opened | None) -> Decoded:
        """What a row says; `opened` is None for a tombstone."""
        op = _operation(kept, opened)
        commit_us, exact = kept.commit_us()
        snapshot = kept.get("snapshot")
        unsure = not exact or (op is Op.SNAPSHOT and snapshot is None)
        watermark_us = None if unsure else self.rows.watermark_us(snapshot, commit_us)
        maps = self._maps(kept, raw.topic)
        if not maps:
            return Decoded(watermark_us=watermark_us, filtered="other_table")
        block = kept.block()
        if block is None:
            raise MissingOrder("found no order token among the members and headers that begin with __", _ADVICE)
        table = shown_name(kept.get("table") or maps[0].table or raw.topic.rpartition(".")[2])
        record = Record(raw, op, commit_us, self.rows.token(block), table)
        if op is Op.TRUNCATE:
            return Decoded(tuple(self.rows.of_object(record, maps, op, "truncate")), watermark_us)
        key, key_columns = opened_key(self.opener, raw.key)
        record = record._replace(key=key, key_columns=key_columns)
        if opened is not None and op is not Op.DELETE:
            columns = opened.schema.columns() if opened.schema else None
            record = record._replace(row=opened.members, columns=columns)
        return self.rows.changes(record, maps, watermark_us, closes=op is Op.SNAPSHOT and snapshot in SNAPSHOT_DONE)

    def _maps(self, kept: _Kept, topic: str) -> tuple[EntityMap, ...]:
        """The maps of the row's table."""
        mapping, table = self.rows.mapping, kept.get("table")
        if table is not None:
            maps = mapping.for_table(table_names(kept.get("db"), kept.get("schema"), table))
            return maps or (_unqualified(mapping, shown_name(table)) if kept.get("schema") is None else ())
        maps = mapping.for_table(table_names(*topic.split(".")))
        if maps or len({each.table for each in mapping.maps}) == 1:
            return maps or mapping.maps
        raise WrongShape(f"found no __table, and no table of the mapping at the end of topic {topic}",
                         "add table to add.fields of the transform")


def _unqualified(mapping: TableMapping, table: str) -> tuple[EntityMap, ...]:
    """The maps of a table whose schema was not kept: those of the one table of that name that the mapping knows."""
    maps = tuple(each for each in mapping.maps if (each.table or "").rpartition(".")[2] == table)
    return maps if len({each.table for each in maps}) == 1 else ()


def _operation(kept: _Kept, opened: Opened | None) -> Op:
    """What happened to the row."""
    op, deleted = kept.get("op"), kept.get("deleted")
    if opened is None or deleted in (True, "true") or op == "d":
        return Op.DELETE
    if op == "t":
        return Op.TRUNCATE
    if op is None:
        return Op.UPSERT
    if not isinstance(op, str) or op not in ROW_OPS:
        raise WrongShape(f"__op: found {shown(op)}, expected one of c, r, u, d, t")
    return ROW_OPS[op]


def _header_value(header: bytes | None) -> Any:
    """A header as its converter wrote it: plain text, a JSON scalar, or one wrapped with its schema."""
    if header is None:
        return None
    try:
        text = header.decode()
    except UnicodeDecodeError:
        raise WrongShape(f"found {shown(header)} in a header, expected text") from None
    try:
        value = orjson.loads(header)
    except orjson.JSONDecodeError:
        return text
    if type(value) is dict and "payload" in value:
        value = value["payload"]
    return value if value is None or type(value) in (str, int, bool) else text
