"""In which order a replay reads its lines: as captured, shuffled between source objects, some of them twice."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from random import Random
from typing import Final

from tieout.codecs.records import RawRecord

_FURTHER_SHARE: Final = 0.5  # of the repeated lines come a third time
_FURTHEST: Final = 200  # lines between a line and its third delivery, at most


def shuffled(records: Iterable[RawRecord], seed: int) -> list[RawRecord]:
    """A seeded interleaving of the source objects (topic partitions); the order within each stays."""
    random = Random(seed)
    streams: dict[tuple[str, int], deque[RawRecord]] = defaultdict(deque)
    for record in records:
        streams[record.topic, record.partition].append(record)
    names = sorted(streams)
    order: list[RawRecord] = []
    while names:
        at = random.randrange(len(names))
        order.append(streams[names[at]].popleft())
        if not streams[names[at]]:
            names[at] = names[-1]
            names.pop()
    return order


def duplicated(records: Iterable[RawRecord], share: float, seed: int) -> Iterator[RawRecord]:
    """The records with a seeded share of them delivered again: at once, and half of these once more further on."""
    random = Random(seed)
    later: list[tuple[int, int, RawRecord]] = []  # due position, tie-break, record
    for position, record in enumerate(records):
        while later and later[0][0] <= position:
            yield heappop(later)[2]
        yield record
        if random.random() < share:
            yield record
            if random.random() < _FURTHER_SHARE:
                heappush(later, (position + random.randint(1, _FURTHEST), position, record))
    while later:
        yield heappop(later)[2]


def moments(records: Sequence[RawRecord], stating: Sequence[bool], most: int) -> Iterator[list[RawRecord]]:
    """Cut the lines where a frame must end so that a watermark is dated by the instant at which it was stated.

    A chunk ends before the first line that would move the processing instant on after a statement, or at `most` lines.
    """
    chunk: list[RawRecord] = []
    now_ms, stated = -1, False
    for record, states in zip(records, stating, strict=True):
        if chunk and (len(chunk) >= most or (stated and record.ts_ms > now_ms)):
            yield chunk
            chunk, stated = [], False
        chunk.append(record)
        now_ms, stated = max(now_ms, record.ts_ms), stated or states
    if chunk:
        yield chunk
