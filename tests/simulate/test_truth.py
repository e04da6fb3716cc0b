"""The story through the product: every fault is found as it is, nothing is invented, KPIs equal SQL's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tieout.codecs.records import RawRecord
from tieout.streams.demo import differing_kpis
from tieout.streams.replay import Options, replay
from tieout.streams.simulate.story import Story
from tieout.streams.simulate.verdict import Verdict, judge
from tieout.streams.sinks.reader import Snapshot


def raw(story: Story) -> list[RawRecord]:
    """The records as a reader of the topics gets them."""
    offsets: dict[tuple[str, int], int] = {}
    found = []
    for record in story.records:
        offset = offsets[record.topic, record.partition] = offsets.get((record.topic, record.partition), -1) + 1
        found.append(RawRecord(record.topic, record.partition, offset, record.at // 1_000, record.key.encode(),
                               record.value))
    return found


def judged(story: Story, database: Path, options: Options) -> tuple[Verdict, dict[str, int]]:
    """The verdict of a replay, and the cells of each KPI that differ from SQL's."""
    replay(raw(story), database, options)
    with Snapshot(database) as snapshot:
        return judge(story.truth, snapshot.query("SELECT * FROM v1.finding").dicts()), differing_kpis(snapshot)


@pytest.mark.parametrize("options", [Options(), Options(partitions=3, duplicate=0.2)], ids=["one", "three-twice"])
def test_every_fault_is_found_and_none_invented(story: Story, tmp_path: Path, options: Options) -> None:
    verdict, differing = judged(story, tmp_path / "story.duckdb", options)
    assert verdict.complaints() == []
    assert len(verdict.caught) == len(story.truth.planted)
    assert not any(differing.values()), differing


def test_the_healthy_firm_has_no_findings(baseline: Story, tmp_path: Path) -> None:
    verdict, _ = judged(baseline, tmp_path / "baseline.duckdb", Options())
    assert verdict.complaints() == []
