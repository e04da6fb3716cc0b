"""The worker's checkpointed tables: how rows lie in the changelogs, and how a partition's tables are restored.

A table is keyed and partitioned like the axis it belongs to. Its rows live in memory, in the reconcilers' state; the
changelog `tieout.tables.<table>.v1` has each dirty key once a checkpoint. Every row carries the stamp of its
checkpoint in the header `c`; the ledger `tieout.tables.checkpoint.v1` holds two records a partition, the claim of the
worker that owns it and its last checkpoint:

    ledger     claim 7                          checkpoint 7.1                    checkpoint 7.2
    rates                   L1|GB 7.1  L4|P9 7.1                      L1|GB 7.2                     L4|P9 7.3 ✗
    findings                F-88 7.1                                  F-90 7.2

A row counts when its checkpoint does. On Apache Kafka the transaction alone sees to that (what is read is committed,
and the ledger is compacted to its last two records); on a broker that shows rows of transactions that never
committed, 7.3 above is left out because no checkpoint record followed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol, cast

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tieout.reconcilers.changes import UnknownVersion
from tieout.reconcilers.entities import Axis
from tieout.streams.topics import LEDGER, table_topic

log = logging.getLogger(__name__)

CLAIM_KEY: Final = b"claim"
CHECKPOINT_KEY: Final = b"checkpoint"
STAMP_HEADER: Final = "c"
FORMAT: Final = 3  # of the rows, stated by each checkpoint; those before the worker axis stated none: 1
_READ: Final = (2, FORMAT)  # what was published is not in 2: it is worked out, once

_BATCH: Final = 5_000
_POLL_S: Final = 0.02  # longer adds itself to every restore, since the last batch is never full
_BROKER_S: Final = 15.0


class Place(NamedTuple):
    """A partition of an axis: the unit of state, of checkpoints and of hand-over between workers."""

    axis: Axis
    partition: int

    def __str__(self) -> str:
        return f"{self.axis.value}/{self.partition}"


class Stamp(NamedTuple):
    """Which checkpoint a row belongs to: the owner's epoch, and the number within it from 1."""

    epoch: int
    number: int

    def header(self) -> list[tuple[str, str | bytes | None]]:
        """As the Kafka header of a row."""
        return [(STAMP_HEADER, f"{self.epoch}.{self.number}".encode())]

    @classmethod
    def of(cls, message: Message) -> Stamp:
        """The stamp of a changelog row; RestoreError when it has none."""
        for name, value in cast("list[tuple[str, bytes]]", message.headers() or []):
            if name == STAMP_HEADER:
                return _stamp(value)
        raise RestoreError(f"{_where(message)}: a row without the header {STAMP_HEADER!r}; who else writes there?")


@lru_cache(maxsize=4_096)
def _stamp(header: bytes) -> Stamp:
    """All rows of a checkpoint carry the same one."""
    return Stamp(*map(int, header.split(b".")))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint of a place. `base` is the checkpoint that its epoch was restored from."""

    epoch: int
    number: int
    next_offset: int  # of the frames: the first one that is not in the tables
    puts: Mapping[str, int]  # rows written with it by table, deletions not counted
    base: Stamp | None = None
    producers: Mapping[str, int] = field(default_factory=dict)  # of frames: the number expected next
    format: int = FORMAT  # of this checkpoint's rows; those before it may be older

    @property
    def stamp(self) -> Stamp:
        """What its rows carry."""
        return Stamp(self.epoch, self.number)

    def to_bytes(self) -> bytes:
        """As the ledger holds it."""
        return orjson.dumps({**asdict(self), "base": list(self.base) if self.base else None})

    @classmethod
    def from_bytes(cls, value: bytes) -> Checkpoint:
        """The checkpoint that `to_bytes` wrote, here or in an older build; UnknownVersion when a newer one did."""
        record = {"format": 1, **orjson.loads(value)}
        if record["format"] not in _READ:
            raise UnknownVersion(_other_format(record["format"]))
        base = record.pop("base")
        return cls(**record, base=Stamp(*base) if base else None)


def _other_format(found: int) -> str:
    """A newer build's rows, or those of before the worker axis, which has to see every record once."""
    again = "run the newer build that wrote them, or else " if found > FORMAT else ""
    read = " and ".join(map(str, _READ))
    return (f"the changelogs are of format {found}, this build reads {read}: {again}stop ingest and the workers, "
            "delete the topics tieout.tables.* and tieout.changes.*, run `tieout topics apply`, move ingest's consumer "
            "group to the beginning with Kafka's tools (kafka-consumer-groups.sh --group tieout-ingest --all-topics "
            "--reset-offsets --to-earliest --execute) and start them: the sources' topics are read again")


