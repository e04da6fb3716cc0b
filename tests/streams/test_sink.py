"""The sink role on a broker: exact rows whatever is in the topics and whenever it is killed; it blocks, never skips."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest
from confluent_kafka import Producer
from conftest import Broker
from sink_rows import NOW, cell, decision, encoded, entry, finding, finding_event, gone, source

from tieout.reconcilers.changes import Change, Op
from tieout.reconcilers.outcomes import Outcome
from tieout.streams.deadletters import Letter
from tieout.streams.settings import Kafka, Ops, Settings, Sink
from tieout.streams.sinks.intake import TOPICS
from tieout.streams.sinks.reader import Snapshot
from tieout.streams.sinks.sink import Sink as Role
from tieout.streams.sinks.source import OutputReader, RecordsLost
from tieout.streams.sinks.store import Store
from tieout.streams.topics import DEAD_LETTER, PARKED, output_topic

pytestmark = pytest.mark.timeout(120)
PARTITIONS = 2


@pytest.fixture
def topics(broker: Broker) -> Broker:
    for topic in TOPICS:
        broker.create(topic, PARTITIONS if topic not in (DEAD_LETTER, PARKED) else 1)
    return broker


def settings_for(broker: Broker, folder: Path) -> Settings:
    return Settings(
        kafka=Kafka(client={"bootstrap.servers": broker.bootstrap}),
        sink=Sink(path=folder / "store.duckdb", publish_dir=folder / "pub", publish_every_s=0.1, batch_ms=50),
        ops=Ops(port=0),
    )


def send(broker: Broker, outcomes: Iterable[Outcome]) -> None:
    """Produce outcomes as the worker does, keyed and framed."""
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for number, outcome in enumerate(outcomes):
        producer.produce(output_topic(outcome.output), encoded(outcome), outcome.key.encode(),
                         partition=hash(outcome.key) % PARTITIONS, timestamp=1_000 + number)
        producer.poll(0)
    assert producer.flush(30) == 0


def send_raw(broker: Broker, topic: str, value: bytes | None, key: bytes | None = b"k", headers: Any = None) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    producer.produce(topic, value, key, partition=0, headers=headers, timestamp=5_000)
    assert producer.flush(30) == 0


def drained(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    """Run the role until nothing more comes; what it published."""
    ends = iter([False] * 3)
    assert Role(settings, lambda seconds: next(ends, True)).run() == 0
    with Snapshot(settings.sink.publish_dir / "analytics.duckdb") as snapshot:
        views = snapshot.query("SELECT view_name FROM duckdb_views() WHERE schema_name = 'v1'").rows
        return {view: snapshot.query(f"SELECT * FROM v1.{view} ORDER BY ALL").rows for (view,) in views}


EVERYTHING = [
    entry(1), entry(2), entry(2, state="HELD", top_hold="H22", holds="H22"), entry(3), gone(entry(3)), finding(1),
    finding_event(1), finding_event(1, "RESOLVED_AUTO"), decision(1), cell(5, state="READY"),
    cell(3, partition=1, state="READY"), cell(9, state="HELD"), gone(cell(9, state="HELD")), source(),
]


def test_topics_and_direct_writes_give_the_same_store(topics: Broker, tmp_path: Path) -> None:
    """What the sink reads back from Avro is what the replay writes itself; a second run finds nothing new."""
    settings = settings_for(topics, tmp_path)
    send(topics, EVERYTHING)
    streamed = drained(settings)
    with Store(tmp_path / "direct.duckdb") as store:
        store.write(EVERYTHING)
        direct = {view: store.query(f"SELECT * FROM v1.{view} ORDER BY ALL") for view in streamed}
    assert {view: rows for view, rows in streamed.items() if view != "kpi_history"} == {
        view: rows for view, rows in direct.items() if view != "kpi_history"}
    assert len(streamed["kpi_history"]) == len(direct["kpi_history"])
    assert drained(settings) == streamed


def letter() -> Letter:
    return Letter("raw.time", 0, 42, NOW, b"7", b"{broken", (("own", b"1"),), "not_json", "look at the producer",
                  "cut", "NotJson", "TIME/kimai", "time_entry")


def test_dead_letters_come_and_go(topics: Broker, tmp_path: Path) -> None:
    """A letter is a row until its marker says that it was replayed."""
    settings = settings_for(topics, tmp_path)
    send_raw(topics, DEAD_LETTER, b"{broken", b"raw.time/0/42", letter().to_headers())
    ((topic, partition, offset, _, name, thing, reason, hint, payload),) = drained(settings)["dead_letter"]
    assert (topic, partition, offset, name, thing, reason, hint, payload) == (
        "raw.time", 0, 42, "TIME/kimai", "time_entry", "not_json", "look at the producer", b"{broken")
    send_raw(topics, DEAD_LETTER, b"", b"raw.time/0/42", [("tieout_status", b"REPLAYED")])
    assert drained(settings)["dead_letter"] == []


def test_parked_changes_come_and_go(topics: Broker, tmp_path: Path) -> None:
    settings = settings_for(topics, tmp_path)
    change = Change("coverage", "UK01:I1:1:TIME:9", Op.UPSERT, "ERP/ax", "77", NOW, "1", {}, "e", ("raw.erp", 1, 8))
    record = {"v": 1, "need": "time_entry|TIME:9", "arrival": 0, "since_us": NOW, "source": "ERP/ax",
              "entity": "coverage", "key": change.key, "subject": "77", "change": change.to_record()}
    send_raw(topics, PARKED, orjson.dumps(record), b"ERP/ax|coverage|77|1|e")
    ((topic, partition, offset, *_, reference, payload),) = drained(settings)["parked"]
    assert (topic, partition, offset, reference) == ("raw.erp", 1, 8, "time_entry|TIME:9")
    assert Change.from_record(orjson.loads(payload)) == change
    send_raw(topics, PARKED, None, b"ERP/ax|coverage|77|1|e")
    assert drained(settings)["parked"] == []


POISON: list[tuple[str, str, bytes | None, bytes | None]] = [
    ("bad_framing", "tieout.time_entry.state.v1", b"{}", b"k"),
    ("bad_avro", "tieout.time_entry.state.v1", b"\0\0\0\0\1\xff\xff", b"k"),
    ("bad_avro", "tieout.kpi.state.v1", b"\0\0\0\0\1" + b"\x02a" * 9, b"k"),
    ("key_missing", "tieout.finding.state.v1", encoded(finding(1)), None),
    ("key_missing", "tieout.finding.state.v1", encoded(finding(1)), b"\xff\xfe"),
    ("unexpected_tombstone", "tieout.finding.events.v1", None, b"k"),
    ("wrong_shape", "tieout.dead_letter.v1", b"x", b"k"),
    ("not_json", "tieout.parked.v1", b"x", b"k"),
    ("wrong_shape", "tieout.parked.v1", b"[]", b"k"),
]


@pytest.mark.parametrize(("reason", "topic", "value", "key"), POISON)
def test_a_bad_record_is_put_aside_alone(
    topics: Broker, tmp_path: Path, reason: str, topic: str, value: bytes | None, key: bytes | None
) -> None:
    """Good records before and after it arrive; it becomes a dead letter with its place, reason and bytes."""
    settings = settings_for(topics, tmp_path)
    send(topics, EVERYTHING)
    send_raw(topics, topic, value, key)
    send(topics, [entry(4), finding(4), finding_event(4), cell(1, state="LATER")])
    shown = drained(settings)
    assert len(shown["time_entry"]) == 3
    assert len(shown["finding"]) == 2
    assert len(shown["finding_event"]) == 3
    assert len(shown["kpi"]) == 2
    ((found_topic, partition, _, at, name, _, found, hint, payload),) = shown["dead_letter"]
    assert (found_topic, partition, name, found, payload) == (topic, 0, "tieout", reason, value)
    assert at.timestamp() - at.timestamp() == 0
    assert hint


# -- the process ------------------------------------------------------------------------------------------------

PROCESS = """
import sys
from pathlib import Path
from tieout.streams.settings import Kafka, Ops, Settings, Sink
from tieout.streams.sinks.sink import run
folder = Path(sys.argv[2])
settings = Settings(kafka=Kafka(client={"bootstrap.servers": sys.argv[1]}), ops=Ops(port=0),
                    sink=Sink(path=folder / "store.duckdb", publish_dir=folder / "pub", publish_every_s=0.1,
                              batch_ms=20, batch_records=50))
