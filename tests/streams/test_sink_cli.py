"""`tieout sql`, `kpi` and `findings` on a snapshot: values, formats, exit codes, and that they can do no harm."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from sink_rows import DAY, NOW, cell, entry, finding, finding_event, source
from typer.testing import CliRunner

from tieout.streams.cli import findings, kpi
from tieout.streams.cli.output import to_json
from tieout.streams.cli.sql import sql
from tieout.streams.sinks.catalogue import KPIS
from tieout.streams.sinks.reader import canned
from tieout.streams.sinks.store import Store


class Said(NamedTuple):
    """What a command printed and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output as JSON, numbers exact."""
        return json.loads(self.out, parse_float=Decimal)


Command = Callable[..., Said]
SQL = typer.Typer()
SQL.command("sql")(sql)
APPS = {"sql": SQL, "kpi": kpi.app, "findings": findings.app}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "store.duckdb"
    held = {"state": "HELD", "top_hold": "H22", "holds": "H22", "held_s": 27_000, "ready_s": 0, "held_minor": 112_500,
            "ready_minor": 0}
    hours = {"le_code": "UK01", "region": "EMEA", "practice": "DATA", "project_code": "ACME-24017",
             "billing_cycle_id": "2026-03"}
    with Store(path) as store:
        store.write([
            entry(1), entry(2, **held), entry(3, currency="JPY", unbilled_minor=90_000, ready_minor=90_000),
            finding(1, severity="LOW", impact_minor=5), finding(2, facet="AMOUNT", severity="CRITICAL"),
            finding(3, status="RESOLVED_AUTO", resolved_at=NOW, resolution="the systems agree again"),
            finding_event(2), finding_event(2, "ACKED", actor="anna", reason="looking at it"), source(),
            cell(54_000, state="READY", **hours), cell(27_000, state="HELD", **hours),
            cell(112_500, kpi="unbilled_value", unit="minor", currency="GBP", state="READY", **hours),
            cell(90_000, kpi="unbilled_value", unit="minor", currency="JPY", state="READY", **hours),
            cell(3, kpi="assignment_sync_rate", unit="count", denominator=4, project_code="A"),
            cell(5, kpi="assignment_sync_rate", unit="count", denominator=5, project_code="B"),
            cell(27_000, kpi="unbilled_ageing", measure="HOURS", work_date=DAY, state="READY"),
        ])
    return path


@pytest.fixture
def tieout(database: Path) -> Command:
    def run(*words: str, db: Path | None = database) -> Said:
        command, *rest = words
        result = CliRunner().invoke(APPS[command], [*rest, *(["--db", str(db)] if db else [])])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    return run


def test_sql_answers_in_every_format(tieout: Command) -> None:
    """The same exact numbers in all of them; the banner stays off standard output."""
    query = "SELECT entry_key, work_date, updated_at, money(unbilled_minor, currency) AS value, holds " \
            "FROM v1.time_entry WHERE entry_key <> 'TIME:1' ORDER BY 1"
    said = tieout("sql", query, "-o", "json")
    assert said.code == 0
    assert said.err == "── as of 2026-03-10 11:00:00Z · complete through 2026-03-10 10:59:59Z · FRESH\n"
    rows = [
        {"entry_key": "TIME:2", "work_date": "2026-03-10", "updated_at": "2026-03-10T11:00:00Z",
         "value": Decimal("1125.0000"), "holds": ["H22"]},
        {"entry_key": "TIME:3", "work_date": "2026-03-10", "updated_at": "2026-03-10T11:00:00Z",
         "value": Decimal("90000.0000"), "holds": []}]
    assert said.json() == {"schema": "tieout.sql/v1", "rows": rows}
    lines = tieout("sql", query, "-o", "jsonl").out.splitlines()
    assert [json.loads(line, parse_float=Decimal) for line in lines] == rows
    table = list(csv.reader(io.StringIO(tieout("sql", query, "-o", "csv").out)))
    assert table == [["entry_key", "work_date", "updated_at", "value", "holds"],
                     ["TIME:2", "2026-03-10", "2026-03-10T11:00:00Z", "1125.0000", "H22"],
                     ["TIME:3", "2026-03-10", "2026-03-10T11:00:00Z", "90000.0000", ""]]
    assert "TIME:3     2026-03-10" in tieout("sql", query).out


def test_sql_lists_the_questions_it_ships_with(tieout: Command) -> None:
    said = tieout("sql", "-o", "json", db=None)
    assert [row["name"] for row in said.json()["rows"]] == sorted(canned())
    assert len(canned()) >= 12


@pytest.mark.parametrize("name", sorted(canned()))
def test_every_shipped_query_runs(tieout: Command, name: str) -> None:
    assert tieout("sql", name).code == 0


@pytest.mark.parametrize(("query", "code", "message"), [
    ("why-heldd", 2, "did you mean why-held?"),
    ("SELECT nonsense", 1, "nonsense"),
    ("SELECT * FROM v1.nothing_there", 1, "nothing_there"),
])
def test_sql_says_what_is_wrong(tieout: Command, query: str, code: int, message: str) -> None:
    said = tieout("sql", query)
    assert (said.code, said.out) == (code, "")
    assert message in said.err


@pytest.mark.parametrize("attempt", [
    "SELECT * FROM read_text('/etc/passwd')", "SELECT * FROM glob('/etc/*')", "COPY v1.kpi TO '/tmp/tieout-out.csv'",
    "ATTACH '/tmp/tieout-other.duckdb'", "INSTALL httpfs", "LOAD httpfs", "SET memory_limit = '99GB'",
    "SET enable_external_access = true", "CREATE TABLE t (a INTEGER)", "DELETE FROM internal.finding",
    "EXPORT DATABASE '/tmp/tieout-out'", "DROP VIEW v1.kpi", "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_blob('/etc/shadow')", "SELECT * FROM '/etc/passwd.csv'",
    "SELECT * FROM read_parquet('s3://a/b')", "SELECT 1 AS a; SELECT 2", "SELECT 1 AS a;; DROP VIEW v1.kpi",
    "SELECT 1 AS a; COPY v1.kpi TO '/tmp/tieout-out.csv'",
    "PRAGMA database_list", "CALL pragma_version()", "BEGIN TRANSACTION", "RESET memory_limit", "USE internal",
    "UPDATE internal.finding SET code = ''", "INSERT INTO internal.finding (key) VALUES (uuid())", "CHECKPOINT v1",
    "EXPLAIN ANALYZE SELECT 1", "PREPARE x AS SELECT 1", "EXECUTE x", "VACUUM ANALYZE", "/* nothing at all */ ;",
    "FROM query('COPY v1.kpi TO ''/tmp/tieout-out.csv''')", "CREATE SECRET (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "ALTER VIEW v1.kpi RENAME TO other", "SELECT getvariable('a'), * FROM read_ndjson('/proc/self/environ')",
])
def test_sql_can_only_read(tieout: Command, attempt: str) -> None:
    """No file, no other database, no extension, no setting, no write, and one SELECT at a time."""
    said = tieout("sql", attempt)
    assert (said.code, said.out) == (1, "")
    assert not Path("/tmp/tieout-out.csv").exists()


@pytest.mark.parametrize("question", [
    "SELECT 3 AS n -- a remark", "FROM range(3) SELECT count(*) AS n", "WITH a AS (SELECT 3 AS n) SELECT * FROM a;",
    "VALUES (3) -- x",
])
def test_sql_answers_what_is_a_question(tieout: Command, question: str) -> None:
    """What is refused above is not refused for its looks."""
    assert tieout("sql", question, "-o", "csv").out.splitlines()[1:] == ["3"]


def test_sql_ends_where_memory_ends(tieout: Command) -> None:
    """A query that wants all of it is stopped by DuckDB, not by the machine."""
    said = tieout("sql", "SELECT list(range) AS a FROM range(400000000)", "--timeout", "20")
    assert said.code == 1
    assert "memory" in said.err.lower() or "stopped after" in said.err


def test_what_is_personal_is_masked_until_it_is_asked_for(tieout: Command) -> None:
    """Who decided, and addresses in any text; the same in every command, with --detail to see it."""
    events = "SELECT actor, step, 'write to anna@example.com' AS note FROM v1.finding_event WHERE actor <> 'tieout'"
    assert tieout("sql", events, "-o", "csv").out.splitlines()[1:] == ["***,ACKED,write to ***"]
    detailed = tieout("sql", events, "-o", "csv", "--detail").out.splitlines()[1:]
    assert detailed == ["anna,ACKED,write to anna@example.com"]
    assert "anna" not in tieout("findings", "show", "00000000-0000-5000-8000-000000000002").out


def test_sql_stops_a_runaway(tieout: Command) -> None:
    said = tieout("sql", "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b", "--timeout", "0.5")
    assert said.code == 1
    assert "stopped after 0.5 s" in said.err


@pytest.mark.parametrize("words", [("sql", "SELECT 1"), ("kpi", "list"), ("findings", "list")])
def test_no_snapshot_is_unreachable(tieout: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    said = tieout(*words, db=tmp_path / "missing.duckdb")
    assert (said.code, said.out) == (4, "")
    assert "is the sink running?" in said.err


_WRITER = """
import sys
from tieout.streams.sinks.store import Store
with Store(sys.argv[1]):
    print("open", flush=True)
    sys.stdin.read()