class RestoreError(Exception):
    """The changelogs do not hold what the last checkpoint says: starting from them would give wrong results."""


class Ledger:
    """What the ledger of one place says, read in order: who owns it, and which stamps count."""

    def __init__(self) -> None:
        self.claimed = 0  # the highest epoch
        self._history: dict[int, list[Checkpoint]] = {}

    def read(self, key: bytes | None, value: bytes | None) -> None:
        """Take one record; checkpoints of an epoch that was already superseded are ignored."""
        if value is None:
            return
        if key == CLAIM_KEY:
            self.claimed = max(self.claimed, int(orjson.loads(value)["epoch"]))
            self._history.setdefault(self.claimed, [])
        elif key == CHECKPOINT_KEY:
            checkpoint = Checkpoint.from_bytes(value)
            if checkpoint.epoch >= self.claimed:
                self._history.setdefault(checkpoint.epoch, []).append(checkpoint)

    def last(self) -> Checkpoint | None:
        """The newest checkpoint."""
        for epoch in sorted(self._history, reverse=True):
            if self._history[epoch]:
                return self._history[epoch][-1]
        return None

    def drop_last(self) -> None:
        """Forget the newest checkpoint, whose rows are not all there; RestoreError when none is left to go back to."""
        last = self.last()
        if last is None:
            return
        self._history[last.epoch].pop()
        if last.number == 1:  # what lies between its base and its epoch was found incomplete before
            for epoch in self._history.keys() - {last.epoch}:
                self._history[epoch] = [each for each in self._history[epoch] if last.base and each.stamp <= last.base]
        before = self.last()
        expected = last.base if last.number == 1 else Stamp(last.epoch, last.number - 1)
        if (before.stamp if before else None) != expected:
            raise RestoreError(
                f"checkpoint {last.epoch}.{last.number} names rows that are not in the changelogs ({dict(last.puts)}), "
                "and the one before it is gone: restore the topics from a backup, or delete them and replay the sources"
            )

    def limits(self) -> dict[int, int]:
        """The highest number that counts, by epoch; epochs that are not named count in full."""
        limits = dict.fromkeys(self._history, 0)
        last = self.last()
        stamp = last.stamp if last else None
        while stamp is not None:
            limits[stamp.epoch] = stamp.number
            history = self._history.get(stamp.epoch)
            stamp = history[0].base if history else None
        return limits


class Rows:
    """The rows of one place's tables while they are read: the last one of a key that counts wins."""

    def __init__(self, ledger: Ledger) -> None:
        last = ledger.last()
        self._limits = ledger.limits()
        self._last = last.stamp if last else None
        self._kept: dict[tuple[str, bytes], bytes | None] = {}
        self._newest: dict[tuple[str, bytes], bytes | None] = {}  # of the last checkpoint, which may be incomplete

    def add(self, table: str, key: bytes, value: bytes | None, stamp: Stamp) -> None:
        """Take one row; `value` None is a deletion."""
        if stamp == self._last:
            self._newest[table, key] = value
        elif stamp.number <= self._limits.get(stamp.epoch, stamp.number):
            self._kept[table, key] = value

    def holds(self, checkpoint: Checkpoint, tables: Iterable[str]) -> bool:
        """Whether all rows of the last checkpoint are there, deletions not counted (they are compacted away)."""
        found = Counter(table for (table, _), value in self._newest.items() if value is not None)
        return all(found[table] == checkpoint.puts.get(table, 0) for table in tables)

    def take_newest(self) -> None:
        """The last checkpoint is complete: its rows count."""
        self._kept.update(self._newest)

    def counts(self, stamp: Stamp) -> bool:
        """Whether rows with this stamp count."""
        return stamp.number <= self._limits.get(stamp.epoch, stamp.number)

    def __len__(self) -> int:
        """How many keys were read, deleted ones among them."""
        return len(self._kept)

    def raw(self) -> Iterator[tuple[str, bytes, bytes, bool]]:
        """(table, key, value, whether it belongs to the last checkpoint) of all rows that are there, unread."""
        for place, value in self._kept.items():
            if value is not None:
                yield *place, value, place in self._newest

    def items(self) -> Iterator[tuple[str, str, Any]]:
        """(table, key, value) of all rows that are there."""
        loads = orjson.loads
        for (table, key), value in self._kept.items():
            if value is not None:
                yield table, key.decode(), loads(value)


