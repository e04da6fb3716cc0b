"""Reads the compacted state topics from their beginning and for ever, all partitions, committed rows only.

Every API process holds everything, so there is no consumer group to balance: partitions are assigned by hand, and a
restart reads the topics again. Nothing is committed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tieout.codecs.avro import RowReader
from tieout.codecs.errors import DecodeError
from tieout.codecs.framing import unframe
from tieout.reconcilers.outcomes import Output
from tieout.schemas import avsc
from tieout.streams.api.live import OUTPUTS, Live, Record
from tieout.streams.ops import Answer, Heartbeat
from tieout.streams.topicread import Ends
from tieout.streams.topics import output_topic

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

log = logging.getLogger(__name__)

CONFIG: Final[Mapping[str, Any]] = {
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "error",  # reading begins at the beginning; a gap later is a failure, not a jump
    "isolation.level": "read_committed",
    "allow.auto.create.topics": False,
    "queued.max.messages.kbytes": 16_384,  # what librdkafka reads ahead of us
}
_BATCH: Final = 2_000
_WAIT_S: Final = 0.2
_LOOK_AGAIN_S: Final = 2.0  # for topics that are not there yet
_METADATA_S: Final = 10.0
_HANGS_S: Final = 60.0

Place = tuple[str, int]


class RowsMissing(Exception):
    """The broker no longer has rows of a compacted topic: every sum would be wrong, so none is shown."""


class Reader:
    """A thread that keeps `live` up to date; `config` is a librdkafka configuration with brokers and a group."""

    def __init__(
        self, live: Live, config: Mapping[str, Any], *, consumer: Callable[[dict[str, Any]], Any] | None = None
    ) -> None:
        self._live = live
        self._config = {**config, **CONFIG}
        self._consumer = consumer or _kafka
        self._stop = threading.Event()
        self._ends = Ends()
        self._outputs = {output_topic(output): output for output in OUTPUTS}
        self._rows = {output: RowReader(avsc(output.value)) for output in OUTPUTS}
        self._detail = "not connected yet"
        self.alive = Heartbeat(within_s=_HANGS_S)
        self._thread = threading.Thread(target=self._run, name="live-reader", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading and wait for the thread."""
        self._stop.set()
        self._thread.join(timeout=10)

    def ready(self) -> Answer:
        """Whether every topic has been read to its end once, or what is missing."""
        return Answer(self._live.ready.is_set(), self._detail)

    def _run(self) -> None:
        consumer = self._consumer(dict(self._config))
        try:
            self._assign(consumer)
            while not self._stop.is_set():
                self.alive.beat()
                self._take(consumer.consume(_BATCH, _WAIT_S))
        except Exception as error:
            log.exception("the live reader failed; the process is unready from now on")
            self._detail = f"the reader failed: {error}"
            self._live.ready.clear()
        finally:
            consumer.close()

    def _assign(self, consumer: Consumer) -> None:
        from confluent_kafka import OFFSET_BEGINNING, KafkaException, TopicPartition

        while not self._stop.is_set():
            self.alive.beat()
            try:
                places = self._places(consumer)
            except KafkaException as error:
                self._detail = f"brokers out of reach: {error}"
                places = []
            if places:
                self._ends = Ends.of(consumer, places)
                consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for topic, partition in places])
                return
            self._stop.wait(_LOOK_AGAIN_S)

    def _places(self, consumer: Consumer) -> list[Place]:
        """All partitions of all topics, none while a topic is missing; asking never creates one."""
        known = consumer.list_topics(timeout=_METADATA_S).topics
        missing = [topic for topic in self._outputs if topic not in known]
        if missing:
            self._detail = f"waiting for topics: {', '.join(missing)}"
            return []
        places = [(topic, partition) for topic in self._outputs for partition in known[topic].partitions]
        for place in places:
            _check_whole(consumer, place)
        return places

    def _take(self, messages: Iterable[Message]) -> None:
        records = [record for message in messages if (record := self._record(message)) is not None]
        if records:
            self._live.apply(records)
        if not self._live.ready.is_set():
            self._detail = f"{len(self._ends)} partitions still to be read" if self._ends else "read to the end"
            if not self._ends:
                self._live.ready.set()

    def _record(self, message: Message) -> Record | None:
        from confluent_kafka import KafkaError

        error, topic = message.error(), message.topic() or ""
        if error is None or error.code() == KafkaError._PARTITION_EOF:
            return self._decoded(self._outputs[topic], message) if self._ends.take(message) else None
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise RowsMissing(f"{topic}[{message.partition()}]: {error}")
        if not error.retriable():
            log.warning("%s[%s]: %s", topic, message.partition(), error)
        return None

    def _decoded(self, output: Output, message: Message) -> Record | None:
        key, value = message.key(), message.value()
        if key is None:
            return None
        try:
            row = None if value is None else self._rows[output].read(unframe(value).payload)
            return Record(output, key.decode(), row)
        except (DecodeError, UnicodeDecodeError) as error:
            log.error("%s[%s]@%s left out: %s", message.topic(), message.partition(), message.offset(), error)
            return None


def _check_whole(consumer: Consumer, place: Place) -> None:
    from confluent_kafka import TopicPartition

    low, _ = consumer.get_watermark_offsets(TopicPartition(*place), timeout=_METADATA_S)
    if low > 0:
        raise RowsMissing(f"{place[0]}[{place[1]}] begins at {low}, expected 0")


def _kafka(config: dict[str, Any]) -> Consumer:
    from confluent_kafka import Consumer

    return Consumer(config)
