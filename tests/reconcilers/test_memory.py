"""What a partition holds has no cycles: it is gone when its place moves away, although no collector looks for it."""

from __future__ import annotations

import gc
import weakref

import pytest
from reconcilers.test_restores import played


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.usefixtures("no_collector")
def test_a_state_that_is_dropped_is_gone(seed: int) -> None:
    """Three visits of a second worker once left 44 of 44 states in a worker's memory, where it held 8."""
    twins = played(seed)
    parts = [weakref.ref(pair.state._part) for pair in twins.pairs]
    assert all(part() is not None for part in parts)
    twins.pairs.clear()
    twins.states.clear()
    assert [part() for part in parts if part() is not None] == []


@pytest.mark.usefixtures("no_collector")
def test_applying_makes_no_cycles() -> None:
    twins = played(4)
    assert gc.collect() == 0
    assert twins.pairs
