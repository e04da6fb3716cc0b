"""Reading a whole topic: from its first record to the end that it has now, and what comes after."""

from __future__ import annotations

from collections.abc import Iterator
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


class TopicReader:
    """Reads all partitions of a topic: once to the end that it has now, afterwards what is new."""

    def __init__(self, settings: Settings, topic: str) -> None:
        """Raises TopicMissing, or KafkaException when the cluster is away."""
        from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

        self._consumer = Consumer(settings.kafka_client({
            "group.id": f"{settings.kafka.group}-read", "enable.auto.commit": False, "auto.offset.reset": "earliest",
            "enable.partition.eof": True, "isolation.level": "read_committed", "log_level": 0,  # errors are raised
        }))
        self._partitions = partitions_of(self._consumer, topic)
        self._consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in self._partitions])

    def to_the_end(self) -> Iterator[Message]:
        """Every committed record, in order within each partition, tombstones included."""
        unread = set(self._partitions)
        heard_s = clock.monotonic_s()
        while unread:
            for message in self._consumer.consume(_BATCH, _POLL_S):
                heard_s = clock.monotonic_s()
                if _at_end(message):
                    unread.discard(message.partition() or 0)
                elif message.error() is None:
                    yield message
            if clock.monotonic_s() - heard_s > _STALLED_S:
                raise TimeoutError(f"no answer from the brokers for {_STALLED_S:.0f} s while reading a topic")

    def news(self) -> Iterator[Message]:
        """What has arrived since, without waiting for anything."""
        for message in self._consumer.consume(_BATCH, 0):
            if not _at_end(message) and message.error() is None:
                yield message

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


def _at_end(message: Message) -> bool:
    """Whether it says that a partition is read to its end; librdkafka gets over other errors, unless they are fatal."""
    from confluent_kafka import KafkaError, KafkaException

    error = message.error()
    if error is not None and error.fatal():
        raise KafkaException(error)
    return error is not None and error.code() == KafkaError._PARTITION_EOF
