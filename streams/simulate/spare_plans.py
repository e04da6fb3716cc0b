"""Healthy look-alikes of projects, plans, prices and sources."""

from __future__ import annotations

from datetime import date
from typing import Final

from tieout.streams.simulate.facts import CRM, ERP, PSA, SCHED, TIME
from tieout.streams.simulate.firm import DE, PLAN_FROM, UK, YEAR_START, Firm, Price, Project, RateRow, Worker, price
from tieout.streams.simulate.instants import HOUR, MINUTE, iso, utc
from tieout.streams.simulate.plant_plans import TWO_WEEKS, new_project, won
from tieout.streams.simulate.scene import Outage, Scene, Span, plan_id

WEEK_1: Final = date(2026, 3, 9)


def spare_projects(scene: Scene) -> None:
    """Set up in time, not to be set up, or not won after all."""
    for code, le, at in (("STORCH-24141", DE, "2026-03-11T08:00"), ("TERN-24142", UK, "2026-03-17T15:00")):
        new_project(scene, code, le, utc(at), {PSA: 18 * MINUTE, SCHED: 24 * MINUTE, TIME: 27 * MINUTE})
        scene.truth.spare("PROJECT_IN_TIME", code, "everywhere within half an hour")
    nowhere: dict[str, int | None] = {PSA: None, SCHED: None, TIME: None}
    new_project(scene, "UHU-24143", DE, utc("2026-03-12T10:00"), nowhere, state="REQUESTED")
    scene.truth.spare("PROJECT_REQUESTED", "UHU-24143", "requested in the ERP, not opened yet")
    new_project(scene, "WREN-24144", UK, utc("2026-03-13T10:00"), nowhere)
    scene.say(ERP, "project", "WREN-24144", utc("2026-03-13T10:20"), project_code="WREN-24144", state="CANCELLED")
    scene.truth.spare("PROJECT_CANCELLED", "WREN-24144", "cancelled twenty minutes after it was minted")
    won(scene, "O-6003", UK, utc("2026-03-13T16:00"))
    new_project(scene, "ZEISIG-24145", UK, utc("2026-03-16T10:30"), {}, opportunity="O-6003")
    scene.truth.spare("WON_OVER_WEEKEND", "O-6003", "won on Friday afternoon, minted on Monday morning")
    won(scene, "O-6004", DE, utc("2026-03-16T09:00"))
    scene.say(CRM, "opportunity", "O-6004", utc("2026-03-16T11:00"), opportunity_no="O-6004", stage="NEGOTIATION",
              is_won=False, won_at=None)
    scene.truth.spare("UN_WON", "O-6004", "won by mistake, taken back after two hours")
    won(scene, "O-6005", UK, utc("2026-03-11T09:00"), approved=False)
    scene.truth.spare("NOT_APPROVED", "O-6005", "won, not approved yet")
    won(scene, "O-6006", UK, utc("2026-03-11T09:30"), stage="CLOSED_LOST", is_won=False, won_at=None)
    scene.truth.spare("LOST", "O-6006", "lost")


def _case(scene: Scene, project: str, kind: str, story: str) -> tuple[Project, Worker]:
    worker = scene.stranger(project)
    scene.truth.spare(kind, f"{project}|{worker.no}", story)
    return scene.firm.projects[project], worker


