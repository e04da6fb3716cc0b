"""A compiled mapping: how the rows of a table become changes of an entity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from tieout.codecs.columns import Missing, Row, text_of
from tieout.codecs.errors import DecodeError, MappingError, MissingKey, nearest
from tieout.codecs.fields import Condition, Field, is_reference
from tieout.codecs.parts import Changed, Part, Parts
from tieout.codecs.wire_types import WireType
from tieout.reconcilers.entities import Entity

Asserted = dict[str, Any]


@dataclass(frozen=True, slots=True)
class EntityMap:
    """How rows of one table become changes of one entity."""

    entity: Entity
    fields: Mapping[str, Field]
    table: str | None = None
    subject: Field | None = None
    columns: Mapping[str, WireType] = field(default_factory=dict)
    skip: tuple[Condition, ...] = ()
    delete: tuple[Condition, ...] = ()
    reads: frozenset[str] = frozenset()
    gap: tuple[Condition, ...] = ()
    parts: Parts | None = None
    claims: bool = False  # adds to records that another map makes: its own deletes say nothing about them
    commit: Field | None = None  # where the row itself says when it was committed
    order: Field | None = None  # where the row itself carries its order token

    def parts_of(self, row: Row, changed: Changed = None) -> Sequence[Part]:
        """The rows of the records that a row holds: itself, unless the map takes it apart."""
        return (Part(row),) if self.parts is None else self.parts.of(row, changed)

    def parts_known(self, row: Row) -> Sequence[Part]:
        """Likewise where little more than the record's id is known: deletes and gaps. None where nobody can tell."""
        return (Part(row),) if self.parts is None else self.parts.all_of(row)

    def asserted(self, row: Row) -> Asserted:
        """The attributes that the row asserts; a DecodeError names the attribute."""
        return self._evaluate(self.fields, row)

    def identity(self, row: Row) -> Asserted:
        """The attributes of the business key that the columns of a record key give: what a delete can say."""
        known = {name: self.fields[name] for name in self.entity.key if self.fields[name].reads <= row.keys()}
        return self._evaluate(known, row)

    def _evaluate(self, fields: Mapping[str, Field], row: Row) -> Asserted:
        """The values of fields, without those that the row does not say."""
        found: Asserted = {}
        name = ""
        try:
            for name, each in fields.items():
                value = each.evaluate(row)
                if not isinstance(value, Missing):
                    found[name] = value
        except DecodeError as error:
            raise error.within(f"{self.entity.name}.{name}") from None
        return found

    def key_of(self, asserted: Mapping[str, Any], subject: str) -> str:
        """The business key; empty when a part is not there or is a reference that has to be resolved first."""
        if any(is_reference(asserted.get(name)) for name in self.entity.key):
            return ""
        return self.entity.business_key(asserted, subject) or ""

    def subject_of(self, row: Row, key: Row) -> str:
        """The record's id in its source, from its record key where that suffices; MissingKey when there is none."""
        if self.subject is not None:
            subject = self.subject.evaluate({**row, **key})
            if isinstance(subject, str) and subject:
                return subject
            needed = ", ".join(sorted(self.subject.reads))
            raise MissingKey(f"subject: expected columns {needed}, found {', '.join(sorted({**row, **key})) or 'none'}",
                             "a delete has only the record key: build the subject from its columns")
        if key:
            return ":".join(text_of(value) for value in key.values())
        raise MissingKey("found a record without key, expected the columns of a primary key",
                         "set message.key.columns in the connector, or subject in the mapping")

    def skipped(self, row: Row) -> str | None:
        """Why the row is not wanted, or None."""
        return next((condition.reason for condition in self.skip if condition(row)), None)

    def deleted(self, row: Row) -> bool:
        """True when the row is marked as deleted."""
        return any(condition(row) for condition in self.delete)

    def lost(self, gone: Set[str], present: Set[str]) -> str | None:
        """A column of `gone` without which the map can no longer say what it said, or None."""
        conditions = {condition.column for condition in (*self.skip, *self.delete)}
        for name in sorted(gone):
            if name in conditions or any(each.loses(name, present) for each in self.fields.values()):
                return name
        return None

    def unknown(self, row: Row) -> bool:
        """True when the row says that the record changed, but not what it is now."""
        return any(condition(row) for condition in self.gap)

    def says_nothing(self, asserted: Mapping[str, Any]) -> bool:
        """True when there is nothing in it but the business key and constants."""
        return all(name in self.entity.key or not self.fields[name].reads for name in asserted)


@dataclass(frozen=True, slots=True)
class TableMapping:
    """A mapping file: the maps of one product."""

    name: str
    version: int
    maps: tuple[EntityMap, ...]

    def only(self, entity: str | None) -> TableMapping:
        """The mapping with the maps of one entity; of all where None. MappingError when it has none."""
        if entity is None:
            return self
        maps = tuple(each for each in self.maps if each.entity.name == entity)
        if not maps:
            known = [each.entity.name for each in self.maps]
            raise MappingError([f"{self.name}: found entity {entity!r}, expected one of {', '.join(known)}"
                                f"{nearest(entity, known)}"])
        return TableMapping(self.name, self.version, maps)

    def for_table(self, names: Sequence[str]) -> tuple[EntityMap, ...]:
        """The maps for a table, given its name alone and qualified."""
        return tuple(each for each in self.maps if each.table is None or each.table in names)
