"""What a Debezium connector says beside rows: heartbeats, transactions, schema changes, notifications."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tieout.codecs.debezium_rows import Rows, instant_us, origin
from tieout.codecs.errors import WrongShape, shown
from tieout.codecs.records import Decoded, RawRecord
from tieout.reconcilers.changes import Change, Op

Object = Mapping[str, Any]

_SCANNED: Final = ("SUCCEEDED", "EMPTY", None)
_ADVICE: Final = "a flattened record (ExtractNewRecordState) is another format: debezium-flat"


def table_names(*parts: Any) -> tuple[str, ...]:
    """The name of a table, alone and qualified by what stands in front of it: 'db.schema.table', then shorter."""
    known = [shown_name(part) for part in parts if part is not None]
    return tuple(".".join(known[start:]) for start in range(len(known)))


def shown_name(name: Any) -> str:
    """A name, or what stands in its place."""
    return name if type(name) is str else shown(name)


def control(raw: RawRecord, message: Object, rows: Rows) -> Decoded:
    """What a message without operation says; WrongShape when it is nothing that a connector sends."""
    if message.keys() == {"ts_ms"}:
        return Decoded(watermark_us=instant_us(message) - rows.margin_us, heartbeat=True)
    if message.get("status") in ("BEGIN", "END") and "id" in message:
        _check_counts(message.get("data_collections"))
        return Decoded(filtered="transaction_metadata")
    if "ddl" in message or "tableChanges" in message:
        return Decoded(filtered="schema_change")
    if "aggregate_type" in message and "type" in message:
        return _notification(raw, message, rows)
    if message.keys() == {"type", "data"} or message.keys() == {"id", "type", "data"}:
        return Decoded(filtered="signal")
    found = ", ".join(sorted(map(str, message))[:8]) or "an empty object"
    raise WrongShape(f"found {found}, expected op, source and after", _ADVICE)


def _check_counts(collections: Any) -> None:
    """The data collections of a transaction's end, with how many events each has."""
    for each in () if collections is None else collections if type(collections) is list else (collections,):
        if type(each) is not dict or type(each.get("event_count")) is not int:
            raise WrongShape(f"data_collections: found {shown(each)}, expected data_collection and event_count")


def _notification(raw: RawRecord, message: Object, rows: Rows) -> Decoded:
    """An incremental snapshot has read a table to its end: what was unknown about its object is known again."""
    said = message.get("additional_data")
    said = said if type(said) is dict else {}
    done = message["type"] == "TABLE_SCAN_COMPLETED" and said.get("status") in _SCANNED
    tables = said.get("scanned_collection") or said.get("data_collections")
    if message["aggregate_type"] != "Incremental Snapshot" or not done or type(tables) is not str:
        return Decoded(filtered="notification")
    commit_us = instant_us({"ts_ms": message.get("timestamp")})
    changes = tuple(_closed(raw, tables, commit_us, rows))
    return Decoded(changes, filtered=None if changes else "other_table")


def _closed(raw: RawRecord, tables: str, commit_us: int, rows: Rows) -> Iterator[Change]:
    """The closing change of each object whose table was scanned. It stands in no log: its instant is its order."""
    for table in (name.strip() for name in tables.split(",")):
        for each in rows.mapping.for_table(table_names(*table.split("."))):
            seq = f"{commit_us:020d}"
            yield Change(each.entity.name, "", Op.SNAPSHOT, rows.source, "", commit_us, seq, {},
                         f"{table}:snapshot:{seq}", origin(raw))
