"""Turns changes of the live rows into events, a few times a second: each changed thing once, as it stands then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from typing import Any, Final

from tieout.streams.api.encoding import to_json
from tieout.streams.api.findings import brief
from tieout.streams.api.freshness import Freshness
from tieout.streams.api.gauges import Gauges
from tieout.streams.api.hub import Hub
from tieout.streams.api.live import Changes
from tieout.streams.api.sources import source_bodies
from tieout.streams.api.values import Values

INTERVAL_S: Final = 0.4
_FINDINGS_AT_ONCE: Final = 100  # more changed findings than this are told as a number, not one by one

log = logging.getLogger(__name__)


class Publisher:
    """Looks for changes and publishes them to the hub."""

    def __init__(self, values: Values, hub: Hub, interval_s: float = INTERVAL_S) -> None:
        self._values, self._hub, self._interval_s = values, hub, interval_s
        self._freshness: dict[str, Freshness] = {}
        self._gauges = Gauges(values.live)

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            try:
                self.publish()
            except Exception:
                log.exception("an event could not be made; its change is shown by the next one")
            await asyncio.sleep(self._interval_s)

    def publish(self) -> None:
        """Publish what changed since the last time; while the topics are still being read, nothing."""
        if not self._values.live.ready.is_set():
            return
        changes = self._values.live.changes()
        self._gauges.update(changes)
        events = list(self._events(changes))
        if events:
            self._hub.publish(events)

    def start(self, kpis: Iterable[str] | None = None) -> Iterator[tuple[str, bytes]]:
        """The events that a new follower starts from: every wanted value and source as it stands."""
        catalogue = self._values.catalogue
        for kpi in catalogue if kpis is None else kpis:
            yield "kpi", to_json(self._values.value(catalogue[kpi]))
        for body in source_bodies(self._values):
            yield "source", to_json(body)
        yield "freshness", to_json(self.overall())

    def overall(self) -> dict[str, Any]:
        """Freshness of everything together, for the head of a page."""
        fresh = self._values.judge.freshness()
        return {"as_of": self._values.as_of(), "ready": self._values.live.ready.is_set(), **fresh.body()}

    def _events(self, changes: Changes) -> Iterator[tuple[str, str, bytes]]:
        for kpi in self._changed_kpis(changes):
            yield "kpi", kpi, to_json(self._values.value(self._values.catalogue[kpi]))
        yield from self._finding_events(changes)
        if changes.sources:
            changed = {key.partition("|")[0] for key in changes.sources}
            for body in source_bodies(self._values):
                if body["source"] in changed:
                    yield "source", "", to_json(body)
        turned = self._aged("", self._values.judge.freshness())
        if changes or turned:
            yield "freshness", "", to_json(self.overall())

    def _changed_kpis(self, changes: Changes) -> list[str]:
        """KPIs with changed cells, and those whose freshness turned: time passes without any row."""
        catalogue = self._values.catalogue
        turned = {kpi.id for kpi in catalogue.values() if self._aged(kpi.id, self._values.freshness(kpi))}
        moved = {"sync_lag"} if changes.sources else set()
        return [kpi for kpi in catalogue if kpi in changes.kpis or kpi in turned or kpi in moved]

    def _aged(self, kpi: str, fresh: Freshness) -> bool:
        before = self._freshness.get(kpi)
        self._freshness[kpi] = fresh
        if before is None:
            return True
        return (before.state, {s.name for s in before.stale}) != (fresh.state, {s.name for s in fresh.stale})

    def _finding_events(self, changes: Changes) -> Iterator[tuple[str, str, bytes]]:
        if len(changes.findings) > _FINDINGS_AT_ONCE:
            yield "findings", "", to_json({"changed": len(changes.findings)})
            return
        for finding_id in sorted(changes.findings):
            row = self._values.live.finding(finding_id)
            if row is not None:
                yield "finding", "", to_json(brief(row))