class Watch:
    """Who looks on while tables are restored: what there is to do, what is done, and whether to go on.

    Written by the thread that restores, read by others. `keep_on` raises when the result is not wanted any more.
    """

    def __init__(self, keep_on: Callable[[], None] = lambda: None) -> None:
        self.expected = 0  # records of the changelogs, at most: compaction leaves holes
        self.read = 0
        self.rows = 0  # to rebuild the state from
        self.rebuilt = 0
        self.deriving = False  # all rows are in, and what follows from them is worked out: it computes, and will end
        self._keep_on = keep_on

    def took(self, records: int) -> None:
        """So many more were read."""
        self._keep_on()
        self.read += records

    def built(self, rows: int) -> None:
        """So many more are in the state."""
        self._keep_on()
        self.rebuilt += rows

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1: half is reading, half is rebuilding."""
        reading = min(1.0, self.read / self.expected) if self.expected else 0.0
        return reading / 2 + (self.rebuilt / self.rows / 2 if self.rows else 0.0)


class Copy(Protocol):
    """A local copy of a place's changelogs up to some offsets."""

    @property
    def stamp(self) -> Stamp:
        """Its last checkpoint."""

    @property
    def offsets(self) -> Mapping[str, int]:
        """By changelog topic, the first record that is not in it."""

    def rows(self) -> Iterator[tuple[str, bytes, bytes, Stamp]]:
        """(table, key, value, stamp) of its rows."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What the changelogs of a place hold, up to `offsets` by topic."""

    rows: Rows
    checkpoint: Checkpoint | None
    offsets: Mapping[str, int] = field(default_factory=dict)
    watch: Watch = field(default_factory=Watch)


def restore(
    client: Mapping[str, Any],
    place: Place,
    tables: Sequence[str],
    claim: Callable[[int], None],
    watch: Watch | None = None,
    copy: Copy | None = None,
) -> Restored:
    """Read a place's tables to their end. `claim(epoch)` must write the claim of a new epoch before it returns.

    Raises RestoreError when rows are missing and KafkaException when the broker cannot be reached.
    """
    watch = watch or Watch()
    with _Reader(client, place) as reader:
        ledger = Ledger()
        for _, message in reader.read([LEDGER]):
            ledger.read(_bytes(message.key()), _bytes(message.value()))
        claim(ledger.claimed + 1)
        return _restored(reader, ledger, tables, watch, copy)


def reread(client: Mapping[str, Any], place: Place, tables: Sequence[str], copy: Copy | None) -> Restored:
    """The same without a claim: for the place's owner, who writes nothing meanwhile.

    Raises RestoreError when somebody else does: the place has a new owner, and rows of half a checkpoint may be here.
    """
    with _Reader(client, place) as reader:
        restored = _restored(reader, Ledger(), tables, Watch(), copy)
        if list(reader.read([LEDGER])):
            raise RestoreError(f"{place} was written to by another worker while its changelogs were read")
        return restored


