"""Reading a whole topic: from its first record to the end that it has now, and what comes after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from sys import maxsize
from typing import TYPE_CHECKING, Final

from tieout.streams import clock

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

    from tieout.streams.settings import Settings

_TIMEOUT_S: Final = 15.0
_BATCH: Final = 1_000
_STALLED_S: Final = 60.0
_POLL_S: Final = 0.02  # short: a longer one would be waited out at the end of the topic


class TopicMissing(LookupError):
    """A topic of ours is not there."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"topic {topic} does not exist: create ours with 'tieout topics apply'")


def partitions_of(consumer: Consumer, topic: str) -> list[int]:
    """The topic's partitions; raises TopicMissing, or KafkaException when the cluster is away."""
    metadata = consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
    if metadata.error is not None or not metadata.partitions:
        raise TopicMissing(topic)
    return sorted(metadata.partitions)


class Ends:
    """The partitions that are not read yet to the ends they had at the start.

    librdkafka tells the end of a partition only by a fetch that found nothing, which one that is written to all the
    time never has; and the last record before an end may be a transaction's marker, which is no message. Both count.
    """

    def __init__(self, ends: Mapping[tuple[str, int], int] = {}) -> None:
        """`ends`: the offset behind the last record, of partitions that have any."""
        self._ends = dict(ends)

    @classmethod
    def of(cls, consumer: Consumer, places: Iterable[tuple[str, int]]) -> Ends:
        """Ask for the ends; what cannot be read yet, since its transaction is open, is not before them."""
        from confluent_kafka import TopicPartition

        asked = {place: consumer.get_watermark_offsets(TopicPartition(*place), timeout=_TIMEOUT_S) for place in places}
        return cls({place: end for place, (low, end) in asked.items() if end > low})

    def __len__(self) -> int:
        return len(self._ends)

    def take(self, message: Message) -> bool:
        """Note how far a partition is; whether it is a record. Raises KafkaException for an error that is fatal."""
        from confluent_kafka import KafkaError, KafkaException

        place, error = (message.topic() or "", message.partition() or 0), message.error()
        if error is None:
            if (message.offset() or 0) + 1 >= self._ends.get(place, maxsize):
                del self._ends[place]
        elif error.code() == KafkaError._PARTITION_EOF:
            self._ends.pop(place, None)
        elif error.fatal():  # librdkafka gets over all others
            raise KafkaException(error)
        return error is None


class TopicReader:
    """Reads all partitions of a topic: once to the end that it has now, afterwards what is new."""

    def __init__(self, settings: Settings, topic: str) -> None:
        """Raises TopicMissing, or KafkaException when the cluster is away."""
        from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

        self._consumer = Consumer(settings.kafka_client({
            "group.id": f"{settings.kafka.group}-read", "enable.auto.commit": False, "auto.offset.reset": "earliest",
            "enable.partition.eof": True, "isolation.level": "read_committed", "log_level": 0,  # errors are raised
        }))
        places = [(topic, number) for number in partitions_of(self._consumer, topic)]
        self._ends = Ends.of(self._consumer, places)
        self._consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in places])

    def to_the_end(self) -> Iterator[Message]:
        """Every committed record, in order within each partition, tombstones included."""
        heard_s = clock.monotonic_s()
        while self._ends:
            for message in self._consumer.consume(_BATCH, _POLL_S):
                heard_s = clock.monotonic_s()
                if self._ends.take(message):
                    yield message
            if clock.monotonic_s() - heard_s > _STALLED_S:
                raise TimeoutError(f"no answer from the brokers for {_STALLED_S:.0f} s while reading a topic")

    def news(self) -> Iterator[Message]:
        """What has arrived since, without waiting for anything."""
        yield from filter(self._ends.take, self._consumer.consume(_BATCH, 0))

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


def whole_topic(settings: Settings, topic: str) -> Iterator[Message]:
    """Every committed record of the topic as it is now."""
    reader = TopicReader(settings, topic)
    try:
        yield from reader.to_the_end()
    finally:
        reader.close()
