"""How long a difference may last before it is a finding: wall time for machines, business hours for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tieout.reconcilers.asof import AsOf
from tieout.reconcilers.timeline import FOREVER, SECOND, cutoff_window, local_day


class Grace(NamedTuple):
    """Either wall seconds, with a shorter value inside a cutoff window, or business hours in the owner's zone."""

    wall_s: int = 0
    cutoff_s: int | None = None
    business_h: int = 0
    tz: str | None = None


HOUR_S, DAY_S = 3_600, 86_400
FOUR_HOURS = Grace(4 * HOUR_S)
FOUR_HOURS_ONE_AT_CUTOFF = Grace(4 * HOUR_S, HOUR_S)
A_DAY = Grace(DAY_S)
A_DAY_FOUR_HOURS_AT_CUTOFF = Grace(DAY_S, 4 * HOUR_S)
AN_HOUR = Grace(HOUR_S)
HALF_AN_HOUR = Grace(HOUR_S // 2)
NONE = Grace()


def deadline(world: AsOf, grace: Grace, onset: int, project: Mapping[str, Any]) -> int:
    """The instant at which a difference that began at `onset` is a finding."""
    if grace.business_h:
        return world.policy.calendar.add_hours(onset, grace.business_h, grace.tz)
    wall_s = grace.wall_s
    if grace.cutoff_s is not None and at_cutoff(world, project, onset):
        wall_s = grace.cutoff_s
    return onset + wall_s * SECOND


def at_cutoff(world: AsOf, project: Mapping[str, Any], instant: int) -> bool:
    """Whether the instant lies in the cutoff window of the project's billing cycle, or of the one before."""
    tz = world.legal_entity(project.get("le_code")).tz
    cycles = [world.cycle(project, local_day(instant, tz))]
    if cycles[0].days.start > -FOREVER:
        cycles.append(world.cycle(project, cycles[0].days.start - 1))
    return any(start <= instant < end for start, end in (
        cutoff_window(cycle.cutoff_day, world.policy.calendar, tz) for cycle in cycles))
