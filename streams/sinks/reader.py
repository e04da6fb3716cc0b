"""Reading a published snapshot: a connection that can do nothing but read it, with a limit on time and memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import duckdb

from tieout.streams.personal import masked_rows
from tieout.streams.sinks.store import HARDENED

_LIMITS: Final[Mapping[str, str]] = {"memory_limit": "1GB", "threads": "2", "max_temp_directory_size": "1GB"}


class SnapshotMissing(Exception):
    """There is no snapshot to read, or it cannot be opened."""


class NotAQuestion(Exception):
    """The text is not one SELECT statement."""


class QueryTooLong(Exception):
    """The query did not end within its limit."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A query's result."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def dicts(self) -> Iterator[dict[str, Any]]:
        """Each row by column."""
        for row in self.rows:
            yield dict(zip(self.columns, row, strict=True))

    def masked(self) -> Rows:
        """The same without personal data, as far as columns bear their own names."""
        return Rows(self.columns, masked_rows(self.columns, self.rows))


@dataclass(frozen=True, slots=True)
class Freshness:
    """How far everything in the snapshot is; instants are UTC without a zone."""

    as_of: datetime | None
    complete_through: datetime | None
    state: str
    stale_sources: tuple[str, ...]

    def banner(self) -> str:
        """One line for people: '── as of 2026-03-10 18:00:03Z · complete through 18:00:00Z · FRESH'."""
        if self.as_of is None:
            return "── nothing has arrived yet"
        through = self.complete_through
        complete = f"complete through {_instant(through)}" if through else "completeness unknown"
        behind = f" · behind: {', '.join(self.stale_sources)}" if self.stale_sources else ""
        return f"── as of {_instant(self.as_of)} · {complete} · {self.state}{behind}"


class Snapshot:
    """A snapshot opened read-only and hardened. Not for several threads."""

    def __init__(self, path: Path) -> None:
        """Open it; SnapshotMissing says what to do when it is not there."""
        self.path = path
        if not path.exists():
            raise SnapshotMissing(f"no snapshot at {path}: is the sink running? Name another file with --db")
        try:
            self._db = duckdb.connect(str(path.resolve()), read_only=True, config={**HARDENED, **_LIMITS})
        except duckdb.Error as error:
            raise SnapshotMissing(
                f"{path} cannot be opened; a file that the sink writes is open to it alone, read its published "
                f"snapshot: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def ask(self, sql: str, *, limit_s: float) -> Rows:
        """Rows of somebody else's SQL: one SELECT and nothing beside it; NotAQuestion for everything else."""
        statements = duckdb.extract_statements(sql)
        if len(statements) != 1 or statements[0].type is not duckdb.StatementType.SELECT:
            found = ", ".join(str(each.type).rpartition(".")[2] for each in statements) or "nothing"
            raise NotAQuestion(f"found {found}, expected one SELECT: the snapshot is only for reading")
        return self.query(sql, limit_s=limit_s)

    def query(self, sql: str, parameters: Sequence[Any] = (), *, limit_s: float = 30.0) -> Rows:
        """Rows of one statement; QueryTooLong after `limit_s` seconds, duckdb.Error when it is wrong."""
        cut = threading.Event()

        def interrupt() -> None:
            cut.set()
            self._db.interrupt()

        timer = threading.Timer(limit_s, interrupt)
        timer.daemon = True
        timer.start()
        try:
            found = self._db.execute(sql, list(parameters))
            return Rows(tuple(column[0] for column in found.description or ()), found.fetchall())
        except duckdb.InterruptException:
            if cut.is_set():
                raise QueryTooLong(f"stopped after {limit_s:g} s: narrow the query, or raise --timeout") from None
            raise
        finally:
            timer.cancel()

    def freshness(self) -> Freshness:
        """How far everything is."""
        ((as_of, through, state, stale),) = self.query(
            "SELECT as_of, watermark_at, state, stale_sources FROM v1.meta_freshness WHERE source = '*'").rows
        return Freshness(as_of, through, state, tuple(stale))


@dataclass(frozen=True, slots=True)
class Canned:
    """A query that ships with the program: its name, the question it answers and its SQL."""

    name: str
    question: str
    sql: str


def canned() -> dict[str, Canned]:
    """All shipped queries by name."""
    found = {}
    for file in sorted((files("tieout.streams.sinks") / "queries").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".sql"):
            text = file.read_text(encoding="utf-8")
            name = file.name.removesuffix(".sql")
            found[name] = Canned(name, text.partition("\n")[0].removeprefix("-- "), text)
    return found


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}Z"
