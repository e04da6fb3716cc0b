"""Reading the output topics from where the store says: assignment without a group, DuckDB holds the offsets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from tieout.streams.settings import Settings
from tieout.streams.sinks.intake import TOPICS
from tieout.streams.topics import DEAD_LETTER

PREFETCH_KB: Final = 16_384  # what librdkafka reads ahead of us
_BROKER_S: Final = 10.0
TOPICS_S: Final = (0.2, 5.0)  # first and longest pause while topics are missing at the start
_RETENTION_ENDS: Final = frozenset({DEAD_LETTER})  # topics that forget; all others keep everything

log = logging.getLogger(__name__)


class RecordsLost(Exception):
    """A topic no longer has the records that the store would read next: going on would leave a gap."""


class OutputReader:
    """A consumer of all output topics, assigned by hand."""

    def __init__(self, settings: Settings) -> None:
        self._consumer = Consumer(settings.kafka_client({
            "group.id": settings.group("sink"),  # only to show lag: nobody else may rely on its offsets
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "queued.max.messages.kbytes": PREFETCH_KB,
        }))
        self._assigned: list[TopicPartition] = []

    def assign(self, stored: Mapping[tuple[str, int], int]) -> list[str]:
        """Take every partition of the output topics from its stored offset on; the topics that are missing, if any.

        Raises KafkaException when the cluster cannot be asked, RecordsLost when a topic has a gap.
        """
        known = self._consumer.list_topics(timeout=_BROKER_S).topics
        missing = [topic for topic in TOPICS if topic not in known or not known[topic].partitions]
        if missing:
            return missing
        places = [(topic, partition) for topic in TOPICS for partition in sorted(known[topic].partitions)]
        self._assigned = [TopicPartition(*place, self._start(place, stored.get(place))) for place in places]
        self._consumer.assign(self._assigned)
        return []

    def consume(self, records: int, timeout_s: float) -> list[Message]:
        """At most so many records, in order per partition; RecordsLost when some vanished unread."""
        messages: list[Message] = []
        for message in self._consumer.consume(records, timeout_s):
            error = message.error()
            if error is None:
                messages.append(message)
            else:
                _complain(message, error)
        return messages

    def hint(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Show the group's lag to Kafka's tools; failing costs nothing."""
        try:
            self._consumer.commit(offsets=[TopicPartition(*place, offset) for place, offset in offsets.items()],
                                  asynchronous=True)
        except KafkaException as error:
            log.debug("offsets not shown to Kafka: %s", error)

    def lags(self) -> dict[tuple[str, int], int]:
        """Records between what was consumed and the end of each partition, as far as the client knows."""
        found: dict[tuple[str, int], int] = {}
        for at in self._consumer.position(self._assigned):
            low, high = self._consumer.get_watermark_offsets(at, cached=True)
            if high >= 0:
                found[at.topic, at.partition] = max(0, high - (at.offset if at.offset >= 0 else max(low, 0)))
        return found

    def close(self) -> None:
        """Leave."""
        self._consumer.close()

    def _start(self, place: tuple[str, int], stored: int | None) -> int:
        if stored is None:
            return OFFSET_BEGINNING
        low, high = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=_BROKER_S)
        if low <= stored <= high:
            return stored
        name = f"{place[0]}/{place[1]}"
        if stored > high:
            raise RecordsLost(
                f"{name} ends at {high}, the store has read up to {stored}: the topic was made anew. Move the store "
                "away; the sink fills a new one")
        if place[0] in _RETENTION_ENDS:
            log.warning("%s: %d dead letters were deleted by retention before the sink read them", name, low - stored)
            return low
        raise RecordsLost(
            f"{name} begins at {low}, the store has read up to {stored}: {low - stored} records are gone. Rebuild the "
            "store with `tieout replay`, and give the topic more retention")


def _complain(message: Message, error: KafkaError) -> None:
    where = f"{message.topic()}/{message.partition()}"
    if error.code() == KafkaError._AUTO_OFFSET_RESET:
        raise RecordsLost(f"{where}: records vanished before the sink read them ({error.str()})")
    log.warning("%s: %s", where, error.str())


def until_assigned(
    reader: OutputReader, stored: Mapping[tuple[str, int], int], wait: Callable[[float], Any]
) -> bool:
    """Try until all topics are there; False when `wait(seconds)` says that it is time to stop."""
    delay_s, longest_s = TOPICS_S
    while True:
        try:
            missing = reader.assign(stored)
            if not missing:
                return True
            log.info("waiting for topics: %s", ", ".join(missing))
        except KafkaException as error:
            log.warning("Kafka cannot be reached, trying again in %.1f s: %s", delay_s, error)
        if wait(delay_s):
            return False
        delay_s = min(delay_s * 2, longest_s)
