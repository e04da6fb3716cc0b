"""Checks on time entries: 27 late to the ERP, 28 quantity and coding, 29 without an assignment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tieout.reconcilers.asof import AsOf, Entry
from tieout.reconcilers.deadlines import (
    A_DAY,
    A_DAY_FOUR_HOURS_AT_CUTOFF,
    FOUR_HOURS,
    FOUR_HOURS_ONE_AT_CUTOFF,
    Grace,
)
from tieout.reconcilers.findings import Break, Rule, Severity, Side
from tieout.reconcilers.pricing import currency, priced, value_minor
from tieout.reconcilers.quantities import hours_text, money_text
from tieout.reconcilers.timeline import SECOND, day_text


def found_on(world: AsOf, entry: Entry, facet: str | None, grace: Grace, left: Side, right: Side, gap_s: int,
             text: str, *, money_minor: int | None = None, **more: Any) -> Break:
    """A break on a time entry: `gap_s` seconds, signed, valued at the entry's rate unless money is given."""
    minor = value_minor(world, entry, gap_s, priced(world, entry).rate) if money_minor is None else money_minor
    ccy = currency(world, entry)
    worth = f"{hours_text(abs(gap_s))}, {money_text(minor, ccy)}" if ccy else hours_text(abs(gap_s))
    cycle = world.cycle(entry.project, entry.work_date).label if entry.work_date is not None else None
    return Break(facet, entry.key, grace, f"{text} ({worth}).", "time_entry", left, right, entry.project_code,
                 abs(gap_s), minor, ccy, holds=more.pop("holds", True), le_code=entry.project.get("le_code"),
                 cycle=cycle, worker_no=entry.worker_no, **more)


def place_text(entry: Entry) -> str:
    """Which entry it is, for people: its key, worker, project and day."""
    day = day_text(entry.work_date) if entry.work_date is not None else "an unknown day"
    return f"{entry.key} of {entry.worker_no or 'an unknown worker'} on {entry.project_code}, {day}"


# -- 27 ------------------------------------------------------------------------------------------


def late_to_erp(world: AsOf, key: str) -> Iterator[Break]:
    """Approved, and the ERP has no record of it (STAGED), or has not posted it (POSTED)."""
    entry = world.entry(key)
    if not entry.approved or not entry.approved_s:
        return
    approved = Side("TIME", f"approved {hours_text(entry.approved_s)}")
    if not entry.labour:
        yield found_on(world, entry, "STAGED", FOUR_HOURS_ONE_AT_CUTOFF, approved, Side("ERP", None),
                       entry.unbilled_s, f"{place_text(entry)} is approved, the ERP has no record of it")
    if not any(row.get("voucher") and row.get("accounting_date") is not None for row in entry.labour):
        yield found_on(world, entry, "POSTED", A_DAY_FOUR_HOURS_AT_CUTOFF, approved,
                       Side("ERP", "staged" if entry.labour else None), entry.unbilled_s,
                       f"{place_text(entry)} is approved, the ERP has not posted it")


# -- 28 ------------------------------------------------------------------------------------------


def quantity_mismatch(world: AsOf, key: str) -> Iterator[Break]:
    """The same entry reads differently in the time system, the PSA and the ERP."""
    entry = world.entry(key)
    if not entry.seen:
        return
    yield from _status(world, entry)
    if entry.deleted or entry.time is None:
        return
    if entry.time.get("state") == "DRAFT" and not entry.labour and (entry.psa or {}).get("state") in (None, "DRAFT"):
        return
    yield from _quantity(world, entry)
    yield from _date_shift(world, entry)
    yield from _coding(world, entry)
    yield from _interval(world, entry)
    yield from _billable(world, entry)


def _tolerance_s(world: AsOf, *views: Mapping[str, Any] | None) -> int:
    quanta = [view.get("quantum_s") or world.policy.default_quantum_s for view in views if view]
    return max(quanta, default=world.policy.default_quantum_s) // 2


