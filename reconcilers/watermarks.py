"""What has been delivered in full: watermarks of raw partitions, sources, systems, and when they passed an instant."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tieout.reconcilers.changes import NEVER, Frame

_KEPT_STEPS = 16  # steps of a source's watermark that are remembered to date a detection


class Watermarks:
    """Watermarks as the frames of one partition state them; every value only grows."""

    def __init__(self) -> None:
        self.now_us = NEVER
        self._partitions: dict[str, int] = {}
        self._sources: dict[str, list[str]] = {}
        self._fresh: set[str] = set()
        self._systems: dict[str, int] = {}  # system -> least watermark of its sources
        self._steps: dict[str, list[tuple[int, int]]] = {}  # source -> (watermark, instant at which it was stated)

    def take(self, frame: Frame) -> None:
        """Learn what a frame says about time."""
        self.now_us = max(self.now_us, frame.now_us)
        self._sources.update(frame.sources)
        for partition, watermark in frame.watermarks.items():
            if watermark > self._partitions.get(partition, NEVER):
                self._partitions[partition] = watermark
        self._fresh.update(frame.fresh)
        for source in self._sources:
            self._step(source)
        self._sum_up()

    def _sum_up(self) -> None:
        self._systems = {}
        for source in self._sources:
            system, mark = source.partition("/")[0], self.of_source(source)
            self._systems[system] = min(mark, self._systems.get(system, mark))

    def _step(self, source: str) -> None:
        watermark = min((self._partitions.get(name, NEVER) for name in self._sources[source]), default=NEVER)
        steps = self._steps.setdefault(source, [])
        if watermark > (steps[-1][0] if steps else NEVER):
            steps.append((watermark, self.now_us))
            del steps[:-_KEPT_STEPS]

    def sources(self) -> list[str]:
        """All sources that the configuration names, sorted."""
        return sorted(self._sources)

    def of_source(self, source: str) -> int:
        """The source's watermark, NEVER if it has not stated one."""
        if source in self._fresh:
            return self.now_us
        steps = self._steps.get(source)
        return steps[-1][0] if steps else NEVER

    def systems(self) -> set[str]:
        """Systems that have a source."""
        return set(self._systems)

    def of_system(self, system: str) -> int:
        """The least watermark of the system's sources, NEVER where it has none."""
        return self._systems.get(system, NEVER)

    def awaits(self, system: str) -> bool:
        """Whether a source of the system is to state watermarks and has not stated one yet."""
        return any(parts and source.partition("/")[0] == system and self.of_source(source) == NEVER
                   for source, parts in self._sources.items())

    def frontier(self, systems: Sequence[str]) -> int:
        """How far all of the systems have been delivered, never ahead of the processing instant."""
        return min((self.of_system(system) for system in systems), default=NEVER) if systems else self.now_us

    def passed_at(self, systems: Iterable[str], instant: int) -> int:
        """The processing instant at which the last of the systems' watermarks reached `instant`.

        A source that is assumed fresh without ever having stated a watermark has always been at the clock.
        """
        named = set(systems)
        return max((self._source_passed(source, instant) for source in self._sources
                    if source.partition("/")[0] in named), default=instant)

    def _source_passed(self, source: str, instant: int) -> int:
        steps = self._steps.get(source, [])
        index = bisect_left(steps, (instant, NEVER))
        if index < len(steps):
            return max(instant, steps[index][1])
        if source in self._fresh:
            return max(instant, steps[-1][1]) if steps else instant
        return self.now_us

    def lowest(self) -> int:
        """The least watermark of all sources that have stated one."""
        known = [mark for mark in map(self.of_source, self._sources) if mark != NEVER]
        return min(known, default=NEVER)

    def to_record(self) -> dict[str, Any]:
        """A JSON object; `restore` reads it."""
        return {"now": self.now_us, "partitions": dict(self._partitions), "sources": dict(self._sources),
                "fresh": sorted(self._fresh), "steps": {name: list(map(list, s)) for name, s in self._steps.items()}}

    def restore(self, record: Mapping[str, Any]) -> None:
        """Take up what `to_record` wrote."""
        self.now_us = record["now"]
        self._partitions = dict(record["partitions"])
        self._sources = dict(record["sources"])
        self._fresh = set(record["fresh"])
        self._steps = {name: [(mark, at) for mark, at in steps] for name, steps in record["steps"].items()}
        self._sum_up()
