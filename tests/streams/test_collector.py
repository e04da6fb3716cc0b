"""What the collector looks through, and what it leaves alone."""

from __future__ import annotations

import gc
import weakref

import pytest

from tieout.streams import collector


class Node:
    """What can be in a cycle."""

    def __init__(self) -> None:
        self.other: Node | None = None


pytestmark = pytest.mark.usefixtures("no_collector")


def in_a_cycle() -> tuple[Node, weakref.ref[Node]]:
    node = Node()
    node.other = node
    return node, weakref.ref(node)


def test_a_sweep_finds_what_was_left_since_the_last_frame() -> None:
    node, seen = in_a_cycle()
    del node
    collector.sweep()
    assert seen() is None


def test_what_is_kept_goes_with_its_last_reference_but_is_not_looked_through() -> None:
    plain, (node, seen) = Node(), in_a_cycle()
    seen_plain = weakref.ref(plain)
    collector.keep()
    del plain, node
    collector.sweep()
    assert seen_plain() is None
    assert seen() is not None, "the price: cycles must not be in tables"


def test_tables_that_are_built_are_kept() -> None:
    with collector.off():
        assert not gc.isenabled()
        node, seen = in_a_cycle()
    assert gc.isenabled()
    gc.disable()
    del node
    gc.collect()
    assert seen() is not None
