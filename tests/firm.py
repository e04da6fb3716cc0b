"""A small firm for tests: canonical changes by short names, and a state that takes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime
from itertools import count
from typing import Any

from tieout.reconcilers.changes import Change, Frame, Op
from tieout.reconcilers.engine import READS_OF_WORKER, State, apply, settle
from tieout.reconcilers.entities import ENTITIES, Axis
from tieout.reconcilers.outcomes import Outcome, Output
from tieout.reconcilers.policy import Policy
from tieout.reconcilers.routing import covered_invoice, standing

SYSTEMS = ("ERP", "PSA", "SCHED", "TIME", "HCM", "CRM")


def us(text: str) -> int:
    """'2026-03-10T10:00:00Z', or a day for its midnight, as microseconds UTC."""
    moment = datetime.fromisoformat(text if "T" in text else f"{text}T00:00:00+00:00")
    return int(moment.timestamp()) * 1_000_000


def day(text: str) -> int:
    """'2026-03-10' as days since 1970."""
    return date.fromisoformat(text).toordinal() - date(1970, 1, 1).toordinal()


def span(since: str, until: str) -> dict[str, Any]:
    """The attributes `from` and `to`; the first is a keyword of Python and cannot be written as an argument."""
    return {"from": day(since), "to": day(until)}


def gbp(amount: int, unit: str = "HOUR") -> list[Any]:
    """A rate in pounds."""
    return [amount * 1_000_000, "GBP", unit, 28_800]


_tokens = count(1)


def change(system: str, entity: str, at: str, subject: str = "", op: Op = Op.UPSERT, seq: str | None = None,
           **asserted: Any) -> Change:
    """A change of a record at a system; its token counts up unless given."""
    key = ENTITIES[entity].business_key(asserted, subject) or subject
    return Change(entity, key, op, f"{system}/one", subject or key, us(at), seq or f"{next(_tokens):012d}", asserted,
                  f"event-{next(_tokens)}")


def fixture() -> list[Change]:
    """F0: one legal entity, project ACME-24017 in all systems, two workers, rates by role, one firm assignment."""
    start = "2026-01-02"
    project: dict[str, Any] = dict(
        project_code="ACME-24017", name="Architecture", customer_no="C-ACME", contract_no="C-7", le_code="UK01",
        region="EMEA", practice="ARCH", ccy="GBP", project_type="EXTERNAL", billable=True, state="OPEN",
        allow_time_without_assignment=False, start=day("2026-01-05"), end=day("2027-01-01"))
    found = [
        change("ERP", "legal_entity", start, le_code="UK01", tz="Europe/London", region="EMEA", base_ccy="GBP"),
        change("ERP", "contract_line", start, contract_no="C-7", line_no=1, le_code="UK01", ccy="GBP", method="TM",
               rate_basis="TRANSACTION_DATE", **span("2026-01-05", "2027-01-01")),
        rate("R-SA", "SA", 150), rate("R-SC", "SC", 120), rate("L-SC", "SC", 120, level=8, scope_key="*"),
    ]
    found += [change(system, "project", start, **project) for system in ("ERP", "PSA", "SCHED", "TIME")]
    found += [change("HCM", "resource", start, worker_no=worker, role_code=role, home_region="EMEA", tz="Europe/London")
              for worker, role in (("W1001", "SA"), ("W1003", "SC"))]
    found += [assignment(system, "A1", start) for system in ("SCHED", "PSA", "ERP")]
    return found


def rate(rate_id: str, role: str, amount: int, at: str = "2026-01-02", **more: Any) -> Change:
    """A bill rate of the ERP at level 4 for ACME-24017, from the first of January."""
    asserted: dict[str, Any] = dict(rate_id=rate_id, kind="BILL", level=4, scope_key="ACME-24017", role_code=role,
                                    rate=gbp(amount), effective_from=day("2026-01-01"), state="PUBLISHED")
    return change("ERP", "rate", at, **{**asserted, **more})


def assignment(system: str, subject: str, at: str, **more: Any) -> Change:
    """W1001 as SA on ACME-24017, full time, 2 to 27 March, firm."""
    asserted: dict[str, Any] = {
        "project_code": "ACME-24017", "worker_no": "W1001", "role_code": "SA", "from": day("2026-03-02"),
        "to": day("2026-03-28"), "mode": "PCT", "alloc_value": 10_000, "commit": "HARD", "billable": True}
    return change(system, "assignment", at, subject, **{**asserted, **more})


def entry(system: str, number: str, at: str, **more: Any) -> Change:
    """7.5 h of W1001 on ACME-24017 as SA on 10 March, approved."""
    asserted: dict[str, Any] = dict(
        origin_system="TIME", origin_id=number, worker_no="W1001", project_code="ACME-24017",
        work_date=day("2026-03-10"), work_tz="Europe/London", qty_s=27_000, quantum_s=60, time_type="WORK",
        role_code="SA", billable=True, state="APPROVED")
    return change(system, "time_entry", at, number, **{**asserted, **more})


def posted(number: str, at: str, **more: Any) -> Change:
    """The ERP's posting of an entry."""
    asserted: dict[str, Any] = dict(
        le_code="UK01", erp_txn_id=f"T-{number}", origin_ref=f"TIME:{number}", project_code="ACME-24017",
        worker_no="W1001", work_date=day("2026-03-10"), accounting_date=day("2026-03-10"), txn_type="COST",
        qty_s=27_000, voucher="V1")
    return change("ERP", "posted_labour", at, **{**asserted, **more})


