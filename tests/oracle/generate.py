"""A random firm: every kind of event, partial updates, deletes, re-keys, back-dated rates, faults that heal and faults that stay.

    firm = generate(seed=7, entries=120)
    firm.write(path)

Lines arrive a constant lag behind their commit, which differs by source, and each source states its watermark every few hours:
the watermark never overtakes the source's own changes, whatever the order between sources.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from scenarios.dsl import CRM, ERP, HCM, LEGAL_ENTITIES, PSA, SCHED, TIME, Capture, money, rate

START = datetime(2026, 3, 9, tzinfo=UTC)
SETUP = datetime(2026, 3, 2, 8, tzinfo=UTC)
LAG_S = {TIME: 60, PSA: 300, ERP: 1_500, SCHED: 120, HCM: 600, CRM: 240}
PRICES = {"UK01": ("GBP", 150, 120), "US01": ("USD", 200, 160), "JP01": ("JPY", 18_500, 14_200), "BH01": ("BHD", 45.125, 38.5)}
TYPES = ("EXTERNAL", "EXTERNAL", "EXTERNAL", "EXTERNAL", "INTERNAL", "PRESALES")


@dataclass
class Firm(Capture):
    """A capture whose events are dated by datetimes and delivered with their source's lag."""

    random: Random = field(default_factory=Random)
    days: int = 28
    workers: list[str] = field(default_factory=list)
    projects: dict[str, str] = field(default_factory=dict)  # code -> legal entity
    opened: dict[str, datetime] = field(default_factory=dict)  # code -> when the ERP made it
    roles: dict[str, str] = field(default_factory=dict)
    staffed: list[tuple[str, str]] = field(default_factory=list)
    renamed: dict[str, tuple[datetime, str]] = field(default_factory=dict)

    def say(self, source: str, entity: str, at: datetime, op: str = "upserted", **data: Any) -> None:
        """One event of a source, delivered after its lag."""
        stamp = at.isoformat().replace("+00:00", "Z")
        arrives = (at + timedelta(seconds=LAG_S[source])).isoformat().replace("+00:00", "Z")
        self.put(source, entity, op, at=stamp, arrives=arrives, seq=f"{stamp}-{self.number:06d}", **data)

    def chance(self, share: float) -> bool:
        """True in a share of the cases."""
        return self.random.random() < share

    def later(self, at: datetime, least_h: float, most_h: float) -> datetime:
        """An instant between so many hours after `at`, on a whole minute."""
        return at + timedelta(minutes=self.random.randint(round(least_h * 60), round(most_h * 60)))

    def code(self, project: str, at: datetime) -> str:
        """What the project is called at an instant."""
        since, new = self.renamed.get(project, (at, project))
        return new if at >= since else project


def generate(seed: int, entries: int = 100, days: int = 28, stated_every_h: int = 4) -> Firm:
    """A firm whose every run with the same numbers is the same."""
    firm = Firm(random=Random(seed), days=days)
    _masters(firm)
    _projects(firm)
    _rates(firm)
    _assignments(firm)
    for number in range(entries):
        _entry(firm, f"{number:04d}")
    _opportunities(firm)
    _watermarks(firm, stated_every_h)
    return firm


def end_of(firm: Firm) -> str:
    """An instant after everything, when most deadlines have passed."""
    return (START + timedelta(days=firm.days + 6)).isoformat().replace("+00:00", "Z")


