"""The scenarios of the domain model (section 7) as tables: what happens, and what must be true at which instant.

Instants are RFC 3339, hours decimal, money in minor units. A moment replays what has arrived by then and moves the
clock there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import permutations
from typing import Any, NamedTuple

from scenarios.dsl import ERP, PAC, PSA, SCHED, TIME, Capture, P, fixture, money, project, rate


class Entry(NamedTuple):
    """A row of v1.time_entry, its quantities in hours."""

    state: str
    approved_h: float
    unbilled_h: float
    unbilled_minor: int
    holds: tuple[str, ...] = ()


class Finding(NamedTuple):
    """A row of v1.finding; `opened` is what a stream says, the oracle does not know detection."""

    code: str
    facet: str | None
    key: str
    onset: str
    deadline: str
    hours: float
    minor: int
    currency: str
    resolved: str | None = None
    opened: str | None = None
    estimated: bool = False
    queue: str | None = None
    severity: str | None = None


class Stale(NamedTuple):
    """A SOURCE_STALE that is open."""

    source: str
    onset: str
    deadline: str


@dataclass(frozen=True)
class Moment:
    """What must hold at `at`. None: not looked at."""

    at: str
    k1_h: float
    k2: dict[str, int]
    entries: dict[str, Entry] | None = None
    findings: tuple[Finding | Stale, ...] | None = None
    unpriced_h: float = 0.0
    source_counts: dict[str, dict[str, int]] = field(
        default_factory=dict
    )  # source instance -> column of v1.source -> count
    kpis: dict[tuple[str, str], str] = field(default_factory=dict)  # (kpi, measure) -> value of all its leaves


@dataclass(frozen=True)
class Scenario:
    """A capture and its moments in order of time."""

    name: str
    capture: Callable[[], Capture]
    moments: tuple[Moment, ...]
    stale: tuple[str, ...] = ()


def _entered_and_posted(
    firm: Capture, key: str, day: str, *, hours: float, approved: str, posted: str | None, **more: object
) -> None:
    """Time entered on the evening of its day, approved, and posted in the ERP."""
    firm.enter(key, day, hours=hours, at=f"{day}T08:00:00Z", **more)  # type: ignore[arg-type]
    firm.approve(key, at=approved)
    if posted:
        firm.post(key, at=posted)


# S01 Effective-dated rate change mid-week -----------------------------------------------------------------------------


def rate_change(*, close_the_old: bool) -> Capture:
    """Five days at 150, of which three should be at 165."""
    firm = fixture()
    published = "2026-03-01T09:00:00Z"
    if close_the_old:
        firm.publish("R-P-SA", P, "SA", rate(150), since="2026-01-01", until="2026-03-11", at=published)
    firm.publish("R-P-SA-165", P, "SA", rate(165), since="2026-03-11", at=published)
    for number, day in enumerate(("09", "10", "11", "12", "13"), start=1):
        _entered_and_posted(
            firm,
            f"E{number}",
            f"2026-03-{day}",
            hours=7.5,
            approved="2026-03-16T09:12:30Z",
            posted="2026-03-16T09:12:30Z",
            applied=150,
        )
    return firm


_HELD_AT_165 = Entry("HELD", 7.5, 7.5, 123_750, ("H03",))
_READY_AT_150 = Entry("READY", 7.5, 7.5, 112_500)
_S01 = (
    Moment(
        "2026-03-16T13:12:29Z",
        37.5,
        {"GBP": 596_250},
        findings=(),
        entries={"E1": _READY_AT_150, "E3": Entry("APPROVED_PENDING", 7.5, 7.5, 123_750)},
    ),
    Moment(
        "2026-03-16T13:12:30Z",
        37.5,
        {"GBP": 596_250},
        entries={
            "E1": _READY_AT_150,
            "E2": _READY_AT_150,
            "E3": _HELD_AT_165,
            "E4": _HELD_AT_165,
            "E5": _HELD_AT_165,
        },
        findings=(
            Finding(
                "RATE_MISMATCH",
                "UPLIFT_NOT_APPLIED",
                f"{P}|R-P-SA-165",
                "2026-03-16T09:12:30Z",
                "2026-03-16T13:12:30Z",
                22.5,
                33_750,
                "GBP",
                opened="2026-03-16T13:12:30Z",
            ),
        ),
    ),
)


# S02 Day boundary -----------------------------------------------------------------------------------------------------


def day_boundary() -> Capture:
    """Work of the last evening of March that the ERP posts on 1 April."""
    firm = fixture()
    firm.assign("A4", (SCHED, PSA, ERP), at="2026-02-27T16:00:00Z", worker="W4001", project=PAC, until="2026-05-02")
    firm.enter(
        "E1",
        "2026-03-31",
        hours=1.5,
        at="2026-04-01T06:31:00Z",
        worker="W4001",
        project=PAC,
        applied=200,
        ccy="USD",
        work_tz="America/Los_Angeles",
        start_at="2026-04-01T05:00:00Z",
        end_at="2026-04-01T06:30:00Z",
        break_s=0,
    )
    firm.approve("E1", at="2026-04-01T15:00:00Z")
    firm.post("E1", at="2026-04-01T15:30:00Z", le_code="US01", work_date="2026-04-01")
    firm.put(ERP, "posted_labour", at="2026-04-01T21:00:00Z", le_code="US01", erp_txn_id="T-E1", work_date="2026-03-31")
    return firm


_SHIFTED = Finding(
    "TIME_QTY_MISMATCH",
    "DATE_SHIFT",
    "TIME:E1",
    "2026-04-01T15:30:00Z",
    "2026-04-01T19:30:00Z",
    1.5,
    30_000,
    "USD",
    opened="2026-04-01T19:30:00Z",
)
_S02 = (
    Moment(
        "2026-04-01T19:30:00Z", 1.5, {"USD": 30_000}, {"E1": Entry("HELD", 1.5, 1.5, 30_000, ("H16",))}, (_SHIFTED,)
    ),
    Moment(
        "2026-04-01T21:00:00Z",
        1.5,
        {"USD": 30_000},
        {"E1": Entry("READY", 1.5, 1.5, 30_000)},
        (_SHIFTED._replace(resolved="2026-04-01T21:00:00Z"),),
    ),
)


# S05 Rejected then re-approved ----------------------------------------------------------------------------------------


def reapproved() -> Capture:
    """8 h approved and posted, recalled, cut to 6 h, rejected, approved again; the ERP corrects late."""
    firm = fixture()
    firm.enter("E1", "2026-03-10", hours=8, at="2026-03-10T08:00:00Z", applied=150)
    firm.approve("E1", at="2026-03-10T09:00:00Z")
    firm.post("E1", at="2026-03-10T09:30:00Z")
    firm.update("E1", at="2026-03-10T10:00:00Z", state="RECALL_REQUESTED")
    firm.update("E1", at="2026-03-10T10:30:00Z", qty_s=21_600)
    firm.update("E1", at="2026-03-10T10:31:00Z", state="SUBMITTED")
    firm.update("E1", at="2026-03-10T11:00:00Z", state="REJECTED")
    firm.update("E1", at="2026-03-10T14:00:00Z", state="SUBMITTED")
    firm.update("E1", at="2026-03-10T15:00:00Z", state="APPROVED", approval_cycle=2)
    firm.post("E1", at="2026-03-10T20:00:00Z", txn="T-E1-R", qty_s=-7_200)
    return firm


_TOO_MUCH = Finding(
    "TIME_QTY_MISMATCH",
    "QTY",
    "TIME:E1",
    "2026-03-10T15:00:00Z",
    "2026-03-10T19:00:00Z",
    2.0,
    -30_000,
    "GBP",
    opened="2026-03-10T19:00:00Z",
)
_S05 = (
    *(
        Moment(f"2026-03-10T{at}:00Z", hours, {"GBP": minor} if minor else {}, findings=())
        for at, hours, minor in (
            ("08:00", 0, 0),
            ("09:00", 8, 120_000),
            ("09:30", 8, 120_000),
            ("10:00", 0, 0),
            ("10:30", 0, 0),
            ("10:31", 0, 0),
            ("11:00", 0, 0),
            ("14:00", 0, 0),
            ("15:00", 6, 90_000),
            ("18:59", 6, 90_000),
        )
    ),
    Moment(
        "2026-03-10T19:00:00Z",
        6,
        {"GBP": 90_000},
        {"E1": Entry("HELD", 6, 6, 90_000, ("H16",))},
        (_TOO_MUCH,),
        kpis={("approval_latency", "MEAN"): "7.0000", ("approval_latency_business", "MEAN"): "6.0000"},
    ),
    Moment(
        "2026-03-10T20:00:00Z",
        6,
        {"GBP": 90_000},
        {"E1": Entry("READY", 6, 6, 90_000)},
        (_TOO_MUCH._replace(resolved="2026-03-10T20:00:00Z"),),
    ),
)


# S07 Re-keyed project -------------------------------------------------------------------------------------------------


def rekeyed(*, row_follows: bool) -> Capture:
    """45 h on a project whose code changes in the ERP, with or without its row under the new code."""
    firm = fixture()
    for number, day in enumerate(("02", "03", "04", "05", "06", "09"), start=1):
        _entered_and_posted(
            firm,
            f"E{number}",
            f"2026-03-{day}",
            hours=7.5,
            approved="2026-03-10T09:00:00Z",
            posted="2026-03-10T09:00:00Z",
            applied=150,
        )
    firm.put(ERP, "project", "rekeyed", at="2026-03-10T15:00:00Z", subject=P, old=P, new="ACME-UK-24017")
    if row_follows:
        firm.put(
            ERP,
            "project",
            at="2026-03-10T15:00:00Z",
            subject=P,
            project_code="ACME-UK-24017",
            name="ACME",
            state="OPEN",
            customer_no="C-ACME",
            contract_no=f"K-{P}",
            le_code="UK01",
            ccy="GBP",
            region="EMEA",
            practice="ARCH",
            project_type="EXTERNAL",
            billable=True,
            allow_time_without_assignment=False,
        )
    return firm


_S07_ENTRIES = {f"E{number}": Entry("READY", 7.5, 7.5, 112_500) for number in range(1, 7)}
_S07 = (
    Moment("2026-03-10T14:59:00Z", 45, {"GBP": 675_000}, _S07_ENTRIES, ()),
    Moment("2026-03-11T15:00:00Z", 45, {"GBP": 675_000}, _S07_ENTRIES, ()),
)


# S13 Late assignment --------------------------------------------------------------------------------------------------


def late_assignment(assigned: str) -> Capture:
    """Time is approved before its assignment commits."""
    firm = fixture(assigned=False)
    _entered_and_posted(
        firm, "E1", "2026-03-10", hours=7.5, approved="2026-03-10T10:00:00Z", posted="2026-03-10T10:00:00Z", applied=150
    )
    firm.assign("A1", (SCHED, PSA, ERP), at=assigned)
    return firm


_BARE = Finding(
    "TIME_WITHOUT_ASSIGNMENT",
    None,
    "TIME:E1",
    "2026-03-10T10:00:00Z",
    "2026-03-11T10:00:00Z",
    7.5,
    112_500,
    "GBP",
    opened="2026-03-11T10:00:00Z",
)
_S13 = {"GBP": 112_500}
_S13A = (
    Moment("2026-03-10T10:44:00Z", 7.5, _S13, {"E1": Entry("APPROVED_PENDING", 7.5, 7.5, 112_500)}, ()),
    Moment("2026-03-12T10:00:00Z", 7.5, _S13, {"E1": _READY_AT_150}, ()),
)
_S13B = (
    Moment("2026-03-11T09:59:59Z", 7.5, _S13, {"E1": Entry("APPROVED_PENDING", 7.5, 7.5, 112_500)}, ()),
    Moment("2026-03-11T10:00:00Z", 7.5, _S13, {"E1": Entry("HELD", 7.5, 7.5, 112_500, ("H04",))}, (_BARE,)),
    Moment(
        "2026-03-11T12:00:00Z", 7.5, _S13, {"E1": _READY_AT_150}, (_BARE._replace(resolved="2026-03-11T12:00:00Z"),)
    ),
)


# S14 Equal timestamps, out of order -----------------------------------------------------------------------------------


def equal_timestamps(*, in_order: bool) -> Capture:
    """Two updates of one instant: approved (5001), submitted (5002)."""
    firm = fixture()
    firm.enter("E1", "2026-03-10", hours=8, at="2026-03-10T08:00:00Z", psa=False, state="DRAFT")
    first, second = (
        ("2026-03-10T10:00:01Z", "2026-03-10T10:00:02Z")
        if in_order
        else ("2026-03-10T10:00:02Z", "2026-03-10T10:00:01Z")
    )
    for lsn, state, arrives in (("5001", "APPROVED", first), ("5002", "SUBMITTED", second)):
        firm.put(
            TIME,
            "time_entry",
            at="2026-03-10T10:00:00Z",
            arrives=arrives,
            seq=lsn,
            origin_system="TIME",
            origin_id="E1",
            state=state,
        )
    return firm


_WITHDRAWN = {"E1": Entry("VOID", 0, 0, 0)}
_S14_OUT = (
    Moment("2026-03-10T10:00:01Z", 0, {}, _WITHDRAWN, ()),
    Moment("2026-03-10T10:00:02Z", 0, {}, _WITHDRAWN, (), source_counts={"kimai": {"stale": 1}}),
)
_S14_IN = (
    Moment("2026-03-10T10:00:01Z", 8, {"GBP": 120_000}, findings=()),
    Moment("2026-03-10T10:00:02Z", 0, {}, _WITHDRAWN, (), source_counts={"kimai": {"stale": 0}}),
)


# S15 Duplicates -------------------------------------------------------------------------------------------------------


def duplicates() -> Capture:
    """One approval delivered three times, then a snapshot row that is older."""
    firm = fixture()
    firm.enter("E1", "2026-03-10", hours=8, at="2026-03-10T08:00:00Z", applied=150)
    for arrives in ("2026-03-10T09:00:00Z", "2026-03-10T09:00:01Z", "2026-03-10T09:00:02Z"):
        firm.put(
            TIME,
            "time_entry",
            at="2026-03-10T09:00:00Z",
            arrives=arrives,
            seq="900000000002",
            event_id="approval-1",
            origin_system="TIME",
            origin_id="E1",
            state="APPROVED",
        )
    firm.update("E1", at="2026-03-10T09:00:00Z", sources=(PSA,), state="APPROVED")
    firm.post("E1", at="2026-03-10T09:00:00Z")
    firm.put(
        TIME,
        "time_entry",
        "snapshot",
        at="2026-03-10T08:30:00Z",
        arrives="2026-03-10T09:30:00Z",
        seq="900000000001",
        origin_system="TIME",
        origin_id="E1",
        state="SUBMITTED",
        qty_s=28_800,
    )
    return firm


_S15 = (
    Moment("2026-03-10T09:00:00Z", 8, {"GBP": 120_000}, findings=()),
    Moment(
        "2026-03-10T09:30:00Z",
        8,
        {"GBP": 120_000},
        {"E1": Entry("READY", 8, 8, 120_000)},
        (),
        source_counts={"kimai": {"duplicates": 2, "stale": 1}},
    ),
)


# S17 Missing rate, then found -----------------------------------------------------------------------------------------


def missing_rate() -> Capture:
    """A project without a rate for the role; the rate comes two days later, effective since the first."""
    firm = fixture()
    project(firm, "Q-300", le="UK01", ccy="GBP", region="EMEA", customer="C-Q", free_time=True)
    _entered_and_posted(
        firm,
        "E1",
        "2026-03-10",
        hours=12,
        approved="2026-03-10T09:00:00Z",
        posted="2026-03-10T09:00:00Z",
        worker="W1003",
        project="Q-300",
        role="SC",
    )
    firm.publish("R-Q-SC", "Q-300", "SC", rate(135), since="2026-03-01", at="2026-03-12T09:00:00Z")
    return firm


_UNPRICED = Finding(
    "RATE_MISSING",
    "NO_MATCH",
    "TIME:E1",
    "2026-03-10T09:00:00Z",
    "2026-03-10T13:00:00Z",
    12,
    144_000,
    "GBP",
    opened="2026-03-10T13:00:00Z",
    estimated=True,
)
_S17 = (
    Moment("2026-03-10T13:00:00Z", 12, {}, {"E1": Entry("HELD", 12, 12, 0, ("H01",))}, (_UNPRICED,), unpriced_h=12),
    Moment(
        "2026-03-12T09:00:00Z",
        12,
        {"GBP": 162_000},
        {"E1": Entry("READY", 12, 12, 162_000)},
        (_UNPRICED._replace(resolved="2026-03-12T09:00:00Z"),),
    ),
)


# S19 Duplicate invoice ------------------------------------------------------------------------------------------------


def duplicate_invoice() -> Capture:
    """A retry makes a second invoice for the same five days; a credit note takes it back."""
    firm = fixture()
    keys = [f"E{number}" for number in range(1, 6)]
    for key, day in zip(keys, ("09", "10", "11", "12", "13"), strict=True):
        _entered_and_posted(
            firm,
            key,
            f"2026-03-{day}",
            hours=7.5,
            approved="2026-03-16T09:00:00Z",
            posted="2026-03-16T10:00:00Z",
            applied=150,
        )
    _invoiced(firm, "INV-310", keys, at="2026-04-01T09:00:00Z")
    _invoiced(firm, "INV-311", keys, at="2026-04-01T09:00:04Z")
    _invoiced(firm, "CN-12", keys, at="2026-04-02T14:00:00Z", type="CREDIT_NOTE", corrects_invoice="INV-311")
    return firm


def _invoiced(firm: Capture, number: str, keys: list[str], *, at: str, seconds: int = 27_000, **more: str) -> None:
    """Entries of so many seconds at 150 on one posted invoice, with 20 % of tax."""
    share = seconds * 15_000 // 3_600
    net, head = share * len(keys), {"le_code": "UK01", "invoice_no": number}
    whole: dict[str, Any] = {"type": "INVOICE", "customer_no": "C-ACME", "ccy": "GBP", "state": "POSTED", **more}
    amounts: dict[str, Any] = {"net": money(net), "tax": money(net // 5)}
    firm.put(ERP, "invoice", at=at, **head, **whole, **amounts, idempotency_key="REQ-7781", posted_at=at)
    firm.put(ERP, "invoice_line", at=at, **head, line_no=1, project_code=P, qty_s=seconds * len(keys), **amounts)
    for key in keys:
        firm.put(
            ERP,
            "coverage",
            at=at,
            **head,
            line_no=1,
            kind="TIME_ENTRY",
            target=f"TIME:{key}",
            sign=-1 if more else 1,
            qty_s=seconds,
            amount=money(share),
        )


_TWICE = Finding(
    "INVOICE_DUPLICATE",
    None,
    "UK01:INV-311",
    "2026-04-01T09:00:04Z",
    "2026-04-01T09:00:04Z",
    37.5,
    -675_000,
    "GBP",
    opened="2026-04-01T09:00:04Z",
    queue="finance-ar.emea",
    severity="CRITICAL",
)
_S19_BILLED = {f"E{number}": Entry("INVOICED", 7.5, 0, 0) for number in range(1, 6)}
_S19 = (
    Moment("2026-04-01T09:00:00Z", 0, {}, _S19_BILLED, ()),
    Moment(
        "2026-04-01T09:00:04Z", 0, {}, {f"E{n}": Entry("ADJUSTMENT_DUE", 7.5, 0, 0) for n in range(1, 6)}, (_TWICE,)
    ),
    Moment("2026-04-02T14:00:00Z", 0, {}, _S19_BILLED, (_TWICE._replace(resolved="2026-04-02T14:00:00Z"),)),
)


# Time to bill: the example of K5 --------------------------------------------------------------------------------------


def time_to_bill() -> Capture:
    """3 h after 3 days, 6 h after 9, 9 h after 12; the last are credited."""
    firm = fixture()
    late = []
    for number, (day, days) in enumerate((("17", 1), ("11", 2), ("08", 3))):
        keys = [f"E{number}{one}" for one in range(days)]
        for one, key in enumerate(keys):
            _entered_and_posted(
                firm,
                key,
                f"2026-03-{day}",
                hours=3,
                approved="2026-03-18T09:00:00Z",
                posted="2026-03-18T09:00:00Z",
                applied=150,
                note_hash=f"{one}",
            )
        _invoiced(firm, f"INV-{number}", keys, at="2026-03-21T00:00:00Z", seconds=10_800)
        late = keys
    at = "2026-03-22T00:00:00Z"
    _invoiced(firm, "CN-1", late, at=at, seconds=10_800, type="CREDIT_NOTE", corrects_invoice="INV-2")
    return firm


_K5 = (
    Moment("2026-03-21T00:00:00Z", 0, {}, kpis={("time_to_bill", "MEAN"): "9.5000"}),
    Moment("2026-03-22T00:00:00Z", 9, {"GBP": 135_000}, kpis={("time_to_bill", "MEAN"): "7.0000"}),
)


# S24 Stale counterpart ------------------------------------------------------------------------------------------------


def stale_counterpart(*, caught_up: bool = False, posted: bool = False) -> Capture:
    """Time is approved while the ERP's stream stands still at 14:00."""
    firm = fixture()
    firm.observe(ERP, "2026-03-24T14:00:00Z")
    firm.enter("E1", "2026-03-24", hours=7.5, at="2026-03-24T12:00:00Z", applied=150)
    firm.approve("E1", at="2026-03-24T14:05:00Z")
    if posted:
        firm.post("E1", at="2026-03-24T17:50:00Z", arrives="2026-03-24T18:30:00Z")
    if caught_up:
        firm.observe(ERP, "2026-03-24T18:30:00Z")
    return firm


