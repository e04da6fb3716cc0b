"""Every facet of checks 23, 30, 31 and 36, and what looks like one and is none: exactly these findings, no others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from firm import Firm, assignment, change, day, entry, fixture, gbp, invoice, posted, rate, us

from tieout.reconcilers.changes import Change, Op
from tieout.reconcilers.outcomes import Output

AT = "2026-03-10T10:00:00Z"
LATER = "2026-03-10T10:30:00Z"
END = "2026-03-12T12:00:00Z"
HEALED = "2026-03-12T09:00:00Z"
CHECKED = ("RATE_AMBIGUOUS", "TIME_OUTSIDE_ASSIGNMENT", "TIME_DUPLICATE", "INVOICE_DUPLICATE")


class Verdict(NamedTuple):
    """A finding: code, facet, business key, seconds, minor units, severity, when it opened."""

    code: str
    facet: str | None
    key: str
    seconds: int
    minor: int
    severity: str
    opened: str


def work(number: str = "E1", at: str = AT, **more: Any) -> list[Change]:
    """An approved entry that TIME and ERP agree on; `number` also names its posting."""
    kept = {name: more[name] for name in ("qty_s", "work_date", "project_code", "worker_no") if name in more}
    return [entry("TIME", number, at, **more), posted(number, at, **kept)]


def project(code: str, **more: Any) -> list[Change]:
    """Another project of the same customer, on which everybody may log time, at 100 an hour."""
    rows = [change(system, "project", "2026-01-02", project_code=code, le_code="UK01", region="EMEA", ccy="GBP",
                   state="OPEN", project_type="EXTERNAL", allow_time_without_assignment=True, **more)
            for system in ("ERP", "PSA", "SCHED", "TIME")]
    return [*rows, rate(f"R-{code}", "SA", 100, scope_key=code)]


def staffed(subject: str, price: int | None, **more: Any) -> list[Change]:
    """An assignment in all systems, with a bill rate of its own."""
    priced = {} if price is None else {"bill_rate": gbp(price)}
    return [assignment(system, subject, "2026-01-02", **priced, **more) for system in ("SCHED", "PSA", "ERP")]


def timed(number: str, start: str, end: str, at: str | None = None, **more: Any) -> list[Change]:
    """Work from one clock time to another, UTC; '25:00' is one o'clock in the night after."""
    date = more.get("work_date", day("2026-03-10")) * 86_400
    first, last = (date + 3_600 * int(clock[:2]) + 60 * int(clock[3:]) for clock in (start, end))
    return work(number, at or f"2026-03-10T10:0{number[1]}:00Z", start_at=first * 1_000_000, end_at=last * 1_000_000,
                qty_s=last - first, **more)


AMBIGUOUS = Verdict("RATE_AMBIGUOUS", None, "TIME:E1", 27_000, 18_750, "MEDIUM", "2026-03-10T14:00:00Z")
OUTSIDE = Verdict("TIME_OUTSIDE_ASSIGNMENT", None, "TIME:E1", 27_000, 112_500, "MEDIUM", "2026-03-11T10:00:00Z")
EXCESS = OUTSIDE._replace(facet="EXCESS", key="ACME-24017|W1001", seconds=9_000, minor=37_500)
KEY = Verdict("TIME_DUPLICATE", "KEY", "TIME:E2", 27_000, -112_500, "HIGH", "2026-03-10T14:30:00Z")
OVERLAP = KEY._replace(facet="OVERLAP", seconds=7_200, minor=-20_000, opened="2026-03-10T14:02:00Z")
LIMIT = KEY._replace(facet="DAY_LIMIT", key="W1001|2026-03-10", seconds=3_600, minor=-10_000)
SPRING: dict[str, Any] = {"work_date": day("2026-03-29")}  # the clocks of London go forward
AUTUMN: dict[str, Any] = {"work_date": day("2026-10-25")}  # and back
TWICE = Verdict("INVOICE_DUPLICATE", None, "UK01:I2", 27_000, -135_000, "CRITICAL", "2026-03-11T10:00:00Z")
SAID = TWICE._replace(facet="CONTENT")
FIRST, SECOND = "2026-03-11T09:00:00Z", "2026-03-11T10:00:00Z"
START, TODAY = {"from": day("2026-03-09")}, {"from": day("2026-03-10")}

