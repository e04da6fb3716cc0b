"""Records that could not be read: kept as raw bytes with reason and hint, listed, and sent once more when repaired.

A letter's key is the record's origin ("topic/3/42"). Its headers are the record's own, Kafka Connect's
`__connect.errors.*`, and ours; `tieout_status` is there only on the marker that follows a letter once it was replayed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, cast

from tieout.streams import clock
from tieout.streams.topicread import whole_topic
from tieout.streams.topics import DEAD_LETTER

if TYPE_CHECKING:
    from confluent_kafka import Producer

    from tieout.streams.settings import Settings

Header = tuple[str, bytes | None]

CONNECT: Final = "__connect.errors."
OURS: Final = "tieout_"
REPLAYED_FROM: Final = "tieout_replayed_from"  # on a raw record that was sent once more
REPLAYED: Final = "REPLAYED"
_STAGE: Final = "VALUE_CONVERTER"
_TIMEOUT_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Letter:
    """A raw record that could not be read, and why. `ts_us` is the record's Kafka timestamp in microseconds."""

    topic: str
    partition: int
    offset: int
    ts_us: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]
    reason: str
    hint: str
    message: str = ""
    error: str = ""
    source: str = ""
    object: str = ""
    replayed: bool = False

    @property
    def origin(self) -> str:
        """Where the record stands: 'topic/partition/offset'."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    def to_headers(self) -> list[Header]:
        """The record's own headers and what is known about its failure."""
        connect = {
            "topic": self.topic, "partition": str(self.partition), "offset": str(self.offset),
            "connector.name": "tieout-ingest", "task.id": "0", "stage": _STAGE, "class.name": "tieout.codecs",
            "exception.class.name": self.error, "exception.message": self.message,
        }
        ours = {
            "reason": self.reason, "hint": self.hint, "source": self.source, "object": self.object,
            "ts_us": str(self.ts_us),
        }
        headers = list(self.headers)
        headers += [(CONNECT + name, text.encode()) for name, text in connect.items()]
        headers += [(OURS + name, text.encode()) for name, text in ours.items()]
        if self.key is not None:
            headers.append((OURS + "key", self.key))
        return headers

    def to_row(self) -> dict[str, Any]:
        """The letter as a row of the analyst store."""
        return {
            "topic": self.topic, "partition": self.partition, "offset": self.offset, "ts": self.ts_us,
            "source": self.source, "object": self.object, "reason": self.reason, "hint": self.hint,
            "payload": self.value,
        }


def letter_of(headers: Iterable[Header], value: bytes | None) -> Letter:
    """The letter that `to_headers` described; raises ValueError when the headers are not a letter's."""
    own, notes = _split(headers)
    try:
        return Letter(
            notes[CONNECT + "topic"].decode(), int(notes[CONNECT + "partition"]), int(notes[CONNECT + "offset"]),
            int(notes[OURS + "ts_us"]), notes.get(OURS + "key"), value, own, notes[OURS + "reason"].decode(),
            notes[OURS + "hint"].decode(), notes[CONNECT + "exception.message"].decode(),
            notes[CONNECT + "exception.class.name"].decode(), notes[OURS + "source"].decode(),
            notes[OURS + "object"].decode(),
        )
    except KeyError as missing:
        raise ValueError(f"not a dead letter: header {missing.args[0]} is missing") from None


def _split(headers: Iterable[Header]) -> tuple[tuple[Header, ...], dict[str, bytes]]:
    """The record's own headers, and by name those that we added."""
    own: list[Header] = []
    notes: dict[str, bytes] = {}
    for name, value in headers:
        if name.startswith((CONNECT, OURS)) and name != REPLAYED_FROM:
            notes[name] = value or b""
        else:
            own.append((name, value))
    return tuple(own), notes


def is_marker(headers: Iterable[Header]) -> bool:
    """Whether a record only says that the letter of the same key was replayed."""
    return any(name == OURS + "status" for name, _ in headers)


# --- reading and replaying -------------------------------------------------------------------------------------------


def read(settings: Settings) -> dict[str, Letter]:
    """Every letter by origin, oldest first, replayed ones marked; raises KafkaException when the cluster is away."""
    letters: dict[str, Letter] = {}
    for message in whole_topic(settings, DEAD_LETTER):
        headers = cast(list[Header], message.headers() or [])
        if is_marker(headers):
            origin = (message.key() or b"").decode()
            if origin in letters:
                letters[origin] = replace(letters[origin], replayed=True)
        else:
            letter = letter_of(headers, message.value())
            letters[letter.origin] = letter
    return letters


def replay(settings: Settings, letters: Iterable[Letter]) -> int:
    """Send records once more to where they came from, each with its marker in one transaction; the number sent.

    Two replays at a time are no danger: the second one fences the first, and reads its letters after that.
    """
    from confluent_kafka import Producer

    producer = Producer(settings.kafka_producer({"transactional.id": f"{settings.kafka.group}-dead-letters"}))
    producer.init_transactions(_TIMEOUT_S)
    sent = 0
    for letter in letters:
        producer.begin_transaction()
        _send(producer, letter)
        producer.commit_transaction(_TIMEOUT_S)
        sent += 1
    return sent


def _send(producer: Producer, letter: Letter) -> None:
    at = str(clock.now_us()).encode()
    headers = [*letter.headers, (REPLAYED_FROM, letter.origin.encode())]
    producer.produce(letter.topic, key=letter.key, value=letter.value, partition=letter.partition,
                     headers=cast(Any, headers), timestamp=letter.ts_us // 1_000)
    marker: list[Header] = [(OURS + "status", REPLAYED.encode()), (OURS + "replayed_us", at)]
    producer.produce(DEAD_LETTER, key=letter.origin.encode(), value=b"", headers=cast(Any, marker))
