"""The ingest role: raw topics in, frames out. Offsets are committed only after everything made of them is durable.

One turn of the loop consumes a batch, runs it through the `Pipeline`, delivers the result and commits. A crash
anywhere repeats the batch: xref rows are durable before the frames that rely on them, so it is routed the same way,
and the engine drops what it has seen.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import md5
from typing import TYPE_CHECKING, Any, Final, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from tieout.codecs.errors import ConfigurationError, SchemasUnreachable
from tieout.codecs.records import Headers, RawRecord
from tieout.reconcilers.changes import UnknownVersion
from tieout.reconcilers.engine import READS
from tieout.reconcilers.entities import Axis
from tieout.streams import clock, deadletters, sources
from tieout.streams.alignment import Alignment, Ends, steps
from tieout.streams.dependencies import BrokerWatch, expect, saw
from tieout.streams.frames import FRAMES_A_BATCH
from tieout.streams.ingest_metrics import IngestMetrics
from tieout.streams.ops import Answer, Heartbeat, OpsServer
from tieout.streams.outbox import PRODUCER, DeliveryFailed, IdMap, Outbox, restore_parking
from tieout.streams.pipeline import Batch, Limits, Pipeline, raw_partition
from tieout.streams.pressure import GroupProgress, Pressure, RecordsLost, forgets
from tieout.streams.standings import STANDINGS, of_records
from tieout.streams.topicread import TopicMissing
from tieout.streams.topics import changes_topic

if TYPE_CHECKING:
    from confluent_kafka import Message

    from tieout.streams.settings import Settings

log = logging.getLogger(__name__)

FAILED, CONFIGURATION, UNREACHABLE, CONTRACT = 1, 3, 4, 12
_TIMEOUT_S: Final = 30.0
_HANGS_AFTER_S: Final = 120.0
PREFETCH_KB: Final = 16_384  # what librdkafka reads ahead of us, all partitions together; by default four times as much
_MOVED: Final = (  # our partitions have another owner: it reads again what we could not commit
    KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.FENCED_INSTANCE_ID, KafkaError._ASSIGNMENT_LOST, KafkaError._NO_OFFSET, KafkaError._STATE,
)


def run(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT: 0 after a clean end, 1, 3 4 or 12 with its reason logged; raises KafkaException."""
    try:
        role = IngestRole(settings)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: role.stop())
        return role.run()
    except ConfigurationError as error:
        log.critical("a source cannot be read as configured: %s", error)
        return CONFIGURATION
    except TopicMissing as error:
        log.critical("%s", error)
        return UNREACHABLE
    except UnknownVersion as error:
        log.critical("%s", error)
        return CONTRACT
    except (DeliveryFailed, RecordsLost, RecordsGone, TooManyLetters, TimeoutError) as error:
        log.critical("%s", error)
        return FAILED


class TooManyLetters(RuntimeError):
    """So many records cannot be read that going on would only hide it."""

    def __init__(self, open_: int, most: int, reasons: Counter[str]) -> None:
        commonest = ", ".join(f"{number}x {reason}" for reason, number in reasons.most_common(3))
        super().__init__(
            f"{open_} dead letters are open, dead_letters.most_open is {most} ({commonest}). Something changed at a "
            "source or in a mapping: see 'tieout dlq list', mend it, then replay, park or drop them and start again."
        )


class RecordsGone(RuntimeError):
    """The next raw record to read was deleted before it was read: from here on, absence would prove nothing."""

    def __init__(self, topic: str | None, partition: int | None, reason: str) -> None:
        super().__init__(
            f"{topic}/{partition}: records were deleted before they were read ({reason}). Lengthen the topic's "
            "retention and snapshot the source again; then move the group's offset to what is left, with Kafka's tools."
        )


