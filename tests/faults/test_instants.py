"""The verdict on audit instants can fail: one cent in one checkpoint, and one in one snapshot, are found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faults import instants
from faults.watch import Sample

from tieout.codecs.records import RawRecord
from tieout.reconcilers.changes import Frame
from tieout.reconcilers.engine import READS, TABLES, State, apply, settle
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.outcomes import Output
from tieout.reconcilers.policy import Policy
from tieout.streams import demo, sources
from tieout.streams.outputs import encoders
from tieout.streams.pipeline import Pipeline
from tieout.streams.settings import Settings
from tieout.streams.shards import Reconciler, Shard
from tieout.streams.simulate.story import tell
from tieout.streams.survey import survey
from tieout.streams.tables import Checkpoint, Place
from tieout.streams.topics import output_topic

PLACE = Place(Axis.PROJECT, 0)
KPI_TOPIC = output_topic(Output.KPI_STATE)


class Played:
    """Frames of a story's beginning, and what a worker published of them in two checkpoints."""

    def __init__(self, settings: Settings) -> None:
        records = [RawRecord(r.topic, r.partition, n, r.at // 1_000, r.key.encode(), r.value)
                   for n, r in enumerate(tell().records[:3_000])]
        readings = sources.readings(settings)
        pipeline = Pipeline(readings, sources=survey(records, readings, None).sources(), partitions=1, producer="p",
                            reads=READS, closed=True)
        batches = [pipeline.take(records[at : at + 500]) for at in range(0, len(records), 500)]
        frames = [frame for batch in batches for axis, _, frame in batch.frames if axis is PLACE.axis]
        self.frames: list[tuple[int, Frame]] = list(enumerate(frames))
        self.checkpoints: list[Checkpoint] = []
        self.published: instants.Published = {}
        engine = Reconciler(lambda axis, number, count: State(axis, number, count, Policy()), apply, settle, TABLES)
        shard = Shard(PLACE, 1, engine.state(*PLACE, 1), engine, None)
        for offset, frame in self.frames:
            shard.apply(offset, frame, None)
            if offset in (len(frames) // 2, len(frames) - 1):
                snapshot = shard.snapshot()
                self.checkpoints.append(snapshot.checkpoint)
                cells: dict[str, instants.Row] = {o.key: dict(o.row) if o.row else None for o in snapshot.outcomes
                                                  if o.output is Output.KPI_STATE}
                self.published[PLACE, 1, snapshot.checkpoint.number] = cells

    def money(self, number: int) -> dict[str, Any]:
        """A cell of money that this checkpoint published."""
        rows = [row for row in self.published[PLACE, 1, number].values() if isinstance(row, dict)]
        return next(row for row in rows if row["unit"] == "minor" and row["numerator"])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    config = tmp_path / "tieout.toml"
    text = demo.configuration("127.0.0.1:9", tmp_path, 0)
    config.write_text(text.replace(f"partitions = {demo.PARTITIONS}", "partitions = 1"), encoding="utf-8")
    return demo.load(config)


@pytest.fixture
def played(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Played:
    made = Played(settings)
    monkeypatch.setattr(instants, "_places", lambda _: [PLACE])
    monkeypatch.setattr(instants, "_frames", lambda *_: iter(made.frames))
    monkeypatch.setattr(instants, "_checkpoints", lambda *_: iter(made.checkpoints))
    monkeypatch.setattr(instants, "_published", lambda _: made.published)
    return made


def test_what_was_published_is_what_the_frames_give(played: Played, settings: Settings) -> None:
    assert instants.at_checkpoints(settings) == (2, 0, 0, [])


def test_a_cent_in_one_checkpoint_is_found(played: Played, settings: Settings) -> None:
    played.money(2)["numerator"] += 1
    found = instants.at_checkpoints(settings)
    assert (found.instants, found.cents) == (2, 1)
    assert found.examples


def test_a_frame_that_no_checkpoint_has_is_found(played: Played, settings: Settings) -> None:
    played.checkpoints.pop()
    with pytest.raises(AssertionError, match="in no checkpoint"):
        instants.at_checkpoints(settings)


def test_a_snapshot_is_compared_with_the_topic_up_to_its_offsets(
    played: Played, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cell beyond the offsets does not count; a cent in the sums does."""
    row = played.money(2)
    encode = encoders()[Output.KPI_STATE]

    def read_all(*_: Any) -> Iterator[tuple[dict[str, str], bytes]]:
        for offset, key in enumerate(("a", "b", "beyond")):
            yield {"partition": "0", "offset": str(offset), "key": key}, encode(row)

    monkeypatch.setattr(instants, "read_all", read_all)
    cell = (row["kpi"], row["measure"], row["unit"], row["currency"])
    sums = {cell: 2 * row["numerator"]}
    assert instants.at_snapshots(settings, [Sample({(KPI_TOPIC, 0): 2}, sums)]) == (1, 0, 0, [])
    assert instants.at_snapshots(settings, [Sample({(KPI_TOPIC, 0): 2}, {cell: sums[cell] - 1})]).cents == 1
