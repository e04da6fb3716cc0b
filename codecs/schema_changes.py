"""What a new version of a schema does to readers: what Avro cannot resolve, and what it resolves into wrong numbers.

A registry answers the first question. It does not ask the second: a decimal of another scale, milliseconds that become
microseconds or text that becomes a number have the same bytes or pass as 'compatible', and every amount is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from tieout.codecs.avro_schema import WriterSchema
from tieout.codecs.wire_types import WireType

_PROMOTIONS: Final = {
    "int": ("int", "long", "float", "double"), "long": ("long", "float", "double"), "float": ("float", "double"),
    "string": ("string", "bytes"), "bytes": ("bytes", "string"),
}
_WIDER: Final = frozenset((("int8", "int16"), ("int8", "int32"), ("int8", "int64"), ("int16", "int32"),
                           ("int16", "int64"), ("int32", "int64"), ("float", "double"), ("float32", "float64")))
_ENVELOPE: Final = frozenset(("before", "after", "op"))


class Break(NamedTuple):
    """A change that readers do not survive: the column or path, what it was, what it is, and why that is wrong."""

    place: str
    before: str
    after: str
    why: str


# --- what changes meaning --------------------------------------------------------------------------------------------


def corrupting(before: WriterSchema, after: WriterSchema) -> list[Break]:
    """The columns whose values would be read as something else, or no longer, once `after` replaces `before`."""
    old, new = (schema.columns(*row_path(schema)) for schema in (before, after))
    renamed = {former: name for former, name in new.aliases.items() if former not in new.types}
    added = sorted(new.types.keys() - old.types.keys())
    found: list[Break] = []
    for name, was in old.types.items():
        now = new.types.get(renamed.get(name, name))
        if now is None:
            twin = next((each for each in added if new.types[each].name == was.name), None)
            found.append(Break(name, was.name, "gone" if twin is None else f"gone, {twin} is new",
                               "a renamed column needs its former name as alias: readers of the old name see nothing"))
        elif why := _meaning_changed(was, now):
            found.append(Break(name, was.name, now.name, why))
    return found


def row_path(schema: WriterSchema) -> tuple[str, ...]:
    """Where the row's columns stand: in `after` of an envelope, else in the record itself."""
    return ("after",) if {str(field["name"]) for field in schema.fields()} >= _ENVELOPE else ()


def _meaning_changed(was: WireType, now: WireType) -> str | None:
    """Why values of `was` and `now` are not the same numbers, or None."""
    if was.name == now.name or (was.name, now.name) in _WIDER:
        return None
    if was.name.startswith("decimal(") and now.name.startswith("decimal("):
        return "another scale: readers with the old schema are wrong by powers of ten"
    if was.bare and now.bare:
        return "another type"
    if was.carriers and was.carriers == now.carriers:
        return "another unit or calendar for the same bytes: readers with the old schema are wrong by powers of ten"
    return "another encoding: readers with the old schema cannot read it"


# --- what Avro cannot resolve ----------------------------------------------------------------------------------------


def unresolvable(reader: Any, writer: Any) -> list[Break]:
    """Why a reader with `reader` cannot read what `writer` wrote, by Avro's rules: BACKWARD compatibility."""
    return list(_Resolution(reader, writer).of(reader, writer, ""))


