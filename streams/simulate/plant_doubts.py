"""Planted faults that cast doubt: several prices (23), time beside or beyond its plan (30), time twice (31)."""

from __future__ import annotations

from datetime import date
from typing import Final

from tieout.streams.simulate.facts import ERP, PSA, SCHED
from tieout.streams.simulate.firm import YEAR_START, Price, Project, RateRow, Worker, price
from tieout.streams.simulate.instants import HOUR, MINUTE, iso, local, utc
from tieout.streams.simulate.labour import Entry
from tieout.streams.simulate.masters import BEFORE, homes
from tieout.streams.simulate.scene import Scene, Span
from tieout.streams.simulate.truth import OPEN, RESOLVED
from tieout.streams.simulate.weeks import clock_in

WEEK_1: Final = date(2026, 3, 10)
WEEK_3: Final = date(2026, 3, 23)
MIDSUMMER: Final = date(2026, 7, 1)
ADVICE: Final = "EMBER-24041"  # a project on which everybody may log time


def two_prices(scene: Scene, project: str, role: str, first: Price, second: Price) -> Entry:
    """An entry of a role for which two rows hold until midsummer; the PSA takes the first."""
    entry = scene.take(since=WEEK_1, until=WEEK_3, project=project)
    entry.act_as(role)
    for letter, value in (("A", first), ("B", second)):
        row = RateRow(f"R4-{project}-{role}-{letter}", 4, project, role, value, YEAR_START, MIDSUMMER)
        scene.list_rate(row, BEFORE + 30 * MINUTE)
        entry.rate = entry.rate if letter == "B" else row
    entry.apply_price(first)
    return entry


def two_plans(scene: Scene, project: str, low: Price, high: Price, role: str | None) -> Entry:
    """An entry on a day that two assignments with prices of their own hold; the PSA takes the lower one."""
    worker = scene.stranger(project)
    for day, named, value in ((10, "SA", low), (11, "SC", high)):
        span = Span(date(2026, 3, day), date(2026, 3, 21))
        scene.staff(scene.firm.projects[project], worker, utc("2026-03-09T09:00"), span, role=named, share_bp=5_000,
                    differing={PSA: {"bill_rate": value.wire()}})
    entry = scene.add_entry(worker, scene.firm.projects[project], date(2026, 3, 13), 4 * 3_600, role="SA")
    entry.taken = True
    for fact in (entry.time[0], entry.psa[0]):
        fact.data["role_code"] = role
    entry.rate = RateRow("", 2, "", None, low, YEAR_START)
    entry.apply_price(low)
    return entry


def plant_ambiguous(scene: Scene) -> None:
    """Check 23: rows of one level, and assignments of one worker."""
    low, high = price(101.3, "EUR"), price(104.9, "EUR")
    entry = two_prices(scene, "GREIF-24108", "BA", low, high)
    _ambiguous(scene, entry, low, high, "two rows of the card hold until midsummer")
    entry = two_prices(scene, "BOLT-24021", "QA", price(98.2, "GBP"), price(91.7, "GBP"))
    scene.say(ERP, "rate", "R4-BOLT-24021-QA-B", entry.pace.approved_at + 26 * HOUR, rate_id="R4-BOLT-24021-QA-B",
              state="WITHDRAWN")
    scene.truth.plant("23", None, entry.key, "two rows of the card, one is withdrawn the next day", RESOLVED)
    low, high = price(141.2, "GBP"), price(149.9, "GBP")
    entry = two_plans(scene, "DELTA-24035", low, high, None)
    _ambiguous(scene, entry, low, high, "two assignments with other prices, and the entry names no role")


def _ambiguous(scene: Scene, entry: Entry, low: Price, high: Price, story: str) -> None:
    scene.truth.plant("23", None, entry.key, story, OPEN, impact_s=entry.qty_s,
                      impact_minor=high.amount(entry.qty_s) - low.amount(entry.qty_s), currency=low.ccy)


