"""The core of ingest, without Kafka: raw records in, frames and what has to be written beside them out.

`tieout run ingest` and `tieout replay` drive the same `Pipeline`; it decides nothing by the clock of the machine.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Protocol, runtime_checkable

import orjson

from tieout.codecs.errors import DecodeError, SchemasUnreachable
from tieout.codecs.records import Decoded, RawRecord
from tieout.reconcilers.changes import Change, Op
from tieout.reconcilers.engine import READS_OF_WORKER
from tieout.reconcilers.entities import ENTITIES
from tieout.reconcilers.lost import LETTER, LINKS, OVER, is_of_letter
from tieout.reconcilers.objects import ORDER
from tieout.reconcilers.routing import covered_invoice, partition_of
from tieout.reconcilers.rules.platform import DEAD_LETTER
from tieout.reconcilers.symbols import SYMBOL
from tieout.reconcilers.tallies import LAST_EVENT
from tieout.streams.deadletters import REPLAYED_FROM, Letter
from tieout.streams.frames import FRAME_BYTES, FRAME_CHANGES, Framer, Moment, Outgoing, Watermarks
from tieout.streams.identity import EVERYWHERE, Identity, Need, Place, needs_met_by
from tieout.streams.parking import Parked, Parking
from tieout.streams.plausible import implausible, open_ended
from tieout.streams.stretches import Orders, Stretches

Fate = Literal["received", "parked", "filtered", "dead_lettered"]

_OF_OBJECT: Final = (Op.SNAPSHOT, Op.TRUNCATE)
_IN_KEY: Final = {"time_entry": frozenset(ENTITIES["time_entry"].key)}  # read there alone
UNNAMED: Final = "unknown"  # the object of a record that does not say which entity it is about
NOBODY: Final = "UNKNOWN/unknown"  # the source of a record that does not say where it comes from


class Codec(Protocol):
    """Reads one raw record; raises DecodeError when the source sent something else than was agreed."""

    def decode(self, record: RawRecord, /) -> Decoded:
        """The record's changes, or what else it says."""


@runtime_checkable
class NamesLost(Protocol):
    """A codec that can tell of a record that it cannot read which one it is about."""

    def lost(self, record: RawRecord, /) -> tuple[Change, ...]:
        """Gaps of the records concerned, none where that would be a guess."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a raw topic is read. `source` None: each event names its own; `by_id`: its records are referred to by id."""

    codec: Codec
    source: str | None = None
    entity: str | None = None
    by_id: bool = False
    heartbeat: bool = False  # the topic says how far its connector is, for all the source's partitions


class Limits(NamedTuple):
    """How large a frame may become: changes, bytes."""

    changes: int = FRAME_CHANGES
    size: int = FRAME_BYTES


DEFAULT_LIMITS: Final = Limits()


@dataclass
class Batch:
    """What one call produced, in the order in which it has to be durable: `parked`, `xref` and letters, then frames."""

    frames: list[Outgoing]
    dead_letters: list[Letter] = field(default_factory=list)
    parked: dict[str, Parked | None] = field(default_factory=dict)
    xref: dict[str, str] = field(default_factory=dict)
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)  # (source, reason)


def raw_partition(topic: str, partition: int) -> str:
    """The name of a raw partition in watermark vectors: 'hcm.workers/3'."""
    return f"{topic}/{partition}"


