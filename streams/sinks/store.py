"""The analyst store: one DuckDB file, one writer. Rows and Kafka offsets change in the same transaction.

`Store.write` takes the outcomes of `apply` (the replay), `Store.write_batch` frames decoded from the output topics
(the sink); both end in the same tables. Upserts keep the last row of a key, so writing a batch twice changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import duckdb
import polars as pl

from tieout.reconcilers.outcomes import Outcome, Output
from tieout.streams.sinks.comments import statements
from tieout.streams.sinks.tables import (
    DEAD_LETTER,
    HISTORY,
    KEYED_TABLES,
    MIGRATED,
    OUTPUT_TABLES,
    PARKED,
    SCHEMA_VERSION,
    Table,
    ddl,
)

Offsets = Mapping[tuple[str, int], int]  # (topic, partition) -> offset of the next record to read
_CHUNK_BYTES: Final = 4_194_304
KEY, GONE = "_key", "_gone"  # columns that a batch's frame has beside those of its table

HARDENED: Final[Mapping[str, str]] = {
    "enable_external_access": "false",
    "allow_community_extensions": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_unsigned_extensions": "false",
    "lock_configuration": "true",
}


class StoreError(Exception):
    """The store cannot be opened: another process has it, or another version wrote it. `code` ends the process."""

    code = 1


class OtherVersion(StoreError):
    """Another version wrote the store, and this build cannot make it its own."""

    code = 12


class ArrowStream:
    """A Polars frame as DuckDB can scan it, once, without pyarrow."""

    __slots__ = ("frame",)

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.frame.__arrow_c_stream__(requested_schema)


@dataclass(slots=True)
class Batch:
    """Frames to write, by table, in the order of their records; each has `_key` and `_gone` beside the columns."""

    frames: dict[str, tuple[Table, pl.DataFrame]] = field(default_factory=dict)

    def add(self, table: Table, frame: pl.DataFrame) -> None:
        """Append a frame to its table's."""
        known = self.frames.get(table.name)
        self.frames[table.name] = (table, pl.concat([known[1], frame]) if known else frame)

    def add_rows(self, table: Table, rows: Iterable[tuple[str, Mapping[str, Any] | None]]) -> None:
        """Append keyed rows with ints for dates and instants; None is a tombstone."""
        keyed = list(rows)
        if keyed:
            frame = table.frame([row or {} for _, row in keyed])
            self.add_keyed(table, frame, [key for key, _ in keyed], [row is None for _, row in keyed])

    def add_keyed(self, table: Table, frame: pl.DataFrame, keys: list[str], gone: list[bool]) -> None:
        """Append a frame of a table's columns with the keys of its records, and which of them are tombstones."""
        key = pl.col(table.identity) if table.identity else pl.Series(keys, dtype=pl.String)
        self.add(table, frame.with_columns(key.alias(KEY), pl.Series(GONE, gone, pl.Boolean)))


