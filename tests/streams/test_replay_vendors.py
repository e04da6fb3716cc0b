"""A firm as its products say it: Certinia's change events, NetSuite's and Workday's rows, no canonical event of theirs.

Week of 9 March 2026: five days of 7.5 h on one timecard, approved on Friday. NetSuite has their labour and an invoice
over Monday and Tuesday. Thursday is set to nought after approval.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from ingest_records import instant
from typer.testing import CliRunner

from tieout.streams.cli.replay import app

CONFIG = """
[sources.psa]
system = "PSA"
instance = "certinia"
topic = "psa"
format = "salesforce-cdc"
mapping = "certinia"
[sources.erp]
system = "ERP"
instance = "netsuite"
topic = "ns"
format = "cloudevents"
mapping = "netsuite"
[sources.masters]
system = "ERP"
instance = "masters"
topic = "masters"
[sources.hcm]
system = "HCM"
instance = "workday"
topic = "hcm"
format = "cloudevents"
mapping = "workday"
"""
MONDAY_MS = 1_773_043_200_000  # 2026-03-09T08:00:00Z
DAY_MS = 86_400_000
HEADER, PROJECT, CONTACT = "a1B5f000000AbCdEAK", "a0P5f000000AbCdEAK", "0035f000000AbCdEAK"
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
HOURS = [f"pse__{day}_Hours__c" for day in WEEKDAYS]
CARD = {"pse__Project__c": PROJECT, "pse__Resource__c": CONTACT, "pse__Start_Date__c": "2026-03-09",
        "pse__Billable__c": True, "pse__Status__c": "Submitted", "pse__Resource_Role__c": "SA",
        **dict(zip(HOURS, [7.5, 7.5, 7.5, 7.5, 7.5, 0, 0], strict=True))}
Line = dict[str, Any]


def line(topic: str, at_ms: int, payload: Any) -> Line:
    return {"topic": topic, "ts": at_ms, "payload": payload}


def salesforce(day: float, table: str, change: str, record: str, fields: dict[str, Any], *changed: str) -> Line:
    """A change event of Certinia's, so many days after Monday morning."""
    at_ms = MONDAY_MS + round(day * DAY_MS)
    header = {"entityName": table, "recordIds": [record], "changeType": change, "commitTimestamp": at_ms,
              "commitNumber": at_ms, "sequenceNumber": 1, "transactionKey": "t", "changedFields": list(changed)}
    return line("psa", at_ms, {"ChangeEventHeader": header, **fields})


def polled(topic: str, day: float, kind: str, subject: str, data: dict[str, Any]) -> Line:
    """A row of a poll."""
    at_ms = MONDAY_MS + round(day * DAY_MS)
    source = "ERP/masters" if topic == "masters" else topic
    return line(topic, at_ms, {"specversion": "1.0", "id": f"{kind}:{subject}:{at_ms}", "source": source, "type": kind,
                               "subject": subject, "time": instant(at_ms), "sequence": f"{at_ms:015d}", "data": data})


def master(what: str, subject: str, /, **data: Any) -> Line:
    return polled("masters", 0, f"tieout.{what}.upserted", subject, data)


def time_bill(number: int) -> Line:
    return polled("ns", 5, "ns.timebill.upserted", f"timebill/{number}", {
        "id": str(number), "externalid": f"certinia:{HEADER}:2026-03-{8 + number:02d}", "employee": "W1001",
        "job": "ACME-24017", "trandate": f"2026-03-{8 + number:02d}", "hours": "7:30", "subsidiary": "UK01",
        "currency": "GBP", "rate": "150.00", "postingperiod": "Mar 2026", "posted": True})


