"""Time entries of a random firm: entered, submitted, approved, mirrored, posted, invoiced, with their faults."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from oracle.firm import PRICES, START, Firm
from oracle.firm_doubts import bill_again, twin
from scenarios.dsl import ERP, PSA, TIME, money, rate


def entry(firm: Firm, key: str) -> None:
    """One time entry through its life: entered, submitted, approved, mirrored, posted, invoiced, with its faults."""
    code, worker = firm.random.choice(firm.staffed)
    day = START.date() + timedelta(days=firm.random.randint(0, firm.days - 1))
    evening = datetime(day.year, day.month, day.day, 18, tzinfo=UTC)
    own: dict[str, Any] = {"origin_system": "TIME", "origin_id": key}
    at = firm.later(evening, 0, 5)
    row: dict[str, Any] = {
        "worker_no": worker,
        "project_code": firm.code(code, at),
        "work_date": day.isoformat(),
        "qty_s": firm.random.randint(1, 32) * 900,
        "quantum_s": firm.random.choice((60, 60, 36, 900)),
        "time_type": "WORK" if firm.chance(0.95) else "TRAVEL",
        "billable": True,
        "role_code": firm.roles[worker] if firm.chance(0.97) else None,
    }
    if firm.chance(0.2):
        gap = 3_600 if firm.chance(0.3) else 0
        begin = evening - timedelta(hours=9)
        row |= {
            "start_at": begin.isoformat(),
            "end_at": (begin + timedelta(seconds=row["qty_s"] + gap)).isoformat(),
            "break_s": 0,
        }
    firm.say(TIME, "time_entry", at, **own, **row, state=firm.random.choice(("DRAFT", "SUBMITTED")))
    if firm.chance(0.12):
        twin(firm, key, row, at)
    if firm.chance(0.2):
        at = firm.later(at, 0, 10)
        row["qty_s"] += 900
        firm.say(TIME, "time_entry", at, **own, qty_s=row["qty_s"])
    at = firm.later(at, 0, 30)
    firm.say(TIME, "time_entry", at, **own, state="SUBMITTED")
    if firm.chance(0.08):
        return
    approved = firm.later(at, 1, 70)
    firm.say(TIME, "time_entry", approved, **own, state="APPROVED", approved_at=approved.isoformat())
    _mirror(firm, own, row, at, approved, firm.projects[code])
    posted = _posting(firm, key, row, approved, firm.projects[code])
    if firm.chance(0.15):
        _correction(firm, own, row, firm.later(max(approved, posted), 0, 90))
    if firm.chance(0.3):
        _billing(firm, key, row, firm.later(max(approved, posted), 5, 200), firm.projects[code])


def _mirror(
    firm: Firm, own: dict[str, Any], row: dict[str, Any], submitted: datetime, approved: datetime, le: str
) -> None:
    """The PSA's copy."""
    ccy, senior, junior = PRICES[le]
    copy = {
        name: value
        for name, value in row.items()
        if name not in ("role_code", "start_at", "end_at", "break_s", "time_type")
    }
    if firm.chance(0.75):
        price = senior if row["role_code"] == "SA" else junior
        fault = firm.random.random()
        factor = 1.0 if fault < 0.85 else firm.random.choice((7.5, 8, 1.005, 0.9, 1.1))
        copy["source_rate"] = rate(price * factor, ccy)
    fault = firm.random.random()
    wrong = copy | (
        {"qty_s": copy["qty_s"] + 1_800}
        if fault < 0.04
        else {"work_date": "2026-03-31"}
        if fault < 0.06
        else {"billable": False}
        if fault < 0.08
        else {"billable_s": copy["qty_s"] - 600}
        if fault < 0.12
        else {"billable_s": 0}
        if fault < 0.14
        else {}
    )
    seen = submitted if firm.chance(0.5) else firm.later(submitted, 0, 6)
    firm.say(PSA, "time_entry", seen, **own, **wrong, state="SUBMITTED")
    agreed = max(seen, approved if firm.chance(0.5) else firm.later(approved, 0, 5))
    if not firm.chance(0.03):
        firm.say(PSA, "time_entry", agreed, **own, state="APPROVED")
    if fault < 0.08 and firm.chance(0.5):
        firm.say(
            PSA,
            "time_entry",
            firm.later(agreed, 0, 20),
            **own,
            qty_s=copy["qty_s"],
            work_date=copy["work_date"],
            billable=True,
        )
    if firm.chance(0.04):
        firm.say(PSA, "time_entry", firm.later(agreed, 0, 60), **own, billed=True)