class _Resolution:
    """Reader and writer side by side; named types are looked at once a pair."""

    def __init__(self, reader: Any, writer: Any) -> None:
        self._reader, self._writer = _named(reader), _named(writer)
        self._seen: set[tuple[str, str]] = set()

    def of(self, reader: Any, writer: Any, place: str) -> Iterator[Break]:
        """Two types."""
        reader, writer = _type(reader, self._reader), _type(writer, self._writer)
        if isinstance(writer, list):
            for branch in writer:
                yield from self.of(reader, branch, place)
        elif isinstance(reader, list):
            if all(list(self.of(branch, writer, place)) for branch in reader):
                yield Break(place, _label(writer), _label(reader), "no branch of the union reads it")
        elif reader["type"] == writer["type"] and reader["type"] in _STRUCTURED:
            yield from _STRUCTURED[reader["type"]](self, reader, writer, place)
        elif reader["type"] not in _PROMOTIONS.get(writer["type"], (writer["type"],)):
            yield Break(place, _label(writer), _label(reader), "Avro has no promotion for it")

    def record(self, reader: Any, writer: Any, place: str) -> Iterator[Break]:
        """Records: by name or alias, new fields by their default."""
        pair = (str(reader["name"]), str(writer["name"]))
        if pair in self._seen:
            return
        self._seen.add(pair)
        theirs = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            names = (field["name"], *field.get("aliases", ()))
            written = next((theirs[name] for name in names if name in theirs), None)
            path = f"{place}.{field['name']}".lstrip(".")
            if written is not None:
                yield from self.of(field["type"], written["type"], path)
            elif "default" not in field:
                yield Break(path, "absent", _label(_type(field["type"], self._reader)), "a new field needs a default")

    def enum(self, reader: Any, writer: Any, place: str) -> Iterator[Break]:
        """Enumerations."""
        missing = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
        if missing and "default" not in reader:
            yield Break(place, ", ".join(missing), "not among the symbols", "a symbol was removed")

    def fixed(self, reader: Any, writer: Any, place: str) -> Iterator[Break]:
        """Fixed bytes."""
        if reader["size"] != writer["size"]:
            yield Break(place, f"{writer['size']} bytes", f"{reader['size']} bytes", "another size")

    def array(self, reader: Any, writer: Any, place: str) -> Iterator[Break]:
        """Arrays."""
        yield from self.of(reader["items"], writer["items"], f"{place}[]")

    def map(self, reader: Any, writer: Any, place: str) -> Iterator[Break]:
        """Maps."""
        yield from self.of(reader["values"], writer["values"], f"{place}{{}}")


_STRUCTURED: Final = {"record": _Resolution.record, "enum": _Resolution.enum, "fixed": _Resolution.fixed,
                      "array": _Resolution.array, "map": _Resolution.map}


def _type(node: Any, named: Mapping[str, Any]) -> Any:
    """A type as a list of branches or an object with `type`."""
    if isinstance(node, str):
        return named.get(node) or named.get(node.rpartition(".")[2]) or {"type": node}
    if isinstance(node, Mapping) and isinstance(node.get("type"), list | Mapping):
        return _type(node["type"], named)
    return node


def _named(node: Any) -> dict[str, Any]:
    """The named types in a schema by their names without namespace."""
    found: dict[str, Any] = {}
    if isinstance(node, list):
        for branch in node:
            found |= _named(branch)
    elif isinstance(node, Mapping):
        if "name" in node and node.get("type") in ("record", "enum", "fixed"):
            found[str(node["name"]).rpartition(".")[2]] = node
        for part in (node.get("fields"), node.get("items"), node.get("values"), node.get("type")):
            found |= _named(part)
    return found


def _label(node: Any) -> str:
    """A type for a message."""
    if isinstance(node, list):
        return " or ".join(_label(branch) for branch in node)
    return str(node["type"]) if isinstance(node, Mapping) else str(node)


# --- our own ---------------------------------------------------------------------------------------------------------

_FLAT: Final = ("string", "int", "long", "boolean", "double", "float", "bytes")
_FORBIDDEN: Final = ("time-millis", "time-micros", "duration")


def not_flat(schema: Mapping[str, Any]) -> list[Break]:
    """What an output's schema has that some reader of tables cannot take: nesting, arrays, unions, times of day."""
    found = []
    for field in schema["fields"]:
        kind = field["type"]
        branches = [branch for branch in kind if branch != "null"] if isinstance(kind, list) else [kind]
        inner = branches[0] if len(branches) == 1 else kind
        primitive = inner.get("type") if isinstance(inner, Mapping) else inner
        logical = inner.get("logicalType") if isinstance(inner, Mapping) else None
        if not isinstance(primitive, str) or primitive not in _FLAT or logical in _FORBIDDEN:
            found.append(Break(str(field["name"]), "a primitive or its union with null", str(logical or _label(inner)),
                               "outputs are flat"))
    return found

