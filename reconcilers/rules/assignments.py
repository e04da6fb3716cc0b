"""Checks on assignments: 16 not reflected downstream, 17 plans drift apart."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tieout.reconcilers.asof import AsOf, Staffing, span_text
from tieout.reconcilers.deadlines import A_DAY, AN_HOUR, Grace
from tieout.reconcilers.facts import Pair
from tieout.reconcilers.findings import Break, Rule, Severity, Side
from tieout.reconcilers.matching import WEEKS_AHEAD, WEEKS_BACK, differs, extent, total_s, weeks, window
from tieout.reconcilers.quantities import hours_text
from tieout.reconcilers.rules.rates import value_of_plan
from tieout.reconcilers.timeline import FOREVER, Interval, instant_of, local_day, monday


def _role(world: AsOf, rows: list[Staffing], worker: str) -> str | None:
    return next((row.attributes["role_code"] for row in rows if row.attributes.get("role_code")), None) or \
        world.role_of(worker)


def _today(world: AsOf, pair: Pair) -> int:
    return local_day(world.clock, world.legal_entity(world.project(pair[0]).get("le_code")).tz)


# -- 16 ------------------------------------------------------------------------------------------


def not_reflected(world: AsOf, key: str, *, target: str, grace: Grace) -> Iterator[Break]:
    """A firm assignment of scheduling that the PSA, or the ERP's forecast, does not have."""
    pair = world.pair(key)
    if pair is None:
        return
    there = world.staffing(pair, target)
    missed = [row for row in world.staffing(pair, "SCHED")
              if row.commit == "HARD" and not any(row.days.overlaps(other.days) for other in there)]
    if not missed:
        return
    project = world.project(pair[0])
    today = world.since("ASSIGNMENT_NOT_REFLECTED", target, key, world.legal_entity(project.get("le_code")).tz)
    first = max(extent(missed).start, today)
    ahead = Interval(first, first + 28)
    seconds = total_s(world, missed, ahead)
    worth = value_of_plan(world, pair, _role(world, missed, pair[1]), first, seconds)
    text = (f"{pair[1]} is firmly assigned to {pair[0]}, {span_text(extent(missed))}; "
            f"{target} has no assignment on those days ({hours_text(seconds)} in the next four weeks).")
    yield Break(target, "|".join(pair), grace, text, "assignment",
                 Side("SCHED", "HARD"), Side(target, None), pair[0], seconds, worth.minor, worth.ccy,
                worth.estimated,
                le_code=project.get("le_code"), worker_no=pair[1],
                urgent=world.policy.calendar.next_open(world.policy.calendar.next_open(today)) >= extent(missed).start,
                queue="finance" if target == "ERP" else None)


# -- 17 ------------------------------------------------------------------------------------------


def plan_drift(world: AsOf, key: str) -> Iterator[Break]:
    """Scheduling and the PSA both have the assignment, with other hours, dates or commitment."""
    pair = world.pair(key)
    if pair is None:
        return
    left, right = world.staffing(pair, "SCHED"), world.staffing(pair, "PSA")
    if not left or not right:
        return
    days = window(_today(world, pair))  # evaluated again on each Monday
    compared = weeks(world, left, right, days)
    off = [week for week in compared if differs(world, week)]
    if off:
        gross = sum(week.gap_s for week in off)
        net = sum(week.left_s - week.right_s for week in off)
        yield _drift(world, pair, left, "HOURS", gross, "alloc_value",
                     (hours_text(sum(week.left_s for week in off)), hours_text(sum(week.right_s for week in off))),
                     f"{len(off)} of the compared weeks, gross {hours_text(gross)}, net {hours_text(net)}")
    ours, theirs = extent(left), extent(right)
    if ours != theirs:
        yield _drift(world, pair, left, "DATES", sum(week.gap_s for week in compared), "from",
                     (span_text(ours), span_text(theirs)), f"{span_text(ours)} against {span_text(theirs)}")
    ranks = [sorted({row.commit for row in rows if row.days.overlaps(days)}) for rows in (left, right)]
    if all(ranks) and ranks[0] != ranks[1]:
        yield _drift(world, pair, left, "COMMIT", total_s(world, left, days), "commit",
                     ("+".join(ranks[0]), "+".join(ranks[1])), f"{'+'.join(ranks[0])} against {'+'.join(ranks[1])}")


def _drift(world: AsOf, pair: Pair, rows: list[Staffing], facet: str, seconds: int, attribute: str,
           sides: tuple[str, str], text: str) -> Break:
    worth = value_of_plan(world, pair, _role(world, rows, pair[1]), monday(_today(world, pair)), seconds)
    return Break(facet, "|".join(pair), AN_HOUR, f"{pair[1]} on {pair[0]}: scheduling and the PSA disagree: {text}.",
                 "assignment", Side("SCHED", sides[0]), Side("PSA", sides[1]), pair[0], seconds, worth.minor,
                 worth.ccy, worth.estimated,
                 attribute=attribute, le_code=world.project(pair[0]).get("le_code"), worker_no=pair[1])


def week_due(world: AsOf, key: str) -> Iterator[int]:
    """The Mondays on which a week enters or leaves the window that check 17 and the sync rate look at."""
    pair = world.pair(key)
    if pair is None:
        return
    tz = world.legal_entity(world.project(pair[0]).get("le_code")).tz
    rows = world.staffing(pair, "SCHED") + world.staffing(pair, "PSA")
    days = extent(rows)
    if not rows:
        return
    first = monday(days.start) - 7 * WEEKS_AHEAD if days.start > -FOREVER else None
    last = monday(days.end - 1) + 7 * (WEEKS_BACK + 1) if days.end < FOREVER else None
    now = monday(local_day(world.clock, tz))
    for day in range(now, now + 7 * 2, 7):  # the next ones; each evaluation asks again
        if (first is None or day >= first) and (last is None or day <= last):
            yield instant_of(day, 0, tz)
    if first is not None:
        yield instant_of(first, 0, tz)


RULES = (
    Rule("ASSIGNMENT_NOT_REFLECTED", "16", "pair", ("SCHED", "PSA"),
         partial(not_reflected, target="PSA", grace=AN_HOUR), Severity.MEDIUM, "resource-mgmt", minds=("ERP",)),
    Rule("ASSIGNMENT_NOT_REFLECTED", "16", "pair", ("SCHED", "ERP"),
         partial(not_reflected, target="ERP", grace=A_DAY), Severity.MEDIUM, "resource-mgmt", minds=("PSA",)),
    Rule("ASSIGNMENT_PLAN_DRIFT", "17", "pair", ("SCHED", "PSA"), plan_drift, Severity.LOW, "resource-mgmt",
         minds=("ERP",), due=week_due),
)
