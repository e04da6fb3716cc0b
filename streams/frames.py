"""Frames: changes gathered per partition, with what is known about time when they are sent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import orjson

from tieout.reconcilers.changes import NEVER, Change, Frame
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.tallies import Tally

FRAME_CHANGES: Final = 500
FRAME_BYTES: Final = 256 * 1024
FRAMES_A_BATCH: Final = 16  # records that are read at once by an ingest that is behind, in full frames


class Outgoing(NamedTuple):
    """A frame and the partition of the axis that it goes to."""

    axis: Axis
    partition: int
    frame: Frame


def encode(frame: Frame) -> bytes:
    """A frame as the bytes of a Kafka value."""
    return orjson.dumps(frame.to_record())


def decode(value: bytes) -> Frame:
    """The frame that `encode` wrote; raises ValueError for another version."""
    return Frame.from_record(orjson.loads(value))


class Watermarks:
    """The watermark of each raw partition: it never goes back, and is unknown until it is stated."""

    def __init__(self) -> None:
        self._stated: dict[str, int] = {}

    def state(self, raw_partition: str, through_us: int) -> None:
        """Everything in the raw partition that was committed until then has been delivered."""
        self._stated[raw_partition] = max(through_us, self._stated.get(raw_partition, NEVER))

    def forget(self, raw_partitions: Iterable[str]) -> None:
        """Say nothing more about partitions that another process reads from now on."""
        for raw_partition in raw_partitions:
            self._stated.pop(raw_partition, None)

    def vector(self) -> dict[str, int]:
        """What is stated now."""
        return dict(self._stated)


class Moment(NamedTuple):
    """What a frame says about time: processing instant, watermarks, and the raw partitions of each source."""

    now_us: int
    watermarks: Mapping[str, int]
    sources: Mapping[str, list[str]]
    fresh: tuple[str, ...] = ()


class Framer:
    """Cuts frames for every partition and numbers them per (producer, axis, partition) from 0 without gaps."""

    def __init__(self, producer: str, partitions: int, *, changes: int = FRAME_CHANGES,
                 size: int = FRAME_BYTES) -> None:
        self.producer = producer
        self.partitions = partitions
        self._most_changes, self._most_bytes = changes, size
        self._numbers: dict[tuple[Axis, int], int] = defaultdict(int)
        self._before: Moment | None = None

    def frames(
        self, changes: Mapping[int, Sequence[Change]], moment: Moment, by_worker: Mapping[int, Sequence[Change]],
        control: Sequence[Change] = (), tallies: Sequence[Tally] = (),
    ) -> list[Outgoing]:
        """One frame or more for each partition of the project and the worker axis, then those for control.

        Only the last frame of a partition states the new moment: the changes that it speaks of are all before it.
        """
        before = self._before or moment._replace(watermarks={}, fresh=())
        out: list[Outgoing] = []
        for axis, of_axis in ((Axis.PROJECT, changes), (Axis.WORKER, by_worker)):
            for partition in range(self.partitions):
                *full, last = self._chunks(of_axis.get(partition, ()))
                out += [self._frame(axis, partition, before, chunk) for chunk in full]
                out.append(self._frame(axis, partition, moment, last))
        *full, last = self._chunks(control)
        out += [self._frame(Axis.CONTROL, 0, before, chunk) for chunk in full]
        out.append(self._frame(Axis.CONTROL, 0, moment, last, tallies))
        self._before = moment
        return out

    def _frame(
        self, axis: Axis, partition: int, moment: Moment, changes: Sequence[Change], tallies: Sequence[Tally] = ()
    ) -> Outgoing:
        number = self._numbers[axis, partition]
        self._numbers[axis, partition] = number + 1
        frame = Frame(self.producer, number, moment.now_us, tuple(changes), moment.watermarks, moment.sources,
                      tuple(tallies), moment.fresh)
        return Outgoing(axis, partition, frame)

    def _chunks(self, changes: Sequence[Change]) -> Iterator[list[Change]]:
        """The changes in order, cut at the limits; a single empty chunk when there are none."""
        chunk: list[Change] = []
        size = 0
        for change in changes:
            weight = _weight(change)
            if chunk and (len(chunk) >= self._most_changes or size + weight > self._most_bytes):
                yield chunk
                chunk, size = [], 0
            chunk.append(change)
            size += weight
        yield chunk


_WEIGHT_OF_NAMES: Final = 120  # the short names, numbers and punctuation of a change's record


def _weight(change: Change) -> int:
    """The bytes of a change in a frame, less what escaping adds to its names."""
    texts = len(change.key) + len(change.subject) + len(change.seq) + len(change.event_id) + len(change.source)
    return _WEIGHT_OF_NAMES + texts + len(change.origin[0]) + len(orjson.dumps(change.asserted, default=dict))
