"""Check 31: the same hours counted twice, as the same work, at the same time, or as more than a day can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

from tieout.reconcilers.asof import AsOf, Entry
from tieout.reconcilers.deadlines import FOUR_HOURS
from tieout.reconcilers.findings import Break, Rule, Severity, Side
from tieout.reconcilers.pricing import currency, priced, value_minor
from tieout.reconcilers.quantities import hours_text, money_text
from tieout.reconcilers.rules.time import found_on, place_text
from tieout.reconcilers.timeline import DAY, day_length_s, day_text, instant_text

_CLAIMED: Final = ("SUBMITTED", "APPROVED")
_WORK: Final = ("worker_no", "work_date", "wbs_code", "note_hash")


def _counts(entry: Entry) -> bool:
    """Whether somebody wants the time to be billed; a draft, a rejected or an unbillable entry doubles nothing."""
    return not entry.deleted and entry.status in _CLAIMED and entry.billable and _claimed_s(entry) > 0


def _claimed_s(entry: Entry) -> int:
    stated = entry.merged.get("billable_s")
    return entry.qty_s if stated is None else int(stated)


def _created(world: AsOf, key: str) -> tuple[int, str]:
    """When the entry was made, and its key: of two entries the later one is the double.

    Its own system's word counts; where that has not told yet, the entry was made when another system first showed it.
    """
    record = world.facts.get("time_entry", key)
    made = record.first(key.partition(":")[0], world.instant, "created") if record else None
    return world.clock if made is None else made, key


# -- 31 KEY ------------------------------------------------------------------------------------------


def same_work(world: AsOf, key: str, *, strayed: bool) -> Iterator[Break]:
    """An earlier entry has the same worker, day, project, task, type, quantity and note.

    Where both are at home with their project, its partition sees them; the worker's looks at the others (`strayed`).
    """
    entry = world.entry(key)
    if not _counts(entry):
        return
    twins = [twin for other in sorted(world.facts.twins(key)) if _is_double(world, entry, twin := world.entry(other))
             and (_is_strayed(world, entry) or _is_strayed(world, twin)) is strayed]
    if not twins:
        return
    first = min(twins, key=lambda twin: _created(world, twin.key))
    made = instant_text(_created(world, first.key)[0])
    yield found_on(world, entry, "KEY", FOUR_HOURS, Side("TIME", first.key), Side("TIME", key), -_claimed_s(entry),
                   f"{place_text(entry)} repeats {first.key} of {made}: same worker, day, project, task, type, "
                   "quantity and note")


def _is_strayed(world: AsOf, entry: Entry) -> bool:
    return world.strayed(entry.key, entry.project_code)


def _is_double(world: AsOf, entry: Entry, other: Entry) -> bool:
    """Whether `other` is the same work as the entry, and was there before it."""
    mine, theirs = _created(world, entry.key), _created(world, other.key)
    return (theirs < mine and mine[0] - theirs[0] <= world.policy.double_days * DAY and _counts(other)
            and _likeness(entry) == _likeness(other))


def _likeness(entry: Entry) -> tuple[object, ...]:
    said = entry.merged
    return (entry.project_code, entry.qty_s, said.get("time_type") or "WORK", *map(said.get, _WORK))


# -- 31 OVERLAP ----------------------------------------------------------------------------------------


def overlap(world: AsOf, key: str) -> Iterator[Break]:
    """The worker was somewhere else in the same minutes: the later entry is held, the smaller one is what is lost."""
    entry = world.entry(key)
    if not _counts(entry) or not _is_timed(entry):
        return
    mine = _created(world, key)
    others = [other for other in _fellows(world, entry) if _is_timed(other) and _created(world, other.key) < mine
              and _meet(entry, other) and not _is_double(world, entry, other)]
    if not others:
        return
    other = max(others, key=lambda fellow: (min(_claimed_s(entry), _claimed_s(fellow)), fellow.key))
    smaller = min((entry, other), key=lambda one: (_claimed_s(one), one.key == other.key))
    gap_s = -_claimed_s(smaller)
    minor, ccy = value_minor(world, smaller, gap_s, priced(world, smaller).rate), currency(world, smaller)
    broke = found_on(world, entry, "OVERLAP", FOUR_HOURS, Side("TIME", _times(other)), Side("TIME", _times(entry)),
                     gap_s, f"{place_text(entry)}, {_times(entry)}, overlaps {other.key} on {other.project_code}, "
                     f"{_times(other)}; the smaller of the two is {smaller.key}", money_minor=minor,
                     attribute="start_at")
    yield broke._replace(ccy=ccy)


def _is_timed(entry: Entry) -> bool:
    return entry.merged.get("start_at") is not None and entry.merged.get("end_at") is not None


def _meet(one: Entry, other: Entry) -> bool:
    """Whether two intervals share an instant; that one ends when the other begins is no overlap."""
    return bool(one.merged["start_at"] < other.merged["end_at"] and other.merged["start_at"] < one.merged["end_at"])


def _times(entry: Entry) -> str:
    return f"{instant_text(entry.merged['start_at'])} to {instant_text(entry.merged['end_at'])}"


def _fellows(world: AsOf, entry: Entry) -> Iterator[Entry]:
    """The worker's other entries of the day, and of the days beside it: nights cross midnight."""
    day, worker = entry.work_date, entry.worker_no
    if day is None or worker is None or _was_reassigned(world, entry.key):
        return
    for date in (day - 1, day, day + 1):
        yield from (other for other in _of_day(world, worker, date) if other.key != entry.key)


