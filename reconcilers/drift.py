"""The semantic drift detector of check 43: a unit that changed while the schema stayed the same.

Rows of one source object are gathered by hour of commit. An hour with enough rows is judged against the median of the
sound hours before it; one that has drifted is no measure for those that follow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

ENOUGH_ROWS: Final = 200  # of an hour, to be judged
_MEASURE_ROWS: Final = 50  # of the hours before, to be a measure
KEPT_HOURS: Final = 7 * 24
LONGEST_DAY_S: Final = 25 * 3_600  # a civil day in autumn; no entry of one day can be longer


class Verdict(NamedTuple):
    """An hour that has drifted: its rows and median in seconds, and the usual median if there is one."""

    hour: int
    rows: int
    median_s: int
    usual_s: int | None


class Judgement(NamedTuple):
    """The last hour that could be judged: drifted or not, and the first of the drifted ones up to it."""

    hour: int
    drifted: Verdict | None
    since: int


def judge(hours: Mapping[int, Mapping[int, int]]) -> Judgement | None:
    """What the last hour with enough rows says; None if there is none. `hours`: hour -> quantity -> rows."""
    usual: Counter[int] = Counter()
    last: Judgement | None = None
    for hour in sorted(hours):
        found = Counter({qty: rows for qty, rows in hours[hour].items() if rows > 0 and qty > 0})
        rows = found.total()
        verdict = _verdict(hour, found, usual) if rows >= ENOUGH_ROWS else None
        if rows >= ENOUGH_ROWS:
            since = last.since if last and last.drifted and verdict else hour
            last = Judgement(hour, verdict, since)
        if verdict is None and not (last and last.drifted):
            usual.update(found)
    return last


def _verdict(hour: int, found: Counter[int], usual: Counter[int]) -> Verdict | None:
    median_s = median(found)
    if median_s > LONGEST_DAY_S:
        return Verdict(hour, found.total(), median_s, median(usual) if usual else None)
    if usual.total() < _MEASURE_ROWS:
        return None
    usual_s = median(usual)
    moved = 2 * median_s <= usual_s or median_s >= 2 * usual_s
    return Verdict(hour, found.total(), median_s, usual_s) if moved else None


def median(found: Mapping[int, int]) -> int:
    """The lower median of quantities that are counted; raises ValueError when there are none."""
    left = (sum(found.values()) + 1) // 2
    for qty in sorted(found):
        left -= found[qty]
        if left <= 0:
            return qty
    raise ValueError("no rows, expected at least one")
