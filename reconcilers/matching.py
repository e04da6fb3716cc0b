"""Assignments across systems: no shared key, so compared at project, worker and ISO week."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tieout.reconcilers.asof import AsOf, Staffing
from tieout.reconcilers.timeline import FOREVER, Interval, monday

WEEKS_BACK, WEEKS_AHEAD = 2, 12
_MAX_DAYS = 3_660  # an open-ended assignment is expanded no further than this


class Week(NamedTuple):
    """Planned seconds of a worker on a project in the ISO week that begins on `monday`."""

    monday: int
    left_s: int
    right_s: int

    @property
    def gap_s(self) -> int:
        """The magnitude of the difference."""
        return abs(self.left_s - self.right_s)


def window(day: int) -> Interval:
    """The days whose weeks are compared when today is `day`: two weeks back to twelve ahead."""
    first = monday(day)
    return Interval(first - 7 * WEEKS_BACK, first + 7 * (WEEKS_AHEAD + 1))


def planned_s(world: AsOf, row: Staffing, days: Interval) -> dict[int, int]:
    """Planned seconds by day within `days`, expanded through the worker's calendar."""
    start, end = max(row.days.start, days.start), min(row.days.end, days.end)
    mode, value = row.attributes.get("mode") or "PCT", row.attributes.get("alloc_value")
    if mode in ("TOTAL", "CONTOUR"):
        return _spread(world, row, value or 0, Interval(start, end))
    planned = {}
    for day in range(start, end):
        capacity = world.capacity_s(row.worker_no, day)
        if capacity:
            planned[day] = capacity * (10_000 if value is None else value) // 10_000 if mode == "PCT" else value or 0
    return planned


def _spread(world: AsOf, row: Staffing, total: int, days: Interval) -> dict[int, int]:
    """A total over the working days of the whole assignment, to the second: the running sum is rounded, not the day."""
    first = max(row.days.start, days.start - _MAX_DAYS)
    last = min(row.days.end, first + _MAX_DAYS)
    working = [day for day in range(first, last) if world.capacity_s(row.worker_no, day)]
    planned = {}
    for index, day in enumerate(working):
        if days.holds(day):
            planned[day] = total * (index + 1) // len(working) - total * index // len(working)
    return planned


def total_s(world: AsOf, rows: Iterable[Staffing], days: Interval) -> int:
    """Planned seconds of all rows within `days`."""
    return sum(sum(planned_s(world, row, days).values()) for row in rows)


def by_week(world: AsOf, rows: Iterable[Staffing], days: Interval) -> dict[int, int]:
    """Planned seconds by the Monday of their week."""
    weeks: dict[int, int] = {}
    for row in rows:
        for day, seconds in planned_s(world, row, days).items():
            first = monday(day)
            weeks[first] = weeks.get(first, 0) + seconds
    return weeks


def weeks(world: AsOf, left: list[Staffing], right: list[Staffing], days: Interval) -> list[Week]:
    """Both plans side by side, a row for each week in which either has something."""
    ours, theirs = by_week(world, left, days), by_week(world, right, days)
    return [Week(day, ours.get(day, 0), theirs.get(day, 0)) for day in sorted(ours.keys() | theirs.keys())]


def differs(world: AsOf, week: Week) -> bool:
    """Whether a week's plans differ beyond tolerance: the larger of an hour and five per cent of the left plan."""
    policy = world.policy
    return week.gap_s > max(policy.plan_tolerance_s, week.left_s * policy.plan_tolerance_bp // 10_000)


def extent(rows: Iterable[Staffing]) -> Interval:
    """From the first day of any to the last of all."""
    found = [row.days for row in rows]
    return Interval(min(days.start for days in found), max(days.end for days in found)) if found else Interval(
        FOREVER, -FOREVER)
