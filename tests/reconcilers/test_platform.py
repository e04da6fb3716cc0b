"""Checks 42 and 43, which follow from what ingest tells the control axis; and counts that a crash does not change."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count, pairwise
from typing import Any

import orjson
import pytest
from firm import us
from hypothesis import given, settings
from hypothesis import strategies as st

from tieout.reconcilers.changes import Change, Frame, Op
from tieout.reconcilers.drift import ENOUGH_ROWS, KEPT_HOURS, judge, median
from tieout.reconcilers.engine import State, apply, settle
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.objects import ORDER
from tieout.reconcilers.outcomes import Outcome, Output
from tieout.reconcilers.policy import Policy
from tieout.reconcilers.rules.platform import DEAD_LETTER
from tieout.reconcilers.symbols import SYMBOL
from tieout.reconcilers.tallies import HOUR_US, Ledger, Tally

TIME, PSA = "TIME/kimai", "PSA/certinia"
NOON = us("2026-03-10T12:00:00Z")
HOUR = NOON // HOUR_US


def at(text: str) -> int:
    return us(f"2026-03-10T{text}:00Z")


def of(op: Op, when: str, subject: str = "", entity: str = "time_entry", source: str = PSA) -> Change:
    """An operation on an object or a gap of a record, as ingest sends it to the control axis."""
    key = f"TIME:{subject}" if subject and op is Op.GAP and subject != ORDER else ""
    return Change(entity, key, op, source, subject, at(when), f"{at(when):020d}{op}{subject}")


def letter(offset: int, op: Op = Op.UPSERT, *, schema: bool = True, when: str = "10:00", topic: str = "time") -> Change:
    said: dict[str, Any] = {"schema": schema, "reason": "column_missing"} if op is Op.UPSERT else {}
    return Change(DEAD_LETTER, f"{topic}/0/{offset}", op, TIME, "time_entry", at(when), f"{offset:020d}", said)


def rows(first: int, qty: dict[int, int], hour: int = HOUR, source: str = TIME, entity: str = "time_entry") -> Tally:
    """A stretch with so many rows by quantity in one hour."""
    end = first + sum(qty.values())
    place = f"{source}|{entity}"
    return Tally("time/0", first, end, 0, {place: {"received": end - first}}, {}, {place: {hour: qty}})


class Control:
    """The control axis, restarted from its changelog before every frame if so asked."""

    def __init__(self, restarts: bool = False) -> None:
        self.state, self.restarts = State(Axis.CONTROL, 0, 1, Policy()), restarts
        self.tables: dict[tuple[str, str], Any] = {}
        self.outcomes: list[Outcome] = []
        self._numbers = count()

    def take(self, *changes: Change, now: str = "12:00", tallies: Iterable[Tally] = (), producer: str = "p") -> Control:
        if self.restarts:
            self._restart()
        frame = Frame(producer, next(self._numbers), at(now), changes, tallies=tuple(tallies))
        frame = Frame.from_record(orjson.loads(orjson.dumps(frame.to_record())))
        self.outcomes += apply(self.state, frame) + settle(self.state)
        return self

    def _restart(self) -> None:
        for table, key, value in self.state.drain():
            self.tables[table, key] = orjson.loads(orjson.dumps(value))
        self.state = State(Axis.CONTROL, 0, 1, Policy())
        for (table, key), value in orjson.loads(orjson.dumps(list(self.tables.items()))):
            if value is not None:
                self.state.restore(table, key, value)
        self.state.restored()

    def rows(self, output: Output = Output.FINDING_STATE) -> list[dict[str, Any]]:
        found = {outcome.key: dict(outcome.row or {}) for outcome in self.outcomes if outcome.output is output}
        return [found[key] for key in sorted(found)]

    def found(self) -> list[tuple[Any, ...]]:
        """Code, facet, key, status, number and names of what it is about, onset."""
        return sorted((row["code"], row["facet"] or "", row["business_key"], row["status"], row["entries_count"],
                       row["entries"], row["onset_at"]) for row in self.rows())

    def counted(self, source: str = TIME, name: str = "time_entry") -> dict[str, int]:
        [row] = [row for row in self.rows(Output.SOURCE_STATE) if (row["source"], row["object"]) == (source, name)]
        return {fate: row[fate] for fate in ("received", "parked", "filtered", "dead_lettered") if row[fate]}


GAP = ("CDC_GAP", "", f"{PSA}|time_entry")
BROKEN = ("SCHEMA_INCOMPATIBLE", "", f"{TIME}|time_entry")
DRIFT = ("SCHEMA_INCOMPATIBLE", "SEMANTIC", f"{TIME}|time_entry")

# 42: what ingest sent, frame by frame                                           findings after the last one
GAPS: list[tuple[list[list[Change]], list[tuple[Any, ...]]]] = [
    ([[of(Op.SNAPSHOT, "10:00")]], []),  # the end of a first snapshot
    ([[of(Op.TRUNCATE, "10:00")]], []),  # emptied, not lost
    ([[of(Op.GAP, "10:00")]], [(*GAP, "OPEN", 1, "*", at("10:00"))]),
    ([[of(Op.GAP, "10:00")], [of(Op.TRUNCATE, "10:30")]], [(*GAP, "OPEN", 1, "*", at("10:00"))]),
    ([[of(Op.GAP, "10:00")], [of(Op.SNAPSHOT, "09:00")]], [(*GAP, "OPEN", 1, "*", at("10:00"))]),  # read before
    ([[of(Op.GAP, "10:00")], [of(Op.SNAPSHOT, "10:00")]], [(*GAP, "OPEN", 1, "*", at("10:00"))]),  # not after it
    ([[of(Op.GAP, "10:00")], [of(Op.SNAPSHOT, "10:40", entity="project")]], [(*GAP, "OPEN", 1, "*", at("10:00"))]),
    ([[of(Op.GAP, "10:00")], [of(Op.SNAPSHOT, "10:40")]], [(*GAP, "RESOLVED_AUTO", 1, "*", at("10:00"))]),
    ([[of(Op.SNAPSHOT, "10:40")], [of(Op.GAP, "10:00")]], [(*GAP, "RESOLVED_AUTO", 1, "*", at("10:00"))]),
    ([[of(Op.GAP, "10:00"), of(Op.SNAPSHOT, "10:40")]], [(*GAP, "RESOLVED_AUTO", 1, "*", at("10:00"))]),
    ([[of(Op.GAP, "10:00", "a"), of(Op.GAP, "10:01", "b")]], [(*GAP, "OPEN", 2, "a|b", at("10:00"))]),
    ([[of(Op.GAP, "10:00", "a"), of(Op.GAP, "10:00", "a")]], [(*GAP, "OPEN", 1, "a", at("10:00"))]),  # repeated
    ([[of(Op.GAP, "10:00", "a"), of(Op.GAP, "10:01", "b")], [of(Op.SNAPSHOT, "10:05", "a")]],
     [(*GAP, "OPEN", 1, "b", at("10:01"))]),
    ([[of(Op.GAP, "10:00", "a")], [of(Op.SNAPSHOT, "09:59", "a")]], [(*GAP, "OPEN", 1, "a", at("10:00"))]),
    ([[of(Op.GAP, "10:00", "a")], [of(Op.SNAPSHOT, "10:05", "a")]], [(*GAP, "RESOLVED_AUTO", 1, "a", at("10:00"))]),
    ([[of(Op.GAP, "10:00", "a")], [of(Op.SNAPSHOT, "10:05")]], [(*GAP, "RESOLVED_AUTO", 1, "a", at("10:00"))]),
    ([[of(Op.GAP, "10:00")], [of(Op.SNAPSHOT, "10:05", "a")]], [(*GAP, "OPEN", 1, "*", at("10:00"))]),
    ([[of(Op.GAP, "10:00", ORDER)]], [(*GAP, "OPEN", 1, "*", at("10:00"))]),  # the order went back
    ([[of(Op.GAP, "10:00", ORDER)], [of(Op.SNAPSHOT, "11:00")]], [(*GAP, "RESOLVED_AUTO", 1, "*", at("10:00"))]),
    ([[of(Op.GAP, "10:00", entity="fx_rate")]], [("CDC_GAP", "", f"{PSA}|fx_rate", "OPEN", 1, "*", at("10:00"))]),
]


@pytest.mark.parametrize("restarts", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize(("frames", "expected"), GAPS)
def test_42_opens_while_something_is_unknown(frames: list[list[Change]], expected: list[tuple[Any, ...]],
                                             restarts: bool) -> None:
    control = Control(restarts)
    for changes in frames:
        control.take(*changes)
    assert control.found() == expected


def test_42_says_how_long_it_took_and_who_has_to_act() -> None:
    control = Control().take(of(Op.GAP, "10:00", "a"), now="10:00").take(of(Op.SNAPSHOT, "10:02", "a"), now="10:03")
    [row] = control.rows()
    assert (row["queue"], row["severity"], row["deadline_at"], row["opened_at"]) == (
        "platform.global", "HIGH", at("10:00"), at("10:00"))
    assert (row["resolved_at"], row["resolution"]) == (at("10:02"), "it has been read again")
    steps = [row["step"] for output, _, row in control.outcomes if output is Output.FINDING_EVENTS and row]
    assert steps == ["OPENED", "RESOLVED_AUTO"]


# 43: dead letters, frame by frame                                        findings after the last one
LETTERS: list[tuple[list[list[Change]], list[tuple[Any, ...]]]] = [
    ([[letter(1, schema=False)]], []),  # the record was wrong, not the schema
    ([[letter(1)]], [(*BROKEN, "OPEN", 1, "time/0/1", at("10:00"))]),
    ([[letter(1), letter(1)], [letter(1)]], [(*BROKEN, "OPEN", 1, "time/0/1", at("10:00"))]),  # read again
    ([[letter(1, when="10:30"), letter(2)]], [(*BROKEN, "OPEN", 2, "time/0/1|time/0/2", at("10:00"))]),
    ([[letter(1), letter(2)], [letter(1, Op.DELETE)]], [(*BROKEN, "OPEN", 1, "time/0/2", at("10:00"))]),
    ([[letter(1)], [letter(7, Op.DELETE)]], [(*BROKEN, "OPEN", 1, "time/0/1", at("10:00"))]),
    ([[letter(1)], [letter(1, Op.DELETE)]], [(*BROKEN, "RESOLVED_AUTO", 1, "time/0/1", at("10:00"))]),
    ([[letter(1)], [letter(1, Op.DELETE), letter(9)]], [(*BROKEN, "OPEN", 1, "time/0/9", at("10:00"))]),  # in vain
    ([[letter(1, Op.DELETE)]], []),
    ([[letter(1), letter(1, Op.DELETE)]], [(*BROKEN, "RESOLVED_AUTO", 1, "time/0/1", at("10:00"))]),  # in one batch
    ([[letter(1)], [letter(1, Op.DELETE)], [letter(1)]], [(*BROKEN, "RESOLVED_AUTO", 1, "time/0/1", at("10:00"))]),
]


@pytest.mark.parametrize("restarts", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize(("frames", "expected"), LETTERS)
def test_43_opens_while_records_cannot_be_read(frames: list[list[Change]], expected: list[tuple[Any, ...]],
                                               restarts: bool) -> None:
    control = Control(restarts)
    for changes in frames:
        control.take(*changes)
    assert control.found() == expected


def symbol(key: str, fields: str = "state", when: str = "10:00") -> Change:
    """A record with unknown symbols in these fields, or, without any, with none left."""
    op, said = (Op.UPSERT, {"fields": fields}) if fields else (Op.DELETE, {})
    return Change(SYMBOL, key, op, TIME, "time_entry", at(when), f"{at(when):020d}", said)


def emptied(when: str) -> Change:
    return of(Op.TRUNCATE, when, source=TIME)


STRANGE = ("SCHEMA_INCOMPATIBLE", "ENUM", f"{TIME}|time_entry")

# 43: unknown symbols, frame by frame                                     findings after the last one
SYMBOLS: list[tuple[list[list[Change]], list[tuple[Any, ...]]]] = [
    ([[symbol("1")]], [(*STRANGE, "OPEN", 1, "1", at("10:00"))]),
    ([[symbol("1"), symbol("1")], [symbol("1")]], [(*STRANGE, "OPEN", 1, "1", at("10:00"))]),
    ([[symbol("1", when="10:30"), symbol("2")]], [(*STRANGE, "OPEN", 2, "1|2", at("10:00"))]),
    ([[symbol("1")], [symbol("1", when="11:00")]], [(*STRANGE, "OPEN", 1, "1", at("10:00"))]),  # it still is
    ([[symbol("1"), symbol("2")], [symbol("1", "")]], [(*STRANGE, "OPEN", 1, "2", at("10:00"))]),
    ([[symbol("1")], [symbol("1", "")]], [(*STRANGE, "RESOLVED_AUTO", 1, "1", at("10:00"))]),
    ([[symbol("1"), symbol("1", "")]], [(*STRANGE, "RESOLVED_AUTO", 1, "1", at("10:00"))]),  # in one batch
    ([[symbol("1")], [symbol("1", "")], [symbol("3", when="11:00")]], [(*STRANGE, "OPEN", 1, "3", at("11:00"))]),
    ([[symbol("1", "")]], []),
    ([[symbol("1")], [emptied("10:30")]], [(*STRANGE, "RESOLVED_AUTO", 1, "1", at("10:00"))]),
    ([[symbol("1", when="11:00")], [emptied("10:30")]], [(*STRANGE, "OPEN", 1, "1", at("11:00"))]),
    ([[symbol("1")], [symbol("1", when="11:00")], [emptied("10:30")]], [(*STRANGE, "OPEN", 1, "1", at("10:00"))]),
]


@pytest.mark.parametrize("restarts", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize(("frames", "expected"), SYMBOLS)
def test_43_opens_while_symbols_are_unknown(frames: list[list[Change]], expected: list[tuple[Any, ...]],
                                            restarts: bool) -> None:
    control = Control(restarts)
    for changes in frames:
        control.take(*changes)
    assert control.found() == expected


@pytest.mark.parametrize("ends", [
    [[symbol("1", "", "10:20"), symbol("2", "", "10:40")]],
    [[symbol("1", "", "10:20")], [symbol("2", "", "10:40")]],
    [[symbol("2", "", "10:40")], [symbol("1", "", "10:20")]],
    [[symbol("2", "", "10:40")], [emptied("10:20")]],
])
def test_43_is_over_with_the_last_commit_that_ends_one(ends: list[list[Change]]) -> None:
    """Whenever it was read, and in which order: else a stream would say another instant than its replay."""
    control = Control().take(symbol("1"), symbol("2"))
    for changes in ends:
        control.take(*changes)
    [row] = control.rows()
    assert (row["status"], row["resolved_at"]) == ("RESOLVED_AUTO", at("10:40"))


def test_43_names_the_fields_with_unknown_symbols() -> None:
    [row] = Control().take(symbol("1", "state|time_type"), symbol("2")).rows()
    assert "time_entry from TIME/kimai: 2 records have a symbol in state, time_type" in row["explanation"]
    assert (row["attribute"], row["impact_s"], row["queue"]) == ("state|time_type", 0, "platform.global")


def test_43_values_what_it_cannot_read_by_the_mean_of_what_it_can() -> None:
    control = Control().take(tallies=[rows(0, {27_000: 3, 13_500: 1})])
    [row] = control.take(*(letter(offset) for offset in range(10, 422))).rows()
    assert (row["entries_count"], row["impact_s"], row["estimated"]) == (412, 412 * 23_625, True)
    assert "412 records of time_entry from TIME/kimai cannot be read" in row["explanation"]
    assert len(row["entries"].split("|")) == 50


@pytest.mark.parametrize("restarts", [False, True], ids=["running", "restarted"])
def test_43_values_what_came_before_anything_could_be_read(restarts: bool) -> None:
    """A source whose first records cannot be read: they are valued when its first quantities come, and then once."""
    control = Control(restarts).take(letter(1), letter(2))
    assert [(row["impact_s"], row["estimated"]) for row in control.rows()] == [(0, False)]
    control.take(tallies=[rows(0, {27_000: 3})])
    assert [(row["impact_s"], row["estimated"]) for row in control.rows()] == [(54_000, True)]
    published = len(control.outcomes)
    control.take(tallies=[rows(3, {13_500: 3})])
    assert not [out for out in control.outcomes[published:] if out.output is Output.FINDING_STATE]


NORMAL, MINUTES = {27_000: 150, 13_500: 50}, {27_000 * 60: 250}

# quantities by hour                                                      hour of the drift, if it drifted
DRIFTS: list[tuple[list[dict[int, int]], int | None]] = [
    ([NORMAL], None),
    ([NORMAL, NORMAL], None),
    ([NORMAL, {54_000: 200}], 1),  # twice
    ([NORMAL, {13_500: 200}], 1),  # half
    ([NORMAL, {13_501: 200}], None),
    ([NORMAL, {53_999: 200}], None),
    ([NORMAL, {54_000: 199}], None),  # too few rows
    ([NORMAL, {450: 300}], 1),  # seconds that are minutes
    ([NORMAL, {54_000: 100, 27_000: 101}], None),  # half of the rows and one
    ([NORMAL, {-27_000: 300, 54_000: 1}], None),  # corrections have no size
    ([{27_000: 30}, {54_000: 300}], None),  # nothing to measure by
    ([{27_000: 50}, {54_000: 300}], 1),
    ([MINUTES], 0),  # longer than any day: no measure is needed
    ([NORMAL, {54_000: 200}, NORMAL], None),  # over again
    ([NORMAL, {54_000: 200}, {54_000: 200}], 2),  # what drifted is no measure
    ([NORMAL, {54_000: 200}, {27_000: 10}], 1),  # too few rows say nothing
    ([NORMAL, {54_000: 200}, {54_000: 199}, {54_000: 199}, {54_000: 200}], 4),  # nor are they a measure by then
]


@pytest.mark.parametrize(("hours", "expected"), DRIFTS)
def test_the_drift_detector_compares_medians(hours: list[dict[int, int]], expected: int | None) -> None:
    found = judge(dict(enumerate(hours)))
    assert (found.drifted.hour if found and found.drifted else None) == expected


@pytest.mark.parametrize("restarts", [False, True], ids=["running", "restarted"])
def test_43_opens_on_drift_and_closes_when_quantities_are_as_before(restarts: bool) -> None:
    control = Control(restarts).take(tallies=[rows(0, NORMAL)])
    assert control.found() == []
    control.take(tallies=[rows(200, MINUTES, HOUR + 1)])
    assert control.found() == [(*DRIFT, "OPEN", 250, "*", (HOUR + 1) * HOUR_US)]
    [row] = control.rows()
    assert (row["left_value"], row["right_value"], row["attribute"]) == ("450.00 h", "7.50 h", "qty_s")
    control.take(tallies=[rows(450, NORMAL, HOUR + 2)])
    assert [row["status"] for row in control.rows()] == ["RESOLVED_AUTO"]


@pytest.mark.parametrize(("quantities", "said"), [
    (MINUTES, "about 60 times the usual 7.50 h"), ({450: 300}, "about 1/60 of the usual 7.50 h"),
    ({54_000: 200}, "about 2 times the usual 7.50 h"),
])
def test_43_says_by_what_factor_a_unit_moved(quantities: dict[int, int], said: str) -> None:
    control = Control().take(tallies=[rows(0, NORMAL)]).take(tallies=[rows(200, quantities, HOUR + 1)])
    assert said in control.rows()[0]["explanation"]


@given(st.lists(st.integers(1, 90), min_size=1))
def test_the_median_is_the_lower_middle(values: list[int]) -> None:
    assert median({value: values.count(value) for value in values}) == sorted(values)[(len(values) - 1) // 2]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_arrival_does_not_matter_to_drift_and_letters(seed: int) -> None:
    rng = random.Random(seed)
    tallies, first = [], 0
    for hour in range(6):
        for _ in range(3):
            tallies.append(replace(rows(0, {rng.choice((27_000, 54_000, 450)): 80}, HOUR + hour), part=f"time/{first}"))
            first += 1
    gone = {offset for offset in range(6) if rng.random() < 0.5}
    letters = [letter(offset) for offset in range(6)]
    ends = set()
    for order in (tallies, rng.sample(tallies, len(tallies))):
        control = Control()
        control.take(*rng.sample(letters, 6))
        for tally in order:
            control.take(tallies=[tally])
        control.take(*(letter(offset, Op.DELETE) for offset in gone))
        ends.add(tuple(row for row in control.found() if row[3] == "OPEN"))
    assert len(ends) == 1


# -- counts --------------------------------------------------------------------------------------------


FATES = ("received", "filtered", "dead_lettered")


def stretches(log: list[str], first: int, rng: random.Random, until: int) -> Iterator[Tally]:
    """The log from an offset on, cut into batches at random."""
    cuts = sorted({first, until, *(rng.randrange(first, until + 1) for _ in range(4))})
    for begin, end in pairwise(cuts):
        fates = {"TIME/kimai|time_entry": {name: log[begin:end].count(name) for name in FATES}}
        yield Tally("time/0", begin, end, 0, fates, {"TIME/kimai|time_entry": end % 3})


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 100_000), restarts=st.booleans())
def test_a_process_that_is_killed_and_reads_again_counts_everything_once(seed: int, restarts: bool) -> None:
    rng = random.Random(seed)
    log = [rng.choice(FATES) for _ in range(30)]
    control, committed = Control(restarts), 0
    for life in range(4):
        until = 30 if life == 3 else rng.randrange(committed, 31)
        sent = [*stretches(log, committed, rng, until)]
        for tally in sent:
            control.take(tallies=[replace(tally, settled=committed)], producer=f"p{life}")
        # What was committed before it was killed: any boundary of what it had sent.
        committed = rng.choice([committed, *(tally.end for tally in sent)])
        if life < 3 and rng.random() < 0.3 and sent:  # it lives on for a moment, after its successor began
            zombie = sent[-1]
            control.take(tallies=[*stretches(log, committed, rng, 30)][:1], producer=f"p{life + 1}")
            control.take(tallies=[zombie], producer=f"p{life}")
    expected = {name: log.count(name) for name in FATES} | {"parked": 30 % 3}
    assert control.counted() == {name: number for name, number in expected.items() if number}


def test_an_hour_that_is_dropped_and_counted_again_is_one_row_of_the_changelog() -> None:
    """Twice in one checkpoint, and a restore would miss a row, and go back behind what was published."""
    control = Control().take(tallies=[rows(0, NORMAL)])
    control.state.drain()
    control.take(tallies=[rows(200, NORMAL, HOUR + KEPT_HOURS + 1)])
    control.take(tallies=[rows(0, NORMAL)], producer="q")
    places = [place for *place, _ in control.state.drain()]
    assert len(places) == len({*map(tuple, places)})


def test_a_stretch_that_is_read_again_does_not_sample_its_quantities_twice() -> None:
    ledger = Ledger()
    ledger.add("a", rows(0, {60: 10}))
    ledger.add("a", rows(10, {90: 5}))
    ledger.add("b", rows(0, {60: 10}))
    ledger.add("b", rows(10, {90: 7}))
    assert ledger.quantities == {"TIME/kimai|time_entry": {HOUR: {60: 10, 90: 7}}}


def received(ledger: Ledger) -> int:
    return ledger.totals()["TIME/kimai|time_entry"]["received"]


def test_who_lost_a_partition_is_not_heard_any_more() -> None:
    ledger = Ledger()
    ledger.add("a", rows(0, {60: 10}))
    ledger.add("b", rows(0, {60: 20}))
    ledger.add("a", rows(10, {60: 5}))  # it did not know yet
    ledger.add("b", rows(20, {60: 10}))
    assert received(ledger) == 30


def test_what_is_read_once_more_below_the_committed_offset_is_not_counted() -> None:
    """An operator moved the group back."""
    ledger = Ledger()
    ledger.add("a", rows(0, {60: 10}))
    ledger.add("a", replace(rows(10, {60: 5}), settled=10))
    ledger.add("b", rows(0, {60: 10}))
    ledger.add("b", rows(10, {60: 5}))
    ledger.add("b", rows(15, {60: 1}))
    assert received(ledger) == 16


def test_enough_rows_are_needed() -> None:
    assert judge({0: {27_000: ENOUGH_ROWS - 1}}) is None
