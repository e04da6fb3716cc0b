"""A small language for scenarios: what each source system committed, when, and when it arrived; and the fixture F0.

firm = fixture()
firm.enter("E1", "2026-03-09", hours=7.5, at="2026-03-09T17:00:00Z")
firm.approve("E1", at="2026-03-16T09:12:30Z")
firm.post("E1", at="2026-03-16T10:00:00Z")
firm.write(path)
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

ERP, PSA, HCM, CRM, SCHED, TIME = "ERP/ax", "PSA/certinia", "HCM/workday", "CRM/sfdc", "SCHED/float", "TIME/kimai"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
P, PAC = "ACME-24017", "PAC-100"
BEFORE = "2026-01-02T08:00:00Z"  # when the masters of F0 were committed
SUBJECT_KEYS = {
    "project": ("project_code",),
    "resource": ("worker_no",),
    "calendar_day": ("calendar_id", "day"),
    "rate": ("rate_id",),
    "time_entry": ("origin_id",),
    "posted_labour": ("erp_txn_id",),
    "contract": ("contract_no",),
    "contract_line": ("contract_no", "line_no"),
    "invoice": ("invoice_no",),
    "coverage": ("invoice_no", "line_no", "target"),
    "write_off": ("write_off_no",),
    "opportunity": ("opportunity_no",),
    "legal_entity": ("le_code",),
    "customer": ("customer_no",),
    "staffing_demand": ("demand_no",),
    "invoice_line": ("invoice_no", "line_no"),
}


def instant_us(text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 instant."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def rate(per_hour: float, ccy: str = "GBP", unit: str = "HOUR") -> dict[str, Any]:
    """A rate value: 150 -> 150.000000 an hour."""
    return {"rate_e6": round(per_hour * 1_000_000), "ccy": ccy, "unit": unit}


def money(minor: int, ccy: str = "GBP") -> dict[str, Any]:
    """A money value in minor units."""
    return {"minor": minor, "ccy": ccy}


@dataclass
class Capture:
    """Lines of a capture in the making; one topic a source, so that its watermark covers all of its objects."""

    lines: list[tuple[int, dict[str, Any], str]] = field(default_factory=list)
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    number: int = 0

    def put(
        self,
        source: str,
        entity: str,
        op: str = "upserted",
        *,
        at: str,
        arrives: str | None = None,
        subject: str | None = None,
        seq: str | None = None,
        event_id: str | None = None,
        **data: Any,
    ) -> None:
        """One canonical event. `from_` and `commit_` stand for attributes that are Python keywords or taken."""
        self.number += 1
        data = {key.removesuffix("_"): value for key, value in data.items()}
        subject = subject or ":".join(str(data[name]) for name in SUBJECT_KEYS[entity])
        event = {
            "specversion": "1.0",
            "id": event_id or f"e{self.number}",
            "source": source,
            "type": f"tieout.{entity}.{op}",
            "subject": subject,
            "time": at,
            "sequence": seq or f"{self.number:012d}",
            "data": data,
        }
        self.lines.append((instant_us(arrives or at) // 1000, event, source.lower().replace("/", ".")))

    def happened(self, source: str, entity: str, op: str, *, at: str) -> None:
        """What a whole object went through: `gap`, `snapshot` (it has been read again) or `truncated`."""
        self.put(source, entity, op, at=at, subject="*")
        self.lines[-1][1]["subject"] = ""

    def observe(self, source: str, through: str, arrives: str | None = None) -> None:
        """The source says that everything until `through` has been delivered."""
        self.put(source, "source", "observed", at=through, arrives=arrives, subject=source, through=through)

    def enter(
        self,
        key: str,
        day: str,
        *,
        hours: float,
        at: str,
        worker: str = "W1001",
        project: str = P,
        role: str = "SA",
        psa: bool = True,
        state: str = "SUBMITTED",
        applied: float | None = None,
        ccy: str = "GBP",
        work_tz: str = "Europe/London",
        **more: Any,
    ) -> None:
        """Time is entered in the time system and mirrored by the PSA."""
        row: dict[str, Any] = {
            "origin_system": "TIME",
            "origin_id": key,
            "worker_no": worker,
            "project_code": project,
            "work_date": day,
            "qty_s": round(hours * 3600),
            "quantum_s": 60,
            "time_type": "WORK",
            "billable": True,
            "state": state,
        }
        self.entries[key] = row
        self.put(TIME, "time_entry", at=at, **row, work_tz=work_tz, role_code=role, **more)
        if psa:
            price: dict[str, Any] = {} if applied is None else {"source_rate": rate(applied, ccy)}
            self.put(PSA, "time_entry", at=at, **row, **price)

    def update(self, key: str, *, at: str, sources: tuple[str, ...] = (TIME, PSA), **changed: Any) -> None:
        """A partial update of an entry in these systems."""
        self.entries[key].update(changed)
        for source in sources:
            self.put(source, "time_entry", at=at, origin_system="TIME", origin_id=key, **changed)

    def approve(self, *keys: str, at: str) -> None:
        """The entries are approved, in the time system and in the PSA, in the same instant."""
        for key in keys:
            self.update(key, at=at, state="APPROVED")

    def post(self, key: str, *, at: str, txn: str | None = None, arrives: str | None = None, **changed: Any) -> None:
        """The ERP posts the entry's cost."""
        row = self.entries[key]
        posting = {
            "le_code": "UK01",
            "erp_txn_id": txn or f"T-{key}",
            "origin_ref": f"TIME:{key}",
            "project_code": row["project_code"],
            "worker_no": row["worker_no"],
            "work_date": row["work_date"],
            "accounting_date": row["work_date"],
            "txn_type": "COST",
            "qty_s": row["qty_s"],
            "voucher": f"V-{key}",
        } | changed
        self.put(ERP, "posted_labour", at=at, arrives=arrives, **posting)

    def assign(
        self,
        subject: str,
        sources: tuple[str, ...],
        *,
        at: str,
        worker: str = "W1001",
        project: str = P,
        role: str = "SA",
        since: str = "2026-03-02",
        until: str = "2026-03-28",
        firm: str = "HARD",
        share_bp: int = 10_000,
    ) -> None:
        """A worker is assigned to a project, [since, until)."""
        for source in sources:
            self.put(
                source,
                "assignment",
                at=at,
                subject=subject,
                project_code=project,
                worker_no=worker,
                role_code=role,
                from_=since,
                to=until,
                mode="PCT",
                alloc_value=share_bp,
                commit_=firm,
                billable=True,
                state=firm,
            )

    def publish(
        self,
        rate_id: str,
        scope: str,
        role: str | None,
        price: dict[str, Any],
        *,
        since: str,
        at: str,
        until: str | None = None,
        level: int = 4,
        kind: str = "BILL",
        source: str = ERP,
        **more: Any,
    ) -> None:
        """A rate is published."""
        self.put(
            source,
            "rate",
            at=at,
            rate_id=rate_id,
            kind=kind,
            level=level,
            scope_key=scope,
            role_code=role,
            rate=price,
            effective_from=since,
            effective_to=until,
            state="PUBLISHED",
            published_at=at,
            version=1,
            **more,
        )

    def rows(self) -> list[dict[str, Any]]:
        """The lines as `kcat -J` writes them, in order of arrival."""
        offsets: dict[str, int] = {}
        rows = []
        for ts, event, topic in sorted(self.lines, key=lambda line: line[0]):
            offsets[topic] = offsets.get(topic, -1) + 1
            rows.append(
                {
                    "topic": topic,
                    "partition": 0,
                    "offset": offsets[topic],
                    "tstype": "create",
                    "ts": ts,
                    "broker": 0,
                    "key": event["subject"],
                    "payload": json.dumps(event, separators=(",", ":")),
                }
            )
        return rows

    def write(self, path: Path) -> Path:
        """Write the capture and give its path back."""
        path.write_text("".join(json.dumps(row) + "\n" for row in self.rows()), encoding="utf-8")
        return path


