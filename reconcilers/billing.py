"""The billing state of a time entry: derived from quantities and holds, so that no order of events matters.

The conservation law, per entry and project: approved = net billed + unbilled - overbilled + written off.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tieout.reconcilers.asof import AsOf, Entry, Quantities
from tieout.reconcilers.lags import NOWHERE, billed_elsewhere, journey
from tieout.reconcilers.pricing import applied_rate, currency, priced, value_minor
from tieout.reconcilers.quantities import rounded
from tieout.reconcilers.rates import Resolution

# From the reason that counts first to the last (domain model, section 5).
HOLD_PRECEDENCE: Final = ("H14", "H18", "H17", "H16", "H22", "H07", "H15", "H04", "H05", "H06", "H01", "H02", "H03",
                          "H09", "H10", "H12", "H11", "H13", "H08", "H20", "H19", "H21")
HELD_STATES: Final = ("HELD", "PROPOSED_HELD")
_PRICE_TOLERANCE_MINOR: Final = 1  # one rounding of the entry against its share of an invoice line


class Standing(NamedTuple):
    """What stands against billing an entry: holds with open findings, and whether an evaluation is still pending."""

    holds: tuple[str, ...] = ()
    pending: bool = False
    released: int | None = None  # when the last hold was lifted


# Columns of a row, in the order in which a changelog keeps their values. Another order is another ROWS_VERSION.
ROW_COLUMNS: Final = (
    "entry_key", "project_code", "worker_no", "account_no", "le_code", "region", "practice", "billing_cycle_id",
    "work_date", "status", "state", "approved_s", "billed_s", "unbilled_s", "overbilled_s", "written_off_s",
    "proposed_s", "ready_s", "held_s", "unpriced_s", "rate_e6", "rate_ref", "rate_level", "currency",
    "unbilled_minor", "ready_minor", "held_minor", "applied_minor", "billed_minor", "adjustment_due_minor",
    "top_hold", "holds", *NOWHERE,
)
ROWS_VERSION: Final = 1


def ordered(holds: set[str]) -> tuple[str, ...]:
    """Holds by precedence."""
    return tuple(sorted(holds, key=HOLD_PRECEDENCE.index))


def rows(world: AsOf, entry: Entry, standing: Standing) -> Iterator[dict[str, Any]]:
    """The entry's rows of `time_entry.state`, one a project: its own first, then those it was billed on before."""
    yield _row(world, entry, entry.project_code, entry.approved_s, standing)
    for code in sorted(entry.quantities):
        if code != entry.project_code:
            yield _row(world, entry, code, 0, Standing())


def _row(world: AsOf, entry: Entry, code: str, approved_s: int, standing: Standing) -> dict[str, Any]:
    project = world.project(code)
    amounts = entry.quantities.get(code, Quantities())
    unbilled_s = max(0, approved_s - amounts.billed_s - amounts.written_off_s)
    overbilled_s = max(0, amounts.billed_s + amounts.written_off_s - approved_s)
    own = code == entry.project_code
    price = priced(world, entry) if own and entry.work_date is not None else None
    rate = price.rate if price else None
    due = adjustment_due(world, entry, price, approved_s, amounts)
    state = billing_state(world, entry, own, approved_s, amounts, due, standing)
    value = value_minor(world, entry, unbilled_s, rate)
    applied = applied_rate(entry) if own else None
    held, ready = state in HELD_STATES, state == "READY"
    holds = standing.holds if unbilled_s else ()
    return {
        "entry_key": entry.key, "project_code": code, "worker_no": entry.worker_no,
        "account_no": project.get("customer_no"), "le_code": project.get("le_code"), "region": project.get("region"),
        "practice": project.get("practice"),
        "billing_cycle_id": world.cycle(project, entry.work_date).label if entry.work_date is not None else None,
        "work_date": entry.work_date, "status": "DELETED" if entry.deleted else entry.status, "state": state,
        "approved_s": approved_s, "billed_s": amounts.billed_s, "unbilled_s": unbilled_s, "overbilled_s": overbilled_s,
        "written_off_s": amounts.written_off_s, "proposed_s": amounts.proposed_s,
        "ready_s": unbilled_s if ready else 0, "held_s": unbilled_s if held else 0,
        "unpriced_s": unbilled_s if rate is None else 0,
        "rate_e6": rounded(rate.per_hour_e6()) if rate else None, "rate_ref": price.ref if price else None,
        "rate_level": price.level if price else None, "currency": currency(world, entry) if own else project.get("ccy"),
        "unbilled_minor": value, "ready_minor": value if ready else 0, "held_minor": value if held else 0,
        "applied_minor": value_minor(world, entry, unbilled_s, applied[1]) if applied else None,
        "billed_minor": amounts.billed_minor, "adjustment_due_minor": due,
        "top_hold": holds[0] if holds else None, "holds": "|".join(holds),
        **(journey(world, entry, bool(set(holds) - {"H19"}), standing.released) if own
           else billed_elsewhere(world, entry, code)),
    }


def adjustment_due(world: AsOf, entry: Entry, price: Resolution | None, approved_s: int, amounts: Quantities) -> int:
    """What a correction owes (+) or gives back (-): the billed seconds at the resolved rate less what was billed."""
    if not amounts.billed_s and not amounts.billed_minor:
        return 0
    entitled_s = max(0, min(amounts.billed_s, approved_s - amounts.written_off_s))
    if price is None or price.rate is None:
        over = amounts.billed_s - entitled_s
        return -amounts.billed_minor * over // amounts.billed_s if amounts.billed_s else 0
    line = world.contract_line(entry.project, entry.work_date)
    if (line.get("retro_policy") or world.policy.retro_policy) == "ABSORB" and entitled_s == amounts.billed_s:
        return 0
    due = value_minor(world, entry, entitled_s, price.rate) - amounts.billed_minor
    return 0 if abs(due) <= _PRICE_TOLERANCE_MINOR else due


def billing_state(world: AsOf, entry: Entry, own: bool, approved_s: int, amounts: Quantities, due: int,
                  standing: Standing) -> str:
    """The state machine of section 5, read from top to bottom: the first line that holds is the state."""
    tolerance = (entry.merged.get("quantum_s") or world.policy.default_quantum_s) // 2
    unbilled_s = max(0, approved_s - amounts.billed_s - amounts.written_off_s)
    overbilled_s = max(0, amounts.billed_s + amounts.written_off_s - approved_s)
    if not (own and entry.approved) and not amounts.billed_s:
        return "VOID"
    if own and not entry.billable:
        return "NON_BILLABLE"
    if overbilled_s > tolerance or due:
        return "ADJUSTMENT_DUE"
    if unbilled_s <= tolerance:
        return _closed(amounts)
    if amounts.proposed_s >= unbilled_s:
        return "PROPOSED_HELD" if standing.holds else "PROPOSED"
    if standing.holds:
        return "HELD"
    return "APPROVED_PENDING" if standing.pending else "READY"


def _closed(amounts: Quantities) -> str:
    if amounts.written_off_s:
        return "WRITTEN_OFF"
    return "SETTLED" if amounts.billed_s and not amounts.unpaid else "INVOICED"


def decision(row: dict[str, Any], previous: str | None, event_id: str, now: int) -> dict[str, Any]:
    """The row of `billing_decision.events` that follows from a row of `time_entry.state`."""
    return {
        "event_id": event_id, "entry_key": row["entry_key"], "project_code": row["project_code"],
        "decision": row["state"], "previous": previous, "reasons": row["holds"], "unbilled_s": row["unbilled_s"],
        "unbilled_minor": row["unbilled_minor"], "currency": row["currency"], "at": now,
    }

