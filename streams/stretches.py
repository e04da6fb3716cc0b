"""What ingest notices while it reads, beside the changes: counts and quantities by stretch, and orders that go back."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tieout.reconcilers.changes import Change, Op
from tieout.reconcilers.tallies import HOUR_US, LAST_EVENT, Tally

_RECORDS_KEPT: Final = 20_000  # whose last order token is remembered
_SAMPLED: Final = ("time_entry", "posted_labour")  # objects with a quantity whose unit may change
Totals = dict[str, Counter[str]]


@dataclass(slots=True)
class Stretch:
    """What was read of a raw partition since the last batch, offsets [first, end)."""

    first: int = 0
    end: int = 0
    fates: Totals = field(default_factory=lambda: defaultdict(Counter))
    quantities: dict[str, dict[int, Counter[int]]] = field(default_factory=dict)

    def read(self, offset: int) -> None:
        """The record at the offset is next."""
        if not self.end:
            self.first = offset
        self.end = offset + 1

    def sample(self, change: Change) -> None:
        """Note the quantity that a change states; what was only read again says nothing new."""
        if change.entity not in _SAMPLED or change.op is not Op.UPSERT:
            return
        if isinstance(qty := change.asserted.get("qty_s"), int):
            place = self.quantities.setdefault(f"{change.source}|{change.entity}", {})
            place.setdefault(change.commit_us // HOUR_US, Counter())[qty] += 1


class Stretches:
    """The stretches of one batch; counts outside of any record go to the nameless one."""

    def __init__(self) -> None:
        self.committed: dict[str, int] = {}  # raw partition -> offset below which nothing is read again
        self.now = Stretch()
        self.again = False  # this process has read the present record before: a replay repeats lines
        self._ends: dict[str, int] = {}
        self._by_part: dict[tuple[str, bool], Stretch] = {}

    def begin(self, part: str, offset: int) -> None:
        """The record at the offset is read now."""
        self.again = offset < self._ends.get(part, 0)
        place = (part, self.again)
        self.now = self._by_part.get(place) or self._by_part.setdefault(place, Stretch())
        if not self.again:
            self._ends[part] = offset + 1
            self.now.read(offset)

    def drain(self, waiting: Mapping[str, Counter[str]], moved: Iterable[str], totals: Totals) -> list[Tally]:
        """Tallies of what was read, and of partitions where what waits has moved; adds to the running totals."""
        tallies = []
        for part, again in {**self._by_part, **dict.fromkeys((part, False) for part in moved)}:
            found = self._by_part.get((part, again)) or Stretch()
            fates = {place: {fate: number for fate, number in sums.items() if fate != "parked"}
                     for place, sums in found.fates.items()}
            parked = {place: number for place, number in waiting.get(part, {}).items() if number}
            tallies.append(Tally(part, found.first, found.end, self.committed.get(part, 0), fates, parked,
                                 found.quantities))
        for stretch in (self.now, *self._by_part.values()):
            _add_up(stretch.fates, totals)
        self._by_part, self.now, self.again = {}, Stretch(), False
        return tallies


def _add_up(fates: Totals, totals: Totals) -> None:
    for place, sums in fates.items():
        known = totals[place]
        for fate, number in sums.items():
            known[fate] = max(known[fate], number) if fate == LAST_EVENT else known[fate] + number
    fates.clear()


class Orders:
    """Records whose order token goes back while their commit instant goes on: the source began a log anew."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, str, str], tuple[int, str]] = OrderedDict()
        self._told: set[tuple[str, str]] = set()  # objects whose order went back, until they are read again

    def went_back(self, change: Change) -> bool:
        """Whether this change is the first of its object that shows it."""
        place = (change.source, change.entity, change.subject)
        before = self._last.get(place)
        here = (change.commit_us, change.seq)
        if before is None or change.commit_us > before[0]:
            self._last[place] = here
            self._last.move_to_end(place)
            if len(self._last) > _RECORDS_KEPT:
                self._last.popitem(last=False)
        if before is None or change.commit_us <= before[0] or change.seq >= before[1] or place[:2] in self._told:
            return False
        self._told.add(place[:2])
        return True

    def read_again(self, change: Change) -> None:
        """The object was read again: its order may go back once more."""
        self._told.discard((change.source, change.entity))
