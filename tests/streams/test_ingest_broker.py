"""The ingest role on a broker: what it consumes is delivered before it is committed, and a restart goes on there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from brokers import KafkaCluster
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from conftest import Broker
from faults.harness import wait_until
from ingest_records import T0_MS, entry, event, observed

from tieout.reconcilers.changes import Change, Frame, Op
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.lost import OVER, is_of_letter
from tieout.reconcilers.outcomes import Output
from tieout.reconcilers.routing import COVERED, partition_of
from tieout.streams import deadletters
from tieout.streams.deadletters import Status
from tieout.streams.frames import decode
from tieout.streams.ingest import IngestRole, RecordsGone, TooManyLetters
from tieout.streams.pressure import forgets
from tieout.streams.settings import DeadLetters, Role, Settings
from tieout.streams.standings import STANDINGS
from tieout.streams.topicread import whole_topic
from tieout.streams.topics import DEAD_LETTER, PARKED, XREF, changes_topic, output_topic

pytestmark = pytest.mark.timeout(120)
WAIT_S = 30.0
ERP = "ERP/ax"
PROJECT = changes_topic(Axis.PROJECT)
STANDING = output_topic(Output.STANDING)


def settings_for(broker: Broker, **ingest: Any) -> Settings:
    return Settings.model_validate({
        "clock": "log",
        "kafka": {"client": {"bootstrap.servers": broker.bootstrap, "session.timeout.ms": 6_000, "log_level": 0},
                  "partitions": 2},
        "sources": {"time": {"system": "TIME", "instance": "kimai", "topic": "raw.time"},
                    "erp": {"system": "ERP", "instance": "ax", "topic": "raw.erp", "entity": "coverage"}},
        "ops": {"port": 0}, "ingest": {"tick_ms": 300, "linger_ms": 20, **ingest},
    })


@pytest.fixture
def topics(broker: Broker) -> Broker:
    for topic, partitions in {"raw.time": 2, "raw.erp": 1, PROJECT: 2, changes_topic(Axis.CONTROL): 1, XREF: 1,
                              changes_topic(Axis.WORKER): 2, STANDING: 1, PARKED: 1, DEAD_LETTER: 1}.items():
        broker.create(topic, partitions, {"retention.ms": "-1"})  # the records' timestamps are of the past
    return broker


@contextmanager
def running(settings: Settings) -> Iterator[IngestRole]:
    """The role in a thread; it ends in order at the end of the block, or the test fails with its error."""
    role = IngestRole(settings)
    ended: list[int | BaseException] = []

    def run() -> None:
        try:
            ended.append(role.run())
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield role
    finally:
        role.stop()
        thread.join(WAIT_S)
    assert ended == [0]


def produce(broker: Broker, *values: tuple[str, int, bytes]) -> None:
    writer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    for at, (topic, partition, value) in enumerate(values):
        writer.produce(topic, value, partition=partition, timestamp=T0_MS + at)
    assert writer.flush(WAIT_S) == 0


def frames(settings: Settings, topic: str = PROJECT) -> list[tuple[int, Frame]]:
    return [(message.partition() or 0, decode(message.value() or b"")) for message in whole_topic(settings, topic)]


def changes(settings: Settings) -> list[tuple[int, Change]]:
    """What sources sent: what ingest makes of a coverage goes to every partition."""
    return [(partition, change) for partition, frame in frames(settings) for change in frame.changes
            if change.entity != COVERED]


def committed(settings: Settings, group: Role = "ingest") -> dict[tuple[str, int], int]:
    reader = Consumer(settings.kafka_client({"group.id": settings.group(group)}))
    asked = [TopicPartition("raw.time", 0), TopicPartition("raw.time", 1), TopicPartition("raw.erp", 0)]
    try:
        return {(tp.topic, tp.partition): tp.offset for tp in reader.committed(asked, WAIT_S) if tp.offset >= 0}
    except KafkaException:  # a new broker is still finding the group's coordinator
        return {}
    finally:
        reader.close()


def until(holds: Callable[[], bool], what: str) -> None:
    wait_until(holds, WAIT_S, what)


COVERAGE = event("coverage.upserted", ERP, "c", {"le_code": "UK", "invoice_no": "I", "line_no": 1, "target": "TIME:7"})


def test_records_become_frames_and_their_offsets_are_committed(topics: Broker) -> None:
    settings = settings_for(topics)
    produce(topics, ("raw.time", 0, entry(1, project_code="A")), ("raw.time", 1, entry(2, project_code="B")),
            ("raw.time", 0, observed("TIME/kimai", T0_MS)), ("raw.erp", 0, b"{broken"),
            ("raw.erp", 0, event("project.upserted", ERP, "A", {"project_code": "A"})))
    with running(settings):
        until(lambda: len(committed(settings)) == 3, "all raw partitions are committed")
    got = changes(settings)
    assert sorted(change.key for _, change in got) == ["A", "A", "TIME:1", "TIME:2"]  # the master is everywhere
    assert committed(settings) == {("raw.time", 0): 2, ("raw.time", 1): 1, ("raw.erp", 0): 2}
    (letter,) = deadletters.read(settings).values()
    assert (letter.origin, letter.reason, letter.value) == ("raw.erp/0/0", "not_json", b"{broken")
    assert any(frame.watermarks.get("raw.time/0") == T0_MS * 1_000 for _, frame in frames(settings))
    assert frames(settings)[-1][1].sources == {"TIME/kimai": ["raw.time/0", "raw.time/1"], "ERP/ax": ["raw.erp/0"]}
    tallies = [tally for _, frame in frames(settings, changes_topic(Axis.CONTROL)) for tally in frame.tallies]
    assert sum(tally.fates.get("ERP/ax|coverage", {}).get("dead_lettered", 0) for tally in tallies) == 1


def test_a_restarted_process_is_a_new_producer_and_numbers_from_zero(topics: Broker) -> None:
    settings = settings_for(topics)
    for number in (1, 2):
        produce(topics, ("raw.time", 0, entry(number, project_code="A")))
        with running(settings):
            until(lambda wanted=number: committed(settings).get(("raw.time", 0)) == wanted, "committed")  # type: ignore[misc]
    by_producer: dict[tuple[str, int], list[int]] = {}
    for partition, frame in frames(settings):
        by_producer.setdefault((frame.producer, partition), []).append(frame.number)
    assert len({producer for producer, _ in by_producer}) == 2
    assert all(numbers == list(range(len(numbers))) for numbers in by_producer.values())


def test_what_is_parked_outlives_the_process_and_is_released_by_the_next(topics: Broker) -> None:
    settings = settings_for(topics)
    produce(topics, ("raw.erp", 0, COVERAGE))
    with running(settings):
        until(lambda: committed(settings).get(("raw.erp", 0)) == 1, "the coverage is committed")
    assert changes(settings) == []
    assert [orjson.loads(m.value() or b"")["need"] for m in whole_topic(settings, PARKED)] == ["home|time_entry|TIME:7"]
    produce(topics, ("raw.time", 0, entry(7, project_code="A")))
    with running(settings):
        until(lambda: len(changes(settings)) == 2, "entry and coverage are sent")
    got = changes(settings)
    assert [change.key for _, change in got] == ["TIME:7", "UK:I:1:TIME:7"]
    assert len({partition for partition, _ in got}) == 1
    assert [message.value() for message in whole_topic(settings, PARKED)][-1] is None


def test_homes_outlive_the_process(topics: Broker) -> None:
    """The entry is re-coded after a restart, to a project that lives elsewhere: it stays where it was."""
    settings = settings_for(topics)
    assert partition_of("A", 2) != partition_of("D", 2)
    for number, code in enumerate(("A", "D")):
        produce(topics, ("raw.time", 0, entry(1, project_code=code)))
        with running(settings):
            until(lambda wanted=number + 1: committed(settings).get(("raw.time", 0)) == wanted, "committed")  # type: ignore[misc]
    got = changes(settings)
    assert [change.asserted["project_code"] for _, change in got] == ["A", "D"]
    assert len({partition for partition, _ in got}) == 1


def test_it_ticks_when_nothing_comes(topics: Broker) -> None:
    settings = settings_for(topics)
    produce(topics, ("raw.time", 0, entry(1, project_code="A")))
    with running(settings):
        until(lambda: sum(not frame.changes for _, frame in frames(settings)) >= 6, "ticks on both partitions")
    ticks = [partition for partition, frame in frames(settings) if not frame.changes]
    assert set(ticks) == {0, 1}


def test_it_holds_back_while_the_workers_are_behind(topics: Broker) -> None:
    """With nobody reading, ingest stops after its limit; it goes on when the worker group has read."""
    settings = settings_for(topics, max_ahead_bytes=20_000, frame_changes=5)
    load = [("raw.time", 0, entry(number, project_code="A", note_hash="x" * 500)) for number in range(400)]
    produce(topics, *load)
    with running(settings):
        until(lambda: committed(settings).get(("raw.time", 0), 0) > 0, "it begins")
        time.sleep(1.5)
        held_at = committed(settings)[("raw.time", 0)]
        assert held_at < 200

        def catch_up() -> bool:
            _read_as_worker(settings)
            return committed(settings)[("raw.time", 0)] == 400

        until(catch_up, "it goes on to the end")
    assert len(changes(settings)) == 400


def _read_as_worker(settings: Settings) -> None:
    """Commit the ends of the changes topic for the worker group."""
    reader = Consumer(settings.kafka_client({"group.id": settings.group("worker")}))
    ends = [TopicPartition(PROJECT, number, reader.get_watermark_offsets(TopicPartition(PROJECT, number), WAIT_S)[1])
            for number in range(2)]
    reader.commit(offsets=ends, asynchronous=False)
    reader.close()


def test_two_processes_share_the_raw_partitions_and_their_id_map(topics: Broker) -> None:
    """Whoever reads the coverage, it is released when the other one learns where its entry lives."""
    settings = settings_for(topics)
    produce(topics, ("raw.erp", 0, COVERAGE))
    with running(settings) as first, running(settings) as second:
        until(lambda: len(_assigned(first)) + len(_assigned(second)) == 3 and bool(_assigned(first)) and
              bool(_assigned(second)), "both have partitions")
        produce(topics, ("raw.time", 0, entry(7, project_code="A")), ("raw.time", 1, entry(8, project_code="B")))
        until(lambda: {change.key for _, change in changes(settings)} >= {"TIME:7", "TIME:8", "UK:I:1:TIME:7"},
              "all three are sent")
    homes = {partition for partition, change in changes(settings) if change.key.endswith("TIME:7")}
    assert len(homes) == 1


def _assigned(role: IngestRole) -> list[Any]:
    """Raw partitions of a process; the standings of the worker axis are shared out as well."""
    try:
        return [place for place in role._consumer.assignment() if place.topic != STANDINGS]
    except RuntimeError:  # closed
        return []


def test_a_dead_letter_is_sent_once_more_and_then_marked(topics: Broker) -> None:
    settings = settings_for(topics)
    produce(topics, ("raw.erp", 0, b"{broken"))
    with running(settings):
        until(lambda: len(deadletters.read(settings)) == 1, "the letter is written")
        pending = [letter for letter in deadletters.read(settings).values() if letter.status is Status.OPEN]
        assert deadletters.replay(settings, pending) == 1
        assert next(letter.status for letter in deadletters.read(settings).values()) is Status.REPLAYED
        until(lambda: len(deadletters.read(settings)) == 2, "still broken, it comes back as a letter of its own")
    first, again = deadletters.read(settings).values()
    assert (first.origin, first.status, first.attempts) == ("raw.erp/0/0", Status.REPLAYED, 0)
    assert (again.value, again.status, again.attempts) == (b"{broken", Status.OPEN, 1)
    assert (deadletters.REPLAYED_FROM, b"raw.erp/0/0") in again.headers


def test_too_many_dead_letters_stop_it_and_parking_them_lets_it_go_on(topics: Broker) -> None:
    """It says which reason is the commonest; a restart does not help before they are worked."""
    settings = settings_for(topics).model_copy(update={"dead_letters": DeadLetters(most_open=2)})
    produce(topics, *[("raw.erp", 0, b"{broken")] * 3)
    for _ in range(2):
        with pytest.raises(TooManyLetters, match=r"3 dead letters are open.*3x not_json.*tieout dlq list"):
            IngestRole(settings).run()
    deadletters.decide(settings, deadletters.read(settings).values(), Status.PARKED, "the ERP is being mended, Ann")
    with running(settings):
        produce(topics, ("raw.erp", 0, b"{broken again"))
        until(lambda: len(deadletters.read(settings)) == 4, "it works, one more is no accident")


def test_the_embedded_broker_is_known_to_forget(broker: Broker) -> None:
    cluster = Producer({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=WAIT_S).cluster_id
    assert forgets(cluster) is (broker.kind == "embedded")


def test_records_that_retention_took_stop_ingest_with_the_reason(kafka: KafkaCluster) -> None:
    """Going on at what is left would lose changes in silence: absence would then prove nothing."""
    broker = Broker("kafka", kafka)
    for topic, partitions in {"raw.time": 2, "raw.erp": 1, PROJECT: 2, changes_topic(Axis.CONTROL): 1, XREF: 1,
                              changes_topic(Axis.WORKER): 2, STANDING: 1, PARKED: 1, DEAD_LETTER: 1}.items():
        broker.create(topic, partitions)
    settings = settings_for(broker)
    produce(broker, ("raw.time", 0, entry(1, project_code="ACME")))
    with running(settings):
        until(lambda: committed(settings).get(("raw.time", 0)) == 1, "the first record is committed")
    produce(broker, *(("raw.time", 0, entry(number, project_code="ACME")) for number in range(2, 6)))
    admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    for future in admin.delete_records([TopicPartition("raw.time", 0, 4)]).values():
        future.result(WAIT_S)
    with pytest.raises(RecordsGone, match=r"raw\.time/0: records were deleted before they were read"):
        IngestRole(settings).run()


@pytest.mark.parametrize("running_on", [True, False], ids=["while it runs", "while it is away"])
def test_a_dropped_letter_is_told_to_the_workers(topics: Broker, running_on: bool) -> None:
    """A record of TIME:1 cannot be read: TIME:1 is unknown until somebody gives the letter up."""
    settings = settings_for(topics)

    def told() -> list[tuple[str, bool]]:
        return [(change.key, OVER in change.asserted) for _, change in changes(settings) if is_of_letter(change)]

    def drop() -> None:
        deadletters.decide(settings, deadletters.read(settings).values(), Status.DROPPED, "a test")

    with running(settings):
        produce(topics, ("raw.time", 0, entry(1, project_code="ACME")), ("raw.time", 0, entry(1, qty_s="much")))
        until(lambda: told() == [("TIME:1", False)], "the record is unknown")
        if running_on:
            drop()
            until(lambda: told() == [("TIME:1", False), ("TIME:1", True)], "and known again")
    if not running_on:
        drop()
        with running(settings):
            produce(topics, ("raw.time", 0, entry(2, project_code="ACME")))  # on the log clock time needs a record
            until(lambda: told() == [("TIME:1", False), ("TIME:1", True)], "and known again")
    control = [change for _, frame in frames(settings, changes_topic(Axis.CONTROL)) for change in frame.changes]
    assert [change.op for change in control if change.key == "raw.time/0/1"] == [Op.UPSERT, Op.DELETE]