LEGAL_ENTITIES = (
    ("UK01", "GB", "GBP", "Europe/London", "EMEA"),
    ("DE01", "DE", "EUR", "Europe/Berlin", "EMEA"),
    ("US01", "US", "USD", "America/Los_Angeles", "AMER"),
    ("BH01", "BH", "BHD", "Asia/Bahrain", "EMEA"),
    ("JP01", "JP", "JPY", "Asia/Tokyo", "APAC"),
)


def fixture(*, assigned: bool = True) -> Capture:
    """F0 of the domain model, section 7; without the assignment A1 if so asked."""
    firm = Capture()
    for code, country, ccy, tz, region in LEGAL_ENTITIES:
        firm.put(
            ERP,
            "legal_entity",
            at=BEFORE,
            le_code=code,
            name=code,
            country=country,
            base_ccy=ccy,
            tz=tz,
            region=region,
            rounding="HALF_AWAY",
            materiality_minor=500_000,
            state="ACTIVE",
        )
    for worker, role, tz, calendar in (
        ("W1001", "SA", "Europe/London", "LON"),
        ("W1003", "SC", "Europe/London", "LON"),
        ("W4001", "SA", "America/Los_Angeles", "LA"),
    ):
        firm.put(
            HCM,
            "resource",
            at=BEFORE,
            worker_no=worker,
            type="EMPLOYEE",
            state="ACTIVE",
            tz=tz,
            calendar_id=calendar,
            home_region="AMER" if calendar == "LA" else "EMEA",
            role_code=role,
            fte_bp=10_000,
            hire_date="2020-01-01",
        )
    for calendar in ("LON", "LA"):
        for day in (date(2026, 2, 23) + timedelta(days=n) for n in range(70)):
            if day.isoweekday() <= 5:
                firm.put(
                    HCM,
                    "calendar_day",
                    at=BEFORE,
                    calendar_id=calendar,
                    day=day.isoformat(),
                    work_s=27_000,
                    holiday=False,
                )
    project(firm, P, le="UK01", ccy="GBP", region="EMEA", customer="C-ACME")
    project(firm, PAC, le="US01", ccy="USD", region="AMER", customer="C-PAC")
    firm.publish("R-P-SA", P, "SA", rate(150), since="2026-01-01", at=BEFORE)
    firm.publish("R-P-SC", P, "SC", rate(120), since="2026-01-01", at=BEFORE)
    firm.publish("R-PAC-SA", PAC, "SA", rate(200, "USD"), since="2026-01-01", at=BEFORE)
    firm.publish("R-LIST-SC", "*", "SC", rate(120), since="2026-01-01", at=BEFORE, level=8)
    firm.publish("K-P-SA", P, "SA", rate(70), since="2026-01-01", at=BEFORE, kind="COST")
    firm.publish("K-P-SC", P, "SC", rate(55), since="2026-01-01", at=BEFORE, kind="COST")
    if assigned:
        firm.assign("A1", (SCHED, PSA, ERP), at="2026-02-27T15:44:00Z")
    return firm


