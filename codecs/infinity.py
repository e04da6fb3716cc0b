"""How a date of PostgreSQL that is 'infinity' or '-infinity' arrives: as a day that overflowed.

Debezium carries dates as 32-bit days. PostgreSQL's infinities do not fit, and what comes out, seen with 3.6.3, depends
on whether the row was read in a snapshot or from the log; three of the four have the sign of the other infinity.

===========  ============  ==============  ====================================
date         days          where           as text (time.precision.mode isostring)
===========  ============  ==============  ====================================
infinity      -622191234   snapshot        +292278994-08-16Z
-infinity     -625821272   snapshot        +292269055-12-02Z
infinity     -2147472692   log             -5877611-06-21Z
-infinity    -2147472691   log             -5877611-06-22Z
both          ±2^31        others          the limits of 32 bits
===========  ============  ==============  ====================================

Days of snapshots are those of the connector's time zone, one more or less. No date of PostgreSQL is as early as these.
"""

from __future__ import annotations

from typing import Final

FOREVER: Final = 2**62
_DAYS: Final = {
    **dict.fromkeys(range(-622191235, -622191232), FOREVER), **dict.fromkeys(range(-625821273, -625821270), -FOREVER),
    -2147472692: FOREVER, -2147472691: -FOREVER, 2**31 - 1: FOREVER, -(2**31): -FOREVER,
}
_TEXTS: Final = {
    **dict.fromkeys((f"+292278994-08-{day}" for day in (15, 16, 17)), FOREVER),
    **dict.fromkeys((f"+292269055-12-{day:02d}" for day in (1, 2, 3)), -FOREVER),
    "-5877611-06-21": FOREVER, "-5877611-06-22": -FOREVER,
}


def endless_day(day: int) -> int | None:
    """`FOREVER`, or its negative, when the day is an infinity that overflowed."""
    return _DAYS.get(day)


def endless(text: str) -> int | None:
    """`FOREVER`, or its negative: an infinity by name, as a date that overflowed, or as a year that no calendar has."""
    if text[:1] in ("+", "-") or text == "infinity":
        return _TEXTS.get(text.removesuffix("Z"), -FOREVER if text[0] == "-" else FOREVER)
    return None
