"""How events travel: latency, outages, repetition, disorder, and the watermarks that say how far a partition is."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any, Final, NamedTuple

import orjson

from tieout.streams.simulate.facts import SCHED, TOPICS, Event, Topic, observed
from tieout.streams.simulate.instants import ENDS_AT, HOUR, MINUTE, SECOND, STARTS_AT
from tieout.streams.simulate.scene import Outage

_LOADED_AT: Final = STARTS_AT + 5 * MINUTE
_LATENCY: Final = 30 * SECOND
_WATERMARK_DELAY: Final = 45 * SECOND
_EVERY: Final = {SCHED: 10 * MINUTE}  # its limit is 15 minutes; the others say it every hour
_LEAST: Final = 1_000
Dark = tuple[int, int]  # since, until


class Record(NamedTuple):
    """A record of a raw topic; `at` is its Kafka timestamp in microseconds, when it was delivered."""

    at: int
    topic: str
    partition: int
    key: str
    value: bytes


class _Delivery(NamedTuple):
    at: int
    body: dict[str, Any]
    key: str


def deliver(events: Iterable[Event], rng: Random, outages: list[Outage], again: list[tuple[Event, int]],
            late: list[tuple[Event, int]]) -> list[Record]:
    """All records in the order of their delivery."""
    lanes: dict[tuple[str, int], list[Event]] = defaultdict(list)
    for event in events:
        lanes[event.topic, event.partition].append(event)
    delays = {id(event): delay for event, delay in late}
    records: list[Record] = []
    for number, (topic, partition) in enumerate(_partitions()):
        dark = sorted((outage.since, outage.until) for outage in outages if outage.source == topic.source)
        lane = list(_in_order(lanes[topic.name, partition], rng, dark, delays))
        lane += _watermarks(topic, partition, number, dark)
        lane += [_Delivery(event.at + delay, event.body, event.subject) for event, delay in again
                 if (event.topic, event.partition) == (topic.name, partition)]
        lane.sort(key=lambda delivery: delivery.at)
        records += [Record(item.at, topic.name, partition, item.key, orjson.dumps(item.body)) for item in lane]
    records.sort(key=lambda record: record.at)
    return records


def _partitions() -> list[tuple[Topic, int]]:
    return [(topic, partition) for topic in TOPICS for partition in range(topic.partitions)]


def _in_order(lane: list[Event], rng: Random, dark: list[Dark], delays: dict[int, int]) -> Iterator[_Delivery]:
    """Latency never reorders a partition; only what a story delays is out of order."""
    last = STARTS_AT
    for event in lane:
        if event.at < STARTS_AT:
            at = last + _LEAST
        else:
            at = max(last + 1, _after_outage(event.at + rng.randrange(1, _LATENCY), dark))
        if id(event) in delays:
            yield _Delivery(event.at + delays[id(event)], event.body, event.subject)
            continue
        last = at
        yield _Delivery(at, event.body, event.subject)


def _after_outage(at: int, dark: list[Dark]) -> int:
    place = bisect_right(dark, (at, ENDS_AT)) - 1
    return max(at, dark[place][1]) if place >= 0 else at


def _watermarks(topic: Topic, partition: int, number: int, dark: list[Dark]) -> Iterator[_Delivery]:
    """Regularly, in idle partitions too; none during an outage, one at its end."""
    every = _EVERY.get(topic.source, HOUR)
    first = _LOADED_AT + every + number * SECOND * 5
    instants = {*range(first, ENDS_AT, every), _LOADED_AT, ENDS_AT}
    instants = {at for at in instants
                if not any(since < at + _WATERMARK_DELAY and at <= until for since, until in dark)}
    instants |= {until + MINUTE for _, until in dark}
    for at in sorted(instants):
        yield _Delivery(at + _WATERMARK_DELAY, observed(topic, partition, at), f"{topic.name}-{partition}")