class Pipeline:
    """Decode, resolve identity, route, frame. `sources` maps a source to the raw partitions that make it up."""

    def __init__(
        self,
        readings: Mapping[str, Reading],
        *,
        sources: Mapping[str, list[str]],
        partitions: int,
        producer: str,
        reads: frozenset[str],
        otherwise: Reading | None = None,
        identity: Identity | None = None,
        parking: Parking | None = None,
        limits: Limits = DEFAULT_LIMITS,
        closed: bool = False,
    ) -> None:
        """`closed`: `sources` names every source there is; else one that is met only in its events is added."""
        self.identity = identity or Identity()
        self.parking = parking or Parking()
        self.watermarks = Watermarks()
        self.sources = {source: list(parts) for source, parts in sources.items()}
        self.identity.systems |= {source.partition("/")[0] for source in self.sources}
        self._closed = closed
        self._met = {(source, _topic(part)) for source, parts in sources.items() for part in parts}
        self.now_us = 0
        self.totals: dict[str, Counter[str]] = defaultdict(Counter)
        self._readings, self._otherwise, self._reads = readings, otherwise, reads
        self._partitions = partitions
        self._framer = Framer(producer, partitions, changes=limits.changes, size=limits.size)
        self._changes: dict[int, list[Change]] = defaultdict(list)
        self._control: list[Change] = []  # what concerns whole objects and letters
        self._by_worker: dict[int, list[Change]] = defaultdict(list)
        self._letters: list[Letter] = []
        self._rejected: Counter[tuple[str, str]] = Counter()
        self._stretches, self._orders = Stretches(), Orders()
        self._heard: dict[str, int] = {}  # raw partition -> heartbeat that holds once the partition is read to its end
        for source, topic in self.identity.met_sources():
            self._meet(source, topic)

    # --- what the shell calls --------------------------------------------------------------------------------------

    def take(self, records: Iterable[RawRecord], *, now_us: int | None = None, at_end: Iterable[str] = ()) -> Batch:
        """Process records in order; `now_us` None means the largest record timestamp is the processing instant.

        `at_end` names raw partitions from which everything has been read: for these, heartbeats hold.
        """
        for record in records:
            if now_us is None:
                self.now_us = max(self.now_us, record.ts_ms * 1_000)
            self._record(record)
        self.now_us = max(self.now_us, now_us or 0)
        self._settle_heartbeats(at_end)
        return self._batch()

    def tick(self, *, now_us: int | None = None, fresh: tuple[str, ...] = ()) -> Batch:
        """Frames without changes: they move the processing instant, and tell readers that ingest lives."""
        self.now_us = max(self.now_us, now_us or 0)
        return self._batch(fresh)

    def committed(self, following: Mapping[tuple[str, int], int]) -> None:
        """Topics and partitions with the offsets below which nothing of them will be read again."""
        self._stretches.committed |= {raw_partition(*where): offset for where, offset in following.items()}

    def deliver(self, standings: Iterable[Change]) -> Batch:
        """Frames with what the worker axis says about entries, for every partition: it is little, and goes by key."""
        for change in standings:
            self._send(change, EVERYWHERE)
        return self._batch()

    def restored(self) -> None:
        """Once, after the rows of `identity` and `parking` are restored: release what a crash left waiting."""
        met = [need for need in self.parking.waiting if self.identity.meets(need)]
        self._release(self._resettle(self.parking.release_all(met)))

    def learned(self, row: str, value: str) -> None:
        """A row that another ingest process wrote: take it over, and release what waits for it."""
        if self.identity.is_news(row, value):
            self.identity.restore(row, value)
            self._release(needs_met_by(row))

    # --- one record ------------------------------------------------------------------------------------------------

    def _record(self, record: RawRecord) -> None:
        reading = self._readings.get(record.topic, self._otherwise)
        if reading is None:
            raise LookupError(f"topic {record.topic} belongs to no source: it was subscribed to by mistake")
        self._stretches.begin(raw_partition(record.topic, record.partition), record.offset)
        try:
            decoded = reading.codec.decode(record)
        except DecodeError as error:
            self._reject(record, reading, error, error.reason, error.hint)
        except SchemasUnreachable:  # nothing is wrong with the record; ingest asks before, so that this stays rare
            raise
        except Exception as error:  # a bug of ours must not stop the source: keep the bytes, they can be replayed
            self._reject(record, reading, error, "internal_error", "a defect of this release: report it, then replay")
        else:
            self._decoded(record, reading, decoded)
        if record.headers and (origin := record.header(REPLAYED_FROM)) is not None:
            self._end_letter(origin.decode(), (record.topic, record.partition, record.offset))

    def _reject(self, record: RawRecord, reading: Reading, error: Exception, reason: str, hint: str,
                changes: Iterable[Change] | None = None) -> None:
        """Put a record aside; `changes` are those that it would have been, where they could be read."""
        changes = self._concerned(record, reading) if changes is None else tuple(changes)
        source, entity = self._source_of(record, reading), reading.entity or _only_entity(changes)
        self._count(source, entity, "received")
        self._count(source, entity, "dead_lettered")
        self._rejected[source, reason] += 1
        letter = Letter(
            record.topic, record.partition, record.offset, record.ts_ms * 1_000, record.key, record.value,
            tuple(record.headers), reason, hint, str(error), type(error).__name__, source, entity,
        )
        self._letters.append(letter)
        broken = isinstance(error, DecodeError) and error.schema_break
        self._control.append(_of_letter(letter, {"schema": broken, "reason": reason}))
        self._make_unknown(letter, reading, changes)

    def _concerned(self, record: RawRecord, reading: Reading) -> tuple[Change, ...]:
        """Which records one that cannot be read is about."""
        try:
            return reading.codec.lost(record) if isinstance(reading.codec, NamesLost) else ()
        except Exception:  # what could not be decoded may break this as well: then nobody knows
            return ()

    # --- what a dead letter makes unknown --------------------------------------------------------------------------

    def _make_unknown(self, letter: Letter, reading: Reading, changes: Iterable[Change]) -> None:
        """Whatever a letter may have said of its records is unknown until it is read after all, or given up."""
        gaps = [_gap(letter, number, change) for number, change in enumerate(changes)
                if change.entity in self._reads and (change.key or (change.subject and reading.by_id))]
        if gaps:
            self.identity.note_letter(letter.origin, gaps)
        for gap in gaps:
            self._release(self._settle_letter(gap, by_id=reading.by_id))

    def dropped(self, origin: str) -> None:
        """A dead letter was given up: what it made unknown is as known as it will be, and nobody waits for it."""
        topic, partition, offset = origin.rsplit("/", 2)
        self._end_letter(origin, (topic, int(partition), int(offset)))

    def _end_letter(self, origin: str, where: tuple[str, int, int]) -> None:
        """A dead letter was sent once more, or given up; if it still cannot be read, it is a new one."""
        self._control.append(Change(DEAD_LETTER, origin, Op.DELETE, NOBODY, "", self.now_us, f"{where[2]:020d}",
                                    origin=where))
        for gap in self.identity.letter(origin):
            if gap in self.parking:
                self.parking.forget(gap)
            else:
                over = gap._replace(asserted={**gap.asserted, OVER: True}, event_id=f"{gap.event_id}#over")
                self._release(self._settle_letter(over, by_id=True))

    def _settle_letter(self, gap: Change, *, by_id: bool) -> list[str]:
        """Send a letter's gap, or its end, to the home of the record; it may wait, since nobody knows the record then.

        An end never waits: homes are for ever, so the gap has not been sent anywhere.
        """
        resolved = self.identity.resolve(gap) if by_id else gap
        place, homes = (resolved, []) if isinstance(resolved, Need) else self.identity.place(resolved)
        if isinstance(place, Place):
            assert isinstance(resolved, Change)
            self._send(resolved, place)
        elif OVER not in gap.asserted:
            self.parking.park(gap, place.row, self.now_us)
        return homes

    def _decoded(self, record: RawRecord, reading: Reading, decoded: Decoded) -> None:
        if not self._stretches.again:
            for change in decoded.changes:
                self._stretches.now.sample(change)
        if (wrong := next(filter(None, map(implausible, decoded.changes)), None)) is not None:
            self._reject(record, reading, *wrong, decoded.changes)
            return
        for change in map(open_ended, decoded.changes):
            if not self._closed and (change.source, record.topic) not in self._met:
                self._meet(change.source, record.topic)
                self.identity.learn_source(change.source, record.topic)
            self._arrived(change, by_id=reading.by_id)
        if not decoded.changes and not decoded.heartbeat:
            source, entity = self._source_of(record, reading), reading.entity or UNNAMED
            self._count(source, entity, "received")
            self._count(source, entity, "filtered")
        if decoded.watermark_us is not None:
            self._state(record, reading, decoded.watermark_us)

    def _source_of(self, record: RawRecord, reading: Reading) -> str:
        """The source of a record without changes: as configured, as it claims, or the only one of its topic."""
        source = reading.source or claimed_source(record)
        known = [name for name, topic in self._met if topic == record.topic] if source == NOBODY else []
        return known[0] if len(known) == 1 else source

    def _meet(self, source: str, topic: str) -> None:
        """A source that its topic's configuration does not name is complete as far as that topic is."""
        self._met.add((source, topic))
        known = {part for parts in self.sources.values() for part in parts if _topic(part) == topic}
        self.identity.systems.add(source.partition("/")[0])
        own = self.sources.setdefault(source, [])
        own += sorted(known.difference(own))

    # --- watermarks ------------------------------------------------------------------------------------------------

    def _state(self, record: RawRecord, reading: Reading, through_us: int) -> None:
        if reading.heartbeat:
            for part in self.sources.get(reading.source or "", ()):
                self._heard[part] = max(through_us, self._heard.get(part, through_us))
            return
        self.watermarks.state(self._part(record, reading), through_us)

    def _part(self, record: RawRecord, reading: Reading) -> str:
        """The raw partition; where several sources share it, each has a watermark of its own."""
        part = raw_partition(record.topic, record.partition)
        if reading.source is None:
            own = shared_part(part, claimed_source(record))
            return own if any(own in parts for parts in self.sources.values()) else part
        return part

    def _settle_heartbeats(self, at_end: Iterable[str]) -> None:
        """A heartbeat overtakes changes that are still unread, so it holds only for partitions read to their end."""
        for part in at_end:
            if part in self._heard:
                self.watermarks.state(part, self._heard.pop(part))

    # --- one change ------------------------------------------------------------------------------------------------

    def _arrived(self, change: Change, *, by_id: bool) -> None:
        fates = self._stretches.now.fates[f"{change.source}|{change.entity}"]
        fates["received"] += 1
        fates[LAST_EVENT] = max(fates[LAST_EVENT], change.commit_us)
        if change.op is Op.GAP or (change.op in _OF_OBJECT and not change.key and not change.subject):
            self._of_object(change)
            return
        if change.op is not Op.SNAPSHOT and self._orders.went_back(change):
            self._control.append(_mark(change, Op.GAP, ORDER, "order"))
        if change.entity in self._reads and (fields := self.identity.note_symbols(change)) is not None:
            self._control.append(_of_symbols(change, fields))
        if change in self.parking:  # it waits already: a second delivery is not needed
            if self._stretches.again or not self.parking.is_same(change):
                self._filter(change)
            return
        self._release(self._settle(change, by_id=by_id))

    def _settle(self, change: Change, *, by_id: bool) -> list[str]:
        """Send a change to its partitions, let it wait, or filter it; returns the rows that were learned."""
        if is_of_letter(change):
            return self._settle_letter(change, by_id=by_id)
        wanted = change.entity in self._reads
        resolved = self.identity.resolve(change) if by_id else change
        if isinstance(resolved, Need):
            return self._wait(change, resolved) if wanted else self._filter(change)
        learned: list[str] = []
        if by_id:
            learned, rekey = self.identity.learn_id(resolved)
            if rekey is not None and wanted:
                self._count(change.source, change.entity, "received")
                learned += self._settle(rekey, by_id=False)
        if not wanted:
            self._tell_if_lost(change, wanted=False)
            return learned + self._filter(change)
        if resolved.entity == "coverage" and self.identity.learn_cover(resolved):
            self._send(covered_invoice(resolved), EVERYWHERE)
        place, homes = self.identity.place(resolved)
        if isinstance(place, Need):
            return learned + self._wait(resolved, place)
        self._send(resolved, place)
        self._tell_if_lost(resolved, wanted=True)
        return learned + homes

    def _send(self, change: Change, place: Place) -> None:
        if known := _IN_KEY.get(change.entity):
            change = change._replace(asserted={n: v for n, v in change.asserted.items() if n not in known})
        for partition in self._partitions_of(place):
            self._changes[partition].append(change)
        if change.entity in READS_OF_WORKER:
            for partition in self._of_workers(change, place):
                self._by_worker[partition].append(change)

    def _of_workers(self, change: Change, place: Place) -> Iterable[int]:
        """Partitions of the worker axis: of the entry's worker, or all of them."""
        if place.code is None:
            return range(self._partitions)
        worker = self.identity.known_worker(change) if is_of_letter(change) else self.identity.worker_of(change)
        return () if worker is None else (partition_of(worker, self._partitions),)

    def _of_object(self, change: Change) -> None:
        """What happened to a whole object, or a gap of a record, is known to every partition that it concerns."""
        place = EVERYWHERE
        if change.op is Op.GAP and change.subject:
            self.identity.note_gap(change)
            change, place = self.identity.locate(change)
        elif change.op is Op.SNAPSHOT:
            self._orders.read_again(change)
        self._control.append(change._replace(asserted={}))
        if change.entity in self._reads:
            self._send(change, place)
        else:
            self._filter(change)

    def _tell_if_lost(self, change: Change, *, wanted: bool) -> None:
        """A record that was lost from sight is there again: tell those who cannot see it by its key."""
        if self.identity.was_lost(change):
            mark = _mark(change, Op.SNAPSHOT, change.subject, "read")
            self._control.append(mark)
            if wanted:
                self._send(mark, EVERYWHERE)

    def _partitions_of(self, place: Place) -> Iterable[int]:
        return range(self._partitions) if place.code is None else (partition_of(place.code, self._partitions),)

    def _wait(self, change: Change, need: Need) -> list[str]:
        self._count(change.source, change.entity, "parked")
        self.parking.park(change, need.row, self.now_us)
        return []

    def _filter(self, change: Change) -> list[str]:
        self._count(change.source, change.entity, "filtered")
        return []

    def _release(self, rows: Iterable[str]) -> None:
        """Settle what waited for these rows, and what waited for the rows learned by that, and so on."""
        pending = deque(rows)
        while pending:
            pending += self._resettle(self.parking.release(pending.popleft()))

    def _resettle(self, released: Iterable[Parked]) -> list[str]:
        """Settle what no longer waits; returns the rows that were learned."""
        learned: list[str] = []
        for parked in released:
            if not is_of_letter(parked.change):
                self._count(parked.change.source, parked.change.entity, "parked", -1)
            learned += self._settle(parked.change, by_id=True)
        return learned

    def _count(self, source: str, entity: str, fate: Fate, by: int = 1) -> None:
        self._stretches.now.fates[f"{source}|{entity}"][fate] += by

    # --- out -------------------------------------------------------------------------------------------------------

    def _batch(self, fresh: tuple[str, ...] = ()) -> Batch:
        moment = Moment(self.now_us, self.watermarks.vector(), self.sources, fresh)
        tallies = self._stretches.drain(self.parking.counts, self.parking.drain_moved(), self.totals)
        frames = self._framer.frames(self._changes, moment, self._by_worker, self._control, tallies)
        batch = Batch(frames, self._letters, self.parking.drain(), self.identity.drain(), self._rejected)
        self._changes, self._by_worker, self._control = defaultdict(list), defaultdict(list), []
        self._letters, self._rejected = [], Counter()
        return batch


