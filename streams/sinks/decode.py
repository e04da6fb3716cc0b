"""Output records to rows of the store: a batch of Avro payloads at once, one by one where the batch holds a bad one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import polars as pl

from tieout.codecs.avro import RowReader
from tieout.codecs.errors import DecodeError
from tieout.codecs.framing import unframe
from tieout.streams.sinks.tables import Table

Schema = Mapping[str, Any]


class Undecodable(ValueError):
    """A record that is not what its topic promises; `reason` is a stable slug."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def unframed(value: bytes) -> bytes:
    """The Avro payload of a record in Confluent's wire format; Undecodable when it is not framed or empty."""
    try:
        payload = unframe(value).payload
    except DecodeError as error:
        raise Undecodable(error.reason, str(error)) from None
    if not payload:
        raise Undecodable("bad_framing", f"found {value.hex(' ')}, expected 00 and a 4-byte schema id before a payload")
    return payload


def decode_all(schema: Schema, table: Table, payloads: Sequence[bytes]) -> pl.DataFrame:
    """Rows of payloads of one schema, in order; Undecodable when any of them is bad."""
    rows = _reader(json.dumps(schema)).read_many(payloads)
    for position, error in rows.failed:
        raise Undecodable(error.reason, f"record {position} of {len(payloads)}: {error}")
    return _shaped(table, rows.frame)


def decode_one(schema: Schema, payload: bytes) -> dict[str, Any]:
    """The row of one payload with ints for dates and instants; Undecodable when it is cut or has bytes left over."""
    try:
        return _reader(json.dumps(schema)).read(payload)
    except DecodeError as error:
        raise Undecodable(error.reason, str(error)) from None


@cache
def _reader(schema_json: str) -> RowReader:
    """The reader of what a schema wrote."""
    return RowReader(json.loads(schema_json))


def _shaped(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """The table's columns of a frame: what an older writer did not know is null, what a newer one added is left out."""
    columns = [
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in table.polars_schema().items()
    ]
    return frame.select(columns)
