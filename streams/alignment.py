"""Reading partitions in step on the log clock: a record waits until nothing older can still come on another partition.

With `clock = "log"` the largest timestamp seen is the processing instant. Partitions are fetched unevenly, so a reader
that takes them as they come would be hours ahead on one and would hold the sources of the others for stale.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from tieout.codecs.records import RawRecord
from tieout.streams import clock

if TYPE_CHECKING:
    from confluent_kafka import Consumer

log = logging.getLogger(__name__)

Partition = tuple[str, int]
LONGEST_S: Final = 15.0  # a partition whose end cannot be reached (it ends in control records) holds no longer
LONGEST_STEP_MS: Final = 1_800_000
_ASK_S: Final = 10.0


class Alignment:
    """Merges partitions by timestamp. `drained(partitions)` names those of them that are read to their present end."""

    def __init__(self, drained: Callable[[Iterable[Partition]], set[Partition]],
                 monotonic_s: Callable[[], float] = clock.monotonic_s) -> None:
        self._drained, self._monotonic_s = drained, monotonic_s
        self._waiting: dict[Partition, deque[tuple[int, RawRecord]]] = {}
        self._reached: dict[Partition, int] = {}  # largest timestamp taken in, milliseconds
        self._unread_since_s: dict[Partition, float] = {}  # more was there, and nothing came

    def assigned(self, partitions: Iterable[Partition]) -> None:
        """Start afresh with these partitions; what waits was not committed and will be read again."""
        self._waiting = {partition: deque() for partition in partitions}
        self._reached, self._unread_since_s = {}, {}

    def step(self, records: Iterable[RawRecord], *, reading: bool = True) -> list[RawRecord]:
        """Take in what was consumed; the records that nothing older can follow. None while reading is paused."""
        self._add(records)
        if reading and any(self._waiting.values()):
            return self._released(self._limit())
        self._unread_since_s.clear()
        return []

    def _add(self, records: Iterable[RawRecord]) -> None:
        """A timestamp that goes back counts as the one before it: order within a partition stays."""
        for record in records:
            partition = (record.topic, record.partition)
            reached = self._reached[partition] = max(self._reached.get(partition, record.ts_ms), record.ts_ms)
            self._waiting.setdefault(partition, deque()).append((reached, record))
            self._unread_since_s.pop(partition, None)

    def _limit(self) -> int:
        """The timestamp up to which every partition is known: that of the last one that has more to read."""
        newest = max(self._reached.values())
        behind = {partition for partition in self._waiting if self._reached.get(partition, -1) < newest}
        unread = behind - self._drained(behind) if behind else behind
        return min((self._reached.get(partition, -1) for partition in unread - self._stuck(unread)), default=newest)

    def _stuck(self, unread: set[Partition]) -> set[Partition]:
        """Those of which nothing has come for too long."""
        now_s = self._monotonic_s()
        self._unread_since_s = {partition: self._unread_since_s.get(partition, now_s) for partition in unread}
        stuck = {partition for partition, since_s in self._unread_since_s.items() if now_s - since_s > LONGEST_S}
        if stuck:
            log.warning("nothing came from %s for %.0f s: going on without", sorted(stuck), LONGEST_S)
        return stuck

    def _released(self, limit: int) -> list[RawRecord]:
        released: list[tuple[int, RawRecord]] = []
        for waiting in self._waiting.values():
            while waiting and waiting[0][0] <= limit:
                released.append(waiting.popleft())
        return [record for _, record in sorted(released, key=lambda item: item[0])]


def steps(records: Iterable[RawRecord]) -> Iterator[list[RawRecord]]:
    """Cut records so that none of the parts moves the log clock on by more than half an hour.

    How late a source is can be seen only between two parts, and a turn of a busy reader may span a day.
    """
    part: list[RawRecord] = []
    for record in records:
        if part and record.ts_ms - part[0].ts_ms > LONGEST_STEP_MS:
            yield part
            part = []
        part.append(record)
    if part:
        yield part


class Ends:
    """Asks the broker which partitions a consumer has read to their end.

    On a connection of its own: on the consumer's, a question waits behind a fetch that waits for records.
    """

    def __init__(self, consumer: Consumer, client: Mapping[str, Any]) -> None:
        from confluent_kafka.admin import AdminClient

        self._consumer, self._admin = consumer, AdminClient(dict(client))
        self._begins: dict[Partition, int] = {}  # where reading begins, where something is committed

    def assigned(self, partitions: Iterable[Partition]) -> None:
        """Remember where reading begins: a consumer has no position before its first record."""
        from confluent_kafka import TopicPartition

        asked = [TopicPartition(topic, number) for topic, number in partitions]
        self._begins = {(tp.topic, tp.partition): tp.offset for tp in self._consumer.committed(asked, _ASK_S)}

    def __call__(self, partitions: Iterable[Partition]) -> set[Partition]:
        """Those of the partitions that hold nothing unread at this moment."""
        from confluent_kafka import TopicPartition
        from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

        asked = [TopicPartition(topic, number) for topic, number in partitions]
        latest: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        answers = self._admin.list_offsets(dict.fromkeys(asked, latest), request_timeout=_ASK_S)
        ends = {(tp.topic, tp.partition): answer.result().offset for tp, answer in answers.items()}
        drained = set()
        for tp in self._consumer.position(asked):
            partition = (tp.topic, tp.partition)
            position = tp.offset if tp.offset >= 0 else max(0, self._begins.get(partition, 0))
            if position >= ends[partition]:
                drained.add(partition)
        return drained
