"""From the bytes of a key or value to its members and to what it states about their types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from tieout.codecs.avro_schema import WriterSchema
from tieout.codecs.connect import Columns, JsonSchema
from tieout.codecs.errors import BadFraming, DecodeError, WrongShape, shown
from tieout.codecs.framing import HEADER_BYTES, unframe
from tieout.codecs.json_text import load_object
from tieout.codecs.records import RawRecord
from tieout.codecs.schema_source import SchemaSource

Object = Mapping[str, Any]

_FRAMED: Final = b"\x00"


class Stated(Protocol):
    """The schema of a message."""

    def columns(self, *path: str) -> Columns:
        """The columns of the message, or of its member `path`; a DecodeError when it has no such struct."""
        ...


class Opened(NamedTuple):
    """A key or value: its members, and its schema where it has one."""

    members: Object
    schema: Stated | None = None


class Opener(Protocol):
    """Opens keys and values of one serialisation; raises DecodeError."""

    def value(self, data: bytes) -> Opened:
        """An opened value."""
        ...

    def key(self, data: bytes) -> Opened:
        """An opened key."""
        ...


@dataclass(frozen=True, slots=True)
class JsonOpener:
    """JSON, each message with its schema or none; `format` is what the source's format is called with and without."""

    with_schema: bool
    format: str = "debezium-json"

    def value(self, data: bytes) -> Opened:
        """The payload of a message and its schema."""
        return self._open(data, "value")

    def key(self, data: bytes) -> Opened:
        """The same for a key."""
        return self._open(data, "key")

    def _open(self, data: bytes, what: str) -> Opened:
        message = load_object(data)
        wrapped = is_wrapped(message)
        if wrapped is not self.with_schema:
            found, other = ("schema and payload", "-schema") if wrapped else ("no schema and payload", "")
            raise WrongShape(f"{what}: found {found}", f"set format = \"{self.format}{other}\" for this source")
        return unwrapped(message, what) if wrapped else Opened(message)


@dataclass(slots=True)
class AvroOpener:
    """Avro in Confluent's wire format; schemas are kept once they are known."""

    source: SchemaSource
    known: dict[int, WriterSchema] = field(default_factory=dict)

    def value(self, data: bytes) -> Opened:
        """A record, and the schema that wrote it."""
        framed = unframe(data)
        schema = self.schema(framed.schema_id)
        members = schema.read(framed.payload)
        if type(members) is not dict:
            raise WrongShape(f"found {shown(members)}, expected a record")
        return Opened(members, schema)

    def key(self, data: bytes) -> Opened:
        """The same; keys of another converter are JSON."""
        return self.value(data) if is_framed(data) else _json_key(data)

    def schema(self, schema_id: int) -> WriterSchema:
        """The schema of an id; SchemaUnknown, or SchemasUnreachable."""
        if schema_id not in self.known:
            self.known[schema_id] = WriterSchema(self.source.schema(schema_id), f"schema {schema_id}")
        return self.known[schema_id]

    def prepare(self, raw: RawRecord) -> None:
        """Fetch what `raw` needs, so that reading it needs nobody; only SchemasUnreachable is raised."""
        for data in (raw.key, raw.value):
            if data is not None and is_framed(data):
                try:
                    self.schema(unframe(data).schema_id)
                except DecodeError:
                    continue  # reading the record will say so


@dataclass(frozen=True, slots=True)
class AnyOpener:
    """Whatever the bytes look like: Avro in the wire format, JSON with its schema, plain JSON."""

    avro: AvroOpener | None = None

    def value(self, data: bytes) -> Opened:
        """An opened value."""
        return self._open(data, "value")

    def key(self, data: bytes) -> Opened:
        """An opened key."""
        return self._open(data, "key")

    def _open(self, data: bytes, what: str) -> Opened:
        if is_framed(data):
            if self.avro is None:
                raise BadFraming("found Avro in the wire format, but no schemas to read it with",
                                 "set url or folder in [registry]")
            return self.avro.value(data)
        message = load_object(data)
        return unwrapped(message, what) if is_wrapped(message) else Opened(message)

    def prepare(self, raw: RawRecord) -> None:
        """Fetch what `raw` needs; only SchemasUnreachable is raised."""
        if self.avro is not None:
            self.avro.prepare(raw)


def is_framed(data: bytes) -> bool:
    """Whether bytes look like Confluent's wire format; no JSON begins with a zero byte."""
    return data[:1] == _FRAMED and len(data) >= HEADER_BYTES


def is_wrapped(message: Object) -> bool:
    """Whether a message is a payload with its schema."""
    return "schema" in message and "payload" in message and len(message) == 2


def unwrapped(message: Object, what: str) -> Opened:
    """The payload and its schema."""
    payload, schema = message["payload"], message["schema"]
    if type(payload) is not dict or type(schema) is not dict:
        raise WrongShape(f"{what}: found payload {shown(payload)}, expected an object with its schema")
    return Opened(payload, JsonSchema(schema))


def _json_key(data: bytes) -> Opened:
    """A key in JSON, alone or with its schema."""
    message = load_object(data)
    return unwrapped(message, "key") if is_wrapped(message) else Opened(message)
