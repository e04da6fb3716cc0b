"""What the story holds: the same for a seed, faults of every check and facet, look-alikes of many kinds."""

from __future__ import annotations

from collections import Counter, defaultdict
from hashlib import sha256

import pytest

from tieout.codecs.canonical import CanonicalCodec
from tieout.codecs.records import RawRecord
from tieout.streams.simulate.story import Story, tell
from tieout.streams.simulate.truth import NAMES, Truth
from tieout.streams.simulate.verdict import spread

FACETS = {
    "02": {"PSA", "SCHED", "TIME", "ERP"},
    "16": {"PSA", "ERP"},
    "17": {"HOURS", "DATES", "COMMIT"},
    "21": {"NO_MATCH", "ZERO", "EXPIRED", "CURRENCY", "PLANNED"},
    "22": {"UPLIFT_NOT_APPLIED", "OVERRIDE", "WRONG_LEVEL", "DAY_HOUR_UNIT", "CARD_DIVERGED"},
    "23": {None},
    "27": {"STAGED", "POSTED"},
    "28": {"QTY", "DATE_SHIFT", "CODING", "INTERVAL", "BILLABLE", "STATUS"},
    "29": {None, "DELETED"},
    "30": {None, "EXCESS"},
    "31": {"KEY", "OVERLAP", "DAY_LIMIT"},
    "36": {None, "IDEMPOTENCY_KEY", "CONTENT"},
    "41": {None},
    "42": {None},
    "43": {"ENUM"},
}


def digest(story: Story) -> str:
    """One number for every byte, place and instant of a story."""
    total = sha256()
    for record in story.records:
        total.update(f"{record.at}|{record.topic}|{record.partition}|{record.key}|".encode() + record.value)
    return total.hexdigest()


def test_the_same_seed_tells_the_same_story(story: Story) -> None:
    again = tell()
    assert digest(again) == digest(story)
    assert again.truth.document() == story.truth.document()


def test_another_seed_tells_another_story_of_the_same_faults(story: Story) -> None:
    other = tell(7)
    assert digest(other) != digest(story)
    assert [(fault.check, fault.facet) for fault in other.truth.planted] == [
        (fault.check, fault.facet) for fault in story.truth.planted]


def test_every_check_and_facet_is_planted(story: Story) -> None:
    found: dict[str, set[str | None]] = defaultdict(set)
    for fault in story.truth.planted:
        found[fault.check].add(fault.facet)
        assert fault.code == NAMES[fault.check]
    assert found == FACETS
    assert len(story.truth.planted) >= 90


def test_there_are_many_lookalikes_of_many_kinds(story: Story) -> None:
    assert len(story.truth.healthy) >= 95
    assert len(spread(story.truth)) >= 60


def test_no_two_faults_are_one_and_no_lookalike_is_a_fault(story: Story) -> None:
    identities = Counter((fault.code, fault.facet, fault.business_key) for fault in story.truth.planted)
    assert {identity: count for identity, count in identities.items() if count > 1} == {}
    planted = {fault.business_key for fault in story.truth.planted}
    assert [item for item in story.truth.healthy if item.business_key in planted] == []


def test_the_baseline_plants_nothing(baseline: Story) -> None:
    assert baseline.truth.planted == []


def test_the_size_fits_a_minute(story: Story) -> None:
    assert 1_700 <= story.entries <= 2_300
    assert 20_000 <= len(story.records) <= 28_000


def test_the_truth_can_be_read_back(story: Story) -> None:
    assert Truth.of(story.truth.document()) == story.truth
    with pytest.raises(ValueError, match=r"expected 'tieout\.truth/v1'"):
        Truth.of({"schema": "tieout.truth/v0"})


def test_every_record_decodes_and_every_attribute_is_known(story: Story) -> None:
    codec = CanonicalCodec()
    changes = watermarks = 0
    for offset, record in enumerate(story.records):
        decoded = codec.decode(RawRecord(record.topic, record.partition, offset, record.at // 1_000,
                                         record.key.encode(), record.value, ()))
        assert not decoded.ignored_attributes, f"{record.value!r} has attributes that nobody knows"
        changes += len(decoded.changes)
        watermarks += decoded.watermark_us is not None
    assert changes + watermarks == len(story.records)
    assert changes >= len(story.events)
