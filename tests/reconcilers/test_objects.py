"""Truncates, gaps and re-reads: what they delete, what they keep from being decided, and that no order matters."""

from __future__ import annotations

import random

import orjson
import pytest
from firm import Firm, day, entry, fixture, posted, us
from hypothesis import given, settings
from hypothesis import strategies as st

from tieout.reconcilers.changes import Change, Op
from tieout.reconcilers.facts import TABLE_OF, Facts
from tieout.reconcilers.objects import Object


def whole(system: str, entity: str, at: str, op: Op, seq: str, topic: str = "", subject: str = "") -> Change:
    """An operation on a whole object."""
    return Change(entity, "", op, f"{system}/one", subject, us(at), seq, {}, f"{op}-{seq}", (topic, 0, 0))


def version(number: str, token: int, topic: str = "", op: Op = Op.UPSERT, at: str | None = None) -> Change:
    """A version of an entry; its token says when it was committed, a minute each."""
    at = at or f"2026-03-10T10:{token:02d}:00Z"
    made = entry("TIME", number, at, op=op, seq=f"{token:012d}", note_hash=str(token))
    return Change(made.entity, made.key, op, made.source, made.subject, made.commit_us, made.seq, made.asserted,
                  made.event_id, (topic, 0, token))


def truncate(token: int, topic: str = "") -> Change:
    return whole("TIME", "time_entry", f"2026-03-10T10:{token:02d}:00Z", Op.TRUNCATE, f"{token:012d}", topic)


def gap(token: int, subject: str = "") -> Change:
    return whole("TIME", "time_entry", f"2026-03-10T10:{token:02d}:00Z", Op.GAP, f"{token:012d}", subject=subject)


def reread(token: int) -> Change:
    return whole("TIME", "time_entry", f"2026-03-10T10:{token:02d}:00Z", Op.SNAPSHOT, f"{token:012d}")


def facts_of(changes: list[Change]) -> Facts:
    facts = Facts()
    for item in changes:
        facts.put_object(item) if not item.key else facts.put(item)
    return facts


def alive(facts: Facts, *tokens: int) -> list[str]:
    """What lives at the end, or as of these minutes: 'number@note' by number."""
    found = []
    for minute in tokens or (59,):
        rows = []
        for (_, key), record in sorted(facts.records.items()):
            view = record.view("TIME", us(f"2026-03-10T10:{minute:02d}:00Z"))
            rows += [f"{key[5:]}@{view['note_hash']}"] if view else []
        found.append(" ".join(rows))
    return found


@pytest.mark.parametrize(("changes", "expected"), [
    ([version("A", 1), truncate(5)], [""]),
    ([version("A", 1), version("B", 2), truncate(5), version("B", 7)], ["B@7"]),
    ([truncate(5), version("A", 1)], [""]),  # late, and older
    ([truncate(5), version("A", 7)], ["A@7"]),
    ([truncate(5), version("A", 7), version("A", 3)], ["A@7"]),
    ([version("A", 1, "t"), version("B", 2, "u"), truncate(5, "t")], ["B@2"]),  # another raw topic
    ([version("A", 5), truncate(5)], ["A@5"]),  # only smaller tokens
    ([version("A", 1), version("A", 2, op=Op.DELETE), truncate(5)], [""]),
    ([version("A", 1), gap(5)], ["A@1"]),  # unknown is not empty
    ([version("A", 1), gap(5), reread(9)], [""]),
    ([version("A", 1), gap(5), version("A", 6, op=Op.SNAPSHOT), reread(9)], ["A@6"]),
    ([version("A", 1), gap(5), version("A", 5, op=Op.SNAPSHOT), reread(9)], ["A@5"]),  # at the gap's commit
    ([version("A", 1), reread(9)], ["A@1"]),  # nothing was lost
    ([version("A", 1), gap(9), reread(5)], ["A@1"]),  # read before it was lost
    ([version("A", 1), gap(5), reread(9), version("A", 11)], ["A@11"]),
    ([version("A", 1), gap(5), reread(9), gap(12)], [""]),
    ([version("A", 1), gap(3), version("A", 4), gap(6), reread(9)], [""]),  # not seen after the last gap
    ([version("A", 1), version("A", 4, op=Op.GAP)], ["A@1"]),
    ([version("A", 4, op=Op.GAP)], [""]),  # a record that only was lost from sight is none
    ([version("A", 1), version("A", 4, op=Op.GAP), reread(9)], [""]),  # read again, and it was not there
    ([version("A", 1), version("A", 4, op=Op.GAP), version("A", 6), reread(9)], ["A@6"]),
])
def test_what_an_object_goes_through_deletes_rows(changes: list[Change], expected: list[str]) -> None:
    assert alive(facts_of(changes)) == expected


