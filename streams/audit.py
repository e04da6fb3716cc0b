"""The audit role: an independent reader that counts what the output topics say against what the store holds.

It shares no code with the sink's way into the store: it takes the offsets that a published snapshot says it is complete
to, reads the topics exactly that far, and compares counts and digests by topic and hour of the event. A digest is the
sum of the ids' md5, so two sides with the same count and other ids differ as well.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import md5
from typing import TYPE_CHECKING, Final, NamedTuple

import duckdb
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from tieout.codecs.avro import RowReader
from tieout.codecs.framing import unframe
from tieout.reconcilers.outcomes import PUBLISHED, STATE_OUTPUTS, Output
from tieout.reconcilers.timeline import instant_text
from tieout.schemas import avsc
from tieout.streams import clock
from tieout.streams.dependencies import expect, saw
from tieout.streams.metrics import counter, gauge
from tieout.streams.ops import Answer, Heartbeat, OpsServer
from tieout.streams.settings import Settings
from tieout.streams.sinks.publish import SNAPSHOT
from tieout.streams.sinks.reader import Snapshot, SnapshotMissing
from tieout.streams.sinks.tables import OUTPUT_TABLES
from tieout.streams.topics import output_topic

if TYPE_CHECKING:
    from confluent_kafka import Message

EVENTS: Final = tuple(output for output in PUBLISHED if output not in STATE_OUTPUTS)
NOW: Final = -1  # the "hour" of state topics, whose rows are what they are now
_HOUR_US: Final = 3_600_000_000
_IDS_KEPT_H: Final = 72  # hours of events whose ids are remembered, to tell a repetition from a new event
_EVERY_S: Final = 10.0
_HANGS_S: Final = 120.0
_BATCH: Final = 2_000
_WORD: Final = 2**64

log = logging.getLogger(__name__)


class Counted(NamedTuple):
    """Ids of one topic and hour: how many different ones, and the sum of their md5 modulo 2**64."""

    ids: int = 0
    digest: int = 0


@dataclass(slots=True)
class Tally:
    """What was read of one topic. Event ids of the last hours are kept, keys of a state topic all."""

    hours: dict[tuple[int, int], Counted] = field(default_factory=dict)  # (partition, hour) -> what is there
    repeated: int = 0
    _seen: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))

    def event(self, partition: int, hour: int, identity: str) -> None:
        """An event; one that came before counts as repeated, and changes nothing."""
        word = fingerprint(identity)
        if hour not in self._seen:
            for old in [each for each in self._seen if each < hour - _IDS_KEPT_H]:
                del self._seen[old]
        seen = self._seen[hour]
        if word in seen:
            self.repeated += 1
            return
        seen.add(word)
        self._add((partition, hour), 1, word)

    def state(self, partition: int, key: str, there: bool) -> None:
        """A row of a state topic, or the tombstone that takes it away."""
        word, live = fingerprint(key), self._seen[NOW]
        if there and word not in live:
            live.add(word)
            self._add((partition, NOW), 1, word)
        elif not there and word in live:
            live.discard(word)
            self._add((partition, NOW), -1, -word)

    def by_hour(self) -> dict[int, Counted]:
        """Sums over partitions."""
        found: dict[int, Counted] = {}
        for (_, hour), counted in self.hours.items():
            sums = found.get(hour, Counted())
            found[hour] = Counted(sums.ids + counted.ids, (sums.digest + counted.digest) % _WORD)
        return {hour: counted for hour, counted in found.items() if counted.ids}

    def _add(self, at: tuple[int, int], ids: int, word: int) -> None:
        before = self.hours.get(at, Counted())
        self.hours[at] = Counted(before.ids + ids, (before.digest + word) % _WORD)


class Difference(NamedTuple):
    """An hour of a topic that the store holds otherwise; `hour` counts from 1970, NOW for a state topic."""

    topic: str
    hour: int
    read: Counted
    stored: Counted

    @property
    def missing(self) -> int:
        """Ids in the topic and not in the store, at least; 1 where the counts are equal and the ids are not."""
        if self.read.ids == self.stored.ids:
            return 1
        return max(0, self.read.ids - self.stored.ids)

    @property
    def unexpected(self) -> int:
        """Ids in the store and not in the topic, at least."""
        return max(0, self.stored.ids - self.read.ids)

    def __str__(self) -> str:
        counts = f"{self.read.ids} in the topic, {self.stored.ids} in the store"
        same = " (others)" if self.read.ids == self.stored.ids else ""
        return f"{self.topic}, {_hour_text(self.hour)}: {counts}{same}"


def _hour_text(hour: int) -> str:
    return "now" if hour == NOW else instant_text(hour * _HOUR_US)


def fingerprint(identity: str) -> int:
    """The low 64 bits of the md5, which the store's key column ends with."""
    return int.from_bytes(md5(identity.encode(), usedforsecurity=False).digest()[8:])


