"""Checks on rates: 21 missing, 22 applied rate or rate card differs, 23 several match alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from tieout.reconcilers.asof import AsOf, Entry
from tieout.reconcilers.deadlines import FOUR_HOURS, FOUR_HOURS_ONE_AT_CUTOFF
from tieout.reconcilers.facts import Pair
from tieout.reconcilers.findings import Break, Rule, Severity, Side
from tieout.reconcilers.matching import total_s
from tieout.reconcilers.pricing import applied_rate, priced, value_minor
from tieout.reconcilers.quantities import HOUR_S, Rate, amount_minor, hours_text, rate_text
from tieout.reconcilers.rates import Question, Resolution, resolve, tied
from tieout.reconcilers.rules.time import found_on, place_text
from tieout.reconcilers.timeline import FOREVER, Interval, day_text, instant_of, local_day

_WHY = {
    "NO_MATCH": "no rate matches",
    "ZERO": "its rate is 0, which is a missing rate",
    "EXPIRED": "every rate that matches has expired",
    "CURRENCY": "the rates that match are in another currency than the contract",
}


# -- 21 ------------------------------------------------------------------------------------------


def missing(world: AsOf, key: str) -> Iterator[Break]:
    """Approved billable work that no rate prices; the money is an estimate at the list's rate."""
    entry = world.entry(key)
    if not entry.approved or not entry.approved_s or entry.work_date is None:
        return
    found = priced(world, entry)
    if found.problem is None:
        return
    estimate = value_minor(world, entry, entry.unbilled_s, found.estimate)
    role = entry.merged.get("role_code") or "no role"
    text = (f"{key}: {hours_text(entry.unbilled_s)} of {role} on {entry.project_code}, "
            f"{day_text(entry.work_date)}: {_WHY[found.problem]}")
    yield found_on(world, entry, found.problem, FOUR_HOURS_ONE_AT_CUTOFF,
                   Side(world.policy.ownership.owner("rate", "rate"), None), Side("TIME", role), entry.unbilled_s, text,
                   money_minor=estimate, estimated=True)


def missing_for_plan(world: AsOf, key: str) -> Iterator[Break]:
    """A firm assignment within the next days for which no rate would price the work."""
    pair = world.pair(key)
    if pair is None:
        return
    project = world.project(pair[0])
    if project.get("project_type", "EXTERNAL") != "EXTERNAL" or project.get("billable") is False:
        return
    tz = world.legal_entity(project.get("le_code")).tz
    today = local_day(world.clock, tz)
    ahead = Interval(today, today + world.policy.planned_rate_days)
    for row in world.staffing(pair, "SCHED"):
        if row.commit != "HARD" or not row.days.overlaps(ahead) or row.attributes.get("billable") is False:
            continue
        since = world.since("RATE_MISSING", "PLANNED", key, tz)
        first = max(row.days.start, today)
        role = row.attributes.get("role_code") or world.role_of(pair[1])
        line = world.contract_line(project, first)
        ccy = line.get("ccy") or project.get("ccy")
        found = resolve(world, Question(pair, role, "WORK", first, ccy, assignment=row.key))
        if found.problem:
            yield _planned_break(world, pair, project, row.days, role, found,
                                 total_s(world, [row], Interval(since, since + world.policy.planned_rate_days)))
            return


def _planned_break(world: AsOf, pair: Pair, project: Mapping[str, Any], days: Interval, role: str | None,
                   found: Resolution, seconds: int) -> Break:
    code, worker = pair
    rounding = world.legal_entity(project.get("le_code")).rounding
    minor = amount_minor(seconds, found.estimate, rounding) if found.estimate else 0
    text = (f"{worker} is assigned to {code} from {day_text(days.start)} as {role or 'no role'}, and "
            f"{_WHY[found.problem or 'NO_MATCH']} ({hours_text(seconds)} planned).")
    return Break("PLANNED", "|".join(pair), FOUR_HOURS, text, "assignment",
                 Side(world.policy.ownership.owner("rate", "rate"), None), Side("SCHED", role), code,
                 seconds, minor, found.estimate.ccy if found.estimate else project.get("ccy"), True,
                 le_code=project.get("le_code"), worker_no=worker)


