"""What is left of a machine room when time, log, disk and death come from a seed.

The log is a dictionary of lists. A process is an object that a `Crash` takes away with everything it had not written.
Two kinds of broker: Apache Kafka, whose transactions are there whole or not at all and fence older producers, and the
embedded one, which shows what was produced before a crash and fences nobody.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, NamedTuple
from zlib import crc32

from confluent_kafka import KafkaError, KafkaException

Partition = tuple[str, int]


class Crash(Exception):
    """This process is gone, at the named point."""


class Record(NamedTuple):
    """A record of the log with the methods of a confluent message, as far as our readers use them."""

    at: Partition
    number: int
    raw_key: bytes | None
    raw_value: bytes | None
    raw_headers: tuple[tuple[str, Any], ...]

    def topic(self) -> str:
        return self.at[0]

    def partition(self) -> int:
        return self.at[1]

    def offset(self) -> int:
        return self.number

    def key(self) -> bytes | None:
        return self.raw_key

    def value(self) -> bytes | None:
        return self.raw_value

    def headers(self) -> list[tuple[str, Any]]:
        return [(name, value.encode() if isinstance(value, str) else value) for name, value in self.raw_headers]

    def timestamp(self) -> tuple[int, int]:
        return 1, 0

    def error(self) -> None:
        return None


class World:
    """The log, the broker's memory of producers and groups, and the dice."""

    def __init__(self, chance: Random, crashes: float, *, atomic: bool, wide: int) -> None:
        self.chance, self.atomic, self.wide = chance, atomic, wide
        self.log: dict[Partition, list[Record]] = defaultdict(list)
        self.partitions: dict[str, list[Partition]] = defaultdict(list)  # those of a topic that have records, in order
        self.committed: dict[tuple[str, Partition], int] = {}  # (group, partition) -> next offset
        self.fences: Counter[str] = Counter()  # transactional id -> the newest producer
        self.crashed: Counter[str] = Counter()  # by point
        self._crashes = crashes

    def at(self, point: str, share: float = 1.0) -> None:
        """A point at which the process that runs may die; `share` of the usual where it is passed for every record."""
        if self._crashes and self.chance.random() < self._crashes * share:
            self.crashed[point] += 1
            raise Crash(point)

    def append(self, topic: str, partition: int, key: Any, value: Any, headers: Any) -> Record:
        """Add a record to the log; a partition below 0 is chosen by the key."""
        key, value = (each.encode() if isinstance(each, str) else each for each in (key, value))
        if partition < 0:
            partition = crc32(key or b"") % self.wide
        records = self.log[topic, partition]
        if not records:
            insort(self.partitions[topic], (topic, partition))
        pairs = headers.items() if isinstance(headers, dict) else headers or ()
        records.append(Record((topic, partition), len(records), key, value, tuple(pairs)))
        return records[-1]

    def whole(self, topic: str) -> Iterator[Record]:
        """Everything in a topic."""
        for at in list(self.partitions[topic]):
            yield from list(self.log[at])


class Producer:
    """A confluent producer over the world's log."""

    def __init__(self, world: World, transactional_id: str | None = None) -> None:
        self._world, self._id = world, transactional_id
        self._epoch = 0
        self._queue: list[tuple[tuple[Any, ...], Callable[..., None] | None]] = []

    def produce(
        self, topic: str, value: Any = None, key: Any = None, partition: int = -1,
        callback: Callable[..., None] | None = None, on_delivery: Callable[..., None] | None = None,
        timestamp: int = 0, headers: Any = None,
    ) -> None:
        """Queue a record; `callback` is the client's other name for `on_delivery`."""
        self._queue.append(((topic, partition, key, value, headers), on_delivery or callback))

    def poll(self, _timeout: float = 0) -> int:
        return 0

    def flush(self, _timeout: float = 0) -> int:
        """Deliver what is queued; a crash leaves a part of it, of each partition the first ones."""
        self._deliver("delivering frames")
        return 0

    def init_transactions(self, _timeout: float = 0) -> None:
        """Shut out every older producer of this id."""
        assert self._id is not None
        self._world.fences[self._id] += 1
        self._epoch = self._world.fences[self._id]

    def begin_transaction(self) -> None:
        self._queue.clear()

    def abort_transaction(self, _timeout: float = 0) -> None:
        self._queue.clear()

    def commit_transaction(self, _timeout: float = 0) -> None:
        """All of it or, after a crash, nothing; on the embedded broker a part of it."""
        assert self._id is not None
        if self._world.atomic:
            if self._world.fences[self._id] != self._epoch:
                raise KafkaException(KafkaError(KafkaError._FENCED))
            self._world.at("before the transaction's end")
            self._append()
        else:
            self._deliver("in the middle of a transaction")
        self._world.at("after the transaction, before the acknowledgement")

    def _deliver(self, point: str) -> None:
        while self._queue:
            at = self._world.chance.randrange(len(self._queue))
            topic, partition = self._queue[at][0][:2]
            first = next(n for n, (record, _) in enumerate(self._queue) if record[:2] == (topic, partition))
            self._world.at(point, 0.05)
            self._one(*self._queue.pop(first))

    def _append(self) -> None:
        for record, told in self._queue:
            self._one(record, told)
        self._queue.clear()

    def _one(self, record: tuple[Any, ...], told: Callable[..., None] | None) -> None:
        message = self._world.append(*record)
        if told:
            told(None, message)
