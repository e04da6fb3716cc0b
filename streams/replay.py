"""`tieout replay`: the ingest pipeline, the engine and the store in one process over captured files, no broker.

The store is written beside its final place and moved there at the end: a reader never sees half a replay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tieout.codecs.formats import codec
from tieout.codecs.records import RawRecord
from tieout.reconcilers.engine import READS, State, apply, settle
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.outcomes import Outcome, Output
from tieout.reconcilers.policy import Policy
from tieout.streams import sources
from tieout.streams.orders import duplicated, moments, shuffled
from tieout.streams.pipeline import Batch, Pipeline, Reading, raw_partition
from tieout.streams.standings import of_outcomes
from tieout.streams.survey import survey

if TYPE_CHECKING:
    from tieout.reconcilers.changes import Change
    from tieout.streams.parking import Parked
    from tieout.streams.settings import Settings
    from tieout.streams.sinks.store import Store

PRODUCER: Final = "replay"
_LINES_A_FRAME: Final = 500
_ROWS_A_WRITE: Final = 20_000
_WRITTEN_BY: Final = "written_by"


class NotOurs(Exception):
    """The database file exists and no replay wrote it: it may be the sink's."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to replay. `until_us`: where the clock stands at the end; `stale`: systems or sources left where they are."""

    until_us: int | None = None
    assume_fresh: bool = False
    stale: tuple[str, ...] = ()
    shuffle: int | None = None
    duplicate: float = 0.0
    partitions: int = 1
    policy: Policy | None = None  # the firm's decisions, where no configuration states them


@dataclass(slots=True)
class Summary:
    """What a replay did: lines read, changes by fate, outcomes by output, the processing instant at the end."""

    lines: int = 0
    skipped: int = 0  # lines of topics that the configuration does not name
    fates: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    now_us: int = 0

    def to_record(self) -> dict[str, Any]:
        """The summary as a JSON object."""
        from tieout.codecs.values import instant_text

        return {
            "lines": self.lines, "skipped": self.skipped, "fates": dict(sorted(self.fates.items())),
            "outcomes": dict(sorted(self.outcomes.items())), "now": instant_text(self.now_us),
        }


Progress = Callable[[int, int], None]  # lines done, lines in all


def replay(
    records: Sequence[RawRecord],
    database: Path,
    options: Options,
    settings: Settings | None = None,
    progress: Progress = lambda done, total: None,
) -> Summary:
    """Replay records into a new store at `database`; raises NotOurs, or StoreError, or ConfigurationError."""
    from tieout.streams.sinks.store import Store

    refuse_foreign(database)
    draft = database.with_name(f".{database.name}.replay")
    _remove(draft)
    try:
        with Store(draft) as store:
            store.set_meta(_WRITTEN_BY, PRODUCER)
            summary = _Run(records, options, settings, store).run(progress)
            store.checkpoint()
        draft.replace(database)
    finally:
        _remove(draft)
    _remove(database.with_name(f"{database.name}.wal"))
    return summary


def refuse_foreign(database: Path) -> None:
    """Raise NotOurs when the file exists and was not written by a replay."""
    if not database.exists() or database.stat().st_size == 0:
        return
    import duckdb

    try:
        with duckdb.connect(str(database), read_only=True) as connection:
            found = connection.execute("SELECT value FROM internal.meta WHERE name = ?", [_WRITTEN_BY]).fetchall()
    except duckdb.Error as error:
        raise NotOurs(f"{database} exists and is not the result of a replay ({error}): name another file") from error
    if found != [(PRODUCER,)]:
        raise NotOurs(f"{database} exists and belongs to a sink: name another file")


def _remove(path: Path) -> None:
    for file in (path, path.with_name(f"{path.name}.wal")):
        file.unlink(missing_ok=True)


