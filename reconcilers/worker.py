"""The worker axis: a worker's time over all projects, and what it says about entries back to their projects.

Entries of different projects live on different partitions of the project axis; here all entries of a worker are
together. What is found is published here. Whether it holds an entry goes back as the entry's *standing*, a row that
ingest delivers to the entry's home like any other record: the last version counts, whenever it arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from tieout.reconcilers import affected
from tieout.reconcilers.asof import AsOf
from tieout.reconcilers.billing import ROWS_VERSION
from tieout.reconcilers.changes import Change
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.facts import TABLE_OF
from tieout.reconcilers.kpis import Amount, Cell
from tieout.reconcilers.outcomes import Outcome, Output
from tieout.reconcilers.policy import Policy
from tieout.reconcilers.project import ProjectState
from tieout.reconcilers.rules import WORKER_RULES

READS: Final = frozenset(entity for entity, table in TABLE_OF.items()
                         if table in ("masters", "rates", "assignments") or entity == "time_entry")
_SUBJECTS: Final = ("entry", "day")
_NOTHING: Final = (False, False, None)  # told of an entry: neither held nor pending, and no hold was lifted


class WorkerState(ProjectState):
    """Facts, lives and standings of one partition of the worker axis."""

    axis = Axis.WORKER
    rules = WORKER_RULES

    def __init__(self, partition: int, partitions: int, policy: Policy) -> None:
        super().__init__(partition, partitions, policy)
        self._told: dict[str, tuple[bool, bool, int | None]] = {}  # entry -> held, pending, released; most have none
        self._complete = True  # entries of which the changelog has no row were looked at, and nothing is told of them
        self._version = 0  # counts the frames: after a crash they come again in the same order

    def apply(self, frame: Any) -> Iterator[Outcome]:
        """Store the changes, advance the lanes, publish findings and standings that moved."""
        self._version += 1
        yield from super().apply(frame)

    @staticmethod
    def _homes(partition: int, partitions: int) -> Callable[[str, str], bool]:
        """Entries and days of workers live only here; everything else is the project axis's."""
        return lambda kind, subject: kind in _SUBJECTS

    def _bearing(self, found: Iterable[affected.Subject]) -> set[affected.Subject]:
        return affected.of_days(self.facts, (key for kind, key in found if kind == "entry"))

    def _later(self, kind: str, subject: str, instant: int) -> set[int]:
        return affected.later_of_day(self.facts, kind, subject, instant)

    def _count(self, change: Change, verdict: str) -> None:
        """The project axis counts the changes of sources."""

    def _count_pairs(self, live: AsOf) -> None:
        """Plans are counted on the project axis."""
        self._dirty_pairs.clear()

    def _cost(self, live: AsOf, blamed: list[str]) -> Mapping[Cell, Amount]:
        return {}  # what stale sources cost is counted once, on the project axis

    def _unread(self) -> Iterator[tuple[str, set[str], Iterable[str]]]:
        return iter(())  # likewise

    # -- standings -------------------------------------------------------------------------------

    def _publish_entries(self, live: AsOf) -> Iterator[Outcome]:
        dirty = sorted(self._dirty_entries)
        self._dirty_entries.clear()
        for key in dirty:
            entry = live.entry(key)
            if not entry.seen:
                continue
            standing = self._standing(live, key, entry.project_code)
            told = ("H17" in standing.holds, standing.pending, standing.released)
            (self._pending.add if standing.pending else self._pending.discard)(key)
            if told != self._told.get(key, _NOTHING):
                self._told[key] = told
                self.rows[key] = {}  # there is one to write; rows of entries are the project axis's
                self._dirty_counts.add(("entry", key))
                yield Outcome(Output.STANDING, key, self._row(key, *told))

    def _row(self, key: str, held: bool, pending: bool, released: int | None) -> dict[str, Any]:
        return {"entry_key": key, "held": held, "pending": pending, "released_at": released, "version": self._version,
                "as_of": self.marks.now_us}

    def progress(self) -> dict[str, Any]:
        """Counters that no fact can give back."""
        return {**super().progress(), "version": self._version, "rows": ROWS_VERSION}

    def restore(self, table: str, value: Any) -> None:
        """Take up a changelog row."""
        super().restore(table, value)
        if table == "progress":
            self._version = value["version"]
            self._complete = value.get("rows") == ROWS_VERSION

    def _unpublished(self) -> set[str]:
        """Earlier builds wrote a row of every entry that they had looked at, and still earlier ones none."""
        return set() if self._complete else super()._unpublished()

    def _restore_counts(self, kind: str, version: int, subject: str, dues: dict[str, list[int]], *said: Any) -> None:
        """Take up what was told of an entry."""
        if version == ROWS_VERSION:
            self.rows[subject] = {}
            _, pending, _ = self._told[subject] = said
            if pending:
                self._pending.add(subject)

    def _counts_record(self, kind: str, subject: str) -> list[Any]:
        """What was told of an entry, as JSON."""
        return [kind, ROWS_VERSION, subject, {}, *self._told[subject]]
