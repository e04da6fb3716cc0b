"""History and rows from the snapshot that the sink publishes: read only, locked down, values always bound.

A snapshot is a file of its own; when the sink publishes the next one, the next query opens it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import duckdb

from tieout.streams.api.problems import Problem, no_snapshot
from tieout.streams.dependencies import saw
from tieout.streams.sinks.store import HARDENED

_LIMITS: Final[Mapping[str, str]] = {"threads": "2", "memory_limit": "512MB", "max_temp_directory_size": "512MB"}

Record = dict[str, Any]


class Snapshot:
    """The newest published snapshot; thread-safe, one connection a query, each with a deadline and a row cap."""

    def __init__(self, link: Path, *, limit_s: float = 2.0, most_rows: int = 10_000) -> None:
        self._link = link
        self._limit_s, self._most_rows = limit_s, most_rows
        self._lock = threading.Lock()
        self._file: Path | None = None
        self._db: duckdb.DuckDBPyConnection | None = None

    def identity(self) -> str | None:
        """The name of the file that is published now; None before the first."""
        try:
            return str(self._link.resolve(strict=True))
        except OSError:
            return None

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Record]:
        """Rows of a query as mappings; `sql` is one of ours, whatever a caller sent stands in `parameters`."""
        cursor = self._cursor()
        timer = threading.Timer(self._limit_s, cursor.interrupt)  # DuckDB has no limit of its own
        timer.daemon = True
        timer.start()
        try:
            cursor.execute(sql, list(parameters))
            names = [column[0] for column in cursor.description or ()]
            found = cursor.fetchmany(self._most_rows + 1)
            if len(found) > self._most_rows:
                raise _too_many(self._most_rows)
            return [dict(zip(names, row, strict=True)) for row in found]
        except duckdb.InterruptException:
            raise _too_long(self._limit_s) from None
        except duckdb.CatalogException as error:
            raise no_snapshot(f"The published snapshot lacks what this needs: {str(error).splitlines()[0]}") from error
        finally:
            timer.cancel()
            cursor.close()

    def look(self) -> None:
        """Open what is published now, if that is not done, and tell whether there is anything to open."""
        try:
            self._cursor().close()
        except (Problem, duckdb.Error, OSError):
            saw("snapshot", up=False)
        else:
            saw("snapshot", up=True)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._db is not None:
                self._db.close()
            self._db = self._file = None

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            current = self.identity()
            if current is None:
                raise no_snapshot(f"The sink has not published {self._link} yet; history and rows come from there.")
            if self._db is None or str(self._file) != current:
                opened = duckdb.connect(current, read_only=True, config={**HARDENED, **_LIMITS})
                if self._db is not None:
                    self._db.close()
                self._db, self._file = opened, Path(current)
            return self._db.cursor()


def _too_long(limit_s: float) -> Problem:
    detail = f"Stopped after {limit_s:g} s (api.query_ms): narrow the scope or the time."
    return Problem(503, "query-too-long", "Query too long", detail)


def _too_many(most: int) -> Problem:
    detail = f"More than {most} rows (api.rows): narrow the scope, or take wider steps."
    return Problem(422, "too-many-rows", "Too many rows", detail)
