"""Records of one source object that could not be read and were not sent once more: a set of origins."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import nsmallest
from itertools import islice
from typing import Any

from tieout.reconcilers.timeline import FOREVER


class Letters:
    """Offsets by raw partition, and since when there are any. One that is over stays over, if it is read again too."""

    def __init__(self) -> None:
        self.since = FOREVER
        self._offsets: dict[str, set[int]] = {}
        self._over: dict[str, set[int]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._offsets.values()))

    def add(self, origin: str, at: int) -> bool:
        """A record could not be read; `origin` is topic/partition/offset. Whether that is news."""
        part, _, offset = origin.rpartition("/")
        if int(offset) in self._over.get(part, ()):
            return False
        known = self._offsets.setdefault(part, set())
        is_news = int(offset) not in known
        known.add(int(offset))
        self.since = min(self.since, at)
        return is_news

    def discard(self, origin: str) -> bool:
        """The record was sent once more; whether it was one of these."""
        part, _, offset = origin.rpartition("/")
        offsets = self._offsets.get(part, set())
        if int(offset) not in offsets:
            return False
        offsets.discard(int(offset))
        self._over.setdefault(part, set()).add(int(offset))
        if not self:
            self.since = FOREVER
        return True

    def first(self, most: int) -> list[str]:
        """The first of them as topic/partition/offset."""
        origins = (f"{part}/{offset}" for part in sorted(self._offsets)
                   for offset in nsmallest(most, self._offsets[part]))
        return list(islice(origins, most))

    def to_record(self) -> list[Any]:
        """A JSON value, offsets as stretches [first, end); `restore` reads it."""
        return [self.since, *({part: list(_stretches(offsets)) for part, offsets in each.items() if offsets}
                              for each in (self._offsets, self._over))]

    @classmethod
    def restore(cls, value: list[Any]) -> Letters:
        """The letters that `to_record` wrote."""
        letters = cls()
        letters.since = value[0]
        letters._offsets, letters._over = (_offsets(each) for each in (value[1], value[2] if len(value) > 2 else {}))
        return letters


def _offsets(record: dict[str, list[list[int]]]) -> dict[str, set[int]]:
    return {part: {offset for first, end in stretches for offset in range(first, end)}
            for part, stretches in record.items()}


def _stretches(offsets: set[int]) -> Iterator[list[int]]:
    first = end = None
    for offset in sorted(offsets):
        if first is not None and offset != end:
            yield [first, end]  # type: ignore[list-item]  # both are set together
            first = None
        first = offset if first is None else first
        end = offset + 1
    if first is not None and end is not None:
        yield [first, end]