def _masters(firm: Firm) -> None:
    for code, country, ccy, tz, region in LEGAL_ENTITIES:
        if code in PRICES:
            firm.say(ERP, "legal_entity", SETUP, le_code=code, name=code, country=country, base_ccy=ccy, tz=tz, region=region,
                     rounding=firm.random.choice(("HALF_AWAY", "HALF_AWAY", "HALF_EVEN", "DOWN")), state="ACTIVE")
    for number in range(8):
        worker = f"W{number:03d}"
        firm.workers.append(worker)
        firm.roles[worker] = firm.random.choice(("SA", "SC"))
        firm.say(HCM, "resource", SETUP, worker_no=worker, state="ACTIVE", calendar_id=firm.random.choice(("FULL", "PART", "NONE")),
                 role_code=firm.roles[worker], home_region="EMEA", tz="Europe/London")
    for calendar, working in (("FULL", 5), ("PART", 3)):
        for day in (date(2026, 2, 1) + timedelta(days=n) for n in range(180)):
            work_s = 27_000 if day.isoweekday() <= working else 0
            firm.say(HCM, "calendar_day", SETUP, calendar_id=calendar, day=day.isoformat(), work_s=work_s, holiday=False)


def _projects(firm: Firm) -> None:
    for number in range(9):
        le = firm.random.choice(list(PRICES))
        ccy = PRICES[le][0]
        code, contract = f"PRJ-{number:02d}", f"CON-{number:02d}"
        firm.projects[code] = le
        kind = TYPES[number % len(TYPES)]
        at = SETUP if firm.chance(0.7) else firm.later(START, 0, 240)
        firm.opened[code] = at
        firm.say(ERP, "customer", SETUP, customer_no=f"C{number % 4}", name="c", payment_terms="N30", po_required=False)
        firm.say(ERP, "contract", SETUP, contract_no=contract, le_code=le, customer_no=f"C{number % 4}", ccy=ccy, from_="2026-01-01",
                 to="2027-01-01", state="ACTIVE")
        for line, since, until in ((1, "2026-01-01", "2026-03-25"), (2, "2026-03-25", "2027-01-01")):
            firm.say(ERP, "contract_line", SETUP, contract_no=contract, line_no=line, le_code=le, ccy=ccy, from_=since, to=until,
                     method="NON_BILLABLE" if firm.chance(0.06) else "TM", retro_policy="BILL_DELTA",
                     rate_basis="CONTRACT_SIGN" if firm.chance(0.1) else "TRANSACTION_DATE")
        row: dict[str, Any] = {"customer_no": f"C{number % 4}", "contract_no": contract, "le_code": le, "ccy": ccy, "region": "EMEA", "project_type": kind,
               "practice": firm.random.choice(("ARCH", "DATA")), "billable": kind == "EXTERNAL", "opportunity_no": f"O-{number:02d}",
               "allow_time_without_assignment": firm.chance(0.2)}  # fmt: skip
        firm.say(ERP, "project", at, project_code=code, name=code, state="OPEN", **row)
        for source in (PSA, SCHED, TIME):
            if not firm.chance(0.08):
                seen = at if at == SETUP and firm.chance(0.8) else firm.later(at, 0, 2)
                firm.say(source, "project", seen, project_code=code, name=code, state="OPEN")
                if firm.chance(0.05):
                    firm.say(source, "project", firm.later(seen, 100, 400), "deleted", project_code=code)
        if firm.chance(0.1):
            firm.say(ERP, "project", firm.later(at, 300, 600), project_code=code, state="CLOSED")
        if firm.chance(0.3):
            firm.say(PSA, "staffing_demand", at, project_code=code, demand_no=f"D{number}", role_code="SA", qty_s=270_000,
                     from_="2026-03-09", to="2026-04-04", state="OPEN")
        if number == 3:
            renamed_at = firm.later(START, 100, 300)
            firm.renamed[code] = (renamed_at, f"NEW-{number:02d}")
            firm.say(ERP, "project", renamed_at, "rekeyed", subject=code, old=code, new=f"NEW-{number:02d}")
            firm.say(ERP, "project", renamed_at, subject=code, project_code=f"NEW-{number:02d}", name=code, state="OPEN", **row)


def _publish(firm: Firm, at: datetime, rate_id: str, level: int, scope: str, role: str | None, price: dict[str, Any], since: str,
             source: str = ERP, until: str | None = None) -> None:
    firm.say(source, "rate", at, rate_id=rate_id, kind="BILL", level=level, scope_key=scope, role_code=role, rate=price,
             effective_from=since, effective_to=until, state="PUBLISHED", published_at=at.isoformat().replace("+00:00", "Z"), version=1)


