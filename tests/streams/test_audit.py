"""The audit notices what the store lacks, what it has too much, and what a topic carries twice; and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer

from tieout.reconcilers.outcomes import Outcome, Output
from tieout.streams.audit import NOW, Auditor, Counted, Difference, Tally, compared, differences, fingerprint
from tieout.streams.outputs import encoders
from tieout.streams.settings import Kafka, Settings, Sink
from tieout.streams.sinks.publish import Publisher
from tieout.streams.sinks.store import Store
from tieout.streams.topics import output_topic

HOUR = 3_600_000_000
DECISIONS = output_topic(Output.BILLING_DECISION)


def decision(number: int, at: int) -> dict[str, Any]:
    return {
        "event_id": f"e{number}", "entry_key": f"TIME:{number}", "project_code": "P", "decision": "READY",
        "previous": None, "reasons": "", "unbilled_s": 60, "unbilled_minor": 100, "currency": "GBP", "at": at,
    }  # fmt: skip


def test_an_event_that_comes_again_is_counted_once_and_told() -> None:
    tally = Tally()
    for number in (1, 2, 2, 3):
        tally.event(number % 2, 7, f"e{number}")
    assert tally.by_hour() == {7: Counted(3, sum(fingerprint(f"e{n}") for n in (1, 2, 3)) % 2**64)}
    assert (tally.repeated, tally.hours[0, 7].ids, tally.hours[1, 7].ids) == (1, 1, 2)


def test_a_state_topic_counts_what_is_there_now() -> None:
    tally = Tally()
    for key, there in (("a", True), ("b", True), ("a", True), ("b", False), ("c", False)):
        tally.state(0, key, there)
    assert tally.by_hour() == {NOW: Counted(1, fingerprint("a"))}


def test_equal_counts_of_other_ids_differ() -> None:
    [found] = differences("t", {5: Counted(2, 17)}, {5: Counted(2, 18)})
    assert (found.missing, found.unexpected) == (1, 0)
    assert "(others)" in str(found)


def test_what_is_on_one_side_only_is_missing_or_unexpected() -> None:
    found = differences("t", {5: Counted(3, 1)}, {6: Counted(2, 1)})
    assert [(each.hour, each.missing, each.unexpected) for each in found] == [(5, 3, 0), (6, 0, 2)]


class Room:
    """Two output topics on a broker, and a store that says that it has read them."""

    def __init__(self, broker: Any, folder: Path) -> None:
        self.settings = Settings(
            kafka=Kafka(client={"bootstrap.servers": broker.bootstrap}),
            sink=Sink(path=folder / "t.duckdb", publish_dir=folder / "pub"),
        )
        for output in Output:
            broker.create(output_topic(output), 2)
        self.producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        self.sent = {0: 0, 1: 0}
        self.store = Store(self.settings.sink.path)
        self.publisher = Publisher(self.settings.sink.publish_dir, 0)

    def send(self, *rows: dict[str, Any]) -> None:
        encode = encoders()[Output.BILLING_DECISION]
        for row in rows:
            partition = fingerprint(row["entry_key"]) % 2
            self.producer.produce(DECISIONS, encode(row), row["entry_key"], partition)
            self.sent[partition] += 1
        assert self.producer.flush(20) == 0

    def keep(self, *rows: dict[str, Any]) -> None:
        """As the sink does, with the offsets of all that was sent."""
        offsets = {(DECISIONS, partition): sent for partition, sent in self.sent.items()}
        self.store.write([Outcome(Output.BILLING_DECISION, row["entry_key"], row) for row in rows], offsets)
        assert self.publisher.publish(self.store)


@pytest.fixture
def room(broker: Any, tmp_path: Path) -> Room:
    return Room(broker, tmp_path)


def test_what_was_stored_as_it_was_sent_is_equal(room: Room) -> None:
    rows = [decision(number, number * HOUR // 3) for number in range(30)]
    room.send(*rows)
    room.keep(*rows)
    auditor = compared(room.settings)
    assert auditor.found == []
    counts = list(auditor.report())
    assert sum(ids for *_, ids in counts) == 30
    assert {hour for _, _, hour, _ in counts} == {f"1970-01-01T0{hour}:00:00Z" for hour in range(10)}


def test_a_row_that_the_store_lost_is_missing_in_its_hour(room: Room) -> None:
    rows = [decision(number, number * HOUR) for number in range(5)]
    room.send(*rows)
    room.keep(*rows[:3], rows[4])
    [found] = compared(room.settings).found or []
    assert (found.topic, found.hour, found.missing, found.unexpected) == (DECISIONS, 3, 1, 0)


def test_a_row_that_nobody_sent_is_unexpected(room: Room) -> None:
    room.send(decision(1, 0))
    room.keep(decision(1, 0), decision(2, 0))
    [found] = compared(room.settings).found or []
    assert (found.missing, found.unexpected) == (0, 1)


def test_an_event_sent_twice_is_told(room: Room) -> None:
    room.send(decision(1, 0), decision(1, 0))
    room.keep(decision(1, 0))
    auditor = compared(room.settings)
    assert (auditor.found, auditor.repeated) == ([], 1)


def test_what_comes_after_the_snapshot_waits_and_is_read_next(room: Room) -> None:
    room.send(decision(1, 0))
    room.keep(decision(1, 0))
    room.send(decision(2, 0), decision(3, 0))
    auditor = Auditor(room.settings)
    assert auditor.compare() == []
    room.keep(decision(2, 0))
    assert [each.missing for each in auditor.compare()] == [1]
    room.keep(decision(3, 0))
    assert auditor.compare() == []
    auditor.close()


class Fetched:
    """A consumer whose one batch reaches the end of its partition, as it is when the store is behind."""

    def __init__(self, records: int) -> None:
        self.records = records
        self.assigned: list[Any] = []

    def assign(self, places: list[Any]) -> None:
        self.assigned = places

    def consume(self, _most: int, _timeout_s: float) -> list[Any]:
        [place] = self.assigned
        return [*(Message(offset) for offset in range(max(0, place.offset), self.records)), Message(self.records, True)]


class Message:
    """A record of DECISIONS, or the end of the partition."""

    def __init__(self, offset: int, end: bool = False) -> None:
        self._offset, self._end = offset, end

    def topic(self) -> str:
        return DECISIONS

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def error(self) -> KafkaError | None:
        return KafkaError(KafkaError._PARTITION_EOF) if self._end else None


def test_a_partitions_end_that_came_along_skips_nothing(tmp_path: Path) -> None:
    """The end stands behind records that the snapshot did not have: they are read when the next one has them."""
    auditor = Auditor(Settings(sink=Sink(path=tmp_path / "t.duckdb", publish_dir=tmp_path / "pub")))
    auditor.close()
    auditor._consumer = Fetched(5)  # type: ignore[assignment]
    assert [each.offset() for each in auditor._until({(DECISIONS, 0): 2})] == [0, 1]
    assert [each.offset() for each in auditor._until({(DECISIONS, 0): 5})] == [2, 3, 4]


def test_a_store_made_anew_is_read_from_the_beginning(room: Room, tmp_path: Path) -> None:
    room.send(decision(1, 0), decision(2, 0))
    room.keep(decision(1, 0), decision(2, 0))
    auditor = Auditor(room.settings)
    assert auditor.compare() == []
    room.store.close()
    room.store = Store(tmp_path / "new.duckdb")
    room.sent = {0: 0, 1: 0}
    room.keep()
    assert auditor.compare() == []
    auditor.close()


def test_the_key_column_ends_with_the_fingerprint(tmp_path: Path) -> None:
    """The digest in SQL and the one in Python are the same sum."""
    with Store(tmp_path / "t.duckdb") as store:
        store.write([Outcome(Output.BILLING_DECISION, "TIME:1", decision(1, 0))])
        [(key,)] = store.query("SELECT key::VARCHAR FROM internal.billing_decision")
    assert int(key.replace("-", "")[16:], 16) == fingerprint("e1")


def test_differences_read_well() -> None:
    text = str(Difference("tieout.finding.state.v1", NOW, Counted(3, 1), Counted(2, 1)))
    assert text == "tieout.finding.state.v1, now: 3 in the topic, 2 in the store"