CASES: list[tuple[str, Callable[[], list[Change]], list[Verdict], dict[str, str]]] = [
    # story, changes, findings, first hold by entry
    # -- 23
    ("two rates of one level", lambda: [rate("R-2", "SA", 175), *work()], [AMBIGUOUS], {"E1": "H02"}),
    ("two rates of one value", lambda: [rate("R-2", "SA", 150), *work()], [], {}),
    ("two stated ranges that overlap", lambda: [
        rate("R-SA", "SA", 150, effective_to=day("2026-04-01")),
        rate("R-2", "SA", 175, effective_from=day("2026-02-01"), effective_to=day("2026-05-01")), *work()],
     [AMBIGUOUS], {"E1": "H02"}),
    ("a later rate replaces an open one", lambda: [rate("R-2", "SA", 175, effective_from=day("2026-02-01")), *work()],
     [], {}),
    ("the more specific rate wins", lambda: [rate("R-2", "SA", 175, worker_no="W1001"), *work()], [], {}),
    ("a lower level wins", lambda: [rate("R-2", "SA", 175, level=5, scope_key="C-ACME"), *work()], [], {}),
    ("two assignments with rates, no role", lambda: [
        *staffed("A1", 150), *staffed("A2", 175, role_code="SC"), *work(role_code=None)], [AMBIGUOUS], {"E1": "H02"}),
    ("two assignments, the role decides", lambda: [
        *staffed("A1", 150), *staffed("A2", 175, role_code="SC"), *work()], [], {}),
    ("two assignments, the entry names one", lambda: [
        *staffed("A1", 150), *staffed("A2", 175, role_code="SC"), *work(role_code=None, assignment_id="A1")], [], {}),
    ("two assignments, one on other days", lambda: [
        *staffed("A1", 150), *staffed("A2", 175, **{"from": day("2026-03-16")}), *work(role_code=None)], [], {}),
    ("not approved yet", lambda: [rate("R-2", "SA", 175), entry("TIME", "E1", AT, state="SUBMITTED")], [], {}),
    # -- 30
    ("after the last day", lambda: work(work_date=day("2026-03-30")), [OUTSIDE], {"E1": "H05"}),
    ("on the last day", lambda: work(work_date=day("2026-03-27")), [], {}),
    ("before the first day", lambda: work(work_date=day("2026-03-01")), [OUTSIDE], {"E1": "H05"}),
    ("travel a day after", lambda: work(work_date=day("2026-03-29"), time_type="TRAVEL"), [], {}),
    ("travel three days after", lambda: work(work_date=day("2026-03-30"), time_type="TRAVEL"), [OUTSIDE],
     {"E1": "H05"}),
    ("a second assignment holds the day", lambda: [
        assignment("PSA", "A9", "2026-01-02", **{"from": day("2026-03-28"), "to": day("2026-04-04")}),
        *work(work_date=day("2026-03-30"))], [], {}),
    ("everybody may log time", lambda: [*project("FREE"), *staffed("A9", None, project_code="FREE", **START),
                                        *work(project_code="FREE", work_date=day("2026-03-02"))], [], {}),
    ("nobody assigned is check 29's", lambda: work(worker_no="W9", work_date=day("2026-03-30")), [], {}),
    ("more than planned", lambda: [*staffed("A1", None, **TODAY), *work(qty_s=36_000)],
     [EXCESS], {"E1": "H05"}),
    ("a tenth more than planned", lambda: [*staffed("A1", None, **TODAY), *work(qty_s=29_700)], [], {}),
    ("planned before it was worked", lambda: work(qty_s=43_200), [], {}),
    ("the last entries are beyond the plan", lambda: [
        *staffed("A1", None, **START), *work("E1", work_date=day("2026-03-09"), qty_s=36_000),
        *work("E2", work_date=day("2026-03-10"), qty_s=27_000)], [EXCESS], {"E2": "H05"}),
    ("submitted time is not logged yet", lambda: [
        *staffed("A1", None, **TODAY), entry("TIME", "E1", AT, qty_s=36_000, state="SUBMITTED")], [], {}),
    # -- 31 KEY
    ("the same work twice", lambda: [*work("E1"), *work("E2", LATER)], [KEY], {"E2": "H17"}),
    ("the same work three times", lambda: [item for number in ("E1", "E2", "E3")
                                           for item in work(number, AT if number == "E1" else LATER, qty_s=14_400)],
     [KEY._replace(key=key, seconds=14_400, minor=-60_000) for key in ("TIME:E2", "TIME:E3")],
     {"E2": "H17", "E3": "H17"}),
    ("the same work twice, and only the PSA has told of it", lambda: [
        entry("PSA", "E1", AT), entry("PSA", "E2", LATER)], [KEY], {"E1": "H22", "E2": "H17"}),
    ("another note", lambda: [*work("E1", note_hash="a"), *work("E2", LATER, note_hash="b")], [], {}),
    ("another task", lambda: [*work("E1", wbs_code="1"), *work("E2", LATER, wbs_code="2")], [], {}),
    ("another quantity", lambda: [*work("E1", qty_s=10_800), *work("E2", LATER, qty_s=10_860)], [], {}),
    ("another type", lambda: [*work("E1", qty_s=3_600), *work("E2", LATER, qty_s=3_600, time_type="TRAVEL")], [], {}),
    ("another day", lambda: [*work("E1"), *work("E2", LATER, work_date=day("2026-03-11"))], [], {}),
    ("another worker", lambda: [*staffed("A2", None, worker_no="W1003"), *work("E1"),
                                *work("E2", LATER, worker_no="W1003")], [], {}),
    ("one is unbillable", lambda: [*work("E1"), *work("E2", LATER, billable=False)], [], {}),
    ("nothing of one is billable", lambda: [*work("E1"), *work("E2", LATER),
                                            entry("PSA", "E2", LATER, billable_s=0)], [], {}),
    ("one was rejected", lambda: [*work("E1"), entry("TIME", "E2", LATER, state="REJECTED")], [], {}),
    ("one was entered 36 days before", lambda: [*work("E1", "2026-02-02T10:00:00Z"), *work("E2", LATER)], [], {}),
    # -- 31 OVERLAP: the later one is held, whatever project it is on; lost is the whole smaller one
    ("two projects at the same time", lambda: [*project("FREE"), *timed("E1", "09:00", "16:30"),
                                               *timed("E2", "16:00", "18:00", project_code="FREE")],
     [OVERLAP], {"E2": "H17"}),
    ("the later one is the larger", lambda: [*project("FREE"), *timed("E1", "16:00", "18:00", project_code="FREE"),
                                             *timed("E2", "09:00", "16:30")], [OVERLAP], {"E2": "H17"}),
    ("one begins when the other ends", lambda: [*project("FREE"), *timed("E1", "09:00", "16:30"),
                                                *timed("E2", "16:30", "18:00", project_code="FREE")], [], {}),
    ("a night over midnight", lambda: [*project("FREE"), *timed("E1", "09:00", "16:30"),
                                       *timed("E2", "00:30", "02:30", project_code="FREE", work_date=day("2026-03-11")),
                                       *timed("E3", "22:00", "25:00")],
     [OVERLAP._replace(key="TIME:E3", opened="2026-03-10T14:03:00Z")], {"E3": "H17"}),
    ("two workers at the same time", lambda: [*staffed("A2", None, worker_no="W1003"), *timed("E1", "09:00", "16:30"),
                                              *timed("E2", "16:00", "18:00", worker_no="W1003")], [], {}),
    ("the same work at the same time", lambda: [*timed("E1", "09:00", "16:30"), *timed("E2", "09:00", "16:30", LATER)],
     [KEY], {"E2": "H17"}),
    # -- 31 DAY_LIMIT
    ("seventeen hours", lambda: [*project("FREE"), *work("E1"), *work("E2", LATER, qty_s=34_200, project_code="FREE")],
     [LIMIT], {"E2": "H17"}),
    ("sixteen hours", lambda: [*project("FREE"), *work("E1"), *work("E2", LATER, qty_s=30_600, project_code="FREE")],
     [], {}),
    ("seventeen hours, of which ten are unbillable", lambda: [
        *project("FREE"), *work("E1"), *work("E2", LATER, qty_s=34_200, project_code="FREE", billable=False)], [], {}),
    ("more than the day has", lambda: [*project("FREE"), *work("E1", qty_s=27_000),
                                       *work("E2", LATER, qty_s=61_200, project_code="FREE")],
     [LIMIT._replace(seconds=30_600, minor=-85_000, severity="CRITICAL")], {"E2": "H17"}),
    ("23.5 h on a day of 23", lambda: [*project("FREE"), *work("E1", qty_s=27_000, project_code="FREE", **SPRING),
                                       *work("E2", LATER, qty_s=57_600, project_code="FREE", **SPRING)],
     [LIMIT._replace(key="W1001|2026-03-29", seconds=27_000, minor=-75_000, severity="CRITICAL")], {}),
    ("24.5 h on a day of 25", lambda: [*project("FREE"), *work("E1", qty_s=27_000, project_code="FREE", **AUTUMN),
                                       *work("E2", LATER, qty_s=61_200, project_code="FREE", **AUTUMN)],
     [LIMIT._replace(key="W1001|2026-10-25", seconds=30_600, minor=-85_000)], {}),
    # -- 36
    ("covered twice", lambda: [*work(), *invoice("I1", FIRST, covers={"E1": 27_000}),
                               *invoice("I2", SECOND, covers={"E1": 27_000})], [TWICE], {}),
    ("covered twice by one key", lambda: [
        *work(), *invoice("I1", FIRST, covers={"E1": 27_000}, idempotency_key="k"),
        *invoice("I2", SECOND, covers={"E1": 27_000}, idempotency_key="k")], [TWICE], {}),
    ("a part is covered twice", lambda: [
        *work(), *invoice("I1", FIRST, covers={"E1": 27_000}), *invoice("I2", SECOND, covers={"E1": 3_600})],
     [TWICE._replace(seconds=3_600, minor=-18_000)], {}),
    ("in two parts", lambda: [*work(), *invoice("I1", FIRST, covers={"E1": 13_500}),
                              *invoice("I2", SECOND, covers={"E1": 13_500})], [], {}),
    ("one invoice bills too much", lambda: [*work(), *invoice("I1", FIRST, covers={"E1": 36_000})], [], {}),
    ("a draft on top", lambda: [*work(), *invoice("I1", FIRST, covers={"E1": 27_000}),
                                *invoice("I2", SECOND, "DRAFT", covers={"E1": 27_000})],
     [TWICE._replace(severity="MEDIUM")], {}),
    ("a void one", lambda: [*work(), *invoice("I1", FIRST, "VOID", covers={"E1": 27_000}),
                            *invoice("I2", SECOND, covers={"E1": 27_000})], [], {}),
    ("credited and billed anew", lambda: [
        *work(), *invoice("I1", FIRST, covers={"E1": 27_000}),
        *invoice("C1", FIRST, covers={"E1": 27_000}, type="CREDIT_NOTE", corrects_invoice="I1"),
        *invoice("I2", SECOND, covers={"E1": 27_000})], [], {}),
    ("one idempotency key, nothing known of coverage", lambda: [
        *invoice("I1", FIRST, idempotency_key="k"),
        *invoice("I2", SECOND, net=99_000, tax=19_800, idempotency_key="k")],
     [SAID._replace(facet="IDEMPOTENCY_KEY", minor=-118_800)], {}),
    ("other keys, other amounts", lambda: [
        *invoice("I1", FIRST, idempotency_key="k"), *invoice("I2", SECOND, net=99_000, idempotency_key="l")], [], {}),
    ("the same customer, cycle, amount and lines", lambda: [*invoice("I1", FIRST), *invoice("I2", SECOND)], [SAID], {}),
    ("the same, and one is covered", lambda: [*work(), *invoice("I1", FIRST, covers={"E1": 27_000}),
                                              *invoice("I2", SECOND)], [SAID], {}),
    ("the same, and both cover other work", lambda: [
        *work(), *work("E2", work_date=day("2026-03-09")), *invoice("I1", FIRST, covers={"E1": 27_000}),
        *invoice("I2", SECOND, covers={"E2": 27_000})], [], {}),
    ("another cycle", lambda: [*invoice("I1", FIRST), *invoice("I2", SECOND)[1:], change(
        "ERP", "invoice", SECOND, le_code="UK01", invoice_no="I2", type="INVOICE", customer_no="C-ACME", state="POSTED",
        billing_cycle_id="2026-04", net=[112_500, "GBP"])], [], {}),
    ("another line", lambda: [*invoice("I1", FIRST), *invoice("I2", SECOND), change(
        "ERP", "invoice_line", SECOND, le_code="UK01", invoice_no="I2", line_no=2, net=[0, "GBP"])], [], {}),
    ("a credit note of the same amount", lambda: [
        *invoice("I1", FIRST), *invoice("C1", SECOND, type="CREDIT_NOTE")], [], {}),
]


