"""Ingest and worker crash at any instant, in one process and by seed: the outputs end the same.

The log of frames, the changelogs and the outputs are lists here; what a crash loses is what was not in them yet. The
parts are the real ones: pipeline, shard, ledger, engine.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from oracle.compare import QUANTITIES
from oracle.generate import generate
from oracle.replaying import records as read_capture

from tieout.codecs.formats import codec
from tieout.codecs.records import RawRecord
from tieout.reconcilers.changes import Frame
from tieout.reconcilers.engine import READS
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.outcomes import Output
from tieout.streams.identity import Identity
from tieout.streams.orders import moments
from tieout.streams.parking import Parked, Parking
from tieout.streams.pipeline import Pipeline, Reading
from tieout.streams.settings import Settings
from tieout.streams.shards import Shard, Snapshot, Verdict
from tieout.streams.survey import survey
from tieout.streams.tables import CHECKPOINT_KEY, CLAIM_KEY, Ledger, Place, Restored, Rows
from tieout.streams.worker import engine

SEEDS = range(12)
PLACE, CONTROL = Place(Axis.PROJECT, 0), Place(Axis.CONTROL, 0)
READING = Reading(codec("canonical", {}))
OF_THE_MOMENT = ("updated_at", "version", "opened_at", "as_of", "complete_through")  # when it was noticed
COMPARED = (Output.TIME_ENTRY_STATE, Output.FINDING_STATE, Output.SOURCE_STATE)

Answers = dict[tuple[Output, str], dict[str, Any] | None]


class Ingest:
    """Makes the log of frames; a crash repeats the batch, cut elsewhere, under another producer."""

    def __init__(self, records: list[RawRecord], place: Place = PLACE) -> None:
        self._records, self._place = records, place
        found = survey(records, {}, READING)
        self._sources, self._stating = found.sources(), found.stating
        self._xref: dict[str, str] = {}
        self._parked: dict[str, Parked] = {}
        self._lives = 0

    def log(self, chance: Random, crash: float) -> list[Frame]:
        """All frames of the place, as several lives of ingest wrote them."""
        frames: list[Frame] = []
        pipeline = self._start()
        waiting = list(moments(self._records, self._stating, chance.choice((20, 100, 500))))[::-1]
        while waiting:
            batch = pipeline.take(waiting[-1])
            self._xref |= batch.xref
            self._parked |= {name: parked for name, parked in batch.parked.items() if parked}
            frames += [frame for axis, number, frame in batch.frames if (axis, number) == self._place]
            if chance.random() < crash:  # after its frames, before what follows them
                pipeline = self._start()
                cut = chance.randrange(len(waiting[-1]))
                waiting[-1:] = [waiting[-1][cut:], *filter(None, [waiting[-1][:cut]])]
                continue
            pipeline.committed({(record.topic, record.partition): record.offset + 1 for record in waiting[-1]})
            self._parked = {name: parked for name, parked in self._parked.items() if batch.parked.get(name, parked)}
            waiting.pop()
            if chance.random() < 0.2:
                frames += [frame for axis, number, frame in pipeline.tick().frames if (axis, number) == self._place]
        return frames

    def _start(self) -> Pipeline:
        self._lives += 1
        identity, parking = Identity(), Parking()
        for row, value in self._xref.items():
            identity.restore(row, value)
        for parked in self._parked.values():
            parking.restore(parked)
        pipeline = Pipeline(
            {}, sources=self._sources, partitions=1, producer=f"life-{self._lives}", reads=READS, identity=identity,
            parking=parking, otherwise=READING, closed=True,
        )  # fmt: skip
        pipeline.restored()
        return pipeline


class Worker:
    """Applies the log, keeps checkpoints, and begins again from the last one after a crash."""

    def __init__(self, place: Place = PLACE) -> None:
        self.answers: Answers = {}
        self._place = place
        self._written: list[Snapshot] = []
        self._claims = 0
        self._reconciler = engine(Settings())

    def work(self, log: list[Frame], chance: Random, crash: float) -> Answers:
        """Apply everything, through as many lives as it takes; what was published at the end."""
        shard = self._start()
        while shard.next_offset < len(log):
            frame = log[shard.next_offset]
            assert shard.judge(shard.next_offset, frame) is Verdict.NEXT
            shard.apply(shard.next_offset, frame, None)
            dice = chance.random()
            if dice < crash:
                shard = self._start()
            elif dice > 0.7 or shard.next_offset == len(log):
                self._write(shard.snapshot())
        return {key: row for key, row in self.answers.items() if row and not _void(row)}

    def _write(self, snapshot: Snapshot) -> None:
        self._written.append(snapshot)
        for output, key, row in snapshot.outcomes:
            if output in COMPARED:
                steady = {name: value for name, value in row.items() if name not in OF_THE_MOMENT} if row else None
                self.answers[output, key] = steady

    def _start(self) -> Shard:
        ledger = Ledger()
        for snapshot in self._written:
            ledger.read(CLAIM_KEY, b'{"epoch": %d}' % snapshot.checkpoint.epoch)
            ledger.read(CHECKPOINT_KEY, snapshot.checkpoint.to_bytes())
        self._claims += 1
        rows = Rows(ledger)
        for snapshot in self._written:
            for table, key, value in snapshot.rows:
                rows.add(table, key, value, snapshot.checkpoint.stamp)
        rows.take_newest()
        return Shard.restored(self._place, 1, self._claims, self._reconciler, Restored(rows, ledger.last()))


def _void(row: dict[str, Any]) -> bool:
    """Whether an entry has nothing on this project any more: whether such a row is kept says nothing."""
    return row.get("state") == "VOID" and not any(row[name] for name in QUANTITIES)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[RawRecord]:
    """Two weeks of a small random firm."""
    made = generate(seed=7, entries=30, days=14, stated_every_h=24)
    capture: Path = made.write(tmp_path_factory.mktemp("crashes") / "capture.jsonl")
    return read_capture(capture)


@pytest.fixture(scope="module")
def undisturbed(records: list[RawRecord]) -> Answers:
    """What comes out when nothing crashes."""
    return Worker().work(Ingest(records).log(Random(0), 0.0), Random(0), 0.0)


def test_there_is_something_to_lose(undisturbed: Answers) -> None:
    assert sum(output is Output.TIME_ENTRY_STATE for output, _ in undisturbed) >= 20
    assert any(output is Output.FINDING_STATE for output, _ in undisturbed)


@pytest.mark.parametrize("seed", SEEDS)
def test_crashes_change_nothing(seed: int, records: list[RawRecord], undisturbed: Answers) -> None:
    """Ingest crashes in one of ten batches, the worker after one of five frames."""
    chance = Random(seed)
    log = Ingest(records).log(chance, 0.1)
    found = Worker().work(log, chance, 0.2)
    assert differences(undisturbed, found) == {}


@pytest.mark.parametrize("seed", SEEDS)
def test_crashes_count_nothing_twice(seed: int, records: list[RawRecord]) -> None:
    """What a batch read that a crash repeats is counted once, whatever became of it."""
    broken = [record._replace(value=b"{") if record.offset % 7 == 3 and b".observed" not in (record.value or b"")
              else record for record in records]
    chance = Random(seed)
    calm, found = (
        {key: row for key, row in Worker(CONTROL).work(log, chance, crash).items() if key[0] is Output.SOURCE_STATE}
        for log, crash in ((Ingest(broken, CONTROL).log(Random(0), 0.0), 0.0),
                           (Ingest(broken, CONTROL).log(chance, 0.3), 0.2)))
    assert differences(calm, found) == {}
    rows = [row for row in calm.values() if row]
    assert all(any(row[fate] for row in rows) for fate in ("parked", "filtered", "dead_lettered"))


def differences(expected: Answers, found: Answers) -> dict[str, Any]:
    """Which fields of which rows differ: (expected, found)."""
    wrong: dict[str, Any] = {}
    for key in sorted(expected.keys() | found.keys(), key=str):
        left, right = expected.get(key) or {}, found.get(key) or {}
        if left != right:
            fields = {n: (left.get(n), right.get(n)) for n in left.keys() | right.keys() if left.get(n) != right.get(n)}
            code, name = ((left or right).get(field, key[1]) for field in ("code", "business_key"))
            wrong[f"{key[0].value} {code} {name}"] = fields
    return wrong
