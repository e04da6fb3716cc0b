"""The whole pipeline as processes on Apache Kafka, fed with the simulator's four weeks, and what it must end in."""

from __future__ import annotations

import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition
from faults.harness import HOLDS_S, SESSION_MS, Proc, environment, read_all, wait_until

from tieout.codecs.avro import RowReader
from tieout.codecs.framing import unframe
from tieout.reconcilers.changes import Frame
from tieout.reconcilers.engine import State, apply
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.outcomes import PUBLISHED, Output
from tieout.reconcilers.policy import Policy
from tieout.schemas import avsc
from tieout.streams import demo, replay
from tieout.streams.audit import read_to
from tieout.streams.pressure import GroupProgress
from tieout.streams.settings import Settings
from tieout.streams.simulate.capture import write_capture
from tieout.streams.simulate.delivery import Record
from tieout.streams.simulate.facts import TOPICS
from tieout.streams.sinks.publish import SNAPSHOT
from tieout.streams.sinks.reader import Snapshot
from tieout.streams.tables import Place, progress
from tieout.streams.topics import changes_topic, output_topic

ROLES: Final = ("ingest", "worker", "sink")
DYING: Final = Path(__file__).with_name("dying_role.py")
FEED_TICK_S: Final = 0.05
STALE: Final = "stale sources"
# Less what says when something was noticed, and the KPIs made of that or of the way that records took.
OF_THE_WAY: Final = (
    "mttd", "mttr", "sync_lag", "inflight_mismatches", "duplicates_suppressed", "events", "open_findings", "exposure",
)  # fmt: skip
ANSWERS: Final = {
    "time entries": "SELECT * EXCLUDE (updated_at) FROM v1.time_entry",
    "findings": "SELECT * EXCLUDE (opened_at, updated_at) FROM v1.finding WHERE code <> 'SOURCE_STALE'",
    STALE: "SELECT business_key, status FROM v1.finding WHERE code = 'SOURCE_STALE' AND status = 'OPEN'",
    "KPI cells": f"""SELECT kpi, measure, le_code, region, practice, project_code, billing_cycle_id, currency, state,
        hold_code, value, numerator, denominator FROM v1.kpi WHERE kpi NOT IN {OF_THE_WAY}""",
}


