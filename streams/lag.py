"""How far each role's group is behind in the topics that it reads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from tieout.reconcilers.outcomes import PUBLISHED
from tieout.streams.clock import monotonic_s
from tieout.streams.settings import Role, Settings
from tieout.streams.standings import STANDINGS
from tieout.streams.topics import AXES, changes_topic, output_topic

_TIMEOUT_S: Final = 5.0
_MOVING: Final = (
    "NOT_COORDINATOR", "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE", "_WAIT_COORD",
    "NOT_LEADER_FOR_PARTITION", "LEADER_NOT_AVAILABLE", "UNKNOWN_TOPIC_OR_PART",
)  # fmt: skip


class Lag(NamedTuple):
    """One partition that a role reads: where it stands, where the partition ends, and the records between."""

    role: Role
    topic: str
    partition: int
    position: int | None  # None: the group never committed here
    end: int
    behind: int


def readings(settings: Settings) -> Mapping[Role, tuple[str, ...]]:
    """Which topics each role reads through a consumer group."""
    raw = {source.topic for source in settings.sources.values()}
    return {
        "ingest": (*sorted(raw), STANDINGS),
        "worker": tuple(changes_topic(axis) for axis in AXES),
        "sink": tuple(output_topic(output) for output in PUBLISHED),
    }


def lags(settings: Settings) -> Iterator[Lag]:
    """Every partition of every reading; topics that do not exist are left out. Raises KafkaException."""
    from confluent_kafka import Consumer

    for role, topics in readings(settings).items():
        group = {"group.id": settings.group(role), "enable.auto.commit": False, "log_level": 0}
        consumer = Consumer(settings.kafka_client(group))
        try:
            yield from _of_group(consumer, role, topics)
        finally:
            consumer.close()


def _of_group(consumer: Any, role: Role, topics: tuple[str, ...]) -> Iterator[Lag]:
    from confluent_kafka import TopicPartition

    known = consumer.list_topics(timeout=_TIMEOUT_S).topics
    there = [topic for topic in topics if topic in known]
    places = [TopicPartition(topic, partition) for topic in there for partition in known[topic].partitions]
    for place in _patiently(lambda: consumer.committed(places, _TIMEOUT_S)) if places else ():
        asked = TopicPartition(place.topic, place.partition)
        low, end = _patiently(partial(consumer.get_watermark_offsets, asked, _TIMEOUT_S))
        position = place.offset if place.offset >= 0 else None
        yield Lag(role, place.topic, place.partition, position, end, end - max(low, position or 0))


def _patiently(ask: Callable[[], Any]) -> Any:
    """Ask again while a leader or coordinator is just being found: right after topics are made, or a broker is lost."""
    from confluent_kafka import KafkaException

    deadline_s = monotonic_s() + _TIMEOUT_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].name() not in _MOVING or monotonic_s() > deadline_s:
                raise
            time.sleep(0.2)
