"""Checkpoints: a place's dirty rows, its outputs and its progress in one fenced Kafka transaction.

One thread writes, one place after the other; each is cut off from its state just before its turn, on the loop. Only
what was written is acknowledged to Faust, and nobody reads an output of frames that could still be applied again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple

import orjson
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tieout.reconcilers.entities import Axis
from tieout.reconcilers.outcomes import Outcome, Output
from tieout.streams.clock import monotonic_s
from tieout.streams.metrics import counter, histogram
from tieout.streams.settings import Checkpoint as Limits
from tieout.streams.shards import Row, Shard, Snapshot
from tieout.streams.tables import CHECKPOINT_KEY, CLAIM_KEY, Place
from tieout.streams.topics import LEDGER, output_topic, table_topic

log = logging.getLogger(__name__)

_TRANSACTION_MS: Final = 15_000  # a worker that died holds back readers of committed rows for no longer than this
_BY_KEY: Final = -1  # the partition that the key decides
_RETRY_S: Final = 30.0  # then the process ends, and its successor restores
_FENCED: Final = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)

Headers = list[tuple[str, str | bytes | None]]
OnDelivery = Callable[[KafkaError | None, Message], None]


class Outputs(NamedTuple):
    """How outputs go out: encoded how, and whom to tell what was delivered."""

    encoders: Mapping[Output, Callable[[Mapping[str, Any]], bytes]]
    on_delivery: OnDelivery | None = None


class Fenced(Exception):
    """Another worker owns the place now, or the broker gave our transaction up: this state must not be used again."""


class Writer:
    """The transactional producer of one place; all calls block, none from the loop."""

    def __init__(self, client: Mapping[str, Any], group: str, place: Place, outputs: Outputs,
                 retry_s: float = _RETRY_S) -> None:
        """`retry_s`: how long the brokers may refuse, or not answer, what may be repeated."""
        self._place, self._retry_s = place, retry_s
        self._kinds = {
            output: (output_topic(output), encode, _cloud_event(output, place))
            for output, encode in outputs.encoders.items()
        }
        self._on_delivery = outputs.on_delivery
        self._fenced = ""  # what was said; not the exception, whose traceback holds this writer
        self._tables = _Topics(place.axis)
        self._producer = Producer(
            {
                **client,
                "max.in.flight.requests.per.connection": 5,  # a transaction fails aloud where order was lost
                "transactional.id": f"{group}-{place.axis.value}-{place.partition}",
                "transaction.timeout.ms": _TRANSACTION_MS,
                "linger.ms": 5,
                "compression.type": "lz4",
                "partitioner": "murmur2_random",  # what every Java client computes
                "queue.buffering.max.messages": 1_000_000,
                "delivery.report.only.error": outputs.on_delivery is None,  # a report of each record that nobody reads
            }
        )

    def fence(self) -> None:
        """Shut out every earlier owner: its open transaction is aborted, its next one refused."""
        self._retry(lambda: self._producer.init_transactions(self._retry_s))

    def claim(self, epoch: int) -> None:
        """Say in the ledger that rows of lower epochs that come from now on do not count."""
        self._transact(lambda: self._put(LEDGER, CLAIM_KEY, orjson.dumps({"epoch": epoch})))

    def write(self, snapshot: Snapshot) -> None:
        """Write a snapshot whole or not at all; raises Fenced, or KafkaException when it could not be written."""
        self._transact(lambda: self._put_snapshot(snapshot))

    def _put_snapshot(self, snapshot: Snapshot) -> None:
        stamp = snapshot.checkpoint.stamp
        self._put_rows(snapshot.rows, stamp.header())
        self._put_outcomes(snapshot.outcomes, f"{self._place}/{stamp.epoch}.{stamp.number}")
        self._put(LEDGER, CHECKPOINT_KEY, snapshot.checkpoint.to_bytes())

    # Records go to the client by position: its names for eight arguments cost as much as the rest of a call.

    def _put_rows(self, rows: Sequence[Row], header: Headers) -> None:
        produce, topics, partition = self._producer.produce, self._tables, self._place.partition
        for table, key, value in rows:
            record = (topics[table], value, key, partition, None, None, 0, header)
            try:
                produce(*record)
            except BufferError:  # the queue is full: let the client send
                self._put_patiently(record)

    def _put_outcomes(self, outcomes: Sequence[Outcome], event_id: str) -> None:
        produce, kinds, told = self._producer.produce, self._kinds, self._on_delivery
        for index, (output, key, row) in enumerate(outcomes):
            topic, encode, head = kinds[output]
            value = None if row is None else encode(row)
            said = row.get("event_id") if row else None
            headers = [*head, ("ce_id", said or f"{event_id}/{index}")]
            record = (topic, value, key, _BY_KEY, None, told, 0, headers)
            try:
                produce(*record)
            except BufferError:
                self._put_patiently(record)

    def _put(self, table: str, key: bytes, value: bytes) -> None:
        self._put_patiently((self._tables[table], value, key, self._place.partition))

    def _put_patiently(self, record: tuple[Any, ...]) -> None:
        while True:
            try:
                self._producer.produce(*record)
                return
            except BufferError:
                self._producer.poll(0.05)

    def _transact(self, put: Callable[[], None]) -> None:
        """Run `put` in a transaction; one that the broker wants aborted is repeated."""
        deadline_s = monotonic_s() + self._retry_s
        while True:
            try:
                self._call(self._producer.begin_transaction)
                self._call(put)
                self._retry(lambda: self._producer.commit_transaction(self._retry_s))
                return
            except KafkaException as error:
                if not _kafka_error(error).txn_requires_abort() or monotonic_s() > deadline_s:
                    raise
                log.warning("checkpoint of %s is repeated: %s", self._place, _kafka_error(error).str())
                self._retry(lambda: self._producer.abort_transaction(self._retry_s))

    def _retry(self, call: Callable[[], None]) -> None:
        """Repeat a call that may be repeated as it is."""
        deadline_s = monotonic_s() + self._retry_s
        while True:
            try:
                self._call(call)
                return
            except KafkaException as error:
                found = _kafka_error(error)
                if not found.retriable() or found.txn_requires_abort() or monotonic_s() > deadline_s:
                    raise

    def _call(self, call: Callable[[], None]) -> None:
        """Turn fencing, which any call may meet, into Fenced."""
        if self._fenced:
            raise Fenced(self._fenced)
        try:
            call()
        except KafkaException as error:
            found = self._cause(_kafka_error(error))
            if found.code() in _FENCED:
                self._fenced = f"{self._place}: {found.str()}"
                raise Fenced(self._fenced) from error
            raise

    def _cause(self, error: KafkaError) -> KafkaError:
        """What is behind `_FATAL`: where a background thread of the client met it, only the next call says."""
        if error.code() == KafkaError._FATAL:
            try:
                self._producer.abort_transaction(0.1)
            except KafkaException as cause:
                return _kafka_error(cause)
        return error


class Held(NamedTuple):
    """A shard and the producer that writes its checkpoints."""

    shard: Shard
    writer: Writer


class Checkpointer:
    """Writes the checkpoints of all shards that this process holds, every interval or number of changes."""

    def __init__(self, limits: Limits) -> None:
        self.held: dict[Place, Held] = {}
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._turn = asyncio.Lock()
        self._due = asyncio.Event()
        self._written = asyncio.Event()

    def shard(self, place: Place) -> Shard | None:
        """The shard of a place, None where another worker has it."""
        held = self.held.get(place)
        return held.shard if held else None

    def drop(self, place: Place) -> None:
        """Forget a shard with what it has not written; whoever owns the place applies those frames again."""
        self.held.pop(place, None)
        self._wake()

    async def run(self) -> None:
        """Write checkpoints until cancelled."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), self._limits.interval_ms / 1_000)
            self._due.clear()
            await self.checkpoint()

    async def checkpoint(self) -> None:
        """Write what is pending in every shard; a shard that lost its place is dropped."""
        async with self._turn:
            for place, held in list(self.held.items()):
                if held.shard.pending_frames and self.held.get(place) is held:
                    await self._write(place, held)
            self._wake()

    @asynccontextmanager
    async def pause(self) -> AsyncIterator[None]:
        """Nothing is written meanwhile."""
        async with self._turn:
            yield

    async def room(self, place: Place) -> None:
        """Ask for a checkpoint where a shard has enough for one, and wait while it has twice that."""
        limit = self._limits.changes
        while (shard := self.shard(place)) is not None and shard.pending_changes >= limit:
            self._due.set()
            if shard.pending_changes < 2 * limit:
                return
            written = self._written
            await written.wait()

    async def _write(self, place: Place, held: Held) -> None:
        snapshot = held.shard.snapshot()
        loop = asyncio.get_running_loop()
        try:
            with histogram("tieout_checkpoint_duration_seconds", axis=place.axis.value).time():
                await loop.run_in_executor(self._thread, held.writer.write, snapshot)
        except Fenced as error:
            log.warning("lost %s", error)
            if self.held.get(place) is held:
                self.drop(place)
            return
        for event in snapshot.events:
            event.ack()
        _count(snapshot)

    def _wake(self) -> None:
        self._written.set()
        self._written = asyncio.Event()


def _count(snapshot: Snapshot) -> None:
    for output, number in Counter([outcome.output for outcome in snapshot.outcomes]).items():
        counter("tieout_outputs_produced", output=output.value).inc(number)


class _Topics(dict[str, str]):
    """Changelog topics of an axis by table."""

    def __init__(self, axis: Axis) -> None:
        super().__init__()
        self._axis = axis

    def __missing__(self, table: str) -> str:
        return self.setdefault(table, table_topic(table, self._axis))


def _cloud_event(output: Output, place: Place) -> Headers:
    return [
        ("content-type", b"application/avro"),
        ("ce_specversion", b"1.0"),
        ("ce_type", f"tieout.{output.value}.v1".encode()),
        ("ce_source", f"/tieout/worker/{place}".encode()),
    ]


def _kafka_error(error: KafkaException) -> KafkaError:
    found: KafkaError = error.args[0]
    return found
