"""KPIs as metrics, for alerts: the bounded dimensions only, never a project or a person.

Every API process holds all rows, so each exports the whole; rules take the max or min over processes.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from tieout.streams.api.findings import OPEN
from tieout.streams.api.live import Changes, Live
from tieout.streams.clock import monotonic_s
from tieout.streams.metrics import forget, gauge

_EVERY_S: Final = 5.0  # scrapes come slower than changes
_MICROSECONDS: Final = 1_000_000
_NOWHERE: Final = "(none)"  # label of what belongs to no legal entity


class Gauges:
    """Sets the gauges from the live rows, at most every few seconds."""

    def __init__(self, live: Live, every_s: float = _EVERY_S) -> None:
        self._live, self._every_s = live, every_s
        self._due_s = monotonic_s()
        self._kpis: set[str] = set()
        self._findings = False

    def update(self, changes: Changes) -> None:
        """Note what changed and, when it is time, set what that concerns."""
        self._kpis |= changes.kpis
        self._findings |= bool(changes.findings)
        if monotonic_s() < self._due_s:
            return
        self._due_s = monotonic_s() + self._every_s
        if self._findings:
            self._set_findings()
        for kpi in self._kpis:
            gauge("tieout_kpi_last_update_timestamp_seconds", kpi=kpi).set((self._live.as_of or 0) / _MICROSECONDS)
        if "unbilled_hours" in self._kpis:
            self._set_unbilled()
        if "assignment_sync_rate" in self._kpis:
            self._set_assignments()
        self._kpis, self._findings = set(), False

    def _set_findings(self) -> None:
        rows = [row for row in self._live.findings() if row["status"] in OPEN]
        counts = Counter((row["code"], row["queue"], row["severity"]) for row in rows)
        forget("tieout_findings_open")
        for (code, queue, severity), count in counts.items():
            gauge("tieout_findings_open", code=code, queue=queue, severity=severity).set(count)
        forget("tieout_finding_oldest_timestamp_seconds")
        for code in {row["code"] for row in rows}:
            oldest = min(row["onset_at"] for row in rows if row["code"] == code)
            gauge("tieout_finding_oldest_timestamp_seconds", code=code).set(oldest / _MICROSECONDS)

    def _set_unbilled(self) -> None:
        forget("tieout_unbilled_labour_seconds")
        for (le_code,), total in self._live.sums("unbilled_hours", ("le_code",)).items():
            gauge("tieout_unbilled_labour_seconds", legal_entity=le_code or _NOWHERE).set(total.numerator)

    def _set_assignments(self) -> None:
        forget("tieout_assignment_sync_ratio")
        for (le_code,), total in self._live.sums("assignment_sync_rate", ("le_code",)).items():
            if total.denominator:
                ratio = total.numerator / total.denominator
                gauge("tieout_assignment_sync_ratio", legal_entity=le_code or _NOWHERE).set(ratio)
