"""What no record of a firm can mean: put aside before the reconcilers count with it, or read as what it stands for.

A day in the year 1 or 9999 is some system's word for "none" or "for ever". Where it bounds a period, the period is
open; where it says when something happened, nobody can know what was meant, and the record becomes a dead letter.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tieout.codecs.errors import BadValue
from tieout.codecs.values import day_number
from tieout.reconcilers.changes import Change
from tieout.reconcilers.drift import LONGEST_DAY_S
from tieout.reconcilers.entities import ENTITIES, Entity, Kind
from tieout.reconcilers.timeline import DAY, FOREVER, as_date, day_text, instant_text

FIRST: Final = day_number("1950-01-01")
END: Final = day_number("2150-01-01")  # exclusive
HAPPENED: Final = ("work_date", "accounting_date", "incurred_date", "invoice_date", "rate_date", "day")
_NONE: Final = "does the source mean none by it? Then the mapping says so with `null_if`"
_UNIT: Final = "is it in another unit than the mapping says?"


class Implausible(NamedTuple):
    """Why a change is put aside."""

    error: BadValue
    reason: str
    hint: str


def implausible(change: Change) -> Implausible | None:
    """Why the change cannot be meant as it stands, None where it can."""
    said = change.asserted
    qty = said.get("qty_s") if change.entity == "time_entry" else None
    if isinstance(qty, int) and abs(qty) > LONGEST_DAY_S:
        found = f"qty_s: found {qty}, no day is longer than {LONGEST_DAY_S} s"
        return Implausible(BadValue(found), "implausible_quantity", _UNIT)
    points, _ = _DATED.get(change.entity, _UNDATED)
    for name, unit in points:
        value = said.get(name)
        if value is not None and not FIRST * unit <= value < END * unit:
            found = f"{name}: found {_text(value, unit)}, expected a day from {day_text(FIRST)} to {day_text(END - 1)}"
            return Implausible(BadValue(found), "implausible_date", _NONE)
    return None


def open_ended(change: Change) -> Change:
    """The change with periods open where a bound lies behind all calendars that are in use."""
    _, bounds = _DATED.get(change.entity, _UNDATED)
    said = change.asserted
    found = {name: FOREVER if value >= END else -FOREVER for name in bounds
             if (value := said.get(name)) is not None and not FIRST <= value < END}
    return change._replace(asserted={**said, **found}) if found else change


_Dated = tuple[tuple[tuple[str, int], ...], tuple[str, ...]]
_UNDATED: Final[_Dated] = ((), ())


def _dated(entity: Entity) -> _Dated:
    """Attributes that say when something happened, with the units of a day in them, and those that bound a period."""
    kinds = {name: attribute.kind for name, attribute in entity.attributes.items()}
    points = [(name, DAY if kind is Kind.INSTANT else 1) for name, kind in kinds.items()
              if kind is Kind.INSTANT or (kind is Kind.DATE and name in HAPPENED)]
    bounds = [name for name, kind in kinds.items() if kind is Kind.DATE and name not in HAPPENED]
    return tuple(points), tuple(bounds)


_DATED: Final = {name: _dated(entity) for name, entity in ENTITIES.items()}


def _text(value: int, unit: int) -> str:
    try:
        return as_date(value).isoformat() if unit == 1 else instant_text(value)
    except (OverflowError, ValueError):  # no calendar has it
        return str(value)
