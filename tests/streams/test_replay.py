"""`tieout replay`: captures in, an analyst store out, the same whatever the order, the partitions and the repeats."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest
from brokers import ROOT
from ingest_records import T0_MS, event, instant, observed
from typer.testing import CliRunner, Result

from tieout.streams.cli.replay import app

ERP, PSA, HCM, SCHED, TIME = "ERP/ax", "PSA/certinia", "HCM/workday", "SCHED/float", "TIME/kimai"
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
Row = dict[str, Any]
ENTRY = {"origin_system": "TIME", "origin_id": "E1", "worker_no": "W1", "project_code": "P", "work_date": "2026-03-02",
         "work_tz": "UTC", "qty_s": 27_000, "quantum_s": 60, "time_type": "WORK", "role_code": "SA", "billable": True,
         "state": "APPROVED"}
LABOUR = {"le_code": "UK", "erp_txn_id": "T1", "origin_ref": "TIME:E1", "project_code": "P", "worker_no": "W1",
          "work_date": "2026-03-02", "accounting_date": "2026-03-02", "txn_type": "COST", "qty_s": 27_000,
          "voucher": "V"}


class Capture:
    """Lines in the making: one topic a source."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def put(self, source: str, value: bytes | str, *, at_ms: int) -> Capture:
        topic = source.lower().replace("/", ".")
        offset = sum(row["topic"] == topic for row in self.rows)
        payload = value.decode() if isinstance(value, bytes) else value
        self.rows.append({"topic": topic, "partition": 0, "offset": offset, "ts": at_ms, "payload": payload})
        return self

    def change(self, source: str, kind: str, subject: str, after_ms: int = 0, /, **data: Any) -> Capture:
        at_ms = T0_MS + after_ms
        return self.put(source, event(kind, source, subject, data, at_ms=at_ms, sequence=f"{at_ms:015d}"), at_ms=at_ms)

    def observe(self, source: str, after_ms: int) -> Capture:
        return self.put(source, observed(source, T0_MS + after_ms), at_ms=T0_MS + after_ms)

    def write(self, path: Path) -> Path:
        path.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        return path


def firm() -> Capture:
    """A project with an approved entry in the time system and the PSA that the ERP has not posted yet."""
    capture = Capture()
    capture.change(ERP, "legal_entity.upserted", "UK", le_code="UK", base_ccy="GBP", tz="UTC", region="EMEA")
    for source in (ERP, PSA, SCHED, TIME):
        capture.change(source, "project.upserted", "P", project_code="P", le_code="UK", ccy="GBP", billable=True,
                       project_type="EXTERNAL", state="OPEN", allow_time_without_assignment=True, contract_no="C")
    capture.change(ERP, "contract_line.upserted", "C:1", contract_no="C", line_no=1, method="TM", ccy="GBP",
                   le_code="UK", rate_basis="TRANSACTION_DATE", **{"from": "2026-01-01"})
    capture.change(ERP, "rate.upserted", "R", rate_id="R", kind="BILL", level=4, scope_key="P", role_code="SA",
                   rate={"rate_e6": 150_000_000, "ccy": "GBP", "unit": "HOUR"}, effective_from="2026-01-01",
                   state="PUBLISHED", published_at=instant(T0_MS))
    capture.change(HCM, "resource.upserted", "W1", worker_no="W1", state="ACTIVE", tz="UTC")
    capture.change(TIME, "time_entry.upserted", "E1", HOUR_MS, **ENTRY)
    capture.change(PSA, "time_entry.upserted", "E1", HOUR_MS, **ENTRY)
    for source in (ERP, PSA, HCM, SCHED, TIME):
        capture.observe(source, HOUR_MS + HOUR_MS // 2)
    return capture


Run = Callable[..., Path]


@pytest.fixture
def replayed(tmp_path: Path) -> Run:
    """Replay captures with options and give the store's path back."""
    numbers = iter(range(1_000))

    def run(*captures: Path | Capture, **options: Any) -> Path:
        number = next(numbers)
        paths = [each.write(tmp_path / f"{number}-{at}.jsonl") if isinstance(each, Capture) else each
                 for at, each in enumerate(captures)]
        database = tmp_path / f"{number}.duckdb"
        result = invoke(*paths, db=database, **options)
        assert result.exit_code == 0, result.output
        return database

    return run


def invoke(*paths: Path, **options: Any) -> Result:
    arguments = [str(path) for path in paths]
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        arguments += [flag] if value is True else [part for each in _listed(value) for part in (flag, str(each))]
    return CliRunner().invoke(app, arguments)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple) else [value]


