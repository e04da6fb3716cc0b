"""The JSON Schema of mapping files, for completion and checks in an editor; made of what the reader itself knows."""

from __future__ import annotations

from typing import Any, Final

from tieout.codecs.converters import CONVERTERS
from tieout.codecs.mapping_fields import CONDITION_KEYS, STATES
from tieout.codecs.mapping_parts import EMPTY
from tieout.codecs.wire_types import WIRE_TYPES
from tieout.reconcilers.entities import SOURCED, SYSTEMS, Entity

Json = dict[str, Any]

_DRAFT: Final = "http://json-schema.org/draft-07/schema#"
_PARAMS: Final[dict[str, Json]] = {
    "prefixes": {"type": "object", "additionalProperties": {"type": "string"},
                 "description": "prefix: what stands in front, and what stands there instead."},
    "separator": {"type": "string", "description": "split, part, after: what separates."},
    "at": {"type": "integer", "description": "part: which one, from 0; -1 is the last."},
    "zone": {"type": "string", "description": "local_time: the IANA zone that is meant."},
    "zone_from": {"type": "string", "description": "local_time: the column that names the zone."},
    "ccy": {"type": "string", "pattern": "^[A-Z]{3}$", "description": "rate, money: the currency, ISO 4217."},
    "ccy_from": {"type": "string", "description": "rate, money: the column of the currency."},
    "minor": {"type": "boolean", "description": "rate, money: the column is in minor units (cents)."},
    "unit": {"enum": ["HOUR", "DAY", "MONTH", "FIXED"], "description": "rate: what it is the price of."},
    "day_s": {"type": "integer", "minimum": 1, "description": "rate: seconds of a day, 28800."},
    "allow_double": {"type": "boolean", "description": "Accept floating-point columns, by their shortest decimal."},
}
_SCALAR: Final[Json] = {"type": ["string", "integer", "number", "boolean"]}


def schema() -> Json:
    """The schema as a JSON document (draft 7)."""
    return {
        "$schema": _DRAFT,
        "title": "A mapping of tieout: how rows of a source become canonical entities",
        **_object({
            "name": {"type": "string", "description": "The product whose tables these are."},
            "version": {"type": "integer", "description": "Raised when the file says something else than before."},
            "map": {"type": "array", "minItems": 1, "items": {"$ref": "#/definitions/map"}},
        }, ["name", "version", "map"]),
        "definitions": {
            "map": _map(), "field": _field(), "condition": _condition(), "days": _days(), "repeat": _repeat(),
            **{f"fields_{name}": _fields(entity) for name, entity in SOURCED.items()},
        },
    }


def _object(properties: Json, required: list[str]) -> Json:
    """A table with exactly these keys."""
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _conditions(description: str) -> Json:
    """A list of conditions."""
    return {"type": "array", "items": {"$ref": "#/definitions/condition"}, "description": description}


def _map() -> Json:
    """One [[map]]; which fields it may have depends on its entity."""
    wire = [{"enum": list(WIRE_TYPES)}, {"type": "string", "pattern": r"^decimal\(\d+\)$"}]
    return {
        **_object({
            "entity": {"enum": list(SOURCED), "description": "The canonical entity that the rows become."},
            "table": {"type": "string", "description": "Only rows of this table, object or type of event."},
            "subject": {"type": "string", "description": "The record's id in its source, like '{id}'."},
            "skip": _conditions("Rows that are not wanted: any of these holds."),
            "delete": _conditions("Rows that are marked as deleted."),
            "gap": _conditions("Rows that say that the record changed, not what it is now."),
            "claims": {"type": "boolean", "description": "Adds to records of another map; its deletes are theirs not."},
            "commit": {"$ref": "#/definitions/field", "description": "Where the row says when it was committed."},
            "order": {"type": "string", "description": "The column of its order token."},
            "days": {"$ref": "#/definitions/days"},
            "each": {"type": "string", "description": "A list in the row: each member is a record."},
            "repeat": {"$ref": "#/definitions/repeat"},
            "columns": {"type": "object", "additionalProperties": {"anyOf": wire},
                        "description": "Wire types of columns, where messages carry no schema."},
            "fields": {"type": "object", "description": "Attributes, and where they come from."},
        }, ["entity", "fields"]),
        "allOf": [
            {"if": {"properties": {"entity": {"const": name}}},
             "then": {"properties": {"fields": {"$ref": f"#/definitions/fields_{name}"}}}}
            for name in SOURCED
        ],
    }


