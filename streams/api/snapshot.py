"""History and rows from the snapshot that the sink publishes: read only, locked down, values always bound.

A snapshot is a file of its own; when the sink publishes the next one, the next query opens it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import duckdb

from tieout.streams.api.problems import no_snapshot

_HARDENED: Final[Mapping[str, str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_unsigned_extensions": "false",
    "lock_configuration": "true",
    "threads": "2",
    "memory_limit": "512MB",
}

Record = dict[str, Any]


class Snapshot:
    """The newest published snapshot; thread-safe, one connection a query."""

    def __init__(self, link: Path) -> None:
        self._link = link
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
        try:
            cursor.execute(sql, list(parameters))
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        except duckdb.CatalogException as error:
            raise no_snapshot(f"The published snapshot lacks what this needs: {str(error).splitlines()[0]}") from error
        finally:
            cursor.close()

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
                opened = duckdb.connect(current, read_only=True, config=dict(_HARDENED))
                if self._db is not None:
                    self._db.close()
                self._db, self._file = opened, Path(current)
            return self._db.cursor()
