"""A random firm: all kinds of events, partial updates, deletes, re-keys, back-dated rates, faults that heal or stay.

    firm = generate(seed=7, entries=120)
    firm.write(path)

Lines arrive a constant lag behind their commit, which differs by source, and each source states its watermark every few
hours: the watermark never overtakes the source's own changes, whatever the order between sources.
"""

from __future__ import annotations

from datetime import timedelta
from random import Random

from oracle.firm import LAG_S, SETUP, START, Firm
from oracle.firm_doubts import bare_invoices, doubtful_rates
from oracle.firm_plans import assignments, masters, opportunities, projects, rates
from oracle.firm_time import entry


def generate(seed: int, entries: int = 100, days: int = 28, stated_every_h: int = 4) -> Firm:
    """A firm whose every run with the same numbers is the same."""
    firm = Firm(random=Random(seed), days=days)
    masters(firm)
    projects(firm)
    rates(firm)
    assignments(firm)
    doubtful_rates(firm)
    for number in range(entries):
        entry(firm, f"{number:04d}")
    opportunities(firm)
    bare_invoices(firm, entries // 12)
    _watermarks(firm, stated_every_h)
    return firm


def end_of(firm: Firm) -> str:
    """An instant after everything, when most deadlines have passed."""
    return (START + timedelta(days=firm.days + 6)).isoformat().replace("+00:00", "Z")


def _watermarks(firm: Firm, every_h: int) -> None:
    """Every few hours, each source; all of them once more at the end."""
    last = START + timedelta(days=firm.days + 6)
    steps = [SETUP + timedelta(hours=every_h * n) for n in range(1, (last - SETUP) // timedelta(hours=every_h))] + [
        last
    ]
    for source, lag in LAG_S.items():
        for through in steps:
            at = through + timedelta(seconds=lag)
            stamp, arrives = (instant.isoformat().replace("+00:00", "Z") for instant in (through, at))
            firm.put(source, "source", "observed", at=stamp, arrives=arrives, subject=source, through=stamp)
