"""Orders of a replay: real permutations, each source object in its own order; and what a capture says about itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingest_records import T0_MS, event, instant, observed, record

from tieout.codecs.formats import codec
from tieout.codecs.records import RawRecord
from tieout.streams.orders import duplicated, moments, shuffled
from tieout.streams.pipeline import Reading
from tieout.streams.replay import Tail
from tieout.streams.survey import survey

ANY = Reading(codec("canonical", {}))


def lines(*topics: str) -> list[RawRecord]:
    """A record of each topic, with contiguous offsets."""
    offsets: Counter[str] = Counter()
    found = []
    for topic in topics:
        found.append(record(topic, offsets[topic], b"x"))
        offsets[topic] += 1
    return found


def of_objects(records: Sequence[RawRecord]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for each in records:
        found[each.topic].append(each.offset)
    return found


topics = st.lists(st.sampled_from(["a", "b", "c"]), max_size=60).map(lambda names: lines(*names))


@given(topics, st.integers(0, 2**32))
def test_a_shuffle_keeps_all_lines_and_the_order_within_each_object(records: list[RawRecord], seed: int) -> None:
    order = shuffled(records, seed)
    assert of_objects(order) == of_objects(records)
    assert shuffled(records, seed) == order


def test_shuffles_really_differ() -> None:
    """Twenty seeds give twenty orders, none of them the captured one, and sources overtake each other by far."""
    records = lines(*["a"] * 50, *["b"] * 50, *["c"] * 50)
    orders = [tuple(shuffled(records, seed)) for seed in range(20)]
    assert len({*orders, tuple(records)}) == 21
    first_of_c = [next(at for at, each in enumerate(order) if each.topic == "c") for order in orders]
    assert max(first_of_c) < 100  # in the capture all of c comes behind a and b


@given(topics, st.floats(0, 1), st.integers(0, 2**32))
def test_a_duplicate_is_a_line_that_came_before(records: list[RawRecord], share: float, seed: int) -> None:
    delivered = list(duplicated(records, share, seed))
    assert list(dict.fromkeys(delivered)) == records  # first deliveries are in order
    repeats = Counter(delivered)
    assert all(1 <= repeats[each] <= 3 for each in records)
    for at, each in enumerate(delivered):
        if repeats[each] > 1 and each not in delivered[:at]:
            assert delivered[at + 1] == each  # once more at once


def test_the_share_of_repeated_lines_is_as_asked() -> None:
    repeats = Counter(duplicated(lines(*["a"] * 2_000), 0.25, 7))
    assert 400 < sum(count > 1 for count in repeats.values()) < 600
    assert {1, 2, 3} == set(repeats.values())


@pytest.mark.parametrize(("stamps", "stating", "most", "expected"), [
    ("", "", 5, []),
    ("1234", "....", 9, [4]),  # nothing is stated: as long as may be
    ("1234", "....", 3, [3, 1]),
    ("1234", ".!..", 9, [2, 2]),  # a statement is dated by the clock at which it came
    ("1222", "!...", 9, [1, 3]),
    ("1221", ".!!.", 9, [4]),  # the clock does not move on: no reason to cut
    ("9111", "!!!!", 9, [4]),
    ("1234", "!!!!", 9, [1, 1, 1, 1]),
])
def test_a_frame_ends_where_the_clock_would_move_on_after_a_statement(
    stamps: str, stating: str, most: int, expected: list[int]
) -> None:
    records = [record("t", n, b"", at_ms=int(stamp)) for n, stamp in enumerate(stamps)]
    chunks = list(moments(records, [mark == "!" for mark in stating], most))
    assert [len(chunk) for chunk in chunks] == expected
    assert [each for chunk in chunks for each in chunk] == records


def test_a_partition_is_at_its_end_when_its_next_line_is_younger_than_the_clock() -> None:
    records = [record("a", 0, b"", at_ms=1), record("b", 0, b"", at_ms=2), record("a", 1, b"", at_ms=9)]
    tail = Tail(records)
    assert tail.read(records[:1], 1) == ["a/0", "b/0"]  # b has nothing of this instant yet
    assert tail.read(records[1:2], 2) == ["a/0", "b/0"]
    assert tail.read([], 9) == ["b/0"]


# --- what a capture says about itself -------------------------------------------------------------------------------


def change(source: str) -> bytes:
    return event("project.upserted", source, "P", {"project_code": "P"})


@pytest.mark.parametrize(("records", "expected"), [
    ([], {}),
    ([record("t", 0, change("ERP/a")), record("t", 0, change("ERP/a"), partition=1)], {"ERP/a": ["t/0", "t/1"]}),
    # only partitions that state a watermark count, when at least one does
    ([record("t", 0, change("ERP/a")), record("u", 0, change("ERP/a")), record("t", 1, observed("ERP/a", T0_MS))],
     {"ERP/a": ["t/0"]}),
    ([record("t", 0, observed("ERP/a", T0_MS)), record("u", 0, change("ERP/b"))], {"ERP/a": ["t/0"], "ERP/b": ["u/0"]}),
    # sources that share a partition are told apart
    ([record("t", 0, change("ERP/a")), record("t", 1, observed("PSA/b", T0_MS))],
     {"ERP/a": ["t/0|ERP/a"], "PSA/b": ["t/0|PSA/b"]}),
    ([record("t", 0, b"{broken"), record("t", 1, change("ERP/a"))], {"ERP/a": ["t/0"]}),
])
def test_the_sources_of_a_capture(records: list[RawRecord], expected: dict[str, list[str]]) -> None:
    assert survey(records, {}, ANY).sources() == expected


def test_a_configured_source_keeps_its_partitions_whatever_its_events_say() -> None:
    reading = Reading(codec("canonical", {}), "ERP/main")
    records = [record("t", 0, change("ERP/other")), record("t", 1, observed("ERP/other", T0_MS))]
    assert survey(records, {"t": reading}, None).sources() == {"ERP/main": ["t/0"], "ERP/other": ["t/0"]}


def test_statements_are_marked_line_by_line() -> None:
    records = [record("t", 0, change("ERP/a")), record("t", 1, observed("ERP/a", T0_MS)), record("t", 2, None)]
    assert survey(records, {}, ANY).stating == [False, True, False]
    assert instant(T0_MS) == "2026-03-02T09:00:00Z"
