"""Ingest under kill -9 on Apache Kafka: every record is sent, to one partition, and no watermark runs ahead of it."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
from brokers import KafkaCluster
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from faults.harness import KILLS, SEED, SESSION_MS, Proc, wait_until
from ingest_records import T0_MS, entry, event, observed

from tieout.codecs.formats import codec
from tieout.codecs.records import RawRecord
from tieout.reconcilers.changes import Frame
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.routing import COVERED
from tieout.streams import deadletters
from tieout.streams.frames import decode
from tieout.streams.settings import Settings, load
from tieout.streams.standings import STANDINGS
from tieout.streams.topicread import whole_topic
from tieout.streams.topics import DEAD_LETTER, PARKED, XREF, changes_topic

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.timeout(900)]
PROJECT = changes_topic(Axis.PROJECT)
RAW = {"raw.time": 2, "raw.psa": 2, "raw.erp": 1}
TIME, PSA, ERP = "TIME/kimai", "PSA/certinia", "ERP/ax"
WAIT_S = 90.0
CONFIG = """
clock = "log"
[kafka]
partitions = 4
[kafka.client]
"bootstrap.servers" = "{bootstrap}"
"session.timeout.ms" = {session_ms}
[sources.time]
system = "TIME"
instance = "kimai"
topic = "raw.time"
[sources.psa]
system = "PSA"
instance = "certinia"
topic = "raw.psa"
[sources.erp]
system = "ERP"
instance = "ax"
topic = "raw.erp"
[ingest]
linger_ms = 20
frame_changes = 40
max_ahead_bytes = 1000000000
instance = "one"
[ops]
port = 0
"""


@pytest.fixture
def shared(kafka: KafkaCluster, tmp_path: Path) -> Settings:
    """Settings of the process and of the test, on a broker with empty topics."""
    for topic, partitions in {**RAW, PROJECT: 4, changes_topic(Axis.WORKER): 4,
                              changes_topic(Axis.CONTROL): 1, STANDINGS: 4, DEAD_LETTER: 1}.items():
        kafka.create(topic, partitions, {"retention.ms": "-1"})  # the feed's timestamps are of the past
    for topic in (XREF, PARKED):
        kafka.create(topic, 1, {"cleanup.policy": "compact"})
    config = tmp_path / "tieout.toml"
    config.write_text(CONFIG.format(bootstrap=kafka.bootstrap, session_ms=SESSION_MS))
    return load(config, {})


class Feed(threading.Thread):
    """Writes entries that the time system and the PSA put on different projects, what bills them, and bad records."""

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(daemon=True)
        self._random = random.Random(seed)
        self._writer = Producer(settings.kafka_producer())
        self._done = threading.Event()
        self.number = 0

    def run(self) -> None:
        while not self._done.is_set():
            for _ in range(25):
                self._one(self.number)
                self.number += 1
            self._writer.flush(WAIT_S)
            time.sleep(0.05)

    def _one(self, number: int) -> None:
        at_ms, partition = T0_MS + number, number % 2
        time_code, psa_code = (f"P{self._random.randrange(50)}" for _ in range(2))
        coverage = {"le_code": "UK", "invoice_no": f"I{number}", "line_no": 1, "target": f"TIME:{number}"}
        lines = [
            ("raw.time", partition, entry(number, project_code=time_code, qty_s=60)),
            ("raw.psa", partition, event("time_entry.upserted", PSA, str(number), {
                "origin_system": "TIME", "origin_id": str(number), "project_code": psa_code}, at_ms=at_ms)),
            ("raw.erp", 0, event("coverage.upserted", ERP, f"c{number}", coverage, at_ms=at_ms)),
        ]
        if number % 20 == 0:
            lines += [("raw.time", part, observed(TIME, at_ms)) for part in range(2)]
            lines.append(("raw.erp", 0, b"{broken"))
        self._random.shuffle(lines)
        for topic, part, value in lines:
            self._writer.produce(topic, value, partition=part, timestamp=at_ms)

    def stop(self) -> None:
        self._done.set()
        self.join(WAIT_S)


@contextmanager
def ingest(settings: Settings, folder: Path) -> Iterator[Proc]:
    """The role as a process of its own."""
    import os

    command = [sys.executable, "-m", "tieout.streams.app", "ingest", "--config", str(settings.folder / "tieout.toml")]
    proc = Proc(command, os.environ, folder / "ingest.log")
    try:
        yield proc
    finally:
        proc.close()


def test_killed_at_any_instant_it_loses_nothing_and_splits_nothing(shared: Settings, tmp_path: Path) -> None:
    instants = random.Random(SEED)
    feed = Feed(shared, SEED)
    with ingest(shared, tmp_path) as proc:
        feed.start()
        for _ in range(KILLS):
            if instants.random() < 0.8:  # while it works; else while it starts, joins and restores
                wait_until(lambda: "assigned 5 raw partitions" in proc.log_now(), WAIT_S, "assigned", proc.tail)
            time.sleep(instants.uniform(0.0, 1.5))
            proc.kill()
            proc.start()
        feed.stop()
        _wait_until_all_is_committed(shared, proc)
        assert proc.stop() == 0
    frames = [(message.partition() or 0, decode(message.value() or b"")) for message in whole_topic(shared, PROJECT)]
    verdict = Verdict(_raw(shared))
    for partition, frame in frames:
        verdict.look(partition, frame)
    verdict.check()
    letters = [letter.origin for letter in deadletters.read(shared).values()]
    assert sorted(set(letters)) == sorted(verdict.broken)
    waiting = {message.key(): message.value() for message in whole_topic(shared, PARKED)}
    assert set(waiting.values()) <= {None}, "something waits although all that it needs is there"


def test_a_static_member_that_comes_back_with_another_source_reads_it(shared: Settings, kafka: KafkaCluster,
                                                                      tmp_path: Path) -> None:
    """Within its session the broker would give it the old assignment again."""
    with ingest(shared, tmp_path) as proc:
        wait_until(lambda: "assigned 5 raw partitions" in proc.log_now(), WAIT_S, "assigned", proc.tail)
        proc.kill()
        kafka.create("raw.crm", 1, {"retention.ms": "-1"})
        with (shared.folder / "tieout.toml").open("a") as config:
            config.write('[sources.crm]\nsystem = "CRM"\ntopic = "raw.crm"\n')
        proc.start()
        wait_until(lambda: "assigned 6 raw partitions" in proc.log_now(), WAIT_S, "the new source is read", proc.tail)


def _wait_until_all_is_committed(settings: Settings, proc: Proc) -> None:
    reader = Consumer(settings.kafka_client({"group.id": settings.group("ingest")}))
    parts = [TopicPartition(topic, number) for topic, count in RAW.items() for number in range(count)]
    ends = {(tp.topic, tp.partition): reader.get_watermark_offsets(tp, 10)[1] for tp in parts}
    deadline = time.monotonic() + WAIT_S
    while _committed(reader, parts) != ends:
        assert time.monotonic() < deadline, f"{_committed(reader, parts)} of {ends}: {proc.tail()}"
        assert proc.process.poll() is None, proc.tail()
        time.sleep(0.2)
    reader.close()


def _committed(reader: Consumer, parts: list[TopicPartition]) -> dict[tuple[str, int], int]:
    try:
        return {(tp.topic, tp.partition): tp.offset for tp in reader.committed(parts, 10)}
    except KafkaException:  # the group's coordinator is still being found
        return {}


def _raw(settings: Settings) -> list[RawRecord]:
    return [RawRecord(topic, message.partition() or 0, message.offset() or 0, message.timestamp()[1], message.key(),
                      message.value()) for topic in RAW for message in whole_topic(settings, topic)]


class Verdict:
    """Compares frames with the raw topics, without asking ingest."""

    def __init__(self, records: list[RawRecord]) -> None:
        self.expected: set[tuple[str, int, int]] = set()
        self.broken: list[str] = []
        self.said_at: dict[tuple[str, int], int] = {}  # raw partition, watermark -> offset of the statement
        decoder = codec("canonical", {})
        for record in records:
            origin = (record.topic, record.partition, record.offset)
            if record.value == b"{broken":
                self.broken.append("/".join(map(str, origin)))
            elif (through := decoder.decode(record).watermark_us) is not None:
                self.said_at.setdefault((f"{record.topic}/{record.partition}", through), record.offset)
            else:
                self.expected.add(origin)
        self.homes: dict[str, set[int]] = defaultdict(set)  # entry -> partitions it or what bills it was sent to
        self.sent: dict[int, set[tuple[str, int, int]]] = defaultdict(set)
        self.claims: list[tuple[int, str, int, int]] = []  # partition, raw partition, offset claimed, frame
        self.order: dict[int, dict[tuple[str, int, int], int]] = defaultdict(dict)  # partition -> origin -> its place
        self.numbers: dict[tuple[str, int], list[int]] = defaultdict(list)
        self.places: dict[int, int] = defaultdict(int)

    def look(self, partition: int, frame: Frame) -> None:
        """Take up one frame, in the order of its partition."""
        place = self.places[partition] = self.places[partition] + 1
        self.numbers[frame.producer, partition].append(frame.number)
        for change in frame.changes:
            if change.entity == COVERED:  # ingest's own, for every partition
                continue
            self.sent[partition].add(change.origin)
            self.order[partition].setdefault(change.origin, place)
            entry_key = change.key if change.entity == "time_entry" else str(change.asserted["target"])
            self.homes[entry_key].add(partition)
        for raw, through in frame.watermarks.items():
            self.claims.append((partition, raw, self.said_at[raw, through], place))

    def check(self) -> None:
        """Nothing is lost, no entry has two homes, frames are contiguous, and no watermark came too early."""
        assert self.expected - set().union(*self.sent.values()) == set()
        assert [entry_key for entry_key, partitions in self.homes.items() if len(partitions) > 1] == []
        for (producer, partition), numbers in self.numbers.items():
            assert numbers == list(range(len(numbers))), (producer, partition)
        by_raw: dict[tuple[int, str], list[tuple[int, int]]] = defaultdict(list)
        for partition, order in self.order.items():
            for (topic, number, offset), place in order.items():
                by_raw[partition, f"{topic}/{number}"].append((offset, place))
        assert self.claims
        early = [(partition, raw, claimed) for partition, raw, claimed, at in dict.fromkeys(self.claims)
                 if any(offset < claimed and place > at for offset, place in by_raw[partition, raw])]
        assert early == [], "a watermark was stated before a change that it covers"


def test_the_verdict_would_notice() -> None:
    """Each way to be wrong is found: a lost record, two homes, a gap in the numbers, an early watermark."""
    from tieout.reconcilers.changes import Change, Op

    def change(offset: int, key: str) -> Change:
        return Change("time_entry", key, Op.UPSERT, TIME, key, 1, "1", {}, "", ("raw.time", 0, offset))

    records = [RawRecord("raw.time", 0, n, T0_MS, None, entry(n, project_code="A")) for n in range(2)]
    records.append(RawRecord("raw.time", 0, 2, T0_MS, None, observed(TIME, T0_MS)))
    first, second = change(0, "TIME:0"), change(1, "TIME:1")
    mark = {"raw.time/0": T0_MS * 1_000}
    good = [(0, Frame("p", 0, 1, (first, second))), (0, Frame("p", 1, 1, (), mark))]
    bad = {
        "lost": [(0, Frame("p", 0, 1, (first,), mark))],
        "split": [*good, (1, Frame("p", 0, 1, (first,)))],
        "gap": [(0, Frame("p", 0, 1, (first, second))), (0, Frame("p", 2, 1, (), mark))],
        "early": [(0, Frame("p", 0, 1, (first,), mark)), (0, Frame("p", 1, 1, (second,)))],
    }
    _judge(records, good)
    for frames in bad.values():
        with pytest.raises(AssertionError):
            _judge(records, frames)


def _judge(records: list[RawRecord], frames: list[tuple[int, Frame]]) -> None:
    verdict = Verdict(records)
    for partition, frame in frames:
        verdict.look(partition, Frame.from_record(orjson.loads(orjson.dumps(frame.to_record()))))
    verdict.check()
