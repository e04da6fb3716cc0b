"""How long a contender spends inside the reconcilers, and how long in all: wall clock and processor time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from tieout.reconcilers.changes import Frame
from tieout.reconcilers.engine import TABLES, State, apply, settle
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.outcomes import Outcome
from tieout.reconcilers.policy import Policy
from tieout.streams.shards import Reconciler

T = TypeVar("T")


class Stopwatch:
    """Runs the reconcilers and measures them; everything else until `stop` is outside."""

    def __init__(self) -> None:
        self.changes = 0
        self.outcomes = 0
        self.inside_wall_s = 0.0
        self.inside_cpu_s = 0.0
        self.rows_cpu_s = 0.0  # of that: making changelog rows of the state
        self._begun: tuple[float, float] | None = None
        self._ended: tuple[float, float] | None = None

    def reconciler(self) -> Reconciler:
        """The engine under this stopwatch."""
        watch = self

        class TimedState(State):
            def drain(self) -> list[tuple[str, str, Any]]:
                before_s = watch.inside_cpu_s
                rows = watch.inside(super().drain)
                watch.rows_cpu_s += watch.inside_cpu_s - before_s
                return rows

        def timed_state(axis: Axis, partition: int, partitions: int) -> State:
            return TimedState(axis, partition, partitions, Policy())

        return Reconciler(timed_state, self.apply, lambda state: self.inside(lambda: settle(state)), TABLES)

    def apply(self, state: State, frame: Frame) -> list[Outcome]:
        """Apply a frame inside."""
        if self._begun is None:
            self._begun = (time.perf_counter(), time.process_time())
        outcomes = self.inside(lambda: apply(state, frame))
        self.changes += len(frame.changes)
        self.outcomes += len(outcomes)
        return outcomes

    def inside(self, call: Callable[[], T]) -> T:
        """Run something that belongs to the reconcilers."""
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return call()
        finally:
            self.inside_wall_s += time.perf_counter() - wall
            self.inside_cpu_s += time.thread_time() - cpu

    def stop(self) -> None:
        """Everything is done; a later call counts."""
        self._ended = (time.perf_counter(), time.process_time())

    def report(self) -> str:
        """One JSON object: what was done and how long it took."""
        if self._begun is None or self._ended is None:
            raise RuntimeError("nothing was measured")
        wall_s, cpu_s = (end - begin for begin, end in zip(self._begun, self._ended, strict=True))
        return json.dumps(
            {
                "changes": self.changes, "outcomes": self.outcomes, "wall_s": wall_s, "cpu_s": cpu_s,
                "inside_wall_s": self.inside_wall_s, "inside_cpu_s": self.inside_cpu_s,
                "rows_cpu_s": self.rows_cpu_s,
            }
        )  # fmt: skip
