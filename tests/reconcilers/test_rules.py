"""Every facet of the nine checks on a firm that is healthy otherwise: exactly this finding, this impact, this hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from firm import Firm, assignment, change, day, entry, fixture, gbp, posted, rate, span

from tieout.reconcilers.changes import Change, Op

AT = "2026-03-10T10:00:00Z"
END = "2026-03-12T12:00:00Z"
Story = Callable[[], list[Change]]


def healthy(**more: Any) -> list[Change]:
    """An approved entry that all systems agree on."""
    return [entry("TIME", "E1", AT, **more), entry("PSA", "E1", AT, source_rate=gbp(150), **more),
            posted("E1", AT, **{name: value for name, value in more.items() if name in ("qty_s", "work_date")})]


def with_psa(**more: Any) -> list[Change]:
    time, _, erp = healthy()
    return [time, entry("PSA", "E1", AT, **{"source_rate": gbp(150), **more}), erp]


def with_erp(**more: Any) -> list[Change]:
    return [*healthy()[:2], posted("E1", AT, **more)]


def project(code: str, systems: tuple[str, ...], **more: Any) -> list[Change]:
    return [change(system, "project", AT, project_code=code, le_code="UK01", region="EMEA", ccy="GBP", state="OPEN",
                   project_type="EXTERNAL", start=day("2026-06-01"), **more) for system in systems]


def plan(target: str = "", **more: Any) -> list[Change]:
    """A second worker, firmly assigned 9 to 20 March in all systems, one of which may differ."""
    days = {"from": day("2026-03-09"), "to": day("2026-03-21"), "worker_no": "W1003", "role_code": "SC"}
    return [assignment(system, "B1", AT, **{**days, **(more if system == target else {})})
            for system in ("SCHED", "PSA", "ERP") if more or system != target]


def demand() -> Change:
    return change("PSA", "staffing_demand", AT, project_code="NEW", demand_no="D1", role_code="SC", qty_s=270_000,
                  state="OPEN", **span("2026-03-10", "2026-03-24"))


ALL = ("ERP", "PSA", "SCHED", "TIME")
CASES: list[tuple[str, Story, str | None, str | None, str | None, int, int, str | None]] = [
    # story, changes, code, facet, business key, seconds, minor units, hold of E1
    ("healthy", healthy, None, None, None, 0, 0, None),
    ("unknown in the PSA", lambda: project("NEW", ("ERP", "SCHED", "TIME")), "PROJECT_NOT_SYNCED", "PSA", "NEW", 0, 0, None),
    ("unknown in scheduling", lambda: [*project("NEW", ("ERP", "PSA", "TIME")),
        demand(), rate("R-NEW", "SC", 135, AT, scope_key="NEW")], "PROJECT_NOT_SYNCED", "SCHED", "NEW",
     270_000, 1_012_500, None),
    ("unknown in time capture", lambda: project("NEW", ("ERP", "PSA", "SCHED")), "PROJECT_NOT_SYNCED", "TIME", "NEW", 0, 0, None),
    ("won without a project", lambda: [change("CRM", "opportunity", AT, opportunity_no="O-1", is_won=True,
                                              amount=[100, "GBP"], contracting_le="UK01")],
     "PROJECT_NOT_SYNCED", "ERP", "O-1", 0, 100, None),
    ("won with a project", lambda: [change("CRM", "opportunity", AT, opportunity_no="O-1", is_won=True),
                                    *project("NEW", ALL, opportunity_no="O-1")], None, None, None, 0, 0, None),
    ("not in the PSA", lambda: plan("PSA"), "ASSIGNMENT_NOT_REFLECTED", "PSA", "ACME-24017|W1003", 243_000, 810_000, None),
    ("not in the forecast", lambda: plan("ERP"), "ASSIGNMENT_NOT_REFLECTED", "ERP", "ACME-24017|W1003", 243_000, 810_000, None),
    ("tentative is not missed", lambda: [assignment("SCHED", "B2", AT, worker_no="W1003", commit="SOFT")],
     None, None, None, 0, 0, None),
    ("other hours", lambda: plan("PSA", alloc_value=5_000), "ASSIGNMENT_PLAN_DRIFT", "HOURS", "ACME-24017|W1003",
     135_000, 450_000, None),
    ("other dates", lambda: plan("PSA", to=day("2026-03-22")), "ASSIGNMENT_PLAN_DRIFT", "DATES", "ACME-24017|W1003", 0, 0, None),
    ("other commitment", lambda: plan("PSA", commit="SOFT"), "ASSIGNMENT_PLAN_DRIFT", "COMMIT", "ACME-24017|W1003",
     270_000, 900_000, None),
    ("within tolerance", lambda: plan("PSA", alloc_value=9_600), None, None, None, 0, 0, None),
    ("no rate", lambda: [entry("TIME", "E1", AT, role_code="XX"), posted("E1", AT)], "RATE_MISSING", "NO_MATCH", "TIME:E1",
     27_000, 0, "H01"),
    ("a rate of nothing", lambda: [rate("R-0", "XX", 0), entry("TIME", "E1", AT, role_code="XX"), posted("E1", AT)],
     "RATE_MISSING", "ZERO", "TIME:E1", 27_000, 0, "H01"),
    ("an expired rate", lambda: [rate("R-X", "XX", 99, effective_to=day("2026-03-01")),
                                 entry("TIME", "E1", AT, role_code="XX"), posted("E1", AT)],
     "RATE_MISSING", "EXPIRED", "TIME:E1", 27_000, 0, "H01"),
    ("another currency", lambda: [rate("R-X", "XX", 99, rate=[99_000_000, "EUR", "HOUR", 28_800]),
                                  entry("TIME", "E1", AT, role_code="XX"), posted("E1", AT)],
     "RATE_MISSING", "CURRENCY", "TIME:E1", 27_000, 0, "H01"),
    ("a plan without a rate", lambda: [assignment(system, "B1", AT, worker_no="W1003", role_code="XX", **{
        "from": day("2026-03-16"), "to": day("2026-03-21")}) for system in ("SCHED", "PSA", "ERP")],
     "RATE_MISSING", "PLANNED", "ACME-24017|W1003", 108_000, 0, None),
    ("an uplift not applied", lambda: [rate("R-UP", "SA", 165, "2026-03-01", effective_from=day("2026-03-10")), *healthy()],
     "RATE_MISMATCH", "UPLIFT_NOT_APPLIED", "ACME-24017|R-UP", 27_000, 11_250, "H03"),
    ("not an uplift: the same number in euros", lambda: [
        rate("R-SA", "SA", 150), change("ERP", "rate", AT, rate_id="R-EU", kind="BILL", level=4, scope_key="ACME-24017",
                                        role_code="SA", rate=[140_000_000, "EUR", "HOUR", 28_800],
                                        effective_from=day("2025-06-01"), state="PUBLISHED"),
        *with_psa(source_rate=gbp(140))], "RATE_MISMATCH", "OVERRIDE", "ACME-24017|R-SA", 27_000, 7_500, "H03"),
    ("an override", lambda: with_psa(source_rate=gbp(140)), "RATE_MISMATCH", "OVERRIDE", "ACME-24017|R-SA", 27_000, 7_500, "H03"),
    ("the list's rate", lambda: [rate("L-SA", "SA", 180, level=8, scope_key="*"), *with_psa(source_rate=gbp(180))],
     "RATE_MISMATCH", "WRONG_LEVEL", "ACME-24017|R-SA", 27_000, -22_500, "H03"),
    ("a day for an hour", lambda: with_psa(source_rate=gbp(1_200)), "RATE_MISMATCH", "DAY_HOUR_UNIT", "ACME-24017|R-SA",
     27_000, -787_500, "H03"),
    ("an approved override", lambda: [rate("R-1", "SA", 140, level=1, scope_key="TIME:E1"), *with_psa(source_rate=gbp(140))],
     None, None, None, 0, 0, None),
    ("two cards", lambda: [change("PSA", "rate", AT, rate_id="P-SC", kind="BILL", level=4, scope_key="ACME-24017",
                                  role_code="SC", rate=gbp(125), effective_from=day("2026-01-01"), state="PUBLISHED")],
     "RATE_MISMATCH", "CARD_DIVERGED", "4|ACME-24017|SC", 0, 0, None),
    ("never staged", lambda: [*healthy()[:2]], "TIME_LATE_TO_ERP", "STAGED", "TIME:E1", 27_000, 112_500, "H22"),
    ("staged, never posted", lambda: with_erp(voucher=None), "TIME_LATE_TO_ERP", "POSTED", "TIME:E1", 27_000, 112_500, "H22"),
    ("the ERP has more", lambda: with_erp(qty_s=28_800), "TIME_QTY_MISMATCH", "QTY", "TIME:E1", 1_800, -7_500, "H16"),
    ("within half a minute", lambda: with_erp(qty_s=27_030), None, None, None, 0, 0, None),
    ("another day", lambda: with_erp(work_date=day("2026-03-11")), "TIME_QTY_MISMATCH", "DATE_SHIFT", "TIME:E1", 27_000, 0, "H16"),
    ("another month", lambda: with_erp(work_date=day("2026-04-01")), "TIME_QTY_MISMATCH", "DATE_SHIFT", "TIME:E1",
     27_000, 112_500, "H16"),
    ("another task", lambda: [entry("TIME", "E1", AT, wbs_code="1.1"), entry("PSA", "E1", AT, wbs_code="1.2"), posted("E1", AT)],
     "TIME_QTY_MISMATCH", "CODING", "TIME:E1", 27_000, 112_500, "H16"),
    ("a night that is an hour short", lambda: healthy(start_at=1_772_402_400_000_000, end_at=1_772_427_600_000_000,
                                                      qty_s=28_800), "TIME_QTY_MISMATCH", "INTERVAL", "TIME:E1", 3_600, -15_000, "H16"),
    ("not billable in the time system", lambda: [entry("TIME", "E1", AT, billable=False), *healthy()[1:]],
     "TIME_QTY_MISMATCH", "BILLABLE", "TIME:E1", 27_000, 112_500, "H16"),
    ("posted without approval", lambda: [entry("TIME", "E1", AT, state="RETURNED"), posted("E1", AT)],
     "TIME_QTY_MISMATCH", "STATUS", "TIME:E1", 27_000, -112_500, None),
    ("deleted after it was posted", lambda: [*healthy(), entry("TIME", "E1", "2026-03-10T12:00:00Z", op=Op.DELETE)],
     "TIME_QTY_MISMATCH", "STATUS", "TIME:E1", 27_000, -112_500, None),
    ("nobody assigned", lambda: [entry("TIME", "E1", AT, worker_no="W9"), posted("E1", AT)],
     "TIME_WITHOUT_ASSIGNMENT", None, "TIME:E1", 27_000, 112_500, "H04"),
    ("the assignment was deleted", lambda: [*healthy(), *(assignment(system, "A1", "2026-03-11T09:00:00Z", op=Op.DELETE)
                                                          for system in ("SCHED", "PSA", "ERP"))],
     "TIME_WITHOUT_ASSIGNMENT", "DELETED", "TIME:E1", 27_000, 112_500, "H04"),
]


@pytest.mark.parametrize(("story", "code", "facet", "key", "seconds", "minor", "hold"),
                         [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_one_fault_gives_one_finding(story: Story, code: str | None, facet: str | None, key: str | None, seconds: int,
                                     minor: int, hold: str | None) -> None:
    it = Firm().take(*fixture()).take(*story()).until(END)
    expected = [] if code is None else [(code, facet, key, seconds, minor, "OPEN")]
    found = [(row["code"], row["facet"], row["business_key"], row["impact_s"], row["impact_minor"], row["status"])
             for row in it.findings()]
    if facet == "STAGED":
        expected.insert(0, ("TIME_LATE_TO_ERP", "POSTED", key, seconds, minor, "OPEN"))
    assert found == expected
    if hold:
        assert it.entry("E1")["holds"].split("|")[0] == hold
        assert it.entry("E1")["state"] == "HELD"
    assert all("." in row["queue"] and row["explanation"].endswith(".") for row in it.findings())
