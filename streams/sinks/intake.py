"""From messages of the output topics to one batch for the store: rows, records put aside, and where to go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson
import polars as pl

from tieout.reconcilers.outcomes import PUBLISHED, STATE_OUTPUTS, Output
from tieout.schemas import avsc
from tieout.streams.deadletters import letter_of, marked
from tieout.streams.sinks.decode import Undecodable, decode_all, decode_one, unframed
from tieout.streams.sinks.store import Batch, letter_key
from tieout.streams.sinks.tables import DEAD_LETTER, OUTPUT_TABLES, PARKED, Table
from tieout.streams.topics import DEAD_LETTER as DEAD_LETTER_TOPIC
from tieout.streams.topics import PARKED as PARKED_TOPIC
from tieout.streams.topics import output_topic

if TYPE_CHECKING:
    from confluent_kafka import Message

OUTPUT_OF: Final[Mapping[str, Output]] = {output_topic(output): output for output in PUBLISHED}
TOPICS: Final = (*OUTPUT_OF, DEAD_LETTER_TOPIC, PARKED_TOPIC)

_HINTS: Final = {
    "bad_framing": "who else writes to this topic? Its values are Avro in Confluent's wire format",
    "bad_avro": "the writer's schema differs from this build's: upgrade the sink, then let it read the topic again",
    "key_missing": "who else writes to this topic? Every record of it has a key",
    "unexpected_tombstone": "an events topic carries no tombstones: who else writes to it?",
    "not_json": "who else writes to this topic?",
    "wrong_shape": "who else writes to this topic?",
}


@dataclass(slots=True)
class Intake:
    """A batch in the making. `counts` are the records by output or topic, `refused` those put aside by the sink."""

    batch: Batch = field(default_factory=Batch)
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    refused: int = 0

    def take(self, messages: Iterable[Message]) -> None:
        """Decode messages, in order, into the batch."""
        by_topic: dict[str, list[Message]] = {}
        for message in messages:
            topic, partition, offset = _place(message)
            by_topic.setdefault(topic, []).append(message)
            self.offsets[topic, partition] = offset + 1
        for topic, group in by_topic.items():
            self.counts[topic] = self.counts.get(topic, 0) + len(group)
            if topic in OUTPUT_OF:
                self._outputs(OUTPUT_OF[topic], group)
            else:
                self._letters(topic, group)

    def _outputs(self, output: Output, messages: list[Message]) -> None:
        """All at once; where one of them is bad, one by one."""
        table, schema = OUTPUT_TABLES[output], avsc(output.value)
        try:
            keys = [_key(message) for message in messages]
            payloads = [unframed(value) for message in messages if (value := _value(message, output)) is not None]
            frame = decode_all(schema, table, payloads) if payloads else table.frame([])
        except Undecodable:
            self._one_by_one(output, table, messages)
            return
        gone = [message.value() is None for message in messages]
        self.batch.add_keyed(table, _spread(table, frame, gone), keys, gone)

    def _one_by_one(self, output: Output, table: Table, messages: list[Message]) -> None:
        schema, rows = avsc(output.value), []
        for message in messages:
            try:
                value = _value(message, output)
                row = decode_one(schema, unframed(value)) if value is not None else None
                rows.append((_key(message), row))
            except Undecodable as error:
                self._refuse(message, error, table.name)
        self.batch.add_rows(table, rows)

    def _letters(self, topic: str, messages: list[Message]) -> None:
        read, table = (_dead_letter, DEAD_LETTER) if topic == DEAD_LETTER_TOPIC else (_parked, PARKED)
        rows = []
        for message in messages:
            try:
                if row := read(message):
                    rows.append(row)
            except Undecodable as error:
                self._refuse(message, error, table.name)
        self.batch.add_rows(table, rows)

    def _refuse(self, message: Message, error: Undecodable, name: str) -> None:
        """Put a record of ours aside: it costs one row, not the pipeline."""
        topic, partition, offset = _place(message)
        letter = {
            "topic": topic, "partition": partition, "offset": offset, "ts": _timestamp_us(message), "source": "tieout",
            "object": name, "reason": error.reason, "hint": f"{error}; {_HINTS[error.reason]}",
            "payload": message.value(),
        }
        self.refused += 1
        self.batch.add_rows(DEAD_LETTER, [(letter_key(letter), letter)])


def _spread(table: Table, frame: pl.DataFrame, gone: list[bool]) -> pl.DataFrame:
    """The decoded rows with an empty row where a tombstone stood."""
    if not any(gone):
        return frame
    order = sorted(range(len(gone)), key=lambda at: gone[at])  # stable: the decoded first, then the tombstones
    both = pl.concat([frame, table.frame([{}] * sum(gone))])
    return both.with_columns(pl.Series("_at", order)).sort("_at").drop("_at")


def _place(message: Message) -> tuple[str, int, int]:
    """Topic, partition and offset: a consumed message has them all."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None and partition is not None  # noqa: PT018  of one message, for the type checker
    assert offset is not None
    return topic, partition, offset


def _key(message: Message) -> str:
    key = message.key()
    if not key:
        raise Undecodable("key_missing", "found no key, expected UTF-8 text")
    try:
        return key.decode() if isinstance(key, bytes) else key
    except UnicodeDecodeError:
        raise Undecodable("key_missing", f"found the key {key!r}, expected UTF-8 text") from None


def _value(message: Message, output: Output) -> bytes | None:
    """The record's value, None for a tombstone where the topic may have one."""
    value = message.value()
    if value is None and output not in STATE_OUTPUTS:
        raise Undecodable("unexpected_tombstone", "found no value, expected an event")
    return value.encode() if isinstance(value, str) else value


def _timestamp_us(message: Message) -> int:
    return int(message.timestamp()[1]) * 1_000


def _headers(message: Message) -> list[tuple[str, bytes | None]]:
    headers = message.headers() or []
    pairs = headers.items() if isinstance(headers, dict) else headers
    return [(name, value.encode() if isinstance(value, str) else value) for name, value in pairs]


def _dead_letter(message: Message) -> tuple[str, Mapping[str, Any] | None] | None:
    """A letter as a row under its origin; the marker of one that is done with takes the row away."""
    headers = _headers(message)
    try:
        if status := marked(headers):
            return (_key(message), None) if status.over else None
        row = letter_of(headers, message.value()).to_row()
    except ValueError as error:
        raise Undecodable("wrong_shape", str(error)) from None
    return letter_key(row), row


def _parked(message: Message) -> tuple[str, Mapping[str, Any] | None]:
    """A parked change as a row under its position at the source, None once it is released."""
    value = message.value()
    if value is None:
        return _key(message), None
    try:
        return _key(message), parked_row(orjson.loads(value))
    except orjson.JSONDecodeError as error:
        raise Undecodable("not_json", str(error)) from None
    except (KeyError, TypeError, ValueError) as error:
        raise Undecodable("wrong_shape", f"{type(error).__name__}: {error}") from None


def parked_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `parked` from the JSON object of a parked change."""
    topic, partition, offset = record["change"]["r"]
    return {
        "topic": topic, "partition": partition, "offset": offset, "ts": record["since_us"],
        "source": record["source"], "object": record["entity"], "reason": "UNRESOLVED_REFERENCE",
        "hint": f"released as soon as {record['need']} is known", "reference": record["need"],
        "payload": orjson.dumps(record["change"]),
    }
