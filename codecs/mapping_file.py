"""From the TOML of a mapping to its compiled form, with every problem in one go.

Nothing here raises on the first mistake: each reader notes its problems and goes on with what is sound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tieout.codecs.entity_map import EntityMap, TableMapping
from tieout.codecs.errors import MappingError, nearest
from tieout.codecs.fields import Field, column
from tieout.codecs.mapping_fields import read_conditions, read_field, read_template
from tieout.codecs.mapping_parts import PARTS, read_parts
from tieout.codecs.order import order_text
from tieout.codecs.problems import Problems
from tieout.codecs.wire_types import WIRE_TYPES, WireType, wire_type
from tieout.reconcilers.entities import SOURCED, Attribute, Entity, Kind

MAP_KEYS: Final = ("entity", "table", "subject", "skip", "delete", "gap", "claims", "commit", "order", *PARTS,
                   "columns", "fields")
_COMMIT: Final = Attribute(Kind.INSTANT)


def read_mapping(document: Mapping[str, Any], file: str) -> TableMapping:
    """The compiled mapping; MappingError lists every problem."""
    problems = Problems(file)
    problems.unknown("", document, ("name", "version", "map"))
    name = problems.typed("name", document.get("name"), str, file)
    version = problems.typed("version", document.get("version"), int, 0)
    tables = problems.typed("map", document.get("map"), list, [])
    maps = [_entity_map(table, f"map[{index}]", problems) for index, table in enumerate(tables)]
    if not tables:
        problems.add("map", "expected at least one [[map]]")
    if problems.found:
        raise MappingError(problems.found)
    return TableMapping(name, version, tuple(each for each in maps if each is not None))


def _entity_map(table: Any, place: str, problems: Problems) -> EntityMap | None:
    """One [[map]]; None when its entity is not known."""
    table = problems.typed(place, table, dict, {})
    problems.unknown(place, table, MAP_KEYS)
    entity = SOURCED.get(str(table.get("entity")))
    if entity is None:
        problems.add(f"{place}.entity", f"found {table.get('entity')!r}, no such entity"
                                        f"{nearest(str(table.get('entity')), list(SOURCED))}")
        return None
    fields = _fields(table, entity, place, problems)
    subject = read_template(table["subject"], f"{place}.subject", problems) if "subject" in table else None
    skip, delete, gap = (read_conditions(table, key, place, problems) for key in ("skip", "delete", "gap"))
    commit = read_field(table["commit"], _COMMIT, f"{place}.commit", problems) if "commit" in table else None
    order = _order(table["order"], f"{place}.order", problems) if "order" in table else None
    parts = read_parts(table, place, problems)
    reads = [frozenset((condition.column,)) for condition in skip + delete + gap]
    reads += [field.reads for field in (*fields.values(), subject, commit, order) if field is not None]
    reads.append(parts.reads if parts else frozenset())
    name = problems.typed(f"{place}.table", table["table"], str, None) if "table" in table else None
    claims = problems.typed(f"{place}.claims", table.get("claims", False), bool, False)
    return EntityMap(entity, fields, name, subject, _columns(table, place, problems), skip, delete,
                     frozenset().union(*reads), gap, parts, claims, commit, order)


def _order(name: Any, place: str, problems: Problems) -> Field:
    """The column that carries the order token: text that sorts, or a number."""
    return column(problems.typed(place, name, str, ""), [order_text])


def _columns(table: Mapping[str, Any], place: str, problems: Problems) -> dict[str, WireType]:
    """The wire types of columns."""
    found: dict[str, WireType] = {}
    for name, kind in problems.typed(f"{place}.columns", table.get("columns", {}), dict, {}).items():
        decoder = wire_type(kind) if isinstance(kind, str) else None
        if decoder is None:
            known = [*WIRE_TYPES, "decimal(2)"]
            problems.add(f"{place}.columns.{name}", f"found {kind!r}, expected one of {', '.join(known)}"
                                                    f"{nearest(str(kind), known)}")
        else:
            found[name] = decoder
    return found


def _fields(table: Mapping[str, Any], entity: Entity, place: str, problems: Problems) -> dict[str, Field]:
    """The fields of a map: known attributes, the business key among them."""
    specs = problems.typed(f"{place}.fields", table.get("fields"), dict, {})
    problems.unknown(f"{place}.fields", specs, list(entity.attributes))
    for name in entity.key:
        if name not in specs:
            problems.add(f"{place}.fields", f"expected {name}, part of the business key of {entity.name}")
    read = {name: read_field(spec, entity.attributes[name], f"{place}.fields.{name}", problems)
            for name, spec in specs.items() if name in entity.attributes}
    return {name: field for name, field in read.items() if field is not None}
