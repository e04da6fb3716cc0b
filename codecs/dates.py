"""Dates and instants as vendors write them: ISO text with or without zone, milliseconds, names of months."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from tieout.codecs.columns import FIRST_DAY, LAST_DAY, Day, Instant, Local
from tieout.codecs.errors import BadValue, shown
from tieout.codecs.values import DAY_US, day_number, day_text, instant_us

_PERIOD: Final = re.compile(r"(?:([A-Za-z]{3,9})\.?[ -]?(\d{4})|(\d{4})-(\d\d)(?:-\d\d)?)", re.ASCII)
_MONTHS: Final = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
                  "november", "december")
_MONTH_OF: Final[Mapping[str, int]] = {
    **{name[:3]: number for number, name in enumerate(_MONTHS, start=1)}, "sept": 9,
    **{name: number for number, name in enumerate(_MONTHS, start=1)},
}
_ZONE: Final = re.compile(r"([+-]\d\d)(\d\d)$", re.ASCII)
_DATE_MS: Final = re.compile(r"/Date\((-?\d{1,18})(?:[+-]\d{4})?\)/", re.ASCII)


def civil_date(value: Any) -> Day:
    """The date that was written, never localised: ISO text (its date part), milliseconds or an instant (UTC)."""
    if type(value) is Day:
        return value
    if type(value) is str and (value[10:11] in ("", "T", " ")):
        try:
            return Day(day_number(value[:10]))
        except ValueError:
            raise BadValue(f"found {shown(value)}, expected an ISO date") from None
    days = value // DAY_US if type(value) in (Instant, Local) else value // 86_400_000 if type(value) is int else None
    if days is not None and FIRST_DAY <= days <= LAST_DAY:
        return Day(days)
    raise BadValue(f"found {shown(value)}, expected a date, as ISO text or in milliseconds")


def zoned(value: Any) -> Instant:
    """A point in time: ISO text with zone (Z, +01:00, +0100), or milliseconds."""
    if type(value) is Instant:
        return value
    if type(value) is str:
        try:
            return Instant(instant_us(_ZONE.sub(r"\1:\2", value.strip().replace(" ", "T", 1))))
        except ValueError:
            raise BadValue(f"found {shown(value)}, expected an instant with zone",
                           "a time without zone is ambiguous: as = 'utc', or as = 'local_time' with zone") from None
    if type(value) is int and FIRST_DAY <= value // 86_400_000 <= LAST_DAY:
        return Instant(value * 1_000)
    raise BadValue(f"found {shown(value)}, expected an instant, as ISO text with zone or in milliseconds")


def date_ms(text: str) -> Instant | None:
    """'/Date(1773652350000+0000)/' as an instant (the offset says only how to show it); None for other text."""
    match = _DATE_MS.fullmatch(text)
    if match is None:
        return None
    days = int(match[1]) // 86_400_000
    if not FIRST_DAY <= days <= LAST_DAY:
        raise BadValue(f"found {shown(text)}, expected a date between the years 1 and 9999")
    return Instant(int(match[1]) * 1_000)


def period(value: Any) -> str:
    """A posting period as '2026-03': 'Mar 2026', 'March 2026', 'Mar-2026', '2026-03' or a date in it."""
    text = day_text(value) if type(value) is Day else value
    match = _PERIOD.fullmatch(text.strip()) if type(text) is str else None
    if match is None:
        raise BadValue(f"found {shown(value)}, expected a month like 'Mar 2026' or '2026-03'")
    year, month = (match[2], _MONTH_OF.get(match[1].lower(), 0)) if match[1] else (match[3], int(match[4]))
    if not 1 <= month <= 12 or year == "0000":
        raise BadValue(f"found {shown(value)}, expected a month like 'Mar 2026' or '2026-03'")
    return f"{year}-{month:02d}"


def month_start(value: Any) -> Day:
    """The first day of a posting period."""
    return Day(day_number(f"{period(value)}-01"))