class Store:
    """The one writer of a DuckDB file. Not for several threads."""

    def __init__(self, path: Path | str) -> None:
        """Open the file, creating it and whatever is missing in it; StoreError when that cannot be."""
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._db = _connect(self.path)
        self._file = -1
        try:
            # Opened once and never closed before DuckDB has closed the file: DuckDB's lock is a POSIX lock, which a
            # process loses as soon as it closes any descriptor of the file, one that it only read from included.
            self._file = os.open(self.path, os.O_RDONLY)
            self._prepare()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back; what was written is durable already."""
        self._db.close()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def checkpoint(self) -> None:
        """Make the main file self-contained: it needs no write-ahead log beside it."""
        self._db.execute("CHECKPOINT")

    def copy_to(self, target: Path) -> None:
        """Write a consistent, self-contained copy; OSError or duckdb.Error on a full disk."""
        self.checkpoint()
        with target.open("wb", buffering=0) as copy:
            at = 0
            while chunk := os.pread(self._file, _CHUNK_BYTES, at):
                at += copy.write(chunk)

    def write(
        self,
        outcomes: Iterable[Outcome],
        offsets: Offsets | None = None,
        *,
        dead_letters: Iterable[Mapping[str, Any]] = (),
        parked: Iterable[tuple[str, Mapping[str, Any] | None]] = (),
    ) -> None:
        """Write outcomes (and records put aside, and offsets) in one transaction.

        A dead letter is a mapping with topic, partition, offset, ts (microseconds), source, object, reason, hint and
        payload (bytes); a parked record likewise, under its id, with the reference that it waits for; None releases it.
        """
        by_output: dict[Output, list[tuple[str, Mapping[str, Any] | None]]] = {}
        for outcome in outcomes:
            by_output.setdefault(outcome.output, []).append((outcome.key, outcome.row))
        batch = Batch()
        for output, rows in by_output.items():
            batch.add_rows(OUTPUT_TABLES[output], rows)
        batch.add_rows(DEAD_LETTER, [(letter_key(letter), letter) for letter in dead_letters])
        batch.add_rows(PARKED, parked)
        self.write_batch(batch, offsets)

    def write_batch(self, batch: Batch, offsets: Offsets | None = None) -> None:
        """Write decoded frames and offsets in one transaction: all of it or, after an error, nothing."""
        with self._transaction():
            for table, frame in batch.frames.values():
                if table.name == OUTPUT_TABLES[Output.KPI_STATE].name:
                    self._append_history(frame)
                self._upsert(table, frame)
            if offsets:
                self._write_offsets(offsets)

    def offsets(self) -> dict[tuple[str, int], int]:
        """Where to go on reading, per topic and partition."""
        rows = self._db.execute("SELECT topic, part, next FROM internal.kafka_offsets").fetchall()
        return {(topic, part): following for topic, part, following in rows}

    def set_meta(self, name: str, value: str) -> None:
        """Remember a fact about the store itself."""
        with self._transaction():
            self._db.execute("DELETE FROM internal.meta WHERE name = ?", [name])
            self._db.execute("INSERT INTO internal.meta VALUES (?, ?)", [name, value])

    def query(self, sql: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
        """Rows of a query, for tests and reports inside the writer's process."""
        return self._db.execute(sql, parameters or []).fetchall()

    def _prepare(self) -> None:
        with self._transaction():
            for statement in ddl():
                self._db.execute(statement)
            self._check_version()
            self._add_columns()
            self._db.execute((files("tieout.streams.sinks") / "views.sql").read_text(encoding="utf-8"))
            for statement in statements(self._view_columns()):
                self._db.execute(statement)

    def _check_version(self) -> None:
        found = self._db.execute("SELECT value FROM internal.meta WHERE name = 'schema_version'").fetchall()
        if not found:
            self._db.execute("INSERT INTO internal.meta VALUES ('schema_version', ?)", [SCHEMA_VERSION])
        elif found[0][0] in MIGRATED:
            self._db.execute("UPDATE internal.meta SET value = ? WHERE name = 'schema_version'", [SCHEMA_VERSION])
        elif found[0][0] != SCHEMA_VERSION:
            newer = found[0][0].isdigit() and int(found[0][0]) > int(SCHEMA_VERSION)
            raise OtherVersion(
                f"{self.path} has store version {found[0][0]}, this build writes version {SCHEMA_VERSION}: "
                + ("run the newer build that wrote it, or " if newer else "") +
                f"move the file away (mv {self.path} {self.path}.old): the sink fills a new one from the topics, "
                f"`tieout replay CAPTURE --db {self.path}` one from captures")

    def _add_columns(self) -> None:
        """What an older build's tables lack, rows of then without a value; a column that became another is refused."""
        found: dict[str, dict[str, str]] = {}
        for table, column, kind in self._db.execute(
                "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE schema_name = 'internal'"
                ).fetchall():
            found.setdefault(table, {})[column] = kind
        for table in (*KEYED_TABLES, HISTORY):
            for column, kind in table.duckdb_types().items():
                known = found[table.name].get(column)
                if known is None:
                    self._db.execute(f'ALTER TABLE internal.{table.name} ADD COLUMN "{column}" {kind}')
                elif known != kind:
                    raise OtherVersion(
                        f"{self.path}: {table.name}.{column} is {known}, this build writes {kind}: move the file away "
                        f"(mv {self.path} {self.path}.old); the sink fills a new one from the topics")

    def _view_columns(self) -> dict[str, list[str]]:
        rows = self._db.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = 'v1' ORDER BY column_index"
        ).fetchall()
        columns: dict[str, list[str]] = {}
        for view, column in rows:
            columns.setdefault(view, []).append(column)
        return columns

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._rollback()
            raise

    def _rollback(self) -> None:
        """Best effort: a failed commit has ended the transaction already, a fatal error has closed the database."""
        try:
            self._db.execute("ROLLBACK")
        except duckdb.Error:
            return

    def _stage(self, frame: pl.DataFrame) -> None:
        """The frame as temporary table `stage`: a stream as a join side would be planned for one row."""
        self._db.register("incoming", ArrowStream(frame))
        try:
            self._db.execute("CREATE OR REPLACE TEMP TABLE stage AS "
                             f"SELECT md5({KEY})::UUID AS key, * EXCLUDE ({KEY}) FROM incoming")
        finally:
            self._db.unregister("incoming")

    def _upsert(self, table: Table, frame: pl.DataFrame) -> None:
        self._stage(frame.unique(KEY, keep="last", maintain_order=True))
        self._db.execute(f"DELETE FROM internal.{table.name} WHERE key IN (SELECT key FROM stage)")
        self._db.execute(
            f"INSERT INTO internal.{table.name} BY NAME SELECT * EXCLUDE ({GONE}) FROM stage WHERE NOT {GONE}")

    def _append_history(self, frame: pl.DataFrame) -> None:
        """Add the cells that moved, before they are overwritten."""
        self._stage(frame.with_row_index("_at"))
        self._db.execute(_MOVED)
        self._db.execute(
            f"DELETE FROM internal.{HISTORY.name} WHERE as_of >= (SELECT min(as_of) FROM moved) - INTERVAL 1 MINUTE "
            "AND key IN (SELECT key FROM moved)")
        self._db.execute(f"INSERT INTO internal.{HISTORY.name} BY NAME SELECT * FROM moved")

    def _write_offsets(self, offsets: Offsets) -> None:
        topics, parts = [topic for topic, _ in offsets], [part for _, part in offsets]
        self._db.execute(
            "DELETE FROM internal.kafka_offsets WHERE (topic, part) IN (SELECT unnest(?), unnest(?))", [topics, parts])
        self._db.execute(
            "INSERT INTO internal.kafka_offsets SELECT unnest(?), unnest(?), unnest(?)",
            [topics, parts, list(offsets.values())])