def _fields(entity: Entity) -> Json:
    """The attributes of an entity; those of its key must be there."""
    attributes = {}
    for name, attribute in entity.attributes.items():
        members = f": {', '.join(attribute.members)}" if attribute.members else ""
        attributes[name] = {"$ref": "#/definitions/field", "description": f"{attribute.kind.value}{members}"}
    return _object(attributes, list(entity.key))


def _field() -> Json:
    """Where a value comes from: a column, or a table with one source."""
    when = _conditions("Only where all of these hold; elsewhere the attribute is not asserted.")
    converter = {"enum": list(CONVERTERS)}
    reference = _object({"entity": {"enum": list(SOURCED)}, "system": {"enum": list(SYSTEMS)}}, ["entity"])
    from_column = _object({
        "from": {"type": "string", "description": "The column."},
        "as": {"anyOf": [converter, {"type": "array", "items": converter}], "description": "Converters, in order."},
        "enum": {"type": "object", "additionalProperties": _SCALAR, "description": "Values by the column's text."},
        "otherwise": {**_SCALAR, "description": "The value of what is not in enum."},
        "ref": {**reference, "description": "The column holds the id of a record."},
        "required": {"type": "boolean", "description": "A row without the column is refused."},
        "null_if": {"type": "array", "description": "Texts that stand for nothing."},
        "when": when, **_PARAMS,
    }, ["from"])
    alternatives = {"type": "array", "items": {"$ref": "#/definitions/field"},
                    "description": "The first that has a value."}
    return {"anyOf": [
        {"type": "string", "description": "The column."},
        from_column,
        _object({"const": {"description": "The same for every row."}, "when": when}, ["const"]),
        _object({"null": {"const": True, "description": "Asserted null."}, "when": when}, ["null"]),
        _object({"template": {"type": "string", "description": "Text with {columns}."}, "when": when}, ["template"]),
        _object({"first_of": alternatives, "when": when}, ["first_of"]),
    ]}


def _condition() -> Json:
    """A test of one column."""
    tests = {"is": {"enum": list(STATES)}, "in": {"type": "array"}, "not_in": {"type": "array"}}
    keys = {"column": {"type": "string"}, **tests, "reason": {"type": "string", "description": "Its name in counts."}}
    return {**_object({key: keys[key] for key in CONDITION_KEYS}, ["column"]),
            "oneOf": [{"required": [test]} for test in tests]}


def _days() -> Json:
    """A weekly row."""
    return {"description": "A weekly row: each day is a record, with day.date, day.no and day.hours.", **_object({
        "start": {"type": "string", "description": "The column of its first day."},
        "hours": {"type": "array", "items": {"type": "string"}, "minItems": 7, "maxItems": 7,
                  "description": "The columns of hours, Monday first."},
        "empty": {"enum": list(EMPTY), "description": "What a day without hours is: deleted, or none of ours."},
    }, ["start", "hours"])}


def _repeat() -> Json:
    """A series."""
    columns = {name: {"type": "string", "description": text} for name, text in {
        "start": "The column of the first day.", "end": "The column of the last day of one occurrence.",
        "until": "The column of the last day of the series.", "state": "The column that says how it repeats.",
    }.items()}
    step = {"type": "string", "pattern": r"^(never|\d+ (day|week|month)s?)$"}
    every = {"type": "object", "additionalProperties": step, "description": "How far apart, by the text of state."}
    return {"description": "A series: each occurrence is a record, with repeat.start, repeat.end and repeat.no.",
            **_object({**columns, "every": every}, [*columns, "every"])}
