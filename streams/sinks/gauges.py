"""What the analyst store says about the business, as gauges for alerts; read once a snapshot, no person in a label."""

from __future__ import annotations

from typing import Final

from tieout.streams.metrics import GaugeName, forget, gauge
from tieout.streams.sinks.store import Store

# Each query gives the labels in the order of `labels`, then the value; a label that is not known is empty.
_QUERIES: Final[dict[GaugeName, tuple[tuple[str, ...], str]]] = {
    "tieout_findings_open": (
        ("code", "queue", "severity"),
        "SELECT code, split_part(queue, '.', 1), severity, count(*) FROM v1.finding "
        "WHERE status IN ('OPEN', 'ACK') GROUP BY ALL",
    ),
    "tieout_finding_oldest_timestamp_seconds": (
        ("code",),
        "SELECT code, epoch(min(onset_at)) FROM v1.finding WHERE status IN ('OPEN', 'ACK') GROUP BY ALL",
    ),
    "tieout_assignment_sync_ratio": (
        ("legal_entity",),
        "SELECT le_code, sum(numerator) / sum(denominator) FROM v1.kpi "
        "WHERE kpi = 'assignment_sync_rate' GROUP BY ALL HAVING sum(denominator) > 0",
    ),
    "tieout_unbilled_labour_seconds": (
        ("legal_entity",),
        "SELECT le_code, sum(numerator) FROM v1.kpi WHERE kpi = 'unbilled_hours' GROUP BY ALL",
    ),
    "tieout_kpi_last_update_timestamp_seconds": (
        ("kpi",),
        "SELECT kpi, epoch(max(as_of)) FROM internal.kpi_cell WHERE kpi <> 'events' "
        "GROUP BY ALL HAVING max(as_of) NOT NULL",
    ),
    "tieout_source_last_event_timestamp_seconds": (
        ("source",),
        "SELECT system || '/' || instance, epoch(max(last_event_at)) FROM v1.source "
        "GROUP BY ALL HAVING max(last_event_at) NOT NULL",
    ),
}


def show(store: Store) -> None:
    """Set every gauge to what the store says now; what is gone loses its series."""
    for name, (labels, query) in _QUERIES.items():
        forget(name)
        for *said, value in store.query(query):
            gauge(name, **dict(zip(labels, (part or "" for part in said), strict=True))).set(float(value))
