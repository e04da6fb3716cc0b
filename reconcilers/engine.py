"""`apply(state, frame) -> outcomes`: the reconciliation of one partition, deterministic and idempotent.

A frame's changes are stored as facts; what they touch is looked at again in the order of source commit time
(`lives.py`), and the billing states and KPI cells that follow are published where they changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tieout.reconcilers.changes import Frame
from tieout.reconcilers.control import ControlState
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.facts import READS as _READS
from tieout.reconcilers.outcomes import Outcome
from tieout.reconcilers.policy import Policy
from tieout.reconcilers.project import ProjectState
from tieout.reconcilers.worker import READS as WORKER_READS
from tieout.reconcilers.worker import WorkerState

READS: Final = _READS
READS_OF_WORKER: Final = WORKER_READS  # what the worker axis takes of it
TABLES: Final = ("masters", "rates", "assignments", "timesheets", "invoices", "findings", "counts", "progress")
_KEPT_PRODUCERS: Final = 16


class State:
    """The state of one partition of one axis."""

    def __init__(self, axis: Axis, partition: int, partitions: int, policy: Policy) -> None:
        self.axis, self.partition, self.partitions, self.policy = axis, partition, partitions, policy
        self._part: ProjectState | ControlState = (
            ControlState(partition, policy) if axis is Axis.CONTROL
            else (WorkerState if axis is Axis.WORKER else ProjectState)(partition, partitions, policy))
        self._numbers: dict[str, int] = {}  # producer -> number of its last frame

    def apply(self, frame: Frame) -> list[Outcome]:
        """What follows from a frame; nothing if the frame was applied before."""
        if frame.number <= self._numbers.get(frame.producer, -1):
            return []
        self._numbers.pop(frame.producer, None)
        self._numbers[frame.producer] = frame.number
        while len(self._numbers) > _KEPT_PRODUCERS:
            del self._numbers[next(iter(self._numbers))]
        return list(self._part.apply(frame))

    def settle(self) -> list[Outcome]:
        """What moves with every frame and is worth a row only now and then: KPI cells, source states."""
        return list(self._part.settle())

    def restore(self, table: str, key: str, value: Any) -> None:
        """Take up the latest changelog row of a key."""
        if table == "progress":
            self._numbers = dict(value["numbers"])
            self._part.marks.restore(value["marks"])
            self._part.restore("progress", value)
        else:
            self._part.restore(table, value)

    def restored(self) -> None:
        """Rebuild indexes, KPI cells and due points after the last row."""
        self._part.restored()

    def drain(self) -> list[tuple[str, str, Any]]:
        """Changelog rows that changed since the last drain: (table, key, value); None is a deletion."""
        return [*self._part.drain(), ("progress", "progress", self.progress())]

    def progress(self) -> dict[str, Any]:
        """How far the partition has come, as JSON."""
        extra: Mapping[str, Any] = self._part.progress() if isinstance(self._part, ProjectState) else {}
        return {"numbers": dict(self._numbers), "marks": self._part.marks.to_record(), **extra}


def apply(state: State, frame: Frame) -> list[Outcome]:
    """The outcomes of a frame; `state` moves on."""
    return state.apply(frame)


def settle(state: State) -> list[Outcome]:
    """Rows of KPI cells and sources that moved since the last call; before each checkpoint and at the end."""
    return state.settle()

