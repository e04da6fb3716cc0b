"""`tieout mappings`: a person with one payload gets from nothing to a mapping that reads it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from brokers import ROOT

from tieout.codecs.mapping import shipped
from tieout.codecs.mapping_schema import schema
from tieout.streams.cli.exits import Exit
from tieout.streams.cli.main import main

GOLDEN = ROOT / "tests" / "codecs" / "golden"
MESSAGES = ROOT / "tests" / "codecs" / "messages"
ROW = {"TimesheetId": 12, "Employee": "W1", "ProjectNumber": "p 9", "Date": "2026-03-10", "Hours": 7.50,
       "Currency": "EUR", "Rate": 12.5, "Status": "Approved", "Cost Centre": "CC\n1"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `tieout mappings …`."""
    code = main(["mappings", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def sample(folder: Path, value: Any) -> str:
    """A payload in a file."""
    (folder / "sample.json").write_text(json.dumps(value))
    return "sample.json"


def vendor_samples() -> list[Any]:
    """One message of each vendor's each table that is applied or parked whole, by mapping."""
    found: dict[str, Any] = {}
    for line in (MESSAGES / "vendors.jsonl").read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        ops = {each["op"] for each in case.get("changes", ())}
        if ops == {"UPSERT"} and isinstance(case.get("value"), dict):
            name = f"{case['options']['mapping']}:{case['changes'][0]['entity']}"
            found.setdefault(name, pytest.param(case["value"], case["options"]["source"], id=name))
    return list(found.values())


def test_list_names_every_mapping(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "list", "-o", "json")
    rows = json.loads(out)["rows"]
    assert code == Exit.OK
    assert {row["mapping"] for row in rows} == set(shipped())
    assert {"mapping": "netsuite", "version": 1, "table": "ns.timebill", "entity": "posted_labour",
            "attributes": 12} in rows


def test_try_shows_the_canonical_result_and_what_is_not_read(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "try", "kimai", str(GOLDEN / "kimai_create.json"), "-o", "json")
    answer = json.loads(out)
    (record,) = answer["records"]
    (change,) = record["changes"]
    assert (code, answer["schema"], record["format"]) == (Exit.OK, "tieout.mappings.try/v1", "debezium-json")
    assert (change["key"], change["op"], change["asserted"]["work_date"]) == ("TIME:88121", "UPSERT", "2026-03-10")
    assert record["unmapped"] == {"activity_id": 54, "exported": 0, "hourly_rate": 150.0, "rate": 1125.0}


def test_try_prints_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "try", "kimai", str(GOLDEN / "kimai_create.json"))
    lines = [line.split() for line in out.splitlines()]
    assert ["1", "change", "time_entry", "UPSERT", "TIME:88121", "88121", "qty_s", "27000"] in lines
    assert ["1", "unmapped", "exported", "0"] in lines


def test_try_says_why_a_payload_is_refused(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "float.task.updated", "subject": "1",
             "time": "2026-03-02T11:15:00Z", "data": {"task_id": 1, "end_date": "2026-03-03", "hours": 8}}
    code, out, err = run(capsys, "try", "float", sample(here, event), "-o", "json")
    (record,) = json.loads(out)["records"]
    assert (code, record["reason"], record["changes"]) == (Exit.FAILED, "column_missing", [])
    assert "expected start_date and end_date" in err
    assert record["hint"]


def test_try_reads_captures(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    lines = [{"topic": "t", "key": json.dumps({"id": 88121}), "payload": (GOLDEN / name).read_text()}
             for name in ("kimai_create.json", "kimai_delete.json")]
    (here / "capture.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, out, _ = run(capsys, "try", "kimai", "capture.jsonl", "-o", "json")
    assert code == Exit.OK
    assert [each["op"] for record in json.loads(out)["records"] for each in record["changes"]] == ["UPSERT", "DELETE"]


@pytest.mark.parametrize(("words", "code", "message"), [
    (("try", "kimay", "sample.json"), Exit.CONFIGURATION, "did you mean 'kimai'"),
    (("try", "kimai", "sample.json", "--source", "KIMAI/x"), Exit.CONFIGURATION, "SYSTEM/instance"),
    (("try", "kimai", "sample.json", "--format", "debezium"), Exit.CONFIGURATION, "did you mean"),
    (("try", "kimai", "missing.json"), Exit.USAGE, "does not exist"),
    (("try", "kimai", "empty.json"), Exit.FAILED, "expected a payload"),
    (("new", "--from-sample", "sample.json", "--entity", "timesheet"), Exit.USAGE, "expected one of project"),
    (("new", "--from-sample", "sample.json"), Exit.FAILED, "found no column for"),
])
def test_mistakes_are_named(capsys: pytest.CaptureFixture[str], here: Path, words: tuple[str, ...], code: Exit,
                            message: str) -> None:
    (here / "empty.json").write_text("\n")
    sample(here, {"colour": "red"})
    found, _, err = run(capsys, *words)
    assert found == code
    assert message in " ".join(err.split())


def test_a_draft_of_a_bare_row_reads_it(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    code, _, err = run(capsys, "new", "--from-sample", sample(here, ROW), "--out", "mine.toml", "--name", "mine")
    assert (code, "tieout mappings try mine.toml sample.json" in err) == (Exit.OK, True)
    draft = (here / "mine.toml").read_text()
    assert "#   Cost Centre = CC 1" in draft
    assert tomllib.loads(draft)["name"] == "mine"
    _, out, _ = run(capsys, "try", "mine.toml", "sample.json", "-o", "json")
    (record,) = json.loads(out)["records"]
    (change,) = record["changes"]
    assert (change["entity"], change["key"]) == ("time_entry", "TIME:12")
    assert change["asserted"] == {
        "origin_system": "TIME", "origin_id": "12", "worker_no": "W1", "project_code": "P-9", "work_date": "2026-03-10",
        "qty_s": 27000, "state": "APPROVED",
        "source_rate": {"rate_e6": 12500000, "ccy": "EUR", "unit": "HOUR", "day_s": 28800}}
    assert record["unmapped"] == {"Cost Centre": "CC\n1"}


@pytest.mark.parametrize(("payload", "source"), vendor_samples())
def test_a_draft_of_a_vendors_message_reads_it(capsys: pytest.CaptureFixture[str], here: Path, payload: Any,
                                               source: str) -> None:
    """Whatever it guesses, it loads, reads the sample without an error and asserts something."""
    assert run(capsys, "new", "--from-sample", sample(here, payload), "--out", "draft.toml", "--source", source)[0] == 0
    code, out, err = run(capsys, "try", "draft.toml", "sample.json", "--source", source, "-o", "json")
    assert (code, err) == (Exit.OK, "")
    changes = [change for record in json.loads(out)["records"] for change in record["changes"]]
    assert changes
    assert all(change["asserted"] for change in changes)


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "schema")
    assert (code, json.loads(out)) == (Exit.OK, schema())