def query(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def result_of(database: Path) -> list[list[tuple[Any, ...]]]:
    """Entries, findings and KPIs, less detection instants and what is made of them."""
    return [query(database, sql) for sql in (
        "SELECT * EXCLUDE (updated_at) FROM v1.time_entry ORDER BY ALL",
        "SELECT code, facet, business_key, status, severity, impact_s, impact_minor, deadline_at FROM v1.finding "
        "ORDER BY ALL",
        "SELECT kpi, sum(numerator) FROM v1.kpi "
        "WHERE kpi IN ('unbilled_hours', 'unbilled_value') GROUP BY 1 ORDER BY 1",
    )]


# --- what comes out -------------------------------------------------------------------------------------------------


def test_hours_rate_and_state_come_out_exactly(replayed: Run) -> None:
    database = replayed(firm().change(ERP, "posted_labour.upserted", "T1", 3 * HOUR_MS, **LABOUR))
    assert query(database, "SELECT entry_key, approved_s, unbilled_s, unbilled_minor FROM v1.time_entry") == [
        ("TIME:E1", 27_000, 27_000, 112_500)]


def test_every_line_is_accounted_for(replayed: Run) -> None:
    """In = applied + duplicate + stale + parked + filtered + dead-lettered, for each source."""
    capture = firm()
    capture.put(ERP, "{broken", at_ms=T0_MS).put(ERP, "{}", at_ms=T0_MS)
    capture.change(ERP, "payment.upserted", "Y", payment_no="Y")
    capture.change(ERP, "coverage.upserted", "c", le_code="UK", invoice_no="I", line_no=1, target="TIME:unknown")
    database = replayed(capture, duplicate=1.0)
    rows = query(database, """
        SELECT source.system, received, applied + duplicates + stale + parked + filtered + dead_lettered
        FROM v1.source WHERE object = '*'""")
    assert rows
    assert all(received == accounted for _, received, accounted in rows), rows
    (erp,) = query(database, "SELECT parked, dead_lettered > 2, filtered > 0, duplicates > 0 FROM v1.source "
                             "WHERE system = 'ERP' AND object = '*'")
    assert erp == (1, True, True, True)


def test_dead_letters_and_parked_changes_can_be_queried(replayed: Run) -> None:
    capture = firm().put(ERP, "{broken", at_ms=T0_MS)
    capture.change(ERP, "coverage.upserted", "c", le_code="UK", invoice_no="I", line_no=1, target="TIME:unknown")
    database = replayed(capture)
    assert query(database, "SELECT topic, reason FROM v1.dead_letter") == [("erp.ax", "not_json")]
    assert query(database, 'SELECT "object", reference FROM v1.parked') == [
        ("coverage", "home|time_entry|TIME:unknown")]


# --- time -------------------------------------------------------------------------------------------------------------


LATE = "SELECT status FROM v1.finding WHERE code = 'TIME_LATE_TO_ERP' AND facet = 'STAGED'"
FAR = instant(T0_MS + 30 * 24 * HOUR_MS)


@pytest.mark.parametrize(("options", "expected"), [
    ({}, []),  # the grace is not over
    ({"until": FAR}, [("SUPPRESSED",)]),  # over, but nobody has seen that far: absence is not proved
    ({"until": FAR, "assume_fresh": True}, [("OPEN",)]),
    ({"until": FAR, "assume_fresh": True, "stale": "ERP"}, [("SUPPRESSED",)]),  # the ledger may still bring it
    ({"until": FAR, "assume_fresh": True, "stale": ("HCM", "CRM")}, [("OPEN",)]),  # of no importance here
])
def test_absence_is_proved_by_watermarks_that_until_and_assume_fresh_move(
    replayed: Run, options: dict[str, Any], expected: list[tuple[str]]
) -> None:
    assert query(replayed(firm(), **options), LATE) == expected


def test_a_detection_is_dated_by_the_statement_that_proved_it(replayed: Run) -> None:
    """All lines fit into one frame; still the finding opens when its last input was known to be complete."""
    capture = firm()
    for hours in (2, 3, 5, 8, 13, 21, 34, 55, 89, 144):
        for source in (ERP, PSA, HCM, SCHED, TIME):
            capture.observe(source, hours * HOUR_MS)
    (deadline, opened) = query(replayed(capture), """
        SELECT deadline_at, opened_at FROM v1.finding WHERE code = 'TIME_LATE_TO_ERP' AND facet = 'POSTED'""")[0]
    stated = [T0_MS + hours * HOUR_MS for hours in (2, 3, 5, 8, 13, 21, 34, 55, 89, 144)]
    first_past = next(at for at in stated if at >= _ms(deadline))
    assert _ms(opened) == first_past


def _ms(at: Any) -> int:
    from datetime import UTC

    milliseconds: int = round(at.replace(tzinfo=UTC).timestamp() * 1_000)
    return milliseconds


# --- order ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [
    {"shuffle": 1}, {"shuffle": 2}, {"shuffle": 3, "duplicate": 0.5}, {"duplicate": 1.0}, {"partitions": 4},
    {"partitions": 3, "shuffle": 4, "duplicate": 0.3},
])
def test_order_repeats_and_partitions_change_nothing(replayed: Run, options: dict[str, Any]) -> None:
    late = {"until": FAR, "assume_fresh": True}
    assert result_of(replayed(firm(), **late, **options)) == result_of(replayed(firm(), **late))