def _rates(firm: Firm) -> None:
    for ccy, senior, junior in PRICES.values():
        for role, price in (("SA", senior), ("SC", junior)):
            _publish(firm, SETUP, f"LIST-{ccy}-{role}", 8, "*", role, rate(price * 1.1, ccy), "2026-01-01")
    for code, le in firm.projects.items():
        ccy, senior, junior = PRICES[le]
        for role, price in (("SA", senior), ("SC", junior)):
            rate_id = f"R-{code}-{role}"
            kind = firm.random.random()
            if kind < 0.08:
                late = firm.later(START, 200, 600)
                _publish(firm, late, rate_id, 4, code, role, rate(price, ccy), "2026-03-01")  # back-dated
            elif kind < 0.14:
                _publish(firm, SETUP, rate_id, 4, code, role, rate(price, ccy), "2026-01-01", until="2026-03-12")  # expires
            elif kind < 0.18:
                _publish(firm, SETUP, rate_id, 4, code, role, rate(0, ccy), "2026-01-01")
            elif kind < 0.22:
                _publish(firm, SETUP, rate_id, 4, code, role, rate(price, "CHF"), "2026-01-01")
            elif kind < 0.30:
                _publish(firm, SETUP, rate_id, 4, code, role, rate(price * 7.5, ccy, "DAY") | {"day_s": 27_000}, "2026-01-01")
            else:
                _publish(firm, SETUP, rate_id, 4, code, role, rate(price, ccy), "2026-01-01")
            if firm.chance(0.3):  # an uplift, sometimes known late
                at = SETUP if firm.chance(0.5) else firm.later(START, 100, 600)
                _publish(firm, at, f"{rate_id}-UP", 4, code, role, rate(price * 1.1, ccy), firm.random.choice(("2026-03-16", "2026-03-23")))
                if firm.chance(0.2):
                    firm.say(ERP, "rate", firm.later(at, 50, 500), rate_id=f"{rate_id}-UP", state="WITHDRAWN")
            if firm.chance(0.15):
                other = price if firm.chance(0.5) else price + 1
                _publish(firm, firm.later(START, 0, 200), f"P-{code}-{role}", 4, code, role, rate(other, ccy), "2026-01-01", source=PSA)
        if firm.chance(0.3):
            number = code[-2:]
            _publish(firm, SETUP, f"W-{code}", 3, f"CON-{number}/{firm.workers[0]}", None, rate(senior + 7, ccy), "2026-01-01")


def _assignments(firm: Firm) -> None:
    for code in firm.projects:
        for worker in firm.random.sample(firm.workers, 3):
            firm.staffed.append((code, worker))
            if firm.chance(0.1):
                continue
            _assignment(firm, f"A-{code}-{worker}", code, worker)


def _assignment(firm: Firm, subject: str, code: str, worker: str) -> None:
    since = date(2026, 3, 2) + timedelta(days=firm.random.randint(0, 14))
    until = since + timedelta(days=firm.random.randint(10, 40))
    plan: dict[str, Any] = {"project_code": code, "worker_no": worker, "role_code": firm.roles[worker], "from_": since.isoformat(), "to": until.isoformat(),
            "mode": "PCT", "alloc_value": firm.random.choice((10_000, 5_000, 8_000)), "commit_": "HARD", "state": "HARD", "billable": True}
    at = max(firm.opened[code], SETUP if firm.chance(0.6) else firm.later(START, 0, 400))
    firm.say(SCHED, "assignment", at, subject=subject, **plan)
    for source, miss in ((PSA, 0.1), (ERP, 0.1)):
        if firm.chance(miss):
            continue
        seen = at if firm.chance(0.4) else firm.later(at, 0, 3 if source == PSA else 40)
        differs: dict[str, Any] = {}
        if source == PSA and firm.chance(0.2):
            differs = firm.random.choice(({"alloc_value": 2_500}, {"to": (until + timedelta(days=7)).isoformat()},
                                          {"commit_": "SOFT", "state": "SOFT"}, {"mode": "PER_DAY", "alloc_value": 14_400}))
        firm.say(source, "assignment", seen, subject=subject, **(plan | differs))
        if differs and firm.chance(0.5):
            firm.say(source, "assignment", firm.later(seen, 0, 30), subject=subject, **{name: plan[name] for name in differs if name in plan})
    ending = firm.random.random()
    if ending < 0.08:
        for source in (SCHED, PSA, ERP):
            firm.say(source, "assignment", firm.later(at, 100, 300), "deleted", subject=subject)
    elif ending < 0.15:
        firm.say(SCHED, "assignment", firm.later(at, 100, 300), subject=subject, commit_="CANCELLED", state="CANCELLED")


