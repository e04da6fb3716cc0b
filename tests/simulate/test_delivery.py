"""How records travel: honest watermarks, order where it is promised, disorder where it is planted."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import orjson
import pytest

from tieout.streams.simulate.delivery import Record
from tieout.streams.simulate.facts import CRM, ERP, HCM, PSA, SCHED, TIME, TOPICS
from tieout.streams.simulate.instants import ENDS_AT, HOUR, MINUTE, SECOND, STARTS_AT, iso, utc
from tieout.streams.simulate.story import Story

LIMITS = {SCHED: 15 * MINUTE, HCM: 72 * HOUR, **dict.fromkeys((ERP, PSA, TIME, CRM), 90 * MINUTE)}
OUTAGES = {CRM: 1, SCHED: 1, ERP: 1}  # planted


def lanes(story: Story) -> dict[tuple[str, int], list[tuple[Record, dict[str, object]]]]:
    """Records with their bodies by partition."""
    found: dict[tuple[str, int], list[tuple[Record, dict[str, object]]]] = defaultdict(list)
    for record in story.records:
        found[record.topic, record.partition].append((record, orjson.loads(record.value)))
    return found


def through(body: dict[str, object]) -> int | None:
    """The watermark of a record, if it is one."""
    data = body["data"]
    return utc(str(data["through"])[:-1]) if isinstance(data, dict) and "through" in data else None


def test_records_are_in_order_of_delivery_and_within_the_four_weeks(story: Story) -> None:
    stamps = [record.at for record in story.records]
    assert stamps == sorted(stamps)
    assert stamps[0] >= STARTS_AT
    assert stamps[-1] <= ENDS_AT + MINUTE


def test_every_partition_has_records_and_a_last_watermark_at_the_end(story: Story) -> None:
    found = lanes(story)
    assert set(found) == {(topic.name, number) for topic in TOPICS for number in range(topic.partitions)}
    for lane in found.values():
        assert through(lane[-1][1]) == ENDS_AT


def test_a_watermark_is_true(story: Story) -> None:
    """Once a partition says how far it is, nothing older comes for the first time."""
    for place, lane in lanes(story).items():
        stated, seen = -1, set()
        for record, body in lane:
            mark = through(body)
            if mark is not None:
                assert mark > stated, place
                assert mark <= record.at
                stated = mark
            elif body["id"] not in seen:
                seen.add(body["id"])
                commit_at = utc(str(body["time"])[:-1])
                assert commit_at > stated, f"{place}: {body['id']} comes after its watermark"


def test_sources_are_fresh_but_for_the_planted_outages(story: Story) -> None:
    gaps: dict[str, int] = defaultdict(int)
    sources = {topic.name: topic.source for topic in TOPICS}
    counted = set()
    for place, lane in lanes(story).items():
        marks = [(record.at, mark) for record, body in lane if (mark := through(body)) is not None]
        for (_, before), (at, _) in pairwise(marks):
            if at - before > LIMITS[sources[place[0]]]:
                counted.add((sources[place[0]], before // HOUR))
    for source, _ in {(source, hour // 24) for source, hour in counted}:
        gaps[source] += 1
    assert gaps == OUTAGES


def test_tokens_rise_within_a_source(story: Story) -> None:
    last: dict[str, str] = {}
    for event in story.events:
        assert event.body["sequence"] > last.get(event.source, "")
        last[event.source] = event.body["sequence"]


def test_some_records_come_again_and_some_out_of_order(story: Story) -> None:
    again = overtaken = 0
    newest: dict[tuple[object, object], str] = {}
    seen = set()
    for record in story.records:
        body = orjson.loads(record.value)
        if "sequence" not in body:
            continue
        key = (body["source"], body["subject"])
        if body["id"] in seen:
            again += 1
        elif body["sequence"] < newest.get(key, ""):
            overtaken += 1
        seen.add(body["id"])
        newest[key] = max(newest.get(key, ""), body["sequence"])
    assert (again, overtaken) == (9, 3)


@pytest.mark.parametrize("seconds", [30])
def test_latency_is_small_outside_outages(story: Story, seconds: int) -> None:
    delays = sorted(record.at - utc(str(body["time"])[:-1]) for lane in lanes(story).values() for record, body in lane
                    if through(body) is None and str(body["time"]) > iso(STARTS_AT))
    assert delays[len(delays) * 9 // 10] <= seconds * SECOND
    assert delays[0] > 0
