"""Changes that wait for a reference: kept durably in `tieout.parked.v1`, released in order of arrival.

A row's key is the change's position at its source, so that the same change parked twice waits once; its value is a
JSON object that `Parked.to_record` writes, a tombstone once the change is released.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tieout.reconcilers.changes import Change, UnknownVersion
from tieout.reconcilers.lost import is_of_letter


@dataclass(frozen=True, slots=True)
class Parked:
    """A waiting change: `need` is the xref row that it waits for, `arrival` orders what waits for one row."""

    change: Change
    need: str
    arrival: int
    since_us: int

    def to_record(self) -> dict[str, Any]:
        """A JSON object; source, entity and key are repeated on top for readers that do not decode changes."""
        change = self.change
        return {
            "v": 1, "need": self.need, "arrival": self.arrival, "since_us": self.since_us, "source": change.source,
            "entity": change.entity, "key": change.key, "subject": change.subject, "change": change.to_record(),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Parked:
        """The parked change that `to_record` wrote; UnknownVersion for that of a newer build."""
        if record.get("v") != 1:
            raise UnknownVersion(f"a parked change of version {record.get('v')!r}, this build reads 1: run the build "
                                 "that wrote it")
        return cls(Change.from_record(record["change"]), record["need"], record["arrival"], record["since_us"])


def position(change: Change) -> str:
    """The change's position at its source, the same for every delivery of it."""
    return f"{change.source}|{change.entity}|{change.subject or change.key}|{change.seq}|{change.event_id}"


@dataclass
class Parking:
    """What waits, by the row that it waits for; `fresh` are the rows of the topic that are not written yet.

    `counts` are the waiting changes by raw partition and place, `moved` the partitions where they changed.
    """

    waiting: dict[str, dict[str, Parked]] = field(default_factory=lambda: defaultdict(dict))
    needs: dict[str, str] = field(default_factory=dict)  # position -> need
    fresh: dict[str, Parked | None] = field(default_factory=dict)
    arrivals: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    moved: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.needs)

    def __contains__(self, change: Change) -> bool:
        return bool(self.needs) and position(change) in self.needs

    def restore(self, parked: Parked) -> None:
        """Take over a row that is already written."""
        self._put(parked)
        self.arrivals = max(self.arrivals, parked.arrival + 1)

    def park(self, change: Change, need: str, since_us: int) -> None:
        """Let a change wait for a row, behind what already waits for it."""
        parked = Parked(change, need, self.arrivals, since_us)
        self.arrivals += 1
        self._put(parked)
        self.fresh[position(change)] = parked

    def release(self, row: str) -> list[Parked]:
        """What waited for a row that is known now, in order of arrival."""
        return self.release_all([row])

    def release_all(self, rows: Iterable[str]) -> list[Parked]:
        """What waited for any of these rows, in order of arrival."""
        found = [parked for row in rows for parked in self.waiting.pop(row, {}).values()]
        released = sorted(found, key=lambda parked: parked.arrival)
        for parked in released:
            name = position(parked.change)
            del self.needs[name]
            self._count(parked.change, -1)
            self.fresh[name] = None
        return released

    def forget(self, change: Change) -> None:
        """A change that waits is not wanted any more."""
        name = position(change)
        self.waiting[self.needs.pop(name)].pop(name)
        self._count(change, -1)
        self.fresh[name] = None

    def drain(self) -> dict[str, Parked | None]:
        """The rows to write, each once (None: a tombstone), and forget that they are fresh."""
        fresh, self.fresh = self.fresh, {}
        return fresh

    def drain_moved(self) -> set[str]:
        """The raw partitions of which something began to wait, or was released, since the last call."""
        moved, self.moved = self.moved, set()
        return moved

    def _put(self, parked: Parked) -> None:
        name = position(parked.change)
        if name not in self.needs:
            self._count(parked.change, 1)
        self.needs[name] = parked.need
        self.waiting[parked.need][name] = parked

    def _count(self, change: Change, by: int) -> None:
        if is_of_letter(change):
            return  # it is counted as what was put aside
        topic, partition, _ = change.origin
        part = f"{topic}/{partition}"
        self.counts[part][f"{change.source}|{change.entity}"] += by
        self.moved.add(part)

    def is_same(self, change: Change) -> bool:
        """Whether it is the very record that waits, not another delivery of its change."""
        waits = self.waiting[self.needs[position(change)]][position(change)]
        return waits.change.origin == change.origin
