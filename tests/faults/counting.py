"""A reconciler that counts, and so shows every frame applied twice or not at all: apply is not idempotent here."""

from __future__ import annotations

from typing import Any

from tieout.reconcilers.changes import Change, Frame
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.outcomes import Outcome, Output
from tieout.streams.shards import Reconciler

TABLES = ("counts", "last")
POISON = "POISON"  # a change with this key raises


class CountingState:
    """How many changes each key had, and where the last one came from; a deletion empties `last`."""

    def __init__(self, axis: Axis, partition: int, partitions: int) -> None:
        self.axis, self.partition, self.partitions = axis, partition, partitions
        self.counts: dict[str, int] = {}
        self.last: dict[str, list[Any]] = {}
        self.dirty: dict[tuple[str, str], None] = {}

    def restore(self, table: str, key: str, value: Any) -> None:
        getattr(self, table)[key] = value

    def restored(self) -> None:
        missing = self.last.keys() - self.counts.keys()
        assert not missing, f"rows of one checkpoint were torn apart: {missing}"

    def drain(self) -> list[tuple[str, str, Any]]:
        rows = [(table, key, getattr(self, table).get(key)) for table, key in self.dirty]
        self.dirty.clear()
        return rows

    def count(self, change: Change) -> int:
        number = self.counts[change.key] = self.counts.get(change.key, 0) + 1
        self.dirty["counts", change.key] = None
        if number % 7 == 0:
            self.last.pop(change.key, None)
        else:
            self.last[change.key] = [number, change.seq]
        self.dirty["last", change.key] = None
        return number


def apply(state: CountingState, frame: Frame) -> list[Outcome]:
    """An event a change, which must come exactly once, and the state of its key in a cell."""
    outcomes: list[Outcome] = []
    for change in frame.changes:
        if change.key == POISON:
            raise RuntimeError("poison")
        number = state.count(change)
        outcomes.append(Outcome(Output.BILLING_DECISION, change.key, _event(change, number, frame.now_us)))
        outcomes.append(Outcome(Output.KPI_STATE, change.key, _cell(state, change, number, frame.now_us)))
    return outcomes


def settle(state: CountingState) -> list[Outcome]:
    """One cell that moves with everything: the sum of all counts."""
    total = sum(state.counts.values())
    row = {**_CELL, "axis": state.axis.value, "partition": state.partition, "project_code": None, "numerator": total}
    return [Outcome(Output.KPI_STATE, f"total-{state.partition}", row)]


_CELL = {"kpi": "counted", "measure": "VALUE", "unit": "1", "as_of": 0}
COUNTING = Reconciler(CountingState, apply, settle, TABLES)


def _event(change: Change, number: int, now_us: int) -> dict[str, Any]:
    return {
        "event_id": f"{change.key}#{number}", "entry_key": change.key, "project_code": "P", "decision": "READY",
        "previous": None, "reasons": "", "unbilled_s": number, "unbilled_minor": 0, "currency": None, "at": now_us,
    }


def _cell(state: CountingState, change: Change, number: int, now_us: int) -> dict[str, Any]:
    place = {"axis": state.axis.value, "partition": state.partition}
    return {**_CELL, **place, "project_code": change.key, "numerator": number, "as_of": now_us}
