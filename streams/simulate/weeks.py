"""The ordinary four weeks: who logs what on which day, and what is invoiced of it."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from typing import Any

from tieout.streams.simulate.facts import ERP, HCM
from tieout.streams.simulate.firm import Project, Worker
from tieout.streams.simulate.instants import HOUR, LAST_DAY, MINUTE, iso, local, utc, workdays
from tieout.streams.simulate.labour import Entry
from tieout.streams.simulate.masters import BEFORE, homes
from tieout.streams.simulate.scene import Scene

MEETING_S = 5_400


def log_time(scene: Scene) -> None:
    """Every consultant's lines of every working day."""
    for worker in scene.firm.workers:
        for day in workdays(worker.le.country):
            if day.weekday() < worker.weekdays:
                _log_day(scene, worker, day)


def _log_day(scene: Scene, worker: Worker, day: date) -> None:
    dice = scene.rng.random()
    if dice < 0.04:
        _absent(scene, worker, day)
        return
    rest = worker.day_s
    if dice < 0.16:
        _add(scene, worker, scene.firm.internal_project(worker.le), day, MEETING_S, "1.3")
        rest -= MEETING_S
    projects = homes(scene, worker)
    if len(projects) == 2:
        _add(scene, worker, projects[0], day, rest // 2 // 900 * 900, "1.1")
        _add(scene, worker, projects[1], day, rest - rest // 2 // 900 * 900, "1.1")
    elif dice > 0.62:
        _add(scene, worker, projects[0], day, 3 * 3_600, "1.2")
        _add(scene, worker, projects[0], day, rest - 3 * 3_600, "1.1")
    else:
        entry = _add(scene, worker, projects[0], day, rest, "1.1")
        if worker.le.country == "DE" and rest == worker.day_s:
            clock_in(entry, 9 * 60, 45)


def _add(scene: Scene, worker: Worker, project: Project, day: date, qty_s: int, wbs: str,
         time_type: str = "WORK") -> Entry:
    submit, approve = scene.rng.randrange(1_000, 1_100), scene.rng.randrange(570, 690)
    approve_on = None
    if day == LAST_DAY:  # before Easter it is approved the same evening
        approve_on, approve = day, approve + 550
    return scene.add_entry(worker, project, day, qty_s, submit_minute=submit, approve_minute=approve, wbs=wbs,
                           time_type=time_type, approve_on=approve_on)


def _absent(scene: Scene, worker: Worker, day: date) -> None:
    scene.say(HCM, "leave", f"{worker.no}/{day}", BEFORE, worker_no=worker.no, day=day.isoformat(),
              leave_s=worker.day_s, leave_type="ANNUAL", state="APPROVED")
    _add(scene, worker, scene.firm.leave_project(worker.le), day, worker.day_s, "1.1", "ABSENCE")


def clock_in(entry: Entry, from_minute: int, break_minutes: int) -> None:
    """Say when the work began and ended, in accord with its quantity."""
    start = local(entry.work_date, from_minute, entry.worker.le.tz)
    end = start + entry.qty_s * 1_000_000 + break_minutes * MINUTE
    entry.time[0].data |= {"start_at": iso(start), "end_at": iso(end), "break_s": break_minutes * 60}


def bill(scene: Scene) -> None:
    """Interim invoices for part of the month, and drafts that nobody has posted yet."""
    first_week, second_week = (date(2026, 3, 9), date(2026, 3, 14)), (date(2026, 3, 16), date(2026, 3, 21))
    invoice(scene, "UK-26-0311", "ACME-24017", first_week, utc("2026-03-18T15:00"), paid_at=utc("2026-04-01T10:00"))
    invoice(scene, "DE-26-0207", "FALKE-24104", first_week, utc("2026-03-18T15:30"))
    invoice(scene, "UK-26-0312", "BOLT-24021", second_week, utc("2026-03-25T09:30"))
    early = invoice(scene, "DE-26-0208", "GREIF-24108", first_week, utc("2026-03-24T15:00"), claimed_before=27 * HOUR)
    for entry in early[:3]:
        scene.truth.spare("BILLED_FLAG_EARLY", entry.key, "the PSA says billed a day before the ERP posts the invoice")
    invoice(scene, "DE-26-0209", "HABICHT-24112", second_week, None)
    invoice(scene, "UK-26-0313", "DELTA-24035", first_week, None)


def invoice(scene: Scene, number: str, project_code: str, week: tuple[date, date], posted_at: int | None, *,
            paid_at: int | None = None, claimed_before: int = 0) -> list[Entry]:
    """Bill a week of a project's ordinary entries; a draft when never posted. Returns the entries."""
    project = scene.firm.projects[project_code]
    entries = [entry for entry in scene.entries if entry.project is project and entry.rate and not entry.taken
               and week[0] <= entry.work_date < week[1]]
    charge(scene, number, entries, posted_at, paid_at=paid_at, claimed_before=claimed_before)
    return entries


def charge(scene: Scene, number: str, entries: list[Entry], posted_at: int | None, *, paid_at: int | None = None,
           claimed_before: int = 0, key: str | None = None, share_bp: int = 10_000) -> None:
    """An invoice for entries of one project, or for a share of each; a draft when never posted."""
    project = entries[0].project
    drafted_at = posted_at - 24 * HOUR if posted_at else utc("2026-04-01T14:00")
    by_rate: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        entry.taken = True
        by_rate[entry.rate.rate_id if entry.rate else ""].append(entry)
    net = sum(_part(entry, share_bp)[1] for entry in entries)
    head = {"le_code": project.le.code, "invoice_no": number}
    _state(scene, head, drafted_at, "DRAFT", type="INVOICE", customer_no=project.customer, ccy=project.le.ccy,
           invoice_date="2026-03-31", accounting_date="2026-03-31", billing_cycle_id="2026-03",
           net={"minor": net, "ccy": project.le.ccy}, idempotency_key=key or f"run-{number}")
    for line_no, group in enumerate(by_rate.values(), 1):
        _line(scene, head | {"line_no": line_no}, project, group, drafted_at, share_bp)
    if posted_at:
        _state(scene, head, posted_at - 4 * HOUR, "APPROVED")
        _state(scene, head, posted_at, "POSTED", posted_at=iso(posted_at))
        for entry in entries:
            entry.at_psa(posted_at - claimed_before if claimed_before else posted_at + HOUR, billed=True)
    if paid_at:
        _state(scene, head, paid_at, "PAID")


def _part(entry: Entry, share_bp: int) -> tuple[int, int]:
    """Seconds and amount of a share of an entry."""
    qty_s = entry.qty_s * share_bp // 10_000
    return qty_s, entry.rate.price.amount(qty_s) if entry.rate else 0


def _state(scene: Scene, head: dict[str, Any], at: int, state: str, **data: Any) -> None:
    scene.say(ERP, "invoice", f"{head['le_code']}/{head['invoice_no']}", at, **head, state=state, **data)


def _line(scene: Scene, head: dict[str, Any], project: Project, group: list[Entry], at: int, share_bp: int) -> None:
    rate = group[0].rate
    assert rate is not None
    subject = f"{head['le_code']}/{head['invoice_no']}/{head['line_no']}"
    parts = {entry.key: _part(entry, share_bp) for entry in group}
    scene.say(ERP, "invoice_line", subject, at, **head, project_code=project.code,
              qty_s=sum(qty_s for qty_s, _ in parts.values()), rate=rate.price.wire(),
              net={"minor": sum(minor for _, minor in parts.values()), "ccy": project.le.ccy})
    for key, (qty_s, minor) in parts.items():
        scene.say(ERP, "coverage", f"{subject}/{key}", at, **head, kind="TIME_ENTRY", target=key, target_version=1,
                  sign=1, qty_s=qty_s, amount={"minor": minor, "ccy": project.le.ccy}, project_code=project.code)