"""


def test_the_sinks_own_file_is_refused_with_a_hint(tmp_path: Path) -> None:
    """The store that a sink writes is locked: the message says what to read instead."""
    path = str(tmp_path / "store.duckdb")
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True, env={"PYTHONPATH": ":".join(sys.path)})
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        result = CliRunner().invoke(SQL, ["SELECT 1", "--db", path])
        assert result.exit_code == 4
        assert "read its published snapshot" in result.stderr
    finally:
        writer.communicate()


def test_kpi_list_has_every_kpi(tieout: Command) -> None:
    """Money per currency with its own decimals; a KPI without cells has no value."""
    rows = tieout("kpi", "list", "-o", "json").json()["rows"]
    assert list(dict.fromkeys(row["kpi"] for row in rows)) == [kpi.id for kpi in KPIS]
    assert [(row["value"], row["unit"]) for row in rows if row["kpi"] == "unbilled_value"] == [
        (Decimal("1125.00"), "GBP"), (90_000, "JPY")]
    assert [(row["value"], row["unit"]) for row in rows if row["kpi"] == "exposure"] == [(None, "")]


@pytest.mark.parametrize(("words", "expected"), [
    (["unbilled_hours"], [["VALUE", "22.5000", "h"]]),
    (["unbilled_hours", "--by", "state"], [["HELD", "VALUE", "7.5000", "h"], ["READY", "VALUE", "15.0000", "h"]]),
    (["unbilled_hours", "--where", "state=HELD"], [["VALUE", "7.5000", "h"]]),
    (["unbilled_value"], [["VALUE", "1125.00", "GBP"], ["VALUE", "90000", "JPY"]]),
    (["assignment_sync_rate"], [["VALUE", "88.9", "%"]]),
    (["unbilled_ageing", "--by", "state"], [["0-30", "HOURS", "7.5000", "h"]]),
    (["exposure"], []),
])
def test_kpi_get_rolls_up(tieout: Command, words: list[str], expected: list[list[str]]) -> None:
    """Sums of cells, and for a ratio the ratio of the sums: (3 + 5) / (4 + 5)."""
    said = tieout("kpi", "get", *words, "-o", "csv")
    assert list(csv.reader(io.StringIO(said.out)))[1:] == expected


@pytest.mark.parametrize(("words", "message"), [
    (["get", "unbiled_hours"], "did you mean unbilled_hours?"),
    (["get", "unbilled_hours", "--by", "le_cod"], "did you mean le_code?"),
    (["get", "unbilled_hours", "--by", "1; DROP VIEW v1.kpi"], "KPIs have no dimension"),
    (["get", "unbilled_hours", "--where", "state"], "expected DIM=VALUE"),
    (["explain", "wip"], "no KPI is called 'wip'"),
])
def test_kpi_usage_errors(tieout: Command, words: list[str], message: str) -> None:
    said = tieout("kpi", *words)
    assert (said.code, said.out) == (2, "")
    assert message in said.err


def test_kpi_explain_opens_the_number(tieout: Command) -> None:
    """Meaning, parts that sum to it, the SQL, and whether the stream agrees with the rows."""
    said = tieout("kpi", "explain", "unbilled_hours", "-o", "json").json()
    assert said["schema"] == "tieout.kpi.explain/v1"
    assert sum(part["value"] for part in said["largest"]) == said["values"][0]["value"] == Decimal("22.5")
    assert said["cells_differing_from_sql"] == 0
    assert "sum(unbilled_s)" in said["sql"]
    assert tieout("kpi", "explain", "unbilled_value", "-o", "json").json()["cells_differing_from_sql"] == 1  # HELD
    text = tieout("kpi", "explain", "unbilled_hours").out
    assert "Unbilled approved hours: 22.5000 h" in text
    assert "Stream and SQL agree on every cell." in text


@pytest.mark.parametrize("kpi_id", [kpi.id for kpi in KPIS])
def test_every_kpi_can_be_explained(tieout: Command, kpi_id: str) -> None:
    assert tieout("kpi", "explain", kpi_id).code == 0


@pytest.mark.parametrize(("words", "expected"), [
    ([], [2, 1]),
    (["--all"], [2, 3, 1]),
    (["--status", "resolved_auto"], [3]),
    (["--severity", "low"], [1]),
    (["--queue", "finance"], [2, 1]),
    (["--queue", "pmo"], []),
    (["--code", "RATE_MISSING"], []),
    (["--project", "ACME-24017", "--limit", "1"], [2]),
])
def test_findings_list_filters_the_worst_first(tieout: Command, words: list[str], expected: list[int]) -> None:
    rows = tieout("findings", "list", *words, "-o", "json").json()["rows"]
    assert [int(row["finding_id"][-3:]) for row in rows] == expected


def test_findings_show_tells_its_life(tieout: Command) -> None:
    said = tieout("findings", "show", "00000000-0000-5000-8000-000000000002", "-o", "json", "--detail").json()
    assert said["entries"] == ["TIME:2"]
    assert [(step["step"], step["actor"], step["reason"]) for step in said["events"]] == [
        ("ACKED", "anna", "looking at it"), ("OPENED", "tieout", None)]
    text = tieout("findings", "show", "00000000-0000-5000-8000-000000000002").out
    assert "TIME_LATE_TO_ERP/AMOUNT  CRITICAL  OPEN  finance.emea" in text
    assert "impact    7.50 h, 1,125.00 GBP" in text
    assert "ERP       (nothing)" in text


@pytest.mark.parametrize(("beginning", "message"), [
    ("0000", "the beginning of several findings"), ("ffff", "no finding begins with"), ("00", "too short"),
])
def test_findings_show_needs_one(tieout: Command, beginning: str, message: str) -> None:
    said = tieout("findings", "show", beginning)
    assert (said.code, said.out) == (2, "")
    assert message in said.err


def test_json_is_exact() -> None:
    """A Decimal keeps its digits, also those that a float would not."""
    said = {"a": Decimal("9007199254740993.01"), "b": [True, None, 3], "c": b"\xff", "d": "é\"\n"}
    assert to_json(said) == '{"a": 9007199254740993.01, "b": [true, null, 3], "c": "/w==", "d": "é\\"\\n"}'
