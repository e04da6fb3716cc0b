"""How often one caller may ask: a token bucket for each, refilled evenly, and a bounded number of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import ceil
from typing import Final

from tieout.streams.clock import monotonic_s

_CALLERS: Final = 10_000  # the longest unheard of are forgotten: for them a bucket is full again


class Buckets:
    """So many requests a minute for each caller, as many at once after a minute of silence; 0: no limit."""

    def __init__(self, per_minute: int = 0, now_s: Callable[[], float] = monotonic_s) -> None:
        self._capacity = float(per_minute)
        self._now_s = now_s
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # caller -> (left, as of)

    def take(self, caller: str) -> int:
        """0 when the caller may go on, else the whole seconds until it may."""
        if not self._capacity:
            return 0
        now_s, rate = self._now_s(), self._capacity / 60
        left, since_s = self._buckets.pop(caller, (self._capacity, now_s))
        left = min(self._capacity, left + (now_s - since_s) * rate)
        allowed = left >= 1
        self._buckets[caller] = (left - 1 if allowed else left, now_s)
        if len(self._buckets) > _CALLERS:
            self._buckets.popitem(last=False)
        return 0 if allowed else max(1, ceil((1 - left) / rate))
