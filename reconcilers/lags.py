"""How long a time entry takes from the work to the invoice, stage by stage, and how lags become percentiles.

A lag is whole seconds, weighted by the entry's seconds. Percentiles come from geometric buckets, which can be taken
back: bucket 0 is below a minute, each of the others ends a quarter later than it begins, the last one is open.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from tieout.reconcilers.asof import AsOf, Entry
from tieout.reconcilers.billed import parts
from tieout.reconcilers.quantities import rounded
from tieout.reconcilers.timeline import SECOND, instant_of

BUCKETS: Final = 60
EDGES_S: Final = tuple(60 * 5**n // 4**n for n in range(BUCKETS - 1))  # one minute to 290 days
STAGES: Final = (("SUBMIT", "worked_at", "submitted_at"), ("APPROVE", "submitted_at", "approved_at"),
                 ("ERP", "approved_at", "posted_at"), ("READY", "posted_at", "ready_at"),
                 ("INVOICE", "ready_at", "invoiced_at"))  # of the way to the invoice: name, from, to


NOWHERE: Final[dict[str, int | None]] = dict.fromkeys(  # of a project that the entry has left
    ("worked_at", "submitted_at", "approved_at", "posted_at", "ready_at", "invoiced_at", "approval_business_s"))


def bucket_of(lag_s: int) -> int:
    """The bucket of a lag, 0 to 59."""
    return bisect_right(EDGES_S, lag_s)


def percentile(weights: Mapping[int, int], percent: int) -> int:
    """The lag in seconds below which `percent` of the weight lies, interpolated within its bucket; 0 of nothing."""
    below, wanted = 0, Fraction(sum(weights.values()) * percent, 100)
    for bucket, weight in sorted(weights.items()):
        if weight and below + weight >= wanted:
            start, end = bounds(bucket)
            return start + rounded((end - start) * (wanted - below) / weight)
        below += weight
    return 0


def bounds(bucket: int) -> tuple[int, int]:
    """Where a bucket begins and ends, in seconds; the open one ends a quarter later, like the others."""
    start = EDGES_S[bucket - 1] if bucket else 0
    return start, EDGES_S[bucket] if bucket < len(EDGES_S) else start * 5 // 4


def lag_s(start: int | None, end: int | None) -> int | None:
    """Seconds from one instant to another, none if that was earlier; None where one is not known."""
    return None if start is None or end is None else max(0, end - start) // SECOND


def journey(world: AsOf, entry: Entry, held: bool, released: int | None) -> dict[str, int | None]:
    """The entry's instants as columns of `time_entry.state`; `released`: when the last hold on it was lifted, if it is.

    An entry that is billed in parts is invoiced with the last of them.
    """
    project_tz = world.legal_entity(entry.project.get("le_code")).tz
    record = world.facts.get("time_entry", entry.key)
    marks = record.marks(entry.key.partition(":")[0], world.instant) if record else {}
    submitted, approved, posted = marks.get("submitted"), _approved_at(entry, marks), _posted_at(world, entry)
    billed = parts(world, entry)
    ready = None if held or approved is None or posted is None else max(approved, posted, released or posted)
    business = None
    if submitted is not None and approved is not None:
        business = world.policy.calendar.between(submitted, approved, project_tz) // SECOND
    return {
        "worked_at": _worked_at(entry, project_tz),
        "submitted_at": submitted, "approved_at": approved, "posted_at": posted, "ready_at": ready,
        "invoiced_at": billed[-1].at if billed else None,
        "approval_business_s": business,
    }


def billed_elsewhere(world: AsOf, entry: Entry, code: str) -> dict[str, int | None]:
    """The instants of an entry on a project that it has left: only a credit takes the sample of K5 back."""
    billed = parts(world, entry, code=code)
    if not billed:
        return NOWHERE
    tz = world.legal_entity(world.project(code).get("le_code")).tz
    return NOWHERE | {"worked_at": _worked_at(entry, tz), "invoiced_at": billed[-1].at}


def _worked_at(entry: Entry, project_tz: str) -> int | None:
    """The end of the day of the work."""
    day = entry.work_date
    return None if day is None else instant_of(day + 1, 0, entry.merged.get("work_tz") or project_tz)


def _approved_at(entry: Entry, marks: Mapping[str, int]) -> int | None:
    """When it was approved for the last time: the system's word if it belongs to this approval, else its commit."""
    if not entry.approved:
        return None
    stated: Any = entry.merged.get("approved_at")
    since = marks.get("state")
    if stated is not None and (since is None or marks.get("approved_at", since) >= since):
        return int(stated)
    return since


def _posted_at(world: AsOf, entry: Entry) -> int | None:
    """When the ERP had posted all that it has of the entry."""
    found = []
    for name in world.facts.labour.get(entry.key, ()):
        record = world.facts.get("posted_labour", name)
        if record and "posted" in (marks := record.marks("ERP", world.instant)):
            found.append(marks["posted"])
    return max(found, default=None)