def test_files_are_merged_by_time_and_may_be_compressed(replayed: Run, tmp_path: Path) -> None:
    whole = firm()
    folder = tmp_path / "parts"
    folder.mkdir()
    for topic in {row["topic"] for row in whole.rows}:
        text = "".join(json.dumps(row) + "\n" for row in whole.rows if row["topic"] == topic)
        (folder / f"{topic}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    assert result_of(replayed(folder)) == result_of(replayed(whole))


# --- configuration, and what goes wrong -------------------------------------------------------------------------------


KIMAI = """
[sources.kimai]
system = "TIME"
instance = "kimai"
topic = "kimai.timesheet"
format = "debezium-json"
mapping = "ours"
[sources.projects]
system = "TIME"
instance = "kimai"
topic = "kimai.projects"
format = "debezium-json"
mapping = "kimai"
"""


def envelope(table: str, number: int, /, **after: Any) -> str:
    source = {"connector": "mysql", "name": "k", "ts_ms": T0_MS + number, "snapshot": "false", "db": "kimai",
              "table": table, "server_id": 1, "gtid": None, "file": "binlog.000001", "pos": number, "row": 0}
    return orjson.dumps({"before": None, "after": after, "source": source, "op": "c", "ts_ms": T0_MS}).decode()


def test_a_configured_source_is_read_with_its_mapping_and_its_references_resolve(replayed: Run, tmp_path: Path) -> None:
    """The entry comes before its project and worker: it waits, and is there in the end."""
    sheet = {"id": 88121, "user": 7, "project_id": 317, "start_time": 1_773_131_400_000, "end_time": 1_773_162_000_000,
             "date_tz": 20_522, "timezone": "Europe/London", "duration": 27_000, "break": 0, "billable": 1,
             "description": "x"}
    project = {"id": 317, "number": "ACME", "name": "Acme", "visible": 1, "billable": 1, "start": None, "end": None,
               "order_number": ""}
    rows = [("kimai.timesheet", {"id": 88121}, envelope("kimai2_timesheet", 1, **sheet)),
            ("kimai.projects", {"id": 317}, envelope("kimai2_projects", 2, **project)),
            ("kimai.projects", {"id": 7}, envelope("kimai2_users", 3, id=7, account="W1", enabled=1)),
            ("not.configured", None, "{}")]
    capture = tmp_path / "kimai.jsonl"
    capture.write_text("".join(json.dumps({"topic": topic, "partition": 0, "offset": n, "ts": T0_MS + n, "key": key,
                                           "payload": value}) + "\n" for n, (topic, key, value) in enumerate(rows)))
    config = tmp_path / "tieout.toml"
    config.write_text(KIMAI)
    (tmp_path / "ours.toml").write_text((ROOT / "codecs/mappings/kimai.toml").read_text())  # a file of the user's own
    database = replayed(capture, config=config)
    assert query(database, "SELECT entry_key, project_code, worker_no FROM v1.time_entry") == [
        ("TIME:88121", "ACME", "W1")]
    assert query(database, "SELECT count(*) FROM v1.parked") == [(0,)]


def test_the_summary_as_json_counts_what_happened(tmp_path: Path) -> None:
    capture = firm().put(ERP, "{broken", at_ms=T0_MS).write(tmp_path / "c.jsonl")
    result = invoke(capture, db=tmp_path / "o.duckdb", json=True)
    summary = json.loads(result.stdout)
    assert (summary["schema"], summary["lines"], summary["fates"]["dead_lettered"]) == ("tieout.replay/v1", 16, 1)
    assert summary["now"] == instant(T0_MS + HOUR_MS + HOUR_MS // 2)


def test_a_former_replay_is_replaced_but_no_other_file_is(tmp_path: Path) -> None:
    capture = firm().write(tmp_path / "c.jsonl")
    assert invoke(capture, db=tmp_path / "o.duckdb").exit_code == 0
    assert invoke(capture, db=tmp_path / "o.duckdb").exit_code == 0
    assert query(tmp_path / "o.duckdb", "SELECT count(*) FROM v1.time_entry") == [(1,)]
    foreign = tmp_path / "foreign.duckdb"
    with duckdb.connect(str(foreign)) as connection:
        connection.execute("CREATE TABLE precious AS SELECT 1")
    text = tmp_path / "notes.txt"
    text.write_text("precious")
    for precious in (foreign, text):
        before = precious.read_bytes()
        result = invoke(capture, db=precious)
        assert (result.exit_code, precious.read_bytes()) == (2, before)
        assert "name another file" in result.stderr


@pytest.mark.parametrize(("arguments", "code", "said"), [
    ({"until": "tomorrow"}, 2, "--until"),
    ({"stale": "SAP"}, 2, "--stale"),
    ({"duplicate": 2}, 2, "duplicate"),
])
def test_a_wrong_option_is_named(tmp_path: Path, arguments: dict[str, Any], code: int, said: str) -> None:
    result = invoke(firm().write(tmp_path / "c.jsonl"), db=tmp_path / "o.duckdb", **arguments)
    assert (result.exit_code, said in result.stderr) == (code, True), result.output


def test_a_broken_capture_is_named_with_its_line_and_leaves_nothing_behind(tmp_path: Path) -> None:
    capture = firm().write(tmp_path / "c.jsonl")
    with capture.open("a") as file:
        file.write("{cut off")
    result = invoke(capture, db=tmp_path / "o.duckdb")
    assert result.exit_code == 1
    assert "c.jsonl, line 16" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["c.jsonl"]


def test_a_wrong_configuration_ends_with_its_own_code(tmp_path: Path) -> None:
    config = tmp_path / "tieout.toml"
    config.write_text('[sources.x]\nsystem = "TIME"\ntopic = "t"\nformat = "debezium-json"\nmapping = "no-such"\n')
    result = invoke(firm().write(tmp_path / "c.jsonl"), db=tmp_path / "o.duckdb", config=config)
    assert result.exit_code == 3
    assert "no-such" in result.stderr