def letter_key(letter: Mapping[str, Any]) -> str:
    """Identity of a dead letter: where its record came from."""
    return f"{letter['topic']}/{letter['partition']}/{letter['offset']}"


def _connect(path: Path) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(str(path), config=dict(HARDENED))
    except duckdb.IOException as error:
        if "lock" not in str(error):
            raise
        raise StoreError(
            f"{path} is open in another process; a store has one writer. Readers open the published snapshot: {error}"
        ) from None


_DIMENSIONS: Final = [name for name in HISTORY.columns if name not in ("numerator", "denominator", "as_of")]
_CELL: Final = ", ".join(f'"{name}"' for name in _DIMENSIONS)
_PACKED: Final = "{" + ", ".join(f"'{name}': \"{name}\"" for name in _DIMENSIONS) + "}"
_PREVIOUS: Final = "(PARTITION BY cell ORDER BY _at)"

# Steps of the batch's cells after their state in the store (_at -1). A tombstone is a step to zero under the cell's
# last known dimensions. Lags and counts of events move with every tick: one point a minute is kept of them.
_MOVED: Final = f"""
CREATE OR REPLACE TEMP TABLE moved AS
WITH seen AS (
    SELECT key AS cell, _at, _gone, {_CELL}, numerator, denominator, as_of FROM stage
    UNION ALL
    SELECT key, -1, false, {_CELL}, numerator, denominator, as_of FROM internal.kpi_cell
    WHERE key IN (SELECT key FROM stage)),
steps AS (
    SELECT cell, _at,
           last_value(CASE WHEN NOT _gone THEN {_PACKED} END IGNORE NULLS) OVER {_PREVIOUS} AS dims,
           CASE WHEN _gone THEN 0 ELSE numerator END AS numerator,
           CASE WHEN NOT _gone THEN denominator
                WHEN lag(denominator) OVER {_PREVIOUS} IS NOT NULL THEN 0 END AS denominator,
           coalesce(as_of, (SELECT max(as_of) FROM stage), (SELECT max(as_of) FROM internal.kpi_cell)) AS as_of,
           lag(CASE WHEN _gone THEN 0 ELSE numerator END) OVER {_PREVIOUS} AS numerator_before,
           lag(denominator) OVER {_PREVIOUS} AS denominator_before
    FROM seen)
SELECT cell, unnest(dims), numerator, denominator, as_of,
       md5(cell::VARCHAR || CASE WHEN dims.kpi IN ('sync_lag', 'events') THEN date_trunc('minute', as_of) ELSE as_of
                            END::VARCHAR)::UUID AS key
FROM steps
WHERE _at >= 0 AND as_of IS NOT NULL AND dims.kpi <> 'unbilled_ageing'
  AND (dims.kpi <> 'events' OR dims.measure = 'DUPLICATE')
  AND (numerator IS DISTINCT FROM coalesce(numerator_before, 0) OR denominator IS DISTINCT FROM denominator_before)
QUALIFY row_number() OVER (PARTITION BY key ORDER BY _at DESC) = 1
"""