def _quantity(world: AsOf, entry: Entry) -> Iterator[Break]:
    assert entry.time is not None
    ours = entry.time.get("qty_s")
    others: list[tuple[str, int]] = []
    if entry.psa and entry.psa.get("qty_s") is not None:
        others.append(("PSA", entry.psa["qty_s"]))
    if entry.labour:
        others.append(("ERP", sum(row.get("qty_s") or 0 for row in entry.labour)))
    if ours is None or not others:
        return
    system, theirs = max(others, key=lambda other: (abs(ours - other[1]), other[0]))
    if abs(ours - theirs) > _tolerance_s(world, entry.time, entry.psa):
        left, right = Side("TIME", hours_text(ours)), Side(system, hours_text(theirs))
        yield found_on(world, entry, "QTY", FOUR_HOURS, left, right, ours - theirs,
                       f"{place_text(entry)}: TIME has {left.value}, {system} has {right.value}", attribute="qty_s")


def _others(entry: Entry, attribute: str) -> Iterator[tuple[str, Any]]:
    """What the PSA and the ERP's rows assert for an attribute."""
    if entry.psa and entry.psa.get(attribute) is not None:
        yield "PSA", entry.psa[attribute]
    for row in entry.labour:
        if row.get(attribute) is not None:
            yield "ERP", row[attribute]


def _date_shift(world: AsOf, entry: Entry) -> Iterator[Break]:
    ours = entry.work_date
    if ours is None:
        return
    for system, theirs in _others(entry, "work_date"):
        if theirs != ours:
            crossed = world.cycle(entry.project, ours).label != world.cycle(entry.project, theirs).label
            note = "another billing cycle" if crossed else "the same billing cycle"
            yield found_on(world, entry, "DATE_SHIFT", FOUR_HOURS, Side("TIME", day_text(ours)),
                           Side(system, day_text(theirs)), entry.qty_s,
                           f"{place_text(entry)}: {system} has it on {day_text(theirs)}, {note}",
                           money_minor=None if crossed else 0, attribute="work_date")
            return


def _coding(world: AsOf, entry: Entry) -> Iterator[Break]:
    for attribute, ours in (("project_code", entry.project_code), ("wbs_code", entry.merged.get("wbs_code"))):
        if ours is None:
            continue
        for system, code in _others(entry, attribute):
            theirs = world.code(code) if attribute == "project_code" else code
            if theirs != ours:
                what = "project" if attribute == "project_code" else "task"
                yield found_on(world, entry, "CODING", FOUR_HOURS, Side("TIME", ours), Side(system, theirs),
                               entry.qty_s, f"{place_text(entry)}: {system} has it on {what} {theirs}",
                               attribute=attribute, queue="pmo")
                return


def _interval(world: AsOf, entry: Entry) -> Iterator[Break]:
    view = entry.time or {}
    if view.get("start_at") is None or view.get("end_at") is None or view.get("qty_s") is None:
        return
    elapsed = (view["end_at"] - view["start_at"]) // SECOND - (view.get("break_s") or 0)
    gap = elapsed - view["qty_s"]
    if abs(gap) > _tolerance_s(world, view):
        yield found_on(world, entry, "INTERVAL", FOUR_HOURS, Side("TIME", hours_text(view["qty_s"])),
                       Side("TIME", hours_text(elapsed)), gap,
                       f"{place_text(entry)}: start, end and break make {hours_text(elapsed)}, "
                       f"{hours_text(view['qty_s'])} are entered", attribute="qty_s")


def _billable(world: AsOf, entry: Entry) -> Iterator[Break]:
    ours, theirs = (entry.time or {}).get("billable"), (entry.psa or {}).get("billable")
    if ours is not None and theirs is not None and ours != theirs:
        words = {True: "billable", False: "not billable"}
        yield found_on(world, entry, "BILLABLE", FOUR_HOURS, Side("PSA", words[theirs]), Side("TIME", words[ours]),
                       entry.qty_s, f"{place_text(entry)}: {words[ours]} in TIME, {words[theirs]} in the PSA",
                       attribute="billable")


