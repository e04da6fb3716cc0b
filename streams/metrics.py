"""Every metric family of every role: name, kind, meaning, labels; a name that is not here does not type-check.

One process, one port, one target: no multi-process mode. No label ever names a person or a project.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from platform import python_version
from typing import Any, Final, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CounterName = Literal[
    "tieout_events_consumed",
    "tieout_events_rejected",
    "tieout_events_filtered",
    "tieout_changes_applied",
    "tieout_frames_produced",
    "tieout_outputs_produced",
    "tieout_sink_records",
    "tieout_audit_failures",
    "tieout_restored_rows",
]
GaugeName = Literal[
    "tieout_dependency_up",
    "tieout_parked_changes",
    "tieout_source_last_event_timestamp_seconds",
    "tieout_source_last_heartbeat_timestamp_seconds",
    "tieout_watermark_timestamp_seconds",
    "tieout_frame_tick_timestamp_seconds",
    "tieout_consumer_lag_records",
    "tieout_assigned_partitions",
    "tieout_restore_progress_ratio",
    "tieout_event_loop_lag_seconds",
    "tieout_findings_open",
    "tieout_finding_oldest_timestamp_seconds",
    "tieout_assignment_sync_ratio",
    "tieout_unbilled_labour_seconds",
    "tieout_kpi_last_update_timestamp_seconds",
    "tieout_snapshot_last_success_timestamp_seconds",
    "tieout_stream_clients",
    "tieout_audit_missing_records",
    "tieout_audit_unexpected_records",
    "tieout_audit_repeated_events",
    "tieout_audit_last_success_timestamp_seconds",
]
HistogramName = Literal[
    "tieout_sync_latency_seconds",
    "tieout_agent_processing_seconds",
    "tieout_checkpoint_duration_seconds",
    "tieout_rebalance_duration_seconds",
    "tieout_sink_transaction_seconds",
    "http_server_request_duration_seconds",
]

SYNC: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)  # 60 s is the objective
WORK: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
LONG: Final = (0.1, 0.5, 1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600)
HTTP: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)  # OpenTelemetry's


@dataclass(frozen=True, slots=True)
class Family:
    """What a metric means and what it is told apart by; `buckets` make it a histogram."""

    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


COUNTERS: Final[dict[CounterName, Family]] = {
    "tieout_events_consumed": Family("Records read from a raw topic.", ("source",)),
    "tieout_events_rejected": Family("Records sent to the dead-letter topic.", ("source", "reason")),
    "tieout_events_filtered": Family("Changes that no rule reads.", ("source",)),
    "tieout_changes_applied": Family("Changes applied by the engine, replays included.", ("axis",)),
    "tieout_frames_produced": Family("Frames written, ticks included.", ("axis",)),
    "tieout_outputs_produced": Family("Rows written to output topics.", ("output",)),
    "tieout_sink_records": Family("Records committed to the analyst store.", ("output",)),
    "tieout_audit_failures": Family("Comparisons of topics and store that could not be made."),
    "tieout_restored_rows": Family("Rows of tables that restores brought back.", ("axis",)),
}

GAUGES: Final[dict[GaugeName, Family]] = {
    "tieout_dependency_up": Family(
        "1 while what the process needs answers it, 0 while not: brokers, registry, store, snapshot.", ("dependency",)
    ),
    "tieout_parked_changes": Family("Changes that wait for a reference to resolve.", ("source",)),
    "tieout_source_last_event_timestamp_seconds": Family("Source commit time of the newest change.", ("source",)),
    "tieout_source_last_heartbeat_timestamp_seconds": Family(
        "When the source was last heard, change or heartbeat; moves when business is quiet.", ("source",)
    ),
    "tieout_watermark_timestamp_seconds": Family(
        "Event time up to which every partition of the source is complete.", ("source",)
    ),
    "tieout_frame_tick_timestamp_seconds": Family("Processing instant of the newest frame applied.", ("axis",)),
    "tieout_consumer_lag_records": Family("Records between position and log end.", ("topic", "partition")),
    "tieout_assigned_partitions": Family("Partitions assigned to this process.", ("topic",)),
    "tieout_restore_progress_ratio": Family("How much of the running restore is done; 1 when nothing is restored."),
    "tieout_event_loop_lag_seconds": Family("Delay of a 1 s timer on the event loop."),
    "tieout_findings_open": Family("Findings open or acknowledged now.", ("code", "queue", "severity")),
    "tieout_finding_oldest_timestamp_seconds": Family("Onset of the oldest open finding.", ("code",)),
    "tieout_assignment_sync_ratio": Family(
        "Share of assigned project-worker-weeks on which all systems agree (K13).", ("legal_entity",)
    ),
    "tieout_unbilled_labour_seconds": Family("Approved labour time not yet invoiced (K1).", ("legal_entity",)),
    "tieout_kpi_last_update_timestamp_seconds": Family("When a KPI's cells last changed.", ("kpi",)),
    "tieout_snapshot_last_success_timestamp_seconds": Family("End of the last snapshot published."),
    "tieout_stream_clients": Family("Open server-sent-event connections."),
    "tieout_audit_missing_records": Family(
        "Records of a topic that the store lacks, counted independently.", ("topic",)
    ),
    "tieout_audit_unexpected_records": Family("Rows of the store that the topic lacks.", ("topic",)),
    "tieout_audit_repeated_events": Family("Events that a topic carries more than once.", ("topic",)),
    "tieout_audit_last_success_timestamp_seconds": Family("End of the last comparison of topics and store."),
}

HISTOGRAMS: Final[dict[HistogramName, Family]] = {
    "tieout_sync_latency_seconds": Family(
        "From the source's commit to the engine, the oldest change of each frame and source.", ("source",), SYNC
    ),
    "tieout_agent_processing_seconds": Family("Time one frame spends in the engine.", ("axis",), WORK),
    "tieout_checkpoint_duration_seconds": Family("Time of one partition's checkpoint transaction.", ("axis",), WORK),
    "tieout_rebalance_duration_seconds": Family("From revocation to all partitions restored.", (), LONG),
    "tieout_sink_transaction_seconds": Family("Time of one DuckDB transaction.", (), WORK),
    "http_server_request_duration_seconds": Family(
        "HTTP server request duration (OpenTelemetry's stable name).",
        ("http_request_method", "http_route", "http_response_status_code"),
        HTTP,
    ),
}

REGISTRY: Final = CollectorRegistry()


def _register() -> dict[str, Any]:
    disable_created_metrics()  # type: ignore[no-untyped-call]
    made: dict[str, Any] = {}
    for counter_name, family in COUNTERS.items():
        made[counter_name] = Counter(counter_name, family.help, family.labels, registry=REGISTRY)
    for gauge_name, family in GAUGES.items():
        made[gauge_name] = Gauge(gauge_name, family.help, family.labels, registry=REGISTRY)
    for name, family in HISTOGRAMS.items():
        made[name] = Histogram(name, family.help, family.labels, registry=REGISTRY, buckets=family.buckets)
    build = Info("tieout_build", "Version and Python of the running process.", registry=REGISTRY)
    build.info({"version": _version(), "python": python_version()})
    return made


def _version() -> str:
    try:
        return version("tieout")
    except ModuleNotFoundError:  # a checkout that is not installed
        return "unknown"


_MADE: Final = _register()
_CHILDREN: Final[dict[tuple[str, ...], Any]] = {}  # by family, label values and label names


def counter(name: CounterName, **labels: str) -> Counter:
    """The counter of these labels; bind it once where it is hot, `inc` once a batch."""
    return _child(name, labels)  # type: ignore[no-any-return]


def gauge(name: GaugeName, **labels: str) -> Gauge:
    """The gauge of these labels."""
    return _child(name, labels)  # type: ignore[no-any-return]


def histogram(name: HistogramName, **labels: str) -> Histogram:
    """The histogram of these labels; it observes seconds."""
    return _child(name, labels)  # type: ignore[no-any-return]


def forget(name: GaugeName) -> None:
    """Drop all children of a gauge, so that a partition or queue that is gone does not keep its last value."""
    _MADE[name].clear()
    for known in [known for known in _CHILDREN if known[0] == name]:
        del _CHILDREN[known]


def exposition() -> tuple[bytes, str]:
    """All families as text for a scrape, and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST


def _child(name: str, labels: dict[str, str]) -> Any:
    """The family's child; found again without the client library, which compares the names of all labels each time."""
    known = (name, *labels.values(), *labels)
    child = _CHILDREN.get(known)
    if child is None:
        child = _CHILDREN[known] = _MADE[name].labels(**labels) if labels else _MADE[name]
    return child
