"""The business gauges say what the store says, in base units, and forget what is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sink_rows import NOW, cell, finding

from tieout.streams import metrics
from tieout.streams.sinks.gauges import show
from tieout.streams.sinks.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "t.duckdb") as store:
        yield store


def samples(name: str) -> dict[tuple[str, ...], float]:
    """The series of a family by their labels' values, in alphabetical order of the labels."""
    families = text_string_to_metric_families(metrics.exposition()[0].decode())
    found = next(family for family in families if family.name == name)
    return {tuple(value for _, value in sorted(sample.labels.items())): sample.value for sample in found.samples}


def test_open_findings_are_counted_by_code_queue_and_severity(store: Store) -> None:
    """Acknowledged ones count, resolved ones do not; the oldest onset is that of the open ones."""
    store.write([
        finding(1), finding(2, status="ACK", onset_at=NOW - 2 * 10**9), finding(3, severity="LOW"),
        finding(4, status="RESOLVED_AUTO", onset_at=0),
    ])  # fmt: skip
    show(store)
    assert samples("tieout_findings_open") == {
        ("TIME_LATE_TO_ERP", "finance", "HIGH"): 2, ("TIME_LATE_TO_ERP", "finance", "LOW"): 1,
    }  # fmt: skip
    oldest = samples("tieout_finding_oldest_timestamp_seconds")
    assert oldest == {("TIME_LATE_TO_ERP",): (NOW - 2 * 10**9) / 1e6}


def test_what_is_resolved_loses_its_series(store: Store) -> None:
    """A gauge without findings behind it must not keep its last value."""
    store.write([finding(1)])
    show(store)
    store.write([finding(1, status="RESOLVED_AUTO")])
    show(store)
    assert samples("tieout_findings_open") == {}


def test_cells_add_up_over_partitions_to_seconds_and_ratios(store: Store) -> None:
    """Unbilled time by legal entity in seconds; the share of agreeing weeks as a ratio of sums."""
    rate = {"kpi": "assignment_sync_rate", "unit": "count", "le_code": "UK01"}
    store.write([
        cell(27_000, le_code="UK01", partition=0), cell(3_600, le_code="UK01", partition=1), cell(60, le_code="DE01"),
        cell(197, denominator=199, partition=0, **rate), cell(1, denominator=1, partition=1, **rate),
    ])  # fmt: skip
    show(store)
    assert samples("tieout_unbilled_labour_seconds") == {("UK01",): 30_600, ("DE01",): 60}
    assert samples("tieout_assignment_sync_ratio") == {("UK01",): 0.99}
    assert samples("tieout_kpi_last_update_timestamp_seconds") == {
        ("unbilled_hours",): NOW / 1e6, ("assignment_sync_rate",): NOW / 1e6,
    }  # fmt: skip
