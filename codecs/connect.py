"""What the schema of a message says about its columns: Kafka Connect's schemas, as JSON carries them.

`avro_schema.py` turns Avro schemas into the same form, so that both serialisations have one table of meanings.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tieout.codecs.columns import Decoder
from tieout.codecs.entity_map import EntityMap
from tieout.codecs.errors import BadValue, MissingColumn, SchemaChanged, SchemaUnknown, WrongShape, shown
from tieout.codecs.wire_types import (
    BYTES,
    FLOATS,
    INTEGERS,
    TEXT,
    WIRE_TYPES,
    WireType,
    decimal_type,
    double,
    integer,
    text,
)

Object = Mapping[str, Any]

DECIMAL: Final = "org.apache.kafka.connect.data.Decimal"
SEMANTIC: Final[Mapping[str, WireType]] = {
    "io.debezium.time.Date": WIRE_TYPES["date"],
    "io.debezium.time.Timestamp": WIRE_TYPES["timestamp"],
    "io.debezium.time.MicroTimestamp": WIRE_TYPES["micro_timestamp"],
    "io.debezium.time.NanoTimestamp": WIRE_TYPES["nano_timestamp"],
    "io.debezium.time.ZonedTimestamp": WIRE_TYPES["zoned_timestamp"],
    "io.debezium.time.Time": WIRE_TYPES["time"],
    "io.debezium.time.MicroTime": WIRE_TYPES["micro_time"],
    "io.debezium.time.NanoTime": WIRE_TYPES["nano_time"],
    "io.debezium.time.ZonedTime": WIRE_TYPES["zoned_time"],
    "io.debezium.time.MicroDuration": WIRE_TYPES["micro_duration"],
    "io.debezium.time.NanoDuration": WIRE_TYPES["nano_duration"],
    "io.debezium.time.Interval": WIRE_TYPES["interval"],
    "io.debezium.time.Year": WIRE_TYPES["year"],
    "io.debezium.time.IsoDate": WIRE_TYPES["iso_date"],
    "io.debezium.time.IsoTime": WIRE_TYPES["iso_time"],
    "io.debezium.time.IsoTimestamp": WIRE_TYPES["iso_timestamp"],
    "io.debezium.data.VariableScaleDecimal": WIRE_TYPES["variable_decimal"],
    "org.apache.kafka.connect.data.Date": WIRE_TYPES["date"],
    "org.apache.kafka.connect.data.Timestamp": WIRE_TYPES["timestamp"],
    "org.apache.kafka.connect.data.Time": WIRE_TYPES["time"],
    "avro.timestamp-millis": WIRE_TYPES["instant_ms"],
    "avro.timestamp-micros": WIRE_TYPES["instant_us"],
}


def _bool(value: Any) -> bool:
    """true or false."""
    if type(value) is bool:
        return value
    raise BadValue(f"found {shown(value)}, expected true or false")


def _bytes(value: Any) -> str:
    """Bytes as base64, in which JSON has them anyway."""
    return b64encode(value).decode() if type(value) is bytes else text(value)


def _plain(value: Any) -> Any:
    """A structure as JSON would have it."""
    if type(value) is bytes:
        return b64encode(value).decode()
    if type(value) is list:
        return [_plain(item) for item in value]
    if type(value) is dict:
        return {name: _plain(item) for name, item in value.items()}
    return value


def _primitives(names: frozenset[str], decode: Decoder) -> dict[str, WireType]:
    return {name: WireType(name, decode, bare=True) for name in names}


_PRIMITIVE: Final[Mapping[str, WireType]] = {
    **_primitives(INTEGERS, integer), **_primitives(TEXT, text), **_primitives(FLOATS, double),
    **_primitives(BYTES, _bytes), "boolean": WireType("boolean", _bool, bare=True),
}
_STRUCT: Final = WireType("struct", _plain, bare=True)


def column_type(field: Object) -> WireType:
    """The encoding of a column from its field in a Connect schema; other structures pass as they are."""
    name, kind = field.get("name"), field.get("type")
    if name == DECIMAL:
        return _decimal(field)
    semantic = SEMANTIC.get(name) if isinstance(name, str) else None
    if semantic is not None:
        return semantic
    if kind == "array" and isinstance(field.get("items"), Mapping):
        return _array(column_type(field["items"]))
    return _PRIMITIVE.get(kind, _STRUCT) if isinstance(kind, str) else _STRUCT


def _decimal(field: Object) -> WireType:
    """A decimal whose scale stands in the schema; without it the bytes mean nothing."""
    parameters = field.get("parameters")
    scale = parameters.get("scale") if isinstance(parameters, Mapping) else None
    try:
        return decimal_type(int(str(scale)))
    except ValueError:
        raise SchemaUnknown(f"{field.get('field')}: found scale {shown(scale)}, expected an integer") from None


def _array(item: WireType) -> WireType:
    """An array of one encoding; its items may be null."""

    def decode(value: Any) -> list[Any]:
        if type(value) is not list:
            raise BadValue(f"found {shown(value)}, expected a list")
        return [None if each is None else item(each) for each in value]

    return WireType(f"array of {item.name}", decode, bare=item.bare)


class Columns(NamedTuple):
    """What a message states about the columns of a row."""

    types: Mapping[str, WireType]
    aliases: Mapping[str, str] = {}  # former name -> name
    earlier: frozenset[str] = frozenset()  # columns of earlier versions of the schema

    def agreed(self, each: EntityMap) -> dict[str, WireType]:
        """The encodings of the columns that a map reads, under the names that it uses.

        SchemaChanged where the mapping pins another one, MissingColumn when an attribute lost its column.
        """
        found = {name: self._settled(name, self.types[name], each) for name in each.reads if name in self.types}
        for former, name in self.aliases.items():
            if former in each.reads and former not in found and name in self.types:
                found[former] = self._settled(former, self.types[name], each)
        lost = each.lost((self.earlier & each.reads).difference(found), found.keys())
        if lost is not None:
            raise MissingColumn(f"column {lost}: an earlier version of the schema has it, this one has neither it nor "
                                f"a column with that alias; found {', '.join(sorted(self.types)) or 'none'}")
        return found

    def of_key(self, each: EntityMap) -> dict[str, WireType]:
        """The encodings of the columns of a record key: all of them."""
        return {name: self._settled(name, stated, each) for name, stated in self.types.items()}

    def _settled(self, name: str, stated: WireType, each: EntityMap) -> WireType:
        """The encoding of a column: as stated, unless only the mapping knows what it means."""
        pinned = each.columns.get(name)
        if pinned is None:
            return stated
        if not pinned.agrees_with(stated):
            raise SchemaChanged(f"column {name}: found {stated.name} in the schema, the mapping pins {pinned.name}")
        return pinned if stated.bare else stated


class JsonSchema(NamedTuple):
    """The schema that a JSON message carries."""

    schema: Object

    def columns(self, *path: str) -> Columns:
        """The columns of the struct, or of the struct that is its member `path`."""
        struct = self.schema
        for name in path:
            struct = _member(struct, name)
        fields = struct.get("fields")
        if type(fields) is not list or not all(type(each) is dict for each in fields):
            raise WrongShape(f"schema: found fields {shown(fields)}, expected a list of objects")
        try:
            return Columns({str(each.get("field")): column_type(each) for each in fields})
        except RecursionError:
            raise WrongShape("schema: found arrays of arrays without end, expected the type of a column") from None


def _member(struct: Object, name: str) -> Object:
    """The schema of a member of a struct."""
    fields = struct.get("fields")
    for each in fields if type(fields) is list else ():
        if type(each) is dict and each.get("field") == name:
            return each
    raise WrongShape(f"schema: expected a field {name!r}")
