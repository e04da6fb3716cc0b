"""A shard's guard and its snapshots, without a broker."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from faults.counting import COUNTING, CountingState

from tieout.reconcilers.changes import Change, Frame, Op
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.outcomes import Output
from tieout.streams.shards import PRODUCERS_KEPT, Shard, Snapshot, Verdict
from tieout.streams.tables import Checkpoint, Place, Stamp

PLACE = Place(Axis.PROJECT, 2)


def shard(base: Checkpoint | None = None) -> Shard:
    return Shard(PLACE, 5, CountingState(Axis.PROJECT, 2, 4), COUNTING, base)


def frame(number: int, *keys: str, producer: str = "p") -> Frame:
    changes = tuple(Change("time_entry", key, Op.UPSERT, "TIME/x", key, number, str(number)) for key in keys)
    return Frame(producer, number, number, changes)


GUARD: list[tuple[str, int, Frame, Verdict]] = [
    # what                      offset  frame                         verdict
    ("the next one",               10,  frame(3),                     Verdict.NEXT),
    ("a new producer",             10,  frame(0, producer="q"),       Verdict.NEXT),
    ("read again",                  9,  frame(3),                     Verdict.REPEAT),
    ("sent again",                 10,  frame(2),                     Verdict.REPEAT),
    ("one is missing",             10,  frame(4),                     Verdict.HOLE),
    ("offsets are missing",        12,  frame(3),                     Verdict.HOLE),
    ("the end of a producer is",   12,  frame(0, producer="q"),       Verdict.HOLE),
    ("the new one's first",        10,  frame(1, producer="q"),       Verdict.HOLE),
]  # fmt: skip


@pytest.mark.parametrize(("what", "offset", "given", "verdict"), GUARD, ids=[row[0] for row in GUARD])
def test_the_guard(what: str, offset: int, given: Frame, verdict: Verdict) -> None:
    restored = shard(Checkpoint(4, 9, 10, {}, None, {"p": 3}))
    assert restored.judge(offset, given) is verdict


def test_a_gap_of_the_log_itself_is_passed() -> None:
    one = shard(Checkpoint(4, 9, 10, {}, None, {"p": 3}))
    one.sought_from = 15
    one.pass_gap(12)
    assert one.judge(12, frame(4)) is Verdict.HOLE, "a number is missing all the same"
    assert one.judge(12, frame(3)) is Verdict.NEXT
    assert one.sought_from is None


def test_a_frame_that_was_sent_twice_is_passed_over() -> None:
    one = shard(Checkpoint(4, 9, 10, {}, None, {"p": 3}))
    assert one.judge(10, frame(2)) is Verdict.REPEAT
    one.skip(10)
    assert one.judge(11, frame(3)) is Verdict.NEXT
    one.skip(5)
    assert one.next_offset == 11


def test_a_snapshot_is_cut_off_and_numbered() -> None:
    one = shard(Checkpoint(4, 9, 10, {}, None, {"p": 3}))
    one.apply(10, frame(3, "a", "b", "a"), "event 10")
    first = one.snapshot()
    one.apply(12, frame(4, "a"), "event 12")
    second = one.snapshot()
    assert first.checkpoint == Checkpoint(5, 1, 11, {"counts": 2, "last": 2}, Stamp(4, 9), {"p": 4})
    assert second.checkpoint == Checkpoint(5, 2, 13, {"counts": 1, "last": 1}, Stamp(4, 9), {"p": 5})
    assert rows(first)["counts", b"a"] == 2
    assert rows(second) == {("counts", b"a"): 3, ("last", b"a"): [3, "4"]}
    assert (first.events, second.events) == (["event 10"], ["event 12"])
    assert (first.changes, second.changes, one.pending_changes, one.pending_frames) == (3, 1, 0, 0)


def test_states_are_coalesced_and_events_are_not() -> None:
    one = shard()
    one.apply(0, frame(0, "a", "b"), None)
    one.apply(1, frame(1, "a", "a"), None)
    outcomes = [(outcome.output, outcome.key, outcome.row or {}) for outcome in one.snapshot().outcomes]
    cells = {key: row["numerator"] for output, key, row in outcomes if output is Output.KPI_STATE}
    events = [row["event_id"] for output, _, row in outcomes if output is Output.BILLING_DECISION]
    assert cells == {"a": 3, "b": 1, "total-2": 4}, "the total is settled once, with the snapshot"
    assert events == ["a#1", "b#1", "a#2", "a#3"]


def test_a_deletion_is_a_row_that_is_not_counted() -> None:
    one = shard()
    one.apply(0, frame(0, *["a"] * 7), None)
    snapshot = one.snapshot()
    assert [value for table, _, value in snapshot.rows if table == "last"] == [None]
    assert snapshot.checkpoint.puts == {"counts": 1}


def test_what_a_snapshot_holds_does_not_change_with_the_state() -> None:
    one = shard()
    one.apply(0, frame(0, "a"), None)
    snapshot = one.snapshot()
    before = rows(snapshot)
    one.apply(1, frame(1, "a"), None)
    assert rows(snapshot) == before


def test_producers_that_are_gone_are_forgotten_last_seen_first() -> None:
    one = shard()
    for offset in range(PRODUCERS_KEPT + 1):
        one.apply(offset, frame(0, producer=f"p{offset}"), None)
    assert one.judge(PRODUCERS_KEPT + 1, frame(1, producer="p1")) is Verdict.NEXT
    assert one.judge(PRODUCERS_KEPT + 1, frame(1, producer="p0")) is Verdict.HOLE
    assert len(one.snapshot().checkpoint.producers) == PRODUCERS_KEPT


def rows(snapshot: Snapshot) -> dict[tuple[str, bytes], Any]:
    return {(table, key): None if value is None else orjson.loads(value) for table, key, value in snapshot.rows}
