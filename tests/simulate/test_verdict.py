"""The comparison of truth and findings: a table, one row a case, the verdict in the last column."""

from __future__ import annotations

from typing import Any

import pytest

from tieout.streams.simulate.truth import OPEN, RESOLVED, Truth
from tieout.streams.simulate.verdict import judge


def truth() -> Truth:
    """Two faults, one that stays and one that heals, and a look-alike."""
    told = Truth(1)
    told.plant("27", "STAGED", "TIME:1", "never in the ERP", OPEN, impact_s=27_000, impact_minor=112_500,
               currency="GBP")
    told.plant("41", None, "ERP/ax", "silent for a night", RESOLVED)
    told.spare("PART_TIME", "P-1|W1", "three days a week")
    return told


def row(code: str, facet: str | None, key: str, status: str, **more: Any) -> dict[str, Any]:
    """A row of v1.finding."""
    return {"code": code, "facet": facet, "business_key": key, "status": status, "impact_s": 27_000,
            "impact_minor": 112_500, "currency": "GBP"} | more


LATE = ("TIME_LATE_TO_ERP", "STAGED", "TIME:1")
STALE = ("SOURCE_STALE", None, "ERP/ax")
DRIFT = ("ASSIGNMENT_PLAN_DRIFT", "HOURS", "P-1|W1")
GOOD = [row(*LATE, "OPEN"), row(*STALE, "RESOLVED_AUTO")]

CASES = [  # findings, caught, missed, wrong, invented
    pytest.param(GOOD, 2, 0, 0, 0, id="all as planted"),
    pytest.param([row(*LATE, "ACK"), GOOD[1]], 2, 0, 0, 0, id="acknowledged is open"),
    pytest.param([GOOD[0], row("SOURCE_STALE", "", "ERP/ax", "RESOLVED_AUTO")], 2, 0, 0, 0, id="an empty facet"),
    pytest.param([GOOD[0]], 1, 1, 0, 0, id="one missed"),
    pytest.param([row(*LATE, "PENDING"), GOOD[1]], 1, 1, 0, 0, id="pending is no finding yet"),
    pytest.param([row(*LATE, "SUPPRESSED"), GOOD[1]], 1, 0, 1, 0, id="suppressed is not open"),
    pytest.param([row(*LATE, "RESOLVED_AUTO"), GOOD[1]], 1, 0, 1, 0, id="healed, but should stay"),
    pytest.param([GOOD[0], row(*STALE, "OPEN")], 1, 0, 1, 0, id="stays, but should heal"),
    pytest.param([GOOD[0], row(*STALE, "WAIVED")], 1, 0, 1, 0, id="waived is not healed"),
    pytest.param([row(*LATE, "OPEN", impact_s=27_001), GOOD[1]], 1, 0, 1, 0, id="a second too much"),
    pytest.param([row(*LATE, "OPEN", impact_minor=112_499), GOOD[1]], 1, 0, 1, 0, id="a cent too little"),
    pytest.param([row(*LATE, "OPEN", currency="EUR"), GOOD[1]], 1, 0, 1, 0, id="another currency"),
    pytest.param([*GOOD, GOOD[1]], 1, 0, 1, 0, id="two episodes"),
    pytest.param([*GOOD, row(*DRIFT, "OPEN")], 2, 0, 0, 1, id="fell for a look-alike"),
    pytest.param([*GOOD, row(*DRIFT, "RESOLVED_AUTO")], 2, 0, 0, 1, id="a false alarm that went away is one"),
    pytest.param([*GOOD, row(*DRIFT, "PENDING")], 2, 0, 0, 0, id="pending is no alarm"),
    pytest.param([*GOOD, row("TIME_LATE_TO_ERP", "POSTED", "TIME:1", "OPEN")], 2, 0, 0, 1, id="another facet"),
    pytest.param([], 0, 2, 0, 0, id="nothing found"),
]


@pytest.mark.parametrize(("findings", "caught", "missed", "wrong", "invented"), CASES)
def test_verdict(findings: list[dict[str, Any]], caught: int, missed: int, wrong: int, invented: int) -> None:
    verdict = judge(truth(), findings)
    assert (len(verdict.caught), len(verdict.missed), len(verdict.wrong), len(verdict.invented)) == (
        caught, missed, wrong, invented)
    assert verdict.good == (missed + wrong + invented == 0)
    assert len(verdict.complaints()) == missed + wrong + invented


def test_complaints_name_what_is_wrong_and_why() -> None:
    findings = [row(*LATE, "OPEN", impact_minor=1), row(*DRIFT, "OPEN"),
                row("PROJECT_NOT_SYNCED", "PSA", "P-2", "OPEN")]
    assert judge(truth(), findings).complaints() == [
        "F02 missed: SOURCE_STALE of ERP/ax: silent for a night",
        "F01 found, but impact_minor is 1, expected 112500: TIME_LATE_TO_ERP/STAGED of TIME:1",
        "invented: ASSIGNMENT_PLAN_DRIFT/HOURS of P-1|W1 (OPEN), fell for H01: three days a week",
        "invented: PROJECT_NOT_SYNCED/PSA of P-2 (OPEN)",
    ]


def test_scores_by_check() -> None:
    scores = judge(truth(), [GOOD[0], row(*DRIFT, "OPEN"), row("TIME_MISSING", None, "W1", "OPEN")]).scores()
    assert {name: (score.planted, score.caught, score.false_alarms) for name, score in scores.items()} == {
        "17 ASSIGNMENT_PLAN_DRIFT": (0, 0, 1), "27 TIME_LATE_TO_ERP": (1, 1, 0), "41 SOURCE_STALE": (1, 0, 0),
        "?? TIME_MISSING": (0, 0, 1),
    }
