"""Schemas that wrote Avro records: reading payloads with them, and what they say about columns.

A payload is read with the schema that wrote it, so that no bit is lost on the way; what the mapping expects is then
held against it by name: a column that a later version renamed is found by its alias, one whose number became wider
stays a whole number, one that is new is not asserted by older records.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import fastavro

from tieout.codecs.avro import without_logical
from tieout.codecs.connect import DECIMAL, Columns, column_type
from tieout.codecs.errors import BadAvro, SchemaUnknown, shown
from tieout.codecs.schema_source import Registered

Object = Mapping[str, Any]

_PRIMITIVES: Final = frozenset(("null", "boolean", "int", "long", "float", "double", "bytes", "string"))
_LOGICAL: Final = {  # what Avro's own logical types mean where no connector says more
    "date": "org.apache.kafka.connect.data.Date",
    "time-millis": "org.apache.kafka.connect.data.Time",
    "time-micros": "io.debezium.time.MicroTime",
    "timestamp-millis": "avro.timestamp-millis",
    "timestamp-micros": "avro.timestamp-micros",
    "local-timestamp-millis": "io.debezium.time.Timestamp",
    "local-timestamp-micros": "io.debezium.time.MicroTimestamp",
}


class WriterSchema:
    """A schema that wrote records; SchemaUnknown when it is none."""

    def __init__(self, registered: Registered, name: str = "schema") -> None:
        """`name` stands in messages."""
        self._name = name
        self._node = self._loaded(registered.text)
        self._named: dict[str, Object] = {}
        named: dict[str, Any] = {}
        try:
            for text in registered.references:
                fastavro.parse_schema(without_logical(json.loads(text)), named_schemas=named)
                self._learn(json.loads(text), "")
            self._parsed = fastavro.parse_schema(without_logical(self._node), named_schemas=named)
            self._learn(self._node, "")
            trouble = unbounded(self._parsed, named)
        except Exception as error:  # fastavro raises whatever its compiled code runs into
            raise SchemaUnknown(f"{name}: found {shown(registered.text)}: {type(error).__name__} {error}") from None
        if trouble is not None:
            raise SchemaUnknown(f"{name}: {trouble}, which no row of a table does")
        self._earlier = registered.earlier
        self._references = registered.references
        self._columns: dict[tuple[str, ...], Columns] = {}

    def read(self, payload: bytes) -> Any:
        """What a payload holds, bytes and numbers as they are; BadAvro when it is cut or has bytes left over."""
        stream = io.BytesIO(payload)
        try:
            value = fastavro.schemaless_reader(stream, self._parsed, None)
        except Exception as error:  # as above
            raise BadAvro(f"found {shown(payload[:16])} of {len(payload)} bytes, written with {self._name}: "
                          f"{type(error).__name__} {error}") from None
        if left := len(payload) - stream.tell():
            raise BadAvro(f"found {left} bytes behind the record, expected none")
        return value

    def columns(self, *path: str) -> Columns:
        """The columns of the record, or of the record that is its field `path`; SchemaUnknown when there is none."""
        if path not in self._columns:
            own = self._fields(path)
            types = {str(field["name"]): self.type_of(field) for field in own}
            aliases = {former: str(field["name"]) for field in own for former in _aliases(field)}
            self._columns[path] = Columns(types, aliases, frozenset(self._earlier_columns(path)))
        return self._columns[path]

    def type_of(self, field: Object) -> Any:
        """The encoding of a field."""
        return column_type({**self._connect(field.get("type")), "field": field.get("name")})

    def fields(self, *path: str) -> list[Object]:
        """The fields of the record, or of the record that is its field `path`, as the schema has them."""
        return self._fields(path)

    def _earlier_columns(self, path: tuple[str, ...]) -> Iterator[str]:
        """The names of columns in earlier versions; what is no record, or has no such field, has none."""
        for text in self._earlier:
            try:
                before = WriterSchema(Registered(text, self._references))
                yield from (str(field["name"]) for field in before.fields(*path))
            except SchemaUnknown:
                continue

    def _loaded(self, text: str) -> Any:
        """The schema's JSON; a bare name stands for a primitive."""
        try:
            return json.loads(text)
        except (ValueError, TypeError, RecursionError):
            raise SchemaUnknown(f"{self._name}: found {shown(text)}, expected an Avro schema in JSON") from None

    def _fields(self, path: tuple[str, ...]) -> list[Object]:
        record = self._resolved(self._node)
        for name in path:
            inner = next((field for field in _field_list(record) if field["name"] == name), None)
            if inner is None:
                raise SchemaUnknown(f"{self._name}: expected a field {name!r} in {shown(record.get('name'))}")
            record = self._resolved(inner["type"])
        if record.get("type") != "record":
            raise SchemaUnknown(f"{self._name}: found {shown(record.get('type'))}, expected a record")
        return _field_list(record)

    def _resolved(self, node: Any) -> Object:
        """A type without its union with null, names replaced by what they name."""
        if isinstance(node, list):
            rest = [branch for branch in node if branch != "null"]
            node = rest[0] if len(rest) == 1 else {"type": "union"}
        if isinstance(node, str):
            node = self._named.get(node) or {"type": node}
        if isinstance(node, Mapping) and not isinstance(node.get("type"), str):
            return self._resolved(node.get("type"))
        if isinstance(node, Mapping) and node["type"] not in _PRIMITIVES and node["type"] in self._named:
            return self._named[node["type"]]
        return node if isinstance(node, Mapping) else {"type": "null"}

    def _connect(self, node: Any) -> Object:
        """A type as a field of a Connect schema."""
        found = self._resolved(node)
        kind, logical = found["type"], found.get("logicalType")
        name = found.get("connect.name") or (
            f"{found.get('namespace', '')}.{found.get('name', '')}" if kind == "record" else _LOGICAL.get(str(logical)))
        parameters = found.get("connect.parameters") or {}
        if logical == "decimal" or name == DECIMAL:
            name, parameters = DECIMAL, {"scale": found.get("scale", parameters.get("scale", 0)), **parameters}
        field: dict[str, Any] = {"type": _KINDS.get(kind, kind), "name": name, "parameters": parameters}
        if kind == "array":
            field["items"] = self._connect(found.get("items"))
        return field

    def _learn(self, node: Any, namespace: str) -> None:
        """Note the named types of a schema under their full and, inside their namespace, their short names."""
        if isinstance(node, list):
            for branch in node:
                self._learn(branch, namespace)
        elif isinstance(node, Mapping):
            kind = node.get("type")
            if kind in ("record", "enum", "fixed"):
                space, _, short = f"{node.get('namespace', namespace)}.{node['name']}".rpartition(".")
                full = str(node["name"]) if "." in str(node["name"]) else f"{space}.{short}".lstrip(".")
                self._named[full] = node
                self._named.setdefault(short, node)
                namespace = full.rpartition(".")[0]
            for part in (node.get("fields"), node.get("items"), node.get("values"), kind):
                self._learn(part, namespace)


