"""A restore says how far it is, ends when it is not wanted any more, and is no lost place while it gets on."""

from __future__ import annotations

from typing import Any

import pytest
from faults.counting import COUNTING, TABLES, CountingState

from tieout.reconcilers.entities import Axis
from tieout.streams import handover as module
from tieout.streams.checkpoint import Checkpointer, Outputs
from tieout.streams.handover import Handover, StaleRestore
from tieout.streams.settings import Settings
from tieout.streams.shards import Shard
from tieout.streams.tables import CHECKPOINT_KEY, CLAIM_KEY, Checkpoint, Ledger, Place, Restored, Rows, Stamp, Watch

PLACE = Place(Axis.PROJECT, 3)


def restored(watch: Watch, keys: int) -> Restored:
    """So many rows that were read."""
    ledger = Ledger()
    ledger.read(CLAIM_KEY, b'{"epoch":1}')
    ledger.read(CHECKPOINT_KEY, Checkpoint(1, 1, 0, {"counts": keys}).to_bytes())
    rows = Rows(ledger)
    for number in range(keys):
        rows.add("counts", str(number).encode(), b"1", Stamp(1, 1))
    rows.take_newest()
    return Restored(rows, ledger.last(), watch=watch)


def holding(watch: Watch) -> Handover:
    """A worker to which one place is assigned, and that restores it."""
    handover = Handover(Settings(), COUNTING, Checkpointer(Settings().checkpoint), Outputs({}))
    handover.assign([PLACE])
    handover._watches = {PLACE: watch}
    return handover


@pytest.mark.parametrize(
    ("read", "expected", "rebuilt", "rows", "share"),
    [(0, 0, 0, 0, 0.0), (50, 100, 0, 0, 0.25), (100, 100, 0, 80, 0.5), (90, 80, 40, 80, 0.75), (80, 80, 80, 80, 1.0)],
)
def test_how_much_is_done(read: int, expected: int, rebuilt: int, rows: int, share: float) -> None:
    watch = Watch()
    watch.expected, watch.read, watch.rebuilt, watch.rows = expected, read, rebuilt, rows
    assert watch.share == share


def test_the_probe_says_how_far_it_is() -> None:
    watch = Watch()
    watch.expected, watch.read = 400, 100
    assert holding(watch).progress() == "12%: project/3 100/400 records, 0/0 rows"


def test_a_restore_that_is_not_wanted_ends_while_it_rebuilds() -> None:
    """SIGTERM or a new assignment: at the next look, not at the end."""
    taken: list[str] = []

    class Slow(CountingState):
        def restore(self, table: str, key: str, value: Any) -> None:
            taken.append(key)

    def keep_on() -> None:
        if len(taken) >= 10_000:
            raise StaleRestore

    with pytest.raises(StaleRestore):
        Shard.restored(PLACE, 4, 2, COUNTING._replace(state=Slow), restored(Watch(keep_on), 50_000))
    assert len(taken) == 10_000
    assert set(TABLES) == {"counts", "last"}


def test_what_follows_from_the_rows_is_worked_out_under_the_eyes_of_the_watch() -> None:
    seen: list[bool] = []
    watch = Watch()

    class Seen(CountingState):
        def restored(self) -> None:
            seen.append(watch.deriving)
            super().restored()

    Shard.restored(PLACE, 4, 2, COUNTING._replace(state=Seen), restored(watch, 3))
    assert (seen, watch.deriving) == ([True], False)


def test_abandoned_it_raises_at_the_next_look() -> None:
    handover = holding(Watch())
    generation = handover._generation
    handover._check(generation)
    handover.abandon()
    with pytest.raises(StaleRestore):
        handover._check(generation)


def test_a_place_is_missing_only_while_nothing_gets_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore longer than the limit is no reason to end the process and to begin it again."""
    now_s = 1_000.0
    monkeypatch.setattr(module, "monotonic_s", lambda: now_s)
    watch = Watch()
    handover = holding(watch)
    for _ in range(10):
        now_s += 30
        watch.took(1)
        assert handover.missing_for_s() == 0
    watch.deriving = True
    now_s += 61
    assert handover.missing_for_s() == 0
    watch.deriving = False
    now_s += 61
    assert handover.missing_for_s() == 61