def beside_plan(scene: Scene, project: str, span: Span, day: date, qty_s: int = 4 * 3_600) -> tuple[Entry, str]:
    """An entry of a worker who is planned on the project, but on other days; and the name of the plan."""
    worker = scene.stranger(project)
    plan = scene.staff(scene.firm.projects[project], worker, utc("2026-03-09T13:00"), span)
    entry = scene.add_entry(worker, scene.firm.projects[project], day, qty_s)
    entry.taken = True
    return entry, plan


def extend(scene: Scene, plan: str, at: int, until: date) -> None:
    """All three systems move the end of a plan."""
    for system, lag in ((SCHED, 0), (PSA, 10 * MINUTE), (ERP, 3 * HOUR)):
        scene.say(system, "assignment", plan, at + lag, to=until.isoformat())


def plant_outside(scene: Scene) -> None:
    """Check 30, on days that no assignment holds and beyond what is planned."""
    span = Span(date(2026, 3, 11), date(2026, 3, 14))
    for project, day in (("CRANE-24030", date(2026, 3, 16)), ("JUPITER-24120", date(2026, 3, 10))):
        entry, _ = beside_plan(scene, project, span, day)
        scene.truth.plant("30", None, entry.key, "worked on a day that the assignment does not hold", OPEN,
                          impact_s=entry.qty_s, impact_minor=entry.value, currency=entry.worker.le.ccy)
    entry, plan = beside_plan(scene, "ACME-24017", span, date(2026, 3, 17))
    extend(scene, plan, entry.pace.approved_at + 30 * HOUR, date(2026, 3, 19))
    scene.truth.plant("30", None, entry.key, "the assignment is extended 30 h after the approval", RESOLVED)
    entries, _ = beyond_plan(scene, "FALKE-24104", 2_500)
    assert entries[1].rate is not None
    scene.truth.plant("30", "EXCESS", f"FALKE-24104|{entries[0].worker.no}", "six hours on a plan of four", OPEN,
                      impact_s=7_200, impact_minor=entries[1].rate.price.amount(7_200), currency="EUR")
    entries, plan = beyond_plan(scene, "CRANE-24030", 3_000)
    for system, lag in ((SCHED, 0), (PSA, 10 * MINUTE), (ERP, 2 * HOUR)):
        scene.say(system, "assignment", plan, entries[1].pace.approved_at + 40 * HOUR + lag, alloc_value=10_000)
    scene.truth.plant("30", "EXCESS", f"CRANE-24030|{entries[0].worker.no}", "the plan is raised later",
                      RESOLVED)


def beyond_plan(scene: Scene, project: str, share_bp: int, extra_s: int = 0) -> tuple[list[Entry], str]:
    """Three hours on two days, `extra_s` more on the second, on a plan of `share_bp` of them; and the plan's name."""
    worker, span = scene.stranger(project), Span(date(2026, 3, 24), date(2026, 3, 26))
    plan = scene.staff(scene.firm.projects[project], worker, utc("2026-03-20T13:00"), span, share_bp=share_bp)
    entries = [scene.add_entry(worker, scene.firm.projects[project], day, 3 * 3_600 + more)
               for day, more in ((date(2026, 3, 24), 0), (date(2026, 3, 25), extra_s))]
    for entry in entries:
        entry.taken = True
    return entries, plan


def once_more(scene: Scene, entry: Entry, after_us: int = 50 * MINUTE, *, wbs: str | None = None) -> Entry:
    """The same work entered a second time."""
    copy = scene.add_entry(entry.worker, entry.project, entry.work_date, entry.qty_s, role=entry.role,
                           wbs=wbs or entry.wbs)
    copy.taken = True
    shift = entry.pace.submitted_at + after_us - copy.time[0].at
    copy.time[0].at += shift
    copy.psa[0].at += shift
    copy.time[0].data["submitted_at"] = iso(copy.time[0].at)
    return copy


def never_approved(entry: Entry) -> None:
    """Leave it at the submission."""
    del entry.time[1], entry.psa[1]
    entry.erp.clear()


def give_up(entry: Entry, after_us: int) -> None:
    """Delete it before anybody approves it, so long after its submission."""
    never_approved(entry)
    entry.at_time(entry.time[0].at + after_us, "deleted")
    entry.at_psa(entry.time[0].at + after_us + 5 * MINUTE, state="CANCELLED")


