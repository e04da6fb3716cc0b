"""What happened to a whole object (an entity of one source): emptied, lost from sight, read again.

A truncate deletes what is older. A gap makes the object unknown from its commit on; the first statement after it that
the object has been read again makes it known, and deletes what that did not find. All of it is kept as sets and
derived from them, so that the order of arrival does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tieout.reconcilers.changes import NEVER, Change, Op
from tieout.reconcilers.timeline import FOREVER

ORDER: Final = "#order"  # stands for the record when an object's order of changes went back


class Mark(NamedTuple):
    """Where in the source's log something happened. Commit instants come first: an object has no single token."""

    commit_us: int
    seq: str


class Span(NamedTuple):
    """From when and until when something was unknown; FOREVER: it still is."""

    since: int
    until: int

    def holds(self, instant: int) -> bool:
        """Whether it was unknown as of the instant."""
        return self.since <= instant < self.until


class Sweep(NamedTuple):
    """A reason to delete rows: a truncate of a raw topic (`since` None), or a re-read that closed a gap."""

    seq: str
    commit_us: int
    since: int | None = None
    topic: str | None = None  # None: whichever topic the row came from


@dataclass(slots=True)
class Object:
    """Truncates, gaps and re-reads of one entity of one source; those of the whole object have the subject ''.

    A gap with a subject is that of a record nobody has seen yet: any absence in the object might be due to it.
    """

    gaps: dict[str, set[Mark]] = field(default_factory=dict)  # subject -> gaps
    reads: dict[str, set[Mark]] = field(default_factory=dict)  # subject -> re-reads
    truncates: dict[str, set[Mark]] = field(default_factory=dict)  # raw topic -> truncates
    settled: int = NEVER  # what deleted rows until then may be forgotten

    def note(self, change: Change) -> bool:
        """Take an operation on the object; whether it is news."""
        place, name = {
            Op.GAP: (self.gaps, change.subject), Op.SNAPSHOT: (self.reads, change.subject),
            Op.TRUNCATE: (self.truncates, change.origin[0]),
        }.get(change.op, (None, ""))
        mark = Mark(change.commit_us, change.seq)
        if change.op is Op.SNAPSHOT and name and name not in self.gaps:
            return False  # a record that was never lost
        if place is None or mark in place.setdefault(name, set()):
            return False
        place[name].add(mark)
        return True

    def unknown(self) -> Iterator[tuple[str, Span]]:
        """Subject and span of every gap, oldest first within a subject."""
        for subject, gaps in self.gaps.items():
            for gap in sorted(gaps):
                yield subject, Span(gap.commit_us, self._known_again(subject, gap))

    def _known_again(self, subject: str, gap: Mark) -> int:
        """When the record, or the whole object, was first read after the gap."""
        later = [mark.commit_us for name in {subject, ""} for mark in self.reads.get(name, ())
                 if mark.commit_us > gap.commit_us or (name and mark > gap)]
        return min(later, default=FOREVER)

    def open_subjects(self) -> list[str]:
        """Subjects that are unknown now, sorted; '' is the whole object."""
        return sorted({subject for subject, span in self.unknown() if span.until == FOREVER})

    def sweeps(self) -> list[Sweep]:
        """What deletes rows, oldest first."""
        found = [Sweep(mark.seq, mark.commit_us, topic=topic) for topic, marks in self.truncates.items()
                 for mark in marks]
        gaps = sorted(gap.commit_us for gap in self.gaps.get("", ()))
        for read in self.reads.get("", ()):
            before = [gap for gap in gaps if gap < read.commit_us]
            found.append(Sweep(read.seq, read.commit_us, before[-1] if before else FOREVER))
        return sorted(found, key=lambda sweep: (sweep.commit_us, sweep.seq))

    def prune(self, horizon: int) -> None:
        """Forget what nobody looks back at; the newest of each kind stays, for rows that come late."""
        for subject, gaps in list(self.gaps.items()):
            closed = sorted(gap for gap in gaps if self._known_again(subject, gap) <= horizon)
            gaps -= set(closed if subject else closed[:-1])
            if not gaps:
                del self.gaps[subject]
                self.reads.pop(subject, None)
        for marks in (*self.truncates.values(), *self.reads.values()):
            marks -= set(sorted(mark for mark in marks if mark.commit_us <= horizon)[:-1])
        self.settled = max(self.settled, horizon)

    def to_record(self) -> list[Any]:
        """A JSON value; `from_record` is its inverse."""
        places = [{name: [list(mark) for mark in sorted(marks)] for name, marks in sorted(place.items())}
                  for place in (self.gaps, self.reads, self.truncates)]
        return [*places, self.settled]

    @classmethod
    def from_record(cls, value: list[Any]) -> Object:
        """The object that `to_record` wrote."""
        gaps, reads, truncates = ({name: {Mark(*mark) for mark in marks} for name, marks in place.items()}
                                  for place in value[:3])
        return cls(gaps, reads, truncates, value[3])


def is_of_object(change: Change) -> bool:
    """Whether a change is about an object, or about a record that nobody can name, and not about a known record."""
    return not change.key and change.op in (Op.GAP, Op.SNAPSHOT, Op.TRUNCATE)
