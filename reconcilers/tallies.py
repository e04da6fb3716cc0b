"""What ingest read, counted so that reading it again changes nothing: tallies of stretches of raw partitions.

A process that is killed repeats what it had not committed, cut into other batches. A stretch that begins where, or
before, another one ended takes its place; what lies below the committed offset is never read again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

HOUR_US: Final = 3_600_000_000
LAST_EVENT: Final = "last_event_us"  # among the fates: the commit instant of the newest change, which is no count
_FORMER_KEPT: Final = 16

Fates = Mapping[str, Mapping[str, int]]  # "source|object" -> fate -> number
Quantities = Mapping[str, Mapping[int, Mapping[int, int]]]  # "source|object" -> hour of commit -> qty_s -> rows


@dataclass(frozen=True, slots=True)
class Tally:
    """One stretch of a raw partition, offsets [first, end).

    An empty one counts what has no place there: what waits now, and what the same process read again on purpose.
    `settled`: the committed offset. `waiting` is how many changes of the raw partition are parked now, by place.
    """

    part: str
    first: int
    end: int
    settled: int
    fates: Fates = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)
    quantities: Quantities = field(default_factory=dict)

    def to_record(self) -> list[Any]:
        """A JSON list; `from_record` is its inverse."""
        quantities = {place: {str(hour): {str(qty): rows for qty, rows in found.items()}
                              for hour, found in hours.items()} for place, hours in self.quantities.items()}
        return [self.part, self.first, self.end, self.settled,
                {place: dict(fates) for place, fates in self.fates.items()}, dict(self.waiting), quantities]

    @classmethod
    def from_record(cls, value: list[Any]) -> Tally:
        """The tally that `to_record` wrote."""
        part, first, end, settled, fates, waiting, quantities = value
        return cls(part, first, end, settled, fates, waiting, {
            place: {int(hour): {int(qty): rows for qty, rows in found.items()}
                    for hour, found in hours.items()} for place, hours in quantities.items()})


@dataclass(slots=True)
class _Part:
    """A raw partition: what was read of it since the last committed offset, and who reads it."""

    recent: list[Tally] = field(default_factory=list)
    floor: int = 0  # below it, all is counted for good
    waiting: dict[str, int] = field(default_factory=dict)
    owner: str = ""
    former: list[str] = field(default_factory=list)  # producers before the owner: they have nothing to say any more


class Ledger:
    """The sum of all tallies, each stretch once."""

    def __init__(self) -> None:
        self.quantities: dict[str, dict[int, Counter[int]]] = {}  # place -> hour -> qty_s -> rows
        self.moved: set[tuple[str, int]] = set()  # places and hours whose quantities changed
        self._parts: dict[str, _Part] = {}
        self._sums: dict[str, Counter[str]] = {}

    def add(self, producer: str, tally: Tally) -> None:
        """Count a stretch in place of what was counted from its beginning on."""
        part = self._parts.setdefault(tally.part, _Part())
        if producer in part.former:
            return  # it lost the partition, and did not know it yet
        if producer != part.owner:
            part.former = [*part.former, *filter(None, [part.owner])][-_FORMER_KEPT:]
            part.owner = producer
        part.waiting = dict(tally.waiting)
        if tally.first < tally.end:
            while part.recent and part.recent[-1].end > tally.first:
                self._count(part.recent.pop(), -1)
            if tally.first >= part.floor:
                self._count(tally, 1)
                part.recent.append(tally)
        else:
            self._count(tally, 1)
        while part.recent and part.recent[0].end <= tally.settled:
            part.floor = part.recent.pop(0).end

    def _count(self, tally: Tally, sign: int) -> None:
        for place, fates in tally.fates.items():
            sums = self._sums.setdefault(place, Counter())
            for fate, number in fates.items():
                sums[fate] = max(sums[fate], number) if fate == LAST_EVENT else sums[fate] + sign * number
        for place, hours in tally.quantities.items():
            for hour, found in hours.items():
                known = self.quantities.setdefault(place, {}).setdefault(hour, Counter())
                for qty, rows in found.items():
                    known[qty] += sign * rows
                self.moved.add((place, hour))

    def totals(self) -> dict[str, dict[str, int]]:
        """Counts by place, with what is parked now."""
        found = {place: {**sums, "parked": 0} for place, sums in self._sums.items()}
        for part in self._parts.values():
            for place, number in part.waiting.items():
                sums = found.setdefault(place, {"parked": 0})
                sums["parked"] += number
        return found

    def forget(self, place: str, before_hour: int) -> None:
        """Drop the quantities of hours before one."""
        for hour in [hour for hour in self.quantities.get(place, ()) if hour < before_hour]:
            del self.quantities[place][hour]
            self.moved.add((place, hour))

    def drain(self) -> Iterator[tuple[str, int, dict[str, int] | None]]:
        """Places and hours whose quantities changed since the last call, each once; these as JSON, None if dropped."""
        for place, hour in sorted(self.moved):
            found = self.quantities.get(place, {}).get(hour)
            yield place, hour, None if found is None else {str(qty): rows for qty, rows in found.items() if rows}
        self.moved.clear()

    def restore_hour(self, place: str, hour: int, found: Mapping[str, int]) -> None:
        """Take up what `drain` gave."""
        self.quantities.setdefault(place, {})[hour] = Counter({int(qty): rows for qty, rows in found.items()})

    def to_record(self) -> dict[str, Any]:
        """A JSON object without the quantities; `restore` reads it."""
        parts = {name: [[tally.to_record() for tally in part.recent], part.floor, part.waiting, part.owner, part.former]
                 for name, part in self._parts.items()}
        return {"parts": parts, "sums": {place: dict(sums) for place, sums in self._sums.items()}}

    def restore(self, record: Mapping[str, Any]) -> None:
        """Take up what `to_record` wrote."""
        self._parts = {name: _Part([Tally.from_record(tally) for tally in recent], floor, waiting, owner, former)
                       for name, (recent, floor, waiting, owner, former) in record["parts"].items()}
        self._sums = {place: Counter(sums) for place, sums in record["sums"].items()}