def plan_due(world: AsOf, key: str) -> Iterator[int]:
    """When an assignment comes within sight, and when it leaves it."""
    pair = world.pair(key)
    if pair is None:
        return
    tz = world.legal_entity(world.project(pair[0]).get("le_code")).tz
    today = local_day(world.clock, tz)
    for row in world.staffing(pair, "SCHED"):
        first = row.days.start - world.policy.planned_rate_days + 1
        if first > today:
            yield instant_of(first, 0, tz)
        elif today <= row.days.end:
            yield instant_of(today + 1, 0, tz)  # while it is in sight: rates begin and end on days


# -- 22 ------------------------------------------------------------------------------------------


def mismatch(world: AsOf, key: str) -> Iterator[Break]:
    """The rate that the PSA applied is not the rate that the contract gives."""
    entry = world.entry(key)
    applied = applied_rate(entry)
    if not entry.approved or not entry.approved_s or applied is None or entry.time is None:
        return
    found = priced(world, entry)
    system, rate = applied
    if found.rate is None or found.row is None or found.ambiguous or found.rate.ccy != rate.ccy:
        return
    if found.rate.per_hour_e6() == rate.per_hour_e6():
        return
    yield _mismatch(world, entry, found, system, rate)


def _mismatch(world: AsOf, entry: Entry, found: Resolution, system: str, applied: Rate) -> Break:
    assert found.rate is not None
    assert found.row is not None
    qty = entry.approved_s
    gap = value_minor(world, entry, qty, found.rate) - value_minor(world, entry, qty, applied)
    off = abs(Fraction(applied.per_hour_e6()) / found.rate.per_hour_e6() - 1)
    short = "too little" if gap > 0 else "too much"
    group = f"{entry.project_code}|{found.ref}"
    if world.moved(entry):
        group += f"|{entry.key}"  # its home may not be the project's partition: it forms a group of its own
    text = (f"Expected {rate_text(found.rate)} ({found.ref}, level {found.level}), {system} applied "
            f"{rate_text(applied)} on {hours_text(qty)} of {entry.key}: {short}")
    broke = found_on(world, entry, _reason(world, found, applied), FOUR_HOURS,
                     Side(world.policy.ownership.owner("rate", "rate"), rate_text(found.rate)),
                     Side(system, rate_text(applied)), qty, text, money_minor=gap, attribute="source_rate",
                     holds=off * 10_000 > world.policy.rate_hold_bp)
    return broke._replace(business_key=group, entity="rate")


def _reason(world: AsOf, found: Resolution, applied: Rate) -> str:
    assert found.rate is not None
    assert found.row is not None
    hours = {Fraction(day, HOUR_S) for day in (found.rate.day_s, applied.day_s, world.policy.day_s)}
    ratio = applied.per_hour_e6() / found.rate.per_hour_e6()
    same_number = applied.unit != found.rate.unit and applied.rate_e6 == found.rate.rate_e6
    if same_number or ratio in hours or (ratio and 1 / ratio in hours):
        return "DAY_HOUR_UNIT"
    if any(rate.per_hour_e6() == applied.per_hour_e6() for rate in _earlier(world, found)):
        return "UPLIFT_NOT_APPLIED"
    others = [row.rate for row in found.candidates if row.level != found.level and row.rate.ccy == applied.ccy]
    if any(rate.per_hour_e6() == applied.per_hour_e6() for rate in others):
        return "WRONG_LEVEL"
    return "OVERRIDE"


def _earlier(world: AsOf, found: Resolution) -> Iterator[Rate]:
    """Rates that the resolved row replaced: same level, scope, role and currency, in force before it."""
    row = found.row
    assert row is not None
    for key in sorted(world.facts.rates.get((row.level, row.scope_key), ())):
        record = world.facts.get("rate", key)
        other = world.merged(record) if record else None
        if (other and other.get("rate") and other.get("role_code") == row.role_code
                and Rate(*other["rate"]).ccy == row.rate.ccy):
            start = other.get("effective_from")
            if (-FOREVER if start is None else start) < row.effective_from:
                yield Rate(*other["rate"])


# -- 22 CARD_DIVERGED ------------------------------------------------------------------------------


