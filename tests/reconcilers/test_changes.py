"""What travels between ingest and worker survives the journey, from a release before this one too."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieout.reconcilers.changes import Change, Frame, Op, UnknownVersion
from tieout.reconcilers.tallies import Tally

TEXT = st.text(max_size=8)
CHANGES = st.builds(
    Change,
    entity=st.sampled_from(["time_entry", "rate"]),
    key=TEXT,
    op=st.sampled_from(Op),
    source=st.sampled_from(["TIME/x", "PSA/y"]),
    subject=TEXT,
    commit_us=st.integers(-(2**53), 2**53),
    seq=TEXT,
    asserted=st.dictionaries(TEXT, st.none() | st.integers(-9, 9) | TEXT | st.lists(TEXT, max_size=2), max_size=3),
    event_id=TEXT,
    origin=st.tuples(st.sampled_from(["raw.a", "raw.b"]), st.integers(0, 3), st.integers(0, 2**40)),
)
FRAMES = st.builds(
    Frame,
    producer=TEXT,
    number=st.integers(0, 9),
    now_us=st.integers(0, 2**53),
    changes=st.lists(CHANGES, max_size=6).map(tuple),
    watermarks=st.dictionaries(TEXT, st.integers(0, 9), max_size=2),
    sources=st.dictionaries(TEXT, st.lists(TEXT, max_size=2), max_size=2),
    tallies=st.lists(st.builds(
        Tally, part=TEXT, first=st.integers(0, 9), end=st.integers(9, 20), settled=st.integers(0, 9),
        fates=st.dictionaries(TEXT, st.dictionaries(TEXT, st.integers(0, 9), max_size=2), max_size=2),
        waiting=st.dictionaries(TEXT, st.integers(0, 9), max_size=2),
        quantities=st.dictionaries(TEXT, st.dictionaries(st.integers(0, 9), st.dictionaries(
            st.integers(-9, 9), st.integers(1, 9), max_size=2), max_size=2), max_size=1),
    ), max_size=2).map(tuple),
    fresh=st.lists(TEXT, max_size=2).map(tuple),
)


def version_1(frame: Frame) -> dict[str, Any]:
    """A frame as releases wrote it that knew version 1: every change an object of its own."""
    record = {**frame.to_record(), "v": 1, "ch": [change.to_record() for change in frame.changes], "c": {}}
    del record["h"]
    return record


@given(FRAMES)
def test_a_frame_is_read_as_it_was_written(frame: Frame) -> None:
    assert Frame.from_record(json.loads(json.dumps(frame.to_record()))) == frame
    assert Frame.from_record(json.loads(json.dumps(version_1(frame)))) == replace(frame, tallies=())


@given(FRAMES)
def test_a_frame_states_how_old_the_changes_of_each_source_are(frame: Frame) -> None:
    found = {source: min(change.commit_us for change in frame.changes if change.source == source)
             for source in {change.source for change in frame.changes}}
    for record in (frame.to_record(), version_1(frame), {**frame.to_record(), "l": None}):
        assert Frame.from_record(json.loads(json.dumps(record))).oldest_by_source() == found


@given(CHANGES)
def test_a_change_is_read_as_it_was_written(change: Change) -> None:
    assert Change.from_record(json.loads(json.dumps(change.to_record()))) == change


@pytest.mark.parametrize("version", [0, 3, "2", None])
def test_a_frame_of_another_version_is_refused_with_what_to_do(version: Any) -> None:
    record = {**Frame("p", 0, 0).to_record(), "v": version}
    with pytest.raises(UnknownVersion, match=r"frame of version .*, .* 1 and 2: upgrade the workers first"):
        Frame.from_record(record)


def test_what_changes_share_is_written_once() -> None:
    changes = [Change("time_entry", f"k{n}", Op.UPSERT, "TIME/x", str(n), n, "1", {}, "", ("raw.a", 0, n))
               for n in range(50)]
    assert len(Frame("p", 0, 0, tuple(changes)).to_record()["h"]) == 1
