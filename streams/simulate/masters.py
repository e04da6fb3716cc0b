"""What the six systems hold on the eve of the first Monday."""

from __future__ import annotations

from datetime import date
from typing import Final

from tieout.streams.simulate.facts import CRM, ERP, HCM, PSA, TIME
from tieout.streams.simulate.firm import ENTITIES, LegalEntity, Project, Worker
from tieout.streams.simulate.instants import HOLIDAYS, HOUR, MINUTE, days, iso, local, utc
from tieout.streams.simulate.scene import COPIED_AT_ONCE, MANAGERS, Scene

BEFORE: Final = utc("2026-03-04T09:00")
_CALENDAR: Final = (date(2026, 2, 16), date(2026, 8, 1))
_COPIES: Final[dict[str, dict[str, int | None]]] = {
    "EXTERNAL": COPIED_AT_ONCE, "INTERNAL": {PSA: 5 * MINUTE, TIME: 12 * MINUTE}, "LEAVE": {TIME: 12 * MINUTE},
}
_CUSTOMERS: Final = {"C-ACME": "Acme plc", "C-BOLT": "Bolt Energy", "C-CRANE": "Crane & Sons", "C-DELTA": "Delta Bank",
                     "C-FALKE": "Falke AG", "C-GREIF": "Greif Versicherung", "C-IGEL": "Igel GmbH"}


def load(scene: Scene) -> None:
    """Commit all masters and the running plan."""
    for le in ENTITIES:
        _legal_entity(scene, le)
    for number, name in _CUSTOMERS.items():
        scene.say(ERP, "customer", number, BEFORE, "snapshot", customer_no=number, name=name, bill_to_country="GB",
                  tax_id_status="VALID", payment_terms="NET30", po_required=False, customer_type="B2B")
    for project in scene.firm.projects.values():
        _project(scene, project)
    agreed = (row for rows in scene.firm.rates.values() for row in rows)
    for row in (*scene.firm.listed.values(), *agreed, *scene.firm.own.values()):
        scene.list_rate(row, BEFORE + 30 * MINUTE)
    _people(scene)
    _plan(scene)


def _legal_entity(scene: Scene, le: LegalEntity) -> None:
    scene.say(ERP, "legal_entity", le.code, BEFORE, "snapshot", le_code=le.code, name=le.name,
              country="GB" if le.country == "UK" else "DE", base_ccy=le.ccy, tz=le.tz, region=le.region,
              rounding="HALF_AWAY", materiality_minor=500_000, state="ACTIVE")
    for practice in ("CLOUD", "DATA", "ERP"):
        code = f"CC-{le.country}-{practice}"
        scene.say(ERP, "cost_centre", f"{le.code}/{code}", BEFORE, "snapshot", le_code=le.code, cc_code=code,
                  name=f"{practice.title()} {le.country}", practice=practice, state="OPEN", **{"from": "2020-01-01"})
    for month, first, end in ((3, date(2026, 3, 1), date(2026, 4, 1)), (4, date(2026, 4, 1), date(2026, 5, 1))):
        last_minute = local(date(2026, month, (end - first).days), 23 * 60 + 59, le.tz)
        scene.say(ERP, "billing_cycle", f"{le.calendar}/2026-{month:02d}", BEFORE, billing_calendar_id=le.calendar,
                  cycle_no=f"2026-{month:02d}", to=end.isoformat(), cutoff_at=iso(last_minute),
                  lock_at=iso(last_minute + 72 * HOUR), tz=le.tz, **{"from": first.isoformat()})


def contract(scene: Scene, project: Project, at: int) -> None:
    """A time-and-material contract with one line."""
    common = {"customer_no": project.customer, "le_code": project.le.code, "ccy": project.le.ccy,
              "from": "2026-01-05", "to": "2027-01-01"}
    scene.say(ERP, "contract", project.contract, at, contract_no=project.contract, state="ACTIVE",
              billing_calendar_id=project.le.calendar, **common)
    scene.say(ERP, "contract_line", f"{project.contract}/1", at, contract_no=project.contract, line_no=1, method="TM",
              rate_basis="TRANSACTION_DATE", retro_policy="BILL_DELTA", cap_policy="WARN", **common)


def _project(scene: Scene, project: Project) -> None:
    opened_at = BEFORE + HOUR
    if project.billable:
        contract(scene, project, opened_at)
        scene.say(CRM, "opportunity", str(project.opportunity), BEFORE, opportunity_no=project.opportunity,
                  account=project.customer, stage="CLOSED_WON", is_won=True, won_at=iso(BEFORE), approved=True,
                  probability_bp=10_000, close_date="2026-01-02", contracting_le=project.le.code,
                  expected_start="2026-01-05", amount={"minor": 25_000_000, "ccy": project.le.ccy})
    scene.open_project(project, opened_at, _COPIES[project.kind])
    if project.kind != "LEAVE":
        for wbs, name in (("1.1", "Build"), ("1.2", "Run"), ("1.3", "Advise")):
            scene.say(PSA, "wbs_task", f"{project.code}/{wbs}", opened_at + 10 * MINUTE, project_code=project.code,
                      wbs_code=wbs, name=name, is_leaf=True, billable=project.billable, state="OPEN")


def _people(scene: Scene) -> None:
    for worker in scene.firm.workers:
        _resource(scene, worker.no, worker.le, worker.calendar, worker.role, worker.practice, 2_000 * worker.weekdays)
    for le in ENTITIES:
        _resource(scene, MANAGERS[le.code], le, f"{le.country}-FULL", "PM", "CLOUD", 10_000)
    for calendar in sorted({(worker.calendar, worker.le.country, worker.weekdays, worker.day_s)
                            for worker in scene.firm.workers}):
        _calendar(scene, *calendar)


def _resource(scene: Scene, number: str, le: LegalEntity, calendar: str, role: str, practice: str, fte_bp: int) -> None:
    scene.say(HCM, "resource", number, BEFORE, "snapshot", worker_no=number, type="EMPLOYEE", state="ACTIVE",
              home_le=le.code, home_cc=f"CC-{le.country}-{practice}", practice=practice, home_region=le.region,
              work_country="GB" if le.country == "UK" else "DE", tz=le.tz, calendar_id=calendar, fte_bp=fte_bp,
              role_code=role, grade="G5", hire_date="2022-01-10", effective_from="2022-01-10")


def _calendar(scene: Scene, calendar: str, country: str, weekdays: int, day_s: int) -> None:
    for day in days(*_CALENDAR):
        holiday = day in HOLIDAYS[country]
        works = day.weekday() < weekdays and not holiday
        scene.say(HCM, "calendar_day", f"{calendar}/{day}", BEFORE, "snapshot", calendar_id=calendar,
                  day=day.isoformat(), work_s=day_s if works else 0, holiday=holiday)


def homes(scene: Scene, worker: Worker) -> list[Project]:
    """The one or two projects that a consultant works on; every third works on two."""
    paid = scene.firm.external(worker.le)
    number = int(worker.no[1:]) % 1_000 - 1
    return [paid[(number + step) % len(paid)] for step in range(1 + (number % 3 == 2))]


def _plan(scene: Scene) -> None:
    """Staffing that all three systems agree on; in every fourth case they number it each on their own."""
    planned_at = BEFORE + 3 * HOUR
    for number, worker in enumerate(scene.firm.workers):
        projects = homes(scene, worker)
        for project in projects:
            scene.staff(project, worker, planned_at, share_bp=10_000 // len(projects), own_ids=number % 4 == 3)


