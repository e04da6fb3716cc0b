"""What a random firm is made of: masters, projects, rates, assignments, opportunities."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from oracle.firm import PRICES, SETUP, START, Firm
from scenarios.dsl import CRM, ERP, HCM, LEGAL_ENTITIES, PSA, SCHED, TIME, rate

TYPES = ("EXTERNAL", "EXTERNAL", "EXTERNAL", "EXTERNAL", "INTERNAL", "PRESALES")


def masters(firm: Firm) -> None:
    for code, country, ccy, tz, region in LEGAL_ENTITIES:
        if code in PRICES:
            firm.say(
                ERP,
                "legal_entity",
                SETUP,
                le_code=code,
                name=code,
                country=country,
                base_ccy=ccy,
                tz=tz,
                region=region,
                rounding=firm.random.choice(("HALF_AWAY", "HALF_AWAY", "HALF_EVEN", "DOWN")),
                state="ACTIVE",
            )
    for number in range(8):
        worker = f"W{number:03d}"
        firm.workers.append(worker)
        firm.roles[worker] = firm.random.choice(("SA", "SC"))
        firm.say(
            HCM,
            "resource",
            SETUP,
            worker_no=worker,
            state="ACTIVE",
            calendar_id=firm.random.choice(("FULL", "PART", "NONE")),
            role_code=firm.roles[worker],
            home_region="EMEA",
            tz="Europe/London",
        )
    for calendar, working in (("FULL", 5), ("PART", 3)):
        for day in (date(2026, 2, 1) + timedelta(days=n) for n in range(180)):
            work_s = 27_000 if day.isoweekday() <= working else 0
            firm.say(
                HCM, "calendar_day", SETUP, calendar_id=calendar, day=day.isoformat(), work_s=work_s, holiday=False
            )


def projects(firm: Firm) -> None:
    for number in range(9):
        le = firm.random.choice(list(PRICES))
        ccy = PRICES[le][0]
        code, contract = f"PRJ-{number:02d}", f"CON-{number:02d}"
        firm.projects[code] = le
        kind = TYPES[number % len(TYPES)]
        at = SETUP if firm.chance(0.7) else firm.later(START, 0, 240)
        firm.opened[code] = at
        firm.say(ERP, "customer", SETUP, customer_no=f"C{number % 4}", name="c", payment_terms="N30", po_required=False)
        firm.say(
            ERP,
            "contract",
            SETUP,
            contract_no=contract,
            le_code=le,
            customer_no=f"C{number % 4}",
            ccy=ccy,
            from_="2026-01-01",
            to="2027-01-01",
            state="ACTIVE",
        )
        for line, since, until in ((1, "2026-01-01", "2026-03-25"), (2, "2026-03-25", "2027-01-01")):
            firm.say(
                ERP,
                "contract_line",
                SETUP,
                contract_no=contract,
                line_no=line,
                le_code=le,
                ccy=ccy,
                from_=since,
                to=until,
                method="NON_BILLABLE" if firm.chance(0.06) else "TM",
                retro_policy="BILL_DELTA",
                rate_basis="CONTRACT_SIGN" if firm.chance(0.1) else "TRANSACTION_DATE",
            )
        row: dict[str, Any] = {
            "customer_no": f"C{number % 4}",
            "contract_no": contract,
            "le_code": le,
            "ccy": ccy,
            "region": "EMEA",
            "project_type": kind,
            "practice": firm.random.choice(("ARCH", "DATA")),
            "billable": kind == "EXTERNAL",
            "opportunity_no": f"O-{number:02d}",
            "allow_time_without_assignment": firm.chance(0.2),
        }
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
            firm.say(
                PSA,
                "staffing_demand",
                at,
                project_code=code,
                demand_no=f"D{number}",
                role_code="SA",
                qty_s=270_000,
                from_="2026-03-09",
                to="2026-04-04",
                state="OPEN",
            )
        if number == 3:
            moved_at = firm.later(START, 100, 300)
            firm.renamed[code] = (moved_at, f"NEW-{number:02d}")
            firm.say(ERP, "project", moved_at, "rekeyed", subject=code, old=code, new=f"NEW-{number:02d}")
            firm.say(
                ERP, "project", moved_at, subject=code, project_code=f"NEW-{number:02d}", name=code, state="OPEN", **row
            )


def publish(
    firm: Firm,
    at: datetime,
    rate_id: str,
    level: int,
    scope: str,
    role: str | None,
    price: dict[str, Any],
    since: str,
    source: str = ERP,
    until: str | None = None,
) -> None:
    """A bill rate that is published at once."""
    firm.say(
        source,
        "rate",
        at,
        rate_id=rate_id,
        kind="BILL",
        level=level,
        scope_key=scope,
        role_code=role,
        rate=price,
        effective_from=since,
        effective_to=until,
        state="PUBLISHED",
        published_at=at.isoformat().replace("+00:00", "Z"),
        version=1,
    )


def rates(firm: Firm) -> None:
    for ccy, senior, junior in PRICES.values():
        for role, price in (("SA", senior), ("SC", junior)):
            publish(firm, SETUP, f"LIST-{ccy}-{role}", 8, "*", role, rate(price * 1.1, ccy), "2026-01-01")
    for code, le in firm.projects.items():
        ccy, senior, junior = PRICES[le]
        for role, price in (("SA", senior), ("SC", junior)):
            rate_id = f"R-{code}-{role}"
            kind = firm.random.random()
            if kind < 0.08:
                late = firm.later(START, 200, 600)
                publish(firm, late, rate_id, 4, code, role, rate(price, ccy), "2026-03-01")  # back-dated
            elif kind < 0.14:
                publish(
                    firm, SETUP, rate_id, 4, code, role, rate(price, ccy), "2026-01-01", until="2026-03-12"
                )  # expires
            elif kind < 0.18:
                publish(firm, SETUP, rate_id, 4, code, role, rate(0, ccy), "2026-01-01")
            elif kind < 0.22:
                publish(firm, SETUP, rate_id, 4, code, role, rate(price, "CHF"), "2026-01-01")
            elif kind < 0.30:
                publish(
                    firm, SETUP, rate_id, 4, code, role, rate(price * 7.5, ccy, "DAY") | {"day_s": 27_000}, "2026-01-01"
                )
            else:
                publish(firm, SETUP, rate_id, 4, code, role, rate(price, ccy), "2026-01-01")
            if firm.chance(0.3):  # an uplift, sometimes known late
                at = SETUP if firm.chance(0.5) else firm.later(START, 100, 600)
                publish(
                    firm,
                    at,
                    f"{rate_id}-UP",
                    4,
                    code,
                    role,
                    rate(price * 1.1, ccy),
                    firm.random.choice(("2026-03-16", "2026-03-23")),
                )
                if firm.chance(0.2):
                    firm.say(ERP, "rate", firm.later(at, 50, 500), rate_id=f"{rate_id}-UP", state="WITHDRAWN")
            if firm.chance(0.15):
                other = price if firm.chance(0.5) else price + 1
                publish(
                    firm,
                    firm.later(START, 0, 200),
                    f"P-{code}-{role}",
                    4,
                    code,
                    role,
                    rate(other, ccy),
                    "2026-01-01",
                    source=PSA,
                )
        if firm.chance(0.3):
            number = code[-2:]
            publish(
                firm,
                SETUP,
                f"W-{code}",
                3,
                f"CON-{number}/{firm.workers[0]}",
                None,
                rate(senior + 7, ccy),
                "2026-01-01",
            )


def assignments(firm: Firm) -> None:
    for code in firm.projects:
        for worker in firm.random.sample(firm.workers, 3):
            firm.staffed.append((code, worker))
            if firm.chance(0.1):
                continue
            _assignment(firm, f"A-{code}-{worker}", code, worker)


def _assignment(firm: Firm, subject: str, code: str, worker: str) -> None:
    since = date(2026, 3, 2) + timedelta(days=firm.random.randint(0, 14))
    until = since + timedelta(days=firm.random.randint(10, 40))
    plan: dict[str, Any] = {
        "project_code": code,
        "worker_no": worker,
        "role_code": firm.roles[worker],
        "from_": since.isoformat(),
        "to": until.isoformat(),
        "mode": "PCT",
        "alloc_value": firm.random.choice((10_000, 5_000, 8_000)),
        "commit_": "HARD",
        "state": "HARD",
        "billable": True,
    }
    at = max(firm.opened[code], SETUP if firm.chance(0.6) else firm.later(START, 0, 400))
    firm.say(SCHED, "assignment", at, subject=subject, **plan)
    if firm.chance(0.1):
        _cut(firm, subject, at)
        return
    for source, miss in ((PSA, 0.1), (ERP, 0.1)):
        if firm.chance(miss):
            continue
        seen = at if firm.chance(0.4) else firm.later(at, 0, 3 if source == PSA else 40)
        differs: dict[str, Any] = {}
        if source == PSA and firm.chance(0.2):
            differs = firm.random.choice(
                (
                    {"alloc_value": 2_500},
                    {"to": (until + timedelta(days=7)).isoformat()},
                    {"commit_": "SOFT", "state": "SOFT"},
                    {"mode": "PER_DAY", "alloc_value": 14_400},
                )
            )
        firm.say(source, "assignment", seen, subject=subject, **(plan | differs))
        if differs and firm.chance(0.5):
            firm.say(
                source,
                "assignment",
                firm.later(seen, 0, 30),
                subject=subject,
                **{name: plan[name] for name in differs if name in plan},
            )
    ending = firm.random.random()
    if ending < 0.08:
        for source in (SCHED, PSA, ERP):
            firm.say(source, "assignment", firm.later(at, 100, 300), "deleted", subject=subject)
    elif ending < 0.15:
        firm.say(SCHED, "assignment", firm.later(at, 100, 300), subject=subject, commit_="CANCELLED", state="CANCELLED")


def _cut(firm: Firm, subject: str, at: datetime) -> None:
    """Next to nothing is planned, so that what is logged exceeds it; sometimes put right later."""
    cut = firm.later(at, 1, 100)
    firm.say(SCHED, "assignment", cut, subject=subject, alloc_value=firm.random.choice((300, 1_000)))
    if firm.chance(0.4):
        firm.say(SCHED, "assignment", firm.later(cut, 200, 500), subject=subject, alloc_value=10_000)


def opportunities(firm: Firm) -> None:
    for number in range(5):
        won = firm.later(START, 0, 400)
        firm.say(
            CRM,
            "opportunity",
            won,
            opportunity_no=f"N-{number}",
            stage="Closed Won",
            is_won=True,
            contracting_le="UK01",
        )
        ending = firm.random.random()
        if ending < 0.4:
            code = f"WON-{number}"
            made = firm.later(won, 0, 90)
            for source in (ERP, PSA, SCHED, TIME):
                firm.say(
                    source,
                    "project",
                    made,
                    project_code=code,
                    name=code,
                    state="OPEN",
                    le_code="UK01",
                    opportunity_no=f"N-{number}",
                    project_type="EXTERNAL",
                )
        elif ending < 0.6:
            firm.say(
                CRM,
                "opportunity",
                firm.later(won, 1, 90),
                opportunity_no=f"N-{number}",
                stage="Negotiation",
                is_won=False,
            )
