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

_NUMBER: Final = "out.append(value << 1) if 0 <= value < 64 else number(out, value)"
_VALUE: Final = {
    "string": "out += texts.get(value) or text(value)",
    "boolean": "out.append(1 if value else 0)",
    "int": _NUMBER,
    "long": _NUMBER,
}
_TEXTS_KEPT: Final = 20_000  # codes, states and units come again and again; what is longer hardly does
_TEXT_LENGTH: Final = 40
_texts: dict[str, bytes] = {}


def encoders() -> dict[Output, Callable[[Row], bytes]]:
    """A function for each output that encodes its rows; ValueError when a row is not what the schema says.

    Schema ids are the outputs' positions from 1: readers of ours go by the topic, and no registry has to be up.
    """
    return {output: row_encoder(avsc(output.value), number) for number, output in enumerate(Output, start=1)}


def row_encoder(schema: Mapping[str, Any], schema_id: int) -> Callable[[Row], bytes]:
    """A function that encodes a row of a flat schema; ValueError when one is missing, unknown or of another type."""
    names, head = {field["name"] for field in schema["fields"]}, header(schema_id)
    whole, partial = (_compiled(schema, head, value) for value in ("row[{!r}]", "row.get({!r})"))

    def encode(row: Row) -> bytes:
        try:
            if len(row) == len(names):  # an unknown field then means that another is missing
                return whole(row)
            if row.keys() <= names:
                return partial(row)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"{schema['name']}: a field is missing or has another type ({error}): {row}") from error
        raise ValueError(f"{schema['name']}: unknown fields {sorted(row.keys() - names)}")

    return encode


def _compiled(schema: Mapping[str, Any], head: bytes, nullable: str) -> Callable[[Row], bytes]:
    """The straight-line function; `nullable` is how it reads a field that may be left out."""
    lines = ["def encode(row):", "out = bytearray(head)"]
    for field in schema["fields"]:
        name, kind = field["name"], field["type"]
        if isinstance(kind, list):
            lines += [f"value = {nullable.format(name)}", "if value is None: out.append(0)"]
            lines += [f"else: out.append(2); {_VALUE[_primitive(kind[1])]}"]
        else:
            lines += [f"value = row[{name!r}]; {_VALUE[_primitive(kind)]}"]
    space: dict[str, Any] = {"head": head, "number": _number, "text": _text, "texts": _texts}
    exec(compile("\n    ".join([*lines, "return bytes(out)"]), f"<encoder of {schema['name']}>", "exec"), space)
    encode: Callable[[Row], bytes] = space["encode"]
    return encode


def _primitive(kind: Any) -> str:
    """The type that a logical type is carried in."""
    return str(kind["type"] if isinstance(kind, Mapping) else kind)


def _text(value: str) -> bytes:
    """A text with its length in front."""
    data, out = value.encode(), bytearray()
    _number(out, len(data))
    made = bytes(out) + data
    if len(data) <= _TEXT_LENGTH:
        if len(_texts) >= _TEXTS_KEPT:
            _texts.clear()
        _texts[value] = made
    return made


def _number(out: bytearray, value: int) -> None:
    """Append a number of at most 64 bits, zigzag and of variable length."""
    zigzag = (value << 1) ^ (value >> 63)
    if zigzag >> 64:
        raise ValueError(f"{value} does not fit into 64 bits")
    while zigzag >= 0x80:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    out.append(zigzag)
