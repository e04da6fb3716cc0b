"""Reading partitions in step on the log clock: a record waits until nothing older can still come on another partition.

With `clock = "log"` the largest timestamp seen is the processing instant. Partitions are fetched unevenly, so a reader
that takes them as they come would be hours ahead on one and would hold the sources of the others for stale.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tieout.codecs.records import RawRecord
from tieout.streams import clock

if TYPE_CHECKING:
    from confluent_kafka import Consumer

log = logging.getLogger(__name__)

Partition = tuple[str, int]
LONGEST_S: Final = 15.0  # a partition whose end cannot be reached (control records) holds the others no longer
_ASK_S: Final = 10.0


class Alignment:
    """Merges partitions by timestamp. `drained(partitions)` names those of them that are read to their present end."""

    def __init__(self, drained: Callable[[Iterable[Partition]], set[Partition]],
                 monotonic_s: Callable[[], float] = clock.monotonic_s) -> None:
        self._drained, self._monotonic_s = drained, monotonic_s
        self._waiting: dict[Partition, deque[tuple[int, RawRecord]]] = {}
        self._reached: dict[Partition, int] = {}  # largest timestamp taken in, milliseconds
        self._held_since_s: float | None = None

    def assigned(self, partitions: Iterable[Partition]) -> None:
        """Start afresh with these partitions; what waits was not committed and will be read again."""
        self._waiting = {partition: deque() for partition in partitions}
        self._reached = {}
        self._held_since_s = None

    def add(self, records: Iterable[RawRecord]) -> None:
        """Take in what was consumed. A timestamp that goes back counts as the one before it: order stays."""
        for record in records:
            partition = (record.topic, record.partition)
            reached = self._reached[partition] = max(self._reached.get(partition, record.ts_ms), record.ts_ms)
            self._waiting.setdefault(partition, deque()).append((reached, record))

    def ready(self) -> list[RawRecord]:
        """The records that nothing older can follow, merged by timestamp."""
        if not any(self._waiting.values()):
            self._held_since_s = None
            return []
        newest = max(self._reached.values())
        behind = {partition for partition in self._waiting if self._reached.get(partition, -1) < newest}
        unread = behind - self._drained(behind) if behind else behind
        limit = min((self._reached.get(partition, -1) for partition in unread), default=newest)
        if self._expired(holding=limit < newest):
            log.warning("%s held the others for %.0f s: going on without", sorted(unread), LONGEST_S)
            limit = newest
        return self._released(limit)

    def _expired(self, *, holding: bool) -> bool:
        now_s = self._monotonic_s()
        if not holding or self._held_since_s is None:
            self._held_since_s = now_s if holding else None
            return False
        return now_s - self._held_since_s > LONGEST_S

    def _released(self, limit: int) -> list[RawRecord]:
        released: list[tuple[int, RawRecord]] = []
        for waiting in self._waiting.values():
            while waiting and waiting[0][0] <= limit:
                released.append(waiting.popleft())
        return [record for _, record in sorted(released, key=lambda item: item[0])]


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
