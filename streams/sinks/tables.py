"""The internal tables of the store: which output fills which table, and their columns in DuckDB and in Polars.

No table has a primary key or an index: an upsert is DELETE … WHERE key IN (stage) and INSERT, which stays fast and
survives a crash. `key` is the md5 of the record's key as UUID, so that DuckDB can skip row groups by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from tieout.reconcilers.outcomes import Output
from tieout.schemas import avsc

SCHEMA_VERSION: Final = "2"
MIGRATED: Final = frozenset({"1"})  # older ones that differ by columns and tables that are missing, no more

_DUCKDB: Final = {
    "string": "VARCHAR", "int": "INTEGER", "long": "BIGINT", "boolean": "BOOLEAN", "bytes": "BLOB",
    "date": "DATE", "timestamp-micros": "TIMESTAMP",
}
_POLARS: Final[Mapping[str, pl.DataType]] = {
    "string": pl.String(), "int": pl.Int32(), "long": pl.Int64(), "boolean": pl.Boolean(), "bytes": pl.Binary(),
    "date": pl.Date(), "timestamp-micros": pl.Datetime("us"),
}
_PHYSICAL: Final[Mapping[str, pl.DataType]] = {**_POLARS, "date": pl.Int32(), "timestamp-micros": pl.Int64()}


@dataclass(frozen=True, slots=True)
class Table:
    """One internal table. `columns` maps a column to its Avro type, logical types by their name."""

    name: str
    columns: Mapping[str, str]

    @property
    def identity(self) -> str | None:
        """The column that identifies a row, None where the record's key does: events of one subject share that key."""
        return "event_id" if "event_id" in self.columns else None

    def duckdb_columns(self) -> str:
        """The column list of CREATE TABLE, `key` first."""
        return ", ".join(["key UUID", *(f'"{name}" {_DUCKDB[kind]}' for name, kind in self.columns.items())])

    def duckdb_types(self) -> dict[str, str]:
        """Types in DuckDB by column."""
        return {name: _DUCKDB[kind] for name, kind in self.columns.items()}

    def polars_schema(self) -> dict[str, pl.DataType]:
        """Columns as DuckDB gets them."""
        return {name: _POLARS[kind] for name, kind in self.columns.items()}

    def physical_schema(self) -> dict[str, pl.DataType]:
        """Columns as rows carry them: dates as int days, instants as int microseconds."""
        return {name: _PHYSICAL[kind] for name, kind in self.columns.items()}

    def frame(self, rows: list[Mapping[str, Any]]) -> pl.DataFrame:
        """Rows with ints for dates and instants as a frame; attributes that are no column are left out."""
        data = {name: [row.get(name) for row in rows] for name in self.columns}
        return pl.DataFrame(data, schema=self.physical_schema()).cast(self.polars_schema())  # type: ignore[arg-type]


def _kind(avro_type: Any) -> str:
    """'string', 'long', 'date' … of an Avro type, its union with null taken off."""
    if isinstance(avro_type, list):
        (avro_type,) = (branch for branch in avro_type if branch != "null")
    if isinstance(avro_type, dict):
        return str(avro_type.get("logicalType", avro_type["type"]))
    return str(avro_type)


def _of_output(name: str, output: Output) -> Table:
    return Table(name, {field["name"]: _kind(field["type"]) for field in avsc(output.value)["fields"]})


def _letters(name: str, **more: str) -> Table:
    """A table of records that were put aside: where they came from, why, and their bytes."""
    return Table(name, {
        "topic": "string", "partition": "int", "offset": "long", "ts": "timestamp-micros", "source": "string",
        "object": "string", "reason": "string", "hint": "string", "payload": "bytes", **more,
    })


OUTPUT_TABLES: Final[Mapping[Output, Table]] = {
    Output.FINDING_STATE: _of_output("finding", Output.FINDING_STATE),
    Output.FINDING_EVENTS: _of_output("finding_event", Output.FINDING_EVENTS),
    Output.TIME_ENTRY_STATE: _of_output("time_entry", Output.TIME_ENTRY_STATE),
    Output.BILLING_DECISION: _of_output("billing_decision", Output.BILLING_DECISION),
    Output.KPI_STATE: _of_output("kpi_cell", Output.KPI_STATE),
    Output.SOURCE_STATE: _of_output("source", Output.SOURCE_STATE),
}
HISTORY: Final = Table("kpi_history", OUTPUT_TABLES[Output.KPI_STATE].columns)
DEAD_LETTER: Final = _letters("dead_letter")
PARKED: Final = _letters("parked", reference="string")
KEYED_TABLES: Final = (*OUTPUT_TABLES.values(), DEAD_LETTER, PARKED)


def ddl() -> list[str]:
    """The statements that create what is missing."""
    created = [f"CREATE TABLE IF NOT EXISTS internal.{t.name} ({t.duckdb_columns()})" for t in KEYED_TABLES]
    return [
        "CREATE SCHEMA IF NOT EXISTS internal", "CREATE SCHEMA IF NOT EXISTS v1", *created,
        f"CREATE TABLE IF NOT EXISTS internal.{HISTORY.name} (cell UUID, {HISTORY.duckdb_columns()})",
        "CREATE TABLE IF NOT EXISTS internal.kafka_offsets (topic VARCHAR, part INTEGER, next BIGINT)",
        "CREATE TABLE IF NOT EXISTS internal.meta (name VARCHAR, value VARCHAR)",
    ]