def plant_duplicates(scene: Scene) -> None:
    """Check 31, all facets."""
    for _ in range(2):
        entry = once_more(scene, ordinary(scene))
        _twice(scene, "KEY", entry, entry.qty_s, "entered, approved and posted a second time")
    entry = once_more(scene, ordinary(scene))
    give_up(entry, 14 * HOUR)
    scene.truth.plant("31", "KEY", entry.key, "entered twice, deleted the next morning", RESOLVED)
    _, entry = two_places(scene, date(2026, 3, 12), 12 * 60)
    _twice(scene, "OVERLAP", entry, entry.qty_s, "clocked on two projects at noon")
    _, entry = two_places(scene, date(2026, 3, 18), 11 * 60)
    start = local(entry.work_date, 14 * 60, entry.worker.le.tz)
    entry.at_time(entry.time[0].at + 8 * HOUR, start_at=iso(start), end_at=iso(start + entry.qty_s * 1_000_000))
    scene.truth.plant("31", "OVERLAP", entry.key, "clocked on two projects at once, put right in the night", RESOLVED)
    first, last = long_day(scene, date(2026, 3, 14), 10 * 3_600, 7 * 3_600)
    assert last.rate is not None
    scene.truth.plant("31", "DAY_LIMIT", f"{first.worker.no}|2026-03-14", "seventeen hours on a Saturday", OPEN,
                      impact_s=3_600, impact_minor=-last.rate.price.amount(3_600), currency="GBP")
    first, last = long_day(scene, date(2026, 3, 21), 9 * 3_600, 9 * 3_600)
    never_approved(last)
    for at, say in ((last.time[0].at + 9 * HOUR, last.at_time), (last.time[0].at + 9 * HOUR + 5 * MINUTE, last.at_psa)):
        say(at, state="RETURNED")
    scene.truth.plant("31", "DAY_LIMIT", f"{first.worker.no}|2026-03-21", "eighteen hours, half is returned",
                      RESOLVED)


def _twice(scene: Scene, facet: str, entry: Entry, qty_s: int, story: str) -> None:
    assert entry.rate is not None
    scene.truth.plant("31", facet, entry.key, story, OPEN, impact_s=qty_s, impact_minor=-entry.rate.price.amount(qty_s),
                      currency=entry.rate.price.ccy)


def logged_s(scene: Scene, worker: Worker, day: date) -> int:
    """Seconds that the worker has logged on the day so far."""
    return sum(entry.qty_s for entry in scene.entries if entry.worker is worker and entry.work_date == day)


def ordinary(scene: Scene) -> Entry:
    """An entry that can be there twice without making a day of more than sixteen hours."""
    while True:
        entry = scene.take(since=WEEK_1, until=WEEK_3)
        if logged_s(scene, entry.worker, entry.work_date) + entry.qty_s <= 57_600:
            return entry


def two_places(scene: Scene, day: date, from_minute: int) -> tuple[Entry, Entry]:
    """Four hours of advice from nine o'clock, and two hours on the worker's own project from `from_minute`."""
    worker = scene.stranger(ADVICE)
    while logged_s(scene, worker, day) > 28_800:
        worker = scene.stranger(ADVICE)
    advice = scene.add_entry(worker, scene.firm.projects[ADVICE], day, 4 * 3_600, submit_minute=1_050)
    own = scene.add_entry(worker, _home(scene, worker), day, 2 * 3_600, submit_minute=1_080, wbs="1.3")
    clock_in(advice, 9 * 60, 0)
    clock_in(own, from_minute, 0)
    advice.taken = own.taken = True
    return advice, own


def _home(scene: Scene, worker: Worker) -> Project:
    return homes(scene, worker)[0]


def long_day(scene: Scene, day: date, first_s: int, last_s: int) -> tuple[Entry, Entry]:
    """A day off on which a worker enters two long stretches of advice."""
    worker = scene.stranger(ADVICE)
    first, last = (scene.add_entry(worker, scene.firm.projects[ADVICE], day, qty_s, submit_minute=minute, wbs=wbs)
                   for qty_s, minute, wbs in ((first_s, 1_200, "1.1"), (last_s, 1_230, "1.2")))
    first.taken = last.taken = True
    return first, last