class Pipeline:
    """Ingest, workers and sink under supervision, in `folder`: of the simulated firm, or as `config` has it.

    `raw` are the topics and partitions that have to be read for everything to have been read.
    """

    def __init__(self, bootstrap: str, folder: Path, config: Path | None = None, settings: Settings | None = None,
                 raw: Sequence[tuple[str, int]] | None = None) -> None:
        self.folder = folder
        self.config = config or folder / "tieout.toml"
        if config is None:
            self.config.write_text(demo.configuration(bootstrap, folder, 0), encoding="utf-8")
        self.settings = settings or demo.load(self.config)
        self.procs: dict[str, Proc] = {}
        self._raw = raw or [(topic.name, number) for topic in TOPICS for number in range(topic.partitions)]

    def start(self, name: str, *, static: bool = True, fault: str = "") -> Proc:
        """A process of the role that its name begins with: 'worker', 'worker-2'; `fault` as in dying_role.py.

        A static member of its group is known again at once when it is restarted after a kill.
        """
        client = {"KAFKA__CLIENT__SESSION_TIMEOUT_MS": str(SESSION_MS), "KAFKA__CLIENT__HEARTBEAT_INTERVAL_MS": "1500"}
        if static:
            client["KAFKA__CLIENT__GROUP_INSTANCE_ID"] = name
        program = [str(DYING)] if fault else ["-m", "tieout.streams.app"]
        command = [sys.executable, *program, name.partition("-")[0], "--config", str(self.config)]
        client |= {"TEST_FAULT": fault} if fault else {}
        self.procs[name] = Proc(command, environment(self.settings, **client), self.folder / f"{name}.log")
        return self.procs[name]

    @contextmanager
    def running(self) -> Iterator[None]:
        """One process a role."""
        try:
            for role in ROLES:
                self.start(role)
            yield
        finally:
            for proc in self.procs.values():
                proc.close()

    def started(self, name: str) -> Proc:
        """A process once it is up: before that, SIGTERM ends Python itself."""
        proc = self.procs[name]
        wait_until(lambda: "metrics and probes on" in proc.log_now(), HOLDS_S, f"{name} is up", proc.tail)
        return proc

    def supervise(self) -> None:
        """Restart what asked for it; anything else that ended fails the test."""
        for proc in self.procs.values():
            proc.restart_if_dead()

    def settle(self) -> None:
        """Until everything that was fed is published."""
        self._until("ingest has read everything", self._ingested, 120)
        self._apply_all()
        standings = last_committed(self.settings, [Output.STANDING])
        self._until("ingest has read the standings", lambda: self._read(standings), 120)
        self._apply_all()  # what the worker axis said has come home
        self._publish_all()

    def stop(self) -> None:
        """SIGTERM to all; each must end with 0 in time, and whoever reads what it wrote reads all of it first."""
        for role, read in (("ingest", self._apply_all), ("worker", self._publish_all), ("sink", None)):
            for name in [name for name in self.procs if name.partition("-")[0] == role]:
                proc = self.started(name)
                assert proc.stop(20) == 0, f"{name}: {proc.tail()}"
                del self.procs[name]
            if read:
                read()

    def _until(self, what: str, holds: Any, within_s: float) -> None:
        def check() -> bool:
            self.supervise()
            return bool(holds())

        wait_until(check, within_s, what, lambda: "\n\n".join(proc.tail(8) for proc in self.procs.values()))

    def _places(self) -> list[tuple[Axis, int]]:
        wide = range(self.settings.kafka.partitions)
        return [(Axis.CONTROL, 0), *((axis, number) for axis in (Axis.PROJECT, Axis.WORKER) for number in wide)]

    def _ingested(self) -> bool:
        group = GroupProgress(self.settings, self.settings.group("ingest"))
        wanted = self._raw
        standings = group(wanted)
        group.close()
        # While the group's coordinator moves, nothing is known: that is not the same as everything read.
        known = len(standings) == len(wanted) and any(standing.high for standing in standings.values())
        return known and all((standing.committed or 0) >= standing.high for standing in standings.values())

    def _read(self, ends: Mapping[tuple[str, int], int]) -> bool:
        group = GroupProgress(self.settings, self.settings.group("ingest"))
        standings = group(ends)
        group.close()
        return all(at in standings and (standings[at].committed or 0) >= end for at, end in ends.items())

    def _apply_all(self) -> None:
        frames = {(axis, number): self._end(changes_topic(axis), number) for axis, number in self._places()}
        self._until("every frame is applied", lambda: all(self._applied(p) >= end for p, end in frames.items()), 240)

    def _publish_all(self) -> None:
        outputs = last_committed(self.settings)
        self._until("every output is published", lambda: self._published() >= outputs, 120)

    def _applied(self, place: tuple[Axis, int]) -> int:
        last = progress(self.settings.kafka_client(), Place(*place))
        return last.next_offset if last else 0

    def _end(self, topic: str, number: int) -> int:
        consumer = Consumer(self.settings.kafka_client({"group.id": "verdict"}))
        _, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)
        consumer.close()
        return high

    def _published(self) -> Counter[tuple[str, int]]:
        snapshot = self.settings.sink.publish_dir / SNAPSHOT
        if not snapshot.exists():
            return Counter()
        with Snapshot(snapshot.resolve()) as published:
            return Counter(read_to(published))


