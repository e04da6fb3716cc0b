"""Output rows as Avro in Confluent's wire format, by functions generated from the schemas.

Output schemas are flat: text, whole numbers, booleans, and unions of null with one of these. For such a schema one
expression that joins looked-up pieces is five times as fast as a general writer, and encoding is the largest part of
a checkpoint. A test compares every byte with fastavro's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tieout.codecs.framing import header
from tieout.reconcilers.outcomes import Output
from tieout.schemas import avsc

Row = Mapping[str, Any]

_SMALL: Final = 8_192  # numbers below it are looked up
_KEPT: Final = 20_000  # codes, states, units and instants come again and again
_TEXT_BYTES: Final = 32  # ids and what is longer hardly do
_NUMBER: Final = f"{{0}}small[value] if 0 <= value < {_SMALL} else {{0}}numbers[value << 1]"
_VALUE: Final = {
    "string": "texts[value]",
    "boolean": "yes if value else no",
    "int": _NUMBER.format(""),
    "long": _NUMBER.format(""),
}
_NULLABLE: Final = {
    "string": "nullable_texts[value]",
    "boolean": "null if value is None else there + (yes if value else no)",
    "int": f"null if value is None else {_NUMBER.format('nullable_')}",
    "long": f"null if value is None else {_NUMBER.format('nullable_')}",
}


def encoders(ids: Mapping[Output, int] | None = None) -> dict[Output, Callable[[Row], bytes]]:
    """A function for each output that encodes its rows; ValueError when a row is not what the schema says.

    Schema ids are those given, else the outputs' positions from 1: readers of ours go by the topic.
    """
    known = ids or {output: number for number, output in enumerate(Output, start=1)}
    return {output: row_encoder(avsc(output.value), known[output]) for output in Output}


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


def _compiled(schema: Mapping[str, Any], head: bytes, optional: str) -> Callable[[Row], bytes]:
    """The straight-line function; `optional` is how it reads a field that may be left out."""
    reads, pieces = [], []
    for number, field in enumerate(schema["fields"]):
        name, kind = field["name"], field["type"]
        if isinstance(kind, list):
            place, piece = optional.format(name), _NULLABLE[_primitive(kind[1])]
        else:
            place, piece = f"row[{name!r}]", _VALUE[_primitive(kind)]
        if piece.count("value") > 1:
            reads.append(f"v{number} = {place}")
            place = f"v{number}"
        pieces.append(piece.replace("value", place))
    lines = ["def encode(row):", *reads, f"return join((head, {', '.join(pieces)}))"]
    space: dict[str, Any] = {**_SPACE, "head": head}
    exec(compile("\n    ".join(lines), f"<encoder of {schema['name']}>", "exec"), space)
    encode: Callable[[Row], bytes] = space["encode"]
    return encode


def _primitive(kind: Any) -> str:
    """The type that a logical type is carried in."""
    return str(kind["type"] if isinstance(kind, Mapping) else kind)


def _varint(zigzag: int) -> bytes:
    """An unsigned number, seven bits a byte, the lowest first."""
    out = bytearray()
    while zigzag >= 0x80:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    out.append(zigzag)
    return bytes(out)


def _number(value: int) -> bytes:
    """A number of at most 64 bits, zigzag and of variable length."""
    zigzag = (value << 1) ^ (value >> 63)
    if zigzag >> 64:
        raise ValueError(f"{value} does not fit into 64 bits")
    return _varint(zigzag)


class _Numbers(dict[int, bytes]):
    """What was written for twice a number before, after `head`. 1.0 would be found as 1, but cannot be shifted."""

    def __init__(self, head: bytes = b"") -> None:
        super().__init__()
        self._head = head

    def __missing__(self, twice: int) -> bytes:
        made = self._head + _number(twice >> 1)
        if len(self) >= _KEPT:
            self.clear()
        self[twice] = made
        return made


def _text(value: str) -> bytes:
    """A text with its length in front."""
    data = value.encode()
    return _number(len(data)) + data


def _nullable_text(value: str | None) -> bytes:
    return _NULL if value is None else _THERE + _text(value)


class _Texts(dict[Any, bytes]):
    """What was written for a text before, where it is short; else what `write` makes of it."""

    def __init__(self, write: Callable[[Any], bytes]) -> None:
        super().__init__()
        self._write = write

    def __missing__(self, value: str | None) -> bytes:
        made = self._write(value)
        if len(made) <= _TEXT_BYTES:
            if len(self) >= _KEPT:
                self.clear()
            self[value] = made
        return made


_NULL, _THERE = b"\0", b"\2"  # the branch of a union of null and another type
_small: Final = [_number(value) for value in range(_SMALL)]
_SPACE: Final[dict[str, Any]] = {
    "join": b"".join, "yes": b"\1", "no": b"\0", "null": _NULL, "there": _THERE,
    "small": _small, "nullable_small": [_THERE + value for value in _small],
    "numbers": _Numbers(), "nullable_numbers": _Numbers(_THERE),
    "texts": _Texts(_text), "nullable_texts": _Texts(_nullable_text),
}  # fmt: skip
