"""Each scenario, through `tieout replay` and through the oracle, exact to the second and the cent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from oracle import compare, oracle
from oracle.replaying import replay
from scenarios.dsl import Capture, instant_us
from scenarios.tables import SCENARIOS, Finding, Moment, Scenario, Stale

MOMENTS = [
    pytest.param(scenario, moment, id=f"{scenario.name}@{moment.at}")
    for scenario in SCENARIOS
    for moment in scenario.moments
]
ONE_ORDER = [
    moment for moment in MOMENTS if not str(moment.id).startswith("S28-") or "S28-submit-approve-post" in str(moment.id)
]


def arrived(capture: Capture, at: str, path: Path) -> Path:
    """The capture as far as it has arrived at an instant."""
    capture.lines = [line for line in capture.lines if line[0] * 1_000 <= instant_us(at)]
    return capture.write(path)


@pytest.mark.parametrize(("scenario", "moment"), ONE_ORDER)  # an oracle does not see the order of arrival
def test_oracle(scenario: Scenario, moment: Moment, tmp_path: Path) -> None:
    """The oracle gives the numbers of the domain model."""
    capture = arrived(scenario.capture(), moment.at, tmp_path / "capture.jsonl")
    con = oracle.run([capture], until=moment.at, assume_fresh=True, stale=scenario.stale)
    found = compare.findings(con, "SELECT * FROM finding")
    told = None if moment.findings is None else tuple(item for item in moment.findings if is_known(item))
    check(replace(moment, findings=told), compare.every_entry(con, "time_entry"), found,
          compare.kpis(con, "SELECT * FROM kpi"))


def is_known(finding: Finding | Stale) -> bool:
    """Whether the oracle works out the finding's check."""
    return isinstance(finding, Stale) or finding.code in compare.CHECKS


@pytest.mark.parametrize(("scenario", "moment"), MOMENTS)
def test_replay(scenario: Scenario, moment: Moment, tmp_path: Path) -> None:
    """`tieout replay` gives the numbers of the domain model, and row by row those of the oracle."""
    capture = arrived(scenario.capture(), moment.at, tmp_path / "capture.jsonl")
    database = tmp_path / "tieout.duckdb"
    replay(capture, database, until=moment.at, assume_fresh=True, stale=scenario.stale)
    with duckdb.connect(str(database), read_only=True) as con:
        con.execute("SET timezone = 'UTC'")
        found = compare.findings(con, compare.STREAMED_FINDINGS)
        check(moment, compare.every_entry(con, "v1.time_entry"), found, compare.kpis(con, compare.STREAMED_KPIS))
        check_detection(moment, con)
    assert (
        compare.compare(oracle.run([capture], until=moment.at, assume_fresh=True, stale=scenario.stale), database) == []
    )


def check(moment: Moment, entries: compare.Rows, found: compare.Rows, kpis: compare.Rows) -> None:
    """Hold what was found against the moment."""
    assert kpis.get(("unbilled_hours", None), {"numerator": 0})["numerator"] == round(moment.k1_h * 3600)
    assert {ccy: row["numerator"] for (kpi, ccy), row in kpis.items() if kpi == "unbilled_value"} == moment.k2
    assert kpis.get(("unpriced_hours", None), {"numerator": 0})["numerator"] == round(moment.unpriced_h * 3600)
    for key, entry in (moment.entries or {}).items():
        row = next(row for (name, _), row in entries.items() if name == f"TIME:{key}")
        shown = (row["state"], row["approved_s"], row["unbilled_s"], row["unbilled_minor"], tuple(row["holds"]))
        assert shown == (
            entry.state,
            round(entry.approved_h * 3600),
            round(entry.unbilled_h * 3600),
            entry.unbilled_minor,
            entry.holds,
        ), key
        assert row["held_minor"] == (entry.unbilled_minor if entry.state == "HELD" else 0)
        assert row["ready_minor"] == (entry.unbilled_minor if entry.state == "READY" else 0)
    if moment.findings is not None:
        shown_findings = {(*key[:3], *(row.get(name) for name in SHOWN)) for key, row in found.items()}
        assert shown_findings == {expected_row(finding) for finding in moment.findings}


SHOWN = ("status", "onset_us", "deadline_us", "resolved_us", "impact_s", "impact_minor", "currency", "estimated")


def expected_row(finding: Finding | Stale) -> tuple[Any, ...]:
    """The finding in the columns of `SHOWN`."""
    clock = (instant_us(finding.onset), instant_us(finding.deadline))
    if isinstance(finding, Stale):
        return ("SOURCE_STALE", None, finding.source, "OPEN", *clock, None, None, None, None, None)
    status, resolved = ("RESOLVED_AUTO", instant_us(finding.resolved)) if finding.resolved else ("OPEN", None)
    impact = (round(finding.hours * 3600), finding.minor, finding.currency, finding.estimated)
    return (finding.code, finding.facet, finding.key, status, *clock, resolved, *impact)


def check_detection(moment: Moment, con: duckdb.DuckDBPyConnection) -> None:
    """When the stream opened what it found, and what it counted."""
    for finding in moment.findings or ():
        if isinstance(finding, Finding) and finding.opened:
            query = "SELECT epoch_us(opened_at) FROM v1.finding WHERE code = ? AND business_key = ?"
            assert con.execute(query, [finding.code, finding.key]).fetchall() == [(instant_us(finding.opened),)]
        if isinstance(finding, Finding) and finding.queue:
            query = "SELECT queue, severity FROM v1.finding WHERE code = ? AND business_key = ?"
            assert con.execute(query, [finding.code, finding.key]).fetchall() == [(finding.queue, finding.severity)]
    for (kpi, measure), value in moment.kpis.items():
        streamed, recomputed = (
            con.execute(f"SELECT value::VARCHAR FROM v1.{view} WHERE kpi = ? AND measure = ?", [kpi, measure]).fetchall()
            for view in ("kpi", f"kpi_{kpi}")
        )
        assert streamed == recomputed == [(value,)], kpi
    for instance, counts in moment.source_counts.items():
        for column, expected in counts.items():
            query = f"SELECT sum({column})::BIGINT FROM v1.source WHERE instance = ? AND object = '*'"
            assert con.execute(query, [instance]).fetchall() == [(expected,)], column
