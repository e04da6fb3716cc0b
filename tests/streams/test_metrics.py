"""Metrics: names and labels within the conventions, promtool's included, and within the budget of series."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from typing import get_args

import pytest

from tieout.streams import metrics
from tieout.streams.metrics import COUNTERS, GAUGES, HISTOGRAMS, CounterName, Family, GaugeName, HistogramName

TABLES: tuple[Mapping[str, Family], ...] = (COUNTERS, GAUGES, HISTOGRAMS)  # type: ignore[assignment]
FAMILIES = {name: family for table in TABLES for name, family in table.items()}
PERSONAL = {"project_code", "project", "worker_no", "worker", "customer", "person", "business_key", "entry_key"}


def test_the_literals_name_exactly_the_families() -> None:
    """A name that type-checks is registered, and the other way round."""
    assert (set(get_args(CounterName)), set(get_args(GaugeName)), set(get_args(HistogramName))) == (
        set(COUNTERS), set(GAUGES), set(HISTOGRAMS),
    )  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_names_its_unit_and_nobody(name: str) -> None:
    """Base units last, no `_total` in the name (the client adds it), no person or project in a label."""
    family = FAMILIES[name]
    assert not name.endswith(("_total", "_ms", "_hours", "_minutes"))
    assert name.startswith(("tieout_", "http_server_"))
    assert not PERSONAL & set(family.labels)
    assert family.help.endswith(".")
    if family.buckets:
        assert name.endswith("_seconds")


def test_a_value_that_is_set_is_exposed_without_created_series() -> None:
    """`_created` would double the series of every counter and histogram."""
    metrics.counter("tieout_events_consumed", source="t").inc(3)
    metrics.histogram("tieout_sync_latency_seconds", source="t").observe(60)
    text = metrics.exposition()[0].decode()
    assert 'tieout_events_consumed_total{source="t"} 3.0' in text
    assert 'tieout_sync_latency_seconds_bucket{le="60.0",source="t"} 1.0' in text
    assert "_created" not in text


def test_a_forgotten_gauge_loses_its_children() -> None:
    """A partition that moved away must not keep its last lag."""
    metrics.gauge("tieout_consumer_lag_records", topic="gone", partition="0").set(7)
    metrics.forget("tieout_consumer_lag_records")
    assert 'topic="gone"' not in metrics.exposition()[0].decode()
    metrics.gauge("tieout_consumer_lag_records", topic="gone", partition="0").set(8)
    assert 'tieout_consumer_lag_records{partition="0",topic="gone"} 8.0' in metrics.exposition()[0].decode()


def test_promtool_finds_nothing_to_say(promtool: str) -> None:
    """Names, units and help texts pass Prometheus' own linter."""
    text = metrics.exposition()[0]
    answer = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (answer.returncode, answer.stdout.decode(), answer.stderr.decode()) == (0, "", "")


def test_a_full_process_stays_under_the_budget_of_series() -> None:
    """Ten sources, fifty legal entities and every finding code: fewer than 3,000 series in one process."""
    sizes = {"source": 10, "legal_entity": 50, "code": 45, "queue": 2, "severity": 1, "partition": 16, "topic": 6,
             "reason": 6, "axis": 2, "output": 6, "kpi": 26, "dependency": 4, "http_request_method": 1,
             "http_route": 14, "http_response_status_code": 3}  # fmt: skip
    total = 0
    for family in FAMILIES.values():
        series = len(family.buckets) + 3 if family.buckets else 1
        for label in family.labels:
            series *= sizes[label]
        total += series
    assert total < 3_000

def test_every_family_is_set_somewhere(streams_source: str) -> None:
    """A family that no code sets would be an alert that cannot fire."""
    unset = [name for name in FAMILIES if not re.search(rf'"{name}"', streams_source)]
    assert unset == []