def test_rows_are_deleted_as_of_the_truncate_and_as_of_the_end_of_the_re_read() -> None:
    facts = facts_of([version("A", 1), truncate(5), version("A", 7), gap(10), reread(20)])
    assert alive(facts, 4, 5, 6, 7, 15, 19, 20) == ["A@1", "", "", "A@7", "A@7", "A@7", ""]


_ITEMS = st.one_of(
    st.builds(version, st.sampled_from("AB"), st.integers(1, 30), st.sampled_from(["t", "t", "u"])),
    st.builds(lambda n, t: version(n, t, op=Op.DELETE), st.sampled_from("AB"), st.integers(1, 30)),
    st.builds(lambda n, t: version(n, t, op=Op.GAP), st.sampled_from("AB"), st.integers(1, 30)),
    st.builds(truncate, st.integers(1, 30), st.sampled_from(["t", "u"])), st.builds(gap, st.integers(1, 30)),
    st.builds(reread, st.integers(1, 30)),
)


@settings(max_examples=300, deadline=None)
@given(items=st.lists(_ITEMS, max_size=12, unique_by=lambda item: int(item.seq)), seed=st.integers(0, 1_000))
def test_any_order_of_arrival_ends_with_the_same_rows(items: list[Change], seed: int) -> None:
    ordered = sorted(items, key=lambda item: int(item.seq))
    topics = {"A": "t", "B": "u"}  # a record comes from one topic
    ordered = [_from(item, topics.get(item.subject)) for item in ordered]
    wild = random.Random(seed).sample(ordered, len(ordered))
    instants = list(range(32))
    expected = alive(facts_of(ordered), *instants)
    assert alive(facts_of(wild), *instants) == expected
    assert alive(facts_of(wild + wild), *instants) == expected


def _from(item: Change, topic: str | None) -> Change:
    return item if topic is None else Change.from_record(item.to_record() | {"r": [topic, 0, 0]})


