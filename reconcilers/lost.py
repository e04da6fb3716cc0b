"""Dead letters of a record: what it said once and nobody could read makes it unknown, not missing.

Ingest sends a gap that names the letter; nothing tells where among the record's versions the unread one belongs, so
its place is a commit instant. It is over as soon as a later version came, the letter was read after all, or somebody
gave it up. Letters are kept as a set, so that the order of arrival does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from tieout.reconcilers.changes import Change, Op
from tieout.reconcilers.objects import Span
from tieout.reconcilers.timeline import FOREVER

LETTER: Final = "#letter"  # asserted by a gap: the origin of the record that could not be read
OVER: Final = "#over"  # asserted besides: it was read after all, or given up
LINKS: Final = ("project_code", "origin_ref", "target", "kind")  # what may be told of it: to whom the record belongs


def is_of_letter(change: Change) -> bool:
    """Whether a change is about a dead letter of a record."""
    return change.op is Op.GAP and LETTER in change.asserted


class Lost:
    """The letters of one record at one source: {origin: [commit_us, links]}; None for one that is over."""

    __slots__ = ("_marks",)

    def __init__(self, marks: Mapping[str, list[Any] | None]) -> None:
        self._marks = dict(marks)

    def __bool__(self) -> bool:
        return bool(self._marks)

    def note(self, change: Change) -> bool:
        """Take a gap that names a letter, or its end; whether it is news."""
        origin = str(change.asserted[LETTER])
        links = {name: change.asserted[name] for name in LINKS if name in change.asserted}
        mark = None if OVER in change.asserted else [change.commit_us, links]
        if origin in self._marks and (self._marks[origin] is None or mark is not None):
            return False
        self._marks[origin] = mark
        return True

    def spans(self, commits: Iterable[int]) -> Iterator[Span]:
        """When the record was unknown: until the first of these commits, which ascend, after the letter."""
        commits = list(commits)
        for commit_us in self.commits():
            yield Span(commit_us, next((each for each in commits if each > commit_us), FOREVER))

    def commits(self) -> list[int]:
        """Commit instants of letters that are not over."""
        return [mark[0] for mark in self._marks.values() if mark is not None]

    def links(self) -> Iterator[Mapping[str, Any]]:
        """To whom the record belongs, by the letters that are not over."""
        return (mark[1] for mark in self._marks.values() if mark is not None)

    def fold(self, commits: Iterable[int], horizon: int) -> None:
        """Letters that a later version ended until the horizon are over, whatever becomes of that version."""
        commits = list(commits)
        for origin, mark in self._marks.items():
            if mark is not None and any(mark[0] < each <= horizon for each in commits):
                self._marks[origin] = None

    def to_record(self) -> dict[str, list[Any] | None]:
        """A JSON value; the constructor reads it."""
        return dict(self._marks)