def _posting(firm: Firm, key: str, row: dict[str, Any], approved: datetime, le: str) -> datetime:
    """What the ERP posts of it, and when; approval's instant when it never does."""
    if firm.chance(0.06):
        return approved
    posting = {
        "le_code": le,
        "erp_txn_id": f"T{key}",
        "origin_ref": f"TIME:{key}",
        "project_code": row["project_code"],
        "worker_no": row["worker_no"],
        "work_date": row["work_date"],
        "txn_type": "COST",
        "qty_s": row["qty_s"],
    }
    fault = firm.random.random()
    if fault < 0.04:
        posting["qty_s"] += 3_600
    elif fault < 0.07:
        posting["work_date"] = "2026-04-01"
    elif fault < 0.09:
        posting["project_code"] = "PRJ-00"
    staged = firm.later(approved, 0, 7)
    firm.say(ERP, "posted_labour", staged, **posting)
    done = staged if firm.chance(0.5) else firm.later(staged, 0, 30)
    if not firm.chance(0.04):
        firm.say(
            ERP,
            "posted_labour",
            done,
            le_code=le,
            erp_txn_id=f"T{key}",
            voucher=f"V{key}",
            accounting_date=row["work_date"],
        )
    if fault < 0.09 and firm.chance(0.6):
        fixed = firm.later(done, 1, 30)
        back = posting | {
            "erp_txn_id": f"T{key}-R",
            "qty_s": -posting["qty_s"],
            "voucher": f"V{key}R",
            "accounting_date": row["work_date"],
        }
        again = back | {
            "erp_txn_id": f"T{key}-N",
            "qty_s": row["qty_s"],
            "work_date": row["work_date"],
            "project_code": row["project_code"],
        }
        firm.say(ERP, "posted_labour", fixed, **back)
        firm.say(ERP, "posted_labour", fixed, **again)
    return done


def _correction(firm: Firm, own: dict[str, Any], row: dict[str, Any], at: datetime) -> None:
    """Something happens to the entry after approval."""
    kind = firm.random.random()
    if kind < 0.25:
        firm.say(TIME, "time_entry", at, "deleted", **own)
        if firm.chance(0.7):
            firm.say(PSA, "time_entry", firm.later(at, 0, 3), "deleted", **own)
    elif kind < 0.6:
        firm.say(TIME, "time_entry", at, **own, state="RECALL_REQUESTED")
        firm.say(PSA, "time_entry", firm.later(at, 0, 2), **own, state="SUBMITTED")
        if firm.chance(0.7):
            again = firm.later(at, 1, 20)
            row["qty_s"] = max(900, row["qty_s"] - 1_800)
            for source in (TIME, PSA):
                firm.say(
                    source,
                    "time_entry",
                    max(again, at + timedelta(hours=2)),
                    **own,
                    state="APPROVED",
                    qty_s=row["qty_s"],
                )
    elif kind < 0.85:
        other = firm.random.choice([code for code in firm.projects if code not in firm.renamed])
        firm.say(TIME, "time_entry", at, **own, project_code=other)
        firm.say(PSA, "time_entry", firm.later(at, 0, 5), **own, project_code=other)
    else:
        firm.say(TIME, "time_entry", at - timedelta(hours=40), "snapshot", **own, **row, state="SUBMITTED")


def _billing(firm: Firm, key: str, row: dict[str, Any], at: datetime, le: str) -> None:
    """A draft invoice, mostly posted; sometimes credited, paid or written off."""
    ccy, senior, junior = PRICES[le]
    price = senior if row["role_code"] == "SA" else junior
    qty_s = row["qty_s"] if firm.chance(0.8) else max(900, row["qty_s"] // 2 // 900 * 900)
    places = {"JPY": 0, "BHD": 3}.get(ccy, 2)
    amount = money(round(qty_s * price * 10**places / 3600), ccy)
    header = {"le_code": le, "invoice_no": f"INV{key}"}
    whole: dict[str, Any] = {"type": "INVOICE", "ccy": ccy, "state": "DRAFT", "net": amount}
    cover: dict[str, Any] = {
        "line_no": 1,
        "kind": "TIME_ENTRY",
        "target": f"TIME:{key}",
        "sign": 1,
        "qty_s": qty_s,
        "amount": amount,
    }
    firm.say(ERP, "invoice", at, **header, **whole)
    firm.say(ERP, "coverage", at, **header, **cover)
    if firm.chance(0.25):
        bill_again(firm, key, header, whole, cover, at, row["project_code"])
    if firm.chance(0.2):
        return
    posted = firm.later(at, 0, 50)
    if firm.chance(0.1):
        firm.say(ERP, "invoice", posted, **header, state="VOID")
        return
    firm.say(ERP, "invoice", posted, **header, state="POSTED", posted_at=posted.isoformat())
    after = firm.random.random()
    if after < 0.15:
        credit = {"le_code": le, "invoice_no": f"CN{key}"}
        firm.say(
            ERP, "invoice", firm.later(posted, 1, 50), **credit, type="CREDIT_NOTE", ccy=ccy, state="POSTED", net=amount
        )
        firm.say(
            ERP,
            "coverage",
            firm.later(posted, 50, 60),
            **credit,
            line_no=1,
            kind="TIME_ENTRY",
            target=f"TIME:{key}",
            sign=-1,
            qty_s=qty_s,
            amount=amount,
        )
        if firm.chance(0.5):
            firm.say(
                ERP,
                "write_off",
                firm.later(posted, 60, 70),
                write_off_no=f"WO{key}",
                target=f"TIME:{key}",
                qty_s=qty_s,
                amount=amount,
                reason="goodwill",
                approved_by="W9",
            )
    elif after < 0.4:
        firm.say(ERP, "invoice", firm.later(posted, 10, 90), **header, state="PAID")