def invoice(number: str, at: str, state: str = "POSTED", *, net: int = 112_500, tax: int = 22_500,
            covers: dict[str, int] | None = None, **more: Any) -> list[Change]:
    """An invoice of the ERP with one line, in minor units, and what it covers: seconds by entry, at 150 an hour."""
    head: dict[str, Any] = dict(le_code="UK01", invoice_no=number)
    asserted: dict[str, Any] = {**head, "type": "INVOICE", "customer_no": "C-ACME", "ccy": "GBP", "state": state,
                                "billing_cycle_id": "2026-03", "net": [net, "GBP"], "tax": [tax, "GBP"], **more}
    found = [change("ERP", "invoice", at, **asserted),
             change("ERP", "invoice_line", at, **head, line_no=1, project_code="ACME-24017", qty_s=27_000,
                    net=[net, "GBP"])]
    sign = -1 if asserted["type"] == "CREDIT_NOTE" else 1
    for entry_number, seconds in (covers or {}).items():
        cover = change("ERP", "coverage", at, **head, line_no=1, kind="TIME_ENTRY", target=f"TIME:{entry_number}",
                       sign=sign, qty_s=seconds, amount=[seconds * 100 // 24, "GBP"])
        found += [cover, covered_invoice(cover)]
    return found


_FIRST, _LAST = us("1949-12-01"), us("2150-02-01")  # what ingest lets pass, and the deadlines that follow


def dated(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """The outcomes; every instant that they state is one that something can have happened at."""
    found = list(outcomes)
    for outcome in found:
        for name, value in (outcome.row or {}).items():
            if name.endswith(("_at", "as_of", "complete_through")) and value is not None:
                assert _FIRST <= value < _LAST, f"{outcome.output} {outcome.key}: {name} {value}"
    return found


class Firm:
    """States that take changes and remember what they published."""

    def __init__(self, policy: Policy | None = None, partitions: int = 1, systems: Iterable[str] = SYSTEMS) -> None:
        policy = policy or Policy()
        self.states = [State(Axis.PROJECT, number, partitions, policy) for number in range(partitions)]
        self.states += [State(Axis.WORKER, number, partitions, policy) for number in range(partitions)]
        self.states.append(State(Axis.CONTROL, 0, 1, policy))
        self.systems = tuple(systems)
        self.outcomes: list[Outcome] = []
        self._numbers = count()

    def take(self, *changes: Change, now: str | None = None, marks: dict[str, str] | None = None,
             fresh: bool = False) -> Firm:
        """One frame: changes, the processing instant (default: the newest commit), watermarks by system."""
        instant = us(now) if now else max((c.commit_us for c in changes), default=0)
        frame = Frame(
            "test", next(self._numbers), instant, changes,
            {f"raw.{system}/0": us(mark) for system, mark in (marks or {}).items()},
            {f"{system}/one": [f"raw.{system}/0"] for system in self.systems},
            fresh=tuple(f"{system}/one" for system in self.systems) if fresh else ())
        return self._give(frame)

    def until(self, instant: str, stale: Iterable[str] = ()) -> Firm:
        """A tick that moves the clock and, with it, the watermark of every system that is not stale."""
        frame = Frame("test", next(self._numbers), us(instant), sources={
            f"{system}/one": [f"raw.{system}/0"] for system in self.systems},
            fresh=tuple(f"{system}/one" for system in self.systems if system not in set(stale)))
        return self._give(frame)

    def _give(self, frame: Frame) -> Firm:
        """The frame to every state, the worker axis first; what it says about entries goes with it to the others."""
        by_worker = [state for state in self.states if state.axis is Axis.WORKER]
        seen = tuple(c for c in frame.changes if c.entity in READS_OF_WORKER)
        back: list[Change] = []
        for state in by_worker:
            outcomes = apply(state, replace(frame, changes=seen)) + settle(state)
            back += [standing(outcome.row) for outcome in outcomes if outcome.output is Output.STANDING and outcome.row]
            self.outcomes += dated(outcomes)
        for state in self.states:
            if state not in by_worker:
                found = apply(state, replace(frame, changes=(*frame.changes, *back))) + settle(state)
                self.outcomes += dated(found)
        return self

    def now(self, output: Output) -> dict[str, dict[str, Any]]:
        """The latest row of each key of an output."""
        found: dict[str, dict[str, Any]] = {}
        for outcome in self.outcomes:
            if outcome.output is output:
                if outcome.row is None:
                    found.pop(outcome.key, None)
                else:
                    found[outcome.key] = dict(outcome.row)
        return found

    def findings(self, *codes: str) -> list[dict[str, Any]]:
        """Findings by code and key, of all codes or the named ones."""
        rows = [row for row in self.now(Output.FINDING_STATE).values() if not codes or row["code"] in codes]
        return sorted(rows, key=lambda row: (row["code"], row["facet"] or "", row["business_key"]))

    def entry(self, number: str, project: str = "ACME-24017") -> dict[str, Any]:
        """The row of a time entry."""
        return self.now(Output.TIME_ENTRY_STATE)[f"TIME:{number}|{project}"]

    def kpi(self, name: str, **dims: Any) -> int:
        """The sum of a KPI's numerators over the cells with the given dimensions."""
        return sum(row["numerator"] for row in self.now(Output.KPI_STATE).values() if row["kpi"] == name
                   and all(row[dim] == value for dim, value in dims.items()))
