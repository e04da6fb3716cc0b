"""A line of a timesheet and what three systems say about it over its life."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from tieout.streams.simulate.facts import ERP, PSA, TIME, Fact
from tieout.streams.simulate.firm import Price, Project, RateRow, Worker
from tieout.streams.simulate.instants import MINUTE, iso

_COST_SHARE_BP = 4_500  # labour cost in basis points of what the firm lists for the role


@dataclass(slots=True)
class Pace:
    """When the systems act on an entry: instants, and delays in microseconds."""

    submitted_at: int
    approved_at: int
    mirror_us: int = 5 * MINUTE
    psa_us: int = 8 * MINUTE
    post_us: int = 20 * MINUTE


@dataclass(slots=True)
class Entry:
    """A time entry. `time`, `psa` and `erp` are its facts in order; stories change them before they are played."""

    number: int
    worker: Worker
    project: Project
    role: str
    wbs: str
    work_date: date
    qty_s: int
    time_type: str
    rate: RateRow | None
    pace: Pace
    cost: Price
    time: list[Fact] = field(default_factory=list)
    psa: list[Fact] = field(default_factory=list)
    erp: list[Fact] = field(default_factory=list)
    taken: bool = False  # by a story; what nobody takes may be invoiced

    @property
    def origin(self) -> str:
        """The id that the time system gave it."""
        return str(80_000 + self.number)

    @property
    def key(self) -> str:
        """Its business key in every system."""
        return f"TIME:{self.origin}"

    @property
    def value(self) -> int:
        """What it is worth at the contract rate, minor units."""
        return self.rate.price.amount(self.qty_s) if self.rate else 0

    @property
    def billable(self) -> bool:
        """Whether a customer pays for it."""
        return self.project.billable

    def facts(self) -> Iterator[Fact]:
        """Everything the three systems commit about it."""
        yield from self.time
        yield from self.psa
        yield from self.erp

    def at_time(self, at: int, verb: str = "upserted", **data: Any) -> Fact:
        """One more commit of the time system."""
        return _added(self.time, Fact(TIME, "time_entry", self.origin, at, self._keyed(data), verb))

    def at_psa(self, at: int, **data: Any) -> Fact:
        """One more commit of the PSA's mirror."""
        return _added(self.psa, Fact(PSA, "time_entry", f"a1T{self.origin}", at, self._keyed(data)))

    def at_erp(self, at: int, qty_s: int, *, part: int = 1, staged: bool = False, **data: Any) -> Fact:
        """One more cost transaction of the ERP, or with the same `part` a new version of one."""
        txn = f"LT-{self.origin}-{part}"
        row = {
            "le_code": self.worker.le.code, "erp_txn_id": txn, "origin_ref": self.key,
            "project_code": self.project.code, "wbs_code": self.wbs, "worker_no": self.worker.no,
            "work_date": self.work_date.isoformat(), "txn_type": "COST", "qty_s": qty_s,
            "amount": {"minor": self.cost.amount(qty_s), "ccy": self.cost.ccy},
            "bill_status": "UNBILLED", "adj_status": "NONE",
        }
        if not staged:
            row |= {"accounting_date": self.work_date.isoformat(), "period": f"{self.work_date:%Y-%m}",
                    "voucher": f"V-{self.origin}-{part}"}
        return _added(self.erp, Fact(ERP, "posted_labour", f"{self.worker.le.code}/{txn}", at, row | data))

    def apply_price(self, applied: Price | None) -> None:
        """What the PSA prices it at when it approves; None: it finds no price."""
        approval = next(fact for fact in self.psa if fact.data.get("state") == "APPROVED")
        approval.data |= self.priced(applied)

    def priced(self, applied: Price | None) -> dict[str, Any]:
        """The PSA's price attributes."""
        if applied is None:
            return {"source_rate": None, "source_amount": None}
        return {"source_rate": applied.wire(),
                "source_amount": {"minor": applied.amount(self.qty_s), "ccy": applied.ccy}}

    def act_as(self, role: str) -> None:
        """Log it under another role, one that the project may have no price for."""
        self.role = role
        for fact in (self.time[0], *self.psa[:1]):
            fact.data["role_code"] = role

    def _keyed(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"origin_system": "TIME", "origin_id": self.origin} | data


def _added(facts: list[Fact], fact: Fact) -> Fact:
    facts.append(fact)
    return fact


def live(entry: Entry, approver: str) -> Entry:
    """Give `entry` the ordinary life: submitted, mirrored, approved, priced by the PSA and posted by the ERP."""
    pace = entry.pace
    content: dict[str, Any] = {
        "worker_no": entry.worker.no, "project_code": entry.project.code, "wbs_code": entry.wbs,
        "work_date": entry.work_date.isoformat(), "work_tz": entry.worker.le.tz, "qty_s": entry.qty_s,
        "time_type": entry.time_type, "role_code": entry.role, "billable": entry.billable,
    }
    entry.at_time(pace.submitted_at, **content, quantum_s=900, break_s=0, state="SUBMITTED",
                  submitted_at=iso(pace.submitted_at), version=1)
    entry.at_time(pace.approved_at, state="APPROVED", approved_at=iso(pace.approved_at), approver_no=approver)
    if entry.project.kind != "LEAVE":  # absence is none of the PSA's business
        entry.at_psa(pace.submitted_at + pace.mirror_us, **content, state="SUBMITTED")
        priced = entry.priced(entry.rate.price) if entry.rate else {}
        entry.at_psa(pace.approved_at + pace.psa_us, state="APPROVED",
                     billable_s=entry.qty_s if entry.billable else 0, **priced)
    entry.at_erp(pace.approved_at + pace.post_us, entry.qty_s)
    return entry


def cost_of(listed: RateRow) -> Price:
    """What an hour of the role costs the firm."""
    return Price(listed.price.rate_e6 * _COST_SHARE_BP // 10_000, listed.price.ccy)
