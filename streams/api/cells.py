"""Sums of KPI cells as they are meant to be read: most add; ages and lags are made when they are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from tieout.reconcilers.kpis import BUCKET
from tieout.reconcilers.lags import percentile
from tieout.streams.api.freshness import Judge
from tieout.streams.api.live import DIMENSIONS, TOTAL, Live, Row, Sums, sum_up

AGEING: Final = "unbilled_ageing"
LAG: Final = "sync_lag"
LAGS: Final = ("time_to_bill", "approval_latency", "approval_latency_business")  # with buckets for percentiles

_DAY_US: Final = 86_400_000_000
_BUCKETS: Final = ((30, "0-30"), (45, "31-45"), (60, "46-60"), (90, "61-90"))
_LEAF: Final = tuple(name for name in DIMENSIONS if name != "object")
_BLANK: Final[Mapping[str, Any]] = dict.fromkeys(DIMENSIONS)


class Cells:
    """Reads the live cells; the dimensions are those of the catalogue."""

    def __init__(self, live: Live, judge: Judge) -> None:
        self._live, self._judge = live, judge

    def sums(self, kpi: str, by: tuple[str, ...] = TOTAL, where: Callable[[Row], bool] | None = None) -> Sums:
        """Cells of `kpi` added up by dimension, those that `where` keeps."""
        if kpi == LAG:
            return largest(sum_up(self._lags(), by, where))
        if kpi in LAGS:
            return sum_up(with_percentiles(self._live.cells(kpi)), by, where)
        if kpi == AGEING and (where is not None or by != TOTAL):
            return sum_up(self._aged(), by, where)
        return self._live.sums(kpi, by, where)

    def _lags(self) -> Iterable[Row]:
        for source in self._judge.sources():
            if source.behind_us is not None:
                yield {
                    **_BLANK, "measure": "VALUE", "state": source.name, "source": source.name,
                    "numerator": source.behind_us, "denominator": None, "unit": "us",
                }  # fmt: skip

    def _aged(self) -> Iterable[Row]:
        today = (self._judge.now() or 0) // _DAY_US
        for cell in self._live.cells(AGEING):
            yield {**cell, "state": bucket(today, cell["work_date"])}


def with_percentiles(cells: Iterable[Row]) -> Iterable[Row]:
    """Means as they are; buckets as the percentiles of their leaf, weighted, so that they roll up as ratios of sums."""
    leaves: dict[tuple[Any, ...], tuple[Row, Counter[int]]] = {}
    for cell in cells:
        if cell["measure"] != BUCKET:
            yield cell
            continue
        _, weights = leaves.setdefault(tuple(cell[name] for name in _LEAF), (cell, Counter()))
        weights[int(cell["object"])] += cell["numerator"]
    for cell, weights in leaves.values():
        total = weights.total()
        for percent in (50, 90):
            lag_s = percentile(weights, percent)
            yield {**cell, "measure": f"P{percent}", "object": None, "numerator": lag_s * total, "denominator": total}


def bucket(today: int, work_date: int | None) -> str | None:
    """The age bucket of a work date, both in days since 1970."""
    if work_date is None:
        return None
    return next((name for limit, name in _BUCKETS if today - work_date <= limit), "90+")


def largest(sums: Sums) -> Sums:
    """For a KPI of which the worst counts: the largest cell instead of the sum."""
    for total in sums.values():
        total.numerator = total.largest or 0
    return sums
