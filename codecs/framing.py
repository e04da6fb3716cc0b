"""Confluent wire format: a zero byte, four bytes of schema id, the payload."""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from tieout.codecs.errors import BadFraming

_HEADER: Final = Struct(">bI")
HEADER_BYTES: Final = _HEADER.size
_MAGIC: Final = 0


class Framed(NamedTuple):
    """A payload and the id of the schema that wrote it."""

    schema_id: int
    payload: bytes


def header(schema_id: int) -> bytes:
    """The five bytes in front of every payload of a schema."""
    if not 0 <= schema_id < 2**32:
        raise ValueError(f"schema id: found {schema_id}, expected an unsigned integer of 32 bits")
    return _HEADER.pack(_MAGIC, schema_id)


def frame(schema_id: int, payload: bytes) -> bytes:
    """A payload in the wire format."""
    return header(schema_id) + payload


def unframe(data: bytes) -> Framed:
    """Schema id and payload; BadFraming when the bytes are not in the wire format."""
    if len(data) < HEADER_BYTES or data[0] != _MAGIC:
        raise BadFraming(f"found {data[:HEADER_BYTES].hex(' ') or 'nothing'}, expected 00 and a 4-byte schema id")
    _, schema_id = _HEADER.unpack_from(data)
    if schema_id == 0 and len(data) >= 9 and any(data[5:9]):
        raise BadFraming(f"found {data[:9].hex(' ')}: schema id 0, expected one from 1",
                         "ids of eight bytes? Switch the producer's serializer to Confluent's, of four")
    return Framed(schema_id, data[HEADER_BYTES:])