def card_diverged(world: AsOf, key: str) -> Iterator[Break]:
    """Two rate masters give one scope and role different rates on the same days, whether or not time exists yet."""
    level_text, scope, role = key.split("|", 2)
    rows = [row for rate in sorted(world.facts.rates.get((int(level_text), scope), ()))
            for row in _masters(world, rate, role)]
    for left in (row for row in rows if row[0] == "ERP"):
        for right in (row for row in rows if row[0] == "PSA"):
            if left[2].overlaps(right[2]) and left[1].ccy == right[1].ccy and left[3] == right[3] \
                    and left[1].per_hour_e6() != right[1].per_hour_e6():
                yield Break("CARD_DIVERGED", key, FOUR_HOURS,
                            f"Level {level_text}, {scope}, {role or 'any role'}: the ERP's card has "
                            f"{rate_text(left[1])}, the PSA's {rate_text(right[1])} on the same days.",
                            "rate", Side("ERP", rate_text(left[1])), Side("PSA", rate_text(right[1])),
                            scope if int(level_text) == 4 else None, ccy=left[1].ccy, attribute="rate",
                            le_code=world.project(scope).get("le_code") if int(level_text) == 4 else None)
                return


def _masters(world: AsOf, key: str, role: str) -> Iterator[tuple[str, Rate, Interval, Any]]:
    record = world.facts.get("rate", key)
    for system in ("ERP", "PSA"):
        view = record.view(system, world.instant) if record else None
        if view and view.get("rate") and view.get("kind", "BILL") == "BILL" and (view.get("role_code") or "") == role \
                and view.get("state", "PUBLISHED") == "PUBLISHED":
            start, end = view.get("effective_from"), view.get("effective_to")
            days = Interval(-FOREVER if start is None else start, FOREVER if end is None else end)
            yield system, Rate(*view["rate"]), days, (view.get("worker_no"), view.get("time_type"))


# -- 23 --------------------------------------------------------------------------------------------


def ambiguous(world: AsOf, key: str) -> Iterator[Break]:
    """Several rates of one level and specificity, or of several assignments, price the work differently."""
    entry = world.entry(key)
    if not entry.approved or not entry.approved_s or entry.work_date is None:
        return
    found = priced(world, entry)
    if not found.ambiguous or found.rate is None:
        return  # a rate of 0 among them is a missing rate: check 21's
    rows = tied(found)
    low, high = rows[0], rows[-1]
    gap = value_minor(world, entry, entry.unbilled_s, high.rate) - value_minor(world, entry, entry.unbilled_s, low.rate)
    text = (f"{place_text(entry)}: {len(rows)} rates of level {low.level} match alike, {low.ref} with "
            f"{rate_text(low.rate)} and {high.ref} with {rate_text(high.rate)}; it is valued at the lower one")
    yield found_on(world, entry, None, FOUR_HOURS, Side(low.systems[0], rate_text(low.rate)),
                   Side(high.systems[-1], rate_text(high.rate)), entry.unbilled_s, text, money_minor=gap,
                   attribute="rate")


class Worth(NamedTuple):
    """Money in minor units; `estimated` when the list's rate had to do."""

    minor: int
    ccy: str | None
    estimated: bool


def value_of_plan(world: AsOf, pair: Pair, role: str | None, day: int, seconds: int) -> Worth:
    """Planned seconds at the rate that would price them on the day."""
    project = world.project(pair[0])
    line = world.contract_line(project, day)
    ccy = line.get("ccy") or project.get("ccy")
    found = resolve(world, Question(pair, role, "WORK", day, ccy))
    rate = found.rate or found.estimate
    rounding = world.legal_entity(project.get("le_code")).rounding
    missing = found.rate is None
    return Worth(amount_minor(seconds, rate, rounding), rate.ccy, missing) if rate else Worth(0, ccy, missing)


RULES = (
    Rule("RATE_MISSING", "21", "entry", (), missing, Severity.HIGH, "finance-master",
         minds=("TIME", "PSA", "ERP"), hold="H01"),
    Rule("RATE_MISSING", "21", "pair", ("SCHED",), missing_for_plan, Severity.HIGH, "finance-master",
         minds=("PSA", "ERP"), due=plan_due),
    Rule("RATE_MISMATCH", "22", "entry", (), mismatch, Severity.MEDIUM, "finance-master",
         minds=("TIME", "PSA", "ERP"), hold="H03", grouped=True),
    Rule("RATE_AMBIGUOUS", "23", "entry", (), ambiguous, Severity.MEDIUM, "finance-master",
         minds=("TIME", "PSA", "ERP"), hold="H02"),
    Rule("RATE_MISMATCH", "22", "card", ("ERP", "PSA"), card_diverged, Severity.MEDIUM, "finance-master"),
)