def spare_plans(scene: Scene) -> None:
    """Reflected in time, tentative, equal in another notation, or healed within the hour."""
    for code, at in (("ACME-24017", "2026-03-11T10:00"), ("HABICHT-24112", "2026-03-17T08:00")):
        case = _case(scene, code, "REFLECTED_IN_TIME", "in the PSA after 50 minutes, in the ERP after 20 hours")
        scene.staff(*case, utc(at), TWO_WEEKS, psa_us=50 * MINUTE, erp_us=20 * HOUR)
    soft = {SCHED: {"commit": "SOFT", "state": "SOFT"}}
    for code, at in (("BOLT-24021", "2026-03-10T10:00"), ("FALKE-24104", "2026-03-12T10:00"),
                     ("IGEL-24117", "2026-03-18T10:00")):
        case = _case(scene, code, "TENTATIVE", "tentative, so in scheduling only")
        scene.staff(*case, utc(at), TWO_WEEKS, systems=(SCHED,), differing=soft)
    case = _case(scene, "DELTA-24035", "CANCELLED_AT_ONCE", "planned and cancelled within 40 minutes")
    plan = scene.staff(*case, utc("2026-03-12T11:00"), TWO_WEEKS, systems=(SCHED,))
    scene.say(SCHED, "assignment", plan, utc("2026-03-12T11:40"), commit="CANCELLED", state="CANCELLED")
    case = _case(scene, "CRANE-24030", "WITHIN_TOLERANCE", "the PSA plans 3 % less")
    scene.staff(*case, utc("2026-03-11T10:00"), TWO_WEEKS, differing={PSA: {"alloc_value": 9_700}})
    case = _case(scene, "JUPITER-24120", "DRIFT_HEALED", "cut to four days, the PSA follows after 45 minutes")
    plan = scene.staff(*case, utc("2026-03-11T10:00"), TWO_WEEKS)
    for source, at in ((SCHED, "2026-03-13T09:00"), (PSA, "2026-03-13T09:45"), (ERP, "2026-03-13T14:00")):
        scene.say(source, "assignment", plan, utc(at), alloc_value=8_000)
    case = _case(scene, "BOLT-24021", "OTHER_NOTATION", "7.5 h a day in scheduling, 100 % in the PSA")
    scene.staff(*case, utc("2026-03-10T11:00"), TWO_WEEKS,
                differing={SCHED: {"mode": "PER_DAY", "alloc_value": 27_000}})
    case = _case(scene, "GREIF-24108", "OTHER_NOTATION", "80 h in all in scheduling, 100 % in the PSA")
    scene.staff(*case, utc("2026-03-10T11:00"), TWO_WEEKS,
                differing={SCHED: {"mode": "TOTAL", "alloc_value": 80 * 3_600}})
    case = _case(scene, "EMBER-24041", "FAR_FUTURE", "a role without a price, but it starts in May")
    scene.staff(*case, utc("2026-03-16T10:00"), Span(date(2026, 5, 4), date(2026, 5, 16)), role="DS")
    case = _case(scene, "IGEL-24117", "PRICED_IN_TIME", "a role without a price until eleven days before the start")
    scene.staff(*case, utc("2026-03-11T09:00"), Span(date(2026, 3, 30), date(2026, 4, 3)), role="BA")
    row = RateRow("R4-IGEL-24117-BA", 4, "IGEL-24117", "BA", price(111.3, "EUR"), YEAR_START)
    scene.list_rate(row, utc("2026-03-18T15:00"))
    part_time = scene.stranger("CRANE-24030", full_time=False)
    scene.truth.spare("PART_TIME", f"CRANE-24030|{part_time.no}", "three days a week, by hours here and by share there")
    scene.staff(scene.firm.projects["CRANE-24030"], part_time, utc("2026-03-11T13:00"), TWO_WEEKS,
                differing={SCHED: {"mode": "PER_DAY", "alloc_value": 27_000}})