def project(
    firm: Capture,
    code: str,
    *,
    le: str,
    ccy: str,
    region: str,
    customer: str,
    free_time: bool = False,
    sources: tuple[str, ...] = (ERP, PSA, SCHED, TIME),
    at: str = BEFORE,
) -> None:
    """A time-and-materials project with its customer, contract and line, known to these systems."""
    contract = f"K-{code}"
    firm.put(ERP, "customer", at=at, customer_no=customer, name=customer, payment_terms="N30", po_required=False)
    firm.put(
        ERP,
        "contract",
        at=at,
        contract_no=contract,
        le_code=le,
        customer_no=customer,
        ccy=ccy,
        from_="2026-01-05",
        to="2027-01-01",
        state="ACTIVE",
    )
    firm.put(
        ERP,
        "contract_line",
        at=at,
        contract_no=contract,
        line_no=1,
        customer_no=customer,
        le_code=le,
        ccy=ccy,
        from_="2026-01-05",
        to="2027-01-01",
        method="TM",
        rate_basis="TRANSACTION_DATE",
        retro_policy="BILL_DELTA",
    )
    whole: dict[str, Any] = {
        "customer_no": customer,
        "contract_no": contract,
        "le_code": le,
        "ccy": ccy,
        "region": region,
        "practice": "ARCH",
        "project_type": "EXTERNAL",
        "billable": True,
        "allow_time_without_assignment": free_time,
    }
    for source in sources:
        firm.put(
            source, "project", at=at, project_code=code, name=code, state="OPEN", **(whole if source == ERP else {})
        )
