"""Planted faults of projects (02), plans (16, 17, 21 before any work) and sources (41)."""

from __future__ import annotations

from datetime import date
from typing import Any, Final

from tieout.streams.simulate.facts import CRM, ERP, PSA, SCHED, TIME
from tieout.streams.simulate.firm import DE, UK, YEAR_START, LegalEntity, Project, RateRow, Worker, price
from tieout.streams.simulate.instants import HOUR, MINUTE, iso, utc
from tieout.streams.simulate.masters import contract
from tieout.streams.simulate.scene import COPIED_AT_ONCE, Outage, Scene, Span
from tieout.streams.simulate.truth import OPEN, RESOLVED

TWO_WEEKS: Final = Span(date(2026, 3, 16), date(2026, 3, 28))
THIRD_WEEK: Final = Span(date(2026, 3, 23), date(2026, 3, 28))


def new_project(scene: Scene, code: str, le: LegalEntity, at: int, lags: dict[str, int | None], *,
                opportunity: str | None = None, **data: Any) -> Project:
    """A project that is minted while the four weeks run; lags add to those of an ordinary set-up."""
    project = Project(code, code.split("-")[0].title(), le, "EXTERNAL", "C-ACME" if le is UK else "C-IGEL",
                      opportunity=opportunity)
    contract(scene, project, at)
    scene.open_project(project, at, COPIED_AT_ONCE | lags, **data)
    return project


def plant_projects(scene: Scene) -> None:
    """Check 02, all facets."""
    needed = new_project(scene, "MARTIN-24133", UK, utc("2026-03-12T13:00"), {SCHED: None})
    _demand(scene, needed)
    for code, le, at, missing, lag in (
        ("KITE-24131", UK, "2026-03-10T09:00", PSA, None),
        ("LARK-24132", UK, "2026-03-11T10:20", PSA, 9 * HOUR),
        ("NACHTIGALL-24134", DE, "2026-03-16T08:00", SCHED, 26 * HOUR),
        ("OSPREY-24135", UK, "2026-03-18T11:00", TIME, None),
        ("PELIKAN-24136", DE, "2026-03-19T07:30", TIME, 8 * HOUR),
    ):
        new_project(scene, code, le, utc(at), {missing: lag})
        _unsynced(scene, missing, code, lag)
    new_project(scene, "QUAIL-24137", UK, utc("2026-03-20T12:00"), {PSA: None, TIME: None})
    _unsynced(scene, PSA, "QUAIL-24137", None)
    _unsynced(scene, TIME, "QUAIL-24137", None)
    won(scene, "O-6001", UK, utc("2026-03-17T10:00"))
    scene.truth.plant("02", "ERP", "O-6001", "won and approved, no project in the ERP")
    won(scene, "O-6002", DE, utc("2026-03-10T08:00"))
    new_project(scene, "ROHRDOMMEL-24138", DE, utc("2026-03-11T10:00"), {}, opportunity="O-6002")
    scene.truth.plant("02", "ERP", "O-6002", "won and approved, the project is minted a day later", RESOLVED)


def _unsynced(scene: Scene, source: str, code: str, lag: int | None) -> None:
    system = source.partition("/")[0]
    story = f"{system} never gets the project" if lag is None else f"{system} gets the project after {lag // HOUR} h"
    scene.truth.plant("02", system, code, story, OPEN if lag is None else RESOLVED)


def _demand(scene: Scene, project: Project) -> None:
    """Two seniors for a week, at a price: what is lost when the scheduling system does not know the project."""
    agreed = RateRow(f"R4-{project.code}-SC", 4, project.code, "SC", price(135, project.le.ccy), YEAR_START)
    scene.list_rate(agreed, utc("2026-03-12T13:00"))
    scene.say(PSA, "staffing_demand", f"{project.code}/D1", utc("2026-03-12T13:20"), project_code=project.code,
              demand_no="D1", role_code="SC", qty_s=75 * 3_600, state="OPEN",
              **{"from": "2026-03-16", "to": "2026-03-21"})
    scene.truth.plant("02", "SCHED", project.code, "SCHED never gets the project, two seniors are wanted on it", OPEN,
                      impact_s=75 * 3_600, impact_minor=1_012_500, currency="GBP")