def _restored(reader: _Reader, ledger: Ledger, tables: Sequence[str], watch: Watch, copy: Copy | None) -> Restored:
    for _, message in reader.read([LEDGER]):  # what an owner of before wrote until our claim
        ledger.read(_bytes(message.key()), _bytes(message.value()))
    rows = Rows(ledger)
    if copy is not None and _usable(copy, ledger, rows, reader):
        for row in copy.rows():
            rows.add(*row)
        reader.begin(copy.offsets)
    for table, message in reader.read(list(tables), watch):
        rows.add(table, _bytes(message.key()) or b"", _bytes(message.value()), Stamp.of(message))
    last = ledger.last()
    if last is not None and rows.holds(last, tables):
        rows.take_newest()
    else:
        ledger.drop_last()
    return Restored(rows, ledger.last(), dict(reader.offsets), watch)


def _usable(copy: Copy, ledger: Ledger, rows: Rows, reader: _Reader) -> bool:
    """Whether the changelogs go on where the copy ends; a log line where they do not."""
    last = ledger.last()
    if last is None or copy.stamp > last.stamp:
        found = f"{last.stamp.epoch}.{last.stamp.number}" if last else "none"
        reason = f"it is of checkpoint {copy.stamp.epoch}.{copy.stamp.number}, the last in the ledger is {found}"
    elif not rows.counts(copy.stamp):
        reason = f"its checkpoint {copy.stamp.epoch}.{copy.stamp.number} does not count"
    elif beyond := [topic for topic, offset in copy.offsets.items() if offset > reader.bounds(topic)[1]]:
        reason = f"{', '.join(beyond)} ends before it"
    else:
        return True
    log.warning("the local snapshot is left aside: %s", reason)
    return False


def progress(client: Mapping[str, Any], place: Place) -> Checkpoint | None:
    """The last checkpoint of a place, as its ledger says; nothing is claimed."""
    ledger = Ledger()
    with _Reader(client, place) as reader:
        for _, message in reader.read([LEDGER]):
            ledger.read(_bytes(message.key()), _bytes(message.value()))
    return ledger.last()


class _Reader:
    """Reads changelog partitions of one place to their ends, each from where it left off."""

    def __init__(self, client: Mapping[str, Any], place: Place) -> None:
        self._place = place
        self.offsets: dict[str, int] = {}  # by topic, the next to read
        self._consumer = Consumer(
            {
                **client,
                "group.id": "tieout-restore",  # required by the client, never joined
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 10,  # the end of a partition is only told by a fetch that found nothing
            }
        )

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def begin(self, offsets: Mapping[str, int]) -> None:
        """Read from these offsets on, by topic."""
        for topic, offset in offsets.items():
            self._start(topic)
            self.offsets[topic] = offset

    def bounds(self, topic: str) -> tuple[int, int]:
        """The first offset of the changelog, and the one behind its last."""
        place = TopicPartition(topic, self._place.partition)
        return self._consumer.get_watermark_offsets(place, timeout=_BROKER_S)

    def read(self, tables: list[str], watch: Watch | None = None) -> Iterator[tuple[str, Message]]:
        """All messages of these tables up to the end at this moment, order kept within a table."""
        topics = {table_topic(table, self._place.axis): table for table in tables}
        for topic in topics:
            if topic not in self.offsets:
                self.offsets[topic] = self._start(topic)
        if watch:
            watch.expected = sum(self.bounds(topic)[1] - self.offsets[topic] for topic in topics)
        self._consumer.assign([TopicPartition(t, self._place.partition, self.offsets[t]) for t in topics])
        open_topics = set(topics)
        while open_topics:
            messages = self._consumer.consume(_BATCH, _POLL_S)
            for message in messages:
                topic = str(message.topic())
                error = message.error()
                if error is None:
                    self.offsets[topic] = int(message.offset() or 0) + 1
                    yield topics[topic], message
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_topics.discard(topic)
                else:
                    raise KafkaException(error)
            if watch:
                watch.took(sum(message.error() is None for message in messages))

    def _start(self, topic: str) -> int:
        """0; RestoreError when the head of the changelog is gone."""
        low, _ = self.bounds(topic)
        if low > 0:
            raise RestoreError(
                f"{topic} [{self._place.partition}] begins at offset {low}, expected 0: rows were deleted. "
                "It must be compacted (cleanup.policy=compact); the embedded broker keeps only about 5 MB"
            )
        return 0


def _bytes(value: bytes | str | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _where(message: Message) -> str:
    return f"{message.topic()} [{message.partition()}] at offset {message.offset()}"
