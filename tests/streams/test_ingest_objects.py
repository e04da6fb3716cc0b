"""What ingest does with gaps, truncates and re-reads, and what it tells the control axis of what it could not read."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from ingest_records import T0_MS, ByIdCodec, event, record

from tieout.codecs.errors import DecodeError
from tieout.codecs.formats import codec
from tieout.codecs.records import Decoded, RawRecord
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.lost import LETTER, OVER, is_of_letter
from tieout.reconcilers.rules.platform import DEAD_LETTER
from tieout.streams.deadletters import REPLAYED_FROM
from tieout.streams.identity import Identity
from tieout.streams.parking import Parking
from tieout.streams.pipeline import Batch, Pipeline, Reading

READS = frozenset({"project", "time_entry", "wbs_task", "assignment"})
TIME, PSA = "TIME/kimai", "PSA/certinia"
PARTITIONS = 3


class Refusing:
    """Reads nothing: the schema is not the one that was agreed."""

    def decode(self, raw: RawRecord) -> Decoded:
        error = DecodeError("a column is gone")
        error.schema_break = True  # type: ignore[misc]  # as its subclasses say
        raise error


def pipeline(identity: Identity | None = None, parking: Parking | None = None) -> Pipeline:
    readings = {"time": Reading(codec("canonical", {}), TIME), "psa": Reading(ByIdCodec(PSA), PSA, by_id=True),
                "refused": Reading(Refusing(), TIME, entity="time_entry")}
    return Pipeline(readings, sources={TIME: ["time/0"], PSA: ["psa/0"]}, partitions=PARTITIONS, producer="p",
                    reads=READS, identity=identity, parking=parking)


_offsets = {"time": 0, "psa": 0}


def canonical(kind: str, subject: str, seq: int, after_ms: int = 0, **data: Any) -> RawRecord:
    _offsets["time"] += 1
    made = event(kind, TIME, subject, data, at_ms=T0_MS + after_ms, sequence=f"{seq:06d}")
    return record("time", _offsets["time"], made)


def by_id(after_ms: int = 0, **row: Any) -> RawRecord:
    _offsets["psa"] += 1
    return record("psa", _offsets["psa"], orjson.dumps(row), at_ms=T0_MS + after_ms)


def entry(number: int, seq: int, **data: Any) -> RawRecord:
    return canonical("time_entry.upserted", str(number), seq, origin_system="TIME", origin_id=str(number), **data)


def sent(batch: Batch) -> dict[tuple[str, int], list[tuple[str, str, str, str]]]:
    """Operation, entity, key and subject of the changes, by axis and partition, where there are any.

    The worker axis aside, which has a part of what the project axis has.
    """
    found: dict[tuple[str, int], list[tuple[str, str, str, str]]] = {}
    for axis, partition, frame in batch.frames:
        for change in frame.changes if axis is not Axis.WORKER else ():
            found.setdefault((axis.value, partition), []).append(
                (change.op.value, change.entity, change.key, change.subject))
    return found


def everywhere(*changes: tuple[str, str, str, str]) -> dict[tuple[str, int], list[tuple[str, str, str, str]]]:
    """The same changes on every project partition and on the control axis."""
    places = [*(("project", number) for number in range(PARTITIONS)), ("control", 0)]
    return {place: list(changes) for place in places}


@pytest.mark.parametrize(("kind", "op"), [("gap", "GAP"), ("truncated", "TRUNCATE"), ("snapshot", "SNAPSHOT")])
def test_what_happens_to_an_object_is_told_to_every_partition_and_to_control(kind: str, op: str) -> None:
    batch = pipeline().take([canonical(f"time_entry.{kind}", "", 1)])
    assert sent(batch) == everywhere((op, "time_entry", "", ""))


def test_an_object_that_no_rule_reads_concerns_control_alone() -> None:
    ingest = pipeline()
    assert sent(ingest.take([canonical("fx_rate.gap", "", 1)])) == {("control", 0): [("GAP", "fx_rate", "", "")]}
    assert dict(ingest.totals["TIME/kimai|fx_rate"]) == {
        "received": 1, "filtered": 1, "last_event_us": T0_MS * 1_000}


def test_a_gap_of_a_record_goes_to_its_home_and_its_end_is_told_to_all() -> None:
    ingest = pipeline()
    [home] = [place for place in sent(ingest.take([entry(1, 1, project_code="ACME")])) if place[0] == "project"]
    gap = canonical("time_entry.gap", "1", 2, origin_system="TIME", origin_id="1")
    lost = ("GAP", "time_entry", "TIME:1", "1")
    assert sent(ingest.take([gap])) == {home: [lost], ("control", 0): [lost]}
    read = ("SNAPSHOT", "time_entry", "", "1")
    found = sent(ingest.take([entry(1, 3, qty_s=60)]))
    assert found == everywhere(read) | {home: [("UPSERT", "time_entry", "TIME:1", "1"), read]}


@pytest.mark.parametrize("gap", [
    canonical("time_entry.gap", "7", 1, origin_system="TIME", origin_id="7"),  # nobody has seen it: it has no home
    canonical("time_entry.gap", "7", 1),  # nobody knows its key
])
def test_a_gap_of_a_record_that_nobody_has_seen_makes_everybody_wait(gap: RawRecord) -> None:
    ingest = pipeline()
    batch = ingest.take([gap])
    assert sent(batch)["project", 0] == [("GAP", "time_entry", "", "7")]
    assert {place for place, _ in sent(batch)} == {"project", "control"}
    assert len(sent(batch)) == PARTITIONS + 1
    assert not batch.parked
    found = sent(ingest.take([entry(7, 2, project_code="ACME")]))
    assert all(changes[-1] == ("SNAPSHOT", "time_entry", "", "7") for changes in found.values())
    assert len(found) == PARTITIONS + 1


def test_a_gap_by_id_finds_the_key_and_does_not_wait_for_it() -> None:
    ingest = pipeline()
    ingest.take([by_id(entity="project", id="a0", seq="1", project_code="ACME")])
    lost = ("GAP", "project", "ACME", "a0")
    assert sent(ingest.take([by_id(entity="project", id="a0", op="GAP", seq="2")])) == everywhere(lost)
    unknown = ingest.take([by_id(entity="project", id="a1", op="GAP", seq="3")])
    assert sent(unknown) == everywhere(("GAP", "project", "", "a1"))
    assert not unknown.parked


def test_a_row_of_a_snapshot_without_its_key_is_not_the_end_of_the_re_read() -> None:
    ingest = pipeline()
    ingest.take([by_id(entity="project", id="a0", seq="1", project_code="ACME")])
    found = sent(ingest.take([by_id(entity="project", id="a0", op="SNAPSHOT", seq="2", name="x")]))
    assert found == {("project", number): [("SNAPSHOT", "project", "ACME", "a0")] for number in range(PARTITIONS)}


def test_a_process_that_starts_later_knows_which_records_were_lost() -> None:
    first = pipeline()
    rows = first.take([by_id(entity="project", id="a0", seq="1", project_code="ACME"),
                       by_id(entity="project", id="a0", op="GAP", seq="2")]).xref
    second = pipeline(Identity(dict(rows)))
    found = sent(second.take([by_id(entity="project", id="a0", seq="3", project_code="ACME")]))
    assert found["control", 0] == [("SNAPSHOT", "project", "", "a0")]


ORDERS: list[tuple[list[tuple[str, int, int]], bool]] = [  # operation, token, commit in ms: did the order go back?
    ([("upserted", 5, 0), ("upserted", 6, 10)], False),
    ([("upserted", 5, 0), ("upserted", 4, 10)], True),
    ([("upserted", 5, 10), ("upserted", 4, 10)], False),  # equal instants order nothing
    ([("upserted", 5, 10), ("upserted", 4, 0)], False),  # delivered again
    ([("upserted", 5, 0), ("snapshot", 4, 10)], False),  # read again, from before
    ([("upserted", 5, 0), ("deleted", 4, 10)], True),
]


@pytest.mark.parametrize(("changes", "expected"), ORDERS)
def test_a_token_that_goes_back_while_time_goes_on_is_a_gap_of_the_order(
        changes: list[tuple[str, int, int]], expected: bool) -> None:
    ingest = pipeline()
    batch = ingest.take([canonical(f"time_entry.{op}", "1", seq, at_ms, origin_system="TIME", origin_id="1",
                                   project_code="ACME") for op, seq, at_ms in changes])
    assert (("GAP", "time_entry", "", "#order") in sent(batch).get(("control", 0), [])) is expected
    assert all(key for place, found in sent(batch).items() if place[0] == "project" for _, _, key, _ in found)


def test_an_order_that_goes_back_is_told_once_until_the_object_is_read_again() -> None:
    ingest = pipeline()

    def told(*records: RawRecord) -> int:
        return sum(change[3] == "#order" for change in sent(ingest.take(records)).get(("control", 0), []))

    def version(seq: int, at_ms: int) -> RawRecord:
        return canonical("time_entry.upserted", "1", seq, at_ms, origin_system="TIME", origin_id="1", project_code="A")

    assert told(version(9, 0), version(5, 10), version(4, 20)) == 1
    assert told(canonical("time_entry.snapshot", "", 10, 30)) == 0
    assert told(version(3, 40)) == 1


# -- dead letters ------------------------------------------------------------------------------------


def letters(batch: Batch) -> list[tuple[str, str, bool | None]]:
    return [(change.op.value, change.key, change.asserted.get("schema"))
            for axis, _, frame in batch.frames if axis is Axis.CONTROL for change in frame.changes
            if change.entity == DEAD_LETTER]


def test_control_is_told_what_could_not_be_read_and_whether_the_schema_is_to_blame() -> None:
    batch = pipeline().take([record("refused", 3, b"x"), record("time", 900, b"{")])
    assert letters(batch) == [("UPSERT", "refused/0/3", True), ("UPSERT", "time/0/900", False)]


def test_control_is_told_that_a_letter_was_sent_once_more_and_whether_in_vain() -> None:
    again = record("refused", 9, b"x")._replace(headers=((REPLAYED_FROM, b"refused/0/3"),))
    assert letters(pipeline().take([again])) == [
        ("UPSERT", "refused/0/9", True), ("DELETE", "refused/0/3", None)]


@pytest.mark.parametrize(("qty_s", "refused"), [(90_000, False), (90_001, True), (-90_001, True), (None, False)])
def test_an_entry_longer_than_any_day_is_put_aside_and_still_sampled(qty_s: int | None, refused: bool) -> None:
    batch = pipeline().take([entry(1, 1, project_code="A", qty_s=qty_s)])
    assert [letter.reason for letter in batch.dead_letters] == ["implausible_quantity"] * refused
    [change] = [change for axis, _, frame in batch.frames if axis is Axis.PROJECT for change in frame.changes]
    assert (change.op.value, "qty_s" in change.asserted) == (("GAP", False) if refused else ("UPSERT", True))
    [tally] = [tally for axis, _, frame in batch.frames for tally in frame.tallies]
    assert list(tally.quantities.values()) == ([{T0_MS // 3_600_000: {qty_s: 1}}] if qty_s else [])


# -- what a dead letter makes unknown ------------------------------------------------------------------------------


def broken(number: int, seq: int, **data: Any) -> RawRecord:
    """An entry whose quantity is no number."""
    return entry(number, seq, qty_s="much", **data)


def told(batch: Batch) -> list[tuple[int, str, str, bool]]:
    """Gaps of dead letters: partition, key, letter and whether it is over."""
    return [(partition, change.key, change.asserted[LETTER], OVER in change.asserted)
            for axis, partition, frame in batch.frames if axis is Axis.PROJECT for change in frame.changes
            if is_of_letter(change)]


def again(raw: RawRecord, letter: RawRecord) -> RawRecord:
    """The record as `tieout dlq replay` sends it for the letter."""
    return raw._replace(headers=((REPLAYED_FROM, f"time/0/{letter.offset}".encode()),))


def origin_of(raw: RawRecord) -> str:
    return f"{raw.topic}/{raw.partition}/{raw.offset}"


def home(ingest: Pipeline, number: int) -> int:
    [(_, partition)] = [place for place in sent(ingest.take([entry(number, 1, project_code="ACME")]))
                        if place[0] == "project"]
    return partition


def test_a_record_that_cannot_be_read_makes_what_it_is_about_unknown_at_its_home() -> None:
    ingest, letter = pipeline(), broken(1, 2)
    at = home(ingest, 1)
    batch = ingest.take([letter])
    assert told(batch) == [(at, "TIME:1", origin_of(letter), False)]
    assert ("control", 0) not in {place for place, found in sent(batch).items() for op, *_ in found if op == "GAP"}
    assert ingest.totals[f"{TIME}|time_entry"]["dead_lettered"] == 1


@pytest.mark.parametrize("value", [b"{", b'{"type": 3}', broken(1, 2).value[:-1]])  # type: ignore[index]
def test_where_nobody_can_tell_which_record_it_is_nothing_becomes_unknown(value: bytes) -> None:
    ingest = pipeline()
    home(ingest, 1)
    batch = ingest.take([record("time", 901, value)])
    assert len(batch.dead_letters) == 1
    assert told(batch) == []


def test_the_gap_of_a_record_that_nobody_has_seen_waits_for_its_home_and_is_not_counted_as_parked() -> None:
    ingest, letter = pipeline(), broken(1, 1)
    batch = ingest.take([letter])
    assert told(batch) == []
    assert len(ingest.parking) == 1
    [tally] = [tally for axis, _, frame in batch.frames for tally in frame.tallies]
    assert tally.waiting == {}
    found = told(ingest.take([entry(1, 2, project_code="ACME")]))
    assert [(key, origin, over) for _, key, origin, over in found] == [("TIME:1", origin_of(letter), False)]
    assert ingest.totals[f"{TIME}|time_entry"].get("parked", 0) == 0


def test_a_letter_that_names_the_home_of_its_record_goes_there_at_once() -> None:
    ingest, letter = pipeline(), broken(1, 1, project_code="ACME")
    [(at, *_)] = told(ingest.take([letter]))
    assert at == home(ingest, 1)


def test_a_replay_ends_it_after_the_record_that_was_read() -> None:
    ingest, letter = pipeline(), broken(1, 2)
    home(ingest, 1)
    ingest.take([letter])
    batch = ingest.take([again(entry(1, 2, qty_s=60), letter)])
    changes = [change for axis, _, frame in batch.frames if axis is Axis.PROJECT for change in frame.changes]
    assert [(change.op.value, OVER in change.asserted) for change in changes] == [("UPSERT", False), ("GAP", True)]


def test_a_replay_in_vain_goes_on_under_another_name() -> None:
    ingest, letter = pipeline(), broken(1, 2)
    home(ingest, 1)
    ingest.take([letter])
    second = again(broken(1, 2), letter)
    assert [(origin, over) for _, _, origin, over in told(ingest.take([second]))] == [
        (origin_of(second), False), (origin_of(letter), True)]


def test_a_drop_ends_it_also_for_a_process_that_starts_later() -> None:
    first, letter = pipeline(), broken(1, 2)
    at = home(first, 1)
    rows = {**first.identity.rows, **first.take([letter]).xref}
    for ingest in (first, pipeline(Identity(dict(rows)))):
        ingest.dropped(origin_of(letter))
        batch = ingest.tick()
        assert told(batch) == [(at, "TIME:1", origin_of(letter), True)]
        assert letters(batch) == [("DELETE", origin_of(letter), None)]


def test_a_drop_of_what_waits_ends_the_wait() -> None:
    ingest, letter = pipeline(), broken(1, 1)
    [name] = ingest.take([letter]).parked
    ingest.dropped(origin_of(letter))
    assert ingest.tick().parked == {name: None}
    assert told(ingest.take([entry(1, 2, project_code="ACME")])) == []


def test_what_a_crash_repeats_says_the_same() -> None:
    ingest, letter = pipeline(), broken(1, 2)
    home(ingest, 1)
    assert told(ingest.take([letter])) == told(ingest.take([letter]))


# -- counts ------------------------------------------------------------------------------------------


def test_what_a_crash_left_waiting_is_counted_as_waiting_once() -> None:
    """The record that is parked is read again by the next process: it is neither filtered nor parked twice."""
    waiting = by_id(entity="wbs_task", id="t1", seq="1", project_code={"$ref": ["project", "a9"]}, wbs_code="1")
    first = pipeline().take([waiting])
    parking = Parking()
    for parked in first.parked.values():
        assert parked is not None
        parking.restore(parked)
    second = pipeline(parking=parking).take([waiting])
    tallies = [[tally for axis, _, frame in batch.frames for tally in frame.tallies] for batch in (first, second)]
    assert tallies[0] == tallies[1]
    [tally] = tallies[1]
    assert (tally.waiting, tally.fates["PSA/certinia|wbs_task"]["received"]) == ({"PSA/certinia|wbs_task": 1}, 1)


def test_a_release_moves_the_counts_of_the_partition_that_waited() -> None:
    ingest = pipeline()
    ingest.take([by_id(entity="wbs_task", id="t1", seq="1", project_code={"$ref": ["project", "a9"]}, wbs_code="1")])
    batch = ingest.take([by_id(entity="project", id="a9", seq="2", project_code="ACME")])
    [tally] = [tally for axis, _, frame in batch.frames for tally in frame.tallies]
    assert (tally.part, tally.waiting) == ("psa/0", {})
