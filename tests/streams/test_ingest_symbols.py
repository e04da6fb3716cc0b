"""Symbols that nobody knows in fields that decide: applied as UNKNOWN, and told to the control axis (43, ENUM)."""

from __future__ import annotations

from typing import Any

import pytest
from ingest_records import T0_MS, event, record

from tieout.codecs.formats import codec
from tieout.codecs.records import RawRecord
from tieout.reconcilers.changes import Op
from tieout.reconcilers.entities import GUARDED, Axis
from tieout.reconcilers.symbols import SYMBOL
from tieout.streams.identity import Identity
from tieout.streams.pipeline import Batch, Pipeline, Reading

TIME = "TIME/kimai"
KNOWN: dict[str, Any] = {"origin_system": "TIME", "origin_id": "1", "project_code": "P", "state": "APPROVED"}
Told = list[tuple[str, str, str]]  # record, op, fields


READS = frozenset({"time_entry", "project"})


def pipeline(identity: Identity | None = None, reads: frozenset[str] = READS) -> Pipeline:
    return Pipeline({"time": Reading(codec("canonical", {}), TIME)}, sources={TIME: ["time/0"]}, partitions=2,
                    producer="p", reads=reads, identity=identity)


def entry(offset: int, seq: int, op: str = "upserted", **data: Any) -> RawRecord:
    return record("time", offset, event(f"time_entry.{op}", TIME, "1", {**KNOWN, **data}, at_ms=T0_MS,
                                        sequence=f"{seq:04d}"))


def told(batch: Batch) -> Told:
    return [(change.key, change.op.value, change.asserted.get("fields", "")) for out in batch.frames
            if out.axis is Axis.CONTROL for change in out.frame.changes if change.entity == SYMBOL]


BEGIN, BOTH, END = ("1", "UPSERT", "state"), ("1", "UPSERT", "state|time_type"), ("1", "DELETE", "")

CASES: list[tuple[str, list[RawRecord], Told]] = [
    ("every symbol is known", [entry(0, 1)], []),
    ("a state that nobody knows", [entry(0, 1, state="BLESSED")], [BEGIN]),
    ("it was read again", [entry(0, 1, "snapshot", state="BLESSED")], [BEGIN]),
    ("two fields", [entry(0, 1, state="BLESSED", time_type="NAP")], [BOTH]),
    ("a field that decides nothing", [entry(0, 1, note_hash="?", role_code="NEW")], []),
    ("known later", [entry(0, 1, state="BLESSED"), entry(1, 2)], [BEGIN, END]),
    ("known before", [entry(0, 2), entry(1, 1)], []),
    ("gone", [entry(0, 1, state="BLESSED"), entry(1, 2, "deleted")], [BEGIN, END]),
    ("an older version comes late", [entry(0, 2, state="BLESSED"), entry(1, 1)], [BEGIN]),
    ("a version that is over comes again", [entry(0, 1, state="BLESSED"), entry(1, 2), entry(2, 1, state="BLESSED")],
     [BEGIN, END]),
    ("the same twice", [entry(0, 1, state="BLESSED"), entry(1, 1, state="BLESSED")], [BEGIN, BEGIN]),
    ("one of two is known", [entry(0, 1, state="BLESSED", time_type="NAP"), entry(1, 2)],
     [BOTH, ("1", "UPSERT", "time_type")]),
    ("still unknown", [entry(0, 1, state="BLESSED"), entry(1, 2, state="CURSED")], [BEGIN, BEGIN]),
]


@pytest.mark.parametrize(("records", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_control_axis_is_told(records: list[RawRecord], expected: Told) -> None:
    assert told(pipeline().take(records)) == expected


@pytest.mark.parametrize(("records", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_was_told_outlives_the_process(records: list[RawRecord], expected: Told) -> None:
    """A process that takes over after each record, with the rows of the id map, tells the same."""
    rows: dict[str, str] = {}
    found: Told = []
    for each in records:
        identity = Identity()
        for row, value in rows.items():
            identity.restore(row, value)
        batch = pipeline(identity).take([each])
        rows |= batch.xref
        found += told(batch)
    assert found == expected


def test_another_process_takes_over_the_newest_word() -> None:
    first, second = pipeline(), pipeline()
    for offset, (seq, state) in enumerate([(1, "BLESSED"), (2, "APPROVED")]):
        for row, value in first.take([entry(offset, seq, state=state)]).xref.items():
            second.learned(row, value)
    assert told(second.take([entry(0, 1, state="BLESSED")])) == []


def test_its_own_former_word_is_not_taken_for_a_new_one() -> None:
    """A process reads back what it wrote, behind what it has said since."""
    ingest = pipeline()
    first = ingest.take([entry(0, 1, state="BLESSED")]).xref
    ingest.take([entry(1, 2)])
    for row, value in first.items():
        ingest.learned(row, value)
    assert told(ingest.take([entry(2, 1, state="BLESSED")])) == []


def test_the_record_is_applied_and_what_nobody_reads_is_not_told() -> None:
    batch = pipeline().take([entry(0, 1, state="BLESSED")])
    (change,) = [change for out in batch.frames if out.axis is Axis.PROJECT for change in out.frame.changes]
    assert (change.op, change.asserted["state"], batch.dead_letters) == (Op.UPSERT, "UNKNOWN", [])
    assert told(pipeline(reads=frozenset({"project"})).take([entry(0, 1, state="BLESSED")])) == []


def test_state_type_and_method_are_guarded() -> None:
    assert GUARDED["time_entry"] == ("time_type", "state")
    assert GUARDED["contract_line"] == ("method",)
    assert GUARDED["invoice"] == ("type", "state")
    assert GUARDED["posted_labour"] == ("txn_type",)
