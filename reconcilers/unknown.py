"""What is unknown, and for how long: gaps as the lanes see them.

While an object is unknown, a lane that reads it does not pass the gap; what falls due in between is looked at as of
the instant at which the object is known again. A single unknown record holds up its own subjects only. Nothing is
ever concluded from the emptiness that a gap leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tieout.reconcilers import affected
from tieout.reconcilers.facts import Facts
from tieout.reconcilers.objects import Span
from tieout.reconcilers.timeline import FOREVER


class _Hole(NamedTuple):
    """An unknown object: who reads it, and when."""

    entity: str
    source: str
    span: Span

    def concerns(self, systems: Collection[str], kind: str) -> bool:
        """Whether rules over this kind of subject that need these systems read the object."""
        return self.source.partition("/")[0] in systems and kind in affected.KINDS.get(self.entity, ())


@dataclass(frozen=True, slots=True)
class Unknown:
    """Gaps of objects and of single records, as of what the facts hold now."""

    objects: tuple[_Hole, ...] = ()
    subjects: dict[tuple[str, str], list[tuple[str, Span]]] = field(default_factory=dict)  # -> (system, span)

    @classmethod
    def of(cls, facts: Facts, bearing: Callable[[set[affected.Subject]], set[affected.Subject]]) -> Unknown:
        """Work it out, for the subjects of an axis; cheap where nothing is or was unknown."""
        holes = tuple(_Hole(*place, span) for place, of_object in facts.objects.items()
                      for _, span in of_object.unknown())
        subjects: dict[tuple[str, str], list[tuple[str, Span]]] = {}
        for identity in facts.gapped:
            record = facts.records[identity]
            for subject in bearing(affected.of_record(facts, record)):
                subjects.setdefault(subject, []).extend(record.gaps())
        return cls(holes, subjects)

    def frontier(self, systems: Collection[str], kind: str, frontier: int) -> int:
        """How far a lane may look that could look until `frontier`: not into a gap whose end is out of its sight."""
        spans = [hole.span for hole in self.objects if hole.concerns(systems, kind)]
        while (earlier := min((span.since for span in spans if span.holds(frontier)), default=None)) is not None:
            frontier = earlier - 1
        return frontier

    def known(self, systems: Collection[str], kind: str, subject: str, instant: int) -> int:
        """The first instant from `instant` on at which all that the rules read of the subject is known."""
        spans = [*self._spans(systems, kind, subject)]
        while (later := max((span.until for span in spans if span.holds(instant)), default=instant)) > instant:
            instant = later
        return instant

    def _spans(self, systems: Collection[str], kind: str, subject: str) -> Iterator[Span]:
        yield from (hole.span for hole in self.objects if hole.concerns(systems, kind))
        yield from (span for system, span in self.subjects.get((kind, subject), ()) if system in systems)

    def sources(self, kind: str) -> set[str]:
        """Sources with an object that is unknown now and that rules over this kind of subject read."""
        return {hole.source for hole in self.objects
                if hole.span.until == FOREVER and kind in affected.KINDS.get(hole.entity, ())}

    def systems_on(self, kind: str, subject: str) -> set[str]:
        """Systems of which a record that bears on the subject is unknown now."""
        return {system for system, span in self.subjects.get((kind, subject), ()) if span.until == FOREVER}


def systems_of(sources: Iterable[str]) -> set[str]:
    """Systems of the sources."""
    return {source.partition("/")[0] for source in sources}