def won(scene: Scene, number: str, le: LegalEntity, at: int, **data: Any) -> None:
    """An opportunity that is won."""
    fields: dict[str, Any] = {
        "account": "C-ACME", "stage": "CLOSED_WON", "is_won": True, "won_at": iso(at), "approved": True,
        "probability_bp": 10_000, "close_date": iso(at)[:10], "contracting_le": le.code,
        "expected_start": "2026-05-04", "amount": {"minor": 12_000_000, "ccy": le.ccy},
    }
    scene.say(CRM, "opportunity", number, at, opportunity_no=number, **fields | data)


def _case(scene: Scene, project: str) -> tuple[Project, Worker, str]:
    worker = scene.stranger(project)
    return scene.firm.projects[project], worker, f"{project}|{worker.no}"


def _misses(scene: Scene, check: str, facet: str, project: Project, worker: Worker, days: int, story: str, *,
            share_bp: int = 10_000) -> None:
    """A plan of so many days, of which `share_bp` is what the systems differ by; at the price of the first day."""
    rate = scene.firm.rates[project.code, worker.role][0]
    hours_s = worker.day_s * days * share_bp // 10_000
    scene.truth.plant(check, facet, f"{project.code}|{worker.no}", story, OPEN, impact_s=hours_s,
                      impact_minor=rate.price.amount(hours_s), currency=rate.price.ccy)


def plant_reflections(scene: Scene) -> None:
    """Check 16."""
    project, worker, key = _case(scene, "ACME-24017")
    scene.staff(project, worker, utc("2026-03-11T11:15"), TWO_WEEKS, systems=(SCHED, ERP))
    _misses(scene, "16", "PSA", project, worker, 10, "the PSA never gets the assignment")
    project, worker, key = _case(scene, "BOLT-24021")
    scene.staff(project, worker, utc("2026-03-12T09:40"), TWO_WEEKS, psa_us=8 * HOUR)
    scene.truth.plant("16", "PSA", key, "the PSA gets the assignment after 8 h", RESOLVED)
    project, worker, key = _case(scene, "GREIF-24108")
    plan = scene.staff(project, worker, utc("2026-03-10T08:00"), TWO_WEEKS, own_ids=True)
    scene.say(PSA, "assignment", f"PSA-{plan}", utc("2026-03-13T09:00"), "deleted")
    _misses(scene, "16", "PSA", project, worker, 10, "deleted in the PSA alone")
    project, worker, key = _case(scene, "CRANE-24030")
    scene.staff(project, worker, utc("2026-03-12T14:00"), TWO_WEEKS, systems=(SCHED, PSA))
    _misses(scene, "16", "ERP", project, worker, 10, "the ERP never forecasts it")
    project, worker, key = _case(scene, "HABICHT-24112")
    scene.staff(project, worker, utc("2026-03-16T13:00"), TWO_WEEKS, erp_us=44 * HOUR)
    scene.truth.plant("16", "ERP", key, "the ERP forecasts it after 44 h", RESOLVED)
    project, worker, key = _case(scene, "FALKE-24104")
    scene.staff(project, worker, utc("2026-03-17T07:30"), THIRD_WEEK, systems=(SCHED,))
    for facet in ("PSA", "ERP"):
        _misses(scene, "16", facet, project, worker, 5, "planned in scheduling only")
    project, worker, key = _case(scene, "DELTA-24035")
    at = utc("2026-03-18T08:30")
    plan = scene.staff(project, worker, at, THIRD_WEEK, systems=(SCHED, ERP))
    scene.say(SCHED, "assignment", plan, at + 20 * HOUR, commit="CANCELLED", state="CANCELLED")
    scene.say(ERP, "assignment", plan, at + 20 * HOUR + 30 * MINUTE, "deleted")
    scene.truth.plant("16", "PSA", key, "cancelled a day later, the PSA never had it", RESOLVED)


