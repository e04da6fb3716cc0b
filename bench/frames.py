"""What the contenders read: the simulator's four weeks as frames, and the same as one event a change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from tieout.codecs.formats import codec
from tieout.codecs.records import RawRecord
from tieout.reconcilers.changes import Frame
from tieout.reconcilers.engine import READS, TABLES
from tieout.reconcilers.entities import Axis
from tieout.streams import topics
from tieout.streams.embedded import EmbeddedBroker
from tieout.streams.frames import FRAME_CHANGES, FRAMES_A_BATCH, Outgoing, encode
from tieout.streams.pipeline import Pipeline, Reading
from tieout.streams.settings import Settings
from tieout.streams.simulate.story import tell
from tieout.streams.survey import survey

EVENTS: Final = "bench.events.v1"
WIDE: Final = (Axis.PROJECT, Axis.WORKER)  # the axes with changes, one after the other on the partitions of EVENTS
ORDINARY_CHANGELOG: Final = "bench-ordinary-state-changelog"  # as Faust names it


def story_frames(partitions: int) -> list[Outgoing]:
    """The frames that ingest makes of the simulator's story while it is behind, in order."""
    reading = Reading(codec("canonical", {}))
    records = [
        RawRecord(record.topic, record.partition, offset, record.at // 1_000, record.key.encode(), record.value)
        for offset, record in enumerate(tell().records)
    ]
    pipeline = Pipeline(
        {}, sources=survey(records, {}, reading).sources(), partitions=partitions, producer="bench-1",
        reads=READS, otherwise=reading, closed=True,
    )  # fmt: skip
    frames: list[Outgoing] = []
    at_once = FRAME_CHANGES * FRAMES_A_BATCH
    for first in range(0, len(records), at_once):
        frames += pipeline.take(records[first : first + at_once]).frames
    return frames


def single_events(frames: list[Outgoing]) -> Iterator[tuple[int, Frame]]:
    """(partition of EVENTS, frame of one change) for every change; the last of a frame has its watermarks."""
    wide = 1 + max(partition for _, partition, _ in frames)
    numbers: dict[int, int] = {}
    for axis, partition, frame in frames:
        if axis not in WIDE:
            continue
        place = WIDE.index(axis) * wide + partition
        for index, change in enumerate(frame.changes, start=1):
            last = index == len(frame.changes)
            number = numbers.get(place, 0)
            numbers[place] = number + 1
            marks = (frame.watermarks, frame.sources) if last else ({}, {})
            yield place, Frame(frame.producer, number, frame.now_us, (change,), *marks)


def prefill(settings: Settings, frames: list[Outgoing], embedded: EmbeddedBroker | None) -> int:
    """Make all topics and send everything; how many changes there are."""
    wanted = {topic.name: topic.partitions for topic in topics.desired(settings, TABLES)}
    wanted |= dict.fromkeys((EVENTS, ORDINARY_CHANGELOG), len(WIDE) * settings.kafka.partitions)
    if embedded:
        for name, partitions in wanted.items():
            embedded.create(name, partitions)
    else:
        new = [NewTopic(name, partitions, 1) for name, partitions in wanted.items()]
        admin = AdminClient(settings.kafka_client())  # its answers die with it
        for future in admin.create_topics(new).values():
            future.result(30)
    producer = Producer(settings.kafka_producer({"queue.buffering.max.messages": 1_000_000}))
    for axis, partition, frame in frames:
        producer.produce(topics.changes_topic(axis), encode(frame), partition=partition)
    events = 0
    for partition, frame in single_events(frames):
        producer.produce(EVENTS, encode(frame), frame.changes[0].key.encode(), partition=partition)
        events += 1
    if left := producer.flush(60):
        raise RuntimeError(f"{left} records were not delivered within 60 s")
    return events
