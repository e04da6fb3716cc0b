"""KPIs as metrics follow the rows, and what is gone does not keep its last value."""

from __future__ import annotations

from api_firm import NOON, UK, US, Firm

from tieout.streams.api.gauges import Gauges
from tieout.streams.metrics import REGISTRY


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def test_gauges_follow_the_rows(furnished: Firm) -> None:
    gauges = Gauges(furnished.live, every_s=0.0)
    gauges.update(furnished.live.changes())
    assert value("tieout_unbilled_labour_seconds", legal_entity="UK01") == 1_134_001
    assert value("tieout_unbilled_labour_seconds", legal_entity="US01") == 405_000
    assert value("tieout_assignment_sync_ratio", legal_entity="UK01") == 115 / 118
    open_one = {"code": "RATE_MISSING", "queue": "finance.EMEA", "severity": "CRITICAL"}
    assert value("tieout_findings_open", **open_one) == 1
    assert value("tieout_finding_oldest_timestamp_seconds", code="RATE_MISSING") == NOON / 1e6 - 3 * 86_400
    assert value("tieout_kpi_last_update_timestamp_seconds", kpi="unbilled_hours") == NOON / 1e6
    furnished.finding("f-2", status="RESOLVED_AUTO", code="RATE_MISSING", **US)
    gauges.update(furnished.live.changes())
    assert value("tieout_findings_open", **open_one) is None
    assert value("tieout_finding_oldest_timestamp_seconds", code="RATE_MISSING") is None


def test_they_are_set_now_and_then_and_nothing_is_forgotten(firm: Firm) -> None:
    gauges = Gauges(firm.live, every_s=1_000.0)
    gauges.update(firm.live.changes())  # the first time it is due
    firm.cell("unbilled_hours", 77, "s", le_code="ZZ01")
    gauges.update(firm.live.changes())
    assert value("tieout_unbilled_labour_seconds", legal_entity="ZZ01") is None
    gauges._due_s = 0.0
    firm.cell("unbilled_value", 1, "minor", currency="GBP", **UK)
    gauges.update(firm.live.changes())
    assert value("tieout_unbilled_labour_seconds", legal_entity="ZZ01") == 77
