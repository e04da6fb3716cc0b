"""Rows of flat Avro schemas to payloads and back; dates and instants are integers in rows.

Reading many payloads at once is some twenty times faster than one at a time: they become one block of an in-memory
Avro container, which Polars reads. Where that fails, each is read by itself, so that only the bad ones are put aside.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import fastavro

from tieout.codecs.errors import BadAvro, shown
from tieout.codecs.framing import header

if TYPE_CHECKING:
    import polars as pl  # at run time only where many rows are read: it costs a tenth of a second to import

Schema = Mapping[str, Any]
Row = Mapping[str, Any]

_MAGIC: Final = b"Obj\x01"
_SYNC: Final = bytes(range(16))  # any sixteen bytes: the container never leaves the process


class Rows(NamedTuple):
    """The rows of sound payloads in order, and the position and error of each bad one."""

    frame: pl.DataFrame
    failed: tuple[tuple[int, BadAvro], ...] = ()


def row_encoder(schema: Schema, schema_id: int) -> Callable[[Row], bytes]:
    """A function from a row to a Confluent-framed record; ValueError when the row has other fields than the schema."""
    parsed, head = _physical(schema), header(schema_id)

    def encode(row: Row) -> bytes:
        buffer = io.BytesIO()
        buffer.write(head)
        fastavro.schemaless_writer(buffer, parsed, row, strict_allow_default=True)
        return buffer.getvalue()

    return encode


class RowReader:
    """Reads payloads (without framing) that one schema wrote."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._parsed = _physical(schema)
        metadata = {"avro.schema": json.dumps(schema).encode(), "avro.codec": b"null"}
        pairs = b"".join(_long_bytes(name.encode()) + _long_bytes(value) for name, value in metadata.items())
        self._head = b"".join((_MAGIC, _long(len(metadata)), pairs, _long(0), _SYNC))

    def read(self, payload: bytes) -> dict[str, Any]:
        """The row of one payload, dates and instants as integers; BadAvro when it is cut or has bytes left over."""
        return _read(self._parsed, payload)

    def read_many(self, payloads: Sequence[bytes]) -> Rows:
        """The rows of many payloads as a frame with Polars' own dates and instants."""
        if not payloads:
            return Rows(self._empty)
        frame = self._block(payloads)
        if frame is not None:
            return Rows(frame)
        sound, failed = self._sorted_out(payloads)
        if not sound:
            return Rows(self._empty, failed)
        frame = self._block(sound) if failed else None
        return Rows(self._one_by_one(sound) if frame is None else frame, failed)

    @cached_property
    def _empty(self) -> pl.DataFrame:
        """A frame without rows: the columns and types of the schema."""
        import polars as pl

        return pl.read_avro(io.BytesIO(self._head))

    def _block(self, payloads: Sequence[bytes]) -> pl.DataFrame | None:
        """All rows, or None when any payload is bad.

        A payload with bytes left over shifts all that follow. Polars does not notice when that is the last one, so
        the last row is read once more.
        """
        import polars as pl

        data = b"".join(payloads)
        container = b"".join((self._head, _long(len(payloads)), _long(len(data)), data, _SYNC))
        try:
            frame = pl.read_avro(io.BytesIO(container))
            last = _read(self._parsed, payloads[-1])
        except (Exception, pl.exceptions.PanicException):
            return None
        if frame.height != len(payloads):
            return None
        physical = frame.tail(1).with_columns(pl.selectors.temporal().to_physical()).row(0, named=True)
        return frame if physical == last else None

    def _sorted_out(self, payloads: Sequence[bytes]) -> tuple[list[bytes], tuple[tuple[int, BadAvro], ...]]:
        """The sound payloads, and the errors of the others."""
        sound: list[bytes] = []
        failed: list[tuple[int, BadAvro]] = []
        for position, payload in enumerate(payloads):
            try:
                _read(self._parsed, payload)
            except BadAvro as error:
                failed.append((position, error))
            else:
                sound.append(payload)
        return sound, tuple(failed)

    def _one_by_one(self, payloads: Sequence[bytes]) -> pl.DataFrame:
        """A frame of payloads that Polars cannot read, but fastavro can."""
        import polars as pl

        logical = fastavro.parse_schema(json.loads(json.dumps(self._schema)))
        rows = [fastavro.schemaless_reader(io.BytesIO(payload), logical, None) for payload in payloads]
        return pl.DataFrame(rows, schema=self._empty.schema, strict=False)


def _read(parsed: Any, payload: bytes) -> dict[str, Any]:
    """One row; BadAvro for everything else."""
    stream = io.BytesIO(payload)
    try:
        row: Any = fastavro.schemaless_reader(stream, parsed, None)
    except Exception as error:  # fastavro raises whatever its compiled code runs into
        raise BadAvro(f"found {shown(payload[:16])} of {len(payload)} bytes: {type(error).__name__} {error}") from None
    if left := len(payload) - stream.tell():
        raise BadAvro(f"found {left} bytes behind the record, expected none")
    if type(row) is not dict:
        raise BadAvro(f"found {shown(row)}, expected a record", "the schema of a topic's values must be a record")
    return row


def _physical(schema: Schema) -> Any:
    """The parsed schema without its logical types: dates and instants stay integers."""
    return fastavro.parse_schema(without_logical(schema))


def without_logical(node: Any) -> Any:
    """A schema, or part of one, without `logicalType`."""
    if isinstance(node, list):
        return [without_logical(item) for item in node]
    if isinstance(node, Mapping):
        return {name: without_logical(value) for name, value in node.items() if name != "logicalType"}
    return node


def _long_bytes(value: bytes) -> bytes:
    """Avro bytes: their length, then they."""
    return _long(len(value)) + value


def _long(value: int) -> bytes:
    """A non-negative Avro long: zigzag, seven bits a byte, the lowest first."""
    rest, out = value << 1, bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)
