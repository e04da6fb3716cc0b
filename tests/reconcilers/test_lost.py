"""Dead letters of a record: when it is unknown, in whatever order letters, versions and ends arrive."""

from __future__ import annotations

import random

import pytest
from firm import Firm, entry, fixture, invoice, posted, us
from hypothesis import given, settings
from hypothesis import strategies as st

from tieout.reconcilers import affected
from tieout.reconcilers.changes import Change, Op
from tieout.reconcilers.facts import Facts
from tieout.reconcilers.lost import LETTER, OVER
from tieout.reconcilers.outcomes import Output
from tieout.reconcilers.timeline import FOREVER
from tieout.reconcilers.unknown import Unknown
from tieout.reconcilers.views import Record


def at(minute: int) -> int:
    return us(f"2026-03-10T10:{minute:02d}:00Z")


def version(minute: int) -> Change:
    return entry("TIME", "A", f"2026-03-10T10:{minute:02d}:00Z", seq=f"{minute:012d}")


def letter(number: int, minute: int, *, over: bool = False) -> Change:
    origin = f"t/0/{number}"
    said = {LETTER: origin, **({OVER: True} if over else {})}
    return version(minute)._replace(op=Op.GAP, seq=f"#{origin}", asserted=said, event_id=f"{origin}{over}")


def unknown(changes: list[Change]) -> set[tuple[int, int]]:
    """Minutes since when and until when the record was unknown; -1: it still is."""
    facts = Facts()
    for change in changes:
        facts.put(change)
    [record] = facts.records.values()
    spans = {(span.since, span.until) for _, span in record.gaps()}
    restored = Record.from_record(record.to_record())
    assert {(span.since, span.until) for _, span in restored.gaps()} == spans
    start = at(0)
    return {((since - start) // 60_000_000, -1 if until == FOREVER else (until - start) // 60_000_000)
            for since, until in spans}


@pytest.mark.parametrize(("changes", "expected"), [
    ([letter(1, 5)], {(5, -1)}),
    ([version(1), letter(1, 5)], {(5, -1)}),
    ([letter(1, 5), version(7)], {(5, 7)}),
    ([letter(1, 5), version(5)], {(5, -1)}),  # another change of the same instant: it may lie before
    ([letter(1, 5), version(5), letter(1, 5, over=True)], set()),  # that was the record itself
    ([letter(1, 5), letter(2, 6), letter(1, 5, over=True)], {(6, -1)}),
    ([letter(1, 5, over=True), letter(1, 5)], set()),  # told again after a crash
    ([letter(1, 5), letter(2, 6), version(8)], {(5, 8), (6, 8)}),
])
def test_a_letter_makes_its_record_unknown_until_a_later_version_or_its_end(
        changes: list[Change], expected: set[tuple[int, int]]) -> None:
    assert unknown(changes) == expected


_ITEMS = st.one_of(
    st.builds(version, st.integers(1, 20)),
    st.builds(lambda number: letter(number, number + 3), st.integers(1, 12)),
    st.builds(lambda number: letter(number, number + 3, over=True), st.integers(1, 12)),
)


@settings(max_examples=300, deadline=None)
@given(items=st.lists(_ITEMS, min_size=1, max_size=12), seed=st.integers(0, 1_000))
def test_any_order_and_any_repetition_ends_the_same(items: list[Change], seed: int) -> None:
    wild = random.Random(seed).sample(items, len(items))
    assert unknown(wild) == unknown(items)
    assert unknown(wild + items) == unknown(items)


def test_what_a_later_version_ended_stays_ended_when_versions_are_folded() -> None:
    facts = Facts()
    for change in (version(1), letter(1, 5), version(7), version(9)):
        facts.put(change)
    [record] = facts.records.values()
    [history] = record.histories.values()
    history.fold(at(10))
    assert list(record.gaps()) == []


def test_a_posting_that_was_never_read_bears_on_the_entry_that_it_names() -> None:
    facts = Facts()
    facts.put(version(1))
    lost = posted("A", "2026-03-10T10:05:00Z")
    gap = lost._replace(op=Op.GAP, seq="#t/0/1", asserted={LETTER: "t/0/1", "origin_ref": "TIME:A"})
    facts.put(gap)
    assert affected.by(facts, gap) == {("entry", "TIME:A")}
    assert Unknown.of(facts, set).systems_on("entry", "TIME:A") == {"ERP"}
    restored = Facts()
    for record in facts.records.values():
        restored.restore(record.to_record())
    restored.reindex()
    assert Unknown.of(restored, set).systems_on("entry", "TIME:A") == {"ERP"}
    facts.put(gap._replace(asserted={**gap.asserted, OVER: True}))
    assert Unknown.of(facts, set).systems_on("entry", "TIME:A") == set()


def lost_of(number: int, record: Change, *, over: bool = False) -> Change:
    """A dead letter that names what a record belongs to, or its end."""
    links = {name: record.asserted[name] for name in ("origin_ref", "project_code") if name in record.asserted}
    said = {LETTER: f"t/0/{number}", **links, **({OVER: True} if over else {})}
    return record._replace(op=Op.GAP, seq=f"#t/0/{number}", asserted=said, event_id=f"t/0/{number}{over}")


A, B = (entry("TIME", name, "2026-03-10T10:01:00Z") for name in "AB")
LEDGER = posted("A", "2026-03-10T10:02:00Z")
PROJECT = next(each for each in fixture() if each.entity == "project" and each.system == "ERP")
UNREAD: list[tuple[list[Change], dict[tuple[str, str], tuple[int, int]]]] = [
    ([A, B], {}),
    ([A, B, lost_of(1, A)], {("TIME/one", "time_entry"): (112_500, 1)}),
    ([A, B, lost_of(1, A), lost_of(2, A)], {("TIME/one", "time_entry"): (112_500, 1)}),  # two letters, one entry
    ([A, B, lost_of(1, A), lost_of(2, B)], {("TIME/one", "time_entry"): (225_000, 2)}),
    ([A, B, lost_of(1, A), lost_of(1, A, over=True)], {}),
    ([A, B, lost_of(1, A), A._replace(seq="9", commit_us=A.commit_us + 1)], {}),  # it said something since
    ([A, B, lost_of(1, LEDGER)], {("ERP/one", "posted_labour"): (112_500, 1)}),  # nobody has seen the posting
    ([A, B, LEDGER, lost_of(1, LEDGER)], {("ERP/one", "posted_labour"): (112_500, 1)}),
    ([A, *invoice("I", "2026-03-11T09:00:00Z", covers={"A": 27_000}), lost_of(1, A)],
     {("TIME/one", "time_entry"): (0, 1)}),  # billed: nothing is at stake
    ([A, A._replace(op=Op.GAP, seq="9", commit_us=A.commit_us + 1, asserted={})], {}),  # the source lost it: 42
    ([A, lost_of(1, PROJECT)], {}),
]


@pytest.mark.parametrize(("changes", "expected"), UNREAD)
def test_entries_of_which_a_record_cannot_be_read_are_valued_by_source_and_object(
        changes: list[Change], expected: dict[tuple[str, str], tuple[int, int]]) -> None:
    """For the mean of check 43; once, on the project axis alone, in whatever order."""
    for order in (changes, changes[::-1]):
        it = Firm().take(*fixture(), *order)
        rows = [row for row in it.now(Output.KPI_STATE).values() if row["kpi"] == "unread"]
        assert {(row["source"], row["object"]): (row["numerator"], row["denominator"]) for row in rows} == expected
        assert {(row["axis"], row["currency"]) for row in rows} <= {("project", "GBP")}
