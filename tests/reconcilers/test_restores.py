"""I3, exactly: a state that was taken up from its changelog says, frame by frame, what the one that never stopped says.

Each state has a twin that is made anew now and then, from the rows of all checkpoints so far, in any order: compaction
keeps none. Both apply the same frames; whatever they publish, and whatever they write to the changelog, must be equal.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any, Final

import orjson
from firm import SYSTEMS, Firm, day, entry, fixture, posted
from hypothesis import given, settings
from hypothesis import strategies as st
from reconcilers.test_orders import Everywhere, Item, eventful, interleave, streams
from reconcilers.test_platform import NOON, PSA, TIME, letter, of, rows, symbol

from tieout.reconcilers.changes import Change, Frame, Op
from tieout.reconcilers.engine import State, apply, settle
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.lost import LETTER, OVER
from tieout.reconcilers.outcomes import Outcome
from tieout.reconcilers.policy import Policy

HOUR: Final = 3_600_000_000
Table = dict[tuple[str, str], Any]


class Pair:
    """A state that never stops, and its twin that does."""

    def __init__(self, state: State, rng: random.Random) -> None:
        self.state, self._rng = state, rng
        self._twin: State | None = None
        self._table: Table = {}
        self.frames = self.outcomes = 0  # compared

    def take(self, frame: Frame) -> list[Outcome]:
        """Apply a frame to both; what follows."""
        said = apply(self.state, frame) + settle(self.state)
        if self._twin:
            assert apply(self._twin, frame) + settle(self._twin) == said
            self.frames, self.outcomes = self.frames + 1, self.outcomes + len(said)
        return said

    def checkpoint(self, *, restart: bool) -> None:
        """Drain both; perhaps make the twin anew."""
        rows = self.state.drain()
        if self._twin:
            assert as_read(self._twin.drain()) == as_read(rows)
        self._table |= as_read(rows)
        if restart:
            self._twin = self._again()

    def _again(self) -> State:
        kept = [(place, value) for place, value in self._table.items() if value is not None]
        self._rng.shuffle(kept)
        fresh = State(self.state.axis, self.state.partition, self.state.partitions, Policy())
        for (table, key), value in orjson.loads(orjson.dumps(kept)):
            fresh.restore(table, key, value)
        fresh.restored()
        return fresh


def as_read(rows: Iterable[tuple[str, str, Any]]) -> Table:
    """Rows by place, as JSON gives them back."""
    written = orjson.loads(orjson.dumps(list(rows)))
    found: Table = {(table, key): value for table, key, value in written}
    assert len(found) == len(written), "a key twice: a restore counts keys, and would miss one"
    return found


# -- the project and the worker axis ---------------------------------------------------------------------------------


class Twins(Everywhere):
    """States with twins; one system's source is named late, so that lanes have to wait behind where they have been."""

    def __init__(self, partitions: int, rng: random.Random) -> None:
        super().__init__(partitions, 0.0, rng)
        self.pairs = [Pair(state, rng) for state in self.states]
        self._late = rng.choice((*SYSTEMS, None)), rng.randrange(300)

    def _frame(self, released: list[Change], watermarks: dict[str, int]) -> None:
        number = next(self.numbers)
        name_late, since = self._late
        sources = {f"{name}/one": [f"raw.{name}/0"] for name in SYSTEMS if name != name_late or number >= since}
        for index, pair in enumerate(self.pairs):
            changes = tuple(one for one in released if index in self._targets(one))
            self._publish(pair.take(Frame("run", number, self.now, changes, watermarks, sources)))
            if self.rng.random() < 0.1:
                pair.checkpoint(restart=self.rng.random() < 0.5)


def troubled(seed: int) -> list[Change]:
    """A fortnight with lost objects, unread records, and postings that turn out to be of another entry."""
    rng = random.Random(seed)
    found = [_gone(item, before) if item.op is Op.DELETE else item for before in [eventful(seed)] for item in before]
    rows = [item for item in found if item.key and item.op is Op.UPSERT and item.system in SYSTEMS
            and item.entity in ("time_entry", "posted_labour", "coverage", "assignment", "rate")]
    for number, row in enumerate(rng.sample(rows, min(8, len(rows)))):
        found += _letter(rng, number, row)
    postings = [row for row in rows if row.entity == "posted_labour"]
    entries = sorted({row.key.partition(":")[2] for row in rows if row.entity == "time_entry"})
    for row in rng.sample(postings, min(3, len(postings))):
        moved = posted(rng.choice(entries), "2026-03-13")._replace(
            key=row.key, subject=row.subject, commit_us=row.commit_us + rng.randrange(3 * 24) * HOUR)
        moved = moved._replace(seq=f"{moved.commit_us:020d}m", asserted={**moved.asserted, "erp_txn_id": row.subject})
        found.append(moved)
    return found