def _mark(change: Change, op: Op, subject: str, why: str) -> Change:
    """A change about the object, or the record with this subject, that follows from another change."""
    return change._replace(key="", op=op, subject=subject, asserted={}, event_id=f"{change.event_id}#{why}")


def _only_entity(changes: Iterable[Change]) -> str:
    """What a record is about that cannot be read, where that much is known."""
    entities = {change.entity for change in changes}
    return entities.pop() if len(entities) == 1 else UNNAMED


def _of_letter(letter: Letter, said: Mapping[str, bool | str]) -> Change:
    """A dead letter as a change for the control axis."""
    return Change(DEAD_LETTER, letter.origin, Op.UPSERT, letter.source, letter.object, letter.ts_us,
                  f"{letter.offset:020d}", said, origin=(letter.topic, letter.partition, letter.offset))


def _of_symbols(change: Change, fields: str) -> Change:
    """What the control axis is told of a record with unknown symbols, or with none any more."""
    op, said = (Op.UPSERT, {"fields": fields}) if fields else (Op.DELETE, {})
    return change._replace(entity=SYMBOL, key=change.subject or change.key, op=op, subject=change.entity, asserted=said,
                           event_id=f"{change.event_id}#symbols")


def _gap(letter: Letter, number: int, change: Change) -> Change:
    """What a letter makes unknown of the record that a change of it would be about."""
    key = ENTITIES[change.entity].key
    said = {name: value for name, value in change.asserted.items() if name in key or name in LINKS}
    return change._replace(op=Op.GAP, seq=f"#{letter.origin}", asserted={LETTER: letter.origin, **said},
                           event_id=f"{letter.origin}#lost:{number}",
                           origin=(letter.topic, letter.partition, letter.offset))


def _topic(part: str) -> str:
    """The topic of a raw partition's name."""
    return part.partition("|")[0].rpartition("/")[0]


def shared_part(part: str, source: str) -> str:
    """The name of a source's share of a raw partition that holds several sources."""
    return f"{part}|{source}"


def claimed_source(record: RawRecord) -> str:
    """The `source` that an event of unknown origin claims, or a placeholder where it claims none."""
    try:
        source = orjson.loads(record.value or b"null").get("source")
    except (orjson.JSONDecodeError, AttributeError):
        return NOBODY
    return source if isinstance(source, str) and "/" in source else NOBODY

