"""Check 02: a project that does not reach the systems that must know it, and a won opportunity without a project."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from tieout.reconcilers.asof import AsOf
from tieout.reconcilers.deadlines import HALF_AN_HOUR, Grace
from tieout.reconcilers.findings import Break, Rule, Severity, Side
from tieout.reconcilers.quantities import hours_text
from tieout.reconcilers.rules.rates import Worth, value_of_plan
from tieout.reconcilers.timeline import Interval

_LIVE = frozenset(("SHELL_CREATED", "OPEN", "SUSPENDED", "CLOSED_FOR_TIME"))


def not_synced(world: AsOf, subject: str, *, target: str) -> Iterator[Break]:
    """The ERP has minted the project, and the target system does not know it under any of its codes."""
    code = world.spoken_for(subject)
    if code is None:
        return
    shell = world.project_view(code, "ERP")
    if shell is None or shell.get("state", "OPEN") not in _LIVE or world.project_view(code, target) is not None:
        return
    project = world.project(code)
    if target not in world.policy.required_systems.get(project.get("project_type") or "EXTERNAL", ()):
        return
    today = world.since("PROJECT_NOT_SYNCED", target, subject, world.legal_entity(project.get("le_code")).tz)
    seconds, worth = _demand(world, code, project, today)
    start = project.get("start")
    yield Break(target, code, HALF_AN_HOUR, f"Project {code} exists in the ERP, {target} does not know it "
                f"({hours_text(seconds)} of demand in the next ten working days).", "project",
                Side("ERP", shell.get("state", "OPEN")), Side(target, None), code, seconds, worth.minor, worth.ccy,
                worth.estimated, holds=True,
                le_code=project.get("le_code"),
                urgent=start is not None and start <= _in_working_days(world, today, 5))


def _in_working_days(world: AsOf, day: int, count: int) -> int:
    """The day that is `count` working days later."""
    for _ in range(count):
        day = world.policy.calendar.next_open(day)
    return day


def _demand(world: AsOf, code: str, project: Mapping[str, Any], today: int) -> tuple[int, Worth]:
    """Demand in the next ten working days: seconds, and their value at the demanded role's rate."""
    first = today if world.policy.calendar.is_open(today) else world.policy.calendar.next_open(today)
    ahead = Interval(first, _in_working_days(world, first, 9) + 1)
    seconds, total = 0, Worth(0, project.get("ccy"), False)
    keys = {key for named in world.facts.codes(code) if world.code(named) == code
            for key in world.facts.demands.get(named, ())}
    for key in sorted(keys):
        record = world.facts.get("staffing_demand", key)
        row = world.merged(record) if record else None
        if row and row.get("state", "OPEN") in ("OPEN", "PROPOSED") and row.get("qty_s"):
            part = _share(world, row, ahead)
            begins = max(today, row.get("from") or today)
            worth = value_of_plan(world, (code, ""), row.get("role_code"), begins, part)
            seconds += part
            total = Worth(total.minor + worth.minor, worth.ccy, total.estimated or worth.estimated)
    return seconds, total


def _share(world: AsOf, row: Mapping[str, Any], ahead: Interval) -> int:
    """The part of a demand that falls into the days ahead, by working days."""
    start, end = row.get("from"), row.get("to")
    if start is None or end is None:
        return int(row["qty_s"])
    working = [day for day in range(start, end) if world.policy.calendar.is_open(day)]
    inside = sum(1 for day in working if ahead.holds(day))
    return int(row["qty_s"]) * inside // len(working) if working else 0


def won_without_project(world: AsOf, number: str) -> Iterator[Break]:
    """A won opportunity for which finance has not opened a project."""
    record = world.facts.get("opportunity", number)
    won = world.merged(record) if record else None
    if not won or won.get("is_won") is not True or won.get("approved") is False:
        return
    for code in world.facts.projects_of_opportunity.get(number, ()):
        view = world.project_view(world.code(code), "ERP")
        if view is not None and view.get("opportunity_no") == number:
            return
    entity = world.legal_entity(won.get("contracting_le"))
    amount, ccy = won.get("amount") or (0, None)
    text = f"Opportunity {number} of {won.get('account')} is won, the ERP has no project for it."
    yield Break("ERP", number, Grace(business_h=4, tz=entity.tz), text, "opportunity",
                Side("CRM", won.get("stage") or "CLOSED_WON"), Side("ERP", None), None, 0, amount, ccy, True,
                le_code=won.get("contracting_le"), queue="finance-master")


RULES = (
    *(Rule("PROJECT_NOT_SYNCED", "02", "project", ("ERP", target), partial(not_synced, target=target),
           Severity.MEDIUM, "pmo", hold="H14") for target in ("PSA", "SCHED", "TIME")),
    Rule("PROJECT_NOT_SYNCED", "02", "opportunity", ("CRM", "ERP"), won_without_project, Severity.MEDIUM, "pmo"),
)
