"""How a mapping takes rows apart: `days`, `each` or `repeat`, from its TOML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tieout.codecs.parts import WEEK, Days, Members, Parts, Series, read_every
from tieout.codecs.problems import Problems

PARTS: Final = ("days", "each", "repeat")
DAYS_KEYS: Final = ("start", "hours", "empty")
REPEAT_KEYS: Final = ("start", "end", "until", "state", "every")
EMPTY: Final = ("delete", "skip")


def read_parts(table: Mapping[str, Any], place: str, problems: Problems) -> Parts | None:
    """The parts of a map's rows; None where a row is one record."""
    found = [key for key in PARTS if key in table]
    if len(found) > 1:
        problems.add(place, f"found {' and '.join(found)}, expected one of {', '.join(PARTS)}")
    if not found:
        return None
    key, place = found[0], f"{place}.{found[0]}"
    if key == "each":
        return Members(problems.typed(place, table[key], str, ""))
    spec = problems.typed(place, table[key], dict, {})
    return _days(spec, place, problems) if key == "days" else _series(spec, place, problems)


def _days(spec: Mapping[str, Any], place: str, problems: Problems) -> Days:
    """{start = "column", hours = [seven columns, Monday first], empty = "delete" | "skip"}."""
    problems.unknown(place, spec, DAYS_KEYS)
    hours = problems.typed(f"{place}.hours", spec.get("hours"), list, [""] * WEEK)
    if len(hours) != WEEK or not all(isinstance(name, str) for name in hours):
        problems.add(f"{place}.hours", f"found {hours!r}, expected seven columns, Monday first")
    empty = spec.get("empty", "delete")
    if empty not in EMPTY:
        problems.add(f"{place}.empty", f"found {empty!r}, expected one of {', '.join(EMPTY)}")
    return Days(problems.typed(f"{place}.start", spec.get("start"), str, ""), tuple(map(str, hours)), empty == "skip")


def _series(spec: Mapping[str, Any], place: str, problems: Problems) -> Series:
    """{start, end, until, state = columns, every = {1 = "1 week", 2 = "1 month", 0 = "never"}}."""
    problems.unknown(place, spec, REPEAT_KEYS)
    start, end, until, state = (problems.typed(f"{place}.{key}", spec.get(key), str, "") for key in REPEAT_KEYS[:4])
    every = {}
    for key, text in problems.typed(f"{place}.every", spec.get("every"), dict, {}).items():
        try:
            every[key] = read_every(problems.typed(f"{place}.every.{key}", text, str, "never"))
        except ValueError as error:
            problems.add(f"{place}.every.{key}", str(error))
    return Series(start, end, until, state, every)
