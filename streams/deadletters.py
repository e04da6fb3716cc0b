"""Records that could not be read: kept as raw bytes with reason and hint, listed, and sent once more when repaired.

A letter's key is the record's origin ("topic/3/42"). Its headers are the record's own, Kafka Connect's
`__connect.errors.*`, and ours; `tieout_status` is there only on a marker that follows a letter: it was replayed, parked
(its repair takes time: it is nobody's alarm) or dropped (it is given up, with a reason and a name).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, cast

from tieout.streams import clock
from tieout.streams.topicread import TopicReader, whole_topic
from tieout.streams.topics import DEAD_LETTER

if TYPE_CHECKING:
    from confluent_kafka import Message, Producer

    from tieout.streams.settings import Settings

Header = tuple[str, bytes | None]

CONNECT: Final = "__connect.errors."
OURS: Final = "tieout_"
REPLAYED_FROM: Final = "tieout_replayed_from"  # on a raw record that was sent once more
ATTEMPT: Final = "tieout_attempt"  # on the same: how often it was sent, the first time not counted
_STAGE: Final = "VALUE_CONVERTER"
_TIMEOUT_S: Final = 15.0


class Status(StrEnum):
    """What became of a letter."""

    OPEN = "OPEN"
    PARKED = "PARKED"
    REPLAYED = "REPLAYED"
    DROPPED = "DROPPED"

    @property
    def over(self) -> bool:
        """Whether the letter is done with."""
        return self in (Status.REPLAYED, Status.DROPPED)


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
    status: Status = Status.OPEN
    note: str = ""  # why it was parked or dropped, and by whom

    @property
    def attempts(self) -> int:
        """How often the record was replayed before it came here."""
        return next((int(value or b"0") for name, value in self.headers if name == ATTEMPT), 0)

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
        if name.startswith((CONNECT, OURS)) and name not in (REPLAYED_FROM, ATTEMPT):
            notes[name] = value or b""
        else:
            own.append((name, value))
    return tuple(own), notes


def marked(headers: Iterable[Header]) -> Status | None:
    """What a marker says of the letter of the same key; None for a letter itself."""
    return next((Status((value or b"").decode()) for name, value in headers if name == OURS + "status"), None)


def overtaken(letters: Iterable[Letter], chosen: Iterable[Letter]) -> dict[str, str]:
    """Chosen origins by the older letter of the same topic and key that they would overtake: {chosen: older}."""
    names = {letter.origin for letter in chosen}
    waiting: dict[tuple[str, int, bytes | None], str] = {}
    found: dict[str, str] = {}
    for letter in letters:  # oldest first
        at = (letter.topic, letter.partition, letter.key)
        if letter.origin in names and at in waiting:
            found[letter.origin] = waiting[at]
        elif letter.origin not in names and not letter.status.over and letter.key is not None:
            waiting.setdefault(at, letter.origin)
    return found


# --- reading, replaying, deciding ------------------------------------------------------------------------------------


def read(settings: Settings) -> dict[str, Letter]:
    """Every letter by origin, oldest first, with its status; raises KafkaException when the cluster is away."""
    letters: dict[str, Letter] = {}
    for message in whole_topic(settings, DEAD_LETTER):
        headers = cast(list[Header], message.headers() or [])
        if status := marked(headers):
            origin = (message.key() or b"").decode()
            if origin in letters:
                note = next(((value or b"").decode() for name, value in headers if name == OURS + "note"), "")
                letters[origin] = replace(letters[origin], status=status, note=note)
        else:
            letter = letter_of(headers, message.value())
            letters[letter.origin] = letter
    return letters


class Drops:
    """Which letters are given up: the origins of all that were, and then of those that follow."""

    def __init__(self, settings: Settings) -> None:
        """Raises TopicMissing or KafkaException."""
        self._reader = TopicReader(settings, DEAD_LETTER)

    def so_far(self) -> list[str]:
        """Every origin until now, in order."""
        return list(_dropped(self._reader.to_the_end()))

    def news(self) -> list[str]:
        """Those since, without waiting for any."""
        return list(_dropped(self._reader.news()))

    def close(self) -> None:
        """Stop following."""
        self._reader.close()


def _dropped(messages: Iterable[Message]) -> Iterator[str]:
    for message in messages:
        if marked(cast(list[Header], message.headers() or [])) is Status.DROPPED:
            yield (message.key() or b"").decode()


def replay(settings: Settings, letters: Iterable[Letter]) -> int:
    """Send records once more to where they came from, each with its marker in one transaction; the number sent.

    Two replays at a time are no danger: the second one fences the first, and reads its letters after that.
    """
    producer = _producer(settings)
    sent = 0
    for letter in letters:
        producer.begin_transaction()
        _send(producer, letter)
        _mark(producer, letter, Status.REPLAYED)
        producer.commit_transaction(_TIMEOUT_S)
        sent += 1
    return sent


def decide(settings: Settings, letters: Iterable[Letter], status: Status, note: str) -> None:
    """Park or drop letters, all at once; nothing is sent anywhere, the bytes stay as long as the topic keeps them."""
    producer = _producer(settings)
    producer.begin_transaction()
    for letter in letters:
        _mark(producer, letter, status, note)
    producer.commit_transaction(_TIMEOUT_S)


def _producer(settings: Settings) -> Producer:
    from confluent_kafka import Producer

    producer = Producer(settings.kafka_producer({"transactional.id": f"{settings.kafka.group}-dead-letters"}))
    producer.init_transactions(_TIMEOUT_S)
    return producer


def _send(producer: Producer, letter: Letter) -> None:
    own = [(name, value) for name, value in letter.headers if name not in (REPLAYED_FROM, ATTEMPT)]
    headers = [*own, (REPLAYED_FROM, letter.origin.encode()), (ATTEMPT, str(letter.attempts + 1).encode())]
    producer.produce(letter.topic, key=letter.key, value=letter.value, partition=letter.partition,
                     headers=cast(Any, headers), timestamp=letter.ts_us // 1_000)


def _mark(producer: Producer, letter: Letter, status: Status, note: str = "") -> None:
    marker: list[Header] = [
        (OURS + "status", status.value.encode()), (OURS + "decided_us", str(clock.now_us()).encode()),
        (OURS + "note", note.encode()),
    ]
    producer.produce(DEAD_LETTER, key=letter.origin.encode(), value=b"", headers=cast(Any, marker))
