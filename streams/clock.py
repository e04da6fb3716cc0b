"""The only place that reads the clock."""

from __future__ import annotations

import time


def now_us() -> int:
    """The wall clock in microseconds since 1970-01-01T00:00:00Z."""
    return time.time_ns() // 1_000


def monotonic_s() -> float:
    """Seconds that never step back, for durations and deadlines of the process itself."""
    return time.monotonic()