sys.exit(run(settings))
"""


@pytest.fixture
def start(topics: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Start the role as a process of its own; what is left is killed."""
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))
    started: list[subprocess.Popen[bytes]] = []

    def begin(*, limit_bytes: int | None = None) -> subprocess.Popen[bytes]:
        def limit() -> None:
            import resource

            if limit_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, resource.RLIM_INFINITY))

        command = [sys.executable, "-c", PROCESS, topics.bootstrap, str(tmp_path)]
        started.append(subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=limit))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def until(holds: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := holds():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


def published(folder: Path, sql: str) -> Any:
    """The first row of a query on the published snapshot, None before there is one."""
    path = folder / "pub" / "analytics.duckdb"
    if not path.exists():
        return None
    with Snapshot(path) as snapshot:
        return snapshot.query(sql).rows[0]


def test_sigterm_drains_publishes_and_ends_with_0(
    topics: Broker, tmp_path: Path, start: Callable[..., Any]
) -> None:
    process = start()
    until(lambda: published(tmp_path, "SELECT 1"))
    send(topics, [entry(number) for number in range(300)])
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert published(tmp_path, "SELECT count(*) FROM v1.time_entry") == (300,)


def test_killed_sinks_lose_nothing_and_repeat_nothing(
    topics: Broker, tmp_path: Path, start: Callable[..., Any]
) -> None:
    """Kill -9 under load, again and again; at the end every event and every entry is there once."""
    chance, total = random.Random(3), 3_000
    loader = threading.Thread(target=_load, args=(topics, total))
    loader.start()
    for _ in range(4):
        process = start()
        time.sleep(chance.uniform(0.8, 2.0))
        process.kill()
        process.wait()
    loader.join()
    process = start()
    counts = "SELECT (SELECT count(*) FROM v1.time_entry), (SELECT count(*) FROM v1.finding_event)"
    until(lambda: published(tmp_path, counts) == (total, total))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert published(tmp_path, "SELECT count(DISTINCT event_id), count(*) FROM v1.finding_event") == (total, total)
    with Store(tmp_path / "store.duckdb") as store:
        read = sum(offset for (topic, _), offset in store.offsets().items() if "time_entry" in topic)
    assert read == total


def _load(broker: Broker, total: int) -> None:
    for first in range(0, total, 100):
        send(broker, [outcome for number in range(first, first + 100)
                      for outcome in (entry(number), finding_event(number))])
        time.sleep(0.05)


def test_a_full_disk_blocks_and_skips_nothing(topics: Broker, tmp_path: Path, start: Callable[..., Any]) -> None:
    """Files may not grow: nothing is written, nothing is lost; when there is room again all of it arrives."""
    import resource

    process = start(limit_bytes=3_000_000)
    until(lambda: published(tmp_path, "SELECT 1"))
    send(topics, [entry(number, rate_ref=os.urandom(400).hex()) for number in range(8_000)])
    time.sleep(4)
    assert process.poll() is None
    stuck = published(tmp_path, "SELECT count(*) FROM v1.time_entry")[0]
    assert stuck < 8_000
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    until(lambda: published(tmp_path, "SELECT count(*) FROM v1.time_entry") == (8_000,))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_only_one_sink_owns_a_store(topics: Broker, tmp_path: Path, start: Callable[..., Any]) -> None:
    """The second one ends with 1 instead of waiting for a lock, also after the first has copied the file."""
    first = start()
    until(lambda: published(tmp_path, "SELECT 1"))
    assert start().wait(30) == 1
    assert first.poll() is None
    with pytest.raises(duckdb.IOException):
        duckdb.connect(str(tmp_path / "store.duckdb"), read_only=True)


def test_a_topic_made_anew_is_refused(topics: Broker, tmp_path: Path) -> None:
    """Reading on from an offset that the topic does not have would leave a gap that nobody sees."""
    reader = OutputReader(settings_for(topics, tmp_path))
    try:
        with pytest.raises(RecordsLost, match="was made anew"):
            reader.assign({("tieout.finding.events.v1", 0): 17})
    finally:
        reader.close()


def test_it_waits_for_its_topics(broker: Broker, tmp_path: Path) -> None:
    """Started before `topics apply`, it names what is missing and reads once it is there."""
    settings = settings_for(broker, tmp_path)
    for topic in TOPICS[1:]:
        broker.create(topic, 1)
    waited: list[float] = []

    def wait(seconds: float) -> bool:
        if seconds and not waited:
            broker.create(TOPICS[0], 1)
        waited.append(seconds)
        return len(waited) > 4

    assert Role(settings, wait).run() == 0
    assert waited[0] > 0
    assert waited.count(0) >= 1
