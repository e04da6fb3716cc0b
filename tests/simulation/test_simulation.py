"""The seeded simulation ends right, is the same again, agrees with the product's replay, and notices planted bugs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from simulation.roles import Sink, Worker
from simulation.run import Kinds, natural, simulate, sweep, undisturbed
from simulation.tiny import capture
from simulation.world import Record
from test_orders import answers as stored

from tieout.streams import replay as product
from tieout.streams.shards import Shard
from tieout.streams.sinks.intake import Intake
from tieout.streams.sinks.store import Store
from tieout.streams.tables import Place

SEEDS = 300
FOUND_WITHIN = 1_000


def test_whatever_dies_the_answers_are_the_same() -> None:
    """Every seed of the range; the message names the ones to run again."""
    outcomes = list(sweep(range(SEEDS), jobs=1))
    assert [(each.seed, each.wrong) for each in outcomes if each.wrong] == []
    crashed = sum((each.crashed for each in outcomes), Counter[str]())
    assert len(crashed) >= 12, f"points at which nothing died: {crashed}"


def test_there_is_something_to_lose() -> None:
    """The firms have entries in several states, findings and money."""
    found = [(key, row) for firm in range(40) for key, row in undisturbed(firm).items()]
    assert len({row["state"] for (kind, *_), row in found if kind == "entry"}) >= 5
    assert len({key[1] for key, _ in found if key[0] == "finding"}) >= 5
    assert any(key[0] == "kpi" and "unbilled_value" in key for key, _ in found)


def test_a_seed_is_the_same_again() -> None:
    """Points of death and outcome."""
    assert simulate(17) == simulate(17)


@pytest.mark.parametrize("firm", range(3))
def test_the_undisturbed_run_equals_the_replay(firm: int, tmp_path: Path) -> None:
    """What the simulated roles put out, in the real store, against `tieout replay` of the same records."""
    intake = Intake()
    intake.take(natural(firm).sink.seen)  # type: ignore[arg-type]
    with Store(tmp_path / "simulated.duckdb") as store:
        store.write_batch(intake.batch, intake.offsets)
    product.replay(list(capture(firm)), tmp_path / "replayed.duckdb", product.Options())
    assert stored(tmp_path / "simulated.duckdb") == stored(tmp_path / "replayed.duckdb")


class AcknowledgesEarly(Worker):
    """Commits offsets when a frame is applied, and goes on there."""

    def applied(self, place: Place, offset: int) -> None:
        self._world.committed["worker", (str(place), 0)] = offset + 1

    def _open(self, place: Place) -> tuple[Shard, Any]:
        shard, writer = super()._open(place)
        shard.next_offset = self._world.committed.get(("worker", (str(place), 0)), 0)
        shard._producers.clear()
        return shard, writer


class WritesOffsetsFirst(Sink):
    """Rows and offsets in two transactions."""

    def write(self, batch: list[Record]) -> None:
        self.offsets |= {record.at: record.offset() + 1 for record in batch}
        self._world.at("between offsets and rows")
        super().write(batch)


class KeepsItsNumber(Worker):
    """Does not shut out the last owner: a worker that lost its place without noticing goes on writing."""

    def _open(self, place: Place) -> tuple[Shard, Any]:
        fences = dict(self._world.fences)
        opened = super()._open(place)
        name = f"tieout-worker-{place.axis.value}-{place.partition}"
        self._world.fences[name] = opened[1]._producer._epoch = fences.get(name, 0) or 1  # type: ignore[attr-defined]
        return opened


@pytest.mark.parametrize("kinds", [
    Kinds(worker=AcknowledgesEarly), Kinds(sink=WritesOffsetsFirst), Kinds(worker=KeepsItsNumber),
], ids=["acknowledges before the checkpoint", "offsets before rows", "no fencing"])  # fmt: skip
def test_a_planted_bug_is_found(kinds: Kinds) -> None:
    """Within a thousand seeds."""
    assert any(simulate(seed, kinds).wrong for seed in range(FOUND_WITHIN))