def plant_drift(scene: Scene) -> None:
    """Check 17."""
    project, worker, key = _case(scene, "ACME-24017")
    scene.staff(project, worker, utc("2026-03-11T12:00"), TWO_WEEKS, differing={PSA: {"alloc_value": 5_000}})
    _misses(scene, "17", "HOURS", project, worker, 10, "the PSA plans half of the hours", share_bp=5_000)
    project, worker, key = _case(scene, "JUPITER-24120")
    plan = scene.staff(project, worker, utc("2026-03-11T12:00"), TWO_WEEKS)
    for source, at in ((SCHED, "2026-03-13T10:00"), (PSA, "2026-03-14T12:00"), (ERP, "2026-03-14T16:00")):
        scene.say(source, "assignment", plan, utc(at), alloc_value=6_000)
    scene.truth.plant("17", "HOURS", key, "cut to three days a week, the PSA follows a day later", RESOLVED)
    project, worker, key = _case(scene, "BOLT-24021")
    scene.staff(project, worker, utc("2026-03-10T15:00"), TWO_WEEKS, differing={PSA: {"from": "2026-03-14"}})
    scene.truth.plant("17", "DATES", key, "the PSA starts two days, a weekend, earlier")
    project, worker, key = _case(scene, "GREIF-24108")
    plan = scene.staff(project, worker, utc("2026-03-12T07:00"), TWO_WEEKS, differing={PSA: {"to": "2026-03-30"}})
    scene.say(PSA, "assignment", plan, utc("2026-03-13T15:00"), to=TWO_WEEKS.end.isoformat())
    scene.truth.plant("17", "DATES", key, "the PSA ends two days later, corrected the next day", RESOLVED)
    project, worker, key = _case(scene, "CRANE-24030")
    scene.staff(project, worker, utc("2026-03-13T09:00"), TWO_WEEKS,
                differing={PSA: {"commit": "SOFT", "state": "SOFT"}})
    scene.truth.plant("17", "COMMIT", key, "firm in scheduling, tentative in the PSA")
    project, worker, key = _case(scene, "IGEL-24117")
    plan = scene.staff(project, worker, utc("2026-03-16T09:00"), TWO_WEEKS, systems=(SCHED, PSA),
                       differing={SCHED: {"commit": "SOFT", "state": "SOFT"}})
    scene.say(PSA, "assignment", plan, utc("2026-03-17T11:00"), commit="SOFT", state="SOFT")
    scene.truth.plant("17", "COMMIT", key, "tentative in scheduling, firm in the PSA for a day", RESOLVED)


def plant_unpriced_plans(scene: Scene) -> None:
    """Check 21 before any time is worked."""
    project, worker, key = _case(scene, "EMBER-24041")
    scene.staff(project, worker, utc("2026-03-17T09:00"), Span(date(2026, 3, 23), date(2026, 4, 25)), role="DS")
    scene.truth.plant("21", "PLANNED", key, "starts next week in a role without a price")
    project, worker, key = _case(scene, "JUPITER-24120")
    scene.staff(project, worker, utc("2026-03-12T09:00"), Span(date(2026, 3, 30), date(2026, 4, 11)), role="DS")
    scene.truth.plant("21", "PLANNED", key, "starts in the fourth week in a role without a price")


def plant_outages(scene: Scene) -> None:
    """Check 41."""
    for source, since, until in ((CRM, "2026-03-17T18:00", "2026-03-18T06:00"),
                                 (SCHED, "2026-03-21T06:00", "2026-03-21T18:00"),
                                 (ERP, "2026-03-25T11:10", "2026-03-25T16:00")):
        scene.outages.append(Outage(source, utc(since), utc(until)))
        scene.truth.plant("41", None, source, f"nothing arrives from {since}Z to {until}Z", RESOLVED)
