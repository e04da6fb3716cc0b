"""The latest row of every KPI cell, finding and source in memory; cells of all partitions are added.

One thread writes (the Kafka reader), many read. Sums are kept exact and incrementally: a new row of a cell retracts
the one before, a tombstone retracts it for good, so a total costs nothing to read however many cells there are.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

from tieout.reconcilers.outcomes import Output

Row = Mapping[str, Any]

OUTPUTS: Final = (Output.KPI_STATE, Output.FINDING_STATE, Output.SOURCE_STATE)
DIMENSIONS: Final = (
    "le_code", "region", "practice", "project_code", "billing_cycle_id", "currency", "state", "hold_code",
    "work_date", "source", "object",
)  # fmt: skip
EVENTS: Final = "events"  # cells that count what happened to the changes of each source object
TOTAL: Final = ("measure", "currency")  # what may never be added over


class Record(NamedTuple):
    """One row of a state topic; `row` None is a tombstone."""

    output: Output
    key: str
    row: Row | None


class Changes(NamedTuple):
    """Ids of what changed since the last look."""

    kpis: frozenset[str]
    findings: frozenset[str]
    sources: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.kpis or self.findings or self.sources)


class Sum:
    """Cells added up, in base units; `denominator` is None when no cell has one."""

    __slots__ = ("_denominators", "cells", "largest", "numerator", "parts", "unit")

    def __init__(self, unit: str) -> None:
        self.unit = unit  # s, minor, count or us
        self.numerator = 0
        self.parts = 0  # sum of the denominators
        self.cells = 0
        self.largest: int | None = None  # of the numerators; valid only where nothing was retracted
        self._denominators = 0

    @property
    def denominator(self) -> int | None:
        """Sum of the cells' denominators."""
        return self.parts if self._denominators else None

    def add(self, cell: Row, sign: int = 1) -> None:
        """Add a cell, or with sign -1 take back what it added."""
        self.numerator += sign * cell["numerator"]
        self.cells += sign
        if cell["denominator"] is not None:
            self.parts += sign * cell["denominator"]
            self._denominators += sign
        if sign > 0:
            self.largest = cell["numerator"] if self.largest is None else max(self.largest, cell["numerator"])


Sums = dict[tuple[Any, ...], Sum]


class Live:
    """The state topics as they stand now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cells: dict[str, dict[str, Row]] = defaultdict(dict)
        self._totals: dict[str, Sums] = defaultdict(dict)
        self._kpi_of: dict[str, str] = {}  # of every cell's key, since a tombstone does not say
        self._findings: dict[str, Row] = {}
        self._sources: dict[str, Row] = {}
        self._dirty: dict[Output, set[str]] = {output: set() for output in OUTPUTS}
        self._as_of: int | None = None
        self._revision = 0
        self.ready = threading.Event()  # set once every topic was read to its end

    @property
    def revision(self) -> int:
        """Counts the batches applied."""
        return self._revision

    @property
    def as_of(self) -> int | None:
        """The newest processing instant among all rows, microseconds; None when there are none."""
        return self._as_of

    def apply(self, records: Iterable[Record]) -> None:
        """Put rows in place; the last one of a key wins."""
        with self._lock:
            for record in records:
                self._put(record)
            self._revision += 1

    def changes(self) -> Changes:
        """What changed since the last call, each id once."""
        with self._lock:
            kpis, findings, sources = (frozenset(self._dirty[output]) for output in OUTPUTS)
            for ids in self._dirty.values():
                ids.clear()
        return Changes(kpis, findings, sources)

    def sums(self, kpi: str, by: tuple[str, ...] = TOTAL, where: Callable[[Row], bool] | None = None) -> Sums:
        """Cells of `kpi` added up by dimension; currencies and measures stay apart only when `by` names them."""
        with self._lock:
            if by == TOTAL and where is None:
                return dict(self._totals.get(kpi, {}))
        return sum_up(self.cells(kpi), by, where)

    def cells(self, kpi: str) -> list[Row]:
        """The cells of `kpi`, of every partition, in no order."""
        with self._lock:
            return list(self._cells.get(kpi, {}).values())

    def kpis(self) -> Collection[str]:
        """Ids of the KPIs that have cells."""
        with self._lock:
            return [kpi for kpi, cells in self._cells.items() if cells]

    def findings(self) -> list[Row]:
        """Every finding, in no order."""
        with self._lock:
            return list(self._findings.values())

    def finding(self, finding_id: str) -> Row | None:
        """One finding now."""
        return self._findings.get(finding_id)

    def sources(self) -> list[Row]:
        """Every source object, in no order."""
        with self._lock:
            return list(self._sources.values())

    def _put(self, record: Record) -> None:
        output, key, row = record
        if output is Output.KPI_STATE:
            self._put_cell(key, row)
        else:
            table = self._findings if output is Output.FINDING_STATE else self._sources
            if row is None:
                table.pop(key, None)
            else:
                table[key] = row
            self._dirty[output].add(key)
        if row is not None:
            self._as_of = max(self._as_of or 0, _processed_at(output, row))

    def _put_cell(self, key: str, row: Row | None) -> None:
        cell = None if row is None else as_published(row)
        kpi = self._kpi_of.get(key) if cell is None else cell["kpi"]
        if kpi is None:
            return
        old = self._cells[kpi].pop(key, None)
        if old is not None:
            self._retract(kpi, old)
        if cell is None:
            del self._kpi_of[key]
        else:
            self._kpi_of[key] = kpi
            self._cells[kpi][key] = cell
            _sum_for(self._totals[kpi], tuple(cell[name] for name in TOTAL), cell).add(cell)
        self._dirty[Output.KPI_STATE].add(kpi)

    def _retract(self, kpi: str, old: Row) -> None:
        group = tuple(old[name] for name in TOTAL)
        total = self._totals[kpi][group]
        total.add(old, -1)
        if total.cells == 0:
            del self._totals[kpi][group]


def as_published(cell: Row) -> Row:
    """A cell under the names of `v1.kpi`: duplicates are a measure of the events, and only money has a currency."""
    if cell["kpi"] == EVENTS and cell["measure"] == "DUPLICATE":
        return {**cell, "kpi": "duplicates_suppressed", "measure": "VALUE", "currency": None}
    if cell["currency"] is not None and cell["unit"] != "minor":
        return {**cell, "currency": None}
    return cell


def sum_up(cells: Iterable[Row], by: tuple[str, ...], where: Callable[[Row], bool] | None) -> Sums:
    """Cells added up by dimension, those that `where` keeps."""
    sums: Sums = {}
    for cell in cells:
        if where is None or where(cell):
            _sum_for(sums, tuple(cell[name] for name in by), cell).add(cell)
    return sums


def _sum_for(sums: Sums, group: tuple[Any, ...], cell: Row) -> Sum:
    found = sums.get(group)
    if found is None:
        found = sums[group] = Sum(cell["unit"])
    return found


def _processed_at(output: Output, row: Row) -> int:
    return int(row["updated_at" if output is Output.FINDING_STATE else "as_of"])