def differences(topic: str, read: Mapping[int, Counted], stored: Mapping[int, Counted]) -> list[Difference]:
    """Hours in which topic and store differ."""
    return [
        Difference(topic, hour, read.get(hour, Counted()), stored.get(hour, Counted()))
        for hour in sorted(read.keys() | stored.keys())
        if read.get(hour, Counted()) != stored.get(hour, Counted())
    ]


def stored(snapshot: Snapshot, output: Output) -> dict[int, Counted]:
    """What a snapshot holds of an output, by hour."""
    hour = 'epoch_us("at") // ?' if output in EVENTS else "?::BIGINT"
    rows = snapshot.query(
        f"SELECT {hour}, count(*), (sum(('0x' || right(replace(key::VARCHAR, '-', ''), 16))::UBIGINT::HUGEINT) % ?)"
        f" FROM internal.{OUTPUT_TABLES[output].name} GROUP BY 1",
        [_HOUR_US if output in EVENTS else NOW, _WORD],
    ).rows
    return {int(hour): Counted(ids, int(digest)) for hour, ids, digest in rows}


def read_to(snapshot: Snapshot) -> dict[tuple[str, int], int]:
    """The offsets that a snapshot is complete to."""
    return {(topic, part): following for topic, part, following in
            snapshot.query("SELECT topic, part, next FROM internal.kafka_offsets").rows}


