"""What ingest writes, in the order in which it has to be durable, and how it reads its own rows back at start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import orjson

from tieout.reconcilers.entities import Axis
from tieout.streams.deadletters import Letter
from tieout.streams.frames import encode
from tieout.streams.identity import Identity
from tieout.streams.parking import Parked, Parking
from tieout.streams.pipeline import Batch
from tieout.streams.topicread import TopicReader, whole_topic
from tieout.streams.topics import DEAD_LETTER, PARKED, XREF, changes_topic

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

    from tieout.streams.settings import Settings

PRODUCER: Final[dict[str, Any]] = {"linger.ms": 2, "compression.type": "lz4", "message.max.bytes": 2_000_000}
WAIT_S: Final = 30.0


class DeliveryFailed(RuntimeError):
    """The brokers did not take what was made of a batch; its offsets stay uncommitted."""


class Outbox:
    """Delivers batches: what frames rely on first, then frames, then the tombstones of what frames now carry."""

    def __init__(self, producer: Producer, wait_s: float = WAIT_S) -> None:
        """`wait_s`: how long the brokers may take to accept a batch."""
        self._producer, self._wait_s = producer, wait_s
        self._failed: list[KafkaError] = []
        self.on_frame: Any = lambda topic, partition, offset, size: None

    def deliver(self, batch: Batch) -> None:
        """Return when the brokers have everything; raises DeliveryFailed."""
        for row, value in batch.xref.items():
            self._produce(XREF, row.encode(), value.encode())
        for name, parked in batch.parked.items():
            if parked is not None:
                self._produce(PARKED, name.encode(), orjson.dumps(parked.to_record()))
        for letter in batch.dead_letters:
            self._letter(letter)
        self._flush()
        for axis, partition, frame in batch.frames:
            self._produce(changes_topic(axis), str(partition).encode(), encode(frame), partition=partition,
                          on_delivery=self._frame_delivered)
        self._flush()
        for name, parked in batch.parked.items():
            if parked is None:
                self._produce(PARKED, name.encode(), None)
        self._flush()

    def _letter(self, letter: Letter) -> None:
        """Dated by now: retention would take a letter that bears the record's own, old timestamp."""
        self._produce(DEAD_LETTER, letter.origin.encode(), letter.value, headers=letter.to_headers())

    def _produce(self, topic: str, key: bytes, value: bytes | None, **options: Any) -> None:
        options.setdefault("on_delivery", self._delivered)
        while True:
            try:
                return self._producer.produce(topic, key=key, value=value, **options)
            except BufferError:
                self._producer.poll(0.1)

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failed.append(error)

    def _frame_delivered(self, error: KafkaError | None, message: Message) -> None:
        self._delivered(error, message)
        if error is None and message.topic() != changes_topic(Axis.CONTROL):
            self.on_frame(message.topic(), message.partition(), message.offset(), len(message.value() or b""))

    def _flush(self) -> None:
        left = self._producer.flush(self._wait_s)
        if left or self._failed:
            causes = ", ".join(sorted({str(error) for error in self._failed})) or f"no answer in {self._wait_s:.0f} s"
            raise DeliveryFailed(f"{left + len(self._failed)} records were not delivered: {causes}")


class IdMap:
    """The id map as all ingest processes write it: restored at an assignment, followed from there."""

    def __init__(self, settings: Settings) -> None:
        """Raises TopicMissing or KafkaException."""
        self._reader = TopicReader(settings, XREF)

    def restore(self) -> Identity:
        """Every row that is written now."""
        identity = Identity()
        for row, value in _rows(self._reader.to_the_end()):
            identity.restore(row, value)
        return identity

    def news(self) -> Iterator[tuple[str, str]]:
        """Rows written since, our own among them."""
        return _rows(self._reader.news())

    def close(self) -> None:
        """Stop following."""
        self._reader.close()


def _rows(messages: Iterable[Message]) -> Iterator[tuple[str, str]]:
    for message in messages:
        if (value := message.value()) is not None:
            yield (message.key() or b"").decode(), value.decode()


def restore_parking(settings: Settings, own: set[tuple[str, int]]) -> Parking:
    """What waits, of the raw partitions that are ours: the others have owners that release their own."""
    rows: dict[bytes, bytes] = {}
    for message in whole_topic(settings, PARKED):
        key, value = message.key() or b"", message.value()
        rows.pop(key, None)
        if value is not None:
            rows[key] = value
    parking = Parking()
    for value in rows.values():
        parked = Parked.from_record(orjson.loads(value))
        if parked.change.origin[:2] in own:
            parking.restore(parked)
    return parking