class _Run:
    """One pass over the lines, in their final order."""

    def __init__(self, records: Sequence[RawRecord], options: Options, settings: Settings | None, store: Store) -> None:
        self._options, self._store = options, store
        self._readings = sources.readings(settings) if settings else {}
        otherwise = None if settings else Reading(codec("canonical", {}))
        kept = [record for record in records if otherwise or record.topic in self._readings]
        self._order = ordered(kept, options)
        found = survey(self._order, self._readings, otherwise)
        self._stating = found.stating
        self._pipeline = Pipeline(
            self._readings, sources=found.sources(), partitions=options.partitions, producer=PRODUCER, reads=READS,
            otherwise=otherwise, closed=True,
        )
        policy = Policy.from_mapping(settings.policy) if settings else options.policy or Policy()
        self._states = {(Axis.CONTROL, 0): State(Axis.CONTROL, 0, 1, policy)} | {
            (axis, number): State(axis, number, options.partitions, policy)
            for axis in (Axis.PROJECT, Axis.WORKER) for number in range(options.partitions)
        }
        self._summary = Summary(lines=len(self._order), skipped=len(records) - len(kept))
        self._rows: list[Outcome] = []
        self._letters: list[dict[str, Any]] = []
        self._parked: dict[str, Parked | None] = {}

    def run(self, progress: Progress) -> Summary:
        """Every line, then the last tick."""
        tail = Tail(self._order)
        done = 0
        for chunk in moments(self._order, self._stating, _LINES_A_FRAME):
            now_ms = max(self._pipeline.now_us // 1_000, *(record.ts_ms for record in chunk))
            self._batch(self._pipeline.take(chunk, at_end=tail.read(chunk, now_ms)))
            done += len(chunk)
            progress(done, len(self._order))
        fresh = self._fresh() if self._options.assume_fresh else ()
        self._batch(self._pipeline.tick(now_us=self._options.until_us, fresh=fresh))
        self._write()
        return self._finish()

    def _fresh(self) -> tuple[str, ...]:
        """The sources whose watermark moves with the clock: all that `stale` does not name."""
        stale = set(self._options.stale)
        return tuple(name for name in self._pipeline.sources if not stale & {name, name.partition("/")[0]})

    def _batch(self, batch: Batch) -> None:
        back: list[Change] = []
        for axis, partition, frame in batch.frames:
            outcomes = apply(self._states[axis, partition], frame)
            back += of_outcomes(outcomes)
            self._rows += [outcome for outcome in outcomes if outcome.output is not Output.STANDING]
        self._letters += [letter.to_row() for letter in batch.dead_letters]
        self._parked |= batch.parked
        if back:
            self._batch(self._pipeline.deliver(back))
        if len(self._rows) >= _ROWS_A_WRITE:
            self._write()

    def _write(self) -> None:
        from tieout.streams.sinks.intake import parked_row

        for state in self._states.values():
            self._rows += settle(state)
        self._summary.outcomes.update(outcome.output.value for outcome in self._rows)
        parked = [(name, parked_row(waits.to_record()) if waits else None) for name, waits in self._parked.items()]
        self._store.write(self._rows, dead_letters=self._letters, parked=parked)
        self._rows, self._letters, self._parked = [], [], {}
        for state in self._states.values():
            state.drain()  # nobody keeps a changelog here

    def _finish(self) -> Summary:
        for totals in self._pipeline.totals.values():
            self._summary.fates.update({name: count for name, count in totals.items() if not name.endswith("_us")})
        self._summary.now_us = self._pipeline.now_us
        return self._summary


def ordered(records: Sequence[RawRecord], options: Options) -> list[RawRecord]:
    """The lines in the order that the options ask for."""
    order = list(records) if options.shuffle is None else shuffled(records, options.shuffle)
    if options.duplicate:
        order = list(duplicated(order, options.duplicate, options.shuffle or 0))
    return order


class Tail:
    """Which raw partitions are read to their end: to what they held at the present processing instant."""

    def __init__(self, order: Iterable[RawRecord]) -> None:
        self._ahead: dict[str, list[int]] = {}  # timestamps still to come, the next one last
        for record in order:
            self._ahead.setdefault(raw_partition(record.topic, record.partition), []).append(record.ts_ms)
        for stamps in self._ahead.values():
            stamps.reverse()

    def read(self, chunk: Iterable[RawRecord], now_ms: int) -> list[str]:
        """Take off the lines of a chunk; the partitions whose next line is younger than `now_ms`, or that have none."""
        for record in chunk:
            self._ahead[raw_partition(record.topic, record.partition)].pop()
        return [part for part, stamps in self._ahead.items() if not stamps or stamps[-1] > now_ms]


def load(paths: Iterable[Path]) -> list[RawRecord]:
    """The records of capture files; raises OSError, or BadCapture with file and line.

    Lines keep their order. Several files, or those of a folder, are merged by timestamp.
    """
    files = list(chain.from_iterable(sorted(path.iterdir()) if path.is_dir() else [path] for path in paths))
    return [record for _, record in merge(*map(_dated, files), key=itemgetter(0))]


def _dated(path: Path) -> Iterator[tuple[int, RawRecord]]:
    """Records with the largest timestamp up to them, so that a merge never reorders a file."""
    from tieout.codecs.capture import read

    now_ms = -1
    for record in read(path):
        now_ms = max(now_ms, record.ts_ms)
        yield now_ms, record
