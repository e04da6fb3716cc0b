"""S26: one entry of 8 h has four actuals in Dataverse, and none of them is work that was done twice.

::

    cost            +8 h                      the labour of the ledger
    unbilled sales  +8 h  invoice posted      stays when the invoice is confirmed
    its reversal    -8 h  never synchronised  Finance flips a status instead
    billed sales    +8 h

The naive sum of sales is 8 h here and 16 h in Finance; open by status is nothing in both.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from scenarios.dsl import ERP, HCM, SCHED, Capture, P, fixture, instant_us
from typer.testing import CliRunner

from tieout.codecs.formats import codec
from tieout.codecs.records import RawRecord
from tieout.streams.cli.replay import app

PROJECT, WORKER, ENTRY = (f"2f4ad1b0-0000-4000-8000-00000000{number:04d}" for number in (317, 1001, 8121))
CODE = 192_350_000  # the first of the product's option values
SECTION = """
[sources.{name}]
system = "{system}"
instance = "{instance}"
topic = "{topic}"
"""
DATAVERSE = 'format = "dataverse"\nmapping = "d365"\n'
CONFIG = "".join(SECTION.format(name=source.partition("/")[0].lower(), system=source.partition("/")[0],
                                instance=source.partition("/")[2], topic=source.lower().replace("/", "."))
                 for source in (ERP, HCM, SCHED)) + (
    SECTION.format(name="d365", system="PSA", instance="d365", topic="d365") + DATAVERSE
    + SECTION.format(name="actuals", system="ERP", instance="d365", topic="d365.actuals") + DATAVERSE
    + 'entity = "posted_labour"\n')
ACTUALS = [  # option value of the type, hours, and of billing status and adjustment status
    ("COST", 0, 8, None, None), ("UNBILLED_SALES", 5, 8, 2, 2), ("UNBILLED_SALES", 5, -8, 2, 2),
    ("BILLED_SALES", 6, 8, 2, None),
]


def option(number: int | None) -> Any:
    return None if number is None else {"Value": CODE + number}


def reference(record: str, name: str | None = None) -> Any:
    return {"Id": record, "LogicalName": "any", "Name": name}


def message(table: str, record: str, at: str, version: int, row: dict[str, Any]) -> str:
    """A row that was created, with its post image; versions go up with every write of the database."""
    entity = {"LogicalName": table, "Id": record}
    image = [{"key": name, "value": value} for name, value in {**row, "versionnumber": version}.items()]
    return json.dumps({
        "MessageName": "Create", "PrimaryEntityName": table, "PrimaryEntityId": record,
        "OperationCreatedOn": f"/Date({instant_us(at) // 1_000})/",
        "InputParameters": [{"key": "Target", "value": {**entity, "Attributes": []}}],
        "PostEntityImages": [{"key": "full", "value": {**entity, "Attributes": image}}]})


def actual(number: int) -> str:
    """The id of an actual."""
    return f"ac700000-0000-4000-8000-00000000000{number}"


def messages() -> list[tuple[str, str, str]]:
    """Topic, instant and message: masters and entry of the PSA, then the actuals, each with its origin."""
    noon = f"/Date({instant_us('2026-03-10T12:00:00Z') // 1_000})/"
    said = [("d365", "2026-01-02T08:00:00Z", "msdyn_project", PROJECT, {"msdyn_projectnumber": P}),
            ("d365", "2026-01-02T08:00:00Z", "bookableresource", WORKER, {"msdyn_employeenumber": "W1001"}),
            ("d365", "2026-03-10T18:00:00Z", "msdyn_timeentry", ENTRY, {
                "msdyn_bookableresource": reference(WORKER), "msdyn_project": reference(PROJECT), "msdyn_date": noon,
                "msdyn_duration": 480, "msdyn_type": option(0), "msdyn_entrystatus": option(2),
                "msdyn_resourcecategory": reference(WORKER, "SA")})]
    for number, (_, kind, hours, billing, adjustment) in enumerate(ACTUALS, start=1):
        said.append(("d365.actuals", "2026-03-11T09:00:00Z", "msdyn_actual", actual(number), {
            "msdyn_transactionclassification": option(0), "msdyn_transactiontypecode": option(kind),
            "msdyn_project": reference(PROJECT), "msdyn_bookableresource": reference(WORKER),
            "msdyn_contractorganizationalunitid": reference(PROJECT, "UK01"), "msdyn_documentdate": noon,
            "msdyn_accountingdate": noon, "msdyn_quantity": hours, "msdyn_billingstatus": option(billing),
            "msdyn_adjustmentstatus": option(adjustment)}))
        said.append(("d365.actuals", "2026-03-11T09:00:01Z", "msdyn_transactionorigin", f"0{actual(number)[1:]}", {
            "msdyn_origin": ENTRY, "msdyn_origintype": "msdyn_timeentry", "msdyn_transaction": actual(number),
            "msdyn_transactiontype": "msdyn_actual"}))
    return [(topic, at, message(table, record, at, version, row))
            for version, (topic, at, table, record, row) in enumerate(said, start=88_211_900)]


def firm() -> list[dict[str, Any]]:
    """The lines of the capture: masters of the fixture, Dataverse for what the PSA and the time system say."""
    masters: Capture = fixture()
    masters.lines = [line for line in masters.lines if line[1]["source"] in (ERP, HCM, SCHED)]
    dataverse = [{"topic": topic, "ts": instant_us(at) // 1_000, "payload": text} for topic, at, text in messages()]
    return sorted([*masters.rows(), *dataverse], key=lambda line: line["ts"])


@pytest.mark.parametrize("options", [(), ("--shuffle", "3"), ("--duplicate", "0.5"), ("--partitions", "3")],
                         ids=lambda options: "-".join(options) or "captured")
def test_four_actuals_are_eight_hours(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "tieout.toml").write_text(CONFIG)
    (tmp_path / "capture.jsonl").write_text("".join(json.dumps(line) + "\n" for line in firm()))
    result = CliRunner().invoke(app, [
        str(tmp_path / "capture.jsonl"), "--db", str(tmp_path / "t.duckdb"), "--config", str(tmp_path / "tieout.toml"),
        "--assume-fresh", "--until", "2026-03-16T18:00:00Z", *options])
    assert result.exit_code == 0, result.output
    with duckdb.connect(str(tmp_path / "t.duckdb"), read_only=True) as store:
        assert store.execute("""
            SELECT entry_key, state, approved_s, unbilled_s, unbilled_minor FROM v1.time_entry""").fetchall() == [
                (f"PSA:{ENTRY}", "READY", 28_800, 28_800, 120_000)]
        assert store.execute("""
            SELECT code, facet FROM v1.finding WHERE business_key LIKE '%8121%'""").fetchall() == []
        assert store.execute("SELECT count(*) FROM v1.dead_letter").fetchall() == [(0,)]
        assert store.execute("SELECT count(*) FROM v1.parked").fetchall() == [(0,)]


def test_what_is_open_is_told_by_status_and_never_by_the_sum() -> None:
    reader = codec("dataverse", {"source": "PSA/d365", "mapping": "d365"})
    rows = [change.asserted for topic, _, text in messages() if topic == "d365.actuals"
            for change in reader.decode(RawRecord(topic, 0, 0, 0, None, text.encode())).changes
            if "txn_type" in change.asserted]
    assert [(row["txn_type"], row["qty_s"]) for row in rows] == [
        (kind, hours * 3_600) for kind, _, hours, _, _ in ACTUALS]
    sales = [row for row in rows if row["txn_type"] in ("UNBILLED_SALES", "BILLED_SALES")]
    assert sum(row["qty_s"] for row in sales) == 28_800, "the trap"
    assert sum(row["qty_s"] for row in sales if row["txn_type"] == "UNBILLED_SALES"
               and row["bill_status"] not in ("POSTED", "CANCELLED")) == 0
