"""A firm of fifty events: small enough that a run takes milliseconds, with all that can go wrong between roles."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import cache
from random import Random

from oracle.firm import LAG_S, SETUP, START, Firm
from oracle.firm_time import entry
from scenarios.dsl import ERP, PSA, SCHED, TIME, rate

from tieout.codecs.records import RawRecord

ENTRIES = 3
DAYS = 3
PROJECTS = ("PRJ-0", "PRJ-1")
SYSTEMS = (ERP, PSA, SCHED, TIME)


@cache
def capture(seed: int) -> tuple[RawRecord, ...]:
    """The raw records of a firm in the order in which they arrive when nothing is late."""
    firm = Firm(random=Random(seed), days=DAYS)
    firm.workers, firm.roles = ["W1", "W2"], {"W1": "SA", "W2": "SC"}
    _masters(firm)
    if firm.chance(0.4):
        _rekey(firm)
    for number in range(ENTRIES):
        entry(firm, f"{number}")
    if firm.chance(0.5):
        _overlap(firm)
    _watermarks(firm)
    if firm.chance(0.3):
        _object(firm)
    return tuple(_records(firm))


def _overlap(firm: Firm) -> None:
    """A worker is in two projects at the same time; later, perhaps, one of the entries is withdrawn."""
    day = START.date().isoformat()
    for number, project in enumerate(PROJECTS):
        at = START + timedelta(hours=30, minutes=number)
        row = {"origin_system": "TIME", "origin_id": f"X{number}"}
        begins = START + timedelta(hours=9 + number)
        firm.say(TIME, "time_entry", at, **row, worker_no="W1", project_code=project, work_date=day,
                 work_tz="Europe/London", start_at=f"{begins:%Y-%m-%dT%H:%M:%SZ}",
                 end_at=f"{begins + timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}", qty_s=7_200, quantum_s=60,
                 time_type="WORK", role_code="SA", billable=True, state="APPROVED")
    if firm.chance(0.5):
        firm.say(TIME, "time_entry", START + timedelta(hours=40), **row, billable=False)


def _masters(firm: Firm) -> None:
    firm.say(ERP, "legal_entity", SETUP, le_code="UK01", country="GB", base_ccy="GBP", tz="Europe/London",
             region="EMEA", state="ACTIVE")
    for code, worker in zip(PROJECTS, firm.workers, strict=True):
        firm.projects[code], firm.opened[code] = "UK01", SETUP
        firm.staffed.append((code, worker))
        for system in SYSTEMS:
            if firm.chance(0.9):
                firm.say(system, "project", SETUP, project_code=code, le_code="UK01", ccy="GBP", state="OPEN",
                         project_type="EXTERNAL", region="EMEA", start="2026-01-01", end="2027-01-01")
        if firm.chance(0.8):
            known = SETUP if firm.chance(0.7) else firm.later(START, 1, 90)  # else back-dated
            firm.say(ERP, "rate", known, rate_id=f"R-{code}", kind="BILL", level=4, scope_key=code,
                     role_code=firm.roles[worker], rate=rate(150, "GBP"), effective_from="2026-01-01",
                     state="PUBLISHED")
        if firm.chance(0.7):
            for system in (SCHED, PSA, ERP):
                known = SETUP if firm.chance(0.8) else firm.later(START, 1, 60)
                firm.say(system, "assignment", known, subject=f"A-{code}", worker_no=worker, project_code=code,
                         role_code=firm.roles[worker], from_="2026-03-02", to="2026-04-01", mode="PCT",
                         alloc_value=10_000, commit_="HARD", state="HARD", billable=True)


def _rekey(firm: Firm) -> None:
    code, new, at = PROJECTS[0], "NEW-0", firm.later(START, 1, 60)
    firm.renamed[code] = (at, new)
    firm.projects[new] = firm.projects[code]
    firm.say(ERP, "project", at, "rekeyed", subject=code, old=code, new=new)
    firm.say(ERP, "project", at, subject=code, project_code=new, le_code="UK01", ccy="GBP", state="OPEN",
             project_type="EXTERNAL", region="EMEA", start="2026-01-01", end="2027-01-01")


def _object(firm: Firm) -> None:
    """An object is emptied, or lost from sight, or lost and read again with what had changed last."""
    source, entity = firm.random.choice((
        (ERP, "posted_labour"), (PSA, "time_entry"), (ERP, "rate"), (SCHED, "assignment")))
    at = firm.later(START, 1, 90)
    lines = [event for _, event, _ in firm.lines if event["source"] == source and f".{entity}." in event["type"]]
    if firm.chance(0.3):
        firm.say(source, entity, at, "truncated", subject="*")
        return
    firm.say(source, entity, at, "gap", subject="*")
    if firm.chance(0.7):
        again = at + timedelta(hours=20)
        lines = [event for event in lines if event["time"] < again.isoformat()]  # it does not know what comes
        for event in lines[-firm.random.choice((1, 2, 9)):]:
            firm.say(source, entity, again, "snapshot", subject=event["subject"], **event["data"])
        firm.say(source, entity, at + timedelta(hours=21), "snapshot", subject="*")


def _watermarks(firm: Firm) -> None:
    last = START + timedelta(days=firm.random.choice((DAYS + 6, 30)))  # some are cut off in the middle of their life
    for source in SYSTEMS:
        for through in (START, START + timedelta(days=2), START + timedelta(days=4), last):
            at = through + timedelta(seconds=LAG_S[source])
            stamp, arrives = (instant.isoformat().replace("+00:00", "Z") for instant in (through, at))
            firm.put(source, "source", "observed", at=stamp, arrives=arrives, subject=source, through=stamp)


def _records(firm: Firm) -> list[RawRecord]:
    offsets: dict[str, int] = {}
    records = []
    for ts_ms, event, topic in sorted(firm.lines, key=lambda line: line[0]):
        offset = offsets.get(topic, 0)
        offsets[topic] = offset + 1
        if event["subject"] == "*":  # the whole object
            event = {**event, "subject": ""}
        key, value = str(event["subject"]).encode(), json.dumps(event).encode()
        records.append(RawRecord(topic, 0, offset, ts_ms, key, value))
    return records