_S24 = {"GBP": 112_500}
_STALE = Stale(ERP, "2026-03-24T14:00:00Z", "2026-03-24T15:30:00Z")
_LATE = Finding(
    "TIME_LATE_TO_ERP",
    "STAGED",
    "TIME:E1",
    "2026-03-24T14:05:00Z",
    "2026-03-24T18:05:00Z",
    7.5,
    112_500,
    "GBP",
    opened="2026-03-24T18:30:00Z",
)
_S24_FROZEN = (
    Moment("2026-03-24T15:30:00Z", 7.5, _S24, findings=()),
    Moment("2026-03-24T15:30:01Z", 7.5, _S24, findings=(_STALE,)),
    Moment("2026-03-24T18:05:00Z", 7.5, _S24, findings=(_STALE,)),
)
_S24A = (
    *_S24_FROZEN,
    Moment("2026-03-24T18:30:00Z", 7.5, _S24, {"E1": Entry("HELD", 7.5, 7.5, 112_500, ("H22",))}, (_LATE,)),
)
_S24B = (*_S24_FROZEN, Moment("2026-03-24T18:30:00Z", 7.5, _S24, {"E1": _READY_AT_150}, ()))


# S28 Invoice overtakes approval ---------------------------------------------------------------------------------------

STEPS = ("submit", "approve", "post", "invoice")