class StoryFeed:
    """Plays a story's records into the raw topics, in order, a share at a time."""

    def __init__(self, settings: Settings, records: Sequence[Record]) -> None:
        self._records = records
        self._producer = Producer(settings.kafka_producer({"linger.ms": 5}))
        self._at = 0

    @contextmanager
    def playing(self, share: float, seconds: float) -> Iterator[None]:
        """Play this share of the story in the background, spread over so many seconds; whole at the end."""
        until = min(len(self._records), self._at + round(len(self._records) * share) + 1)
        done = threading.Event()
        thread = threading.Thread(target=self._play, args=(until, seconds, done))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self._send(until)

    def rest(self) -> None:
        """Everything that was not played yet."""
        self._send(len(self._records))

    def _play(self, until: int, seconds: float, done: threading.Event) -> None:
        first, ticks = self._at, max(1, round(seconds / FEED_TICK_S))
        for tick in range(1, ticks + 1):
            if done.wait(FEED_TICK_S):
                return
            self._send(first + (until - first) * tick // ticks)

    def _send(self, until: int) -> None:
        for record in self._records[self._at : until]:
            ts, key = record.at // 1_000, record.key
            self._producer.produce(record.topic, record.value, key, partition=record.partition, timestamp=ts)
        self._at = max(self._at, until)
        assert self._producer.flush(60) == 0


def last_committed(settings: Settings, outputs: Iterable[Output] = PUBLISHED) -> Counter[tuple[str, int]]:
    """The offset after the last record of each output partition that a reader of committed records sees."""
    ends: Counter[tuple[str, int]] = Counter()
    for output in outputs:
        topic = output_topic(output)
        for record, _ in read_all(settings, topic):
            place = (topic, int(record["partition"]))
            ends[place] = max(ends[place], int(record["offset"]) + 1)
    return ends


def replayed(records: Sequence[Record], pipeline: Pipeline) -> Path:
    """The DuckDB file that `tieout replay` makes of the same records, each partition a file of its own."""
    captures = pipeline.folder / "captures"
    lanes: dict[tuple[str, int], list[Record]] = defaultdict(list)
    for record in records:
        lanes[record.topic, record.partition].append(record)
    for (topic, number), lane in lanes.items():
        write_capture(captures / f"{topic}-{number}.jsonl", lane)
    database = pipeline.folder / "replayed.duckdb"
    options = replay.Options(partitions=pipeline.settings.kafka.partitions)
    replay.replay(replay.load([captures]), database, options, pipeline.settings)
    return database


def differences(streamed: Path, expected: Path) -> dict[str, dict[str, Any]]:
    """What is lost and what is too much in the stream, by kind of answer; empty when both say the same."""
    found: dict[str, dict[str, Any]] = {}
    for what, query in ANSWERS.items():
        rows = [_rows(database, query) for database in (streamed, expected)]
        lost, surplus = rows[1] - rows[0], rows[0] - rows[1]
        assert rows[1] or what == STALE, f"nothing to compare: {what}"
        if lost or surplus:
            examples = {"lost": list(lost)[:2], "surplus": list(surplus)[:2]}
            found[what] = {"of": rows[1].total(), "n_lost": lost.total(), "n_surplus": surplus.total(), **examples}
    return found


def blame(settings: Settings) -> str:
    """Who went wrong: apply the frames of the log here, and compare with the entries that the worker published."""
    expected: dict[str, Any] = {}
    for number in range(settings.kafka.partitions):
        state = State(Axis.PROJECT, number, settings.kafka.partitions, Policy())
        for _, value in read_all(settings, changes_topic(Axis.PROJECT), [number]):
            outcomes = apply(state, Frame.from_record(orjson.loads(value)))
            expected |= {o.key: _steady(o.row or {}) for o in outcomes if o.output is Output.TIME_ENTRY_STATE}
    reader = RowReader(avsc(Output.TIME_ENTRY_STATE.value))
    published = {
        record["key"]: _steady(reader.read(unframe(value).payload))
        for record, value in read_all(settings, output_topic(Output.TIME_ENTRY_STATE))
    }
    wrong = [key for key in expected.keys() | published.keys() if expected.get(key) != published.get(key)]
    return f"the worker: the frames give other entries {wrong[:3]}" if wrong else "not the worker: so say the frames"


def _steady(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("updated_at", "version")}


def repeated_events(settings: Settings) -> list[str]:
    """Ids of events that a reader of committed records meets twice."""
    seen: Counter[str] = Counter()
    for output in (Output.BILLING_DECISION, Output.FINDING_EVENTS):
        seen.update(record["ce_id"] for record, _ in read_all(settings, output_topic(output)))
    assert seen
    return [event for event, times in seen.items() if times > 1]


def _rows(database: Path, query: str) -> Counter[str]:
    with duckdb.connect(str(database), read_only=True) as con:
        con.execute("SET timezone = 'UTC'")
        return Counter(map(repr, con.execute(query).fetchall()))
