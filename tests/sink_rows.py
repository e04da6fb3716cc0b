"""Rows of the outputs for tests, complete and valid, with ints for dates and instants; say only what matters."""

from __future__ import annotations

import io
from typing import Any, Final

import fastavro

from tieout.reconcilers.outcomes import Outcome, Output
from tieout.schemas import avsc

NOW: Final = 1_773_140_400_000_000  # 2026-03-10T11:00:00Z
DAY: Final = 20_522  # 2026-03-10


def entry(number: int = 1, **said: Any) -> Outcome:
    """A READY entry of 7.5 h at 150.00 GBP/h."""
    row = {
        "entry_key": f"TIME:{number}", "project_code": "ACME-24017", "worker_no": "W1001", "account_no": "C-1",
        "le_code": "UK01", "region": "EMEA", "practice": "DATA", "billing_cycle_id": "2026-03", "work_date": DAY,
        "status": "APPROVED", "state": "READY", "approved_s": 27_000, "billed_s": 0, "unbilled_s": 27_000,
        "overbilled_s": 0, "written_off_s": 0, "proposed_s": 0, "ready_s": 27_000, "held_s": 0, "unpriced_s": 0,
        "rate_e6": 150_000_000, "rate_ref": "R-1", "rate_level": 4, "currency": "GBP", "unbilled_minor": 112_500,
        "ready_minor": 112_500, "held_minor": 0, "applied_minor": None, "billed_minor": 0,
        "adjustment_due_minor": 0, "top_hold": None, "holds": "", "updated_at": NOW, "version": 1,
        "worked_at": None, "submitted_at": None, "approved_at": None, "posted_at": None, "ready_at": None,
        "invoiced_at": None, "approval_business_s": None, **said,
    }
    return Outcome(Output.TIME_ENTRY_STATE, f"{row['entry_key']}|{row['project_code']}", row)


def finding(number: int = 1, **said: Any) -> Outcome:
    """An open finding on one entry."""
    row = {
        "finding_id": f"00000000-0000-5000-8000-{number:012}", "code": "TIME_LATE_TO_ERP", "check_no": "27",
        "facet": None, "entity": "time_entry", "business_key": f"TIME:{number}", "attribute": None,
        "systems": "TIME|ERP", "episode": 1, "occurrences": 1, "status": "OPEN", "severity": "HIGH",
        "queue": "finance.emea", "region": "EMEA", "le_code": "UK01", "practice": "DATA",
        "project_code": "ACME-24017", "billing_cycle_id": "2026-03", "impact_s": 27_000, "impact_minor": 112_500,
        "currency": "GBP", "estimated": False, "left_system": "TIME", "left_value": "7.50 h", "right_system": "ERP",
        "right_value": None, "owner_system": "TIME", "onset_at": NOW - 10**9, "deadline_at": NOW - 10**8,
        "opened_at": NOW - 10**8, "resolved_at": None, "resolution": None, "entries_count": 1,
        "entries": f"TIME:{number}", "explanation": "TIME has 7.50 h, ERP has nothing.", "rule_version": "1",
        "updated_at": NOW, **said,
    }
    return Outcome(Output.FINDING_STATE, str(row["finding_id"]), row)


def finding_event(number: int = 1, step: str = "OPENED", **said: Any) -> Outcome:
    """A step of `finding(number)`; its record's key is the finding, as that of all its steps."""
    row = {
        "event_id": f"E-{number}-{step}", "finding_id": f"00000000-0000-5000-8000-{number:012}",
        "code": "TIME_LATE_TO_ERP", "facet": None, "business_key": f"TIME:{number}", "episode": 1, "step": step,
        "status": "OPEN", "at": NOW, "actor": "tieout", "reason": None, "impact_s": 27_000, "impact_minor": 112_500,
        "currency": "GBP", "queue": "finance.emea", **said,
    }
    return Outcome(Output.FINDING_EVENTS, str(row["finding_id"]), row)


def decision(number: int = 1, **said: Any) -> Outcome:
    """What may be done with `entry(number)`."""
    row = {
        "event_id": f"D-{number}", "entry_key": f"TIME:{number}", "project_code": "ACME-24017", "decision": "READY",
        "previous": None, "reasons": "", "unbilled_s": 27_000, "unbilled_minor": 112_500, "currency": "GBP",
        "at": NOW, **said,
    }
    return Outcome(Output.BILLING_DECISION, f"TIME:{number}", row)


def cell(numerator: int, **said: Any) -> Outcome:
    """A cell of unbilled_hours on partition 0."""
    row = {
        "kpi": "unbilled_hours", "measure": "VALUE", "axis": "project", "partition": 0, "le_code": None,
        "region": None, "practice": None, "project_code": None, "billing_cycle_id": None, "currency": None,
        "state": None, "hold_code": None, "work_date": None, "source": None, "object": None, "numerator": numerator,
        "denominator": None, "unit": "s", "as_of": NOW, "complete_through": None, **said,
    }
    moving = ("numerator", "denominator", "as_of", "complete_through")
    key = "|".join(str(value) for name, value in row.items() if name not in moving)
    return Outcome(Output.KPI_STATE, key, row)


def source(name: str = "TIME/kimai", **said: Any) -> Outcome:
    """A fresh source as a whole."""
    system, _, instance = name.partition("/")
    row = {
        "source": name, "system": system, "instance": instance, "object": "*", "watermark_at": NOW - 10**6,
        "last_event_at": NOW - 2 * 10**6, "state": "FRESH", "limit_s": 900, "received": 0, "parked": 0,
        "filtered": 0, "dead_lettered": 0, "as_of": NOW, **said,
    }
    return Outcome(Output.SOURCE_STATE, f"{name}|{row['object']}", row)


def gone(outcome: Outcome) -> Outcome:
    """The tombstone of a row."""
    return outcome._replace(row=None)


def encoded(outcome: Outcome) -> bytes | None:
    """The row as its topic has it: Avro in Confluent's wire format."""
    if outcome.row is None:
        return None
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, avsc(outcome.output.value), dict(outcome.row))
    return b"\0\0\0\0\1" + buffer.getvalue()