def _entry(firm: Firm, key: str) -> None:
    """One time entry through its life: entered, submitted, approved, mirrored, posted, invoiced, with its faults."""
    code, worker = firm.random.choice(firm.staffed)
    day = START.date() + timedelta(days=firm.random.randint(0, firm.days - 1))
    evening = datetime(day.year, day.month, day.day, 18, tzinfo=UTC)
    own = {"origin_system": "TIME", "origin_id": key}
    at = firm.later(evening, 0, 5)
    row: dict[str, Any] = {"worker_no": worker, "project_code": firm.code(code, at), "work_date": day.isoformat(), "qty_s": firm.random.randint(1, 32) * 900,
           "quantum_s": firm.random.choice((60, 60, 36, 900)), "time_type": "WORK" if firm.chance(0.95) else "TRAVEL", "billable": True,
           "role_code": firm.roles[worker] if firm.chance(0.97) else None}  # fmt: skip
    if firm.chance(0.1):
        gap = 3_600 if firm.chance(0.3) else 0
        begin = evening - timedelta(hours=9)
        row |= {"start_at": begin.isoformat(), "end_at": (begin + timedelta(seconds=row["qty_s"] + gap)).isoformat(), "break_s": 0}
    firm.say(TIME, "time_entry", at, **own, **row, state=firm.random.choice(("DRAFT", "SUBMITTED")))
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


def _mirror(firm: Firm, own: dict[str, Any], row: dict[str, Any], submitted: datetime, approved: datetime, le: str) -> None:
    """The PSA's copy."""
    ccy, senior, junior = PRICES[le]
    copy = {name: value for name, value in row.items() if name not in ("role_code", "start_at", "end_at", "break_s", "time_type")}
    if firm.chance(0.75):
        price = senior if row["role_code"] == "SA" else junior
        fault = firm.random.random()
        factor = 1.0 if fault < 0.85 else firm.random.choice((7.5, 8, 1.005, 0.9, 1.1))
        copy["source_rate"] = rate(price * factor, ccy)
    fault = firm.random.random()
    wrong = copy | ({"qty_s": copy["qty_s"] + 1_800} if fault < 0.04 else {"work_date": "2026-03-31"} if fault < 0.06
                    else {"billable": False} if fault < 0.08 else {"billable_s": copy["qty_s"] - 600} if fault < 0.12 else {})  # fmt: skip
    seen = submitted if firm.chance(0.5) else firm.later(submitted, 0, 6)
    firm.say(PSA, "time_entry", seen, **own, **wrong, state="SUBMITTED")
    agreed = max(seen, approved if firm.chance(0.5) else firm.later(approved, 0, 5))
    if not firm.chance(0.03):
        firm.say(PSA, "time_entry", agreed, **own, state="APPROVED")
    if fault < 0.08 and firm.chance(0.5):
        firm.say(PSA, "time_entry", firm.later(agreed, 0, 20), **own, qty_s=copy["qty_s"], work_date=copy["work_date"], billable=True)
    if firm.chance(0.04):
        firm.say(PSA, "time_entry", firm.later(agreed, 0, 60), **own, billed=True)