_KINDS: Final = {"record": "struct", "enum": "string", "int": "int32", "long": "int64"}


def _field_list(record: Object) -> list[Object]:
    """The fields of a record type; of any other none."""
    fields = record.get("fields")
    return [field for field in fields if isinstance(field, Mapping)] if isinstance(fields, list) else []


def _aliases(field: Object) -> list[str]:
    """The former names of a field."""
    found = field.get("aliases")
    return [str(name) for name in found] if isinstance(found, list) else []


def unbounded(parsed: Any, named: Mapping[str, Any]) -> str | None:
    """Why values of a parsed schema may be larger than any payload, or None.

    A record in itself takes a level of the reader's stack for each byte, or for none; items without bytes cost nothing
    to claim. Neither ends in an exception that could be caught: the process dies.
    """
    return _Bounds(named).of(parsed, ())


class _Bounds:
    """Walks a parsed schema, in which names are full; every named type once."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named = named
        self._sound: set[str] = set()

    def of(self, node: Any, inside: tuple[str, ...]) -> str | None:
        """What is wrong with a type that stands in the named types `inside`."""
        if isinstance(node, str):
            return self._by_name(node, inside) if node in self._named else None
        if isinstance(node, list):
            return next((found for branch in node if (found := self.of(branch, inside))), None)
        kind = node["type"]
        if kind in ("record", "error"):
            return self._record(node, inside)
        if kind == "array" and self._weightless(node["items"]):
            return "an array has items that take no bytes"
        below = node["items"] if kind == "array" else node["values"] if kind == "map" else kind
        return self.of(below, inside) if isinstance(below, str | list | Mapping) else None

    def _by_name(self, name: str, inside: tuple[str, ...]) -> str | None:
        if name in inside:
            return f"{name} holds itself"
        return None if name in self._sound else self.of(self._named[name], inside)

    def _record(self, node: Any, inside: tuple[str, ...]) -> str | None:
        name = str(node["name"])
        if name in self._sound:
            return None
        for field in node["fields"]:
            if found := self.of(field["type"], (*inside, name)):
                return found
        self._sound.add(name)
        return None

    def _weightless(self, node: Any, inside: tuple[str, ...] = ()) -> bool:
        """Whether a value takes no bytes; a record in itself is reported elsewhere."""
        if isinstance(node, str):
            known = self._named.get(node)
            return node == "null" if known is None or node in inside else self._weightless(known, (*inside, node))
        if isinstance(node, list):
            return False
        if node["type"] in ("record", "error"):
            return all(self._weightless(field["type"], (*inside, str(node["name"]))) for field in node["fields"])
        return bool(node["type"] == "null" or (node["type"] == "fixed" and node["size"] == 0))