def test_an_object_survives_its_record_and_forgets_what_nobody_looks_back_at() -> None:
    of_object = Object()
    for item in (gap(1), reread(3), truncate(4), truncate(6), gap(8), gap(9, "X")):
        assert of_object.note(item)
        assert not of_object.note(item)
    assert Object.from_record(orjson.loads(orjson.dumps(of_object.to_record()))) == of_object
    assert of_object.open_subjects() == ["", "X"]
    of_object.prune(us("2026-03-10T10:07:00Z"))
    assert [(s.commit_us - us("2026-03-10T10:00:00Z")) // 60_000_000 for s in of_object.sweeps()] == [3, 6]
    assert of_object.open_subjects() == ["", "X"]


# -- what is not decided while something is unknown --------------------------------------------------


def firm() -> Firm:
    it = Firm()
    return it.take(*fixture()).until("2026-03-10T09:00:00Z")


def test_absence_in_an_unknown_object_is_not_proved_and_entries_are_held() -> None:
    monday = {"work_date": day("2026-03-09")}  # on one day the two would be duplicates
    it = firm().take(entry("TIME", "E1", "2026-03-10T10:00:00Z"), entry("TIME", "E2", "2026-03-10T10:00:00Z", **monday),
                     posted("E2", "2026-03-10T10:30:00Z", **monday))
    it.take(whole("ERP", "posted_labour", "2026-03-10T11:00:00Z", Op.GAP, "9" * 12)).until("2026-03-12T12:00:00Z")
    [found] = it.findings("TIME_LATE_TO_ERP")[:1]
    assert {row["status"] for row in it.findings("TIME_LATE_TO_ERP")} == {"SUPPRESSED"}
    assert (found["business_key"], found["opened_at"]) == ("TIME:E1", None)
    assert (it.entry("E1")["state"], it.entry("E2")["state"], it.entry("E2")["top_hold"]) == (
        "APPROVED_PENDING", "HELD", "H19")
    it.take(posted("E1", "2026-03-12T12:30:00Z", op=Op.SNAPSHOT),
            posted("E2", "2026-03-12T12:30:00Z", op=Op.SNAPSHOT, **monday),
            whole("ERP", "posted_labour", "2026-03-12T12:31:00Z", Op.SNAPSHOT, "~"))
    it.until("2026-03-12T13:00:00Z")
    assert it.findings("TIME_LATE_TO_ERP") == []
    assert [it.entry(name)["state"] for name in ("E1", "E2")] == ["READY", "READY"]


def test_what_the_re_read_did_not_find_is_missing_from_its_end_on() -> None:
    it = firm().take(entry("TIME", "E1", "2026-03-10T10:00:00Z"), posted("E1", "2026-03-10T10:30:00Z"))
    it.take(whole("ERP", "posted_labour", "2026-03-10T11:00:00Z", Op.GAP, "9" * 12),
            whole("ERP", "posted_labour", "2026-03-11T12:00:00Z", Op.SNAPSHOT, "~"))
    it.until("2026-03-11T16:30:00Z")
    [found] = [row for row in it.findings("TIME_LATE_TO_ERP") if row["facet"] == "STAGED"]
    assert (found["status"], found["onset_at"], found["deadline_at"]) == (
        "OPEN", us("2026-03-11T12:00:00Z"), us("2026-03-11T16:00:00Z"))


def test_a_deadline_inside_a_gap_is_judged_when_the_gap_is_over() -> None:
    it = firm().take(entry("TIME", "E1", "2026-03-10T10:00:00Z"),
                     whole("ERP", "posted_labour", "2026-03-10T11:00:00Z", Op.GAP, "9" * 12))
    it.take(whole("ERP", "posted_labour", "2026-03-12T12:00:00Z", Op.SNAPSHOT, "~")).until("2026-03-12T13:00:00Z")
    found = [(row["facet"], row["status"], row["deadline_at"], row["opened_at"])
             for row in it.findings("TIME_LATE_TO_ERP")]
    assert found == [
        ("POSTED", "OPEN", us("2026-03-11T10:00:00Z"), us("2026-03-12T12:00:00Z")),
        ("STAGED", "OPEN", us("2026-03-10T14:00:00Z"), us("2026-03-12T12:00:00Z"))]


@pytest.mark.parametrize(("item", "still"), [
    (whole("ERP", "fx_rate", "2026-03-10T11:00:00Z", Op.GAP, "9"), True),  # nothing reads it
    (whole("ERP", "calendar_day", "2026-03-10T11:00:00Z", Op.GAP, "9"), True),  # no check on entries does
    (whole("HCM", "resource", "2026-03-10T11:00:00Z", Op.GAP, "9"), True),  # the check does not wait for HCM
    (whole("ERP", "posted_labour", "2026-03-10T11:00:00Z", Op.GAP, "9"), False),
    (whole("ERP", "posted_labour", "2026-03-10T11:00:00Z", Op.GAP, "9", subject="X"), False),  # nobody knows whose
    (whole("TIME", "time_entry", "2026-03-10T11:00:00Z", Op.GAP, "9"), False),
    (whole("ERP", "posted_labour", "2026-03-10T11:00:00Z", Op.TRUNCATE, "9"), True),  # known to be empty
    (whole("ERP", "posted_labour", "2026-03-10T11:00:00Z", Op.SNAPSHOT, "9"), True),
])
def test_only_checks_that_read_the_object_wait(item: Change, still: bool) -> None:
    it = firm().take(entry("TIME", "E1", "2026-03-10T10:00:00Z"))
    if item.entity in TABLE_OF:
        it.take(item)
    it.until("2026-03-12T12:00:00Z")
    opened = [row for row in it.findings("TIME_LATE_TO_ERP") if row["status"] == "OPEN"]
    assert bool(opened) is still


def test_an_unknown_record_holds_up_its_own_subjects_only() -> None:
    it = firm()
    for number, date in (("E1", day("2026-03-10")), ("E2", day("2026-03-09"))):
        it.take(entry("TIME", number, "2026-03-10T10:00:00Z", work_date=date),
                entry("PSA", number, "2026-03-10T10:05:00Z", qty_s=3_600, work_date=date),
                posted(number, "2026-03-10T10:30:00Z", work_date=date))
    it.take(entry("PSA", "E1", "2026-03-10T11:00:00Z", op=Op.GAP)).until("2026-03-10T18:00:00Z")
    assert [(row["business_key"], row["status"]) for row in it.findings("TIME_QTY_MISMATCH")] == [
        ("TIME:E1", "SUPPRESSED"), ("TIME:E2", "OPEN")]
    it.take(entry("PSA", "E1", "2026-03-10T18:30:00Z")).until("2026-03-11T18:00:00Z")
    assert [row["business_key"] for row in it.findings("TIME_QTY_MISMATCH")] == ["TIME:E2"]
    assert it.entry("E1")["state"] == "READY"


def test_an_unknown_record_of_an_agreeing_entry_holds_it() -> None:
    it = firm().take(entry("TIME", "E1", "2026-03-10T10:00:00Z"), posted("E1", "2026-03-10T10:30:00Z"))
    it.until("2026-03-12T10:00:00Z")
    assert it.entry("E1")["state"] == "READY"
    it.take(posted("E1", "2026-03-12T11:00:00Z", op=Op.GAP))
    assert (it.entry("E1")["state"], it.entry("E1")["holds"]) == ("HELD", "H19")
    it.take(posted("E1", "2026-03-12T11:00:40Z"))
    assert it.entry("E1")["state"] == "READY"
