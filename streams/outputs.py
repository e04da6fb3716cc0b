"""Output rows as Avro in Confluent's wire format, by functions generated from the schemas.

Output schemas are flat: text, whole numbers, booleans, and unions of null with one of these. For such a schema a
straight-line function is two to four times as fast as a general writer, and encoding is the largest part of a
checkpoint. A test compares every byte with fastavro's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tieout.codecs.framing import header
from tieout.reconcilers.outcomes import Output
from tieout.schemas import avsc

Row = Mapping[str, Any]

_VALUE: Final = {
    "string": "data = value.encode(); number(out, len(data) << 1); out += data",
    "boolean": "out.append(1 if value else 0)",
    "int": "number(out, (value << 1) ^ (value >> 63))",
    "long": "number(out, (value << 1) ^ (value >> 63))",
}


def encoders() -> dict[Output, Callable[[Row], bytes]]:
    """A function for each output that encodes its rows; ValueError when a row is not what the schema says.

    Schema ids are the outputs' positions from 1: readers of ours go by the topic, and no registry has to be up.
    """
    return {output: row_encoder(avsc(output.value), number) for number, output in enumerate(Output, start=1)}


def row_encoder(schema: Mapping[str, Any], schema_id: int) -> Callable[[Row], bytes]:
    """A function that encodes a row of a flat schema; ValueError when one is missing, unknown or of another type."""
    fields = schema["fields"]
    source = "\n    ".join(["def encode(row):", "out = bytearray(head)", *map(_statement, fields), "return bytes(out)"])
    space: dict[str, Any] = {"head": header(schema_id), "number": _number}
    exec(compile(source, f"<encoder of {schema['name']}>", "exec"), space)
    encode, names = space["encode"], {field["name"] for field in fields}

    def checked(row: Row) -> bytes:
        if not row.keys() <= names:
            raise ValueError(f"{schema['name']}: unknown fields {sorted(row.keys() - names)}")
        try:
            data: bytes = encode(row)
            return data
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"{schema['name']}: a field is missing or has another type ({error}): {row}") from error

    return checked


def _statement(field: Mapping[str, Any]) -> str:
    """The line that writes one field; a nullable one may be left out of the row."""
    name, kind = field["name"], field["type"]
    if isinstance(kind, list):
        value = _VALUE[_primitive(kind[1])]
        return f"value = row.get({name!r})\n    if value is None: out.append(0)\n    else: out.append(2); {value}"
    return f"value = row[{name!r}]; {_VALUE[_primitive(kind)]}"


def _primitive(kind: Any) -> str:
    """The type that a logical type is carried in."""
    return str(kind["type"] if isinstance(kind, Mapping) else kind)


def _number(out: bytearray, zigzag: int) -> None:
    """Append a variable-length number of at most 64 bits."""
    if zigzag < 0x80:
        out.append(zigzag)
        return
    if zigzag >> 64:
        raise ValueError("a number does not fit into 64 bits")
    while zigzag >= 0x80:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    out.append(zigzag)
