"""Playing at a pace, holding back, and stopping when the cluster refuses."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tieout.codecs import capture
from tieout.streams.simulate.capture import write_capture
from tieout.streams.simulate.delivery import Record
from tieout.streams.simulate.instants import HOUR, MINUTE, STARTS_AT
from tieout.streams.simulate.play import SLICE, NotWritten, Player, Progress, slices
from tieout.streams.simulate.story import Story


class Delivered:
    """A message as the delivery report shows it."""

    def __init__(self, topic: str, partition: int, offset: int, value: bytes) -> None:
        self._at, self._value = (topic, partition, offset), value

    def topic(self) -> str:
        return self._at[0]

    def partition(self) -> int:
        return self._at[1]

    def offset(self) -> int:
        return self._at[2]

    def __len__(self) -> int:
        return len(self._value)


class FakeWriter:
    """Takes records and acknowledges them at the flush, but for what it refuses."""

    def __init__(self, *, refuses: str = "", stuck: int = 0) -> None:
        self.records: list[tuple[str, int, bytes, int]] = []
        self.flushes: list[int] = []
        self._refuses, self._stuck = refuses, stuck
        self._reports: list[Callable[[], None]] = []

    def produce(self, topic: str, *, value: bytes, key: str, partition: int, timestamp: int,
                on_delivery: Callable[[Any, Any], None]) -> None:
        self.records.append((topic, partition, value, timestamp))
        error = "no such partition" if topic == self._refuses else None
        offset = len(self.records) - 1
        self._reports.append(lambda: on_delivery(error, Delivered(topic, partition, offset, value)))

    def flush(self, timeout: float, /) -> int:
        self.flushes.append(len(self.records))
        for report in self._reports:
            report()
        self._reports.clear()
        return self._stuck


def records(*minutes: int, topic: str = "raw.time.entries") -> list[Record]:
    """A record at each minute after the start."""
    return [Record(STARTS_AT + minute * MINUTE, topic, 0, "k", b"{}") for minute in minutes]


def player(writer: FakeWriter, **more: Any) -> Player:
    """A player that never waits."""
    given: dict[str, Any] = {
        "hours_per_s": 1e9, "hold": lambda: False, "stop": lambda seconds: False, "sent": lambda *_: None,
        "tell": lambda progress: None,
    }
    return Player(writer, **given | more)


def test_slices_of_simulated_time_are_acknowledged_one_by_one() -> None:
    writer = FakeWriter()
    assert player(writer).play(records(0, 1, 2, 3, 60))
    assert writer.flushes == [2, 4, 5]
    assert [at for at, _ in slices(records(0, 1, 2, 3, 60))] == [STARTS_AT, STARTS_AT + SLICE, STARTS_AT + HOUR]


def test_timestamps_are_the_simulated_instants_in_milliseconds() -> None:
    writer = FakeWriter()
    player(writer).play(records(90))
    assert writer.records[0][3] == (STARTS_AT + 90 * MINUTE) // 1_000


def test_the_pace_is_simulated_hours_a_second() -> None:
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return False

    assert player(FakeWriter(), hours_per_s=2.0, stop=wait).play(records(0, 60, 180))
    assert [round(seconds, 1) for seconds in waits] == [0.0, 0.5, 1.5]


def test_it_waits_while_readers_are_behind() -> None:
    answers = iter([True, True, False, False])
    told: list[bool] = []
    writer = FakeWriter()
    assert player(writer, hold=lambda: next(answers), tell=lambda p: told.append(p.held)).play(records(0, 60))
    assert told[:2] == [True, True]
    assert not told[-1]
    assert len(writer.records) == 2


def test_it_stops_when_told_to() -> None:
    writer = FakeWriter()
    assert not player(writer, stop=lambda seconds: len(writer.records) == 1).play(records(0, 60, 120))
    assert len(writer.records) == 1


def test_the_last_progress_is_the_whole() -> None:
    told: list[Progress] = []
    player(FakeWriter(), tell=lambda p: told.append(Progress(p.at, p.written, p.total))).play(records(0, 60))
    assert (told[-1].written, told[-1].total) == (2, 2)


@pytest.mark.parametrize(("writer", "message"), [
    (FakeWriter(refuses="raw.time.entries"), "no such partition"), (FakeWriter(stuck=3), "3 records without an answer"),
])
def test_a_record_that_is_not_taken_ends_the_play(writer: FakeWriter, message: str) -> None:
    with pytest.raises(NotWritten, match=message):
        player(writer).play(records(0, 60))


@pytest.mark.parametrize("name", ["four-weeks.jsonl", "four-weeks.jsonl.gz"])
def test_a_capture_reads_back_as_the_records(story: Story, tmp_path: Path, name: str) -> None:
    part = story.records[:500]
    assert write_capture(tmp_path / name, part) == 500
    found = list(capture.read(tmp_path / name))
    assert [(raw.topic, raw.partition, raw.ts_ms, raw.key, raw.value) for raw in found] == [
        (record.topic, record.partition, record.at // 1_000, record.key.encode(), record.value) for record in part]
    offsets = [raw.offset for raw in found if (raw.topic, raw.partition) == ("raw.erp.masters", 0)]
    assert offsets == list(range(len(offsets)))


def test_a_packed_capture_is_the_same_bytes_each_time(story: Story, tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        write_capture(tmp_path / name, story.records[:50])
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()).count(b"\n") == 50
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
