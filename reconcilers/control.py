"""The control axis: the state of the sources, and the checks that follow from it alone: 41, 42 and 43."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from tieout.reconcilers import drift
from tieout.reconcilers.alarms import Alarms
from tieout.reconcilers.changes import NEVER, Change, Frame, Op
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.findings import Break
from tieout.reconcilers.kpis import Amount, Cell, Cells
from tieout.reconcilers.letters import Letters
from tieout.reconcilers.objects import Object
from tieout.reconcilers.outcomes import Outcome, Output
from tieout.reconcilers.policy import Policy
from tieout.reconcilers.rules import platform
from tieout.reconcilers.symbols import SYMBOL, Symbols
from tieout.reconcilers.tallies import HOUR_US, LAST_EVENT, Ledger
from tieout.reconcilers.timeline import FOREVER, SECOND
from tieout.reconcilers.watermarks import Watermarks

_DEFAULT_LIMIT_S: Final = 5_400
_FATES: Final = ("received", "parked", "filtered", "dead_lettered")
_NAMED: Final = 50  # of what a finding is about, in its row
Place = tuple[str, str]  # source, object
Records = TypeVar("Records", Letters, Symbols)  # of one object


def limit_s(policy: Policy, source: str) -> int:
    """The age of the watermark at which a source is stale."""
    return policy.stale_after_s.get(source.partition("/")[0], _DEFAULT_LIMIT_S)


def stale_sources(policy: Policy, marks: Watermarks) -> list[str]:
    """Sources whose watermark, once stated, is older than their limit."""
    return [source for source in marks.sources() if (mark := marks.of_source(source)) != NEVER
            and marks.now_us - mark > limit_s(policy, source) * SECOND]


def stale_systems(policy: Policy, marks: Watermarks) -> set[str]:
    """Systems that have a stale source."""
    return {source.partition("/")[0] for source in stale_sources(policy, marks)}


class ControlState:
    """Source states and counts of the firm, and what is stale, lost or unreadable."""

    def __init__(self, partition: int, policy: Policy) -> None:
        self.policy = policy
        self.marks = Watermarks()
        self.cells = Cells(Axis.CONTROL, partition)
        self._alarms = Alarms(platform.RULES, policy, self.cells)
        self._ledger = Ledger()
        self._objects: dict[Place, Object] = {}
        self._letters: dict[Place, Letters] = {}
        self._symbols: dict[Place, Symbols] = {}
        self._dirty: set[Place] = set()  # objects, letters and symbols

    def apply(self, frame: Frame) -> Iterator[Outcome]:
        """What turned stale, got lost or became unreadable, and what did no longer."""
        self.marks.take(frame)
        sampled = sorted({name for tally in frame.tallies for name in tally.quantities})
        unvalued = [name for name in sampled if self._mean_s(name) is None]
        for tally in frame.tallies:
            self._ledger.add(frame.producer, tally)
        for source in self.marks.sources():
            yield from self._look(source)
        yield from self._take(frame.changes)
        for name in sampled:
            yield from self._judge(name)
        for source, _, entity in (name.partition("|") for name in unvalued):
            if self._letters.get((source, entity)):  # until now nobody could say what they are worth
                yield from self._look_at_letters((source, entity), NEVER, None)

    def settle(self) -> Iterator[Outcome]:
        """Where every source stands now: watermarks, lags and counts move with each frame."""
        for source in self.marks.sources():
            yield self._row(source, "*", {})
        self._give_lags()
        for place, totals in sorted(self.totals().items()):
            source, _, name = place.partition("|")
            yield self._row(source, name, totals)
        yield from self.cells.changed(self.marks.now_us, None)

    def totals(self) -> dict[str, dict[str, int]]:
        """Counts by source and object over all ingest processes, each record once however often it was read."""
        return self._ledger.totals()

    def _give_lags(self) -> None:
        for source in self.marks.sources():
            mark = self.marks.of_source(source)
            lag = {} if mark == NEVER else {Cell("sync_lag", "us", source=source): Amount(
                max(0, self.marks.now_us - mark))}
            self.cells.give(("lag", source), lag)

    def _row(self, source: str, name: str, totals: dict[str, int]) -> Outcome:
        mark = self.marks.of_source(source)
        system, _, instance = source.partition("/")
        row = {
            "source": source, "system": system, "instance": instance, "object": name,
            "watermark_at": None if mark == NEVER else mark, "last_event_at": totals.get(LAST_EVENT),
            "state": "UNKNOWN" if mark == NEVER else "STALE" if self._is_late(source) else "FRESH",
            "limit_s": limit_s(self.policy, source), **{fate: totals.get(fate, 0) for fate in _FATES},
            "as_of": self.marks.now_us,
        }
        return Outcome(Output.SOURCE_STATE, f"{source}|{name}", row)

    # -- 41 --------------------------------------------------------------------------------------

    def _is_late(self, source: str) -> bool:
        mark = self.marks.of_source(source)
        return mark != NEVER and self.marks.now_us - mark > limit_s(self.policy, source) * SECOND

    def _look(self, source: str) -> Iterator[Outcome]:
        now, rule = self.marks.now_us, platform.STALE
        if not self._is_late(source):
            yield from self._alarms.clear(rule, None, source, at=now, reason="the watermark caught up", now=now)
        elif not self._alarms.is_open(rule, None, source):
            mark, limit = self.marks.of_source(source), limit_s(self.policy, source)
            yield from self._alarms.raise_(rule, platform.stale(source, mark, limit), [source], 1,
                                           onset=mark, deadline=mark + limit * SECOND,
                                           opened_at=mark + limit * SECOND, now=now)

    # -- 42 and 43: what ingest noticed ----------------------------------------------------------

    def _take(self, changes: Iterable[Change]) -> Iterator[Outcome]:
        lost: dict[Place, dict[str, int]] = {}  # gaps that are news, by subject: since when
        letters: dict[Place, int] = {}  # latest instant at which something about them happened
        unread: dict[Place, Letters] = {}  # those that are news
        symbols: dict[Place, Symbols] = {}  # records that are news
        for change in changes:
            self._note_symbols(change, symbols)
            if change.entity == platform.DEAD_LETTER:
                for place in self._sort_letter(change, unread):
                    letters[place] = max(change.commit_us, letters.get(place, NEVER))
                continue
            place = (change.source, change.entity)
            if change.entity != SYMBOL and self._objects.setdefault(place, Object()).note(change):
                news = lost.setdefault(place, {})
                if change.op is Op.GAP:
                    news[change.subject] = min(change.commit_us, news.get(change.subject, FOREVER))
        self._dirty |= lost.keys() | letters.keys() | symbols.keys()
        for place, news in lost.items():
            yield from self._look_at_object(place, news)
        for place, at in letters.items():
            yield from self._look_at_letters(place, at, unread.get(place))
        for place, records in symbols.items():
            yield from self._look_at_symbols(place, records)

    def _look_at_object(self, place: Place, news: dict[str, int]) -> Iterator[Outcome]:
        """A gap opens the finding even if its end is known already: it did happen."""
        spans = list(self._objects[place].unknown())
        unknown = {subject: span.since for subject, span in reversed(spans) if span.until == FOREVER}
        lost, now = unknown or news, self.marks.now_us
        if lost:
            since = min(lost.values())
            names = sorted({platform.WHOLE if name in platform.NO_RECORD else name for name in lost})
            yield from self._alarms.raise_(platform.GAP, platform.gap(*place, lost, since), names[:_NAMED],
                                           len(names), onset=since, deadline=since, opened_at=now, now=now)
        if not unknown:
            at = max((span.until for _, span in spans), default=now)
            yield from self._alarms.clear(platform.GAP, None, "|".join(place), at=at, now=now,
                                          reason="it has been read again")

    def _sort_letter(self, change: Change, unread: dict[Place, Letters]) -> Iterator[Place]:
        """Keep a record that could not be read, or forget it once it was sent again; the objects concerned."""
        if change.op is Op.DELETE:
            yield from (place for place, letters in self._letters.items() if letters.discard(change.key))
        elif change.asserted.get("schema"):
            place = (change.source, change.subject)
            if self._letters.setdefault(place, Letters()).add(change.key, change.commit_us):
                unread.setdefault(place, Letters()).add(change.key, change.commit_us)
                yield place

    def _look_at_letters(self, place: Place, at: int, news: Letters | None) -> Iterator[Outcome]:
        mean_s, now = self._mean_s("|".join(place)), self.marks.now_us
        yield from self._tell(place, None, self._letters[place], news, max(at, now), "every record was read after all",
                              lambda shown: platform.unreadable(*place, len(shown), mean_s))

    def _tell(self, place: Place, facet: str | None, kept: Records, news: Records | None, at: int, reason: str,
              broke: Callable[[Records], Break]) -> Iterator[Outcome]:
        """News of an object's records open the finding even if they are over, as gaps do: batches must not matter."""
        now = self.marks.now_us
        if shown := kept or news:
            yield from self._alarms.raise_(platform.SCHEMA, broke(shown), shown.first(_NAMED), len(shown),
                                           onset=shown.since, deadline=shown.since, opened_at=now, now=now)
        if not kept:
            yield from self._alarms.clear(platform.SCHEMA, facet, "|".join(place), at=at, now=now, reason=reason)

    def _note_symbols(self, change: Change, news: dict[Place, Symbols]) -> None:
        """Note which records have symbols that nobody knows, or none any more."""
        if change.entity == SYMBOL:
            place = (change.source, change.subject)
            if change.op is Op.DELETE and place not in self._symbols:
                return  # nothing to end: no trace of it either, as after a restore
            if self._symbols.setdefault(place, Symbols()).note(change):
                seen = news.setdefault(place, Symbols())
                if change.op is Op.UPSERT:
                    seen.note(change)
        elif change.op is Op.TRUNCATE:
            place = (change.source, change.entity)
            if place in self._symbols and self._symbols[place].emptied(change.commit_us):
                news.setdefault(place, Symbols())

    def _look_at_symbols(self, place: Place, news: Symbols) -> Iterator[Outcome]:
        symbols = self._symbols[place]
        yield from self._tell(place, platform.ENUM, symbols, news, symbols.over, "every symbol is known",
                              lambda shown: platform.unknown_symbols(*place, len(shown), shown.fields()))

    def _mean_s(self, name: str) -> int | None:
        """The mean quantity of the object's rows, if it has quantities."""
        hours = self._ledger.quantities.get(name, {}).values()
        rows = sum(found.total() for found in hours)
        return sum(qty * n for found in hours for qty, n in found.items()) // rows if rows else None

    # -- 43: the drift of quantities -------------------------------------------------------------

    def _judge(self, name: str) -> Iterator[Outcome]:
        hours = self._ledger.quantities.get(name, {})
        self._ledger.forget(name, max(hours, default=0) - drift.KEPT_HOURS)
        is_open = self._alarms.is_open(platform.SCHEMA, platform.SEMANTIC, name)
        if not is_open and all(found.total() < drift.ENOUGH_ROWS for found in hours.values()):
            return
        source, _, entity = name.partition("|")
        found, now = drift.judge(hours), self.marks.now_us
        if found and found.drifted:
            broke = platform.drifted(source, entity, *found.drifted)
            yield from self._alarms.raise_(platform.SCHEMA, broke, [platform.WHOLE], found.drifted.rows,
                                           onset=found.since * HOUR_US, deadline=found.since * HOUR_US, opened_at=now,
                                           now=now)
        else:
            yield from self._alarms.clear(platform.SCHEMA, platform.SEMANTIC, name, at=now, now=now,
                                          reason="quantities are as they used to be")

    # -- changelog -------------------------------------------------------------------------------

    def restore(self, table: str, value: Any) -> None:
        """Take up a changelog row."""
        if table == "findings":
            self._alarms.restore(value)
            return
        kind, *where, said = value
        if kind == "ledger":
            self._ledger.restore(said)
        elif kind == "quantities":
            name, hour = where
            self._ledger.restore_hour(name, hour, said)
        elif kind == "object":
            self._objects[where[0], where[1]] = Object.from_record(said)
        elif kind == "letters":
            self._letters[where[0], where[1]] = Letters.restore(said)
        elif kind == "symbols":
            self._symbols[where[0], where[1]] = Symbols.restore(said)

    def restored(self) -> None:
        """Rebuild the cells."""
        self._give_lags()
        self.cells.forget_changes()

    def drain(self) -> Iterator[tuple[str, str, Any]]:
        """Changelog rows since the last drain."""
        yield "counts", "ledger", ["ledger", self._ledger.to_record()]
        for name, hour, found in self._ledger.drain():
            row = None if found is None else ["quantities", name, hour, found]
            yield "counts", f"quantities|{name}|{hour}", row
        for place in sorted(self._dirty):
            if (of_object := self._objects.get(place)) is not None:
                of_object.prune(self.marks.of_source(place[0]))
                yield "counts", "object|" + "|".join(place), ["object", *place, of_object.to_record()]
            if (letters := self._letters.get(place)) is not None:
                yield "counts", "letters|" + "|".join(place), ["letters", *place, letters.to_record()]
            if (symbols := self._symbols.get(place)) is not None:
                yield "counts", "symbols|" + "|".join(place), ["symbols", *place, symbols.to_record()]
        for key, value in self._alarms.drain():
            yield "findings", key, value
        self._dirty.clear()
