"""A shard: one partition of an axis in this process, its state, and what was applied but is not yet written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final, NamedTuple, Protocol

import orjson

from tieout.reconcilers.changes import Frame
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.outcomes import STATE_OUTPUTS, Outcome, Output
from tieout.streams.tables import Checkpoint, Place, Restored, Stamp

Row = tuple[str, bytes, bytes | None]  # of a changelog: table, key, value or None for a deletion
_ROWS_A_LOOK: Final = 5_000  # between two looks at whether a restore is still wanted
PRODUCERS_KEPT: Final = 64  # of frames, the last ones seen: an ingest that restarts is a new one


class State(Protocol):
    """The reconcilers' state of one partition, as the shell sees it."""

    def restore(self, table: str, key: str, value: Any) -> None:
        """Take one row of a changelog."""

    def restored(self) -> None:
        """All rows are in: rebuild what is derived from them."""

    def drain(self) -> list[tuple[str, str, Any]]:
        """(table, key, value or None) of what changed since the last call, each key once."""


class Reconciler(NamedTuple):
    """The pure centre: making a state, applying a frame, and telling what is worth a row only now and then."""

    state: Callable[[Axis, int, int], Any]  # axis, partition, partitions
    apply: Callable[[Any, Frame], list[Outcome]]
    settle: Callable[[Any], list[Outcome]]
    tables: tuple[str, ...]


class Verdict(Enum):
    """What a frame is, compared with what was applied before it."""

    NEXT = auto()
    REPEAT = auto()  # it is in the state already
    HOLE = auto()  # frames before it are missing


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that one checkpoint writes, cut off from the state that goes on changing."""

    place: Place
    checkpoint: Checkpoint
    rows: Sequence[Row]
    outcomes: Sequence[Outcome]
    events: Sequence[Any]  # Faust events to acknowledge once it is written
    changes: int


@dataclass(slots=True)
class _Pending:
    """What was applied since the last snapshot."""

    states: dict[tuple[Output, str], Outcome] = field(default_factory=dict)  # the last one of a key wins
    happened: list[Outcome] = field(default_factory=list)  # every one counts
    events: list[Any] = field(default_factory=list)
    changes: int = 0

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Take outcomes, in the order in which they happened."""
        for outcome in outcomes:
            if outcome.output in STATE_OUTPUTS:
                self.states[outcome.output, outcome.key] = outcome
            else:
                self.happened.append(outcome)


class Shard:
    """The state of a place and its progress. All calls from one thread; only snapshots leave it."""

    def __init__(self, place: Place, epoch: int, state: State, reconciler: Reconciler, base: Checkpoint | None) -> None:
        self.place = place
        self.next_offset = base.next_offset if base else 0
        self.sought_from: int | None = None  # the last offset behind a hole that came, once the consumer was sent back
        self._state = state
        self._reconciler = reconciler
        self._stamp = Stamp(epoch, 0)
        self._base = base.stamp if base else None
        self._producers = dict(base.producers) if base else {}
        self._pending = _Pending()

    @classmethod
    def restored(
        cls, place: Place, partitions: int, epoch: int, reconciler: Reconciler, restored: Restored
    ) -> Shard:
        """The shard that a place's changelogs describe."""
        state = reconciler.state(place.axis, place.partition, partitions)
        watch, put = restored.watch, state.restore
        watch.rows = len(restored.rows)
        for number, (table, key, value) in enumerate(restored.rows.items(), start=1):
            put(table, key, value)
            if number % _ROWS_A_LOOK == 0:
                watch.built(_ROWS_A_LOOK)
        watch.deriving = True
        state.restored()
        watch.deriving = False
        return cls(place, epoch, state, reconciler, restored.checkpoint)

    @property
    def pending_frames(self) -> int:
        """Frames applied and not yet in a snapshot."""
        return len(self._pending.events)

    @property
    def pending_changes(self) -> int:
        """Changes applied and not yet in a snapshot."""
        return self._pending.changes

    def judge(self, offset: int, frame: Frame) -> Verdict:
        """Whether this frame is the next one.

        A producer's numbers have no gaps, and neither have offsets: where one producer ends and the next begins, only
        they tell that frames are missing.
        """
        if offset < self.next_offset:
            return Verdict.REPEAT
        expected = self._producers.get(frame.producer, 0)
        if offset > self.next_offset or frame.number > expected:
            return Verdict.HOLE
        return Verdict.NEXT if frame.number == expected else Verdict.REPEAT

    def skip(self, offset: int) -> None:
        """Pass over a frame that was applied before."""
        if offset >= self.next_offset:
            self.next_offset, self.sought_from = offset + 1, None

    def pass_gap(self, offset: int) -> None:
        """There is nothing in the log before this offset (a transaction leaves a marker, for instance)."""
        self.next_offset, self.sought_from = offset, None

    def apply(self, offset: int, frame: Frame, event: Any) -> None:
        """Apply the next frame; `event` is acknowledged when a checkpoint has it."""
        self._pending.add(self._reconciler.apply(self._state, frame))
        self._pending.events.append(event)
        self._pending.changes += len(frame.changes)
        self._producers.pop(frame.producer, None)
        self._producers[frame.producer] = frame.number + 1
        if len(self._producers) > PRODUCERS_KEPT:
            del self._producers[next(iter(self._producers))]
        self.next_offset = offset + 1
        self.sought_from = None

    def snapshot(self) -> Snapshot:
        """Cut off what is pending as the next checkpoint."""
        pending, self._pending = self._pending, _Pending()
        pending.add(self._reconciler.settle(self._state))
        self._stamp = Stamp(self._stamp.epoch, self._stamp.number + 1)
        rows = [
            (table, key.encode(), None if value is None else orjson.dumps(value))
            for table, key, value in self._state.drain()
        ]
        checkpoint = Checkpoint(
            self._stamp.epoch, self._stamp.number, self.next_offset, _puts(rows), self._base, dict(self._producers)
        )
        outcomes = [*pending.states.values(), *pending.happened]
        return Snapshot(self.place, checkpoint, rows, outcomes, pending.events, pending.changes)


def _puts(rows: Sequence[Row]) -> Mapping[str, int]:
    return dict(Counter([table for table, _, value in rows if value is not None]))