def _status(world: AsOf, entry: Entry) -> Iterator[Break]:
    """Approved on one side only, posted without approval, or billed in the PSA's books alone."""
    posted = sum(row.get("qty_s") or 0 for row in entry.labour if row.get("voucher"))
    mine = "DELETED" if entry.deleted else entry.status
    theirs = (entry.psa or {}).get("state")
    if posted and mine != "APPROVED":
        yield _status_break(world, entry, mine, Side("ERP", f"posted {hours_text(posted)}"), -posted)
    elif entry.time and theirs and entry.time.get("state") and (mine == "APPROVED") != (theirs == "APPROVED"):
        gap_s = entry.qty_s if mine == "APPROVED" else -entry.qty_s
        yield _status_break(world, entry, mine, Side("PSA", theirs), gap_s)
    elif (entry.psa or {}).get("billed") is True and _claim_is_old(world, entry):
        yield _status_break(world, entry, mine, Side("PSA", "billed"), entry.approved_s or entry.qty_s)


def _status_break(world: AsOf, entry: Entry, mine: str | None, other: Side, gap_s: int) -> Break:
    said = f"{place_text(entry)}: {mine or 'no status'} in TIME, {other.value} in {other.system}"
    if other.value == "billed":
        said = f"{place_text(entry)}: billed by the PSA's books, no invoice of the ERP covers it"
    return found_on(world, entry, "STATUS", FOUR_HOURS, Side("TIME", mine), other, gap_s, said, attribute="state")


def _claim_is_old(world: AsOf, entry: Entry) -> bool:
    """Whether the PSA has claimed 'billed' for two business days and no posted invoice ever covered the entry."""
    if entry.here.proposed_s or world.ever_billed(entry.key):
        return False
    since = _claimed_since(world, entry)
    return since is not None and world.clock >= since


def _claimed_since(world: AsOf, entry: Entry) -> int | None:
    """The instant at which the claim turns into a finding's onset: two business days after it was made."""
    record = world.facts.get("time_entry", entry.key)
    histories = record.histories.items() if record else ()
    claims = [since for (source, _), history in histories if source.startswith("PSA/")
              and (since := history.holding_since("billed", True, world.instant)) is not None]
    tz = world.legal_entity(entry.project.get("le_code")).tz
    return world.policy.calendar.add_hours(min(claims), 16, tz) if claims else None


def claim_due(world: AsOf, key: str) -> Iterator[int]:
    """Instants at which check 28 must look again although nothing has changed."""
    entry = world.entry(key)
    if (entry.psa or {}).get("billed") is True and (due := _claimed_since(world, entry)) is not None:
        yield due


# -- 29 ------------------------------------------------------------------------------------------


def without_assignment(world: AsOf, key: str) -> Iterator[Break]:
    """Approved billable work of a worker whom nobody has assigned to the project."""
    entry = world.entry(key)
    if not entry.approved or not entry.approved_s or entry.merged.get("time_type", "WORK") != "WORK":
        return
    if entry.project.get("allow_time_without_assignment") is True or entry.worker_no is None:
        return
    pair = (entry.project_code, entry.worker_no)
    if world.staffing(pair, "SCHED") or world.staffing(pair, "PSA"):
        return  # one that does not hold the day is check 30's
    gone = [row for row in world.gone_staffing(pair) if entry.work_date is not None and row.days.holds(entry.work_date)]
    facet, why = (("DELETED", f"assignment {gone[0].key} that held the day was deleted") if gone
                  else (None, "no assignment exists"))
    yield found_on(world, entry, facet, A_DAY, Side("SCHED", gone[0].key if gone else None),
                   Side("TIME", f"approved {hours_text(entry.approved_s)}"), entry.unbilled_s,
                   f"{place_text(entry)} is approved, {why}")


RULES = (
    Rule("TIME_LATE_TO_ERP", "27", "entry", ("TIME", "ERP"), late_to_erp, Severity.HIGH, "finance",
         minds=("PSA",), hold="H22"),
    Rule("TIME_QTY_MISMATCH", "28", "entry", (), quantity_mismatch, Severity.MEDIUM, "finance",
         minds=("TIME", "PSA", "ERP"), hold="H16", restarts=True, due=claim_due),
    Rule("TIME_WITHOUT_ASSIGNMENT", "29", "entry", ("SCHED",), without_assignment, Severity.MEDIUM, "resource-mgmt",
         minds=("TIME", "PSA", "ERP"), hold="H04"),
)