@pytest.mark.parametrize(("story", "expected", "holds"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_one_doubt_gives_one_finding(story: Callable[[], list[Change]], expected: list[Verdict],
                                     holds: dict[str, str]) -> None:
    it = Firm().take(*fixture()).take(*story()).until(END)
    found = it.findings(*CHECKED)
    assert [Verdict(row["code"], row["facet"], row["business_key"], row["impact_s"], row["impact_minor"],
                    row["severity"], _text(row["opened_at"])) for row in found] == expected
    rows = it.now(Output.TIME_ENTRY_STATE).values()
    assert {row["entry_key"][5:]: row["top_hold"] for row in rows if row["entry_key"][5:] in holds} == holds
    assert all(row["state"] == "HELD" for row in rows if row["entry_key"][5:] in holds)
    assert all(row["status"] == "OPEN" and "." in row["queue"] and row["explanation"].endswith(".") for row in found)


def test_time_to_bill_stays_with_the_project_that_was_billed() -> None:
    """Only a credit takes the sample back: what was billed before the entry was re-coded has been billed."""
    it = Firm().take(*fixture()).take(*project("FREE"), *work(), *invoice("I1", FIRST, covers={"E1": 27_000}))
    it.take(*(entry(system, "E1", SECOND, project_code="FREE") for system in ("TIME", "PSA"))).until(END)
    left = it.entry("E1")
    assert (left["billed_s"], left["approved_s"], left["invoiced_at"]) == (27_000, 0, us(FIRST))
    assert left["worked_at"] is not None
    assert it.entry("E1", "FREE")["invoiced_at"] is None
    assert it.kpi("time_to_bill") != 0


def test_an_invoice_that_the_psa_posted_has_an_instant_too() -> None:
    bills = [row._replace(source="PSA/one") for row in invoice("I1", FIRST, covers={"E1": 27_000})]
    it = Firm().take(*fixture()).take(*work(), *bills).until(END)
    assert it.entry("E1")["invoiced_at"] == us(FIRST)


def _text(instant: int) -> str:
    from tieout.reconcilers.timeline import instant_text

    return instant_text(instant)


CURES: list[tuple[str, Callable[[], list[Change]], Callable[[], list[Change]], str]] = [
    # story, what is wrong, what cures it, state of the last entry afterwards
    ("one rate is withdrawn", lambda: [rate("R-2", "SA", 175), *work("E2")],
     lambda: [rate("R-2", "SA", 175, HEALED, state="WITHDRAWN")], "READY"),
    ("the assignment is extended", lambda: work("E2", work_date=day("2026-03-30")),
     lambda: [assignment("SCHED", "A1", HEALED, to=day("2026-04-04"))], "READY"),
    ("more is planned", lambda: [*staffed("A1", None, **TODAY), *work("E2", qty_s=36_000)],
     lambda: [assignment(system, "A1", HEALED, **{"from": day("2026-03-05")}) for system in ("SCHED", "PSA", "ERP")],
     "READY"),
    ("the first of two is deleted", lambda: [*work("E1"), *work("E2", LATER)],
     lambda: [entry("TIME", "E1", HEALED, op=Op.DELETE), posted("E1", HEALED, op=Op.DELETE)], "READY"),
    ("the second of two is unbillable", lambda: [*work("E1"), *work("E2", LATER)],
     lambda: [entry("TIME", "E2", HEALED, billable=False)], "NON_BILLABLE"),
    ("the second invoice is credited", lambda: [
        *work("E2"), *invoice("I1", FIRST, covers={"E2": 27_000}), *invoice("I2", SECOND, covers={"E2": 27_000})],
     lambda: invoice("C2", HEALED, covers={"E2": 27_000}, type="CREDIT_NOTE", corrects_invoice="I2"), "INVOICED"),
    ("the second invoice is voided", lambda: [
        *work("E2"), *invoice("I1", FIRST, covers={"E2": 27_000}), *invoice("I2", SECOND, covers={"E2": 27_000})],
     lambda: invoice("I2", HEALED, "VOID"), "INVOICED"),
    ("it turns out what it covers", lambda: [*work("E2"), *invoice("I1", FIRST, covers={"E2": 13_500}),
                                             *invoice("I2", SECOND)],
     lambda: invoice("I2", HEALED, covers={"E2": 13_500}), "INVOICED"),
]


@pytest.mark.parametrize(("wrong", "cure", "state"), [case[1:] for case in CURES], ids=[case[0] for case in CURES])
def test_what_heals_it(wrong: Callable[[], list[Change]], cure: Callable[[], list[Change]], state: str) -> None:
    it = Firm().take(*fixture()).take(*wrong()).until("2026-03-12T08:00:00Z")
    assert [row["status"] for row in it.findings(*CHECKED)] == ["OPEN"]
    it.take(*cure()).until(END)
    [found] = it.findings(*CHECKED)
    assert (found["status"], found["resolved_at"]) == ("RESOLVED_AUTO", us(HEALED))
    assert it.entry("E2")["state"] == state