def overtaken(order: tuple[str, ...]) -> Capture:
    """Submit 16:00, approve 17:00, post 17:30, invoice 18:05:11 arrive in any order, a second apart."""
    firm = fixture()
    arrivals = {step: f"2026-03-10T18:10:0{n}Z" for n, step in enumerate(order)}
    row: dict[str, Any] = {"origin_system": "TIME", "origin_id": "E1"}
    whole = row | {
        "worker_no": "W1001",
        "project_code": P,
        "work_date": "2026-03-10",
        "qty_s": 28_800,
        "quantum_s": 60,
        "time_type": "WORK",
        "billable": True,
        "role_code": "SA",
        "work_tz": "Europe/London",
    }
    erp: dict[str, Any] = {"le_code": "UK01", "at": "2026-03-10T18:05:11Z", "arrives": arrivals["invoice"]}
    cover: dict[str, Any] = {"kind": "TIME_ENTRY", "target": "TIME:E1", "sign": 1, "qty_s": 28_800, "amount": money(120_000)}
    for source in (TIME, PSA):
        firm.put(
            source, "time_entry", at="2026-03-10T16:00:00Z", arrives=arrivals["submit"], **whole, state="SUBMITTED"
        )
        firm.put(source, "time_entry", at="2026-03-10T17:00:00Z", arrives=arrivals["approve"], **row, state="APPROVED")
    firm.entries["E1"] = whole
    firm.post("E1", at="2026-03-10T17:30:00Z", arrives=arrivals["post"])
    firm.put(
        ERP,
        "invoice",
        **erp,
        invoice_no="INV-1",
        type="INVOICE",
        customer_no="C-ACME",
        ccy="GBP",
        state="POSTED",
        posted_at="2026-03-10T18:05:11Z",
        net=money(120_000),
        tax=money(24_000),
    )
    firm.put(
        ERP,
        "invoice_line",
        **erp,
        invoice_no="INV-1",
        line_no=1,
        project_code=P,
        qty_s=28_800,
        net=money(120_000),
        tax=money(24_000),
    )
    firm.put(ERP, "coverage", **erp, invoice_no="INV-1", line_no=1, **cover)
    return firm