def _gone(deletion: Change, before: list[Change]) -> Change:
    """A deletion with the row that is deleted, as sources send it."""
    rows = [item for item in before if (item.entity, item.key, item.source) == (
        deletion.entity, deletion.key, deletion.source) and item.op is Op.UPSERT and item.seq < deletion.seq]
    return deletion._replace(asserted=max(rows, key=lambda row: row.seq).asserted) if rows else deletion


def _letter(rng: random.Random, number: int, row: Change) -> list[Change]:
    """A version that could not be read, and perhaps its end."""
    links = {name: row.asserted[name] for name in ("project_code", "origin_ref", "target") if name in row.asserted}
    at = row.commit_us + rng.randrange(2 * 24) * HOUR + 1
    letter = row._replace(op=Op.GAP, commit_us=at, seq=f"#t/0/{number}", event_id=f"letter-{number}",
                          asserted={LETTER: f"t/0/{number}", **links})
    over = letter._replace(asserted={**letter.asserted, OVER: True}, event_id=f"over-{number}")
    return [letter, over] if rng.random() < 0.5 else [letter]


def delayed(rng: random.Random, order: list[tuple[str, Item]]) -> list[tuple[str, Item]]:
    """Some changes come long after the watermark that promised them."""
    found = list(order)
    for _ in range(10):
        index = rng.randrange(len(found))
        item = found[index][1]
        if isinstance(item, Change) and item.entity != "time_entry":  # which would have nowhere to go before
            found.insert(rng.randrange(index, len(found)), found.pop(index))
    return found


def played(seed: int) -> Twins:
    """A whole story, with a restart of all states in the middle of it."""
    rng = random.Random(seed)
    run = Twins(rng.choice((1, 2)), rng)
    order = delayed(rng, interleave(rng, streams(troubled(seed))))
    run.play(order[: len(order) // 2])
    for pair in run.pairs:
        pair.checkpoint(restart=True)
    run.play(order[len(order) // 2 :])
    return run


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_state_that_was_taken_up_says_what_one_that_never_stopped_says(seed: int) -> None:
    assert all(pair.frames for pair in played(seed).pairs)


def test_both_axes_have_something_to_say() -> None:
    pairs = [pair for seed in range(3) for pair in played(seed).pairs]
    for axis in (Axis.PROJECT, Axis.WORKER):
        assert sum(pair.outcomes for pair in pairs if pair.state.axis is axis)


def test_the_worker_axis_writes_rows_only_of_entries_of_which_it_has_told() -> None:
    """Of most there is nothing to tell; a row of each would be half of what that axis writes."""
    at, later = "2026-03-10T10:00:00Z", "2026-03-10T11:00:00Z"
    it = Firm().take(*fixture()).take(
        entry("TIME", "E1", at, qty_s=30_000), entry("TIME", "E2", later, qty_s=36_000),  # more than a day can hold
        entry("TIME", "E3", at, work_date=day("2026-03-11"))).until("2026-03-12")
    [state] = [state for state in it.states if state.axis is Axis.WORKER]
    assert [key for table, key in as_read(state.drain()) if table == "counts"] == ["entry|TIME:E2"]


# -- the control axis ------------------------------------------------------------------------------------------------


def watched(rng: random.Random, number: int) -> Frame:
    """A frame of what ingest tells the control axis: gaps, re-reads, letters, symbols, quantities, watermarks."""
    changes: list[Change] = []
    for _ in range(rng.randrange(4)):
        when = f"{rng.randrange(8, 12):02d}:{rng.randrange(60):02d}"
        changes.append(rng.choice((
            of(rng.choice((Op.GAP, Op.GAP, Op.SNAPSHOT, Op.TRUNCATE)), when, rng.choice(("", "", "a", "b"))),
            letter(rng.randrange(6), rng.choice((Op.UPSERT, Op.DELETE)), schema=rng.random() < 0.7, when=when),
            symbol(rng.choice("ab"), rng.choice(("state", "state|time_type", "")), when))))
    scale = rng.choice((1, 1, 60))
    tallies = [rows(number * 50, {3_600 // scale: 30, 27_000 // scale: 20}, NOON // HOUR + number // 6)]
    now = NOON + number * 10 * HOUR // 60
    marks = {f"raw.{name}/0": now - rng.randrange(4) * HOUR for name in ("TIME", "PSA") if rng.random() < 0.5}
    sources = {TIME: ["raw.TIME/0"], PSA: ["raw.PSA/0"]}
    return Frame(f"p{number // 20}", number % 20, now, tuple(changes), marks, sources,
                 tuple(tallies) if rng.random() < 0.8 else ())


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_control_axis_that_was_taken_up_says_what_one_that_never_stopped_says(seed: int) -> None:
    rng = random.Random(seed)
    pair = Pair(State(Axis.CONTROL, 0, 1, Policy()), rng)
    for number in range(60):
        pair.take(watched(rng, number))
        if rng.random() < 0.2:
            pair.checkpoint(restart=rng.random() < 0.5)
        if number == 10:
            pair.checkpoint(restart=True)
    assert pair.outcomes
