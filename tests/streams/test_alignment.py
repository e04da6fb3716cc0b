"""Partitions read in step: drawn as timestamps, with what is released after each turn."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tieout.codecs.records import RawRecord
from tieout.streams.alignment import LONGEST_S, LONGEST_STEP_MS, Alignment, Partition, steps

A, B, C = ("a", 0), ("b", 0), ("c", 0)


def records(place: Partition, *stamps: int) -> list[RawRecord]:
    """Records of a partition with these timestamps."""
    return [RawRecord(*place, stamp, stamp, None, b"") for stamp in stamps]


class Firm:
    """Three partitions, a set of those that are read to their end, and a clock."""

    def __init__(self) -> None:
        self.drained: set[Partition] = set()
        self.now_s = 0.0
        self.asked: list[set[Partition]] = []
        self.alignment = Alignment(self._drained, lambda: self.now_s)
        self.alignment.assigned((A, B, C))

    def _drained(self, partitions: Iterable[Partition]) -> set[Partition]:
        self.asked.append(set(partitions))
        return self.drained & self.asked[-1]

    def turn(self, *arrived: RawRecord) -> list[tuple[str, int]]:
        """Consume, and what is released as (topic, timestamp)."""
        return [(record.topic, record.ts_ms) for record in self.alignment.step(arrived)]


@pytest.fixture
def firm() -> Firm:
    return Firm()


def test_a_partition_ahead_waits_for_the_ones_that_are_not_read_to_their_end(firm: Firm) -> None:
    assert firm.turn(*records(A, 10, 20, 30)) == []
    assert firm.turn(*records(B, 15, 40), *records(C, 25)) == [("a", 10), ("b", 15), ("a", 20), ("c", 25)]
    assert firm.turn(*records(C, 40)) == [("a", 30)]
    assert firm.turn(*records(A, 40)) == [("a", 40), ("b", 40), ("c", 40)]


def test_the_merge_is_by_timestamp_and_keeps_each_partition_in_order(firm: Firm) -> None:
    firm.drained = {A, B, C}
    assert firm.turn(*records(B, 5, 9), *records(A, 1, 7)) == [("a", 1), ("b", 5), ("a", 7), ("b", 9)]


def test_idle_partitions_that_are_read_to_their_end_hold_nobody(firm: Firm) -> None:
    firm.drained = {B, C}
    assert firm.turn(*records(A, 10, 20)) == [("a", 10), ("a", 20)]
    assert firm.asked == [{B, C}]


def test_a_timestamp_that_goes_back_does_not_change_the_order(firm: Firm) -> None:
    firm.drained = {A, B, C}
    assert firm.turn(*records(A, 10, 3), *records(B, 5)) == [("b", 5), ("a", 10), ("a", 3)]


def test_a_partition_whose_end_cannot_be_reached_holds_the_others_for_a_while_only(firm: Firm) -> None:
    firm.drained = {C}
    assert firm.turn(*records(A, 10)) == []
    firm.now_s = LONGEST_S - 0.1
    assert firm.turn() == []
    firm.now_s = LONGEST_S + 0.1
    assert firm.turn() == [("a", 10)]
    assert firm.turn(*records(A, 20)) == [("a", 20)]
    assert firm.turn(*records(B, 25)) == []  # A may have something older than 25 still to come
    assert firm.turn(*records(A, 30)) == [("b", 25)]


def test_partitions_that_go_on_are_waited_for_however_long_it_takes(firm: Firm) -> None:
    firm.drained = {C}
    for number in range(10):
        firm.now_s += LONGEST_S * 0.8
        firm.turn(*records(A, 100 + number))
        firm.now_s += LONGEST_S * 0.8
        assert max(stamp for _, stamp in firm.turn(*records(B, 10 + number))) == 10 + number


def test_while_reading_is_paused_nothing_is_released_and_nobody_is_blamed(firm: Firm) -> None:
    firm.turn(*records(A, 10))
    firm.now_s = 2 * LONGEST_S
    assert firm.alignment.step([], reading=False) == []
    assert firm.turn() == []


def test_nothing_waiting_asks_nobody(firm: Firm) -> None:
    assert firm.turn() == []
    assert firm.asked == []


def test_a_new_assignment_forgets_what_waits(firm: Firm) -> None:
    firm.turn(*records(A, 10))
    firm.alignment.assigned((A,))
    assert firm.turn() == []
    assert firm.turn(*records(A, 10)) == [("a", 10)]


@pytest.mark.parametrize(("stamps", "parts"), [
    ((), []),
    ((5,), [(5,)]),
    ((0, LONGEST_STEP_MS), [(0, LONGEST_STEP_MS)]),
    ((0, LONGEST_STEP_MS + 1, LONGEST_STEP_MS + 2), [(0,), (LONGEST_STEP_MS + 1, LONGEST_STEP_MS + 2)]),
    ((9, 3, 7), [(9, 3, 7)]),
])
def test_no_step_moves_the_clock_too_far(stamps: tuple[int, ...], parts: list[tuple[int, ...]]) -> None:
    assert [tuple(record.ts_ms for record in part) for part in steps(records(A, *stamps))] == parts
