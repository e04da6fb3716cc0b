"""Check 30: time on days that no assignment holds, and more time than the assignments planned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from tieout.reconcilers.asof import AsOf, Entry, Staffing, span_text
from tieout.reconcilers.deadlines import A_DAY
from tieout.reconcilers.facts import Pair
from tieout.reconcilers.findings import Break, Rule, Severity, Side
from tieout.reconcilers.matching import extent, total_s
from tieout.reconcilers.pricing import currency, priced, value_minor
from tieout.reconcilers.quantities import hours_text, money_text
from tieout.reconcilers.rules.time import found_on, place_text
from tieout.reconcilers.timeline import FOREVER, Interval, day_text

_TRAVEL_DAYS: Final = 2  # people travel before an assignment begins and after it ends
_MOST_DAYS: Final = 3_660  # a plan is added up no further back than this
_NO_WORK: Final = ("ABSENCE", "BREAK")


def outside(world: AsOf, key: str) -> Iterator[Break]:
    """Approved billable time of a worker who is assigned to the project, on a day that no assignment holds."""
    entry = world.entry(key)
    day, worker = entry.work_date, entry.worker_no
    if not entry.approved or not entry.approved_s or day is None or worker is None or _is_free(entry):
        return
    pair = (entry.project_code, worker)
    rows = world.staffing(pair, "SCHED") + world.staffing(pair, "PSA")
    spare = _TRAVEL_DAYS if entry.merged.get("time_type") == "TRAVEL" else 0
    if not rows or any(Interval(row.days.start - spare, row.days.end + spare).holds(day) for row in rows):
        return  # one that has no assignment at all is check 29's
    nearest = min(rows, key=lambda row: (max(row.days.start - day, day - row.days.end + 1), row.key))
    days = span_text(nearest.days)
    yield found_on(world, entry, None, A_DAY, Side(nearest.system, days), Side("TIME", day_text(day)), entry.unbilled_s,
                   f"{place_text(entry)} is approved, the nearest assignment {nearest.key} is {days}",
                   attribute="work_date")


def _is_free(entry: Entry) -> bool:
    """Whether the project's policy lets everybody log time on it."""
    return entry.project.get("allow_time_without_assignment") is True


# -- 30 EXCESS -------------------------------------------------------------------------------------


class Logged(NamedTuple):
    """An approved entry on a day that an assignment holds."""

    day: int
    key: str
    qty_s: int


def excess(world: AsOf, key: str) -> Iterator[Break]:
    """More than 1.10 times what was planned has been logged, from the first assignment to the last day logged."""
    pair = world.pair(key)
    if pair is None or world.project(pair[0]).get("allow_time_without_assignment") is True:
        return
    rows = world.staffing(pair, "SCHED") or world.staffing(pair, "PSA")
    work = sorted(_logged(world, pair, rows)) if rows else []
    if not work:
        return
    logged_s = sum(item.qty_s for item in work)
    planned_s = _planned(world, pair, rows, Interval(work[0].day, work[-1].day + 1))
    if planned_s and logged_s * 10_000 > planned_s * world.policy.excess_bp:
        yield _excess(world, pair, rows, work, logged_s, planned_s)


def _logged(world: AsOf, pair: Pair, rows: list[Staffing]) -> Iterator[Logged]:
    """What counts against the plan; an entry that was re-coded counts nowhere, for its home may be elsewhere."""
    keys = {key for code in world.facts.codes(pair[0]) for key in world.facts.entries_of_pair.get((code, pair[1]), ())}
    for key in keys:
        said = world.told(key, "state", "work_date", "project_code", "worker_no", "time_type", "qty_s")
        day = said.get("work_date")
        if (said.get("state") == "APPROVED" and day is not None and said["worker_no"] == pair[1]
                and said["time_type"] not in _NO_WORK and any(row.days.holds(day) for row in rows)
                and world.code(said["project_code"] or "") == pair[0] and not world.strayed(key, pair[0])):
            yield Logged(day, key, said["qty_s"] or 0)


def _planned(world: AsOf, pair: Pair, rows: list[Staffing], worked: Interval) -> int:
    """Planned seconds until the last day worked; an assignment without a beginning counts from the first one."""
    place = ("planned", pair, worked)
    found: int | None = world.memory.get(place)
    if found is None:
        found = world.memory[place] = sum(
            total_s(world, [row], Interval(max(first, worked.end - _MOST_DAYS), worked.end)) for row in rows
            for first in [row.days.start if row.days.start > -FOREVER else worked.start])
    return found


def _excess(world: AsOf, pair: Pair, rows: list[Staffing], work: list[Logged], logged_s: int, planned_s: int) -> Break:
    """The entries that come last are those beyond the plan; of the first of them only a part may be."""
    left = over = logged_s - planned_s
    minor, named = 0, []
    for item in reversed(work):
        if left > 0:
            entry = world.entry(item.key)
            if entry.billable:
                minor += value_minor(world, entry, min(left, item.qty_s), priced(world, entry).rate)
            left -= item.qty_s
            named.append(item.key)
    last = world.entry(work[-1].key)
    ccy, project = currency(world, last), world.project(pair[0])
    worth = f"{hours_text(over)}, {money_text(minor, ccy)}" if ccy else hours_text(over)
    text = (f"{pair[1]} has logged {hours_text(logged_s)} on {pair[0]} until {day_text(work[-1].day)}, planned are "
            f"{hours_text(planned_s)} ({span_text(extent(rows))}): {worth} beyond the plan.")
    return Break("EXCESS", "|".join(pair), A_DAY, text, "time_entry", Side(rows[0].system, hours_text(planned_s)),
                 Side("TIME", hours_text(logged_s)), pair[0], over, minor, ccy, holds=True, attribute="qty_s",
                 le_code=project.get("le_code"), worker_no=pair[1], entries=tuple(sorted(named)))


RULES = (
    Rule("TIME_OUTSIDE_ASSIGNMENT", "30", "entry", ("SCHED",), outside, Severity.MEDIUM, "pmo",
         minds=("TIME", "PSA", "ERP"), hold="H05"),
    Rule("TIME_OUTSIDE_ASSIGNMENT", "30", "work", ("SCHED", "TIME"), excess, Severity.MEDIUM, "pmo",
         minds=("PSA", "ERP"), hold="H05"),
)