def spare_cards(scene: Scene) -> None:
    """Two rate masters that agree, or that speak of other days or of drafts."""
    at = utc("2026-03-10T08:00")
    row = scene.firm.rates["BOLT-24021", "SC"][0]
    scene.list_rate(RateRow(f"PSA-{row.rate_id}", 4, row.scope, row.role, row.price, YEAR_START), at, PSA)
    scene.truth.spare("CARDS_AGREE", "4|BOLT-24021|SC", "the PSA's card has the same price")
    row = scene.firm.rates["GREIF-24108", "SA"][0]
    old = RateRow(f"PSA-{row.rate_id}", 4, row.scope, row.role, price(140, "EUR"), date(2025, 1, 1), YEAR_START)
    scene.list_rate(old, at, PSA)
    scene.truth.spare("CARDS_OTHER_DAYS", "4|GREIF-24108|SA", "the PSA's card still has last year's price")
    row = scene.firm.rates["FALKE-24104", "EN"][0]
    other = RateRow(f"PSA-{row.rate_id}", 4, row.scope, row.role, price(140, "EUR"), YEAR_START)
    scene.list_rate(other, at, PSA).data |= {"state": "DRAFT", "published_at": None}
    scene.truth.spare("CARD_DRAFT", "4|FALKE-24104|EN", "the PSA's other price is a draft")


def agree_own_prices(firm: Firm) -> None:
    """A price of level 3 for one consultant and of level 2 for another, before the first day."""
    firm.own["BOLT-24021", "W1002"] = RateRow("R3-BOLT-24021-W1002", 3, "K-BOLT-24021/W1002", None,
                                              price(137.5, "GBP"), YEAR_START, worker="W1002")
    firm.own["FALKE-24104", "W2001"] = RateRow("R2-FALKE-24104-W2001", 2, plan_id("FALKE-24104", "W2001", PLAN_FROM),
                                               None, price(128.7, "EUR"), YEAR_START)


def spare_prices(scene: Scene) -> None:
    """Prices of a person or an assignment, of a day, or found within the grace."""
    for (project, worker), row in scene.firm.own.items():
        for entry in scene.entries:
            if entry.rate is row:
                entry.taken = True
                if row.level == 2:
                    entry.time[0].data["assignment_id"] = row.scope
        holder = "contract" if row.level == 3 else "assignment"
        scene.truth.spare("OWN_PRICE", f"{project}|{row.rate_id}", f"the {holder} names a price for {worker}")
    entry = scene.take(since=WEEK_1, project="JUPITER-24120", role="SA")
    entry.apply_price(Price(170_000_000, "EUR"))
    scene.truth.spare("DAY_PRICE", entry.key, "170.00 an hour is 1,360.00 a day of eight hours")
    for project, role in (("HABICHT-24112", "BA"), ("EMBER-24041", "QA")):
        entry = scene.take(since=date(2026, 3, 10), until=date(2026, 3, 23), project=project)
        entry.act_as(role)
        entry.apply_price(None)
        row = RateRow(f"R4-{project}-{role}", 4, project, role, price(117.7, entry.worker.le.ccy), YEAR_START)
        scene.list_rate(row, entry.pace.approved_at + 2 * HOUR)
        entry.at_psa(entry.pace.approved_at + 150 * MINUTE, **entry.priced(row.price))
        entry.rate = row
        scene.truth.spare("PRICED_LATE", entry.key, "the price arrives two hours after the approval")
    entry = scene.take(since=date(2026, 3, 10), until=date(2026, 3, 23), project="HABICHT-24112", role="CO")
    assert entry.rate is not None
    entry.apply_price(Price(entry.rate.price.rate_e6 - 4_000_000, "EUR"))
    entry.at_psa(entry.pace.approved_at + 2 * HOUR, **entry.priced(entry.rate.price))
    scene.truth.spare("RE_PRICED", f"HABICHT-24112|{entry.rate.rate_id}", "priced wrongly, put right within two hours")


def spare_lags(scene: Scene) -> None:
    """Sources that are late, but by less than their limit."""
    for source, since, until in ((ERP, "2026-03-19T13:30", "2026-03-19T14:20"),
                                 (TIME, "2026-03-24T10:30", "2026-03-24T11:14"),
                                 (SCHED, "2026-03-12T10:10", "2026-03-12T10:17")):
        scene.outages.append(Outage(source, utc(since), utc(until)))
        scene.truth.spare("LAG_BELOW_LIMIT", source + f"@{iso(utc(since))}", f"late until {until}Z, below the limit")