class IngestRole:
    """One ingest process: consumer, producer, pipeline and the loop that joins them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._readings = sources.readings(settings)
        self._asking = sources.asking(self._readings)
        self._unreachable = ""  # why schemas cannot be fetched
        self._instance = f"{socket.gethostname()}-{os.getpid()}"
        self._stop = threading.Event()
        self._pipeline: Pipeline | None = None
        self._id_map: IdMap | None = None
        self._drops: deadletters.Drops | None = None
        self._own: set[tuple[str, int]] = set()
        self._now_us = 0  # of the last batch, whichever pipeline made it
        self._open_letters: Counter[str] = Counter()  # by reason; those of other ingest processes as of our start
        self._paused = False
        self._last_batch_s = clock.monotonic_s()
        self._metrics = IngestMetrics()
        self._alive = Heartbeat(within_s=_HANGS_AFTER_S)
        expect("ingest")
        self._consumer = Consumer(settings.kafka_client(_consumer_options(settings)))
        self._ends = Ends(self._consumer, settings.kafka_client())
        self._alignment = Alignment(self._ends) if settings.clock == "log" else None
        self._producer = Producer(settings.kafka_producer(PRODUCER))
        self._outbox = Outbox(self._producer, settings.retry.brokers_s)
        self._ops = OpsServer(settings.ops, "ingest")
        self._ops.check("loop", self._alive, "live")
        self._ops.check("assigned", self._assigned)
        if self._asking:
            self._ops.check("schemas", self._schemas)

    def stop(self) -> None:
        """End after the turn that is running; safe from a signal handler and from other threads."""
        self._stop.set()

    def run(self) -> int:
        """The loop, from waiting for the raw topics to a clean end."""
        with self._ops, BrokerWatch(self._settings):
            try:
                self._start()
                while not self._stop.is_set():
                    self._turn()
            finally:
                self._consumer.close()
        log.info("ingest ended: everything consumed is delivered and committed")
        return 0

    # --- start -----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        topics = [*sorted(self._readings), STANDINGS]
        self._wait_for(topics)
        self._count_letters()
        self._check_letters()
        cluster = self._consumer.list_topics(timeout=_TIMEOUT_S).cluster_id
        progress = GroupProgress(self._settings, self._settings.group("worker"))
        self._pressure = Pressure(progress, self._settings.ingest.max_ahead_bytes, lossy=forgets(cluster))
        self._pressure.watch((changes_topic(axis), number) for axis in (Axis.PROJECT, Axis.WORKER)
                             for number in range(self._settings.kafka.partitions))
        self._outbox.on_frame = self._pressure.sent
        self._consumer.subscribe(topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)

    def _wait_for(self, topics: list[str]) -> None:
        """Until every raw topic exists: connectors make them, often after we start."""
        while not self._stop.is_set() and (missing := [name for name in topics if not self._partitions(name)]):
            log.warning("waiting for raw topics that do not exist yet: %s", ", ".join(missing))
            self._alive.beat()
            self._stop.wait(1.0)

    def _partitions(self, topic: str) -> int:
        return len(self._consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic].partitions)

    def _assigned(self) -> Answer:
        return Answer(self._pipeline is not None, "raw partitions assigned and the id map restored")

    def _schemas(self) -> Answer:
        return Answer(not self._unreachable, self._unreachable or "every schema asked for was found or refused")

    # --- rebalances: called inside consume(), between turns, when nothing is in flight -------------------------------

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        own = {(tp.topic, tp.partition) for tp in partitions if tp.topic != STANDINGS}
        if self._alignment:
            self._ends.assigned(own)
            self._alignment.assigned(own)
        self._pipeline = self._restored_pipeline(own, floor_us=self._now_us)
        self._paused = False
        self._metrics.assigned(tp.topic for tp in partitions)
        consumer.assign(list(_from_the_start(consumer, partitions)))
        log.info("assigned %d raw partitions, id map of %d rows, %d changes parked", len(own),
                 len(self._pipeline.identity.rows), len(self._pipeline.parking))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._pipeline = None
        for followed in (self._id_map, self._drops):
            if followed is not None:
                followed.close()
        self._id_map = self._drops = None
        self._metrics.assigned(())

    def _restored_pipeline(self, own: set[tuple[str, int]], floor_us: int) -> Pipeline:
        """A pipeline under a new producer name, with the id map, and with what is parked of our own partitions."""
        counts = {topic: self._partitions(topic) for topic in self._readings}
        limits = Limits(self._settings.ingest.frame_changes, self._settings.ingest.frame_bytes)
        self._id_map, self._drops = IdMap(self._settings), deadletters.Drops(self._settings)
        self._own = own
        pipeline = Pipeline(
            self._readings, sources=sources.raw_partitions(self._settings, counts),
            partitions=self._settings.kafka.partitions, producer=f"{self._instance}-{clock.now_us()}", reads=READS,
            identity=self._id_map.restore(), parking=restore_parking(self._settings, own), limits=limits,
        )
        pipeline.now_us = floor_us
        pipeline.restored()
        self._give_up(pipeline, self._drops.so_far())  # also those that a crash kept from being told
        return pipeline

    def _give_up(self, pipeline: Pipeline, origins: Iterable[str]) -> None:
        """Dead letters that were dropped: whoever reads their raw partition tells the workers."""
        for origin in origins:
            topic, partition, _ = origin.rsplit("/", 2)
            if (topic, int(partition)) in self._own:
                pipeline.dropped(origin)

    # --- one turn --------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        self._alive.beat()
        self._hold(self._pressure.wait())
        messages = self._consumer.consume(self._settings.ingest.frame_changes * FRAMES_A_BATCH,
                                          self._settings.ingest.linger_ms / 1_000)
        read = [_raw(message) for message in messages if _sound(message)]
        records = [record for record in read if record.topic != STANDINGS]
        back = [record for record in read if record.topic == STANDINGS]  # not on the log clock: it is our own
        pipeline = self._pipeline
        if pipeline is None:
            return
        if not self._have_schemas(records) or self._pipeline is not pipeline:
            return  # we end, or others have our partitions now: what is not committed is read again
        if self._alignment:
            records = self._alignment.step(records, reading=not self._paused)
        for row, value in self._id_map.news() if self._id_map else ():
            pipeline.learned(row, value)
        self._give_up(pipeline, self._drops.news() if self._drops else ())
        for batch in self._batches(pipeline, records):
            self._last_batch_s, self._now_us = clock.monotonic_s(), pipeline.now_us
            self._outbox.deliver(batch)
            self._metrics.batch(pipeline, batch)
            self._open_letters.update(letter.reason for letter in batch.dead_letters)
        if back:
            batch = pipeline.deliver(of_records(back))
            self._outbox.deliver(batch)
            self._metrics.batch(pipeline, batch)
        self._commit([*records, *back])
        self._check_letters()

    def _check_letters(self) -> None:
        if self._open_letters.total() > self._settings.dead_letters.most_open:
            self._count_letters()  # some may have been worked since
            if (open_ := self._open_letters.total()) > (most := self._settings.dead_letters.most_open):
                raise TooManyLetters(open_, most, self._open_letters)

    def _count_letters(self) -> None:
        letters = deadletters.read(self._settings).values()
        self._open_letters = Counter(letter.reason for letter in letters if letter.status is deadletters.Status.OPEN)

    def _have_schemas(self, records: list[RawRecord]) -> bool:
        """Fetch the schemas that records name; hold all reading while nobody answers, False when told to stop.

        Partitions are paused and the group is kept alive; nothing is dead-lettered for want of a registry.
        """
        while not self._stop.is_set():
            try:
                for record in records if self._asking else ():
                    if (codec := self._asking.get(record.topic)) is not None:
                        codec.prepare(record)
            except SchemasUnreachable as error:
                log.warning("holding %d records, nothing is lost: %s", len(records), error)
                self._unreachable = str(error)
                saw("registry", up=False)
                self._alive.beat()
                self._hold(True)
                self._idle()
            else:
                if self._unreachable:
                    self._hold(False)
                self._unreachable = ""
                if records and self._asking:
                    saw("registry", up=True)
                return True
        return False

    def _idle(self) -> None:
        """Take part in the group without reading on; what a rebalance in between lets through is read again."""
        for message in self._consumer.consume(1, self._settings.retry.registry_s):
            if _sound(message):
                record = _raw(message)
                self._consumer.seek(TopicPartition(record.topic, record.partition, record.offset))

    def _batches(self, pipeline: Pipeline, records: list[RawRecord]) -> Iterator[Batch]:
        """What a turn makes; on the log clock step by step, so that what is late for hours is seen to be."""
        now_us = clock.now_us() if self._settings.clock == "wall" else None
        if not records:
            if self._tick_due():
                yield pipeline.tick(now_us=now_us)
            return
        *before, last = steps(records) if self._alignment else [records]
        for step in before:
            yield pipeline.take(step, now_us=now_us)
        yield pipeline.take(last, now_us=now_us, at_end=self._at_end())

    def _hold(self, hold: bool) -> None:
        """Stop reading while the workers are behind, go on when they have caught up."""
        if hold != self._paused and (assigned := self._consumer.assignment()):
            (self._consumer.pause if hold else self._consumer.resume)(assigned)
            self._paused = hold

    def _tick_due(self) -> bool:
        """Also while holding back no ticks: they would add to what is unread."""
        idle_s = clock.monotonic_s() - self._last_batch_s
        started = self._settings.clock == "wall" or (self._pipeline is not None and self._pipeline.now_us > 0)
        return started and not self._paused and idle_s * 1_000 >= self._settings.ingest.tick_ms

    def _at_end(self) -> list[str]:
        """The raw partitions that are read to the end they had at the last fetch; only heartbeats need it."""
        if not any(reading.heartbeat for reading in self._readings.values()):
            return []
        ends = []
        for tp in self._consumer.position(self._consumer.assignment()):
            _, high = self._consumer.get_watermark_offsets(tp, cached=True)
            if tp.offset >= high >= 0:
                ends.append(raw_partition(tp.topic, tp.partition))
        return ends

    def _commit(self, records: Iterable[RawRecord]) -> None:
        following: dict[tuple[str, int], int] = {}
        for record in records:
            following[record.topic, record.partition] = record.offset + 1
        if not following:
            return
        try:
            self._consumer.commit(
                offsets=[TopicPartition(topic, number, offset) for (topic, number), offset in following.items()],
                asynchronous=False,
            )
            if self._pipeline is not None:
                self._pipeline.committed(following)
        except KafkaException as error:
            if error.args[0].code() not in _MOVED and not error.args[0].retriable():
                raise
            log.warning("offsets not committed, whoever reads on repeats the batch: %s", error.args[0])


def _consumer_options(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "group.id": settings.group("ingest"), "enable.auto.commit": False, "auto.offset.reset": "error",
        "isolation.level": "read_committed", "queued.max.messages.kbytes": PREFETCH_KB,
    }
    if instance := settings.ingest.instance or settings.kafka.client.get("group.instance.id"):
        options["group.instance.id"] = f"{instance}-{_topics_read(settings)}"
    return options


def _topics_read(settings: Settings) -> str:
    """Which topics, as a short digest: a static member that comes back with others must not be the same member.

    The broker gives it its old assignment again, whatever it subscribes to now: a source added would never be read.
    """
    topics = sorted({name for source in settings.sources.values() for name in (source.topic, source.heartbeat) if name})
    return md5("\n".join(topics).encode(), usedforsecurity=False).hexdigest()[:8]


def _from_the_start(consumer: Consumer, partitions: list[TopicPartition]) -> Iterator[TopicPartition]:
    """Where to begin: at the committed offset, or at the beginning where the group has never been."""
    for place in consumer.committed(partitions, timeout=_TIMEOUT_S):
        if place.error is not None:
            raise KafkaException(place.error)
        yield place if place.offset >= 0 else TopicPartition(place.topic, place.partition, OFFSET_BEGINNING)


def _sound(message: Message) -> bool:
    """Whether it is a record; librdkafka retries what it can by itself, the rest is raised."""
    error = message.error()
    if error is None:
        return True
    if error.code() == KafkaError._AUTO_OFFSET_RESET:
        raise RecordsGone(message.topic(), message.partition(), error.str())
    if error.fatal() or error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
        raise KafkaException(error)
    log.warning("the broker says: %s", error)
    return False


def _raw(message: Message) -> RawRecord:
    _, ts_ms = message.timestamp()
    return RawRecord(message.topic() or "", message.partition() or 0, message.offset() or 0, ts_ms, message.key(),
                     message.value(), cast(Headers, tuple(message.headers() or ())))
