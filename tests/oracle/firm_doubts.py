"""What makes a random firm doubtful: time entered twice, long days, tied rates, invoices sent twice; and look-alikes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from oracle.firm import PRICES, SETUP, Firm
from oracle.firm_plans import publish
from scenarios.dsl import ERP, PSA, TIME, money, rate


def twin(firm: Firm, key: str, row: dict[str, Any], at: datetime) -> None:
    """Another entry of the same worker about the same day: the same once more, or nearly, or on top of it."""
    own = {"origin_system": "TIME", "origin_id": f"{key}T"}
    copy = row | _variation(firm, row)
    made = firm.later(at, 0, 40)
    firm.say(TIME, "time_entry", made, **own, **copy, state=firm.random.choice(("DRAFT", "SUBMITTED", "SUBMITTED")))
    made = firm.later(made, 0, 8)
    firm.say(TIME, "time_entry", made, **own, state="SUBMITTED")
    if firm.chance(0.5):
        names = ("worker_no", "project_code", "work_date", "qty_s", "quantum_s", "billable")
        mirrored = {name: copy[name] for name in names}
        firm.say(PSA, "time_entry", made, **own, **mirrored, state="SUBMITTED")
        made = firm.later(made, 1, 40)
        firm.say(TIME, "time_entry", made, **own, state="APPROVED", approved_at=made.isoformat())
        firm.say(PSA, "time_entry", made, **own, state="APPROVED")
    ending = firm.random.random()
    if ending < 0.2:
        firm.say(TIME, "time_entry", firm.later(made, 0, 30), "deleted", **own)
    elif ending < 0.4:
        gone = firm.later(made, 0, 30)
        for source in (TIME, PSA):
            firm.say(source, "time_entry", gone, **own, billable=False)
    elif ending < 0.5:
        firm.say(TIME, "time_entry", firm.later(made, 0, 30), **own, state="RETURNED")


def _variation(firm: Firm, row: dict[str, Any]) -> dict[str, Any]:
    kind = firm.random.random()
    if kind < 0.3:
        return {}
    if kind < 0.4:
        return {"note_hash": firm.random.choice(("a", "b"))}
    if kind < 0.45:
        return {"wbs_code": "2.1"}
    if kind < 0.65:
        return {"qty_s": firm.random.randint(20, 48) * 900, "start_at": None, "end_at": None}
    begin = datetime.fromisoformat(row.get("start_at") or f"{row['work_date']}T09:00:00+00:00")
    qty_s = firm.random.randint(1, 32) * 900
    begin += timedelta(seconds=firm.random.choice((-qty_s, 0, 1_800, row["qty_s"], row["qty_s"] - 900)))
    other = firm.random.choice([code for code in firm.projects if code not in firm.renamed])
    return {
        "project_code": other if firm.chance(0.5) else row["project_code"],
        "qty_s": qty_s,
        "start_at": begin.isoformat(),
        "end_at": (begin + timedelta(seconds=qty_s)).isoformat(),
        "break_s": 0,
    }


def doubtful_rates(firm: Firm) -> None:
    """Rows that overlap: with stated ends, of one value or of two, and rates on assignments."""
    for code, le in firm.projects.items():
        ccy, senior, _ = PRICES[le]
        if firm.chance(0.25):
            role = firm.random.choice(("SA", None))
            for part, add in (("A", 2), ("B", firm.random.choice((2, 5)))):
                at = SETUP if firm.chance(0.5) else firm.later(SETUP, 100, 500)
                price = rate(senior + add, ccy)
                publish(firm, at, f"D-{code}-{part}", 4, code, role, price, "2026-02-01", until="2026-03-24")
                if part == "B" and firm.chance(0.5):
                    firm.say(ERP, "rate", firm.later(at, 50, 400), rate_id=f"D-{code}-{part}", state="WITHDRAWN")
    for _ in range(3):  # assignments that carry rates of their own, in the PSA alone
        code, worker = firm.random.choice(list(firm.projects)), firm.random.choice(firm.workers)
        if (code, worker) not in firm.staffed:
            firm.staffed += [(code, worker)] * 2
            _rated_assignments(firm, code, worker)


def _rated_assignments(firm: Firm, code: str, worker: str) -> None:
    ccy, senior, _ = PRICES[firm.projects[code]]
    at = firm.opened[code] + timedelta(hours=firm.random.randint(1, 300))
    for number, price in enumerate((senior + 3, senior + firm.random.choice((3, 9)))):
        firm.say(
            PSA,
            "assignment",
            at,
            subject=f"B{number}-{code}-{worker}",
            project_code=code,
            worker_no=worker,
            role_code=firm.random.choice(("SA", "SC", None)),
            from_="2026-03-02",
            to="2026-04-20",
            mode="PCT",
            alloc_value=2_000,
            commit_="HARD",
            state="HARD",
            billable=True,
            bill_rate=rate(price, ccy),
        )


def bill_again(
    firm: Firm,
    key: str,
    header: dict[str, Any],
    whole: dict[str, Any],
    cover: dict[str, Any],
    at: datetime,
    project: str,
) -> None:
    """The same entry on another invoice: all of it, or a part that may be left; posted or draft; mostly cured."""
    qty_s = cover["qty_s"] if firm.chance(0.6) else firm.random.randint(1, 8) * 900
    amount = money(cover["amount"]["minor"] * qty_s // cover["qty_s"], cover["amount"]["ccy"])
    tax = money(amount["minor"] // 5 if firm.chance(0.6) else 0, amount["ccy"])
    second = header | {"invoice_no": f"{header['invoice_no']}-2"}
    posted = firm.later(at, 0, 60)
    firm.say(ERP, "invoice", posted, **second, **(whole | {"net": amount, "tax": tax, "state": "DRAFT"}))
    firm.say(ERP, "coverage", posted, **second, **(cover | {"qty_s": qty_s, "amount": amount}))
    if firm.chance(0.8):  # else its lines never come, and it is not known that all of it is of one project
        firm.say(ERP, "invoice_line", posted, **second, line_no=1, project_code=project, qty_s=qty_s, net=amount)
    if firm.chance(0.2):
        return
    posted = firm.later(posted, 0, 20)
    firm.say(ERP, "invoice", posted, **second, state="POSTED", posted_at=posted.isoformat())
    ending = firm.random.random()
    cured = firm.later(posted, 1, 120)
    if ending < 0.25:
        firm.say(ERP, "invoice", cured, **second, state="VOID")
    elif ending < 0.6:
        credit = header | {"invoice_no": f"CN{key}-2"}
        link = {"corrects_invoice": second["invoice_no"]} if firm.chance(0.7) else {}
        head = credit | link | {"type": "CREDIT_NOTE", "ccy": whole["ccy"], "state": "POSTED"}
        firm.say(ERP, "invoice", cured, **head, net=amount, tax=tax)
        firm.say(ERP, "coverage", cured, **credit, **(cover | {"qty_s": qty_s, "amount": amount, "sign": -1}))


def bare_invoices(firm: Firm, count: int) -> None:
    """Invoices without coverage: the same key or the same content twice, or nearly."""
    for number in range(count):
        code = firm.random.choice(list(firm.projects))
        kind = firm.random.choice(("KEY", "CONTENT", "LINES", "NET", "CYCLE"))
        first = firm.later(SETUP, 200, 500)
        _bare_invoice(firm, f"{number:02d}", code, "", first)
        _bare_invoice(firm, f"{number:02d}", code, kind, firm.later(first, 0, 100))


def _bare_invoice(firm: Firm, number: str, code: str, kind: str, at: datetime) -> None:
    """The first of two invoices (kind ''), or the second and in what it is like the first or not."""
    le = firm.projects[code]
    ccy = PRICES[le][0]
    net = 100_000 + (500 if kind == "NET" else 0)
    header: dict[str, Any] = {"le_code": le, "invoice_no": f"B{number}-{int(bool(kind))}"}
    whole: dict[str, Any] = {"type": "INVOICE", "customer_no": f"C{number}", "ccy": ccy, "net": money(net, ccy)}
    key = f"K{number}" if kind in ("", "KEY") else f"K{number}-1"
    cycle = "2026-04" if kind == "CYCLE" else "2026-03"
    extra: dict[str, Any] = {"tax": money(20_000, ccy), "billing_cycle_id": cycle, "idempotency_key": key, "state": "DRAFT"}
    firm.say(ERP, "invoice", at, **header, **whole, **extra)
    for line in (1, 2):
        share: dict[str, Any] = {"qty_s": line * (36_000 + (900 if kind == "LINES" else 0)), "net": money(net // 2, ccy)}
        firm.say(ERP, "invoice_line", at, **header, line_no=3 - line if kind else line, project_code=code, **share)
    if not kind or firm.chance(0.8):
        at = firm.later(at, 0, 10)
        firm.say(ERP, "invoice", at, **header, state="POSTED", posted_at=at.isoformat())
    if kind and firm.chance(0.3):
        firm.say(ERP, "invoice", firm.later(at, 1, 90), **header, state="VOID")
