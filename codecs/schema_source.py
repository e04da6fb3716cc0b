"""Where the schemas of Avro records come from: a protocol, so that decoding needs no network.

`streams/registry.py` fetches them over HTTP or from files; tests use `GivenSchemas`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from tieout.codecs.errors import SchemaUnknown


class Registered(NamedTuple):
    """A schema as it was registered: its text, the texts that it refers to, and earlier versions of its subject."""

    text: str
    references: tuple[str, ...] = ()  # each before those that use it
    earlier: tuple[str, ...] = ()  # oldest first; the references are theirs too


class SchemaSource(Protocol):
    """Gives schemas by the id that stands in front of a record."""

    def schema(self, schema_id: int) -> Registered:
        """The schema; SchemaUnknown when there is none of that id, SchemasUnreachable when nobody answers now."""
        ...


@dataclass(frozen=True, slots=True)
class GivenSchemas:
    """Schemas that are at hand."""

    schemas: Mapping[int, Registered] = field(default_factory=dict)

    def schema(self, schema_id: int) -> Registered:
        """The schema of that id."""
        if schema_id in self.schemas:
            return self.schemas[schema_id]
        raise SchemaUnknown(f"schema id {schema_id}: not found")