def _of_day(world: AsOf, worker: str, day: int) -> Iterator[Entry]:
    for key in sorted(world.facts.entries_of_day.get((worker, day), ())):
        entry = world.entry(key)
        if (entry.worker_no, entry.work_date) == (worker, day) and _counts(entry) and not _was_reassigned(world, key):
            yield entry


def _was_reassigned(world: AsOf, key: str) -> bool:
    """An entry that once was another worker's stays at home with that one, so it is compared with nobody here."""
    record = world.facts.get("time_entry", key)
    return record is not None and len(record.said("worker_no", world.instant)) > 1


# -- 31 DAY_LIMIT --------------------------------------------------------------------------------------


def day_limit(world: AsOf, subject: str) -> Iterator[Break]:
    """More billable time on one day than anybody works, 16 h; or than the day has, 24 h, 23 or 25 at a clock change."""
    worker, _, number = subject.rpartition("|")
    day = int(number)
    work = sorted(_of_day(world, worker, day), key=lambda entry: _created(world, entry.key))
    total_s = sum(map(_claimed_s, work))
    over_s = total_s - world.policy.day_limit_s
    if over_s <= 0:
        return
    length_s = max(day_length_s(day, entry.merged.get("work_tz") or world.tz_of(worker)) for entry in work)
    beyond = list(_beyond(work, over_s))
    last = beyond[0][0]
    ccy = currency(world, last)
    minor = sum(value_minor(world, entry, -seconds, priced(world, entry).rate) for entry, seconds in beyond
                if currency(world, entry) == ccy)  # currencies are never added: the others show in the seconds alone
    worth = f"{hours_text(over_s)}, {money_text(minor, ccy)}" if ccy else hours_text(over_s)
    text = (f"{worker} has {hours_text(total_s)} of billable time in {len(work)} entries on {day_text(day)}, a day of "
            f"{hours_text(length_s)}; the limit is {hours_text(world.policy.day_limit_s)} ({worth}).")
    yield Break("DAY_LIMIT", f"{worker}|{day_text(day)}", FOUR_HOURS, text, "time_entry",
                Side("TIME", hours_text(world.policy.day_limit_s)), Side("TIME", hours_text(total_s)),
                last.project_code, over_s, minor, ccy, holds=True, attribute="qty_s",
                le_code=last.project.get("le_code"), cycle=world.cycle(last.project, day).label, worker_no=worker,
                base=int(Severity.CRITICAL) if total_s > length_s else None,
                entries=tuple(sorted(entry.key for entry, _ in beyond)))


def _beyond(work: Iterable[Entry], over_s: int) -> Iterator[tuple[Entry, int]]:
    """The entries made last that make up the excess, newest first, each with its seconds beyond the limit."""
    for entry in reversed(list(work)):
        if over_s > 0:
            yield entry, min(over_s, _claimed_s(entry))
            over_s -= _claimed_s(entry)


def seen_by_worker(world: AsOf, key: str) -> Iterator[Break]:
    """What only the partition of the worker sees of an entry, for it has all the projects."""
    yield from same_work(world, key, strayed=True)
    yield from overlap(world, key)


def _rule(subject: str, find: Callable[[AsOf, str], Iterable[Break]]) -> Rule:
    return Rule("TIME_DUPLICATE", "31", subject, (), find, Severity.HIGH, "pmo", minds=("TIME", "PSA", "ERP"),
                hold="H17")


RULES: Final = (_rule("entry", partial(same_work, strayed=False)),)
WORKER_RULES: Final = (_rule("entry", seen_by_worker), _rule("day", day_limit))
