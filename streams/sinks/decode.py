"""Output records to rows: a batch of Avro payloads at once, one by one where the batch holds a bad one.

A batch of one schema becomes one block of an in-memory Avro container, which Polars reads some twenty times faster
than a record at a time. Whatever fails there is read again record by record, so that only the bad ones are put aside.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import fastavro
import polars as pl

from tieout.streams.sinks.tables import Table

_MAGIC: Final = b"Obj\x01"
_SYNC: Final = bytes(range(16))  # any sixteen bytes: the container never leaves this process
_HEADER: Final = struct.Struct(">bI")  # Confluent's wire format: a zero byte and the schema's id

Schema = Mapping[str, Any]


class Undecodable(ValueError):
    """A record that is not what its topic promises; `reason` is a stable slug."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def unframed(value: bytes) -> bytes:
    """The Avro payload of a record in Confluent's wire format; Undecodable when it is not framed."""
    if len(value) <= _HEADER.size or value[0] != 0:
        raise Undecodable("bad_framing", f"found {value[:5].hex(' ') or 'nothing'}, expected 00 and a 4-byte schema id")
    return value[_HEADER.size:]


def decode_all(schema: Schema, table: Table, payloads: Sequence[bytes]) -> pl.DataFrame:
    """Rows of payloads of one schema, in order; Undecodable when any of them is bad."""
    try:
        frame = pl.read_avro(io.BytesIO(_container(schema, payloads)))
    except (Exception, pl.exceptions.PanicException) as error:
        raise Undecodable("bad_avro", str(error)) from None
    if frame.height != len(payloads):
        raise Undecodable("bad_avro", f"found {frame.height} records, expected {len(payloads)}")
    return _shaped(table, frame)


def decode_one(schema: Schema, payload: bytes) -> dict[str, Any]:
    """The row of one payload with ints for dates and instants; Undecodable when it is cut or has bytes left over."""
    stream = io.BytesIO(payload)
    try:
        row = fastavro.schemaless_reader(stream, _physical(json.dumps(schema)), None)
    except Exception as error:  # fastavro raises whatever its Cython code runs into
        raise Undecodable("bad_avro", f"{type(error).__name__}: {error}") from None
    if left := len(payload) - stream.tell():
        raise Undecodable("bad_avro", f"found {left} bytes after the record, expected none")
    assert isinstance(row, dict)
    return row


def _shaped(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """The table's columns of a frame: what an older writer did not know is null, what a newer one added is left out."""
    columns = [
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in table.polars_schema().items()
    ]
    return frame.select(columns)


def _container(schema: Schema, payloads: Sequence[bytes]) -> bytes:
    data = b"".join(payloads)
    head = _prefix(json.dumps(schema))
    return b"".join((head, _long(len(payloads)), _long(len(data)), data, _SYNC))


@cache
def _prefix(schema_json: str) -> bytes:
    """Magic, metadata and sync marker of an Avro container."""
    metadata = {"avro.schema": schema_json.encode(), "avro.codec": b"null"}
    pairs = b"".join(_bytes(name.encode()) + _bytes(value) for name, value in metadata.items())
    return b"".join((_MAGIC, _long(len(metadata)), pairs, _long(0), _SYNC))


def _bytes(value: bytes) -> bytes:
    return _long(len(value)) + value


def _long(value: int) -> bytes:
    """A non-negative Avro long: zigzag, seven bits a byte."""
    rest, out = value << 1, bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


@cache
def _physical(schema_json: str) -> Any:
    """The parsed schema without its logical types, so that dates and instants stay ints."""
    return fastavro.parse_schema(_without_logical(json.loads(schema_json)))


def _without_logical(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_logical(item) for item in node]
    if isinstance(node, dict):
        return {name: _without_logical(value) for name, value in node.items() if name != "logicalType"}
    return node
