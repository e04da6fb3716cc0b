"""The pipeline: every record ends in exactly one place, and frames never claim more than was sent."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ingest_records import T0_MS, ByIdCodec, entry, event, observed, record

from tieout.codecs.formats import codec
from tieout.codecs.records import Decoded, RawRecord
from tieout.reconcilers.changes import Change
from tieout.reconcilers.entities import ENTITIES, Axis, Reach
from tieout.reconcilers.routing import COVERED
from tieout.reconcilers.tallies import Tally
from tieout.reconcilers.timeline import FOREVER
from tieout.streams.identity import Identity
from tieout.streams.parking import Parked, Parking, position
from tieout.streams.pipeline import Batch, Limits, Pipeline, Reading

READS = frozenset({"project", "time_entry", "posted_labour", "coverage", "wbs_task"})
PARTITIONS = 3
TIME, PSA, ERP = "TIME/kimai", "PSA/certinia", "ERP/ax"
CANONICAL = codec("canonical", {})


def pipeline(identity: Identity | None = None, parking: Parking | None = None, **options: Any) -> Pipeline:
    readings = {
        "time": Reading(CANONICAL, TIME),
        "psa": Reading(ByIdCodec(PSA), PSA, by_id=True),
        "erp": Reading(CANONICAL, ERP, entity="posted_labour"),
        "psa.heartbeat": Reading(ByIdCodec(PSA), PSA, heartbeat=True),
    }
    sources = {TIME: ["time/0", "time/1"], PSA: ["psa/0"], ERP: ["erp/0"]}
    return Pipeline(readings, sources=sources, partitions=PARTITIONS, producer="p-1", reads=READS, identity=identity,
                    parking=parking, **options)


def by_id(offset: int, **row: Any) -> RawRecord:
    return record("psa", offset, orjson.dumps(row))


def sent(batches: Iterable[Batch]) -> dict[int, list[Change]]:
    """The changes by project partition, in order, less what follows from others."""
    found: dict[int, list[Change]] = defaultdict(list)
    for batch in batches:
        for axis, partition, frame in batch.frames:
            if axis is Axis.PROJECT:
                found[partition] += [change for change in frame.changes if change.entity != COVERED]
    return found


def keys(batches: Iterable[Batch]) -> list[str]:
    """The keys of all changes sent, each once however many partitions it went to."""
    seen: dict[str, str] = {}
    for changes in sent(batches).values():
        seen |= {position(change): change.key for change in changes}
    return list(seen.values())


# --- where records end ----------------------------------------------------------------------------------------------


def test_a_broadcast_change_goes_to_every_partition_and_a_keyed_one_to_one() -> None:
    batch = pipeline().take([
        record("erp", 0, event("project.upserted", ERP, "ACME", {"project_code": "ACME"})),
        record("erp", 1, event("wbs_task.upserted", ERP, "ACME:1", {"project_code": "ACME", "wbs_code": "1"})),
    ])
    by_entity = Counter(change.entity for changes in sent([batch]).values() for change in changes)
    assert by_entity == {"project": PARTITIONS, "wbs_task": 1}


def test_what_the_key_of_an_entry_says_is_not_said_again() -> None:
    batch = pipeline().take([
        record("erp", 0, event("project.upserted", ERP, "ACME", {"project_code": "ACME"})),
        record("time", 0, event("time_entry.upserted", TIME, "1", {
            "origin_system": "TIME", "origin_id": "1", "project_code": "ACME", "qty_s": 60})),
    ])
    said = {change.key: change.asserted for changes in sent([batch]).values() for change in changes}
    assert said == {"ACME": {"project_code": "ACME"}, "TIME:1": {"project_code": "ACME", "qty_s": 60}}


@pytest.mark.parametrize(("raw", "fate"), [
    (record("erp", 0, b"{not json"), "dead_lettered"),
    (record("erp", 0, event("nothing.upserted", ERP, "1", {})), "dead_lettered"),
    (record("erp", 0, None), "filtered"),
    (record("erp", 0, event("payment.upserted", ERP, "P1", {"payment_no": "P1"})), "filtered"),  # no rule reads it
    (record("erp", 0, event("coverage.upserted", ERP, "c", {
        "le_code": "UK", "invoice_no": "I", "line_no": 1, "target": "TIME:9"})), "parked"),
    (by_id(0, entity="wbs_task", id="t1", seq="1", project_code={"$ref": ["project", "a0"]}, wbs_code="1"), "parked"),
])
def test_a_record_that_is_not_sent_is_counted_where_it_ended(raw: RawRecord, fate: str) -> None:
    ingest = pipeline()
    batch = ingest.take([raw])
    assert not any(sent([batch]).values())
    (totals,) = ingest.totals.values()
    assert {name: count for name, count in totals.items() if count and not name.endswith("_us")} == {
        "received": 1, fate: 1}


def test_a_defect_of_a_codec_costs_one_dead_letter_and_stops_nothing() -> None:
    class Broken:
        def decode(self, raw: RawRecord) -> Decoded:
            raise KeyError("oops")

    ingest = Pipeline({"t": Reading(Broken(), TIME)}, sources={TIME: ["t/0"]}, partitions=1, producer="p", reads=READS)
    (letter,) = ingest.take([record("t", 7, b"x")]).dead_letters
    assert (letter.origin, letter.reason, letter.value, letter.error) == ("t/0/7", "internal_error", b"x", "KeyError")


@pytest.mark.parametrize(("name", "value"), [
    ("work_date", "9999-12-31"), ("work_date", "0202-03-10"), ("approved_at", "0001-01-01T00:00:00Z"),
])
def test_what_cannot_have_happened_then_is_put_aside(name: str, value: str) -> None:
    """It would overflow the arithmetic of days, and end every worker that read it."""
    said = {"origin_system": "TIME", "origin_id": "1", "project_code": "ACME", name: value}
    [letter] = pipeline().take([record("time", 0, event("time_entry.upserted", TIME, "1", said))]).dead_letters
    assert (letter.reason, "null_if" in letter.hint) == ("implausible_date", True)
    assert f"{name}: found {value[:10]}" in letter.message
    assert "expected a day from 1950-01-01 to 2149-12-31" in letter.message


def test_a_period_that_ends_behind_all_calendars_is_open() -> None:
    said = {"project_code": "ACME", "start": "0001-01-01", "end": "9999-12-31"}
    batch = pipeline().take([record("erp", 0, event("project.upserted", ERP, "ACME", said))])
    assert {(change.asserted["start"], change.asserted["end"]) for changes in sent([batch]).values()
            for change in changes} == {(-FOREVER, FOREVER)}


def test_a_dead_letter_carries_reason_hint_and_where_it_belongs() -> None:
    (letter,) = pipeline().take([record("erp", 3, b"{", at_ms=5)]).dead_letters
    assert (letter.reason, letter.source, letter.object, letter.ts_us) == ("not_json", ERP, "posted_labour", 5_000)
    assert letter.hint


# --- parking --------------------------------------------------------------------------------------------------------


def test_what_waits_is_released_in_order_behind_what_it_waited_for() -> None:
    ingest = pipeline()
    batches = [ingest.take([
        by_id(0, entity="wbs_task", id="t2", seq="1", project_code={"$ref": ["project", "a0"]}, wbs_code="2"),
        by_id(1, entity="wbs_task", id="t1", seq="2", project_code={"$ref": ["project", "a0"]}, wbs_code="1"),
    ]), ingest.take([by_id(2, entity="project", id="a0", seq="3", project_code="ACME")])]
    assert keys(batches) == ["ACME", "ACME:2", "ACME:1"]
    assert [parked and parked.need for parked in batches[0].parked.values()] == ["id|project|PSA/certinia|a0"] * 2
    assert list(batches[1].parked.values()) == [None, None]
    assert ingest.totals["PSA/certinia|wbs_task"]["parked"] == 0


def test_one_release_leads_to_the_next() -> None:
    """Coverage waits for its entry's home, the entry waits for its project's id."""
    ingest = pipeline()
    batches = [ingest.take([
        record("erp", 0, event("coverage.upserted", ERP, "c", {
            "le_code": "UK", "invoice_no": "I", "line_no": 1, "target": "PSA:9"})),
        by_id(0, entity="time_entry", id="9", seq="1", origin_system="PSA", origin_id="9",
              project_code={"$ref": ["project", "a0"]}),
        by_id(1, entity="project", id="a0", seq="2", project_code="ACME"),
    ])]
    assert keys(batches) == ["ACME", "PSA:9", "UK:I:1:PSA:9"]
    assert batches[0].parked == dict.fromkeys(batches[0].parked)  # parked and released within one batch: tombstones


def test_a_parked_change_that_comes_again_waits_once() -> None:
    waiting = by_id(0, entity="wbs_task", id="t1", seq="1", project_code={"$ref": ["project", "a0"]}, wbs_code="1")
    ingest = pipeline()
    ingest.take([waiting, waiting])
    assert dict(ingest.totals["PSA/certinia|wbs_task"], last_event_us=0) == {
        "received": 2, "parked": 1, "filtered": 1, "last_event_us": 0}
    batch = ingest.take([by_id(1, entity="project", id="a0", seq="2", project_code="ACME")])
    assert keys([batch]) == ["ACME", "ACME:1"]


def test_what_a_crash_left_waiting_although_its_reference_is_known_is_released_at_start() -> None:
    first = pipeline()
    parked = first.take([
        by_id(0, entity="wbs_task", id="t1", seq="1", project_code={"$ref": ["project", "a0"]}, wbs_code="1"),
    ]).parked
    xref = first.take([by_id(1, entity="project", id="a0", seq="2", project_code="ACME")]).xref
    second = pipeline(*restored(xref, parked))  # the tombstone of the release was not written any more
    second.restored()
    assert keys([second.tick()]) == ["ACME:1"]


def test_what_a_crash_left_waiting_is_released_in_order_of_arrival() -> None:
    """Whatever it waited for, and in whatever order the rows come from the topic."""
    first = pipeline()
    parked = first.take([
        by_id(n, entity="wbs_task", id=f"t{n}", seq="1", project_code={"$ref": ["project", f"a{n}"]}, wbs_code="1")
        for n in range(5)
    ]).parked
    xref = first.take([
        by_id(5 + n, entity="project", id=f"a{n}", seq="2", project_code=f"P{n}") for n in range(5)
    ]).xref
    for order in (1, -1):
        second = pipeline(*restored(xref, dict(list(parked.items())[::order])))
        second.restored()
        frames = [[change.key for change in out.frame.changes] for out in second.tick().frames]
        assert sorted(key for frame in frames for key in frame) == [f"P{n}:1" for n in range(5)]
        assert all(frame == sorted(frame) for frame in frames)


def test_a_row_that_another_process_learned_releases_what_waits_here() -> None:
    ingest = pipeline()
    ingest.take([record("erp", 0, event("coverage.upserted", ERP, "c", {
        "le_code": "UK", "invoice_no": "I", "line_no": 1, "target": "TIME:9"}))])
    ingest.learned("home|time_entry|TIME:9", "ACME")
    assert keys([ingest.tick()]) == ["UK:I:1:TIME:9"]


def restored(xref: dict[str, str], parked: dict[str, Parked | None]) -> tuple[Identity, Parking]:
    """What a process finds that starts after these rows were written."""
    identity, parking = Identity(), Parking()
    for row, value in xref.items():
        identity.restore(row, value)
    for waits in parked.values():
        if waits is not None:
            parking.restore(Parked.from_record(orjson.loads(orjson.dumps(waits.to_record()))))
    return identity, parking


# --- time -----------------------------------------------------------------------------------------------------------


def test_the_log_clock_is_the_largest_timestamp_and_never_goes_back() -> None:
    ingest = pipeline()
    stamps = [ingest.take([record("time", n, entry(n), at_ms=at)]).frames[0].frame.now_us
              for n, at in enumerate((5_000, 9_000, 7_000))]
    assert stamps == [5_000_000, 9_000_000, 9_000_000]


def test_a_watermark_is_stated_for_its_partition_and_never_goes_back() -> None:
    ingest = pipeline()
    batch = ingest.take([record("time", 0, observed(TIME, T0_MS), partition=1),
                         record("time", 1, observed(TIME, T0_MS - 60_000), partition=1)])
    assert {frame.frame.watermarks["time/1"] for frame in batch.frames} == {T0_MS * 1_000}
    assert all("time/0" not in frame.frame.watermarks for frame in batch.frames)


def test_a_heartbeat_holds_only_once_the_data_before_it_is_read() -> None:
    ingest = pipeline()
    beat = record("psa.heartbeat", 0, orjson.dumps({"through": 42}))
    assert "psa/0" not in ingest.take([beat]).frames[0].frame.watermarks
    assert ingest.take([], at_end=["psa/0"]).frames[0].frame.watermarks == {"psa/0": 42}


def test_a_source_that_only_its_events_name_is_as_complete_as_their_topic() -> None:
    ingest = pipeline()
    batch = ingest.take([record("time", 0, event("project.upserted", "TIME/other", "P", {"project_code": "P"}))])
    assert batch.frames[0].frame.sources["TIME/other"] == ["time/0", "time/1"]
    after = pipeline(*restored(batch.xref, {}))  # and this is not forgotten
    assert after.tick().frames[0].frame.sources["TIME/other"] == ["time/0", "time/1"]


def test_a_tick_goes_to_every_partition_and_to_control() -> None:
    frames = pipeline().tick(now_us=5).frames
    assert [(axis, partition, frame.now_us, frame.changes) for axis, partition, frame in frames] == [
        (Axis.PROJECT, 0, 5, ()), (Axis.PROJECT, 1, 5, ()), (Axis.PROJECT, 2, 5, ()),
        (Axis.WORKER, 0, 5, ()), (Axis.WORKER, 1, 5, ()), (Axis.WORKER, 2, 5, ()), (Axis.CONTROL, 0, 5, ())]


def test_a_frame_that_is_full_does_not_state_the_watermark_of_the_changes_behind_it() -> None:
    ingest = pipeline(limits=Limits(changes=2))
    code = {"project_code": "ACME"}
    batch = ingest.take([*(record("time", n, entry(n, **code)) for n in range(5)),
                         record("time", 5, observed(TIME, T0_MS))])
    stated = [(len(frame.changes), "time/0" in frame.watermarks)
              for axis, _, frame in batch.frames if axis is Axis.PROJECT and frame.changes]
    assert stated == [(2, False), (2, False), (1, True)]


def test_large_changes_make_small_frames() -> None:
    ingest = pipeline(limits=Limits(size=3_000))
    batch = ingest.take([record("time", n, entry(n, project_code="ACME", note_hash="x" * 1_000)) for n in range(4)])
    sizes = [sum(len(orjson.dumps(change.to_record())) for change in frame.changes)
             for _, _, frame in batch.frames if frame.changes]
    assert len(sizes) == 2
    assert max(sizes) <= 3_000


# --- properties over any stream of records --------------------------------------------------------------------------

CODES = st.sampled_from(["P1", "P2", "P3", None])
NUMBERS = st.integers(0, 4)


@st.composite
def raw_values(draw: st.DrawFn) -> tuple[str, bytes | None]:
    """A topic and a record of it, good or bad, in any order."""
    number, code, seq = draw(NUMBERS), draw(CODES), str(draw(st.integers(0, 9)))
    kind = draw(st.integers(0, 11))
    erp = {"le_code": "UK", "invoice_no": "I", "line_no": number}
    project = {"$ref": ["project", f"a{number}"]} if code is None else code
    events: list[tuple[str, bytes | None]] = [
        ("time", entry(number, project_code=code, qty_s=60, sequence=seq)),
        ("time", entry(number, qty_s=120, sequence=seq)),
        ("time", observed(TIME, T0_MS + int(seq))),
        ("time", b"{broken"),
        ("erp", None),
        ("erp", event("payment.upserted", ERP, "P", {"payment_no": "P"}, sequence=seq)),
        ("erp", event("project.upserted", ERP, f"P{number}", {"project_code": f"P{number}"}, sequence=seq)),
        ("erp", event("posted_labour.upserted", ERP, str(number), {
            "le_code": "UK", "erp_txn_id": str(number), "origin_ref": f"TIME:{number}",
            **({"project_code": code} if code else {})}, sequence=seq)),
        ("erp", event("coverage.upserted", ERP, f"c{number}", {**erp, "target": f"TIME:{number}"}, sequence=seq)),
        ("psa", orjson.dumps({"entity": "project", "id": f"a{number}", "seq": seq, "project_code": f"P{number}"})),
        ("psa", orjson.dumps({"entity": "wbs_task", "id": f"t{number}", "seq": seq, "project_code": project,
                              "wbs_code": "1"})),
        ("psa", orjson.dumps({"entity": "wbs_task", "id": f"t{number}", "seq": seq, "op": "DELETE"})),
    ]
    return events[kind]


@st.composite
def streams(draw: st.DrawFn) -> list[list[RawRecord]]:
    """Batches of records with contiguous offsets by topic."""
    offsets: Counter[str] = Counter()
    batches: list[list[RawRecord]] = []
    for size in draw(st.lists(st.integers(0, 8), min_size=1, max_size=6)):
        batch = []
        for _ in range(size):
            topic, value = draw(raw_values())
            batch.append(record(topic, offsets[topic], value))
            offsets[topic] += 1
        batches.append(batch)
    return batches


def reached(batches: Iterable[Batch]) -> Counter[str]:
    """How many changes of each source and object were sent; a broadcast one counts once."""
    found: Counter[str] = Counter()
    for partition, changes in sent(batches).items():
        for change in changes:
            if partition == 0 or ENTITIES[change.entity].reach is not Reach.BROADCAST:
                found[f"{change.source}|{change.entity}"] += 1
    return found


@given(streams())
@settings(max_examples=150, deadline=None)
def test_every_record_ends_in_exactly_one_place(batches: list[list[RawRecord]]) -> None:
    ingest = pipeline(limits=Limits(changes=3))
    out = [ingest.take(batch) for batch in batches]
    statements = sum(raw.value is not None and b"source.observed" in raw.value for batch in batches for raw in batch)
    totals = ingest.totals.values()
    rekeyed = sum(change.event_id.endswith("#rekey") for change in sent(out)[0])
    assert sum(map(len, batches)) + rekeyed == sum(total["received"] for total in totals) + statements
    arrived = reached(out)
    for name, total in ingest.totals.items():
        put_aside = total["parked"] + total["filtered"] + total["dead_lettered"]
        assert total["received"] == arrived[name] + put_aside, name
    assert sum(total["parked"] for total in totals) == len(ingest.parking)
    assert sum(total["dead_lettered"] for total in totals) == sum(len(batch.dead_letters) for batch in out)


@given(streams())
@settings(max_examples=100, deadline=None)
def test_all_changes_of_a_record_go_to_one_partition(batches: list[list[RawRecord]]) -> None:
    ingest = pipeline()
    homes: dict[tuple[str, str], set[int]] = defaultdict(set)
    for partition, changes in sent([ingest.take(batch) for batch in batches]).items():
        for change in changes:
            if ENTITIES[change.entity].reach is not Reach.BROADCAST:
                homes[change.entity, change.key].add(partition)
    assert all(len(partitions) == 1 for partitions in homes.values()), homes


@given(streams())
@settings(max_examples=100, deadline=None)
def test_no_watermark_is_ahead_of_the_changes_before_it(batches: list[list[RawRecord]]) -> None:
    ingest = pipeline(limits=Limits(changes=2))
    stated_at: dict[int, int] = {}  # watermark in microseconds -> least offset at which it was first stated
    delivered: dict[int, set[int]] = defaultdict(set)
    waiting: set[int] = set()
    for batch in batches:
        for raw in batch:
            if raw.topic == "time" and raw.value and b"source.observed" in raw.value:
                decoded = CANONICAL.decode(raw)
                stated_at.setdefault(decoded.watermark_us or 0, raw.offset)
        out = ingest.take(batch)
        waiting |= {parked.change.origin[2] for parked in out.parked.values() if parked}
        keyed = {change.origin[2]: partition for partition, changes in sent([out]).items() for change in changes
                 if change.origin[0] == "time"}
        for axis, partition, frame in out.frames:
            delivered[partition] |= {c.origin[2] for c in frame.changes if c.origin[0] == "time"}
            mark = frame.watermarks.get("time/0")
            if axis is Axis.PROJECT and mark is not None:
                before = {offset for offset, home in keyed.items() if home == partition and offset < stated_at[mark]}
                assert before - waiting <= delivered[partition]


@given(streams())
@settings(max_examples=50, deadline=None)
def test_frames_are_numbered_without_gaps(batches: list[list[RawRecord]]) -> None:
    ingest = pipeline(limits=Limits(changes=2))
    numbers: dict[tuple[Axis, int], list[int]] = defaultdict(list)
    for batch in batches:
        for axis, partition, frame in ingest.take(batch).frames:
            numbers[axis, partition].append(frame.number)
    assert all(found == list(range(len(found))) for found in numbers.values())
    assert len(numbers) == 2 * PARTITIONS + 1


@given(streams(), st.data())
@settings(max_examples=100, deadline=None)
def test_a_restart_changes_nothing_in_the_routing(batches: list[list[RawRecord]], data: st.DataObject) -> None:
    """A new process with the rows that are written sends what the old one would have sent, to the same partitions."""
    cut = data.draw(st.integers(0, len(batches)))
    whole = pipeline()
    straight = sent([whole.take(batch) for batch in batches])
    first = pipeline()
    before = [first.take(batch) for batch in batches[:cut]]
    xref: dict[str, str] = {}
    parked: dict[str, Parked | None] = {}
    for batch in before:
        xref |= batch.xref
        parked |= batch.parked
    second = pipeline(*restored(xref, parked))
    second.restored()
    after = [second.take(batch) for batch in batches[cut:]]
    assert named(sent([*before, *after])) == named(straight)


def named(changes: dict[int, list[Change]]) -> dict[int, list[str]]:
    return {partition: [f"{position(change)}→{change.key}" for change in found]
            for partition, found in changes.items() if found}


def test_what_was_read_is_tallied_by_stretch_on_the_control_axis_only() -> None:
    ingest = pipeline()
    first = ingest.take([record("time", 0, entry(1, project_code="A")), record("time", 1, entry(2, project_code="A"))])
    second = ingest.take([record("time", 2, b"{")])
    assert all(not frame.tallies for axis, _, frame in first.frames if axis is Axis.PROJECT)
    assert _control(first) == [Tally("time/0", 0, 2, 0, {
        "TIME/kimai|time_entry": {"received": 2, "last_event_us": T0_MS * 1_000}})]
    assert _control(second) == [Tally("time/0", 2, 3, 0, {"TIME/kimai|unknown": {"received": 1, "dead_lettered": 1}})]
    assert _control(ingest.tick()) == []  # nothing new to say
    ingest.committed({("time", 0): 3})
    assert _control(ingest.take([record("time", 3, entry(1, qty_s=60))])) == [Tally("time/0", 3, 4, 3, {
        "TIME/kimai|time_entry": {"received": 1, "last_event_us": T0_MS * 1_000}}, {}, {
        "TIME/kimai|time_entry": {T0_MS // 3_600_000: {60: 1}}})]


def _control(batch: Batch) -> list[Tally]:
    return [tally for axis, _, frame in batch.frames if axis is Axis.CONTROL for tally in frame.tallies]