_INVOICED = Moment("2026-03-10T18:10:03Z", 0, {}, {"E1": Entry("INVOICED", 8, 0, 0)}, ())


SCENARIOS = (
    Scenario("S01", lambda: rate_change(close_the_old=False), _S01),
    Scenario("S01-old-row-closed", lambda: rate_change(close_the_old=True), _S01),
    Scenario("S02", day_boundary, _S02),
    Scenario("S05", reapproved, _S05),
    Scenario("S07", lambda: rekeyed(row_follows=False), _S07),
    Scenario("S07-row-follows", lambda: rekeyed(row_follows=True), _S07),
    Scenario("S13a", lambda: late_assignment("2026-03-10T10:45:00Z"), _S13A),
    Scenario("S13b", lambda: late_assignment("2026-03-11T12:00:00Z"), _S13B),
    Scenario("S14-out-of-order", lambda: equal_timestamps(in_order=False), _S14_OUT),
    Scenario("S14-in-order", lambda: equal_timestamps(in_order=True), _S14_IN),
    Scenario("S15", duplicates, _S15),
    Scenario("S17", missing_rate, _S17),
    Scenario("S19", duplicate_invoice, _S19),
    Scenario("K5", time_to_bill, _K5),
    Scenario("S24-frozen", stale_counterpart, _S24_FROZEN, stale=("ERP",)),
    Scenario("S24a", lambda: stale_counterpart(caught_up=True), _S24A, stale=("ERP",)),
    Scenario("S24b", lambda: stale_counterpart(caught_up=True, posted=True), _S24B, stale=("ERP",)),
    *(
        Scenario(f"S28-{'-'.join(order)}", partial(overtaken, order), (_INVOICED,))
        for order in permutations(STEPS)
    ),
)
