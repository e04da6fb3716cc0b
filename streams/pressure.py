"""Back-pressure: how far a writer is ahead of the slowest reader of its topics, and when it has to wait.

Anything that writes faster than somebody reads uses it: the simulator ahead of ingest, ingest ahead of the worker,
the worker ahead of the sink. On the embedded broker, which forgets what is older than about 5 MB a partition, it also
finds out that something was forgotten before it was read.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from tieout.streams import clock
from tieout.streams.embedded import is_embedded

if TYPE_CHECKING:
    from tieout.streams.settings import Settings

log = logging.getLogger(__name__)

Partition = tuple[str, int]

REFRESH_S: Final = 0.25
_RESUME_AT: Final = 0.5  # of the limit: a margin, so that the writer does not stop and go at every record
_UNKNOWN_SIZE: Final = 4_096  # bytes of a record of which only the offset is known
_TIMEOUT_S: Final = 10.0


class Standing(NamedTuple):
    """A partition as its readers see it: the offset that they read next, its first and its next offset."""

    committed: int | None  # None: nobody has committed yet
    low: int
    high: int


class RecordsLost(RuntimeError):
    """The broker dropped records that a reader had not read: what it computes from now on would be wrong."""

    def __init__(self, partition: Partition, standing: Standing) -> None:
        topic, number = partition
        super().__init__(
            f"{topic}/{number}: the reader is at offset {standing.committed or 0}, but the broker keeps records only "
            f"from {standing.low} on: {standing.low - (standing.committed or 0)} records are lost. "
            "Lower ingest.max_ahead_bytes, or use a broker that keeps them, and start again from empty topics."
        )


@dataclass
class Ahead:
    """What is sent and not yet read on one partition: (offset, bytes) in order of offsets."""

    sent: deque[tuple[int, int]] = field(default_factory=deque)
    size: int = 0
    before: int = 0  # bytes that were there, unread, before our first record

    def add(self, offset: int, size: int) -> None:
        """A record was delivered."""
        self.sent.append((offset, size))
        self.size += size

    def read_to(self, standing: Standing) -> None:
        """Take off what the readers have read."""
        committed = max(standing.committed or 0, standing.low)
        while self.sent and self.sent[0][0] < committed:
            self.size -= self.sent.popleft()[1]
        first = self.sent[0][0] if self.sent else standing.high
        self.before = max(0, first - committed) * _UNKNOWN_SIZE


class Pressure:
    """Tells a writer to wait while a partition holds more than `limit` unread bytes, until it is at half of that.

    `lossy`: the broker forgets unread records (`forgets`), so a low watermark past the reader raises RecordsLost.
    """

    def __init__(
        self,
        standings: Callable[[Iterable[Partition]], Mapping[Partition, Standing]],
        limit: int,
        *,
        lossy: bool = False,
        refresh_s: float = REFRESH_S,
        monotonic_s: Callable[[], float] = clock.monotonic_s,
    ) -> None:
        self._standings, self._limit, self._lossy = standings, limit, lossy
        self._refresh_s, self._monotonic_s = refresh_s, monotonic_s
        self._next_s = 0.0
        self._ahead: dict[Partition, Ahead] = {}
        self._waiting = False

    def watch(self, partitions: Iterable[Partition]) -> None:
        """Count what is already unread on these partitions, from the next refresh on."""
        for partition in partitions:
            self._ahead.setdefault(partition, Ahead())

    def sent(self, topic: str, partition: int, offset: int, size: int) -> None:
        """A record of ours was delivered: `size` in bytes."""
        self._ahead.setdefault((topic, partition), Ahead()).add(offset, size)

    @property
    def outstanding(self) -> int:
        """Unread bytes of the partition that has most."""
        return max((ahead.size + ahead.before for ahead in self._ahead.values()), default=0)

    def wait(self) -> bool:
        """Whether to hold back now; asks the broker at most every `refresh_s`. Raises RecordsLost."""
        if self._ahead and (now_s := self._monotonic_s()) >= self._next_s:
            self._next_s = now_s + self._refresh_s
            self._refresh()
        limit = self._limit * _RESUME_AT if self._waiting else self._limit
        self._waiting = self.outstanding > limit
        return self._waiting

    def _refresh(self) -> None:
        for partition, standing in self._standings(list(self._ahead)).items():
            if self._lossy and standing.low > (standing.committed or 0):
                raise RecordsLost(partition, standing)
            self._ahead[partition].read_to(standing)


class GroupProgress:
    """Asks the broker how far a consumer group has read; it joins no group."""

    def __init__(self, settings: Settings, group: str) -> None:
        from confluent_kafka import Consumer

        self._consumer = Consumer(settings.kafka_client({"group.id": group, "enable.auto.commit": False}))

    def __call__(self, partitions: Iterable[Partition]) -> dict[Partition, Standing]:
        """The standing of each partition; of those that were asked before an error, for it may be a passing one."""
        from confluent_kafka import KafkaException

        answers: dict[Partition, Standing] = {}
        try:
            self._ask(partitions, answers)
        except KafkaException as error:
            if error.args[0].fatal():
                raise
            log.warning("the readers' offsets are not known now, so they count as before: %s", error.args[0])
        return answers

    def _ask(self, partitions: Iterable[Partition], answers: dict[Partition, Standing]) -> None:
        from confluent_kafka import TopicPartition

        asked = [TopicPartition(topic, number) for topic, number in partitions]
        for tp in self._consumer.committed(asked, _TIMEOUT_S):
            low, high = self._consumer.get_watermark_offsets(TopicPartition(tp.topic, tp.partition), _TIMEOUT_S)
            answers[tp.topic, tp.partition] = Standing(tp.offset if tp.offset >= 0 else None, low, high)

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


def forgets(cluster_id: str | None) -> bool:
    """Whether a cluster is librdkafka's mock one, which drops records that nobody has read yet."""
    return is_embedded(cluster_id)
