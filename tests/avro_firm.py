"""A Debezium connector that writes Avro, for tests: its schemas as Connect's AvroConverter makes them, and records."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import fastavro

from tieout.codecs.avro import without_logical
from tieout.codecs.framing import frame
from tieout.codecs.schema_source import GivenSchemas, Registered

Field = Mapping[str, Any]
COMMIT_MS = 1_773_164_531_000
LSN = 200


def semantic(kind: str, name: str, **more: Any) -> dict[str, Any]:
    """A type with a Connect name: ('int', 'io.debezium.time.Date')."""
    return {"type": kind, "connect.version": 1, "connect.name": name, **more}


def precise(scale: int, precision: int = 18) -> dict[str, Any]:
    """A decimal as decimal.handling.mode=precise writes it."""
    return semantic("bytes", "org.apache.kafka.connect.data.Decimal", scale=scale, precision=precision,
                    logicalType="decimal",
                    **{"connect.parameters": {"scale": str(scale), "connect.decimal.precision": str(precision)}})


DATE = semantic("int", "io.debezium.time.Date")
MILLIS = semantic("long", "io.debezium.time.Timestamp")
MICROS = semantic("long", "io.debezium.time.MicroTimestamp")
ZONED = semantic("string", "io.debezium.time.ZonedTimestamp")
VARIABLE = {"type": "record", "name": "VariableScaleDecimal", "namespace": "io.debezium.data",
            "connect.name": "io.debezium.data.VariableScaleDecimal",
            "fields": [{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}]}
COLUMN_KINDS: dict[str, Any] = {  # one column of each encoding that a table of rates can have
    "code": "string", "price": precise(2), "cost": VARIABLE, "day": DATE, "at": MILLIS, "zoned": ZONED,
    "tags": {"type": "array", "items": ["null", "string"]}, "raw": "bytes", "flag": "boolean", "share": "double",
}


def column(name: str, kind: Any, *, null: bool = True, aliases: Sequence[str] = ()) -> dict[str, Any]:
    """A column, nullable unless said otherwise."""
    field: dict[str, Any] = {"name": name, "type": ["null", kind], "default": None} if null else {
        "name": name, "type": kind}
    return {**field, "aliases": list(aliases)} if aliases else field


SOURCE_FIELDS = [
    {"name": "version", "type": "string"}, {"name": "connector", "type": "string"}, {"name": "name", "type": "string"},
    {"name": "ts_ms", "type": "long"},
    {"name": "snapshot", "type": [semantic("string", "io.debezium.data.Enum"), "null"], "default": "false"},
    {"name": "db", "type": "string"}, {"name": "sequence", "type": ["null", "string"], "default": None},
    {"name": "schema", "type": "string"}, {"name": "table", "type": "string"},
    {"name": "lsn", "type": ["null", "long"], "default": None},
]
BLOCK = {"type": "record", "name": "block", "namespace": "event", "connect.version": 1, "connect.name": "event.block",
         "fields": [{"name": "id", "type": "string"}, {"name": "total_order", "type": "long"},
                    {"name": "data_collection_order", "type": "long"}]}


def envelope(columns: Sequence[Field], table: str = "public.project") -> dict[str, Any]:
    """The schema of an envelope: `before` defines the row, `after` names it, as Connect writes it."""
    space = f"psa.{table}"
    row = {"type": "record", "name": "Value", "fields": list(columns), "connect.name": f"{space}.Value"}
    source = {"type": "record", "name": "Source", "namespace": "io.debezium.connector.postgresql",
              "fields": SOURCE_FIELDS, "connect.name": "io.debezium.connector.postgresql.Source"}
    fields = [
        {"name": "before", "type": ["null", row], "default": None},
        {"name": "after", "type": ["null", "Value"], "default": None},
        {"name": "source", "type": source},
        {"name": "transaction", "type": ["null", BLOCK], "default": None},
        {"name": "op", "type": "string"}, {"name": "ts_ms", "type": ["null", "long"], "default": None},
    ]
    return {"type": "record", "name": "Envelope", "namespace": space, "fields": fields, "connect.version": 2,
            "connect.name": f"{space}.Envelope"}


def flat(columns: Sequence[Field], table: str = "public.project") -> dict[str, Any]:
    """The schema of a flattened row with the usual added fields."""
    added = [column("__deleted", "string"), column("__op", "string"), column("__table", "string"),
             column("__source_ts_ms", "long"), column("__lsn", "long")]
    return {"type": "record", "name": "Value", "namespace": f"psa.{table}", "fields": [*columns, *added]}


def key(columns: Sequence[Field], table: str = "public.project") -> dict[str, Any]:
    """The schema of a record key."""
    return {"type": "record", "name": "Key", "namespace": f"psa.{table}", "fields": list(columns),
            "connect.name": f"psa.{table}.Key"}


def source(**members: Any) -> dict[str, Any]:
    """A source block of PostgreSQL."""
    return {"version": "3.0.0.Final", "connector": "postgresql", "name": "psa", "ts_ms": COMMIT_MS, "snapshot": "false",
            "db": "psa", "sequence": '["100","200"]', "schema": "public", "table": "project", "lsn": LSN, **members}


def message(row: Mapping[str, Any] | None, op: str = "c", **block: Any) -> dict[str, Any]:
    """An envelope."""
    return {"before": None, "after": row, "source": source(**block), "transaction": None, "op": op,
            "ts_ms": COMMIT_MS + 420}


def written(schema: Any, value: Any, schema_id: int = 1) -> bytes:
    """A value in the wire format; decimals are given as their bytes, dates and instants as numbers."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(without_logical(schema)), value)
    return frame(schema_id, buffer.getvalue())


def schemas(*known: Any) -> GivenSchemas:
    """A source of schemas with ids from 1; each is the version behind those before it."""
    texts = [json.dumps(schema) for schema in known]
    return GivenSchemas({number: Registered(text, (), tuple(texts[: number - 1]))
                         for number, text in enumerate(texts, start=1)})
