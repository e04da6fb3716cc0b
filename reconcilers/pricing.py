"""What an entry is worth: seconds at the resolved rate, in the legal entity's rounding."""

from __future__ import annotations

from tieout.reconcilers.asof import AsOf, Entry
from tieout.reconcilers.quantities import Rate, amount_minor
from tieout.reconcilers.rates import Resolution, question_of, resolve


def priced(world: AsOf, entry: Entry) -> Resolution:
    """The rate resolution of an entry, remembered within the world."""
    cache: dict[str, Resolution] = world.__dict__.setdefault("_priced", {})
    if entry.key not in cache:
        cache[entry.key] = resolve(world, question_of(entry, world))
    return cache[entry.key]


def value_minor(world: AsOf, entry: Entry, qty_s: int, rate: Rate | None) -> int:
    """The amount of `qty_s` seconds of the entry at `rate`; 0 without a rate. Negative seconds give negative money."""
    if rate is None:
        return 0
    rounding = world.legal_entity(entry.project.get("le_code")).rounding
    amount = amount_minor(abs(qty_s), rate, rounding)
    return amount if qty_s >= 0 else -amount


def currency(world: AsOf, entry: Entry) -> str | None:
    """The currency in which the entry is valued."""
    found = priced(world, entry)
    if found.rate:
        return found.rate.ccy
    line = world.contract_line(entry.project, entry.work_date)
    return line.get("ccy") or entry.project.get("ccy")


def applied_rate(entry: Entry) -> tuple[str, Rate] | None:
    """The rate that a delivery system applied: the PSA's word, else the time system's."""
    for system, view in (("PSA", entry.psa), ("TIME", entry.time)):
        if view and view.get("source_rate"):
            return system, Rate(*view["source_rate"])
    return None