FIRM = [
    master("legal_entity", "UK01", le_code="UK01", base_ccy="GBP", tz="UTC", region="EMEA"),
    master("project", "ACME-24017", project_code="ACME-24017", le_code="UK01", ccy="GBP", billable=True,
           contract_no="C", project_type="EXTERNAL", state="OPEN", allow_time_without_assignment=True),
    master("contract_line", "C:1", contract_no="C", line_no=1, method="TM", ccy="GBP", le_code="UK01",
           rate_basis="TRANSACTION_DATE", **{"from": "2026-01-01"}),
    master("rate", "R", rate_id="R", kind="BILL", level=4, scope_key="ACME-24017", role_code="SA",
           rate={"rate_e6": 150_000_000, "ccy": "GBP", "unit": "HOUR"}, effective_from="2026-01-01", state="PUBLISHED",
           published_at=instant(MONDAY_MS)),
    polled("hcm", 0, "hcm.worker.changed", "worker/W1001", {
        "Employee_ID": "W1001", "Worker_Status": {"Active": True, "On_Leave": False},
        "Transaction_Log": [{"Entry_Moment": instant(MONDAY_MS), "Effective_Moment": "2026-03-01",
                             "Is_Rescind": False}]}),
    # the timecard comes before the project and the person that it names
    salesforce(3.9, "pse__Timecard_Header__c", "CREATE", HEADER, CARD),
    salesforce(0, "pse__Proj__c", "CREATE", PROJECT, {
        "pse__Project_ID__c": "ACME-24017", "pse__Stage__c": "In Progress"}),
    salesforce(0, "Contact", "CREATE", CONTACT, {"Employee_Number__c": "W1001", "pse__Is_Resource__c": True}),
    salesforce(4, "pse__Timecard_Header__c", "UPDATE", HEADER, {"pse__Status__c": "Approved"}, "pse__Status__c"),
    *(time_bill(number) for number in (1, 2, 3)),
    polled("ns", 6, "ns.invoice.upserted", "invoice/90211", {
        "id": "90211", "tranid": "INV-310", "entity": "C-ACME", "job": "ACME-24017", "subsidiary": "UK01",
        "currency": "GBP", "trandate": "2026-03-15", "postingperiod": "Mar 2026", "status": "open",
        "approvalstatus": "2", "item": [{"line": 1, "quantity": "15", "rate": "150.00", "amount": "2250.00"}],
        "time": [{"doc": "1", "apply": True, "hours": "7:30", "amount": "1125.00"},
                 {"doc": "2", "apply": True, "hours": "7:30", "amount": "1125.00"}]}),
    salesforce(6, "pse__Timecard__c", "UPDATE", "a1S", {
        **{name: CARD[name] for name in ("pse__Start_Date__c", *HOURS)}, HOURS[2]: 0, HOURS[3]: 0, HOURS[4]: 0,
        "pse__Timecard_Header__c": HEADER, "pse__Billed__c": True}, "pse__Billed__c"),
    salesforce(7, "pse__Timecard_Header__c", "UPDATE", HEADER, {**CARD, "pse__Status__c": "Approved", HOURS[3]: 0},
               HOURS[3]),
    # nobody needs to know
    salesforce(7, "pse__Proj__c", "UPDATE", PROJECT, {"pse__Billable_Internal_Hours__c": 30},
               "pse__Billable_Internal_Hours__c"),
    *(polled(topic, 8, "tieout.source.observed", "", {"through": instant(MONDAY_MS + 8 * DAY_MS)}) for topic in
      ("ns", "masters", "hcm")),
]


WEEK = [
    # day  status      approved  billed  unbilled  rate         value    worker
    ("09", "APPROVED", 27_000,   27_000, 0,        150_000_000, 0,       "W1001"),
    ("10", "APPROVED", 27_000,   27_000, 0,        150_000_000, 0,       "W1001"),
    ("11", "APPROVED", 27_000,   0,      27_000,   150_000_000, 112_500, "W1001"),
    ("12", "DELETED",  0,        0,      0,        150_000_000, 0,       "W1001"),
    ("13", "APPROVED", 27_000,   0,      27_000,   150_000_000, 112_500, "W1001"),
]  # fmt: skip


@pytest.mark.parametrize("options", [(), ("--shuffle", "3"), ("--duplicate", "0.5"), ("--partitions", "3")])
def test_a_week_of_a_firm(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "tieout.toml").write_text(CONFIG)
    (tmp_path / "capture.jsonl").write_text("".join(json.dumps(each) + "\n" for each in FIRM))
    database = tmp_path / "firm.duckdb"
    result = CliRunner().invoke(app, [str(tmp_path / "capture.jsonl"), "--db", str(database), "--assume-fresh",
                                      "--config", str(tmp_path / "tieout.toml"),
                                      "--until", instant(MONDAY_MS + 9 * DAY_MS), *options])
    assert result.exit_code == 0, result.output
    with duckdb.connect(str(database), read_only=True) as connection:
        entries = connection.execute("""
            SELECT right(entry_key, 2), status, approved_s, billed_s, unbilled_s, rate_e6, unbilled_minor, worker_no
            FROM v1.time_entry ORDER BY 1""").fetchall()
        dead = connection.execute("SELECT count(*) FROM v1.dead_letter").fetchone()
        filtered = connection.execute("SELECT sum(filtered) FROM v1.source WHERE system = 'PSA'").fetchone()
    assert entries == WEEK
    assert dead == (0,)
    assert filtered is not None
    assert filtered[0] >= 1