class Auditor:
    """Reads the output topics as far as the newest snapshot does, and compares."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._file = settings.sink.publish_dir / SNAPSHOT
        self._consumer = Consumer(settings.kafka_client({
            "group.id": settings.group("audit"), "enable.auto.commit": False, "auto.offset.reset": "error",
            "isolation.level": "read_committed", "enable.partition.eof": True,
        }))
        self._tallies = {output: Tally() for output in PUBLISHED}
        self._outputs = {output_topic(output): output for output in PUBLISHED}
        self._readers = {output: RowReader(avsc(output.value)) for output in EVENTS}
        self._at: dict[tuple[str, int], int] = {}
        self.found: list[Difference] | None = None  # of the last comparison; None before the first

    @property
    def repeated(self) -> int:
        """Events that the topics carry more than once."""
        return sum(tally.repeated for tally in self._tallies.values())

    def compare(self) -> list[Difference]:
        """One comparison; SnapshotMissing before the first snapshot, KafkaException when the cluster is away."""
        with Snapshot(self._file.resolve()) as snapshot:
            ends = {at: offset for at, offset in read_to(snapshot).items() if at[0] in self._outputs}
            if any(end < self._at.get(at, 0) for at, end in ends.items()):  # the store was made anew
                self._at, self._tallies = {}, {output: Tally() for output in PUBLISHED}
            for message in self._until(ends):
                self._take(message)
            found: list[Difference] = []
            for topic, output in self._outputs.items():
                tally = self._tallies[output]
                differ = differences(topic, tally.by_hour(), stored(snapshot, output))
                _show(topic, tally, differ)
                found += differ
        gauge("tieout_audit_last_success_timestamp_seconds").set(clock.now_us() / 1e6)
        self.found = found
        return found

    def report(self) -> Iterator[tuple[str, int, str, int]]:
        """(topic, partition, begin of the hour or 'now', different ids) of everything read."""
        for topic, output in self._outputs.items():
            for (partition, hour), counted in sorted(self._tallies[output].hours.items()):
                yield topic, partition, _hour_text(hour), counted.ids

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def _until(self, ends: Mapping[tuple[str, int], int]) -> Iterator[Message]:
        """Every record before the ends that was not read yet; what is behind them waits for the next comparison."""
        open_ = {at for at, end in ends.items() if self._at.get(at, 0) < end}
        self._consumer.assign([TopicPartition(*at, self._at.get(at, OFFSET_BEGINNING)) for at in sorted(open_)])
        while open_:
            for message in self._consumer.consume(_BATCH, 0.2):
                at, offset = (message.topic() or "", message.partition() or 0), message.offset() or 0
                if (error := message.error()) is not None:
                    if error.code() != KafkaError._PARTITION_EOF:
                        raise KafkaException(error)
                    self._at[at] = max(self._at.get(at, 0), min(offset, ends[at]))  # it may be behind what we skip
                elif offset < ends[at]:
                    self._at[at] = offset + 1
                    yield message
                else:
                    self._at[at] = ends[at]
                if self._at.get(at, 0) >= ends[at]:
                    open_.discard(at)

    def _take(self, message: Message) -> None:
        output, partition = self._outputs[message.topic() or ""], message.partition() or 0
        value = message.value()
        if output in EVENTS:
            row = self._readers[output].read(unframe(_bytes(value)).payload)
            self._tallies[output].event(partition, row["at"] // _HOUR_US, row["event_id"])
        else:
            self._tallies[output].state(partition, _bytes(message.key()).decode(), value is not None)


def _bytes(value: bytes | str | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


def _show(topic: str, tally: Tally, found: list[Difference]) -> None:
    gauge("tieout_audit_missing_records", topic=topic).set(sum(each.missing for each in found))
    gauge("tieout_audit_unexpected_records", topic=topic).set(sum(each.unexpected for each in found))
    gauge("tieout_audit_repeated_events", topic=topic).set(tally.repeated)


def run(settings: Settings) -> int:
    """Compare again and again until SIGTERM or SIGINT; 0."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    expect("audit")
    auditor, turns = Auditor(settings), Heartbeat(within_s=_HANGS_S)
    with OpsServer(settings.ops, "audit") as ops:
        ops.check("loop", turns, "live")
        ops.check("compared", lambda: Answer(auditor.found is not None, "topics and store were compared once"))
        try:
            while not stop.is_set():
                turns.beat()
                _turn(auditor)
                stop.wait(_EVERY_S)
        finally:
            auditor.close()
    return 0


def _turn(auditor: Auditor) -> None:
    before = auditor.found
    try:
        found = auditor.compare()
    except SnapshotMissing as error:
        saw("snapshot", up=False)
        log.info("nothing to compare yet: %s", error)
        return
    except (KafkaException, duckdb.Error) as error:
        saw("snapshot" if isinstance(error, duckdb.Error) else "brokers", up=False)
        counter("tieout_audit_failures").inc()
        log.warning("not compared, trying again in %.0f s: %s", _EVERY_S, error)
        return
    saw("snapshot", up=True)
    saw("brokers", up=True)
    if found != before:
        for difference in found:
            log.error("%s", difference)
        if not found:
            log.info("topics and store are equal")


def compared(settings: Settings) -> Auditor:
    """After one comparison; SnapshotMissing or KafkaException where there is nothing to compare."""
    auditor = Auditor(settings)
    try:
        auditor.compare()
        return auditor
    finally:
        auditor.close()
