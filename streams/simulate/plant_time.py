"""Planted faults of time: late to the ERP (27), told differently (28), nobody planned it (29); and of what sources lose
or rename: changes that were lost (42), symbols that nobody knows (43).
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from tieout.streams.simulate.facts import CRM, ERP, HCM, PSA, SCHED
from tieout.streams.simulate.firm import ENTITIES
from tieout.streams.simulate.instants import HOUR, MINUTE, WINDOW_FROM, iso, local, utc
from tieout.streams.simulate.labour import Entry
from tieout.streams.simulate.scene import Scene, Span
from tieout.streams.simulate.truth import OPEN, RESOLVED

WEEK_1: Final = date(2026, 3, 10)
WEEK_3: Final = date(2026, 3, 23)


def _late(scene: Scene, facet: str, entry: Entry, story: str, expect: str) -> None:
    known = expect == OPEN
    scene.truth.plant("27", facet, entry.key, story, expect, impact_s=entry.qty_s if known else None,
                      impact_minor=entry.value if known else None, currency=entry.worker.le.ccy if known else None)


def plant_late(scene: Scene) -> None:
    """Check 27, in ordinary days and in those of the monthly close."""
    for le in {entry.worker.le.code: entry.worker.le for entry in scene.entries}.values():
        entry = scene.take(since=WEEK_1, until=WEEK_3, le=le)
        entry.erp.clear()
        for facet in ("STAGED", "POSTED"):
            _late(scene, facet, entry, "the ERP never gets it", OPEN)
    entry = scene.take(since=WEEK_1, until=WEEK_3)
    _post(entry, staged_us=30 * MINUTE)
    _late(scene, "POSTED", entry, "staged in the ERP, never posted", OPEN)
    entry = scene.take(since=WEEK_1, until=WEEK_3)
    _post(entry, staged_us=30 * MINUTE, posted_us=47 * HOUR)
    _late(scene, "POSTED", entry, "staged at once, posted after two days", RESOLVED)
    entry = scene.take(since=WEEK_1, until=WEEK_3)
    _post(entry, posted_us=11 * HOUR)
    _late(scene, "STAGED", entry, "reaches the ERP in the evening", RESOLVED)
    entry = scene.take(since=WINDOW_FROM, until=date(2026, 3, 28))
    _post(entry, staged_us=40 * MINUTE, posted_us=29 * HOUR)
    _late(scene, "POSTED", entry, "approved in the monthly close, posted the day after", RESOLVED)
    entry = scene.take(since=date(2026, 3, 30), until=date(2026, 3, 31))
    _post(entry, posted_us=220 * MINUTE)
    _late(scene, "STAGED", entry, "approved in the monthly close, reaches the ERP after 3 h 40", RESOLVED)


def _post(entry: Entry, *, staged_us: int = 0, posted_us: int = 0) -> None:
    """Replace the ordinary posting."""
    entry.erp.clear()
    if staged_us:
        entry.at_erp(entry.pace.approved_at + staged_us, entry.qty_s, staged=True)
    if posted_us:
        entry.at_erp(entry.pace.approved_at + posted_us, entry.qty_s)


def plant_differences(scene: Scene) -> None:
    """Check 28, all facets."""
    _quantities(scene)
    _days_and_codes(scene)
    _intervals(scene)
    _states(scene)


def _quantities(scene: Scene) -> None:
    entry = scene.take(since=WEEK_1, until=WEEK_3)
    _repost(entry, entry.qty_s + 7_200)
    _differs(scene, "QTY", entry, -7_200, "the ERP has two hours more")
    entry = scene.take(since=WEEK_1, until=WEEK_3)
    entry.psa[0].data["qty_s"] = entry.psa[1].data["billable_s"] = entry.qty_s - 3_600
    _differs(scene, "QTY", entry, 3_600, "the PSA has one hour less")
    entry = scene.take(since=WEEK_1, until=WEEK_3)
    entry.at_erp(entry.erp[0].at + 20 * MINUTE, entry.qty_s, part=2)
    _differs(scene, "QTY", entry, -entry.qty_s, "the ERP posted it twice")
    entry = scene.take(since=WEEK_1, until=WEEK_3)
    right = entry.qty_s
    _repost(entry, right - 3_600)
    entry.at_erp(entry.pace.approved_at + 30 * HOUR, right)
    scene.truth.plant("28", "QTY", entry.key, "the ERP has an hour less, corrected the next day", RESOLVED)


def _repost(entry: Entry, qty_s: int) -> None:
    at = entry.erp[0].at
    entry.erp.clear()
    entry.at_erp(at, qty_s)


def _differs(scene: Scene, facet: str, entry: Entry, gap_s: int, story: str) -> None:
    """TIME has `gap_s` seconds more than the other (less when negative)."""
    assert entry.rate is not None
    money = entry.rate.price.amount(abs(gap_s)) * (1 if gap_s > 0 else -1)
    scene.truth.plant("28", facet, entry.key, story, OPEN, impact_s=abs(gap_s), impact_minor=money,
                      currency=entry.rate.price.ccy)


def _days_and_codes(scene: Scene) -> None:
    entry = scene.take(since=WEEK_1, until=WEEK_3)
    entry.erp[0].data["work_date"] = (entry.work_date + timedelta(days=1)).isoformat()
    scene.truth.plant("28", "DATE_SHIFT", entry.key, "the ERP has the next day, same cycle", OPEN,
                      impact_s=entry.qty_s, impact_minor=0, currency=entry.worker.le.ccy)
    entry = scene.take(since=date(2026, 3, 31), until=date(2026, 4, 1))
    entry.erp[0].data |= {"work_date": "2026-04-01", "accounting_date": "2026-04-01", "period": "2026-04"}
    scene.truth.plant("28", "DATE_SHIFT", entry.key, "worked on the last of March, the ERP has April", OPEN,
                      impact_s=entry.qty_s, impact_minor=entry.value, currency=entry.worker.le.ccy)
    entry = scene.take(since=WEEK_1, until=WEEK_3, project="ACME-24017")
    entry.erp[0].data["project_code"] = "BOLT-24021"
    scene.truth.plant("28", "CODING", entry.key, "the ERP posted it on another project")
    entry = scene.take(since=WEEK_1, until=WEEK_3, project="GREIF-24108")
    entry.psa[0].data["wbs_code"] = "1.3"
    scene.truth.plant("28", "CODING", entry.key, "the PSA has another task")
    entry = scene.take(since=WEEK_1, until=WEEK_3)
    entry.psa[0].data["billable"] = False
    entry.psa[1].data["billable_s"] = 0
    scene.truth.plant("28", "BILLABLE", entry.key, "the PSA holds it for not billable")


def _intervals(scene: Scene) -> None:
    night = night_shift(scene, "ACME-24017", 28_800)
    _differs(scene, "INTERVAL", night, -3_600, "a night of seven hours, clocks went forward, typed as eight")
    entry = scene.take(since=WEEK_1, until=WEEK_3, project="JUPITER-24120")
    start = local(entry.work_date, 9 * 60, entry.worker.le.tz)
    end = start + (entry.qty_s + 3_600) * 1_000_000
    entry.time[0].data |= {"start_at": iso(start), "end_at": iso(end), "break_s": 0}
    _differs(scene, "INTERVAL", entry, 3_600, "clocked an hour more than typed")


def night_shift(scene: Scene, project_code: str, typed_s: int) -> Entry:
    """22:00 to 06:00 in London when summer time begins: seven hours."""
    project, saturday = scene.firm.projects[project_code], date(2026, 3, 28)
    worker = next(worker for worker in scene.firm.workers if worker.weekdays == 5
                  and any(span.start <= saturday < span.end for span in scene.plans.get((project_code, worker.no), ()))
                  and (project_code, worker.no) not in scene.firm.own and not _works(scene, worker.no, saturday))
    entry = scene.add_entry(worker, project, saturday, typed_s, submit_minute=23 * 60 + 50)
    submitted_at = utc("2026-03-29T08:10")
    entry.time[0].at = submitted_at
    entry.psa[0].at = submitted_at + entry.pace.mirror_us
    entry.time[0].data |= {"submitted_at": iso(submitted_at), "start_at": "2026-03-28T22:00:00Z",
                           "end_at": "2026-03-29T05:00:00Z"}
    entry.taken = True
    return entry


def _works(scene: Scene, worker_no: str, day: date) -> bool:
    return any(entry.worker.no == worker_no and entry.work_date == day for entry in scene.entries)


def _states(scene: Scene) -> None:
    entry = scene.take(since=WEEK_1, until=WEEK_3)
    recalled_at = entry.pace.approved_at + 26 * HOUR
    entry.at_time(recalled_at, state="RETURNED")
    entry.at_psa(recalled_at + 6 * MINUTE, state="RETURNED")
    scene.truth.plant("28", "STATUS", entry.key, "recalled after the ERP had posted it")
    entry = scene.take(since=WEEK_1, until=WEEK_3)
    recalled_at = entry.pace.approved_at + 25 * HOUR
    entry.at_time(recalled_at, "deleted")
    entry.at_psa(recalled_at + 6 * MINUTE, state="CANCELLED")
    scene.truth.plant("28", "STATUS", entry.key, "deleted after the ERP had posted it")
    entry = scene.take(since=WEEK_1, until=WEEK_3)
    del entry.time[1]
    entry.erp.clear()
    scene.truth.plant("28", "STATUS", entry.key, "approved in the PSA, not in the time system")
    entry = scene.take(since=WEEK_1, until=date(2026, 3, 14))
    entry.at_psa(utc("2026-03-17T10:00"), billed=True)
    scene.truth.plant("28", "STATUS", entry.key, "the PSA says billed, no invoice follows")


def plant_gaps(scene: Scene) -> None:
    """Check 42: a source says that a record changed, but not how; it is read again, or it never is."""
    for pause in (20 * MINUTE, 50 * MINUTE):
        entry = scene.take(since=WEEK_1, until=WEEK_3, project="HABICHT-24112")
        lost = entry.at_psa(utc("2026-03-26T14:00"))
        lost.verb = "gap"
        entry.at_psa(lost.at + pause).data |= entry.psa[0].data | entry.psa[1].data
    scene.truth.plant("42", None, f"{PSA}|time_entry", "two changes were lost and read again within the hour", RESOLVED)
    opportunity = scene.firm.projects["ACME-24017"].opportunity
    scene.say(CRM, "opportunity", str(opportunity), utc("2026-03-24T09:00"), "gap", opportunity_no=opportunity)
    scene.truth.plant("42", None, f"{CRM}|opportunity", "one change was lost, nobody reads it again", OPEN)


def plant_symbols(scene: Scene) -> None:
    """Check 43: a state that nobody knows; the source says one that is known within the hour, or never."""
    le, worker = ENTITIES[-1], scene.firm.workers[-1]
    scene.say(ERP, "legal_entity", le.code, utc("2026-03-18T09:00"), le_code=le.code, state="DORMANT")
    scene.truth.plant("43", "ENUM", f"{ERP}|legal_entity", "a company is dormant, which nobody here knows", OPEN)
    for at, state in (("2026-03-19T08:00", "SABBATICAL"), ("2026-03-19T08:40", "ACTIVE")):
        scene.say(HCM, "resource", worker.no, utc(at), worker_no=worker.no, state=state)
    scene.truth.plant("43", "ENUM", f"{HCM}|resource", "a sabbatical that HR takes back within the hour", RESOLVED)


def plant_unassigned(scene: Scene) -> None:
    """Check 29."""
    for code in ("CRANE-24030", "JUPITER-24120"):
        entry = unplanned(scene, code, date(2026, 3, 11))
        scene.truth.plant("29", None, entry.key, "nobody planned the consultant on the project", OPEN,
                          impact_s=entry.qty_s, impact_minor=entry.value, currency=entry.worker.le.ccy)
    entry = unplanned(scene, "DELTA-24035", date(2026, 3, 16))
    late_at = entry.pace.approved_at + 28 * HOUR
    scene.staff(entry.project, entry.worker, late_at, Span(entry.work_date, date(2026, 3, 21)))
    scene.truth.plant("29", None, entry.key, "the assignment comes 28 h after the approval", RESOLVED)
    worker = scene.stranger("FALKE-24104")
    project, day = scene.firm.projects["FALKE-24104"], date(2026, 3, 18)
    plan = scene.staff(project, worker, utc("2026-03-16T08:00"), Span(day, date(2026, 3, 20)))
    for system, at in ((SCHED, "2026-03-17T16:00"), (PSA, "2026-03-17T16:05"), (ERP, "2026-03-17T16:10")):
        scene.say(system, "assignment", plan, utc(at), "deleted")
    entry = scene.add_entry(worker, project, day, worker.day_s)
    entry.taken = True
    scene.truth.plant("29", "DELETED", entry.key, "the plan was deleted, the time was logged", OPEN,
                      impact_s=entry.qty_s, impact_minor=entry.value, currency="EUR")


def unplanned(scene: Scene, project: str, day: date) -> Entry:
    """An entry of a consultant who is not planned on the project."""
    worker = scene.stranger(project)
    entry = scene.add_entry(worker, scene.firm.projects[project], day, 4 * 3_600)
    entry.taken = True
    return entry