def _posting(firm: Firm, key: str, row: dict[str, Any], approved: datetime, le: str) -> datetime:
    """What the ERP posts of it, and when; approval's instant when it never does."""
    if firm.chance(0.06):
        return approved
    posting = {"le_code": le, "erp_txn_id": f"T{key}", "origin_ref": f"TIME:{key}", "project_code": row["project_code"],
               "worker_no": row["worker_no"], "work_date": row["work_date"], "txn_type": "COST", "qty_s": row["qty_s"]}  # fmt: skip
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
        firm.say(ERP, "posted_labour", done, le_code=le, erp_txn_id=f"T{key}", voucher=f"V{key}", accounting_date=row["work_date"])
    if fault < 0.09 and firm.chance(0.6):
        fixed = firm.later(done, 1, 30)
        back = posting | {"erp_txn_id": f"T{key}-R", "qty_s": -posting["qty_s"], "voucher": f"V{key}R", "accounting_date": row["work_date"]}
        again = back | {"erp_txn_id": f"T{key}-N", "qty_s": row["qty_s"], "work_date": row["work_date"], "project_code": row["project_code"]}
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
                firm.say(source, "time_entry", max(again, at + timedelta(hours=2)), **own, state="APPROVED", qty_s=row["qty_s"])
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
    firm.say(ERP, "invoice", at, **header, type="INVOICE", ccy=ccy, state="DRAFT", net=amount)
    firm.say(ERP, "coverage", at, **header, line_no=1, kind="TIME_ENTRY", target=f"TIME:{key}", sign=1, qty_s=qty_s, amount=amount)
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
        firm.say(ERP, "invoice", firm.later(posted, 1, 50), **credit, type="CREDIT_NOTE", ccy=ccy, state="POSTED", net=amount)
        firm.say(ERP, "coverage", firm.later(posted, 50, 60), **credit, line_no=1, kind="TIME_ENTRY", target=f"TIME:{key}", sign=-1,
                 qty_s=qty_s, amount=amount)
        if firm.chance(0.5):
            firm.say(ERP, "write_off", firm.later(posted, 60, 70), write_off_no=f"WO{key}", target=f"TIME:{key}", qty_s=qty_s,
                     amount=amount, reason="goodwill", approved_by="W9")
    elif after < 0.4:
        firm.say(ERP, "invoice", firm.later(posted, 10, 90), **header, state="PAID")


def _opportunities(firm: Firm) -> None:
    for number in range(5):
        won = firm.later(START, 0, 400)
        firm.say(CRM, "opportunity", won, opportunity_no=f"N-{number}", stage="Closed Won", is_won=True, contracting_le="UK01")
        ending = firm.random.random()
        if ending < 0.4:
            code = f"WON-{number}"
            made = firm.later(won, 0, 90)
            for source in (ERP, PSA, SCHED, TIME):
                firm.say(source, "project", made, project_code=code, name=code, state="OPEN", le_code="UK01", opportunity_no=f"N-{number}",
                         project_type="EXTERNAL")
        elif ending < 0.6:
            firm.say(CRM, "opportunity", firm.later(won, 1, 90), opportunity_no=f"N-{number}", stage="Negotiation", is_won=False)


def _watermarks(firm: Firm, every_h: int) -> None:
    """Every few hours, each source; all of them once more at the end."""
    last = START + timedelta(days=firm.days + 6)
    steps = [SETUP + timedelta(hours=every_h * n) for n in range(1, (last - SETUP) // timedelta(hours=every_h))] + [last]
    for source, lag in LAG_S.items():
        for through in steps:
            at = through + timedelta(seconds=lag)
            stamp, arrives = (instant.isoformat().replace("+00:00", "Z") for instant in (through, at))
            firm.put(source, "source", "observed", at=stamp, arrives=arrives, subject=source, through=stamp)


def write(seed: int, path: Path, entries: int = 100) -> Path:
    """Generate a firm and write its capture."""
    return generate(seed, entries).write(path)
