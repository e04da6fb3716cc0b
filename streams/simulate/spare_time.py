"""Healthy look-alikes of time: late within the grace, told differently for a while, legal without a plan."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from tieout.streams.simulate.instants import HOUR, MINUTE, iso
from tieout.streams.simulate.labour import Entry
from tieout.streams.simulate.plant_time import night_shift, unplanned
from tieout.streams.simulate.scene import Scene, Span
from tieout.streams.simulate.weeks import clock_in

WEEK_1: Final = date(2026, 3, 10)
WEEK_3: Final = date(2026, 3, 23)


def _some(scene: Scene, kind: str, story: str, count: int, since: date = WEEK_1, until: date = WEEK_3) -> list[Entry]:
    entries = [scene.take(since=since, until=until) for _ in range(count)]
    for entry in entries:
        scene.truth.spare(kind, entry.key, story)
    return entries


def spare_unassigned(scene: Scene) -> None:
    """Check 29 does not apply, or the plan comes within a day."""
    for code in ("EMBER-24041", "IGEL-24117"):
        entry = unplanned(scene, code, date(2026, 3, 12))
        scene.truth.spare("UNPLANNED_ALLOWED", entry.key, "the project allows time without an assignment")
    for code in ("HABICHT-24112", "ACME-24017"):
        entry = unplanned(scene, code, date(2026, 3, 17))
        for fact in (entry.time[0], entry.psa[0]):
            fact.data["time_type"] = "TRAVEL"
        scene.truth.spare("TRAVEL", entry.key, "travel needs no assignment")
    for code, delay in (("CRANE-24030", 45 * MINUTE), ("FALKE-24104", 11 * HOUR), ("DELTA-24035", 22 * HOUR)):
        entry = unplanned(scene, code, date(2026, 3, 18))
        span = Span(entry.work_date, date(2026, 3, 21))
        scene.staff(entry.project, entry.worker, entry.pace.approved_at + delay, span)
        scene.truth.spare("PLANNED_LATE", entry.key, f"the assignment comes {delay // MINUTE} min after the approval")
    internal = [entry for entry in scene.entries if entry.project.kind == "INTERNAL" and not entry.taken][:2]
    for entry in internal:
        entry.taken = True
        scene.truth.spare("INTERNAL", entry.key, "a meeting needs no assignment")
    entry = unplanned(scene, "GREIF-24108", date(2026, 3, 17))
    for fact in (entry.time[0], entry.psa[0]):
        fact.data["billable"] = False
    entry.psa[1].data["billable_s"] = 0
    scene.truth.spare("NOT_BILLABLE", entry.key, "help on a project that nobody pays for")


def spare_late(scene: Scene) -> None:
    """The ERP takes its time, but not too much."""
    for entry in _some(scene, "POSTED_LATE_IN_GRACE", "in the ERP after three and a half hours", 3):
        entry.erp[0].at = entry.pace.approved_at + 210 * MINUTE
    for entry in _some(scene, "STAGED_THEN_POSTED", "staged at once, posted after 20 hours", 2):
        entry.erp.clear()
        entry.at_erp(entry.pace.approved_at + 25 * MINUTE, entry.qty_s, staged=True)
        entry.at_erp(entry.pace.approved_at + 20 * HOUR, entry.qty_s)
    for entry in _some(scene, "CLOSE_IN_GRACE", "approved in the monthly close, in the ERP after 52 minutes", 2,
                       date(2026, 3, 30), date(2026, 3, 31)):
        entry.erp[0].at = entry.pace.approved_at + 52 * MINUTE


def spare_differences(scene: Scene) -> None:
    """Differences that heal within four hours of the last change, and some that are none."""
    for entry in _some(scene, "QTY_HEALED", "the ERP has two hours more for two hours", 2):
        at = entry.erp[0].at
        entry.erp.clear()
        entry.at_erp(at, entry.qty_s + 7_200)
        entry.at_erp(at + 2 * HOUR, entry.qty_s)
    for entry in _some(scene, "DATE_HEALED", "the ERP has the next day for three hours", 1):
        entry.erp[0].data["work_date"] = (entry.work_date + timedelta(days=1)).isoformat()
        entry.at_erp(entry.erp[0].at + 3 * HOUR, entry.qty_s)
    for entry in _some(scene, "CODING_HEALED", "the PSA has another task for a while", 1):
        entry.psa[0].data["wbs_code"] = "1.3"
        entry.at_psa(entry.psa[0].at + 3 * HOUR, wbs_code=entry.wbs)
    for entry in _some(scene, "PSA_APPROVES_LATE", "the PSA follows the approval after three hours", 2):
        entry.psa[1].at = entry.pace.approved_at + 3 * HOUR
    for entry in _some(scene, "SPLIT_IN_ERP", "two rows of the ERP add up to the entry", 2):
        at = entry.erp[0].at
        entry.erp.clear()
        entry.at_erp(at, 7_200)
        entry.at_erp(at + 5 * MINUTE, entry.qty_s - 7_200, part=2)
    for entry in _some(scene, "REVERSED_AND_REPOSTED", "posted on a wrong day, reversed, posted on the right one", 1):
        wrong = (entry.work_date + timedelta(days=1)).isoformat()
        entry.erp[0].data["work_date"] = wrong
        entry.at_erp(entry.erp[0].at + 100 * MINUTE, -entry.qty_s, part=2, work_date=wrong)
        entry.at_erp(entry.erp[0].at + 101 * MINUTE, entry.qty_s, part=3)
    for entry in _some(scene, "LESS_BILLABLE", "the manager approves an hour less for billing", 2):
        entry.psa[1].data["billable_s"] = entry.qty_s - 3_600
    night = night_shift(scene, "BOLT-24021", 25_200)
    scene.truth.spare("NIGHT_OF_SEVEN_HOURS", night.key, "clocks went forward, typed as seven hours")
    for entry in _some(scene, "CLOCKED", "clocked with a break of 30 minutes", 2):
        clock_in(entry, 8 * 60 + 30, 30)


def spare_states(scene: Scene) -> None:
    """Recalled and put right, or never approved."""
    for entry in _some(scene, "RECALLED", "recalled, reversed in the ERP within three hours, approved again", 2):
        _recall(entry)
    for entry in _some(scene, "REJECTED", "rejected, so never in the ERP", 2):
        entry.time[1].data = {"origin_system": "TIME", "origin_id": entry.origin, "state": "REJECTED"}
        entry.psa[1].data = {"origin_system": "TIME", "origin_id": entry.origin, "state": "REJECTED"}
        entry.erp.clear()
    for entry in _some(scene, "NOT_APPROVED_YET", "waiting for approval", 2):
        del entry.time[1], entry.psa[1]
        entry.erp.clear()
    for entry in _some(scene, "DELETED_BEFORE_APPROVAL", "deleted before anybody approved it", 1):
        del entry.time[1], entry.psa[1]
        entry.erp.clear()
        entry.at_time(entry.pace.submitted_at + 2 * HOUR, "deleted")
        entry.at_psa(entry.pace.submitted_at + 2 * HOUR + 5 * MINUTE, state="CANCELLED")


def _recall(entry: Entry) -> None:
    recalled_at = entry.erp[0].at + 90 * MINUTE
    entry.at_time(recalled_at, state="RETURNED", approval_cycle=1)
    entry.at_psa(recalled_at + 5 * MINUTE, state="RETURNED")
    entry.at_erp(recalled_at + 2 * HOUR, -entry.qty_s, part=2)
    again_at = recalled_at + 22 * HOUR
    entry.at_time(again_at, state="APPROVED", approved_at=iso(again_at), approver_no="W9001")
    entry.at_psa(again_at + 5 * MINUTE, state="APPROVED")
    entry.at_erp(again_at + 20 * MINUTE, entry.qty_s, part=3)


def spare_deliveries(scene: Scene) -> None:
    """The wire repeats, re-reads and disorders; the sources did nothing wrong."""
    for entry in _some(scene, "DELIVERED_AGAIN", "the approval arrives three times", 3):
        scene.again += [(entry.time[1], 7 * MINUTE), (entry.time[1], 26 * HOUR), (entry.erp[0], 3 * HOUR)]
    for entry in _some(scene, "OUT_OF_ORDER", "an edit overtakes the one before it", 3):
        first = entry.at_time(entry.pace.submitted_at + 61 * MINUTE, qty_s=entry.qty_s - 3_600, version=2)
        entry.at_time(first.at + 2 * MINUTE, qty_s=entry.qty_s, version=3)
        scene.late.append((first, 6 * MINUTE))
    for entry in _some(scene, "READ_AGAIN", "a snapshot repeats what is known", 2):
        content = entry.time[0].data | entry.time[1].data
        entry.at_time(entry.pace.approved_at + 50 * HOUR, "snapshot").data |= content
