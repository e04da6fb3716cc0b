"""The independent oracle: the answers of the engine, worked out in DuckDB SQL from the canonical input alone.

`run` loads captures into an in-memory database and executes `sql/*.sql` in order; the results are its tables
`time_entry`, `finding` and `kpi`. Nothing here imports the product.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb

SQL = Path(__file__).parent / "sql"
COLUMNS = "{topic: 'VARCHAR', partition: 'INTEGER', ts: 'BIGINT', payload: 'JSON', payload_b64: 'VARCHAR'}"
BEFORE_RATES = ("00_macros", "01_events", "02_versions", "03_records", "04_clocks", "05_entries")
ENTRY_QUESTION = """CREATE TABLE entry_question AS
    SELECT qid, t, entry_key, project, worker, role, time_type, work_date AS d, assignment_id FROM fact"""


def run(
    captures: Sequence[Path],
    *,
    until: str | None = None,
    assume_fresh: bool = False,
    stale: Iterable[str] = (),
    off: Iterable[str] = (),
) -> duckdb.DuckDBPyConnection:
    """A connection whose tables hold the answers for these captures (kcat -J lines, plain or gzip).

    `off` names checks by number that the firm does not want.
    """
    con = duckdb.connect()
    con.execute("SET timezone = 'UTC'")
    _load(con, captures)
    con.execute("CREATE TABLE stale (system VARCHAR)")
    con.executemany("INSERT INTO stale VALUES (?)", [[name] for name in (*stale, "")])
    for name in BEFORE_RATES[:2]:
        _execute(con, name)
    con.execute(
        """CREATE TABLE clock AS SELECT ?::BOOLEAN AS assume_fresh, now_us, greatest(now_us, last_us) AS live_us FROM (
             SELECT greatest((SELECT max(ts) FROM line) * 1000, coalesce(epoch_us(?::TIMESTAMPTZ), 0)) AS now_us,
                    (SELECT max(commit_us) FROM ev) AS last_us)""",
        [assume_fresh, until],
    )
    for name in BEFORE_RATES[2:]:
        _execute(con, name)
    con.execute(ENTRY_QUESTION)
    _resolve(con, "entry_question")
    for name in ("07_values", "08_entry_checks", "09_plan_checks", "09a_doubts", "09b_invoices"):
        _execute(con, name)
    con.execute("DELETE FROM hit WHERE check_no IN (SELECT unnest(?::VARCHAR[]))", [[*off]])
    _resolve(con, "planned_question")
    for name in ("10_master_checks", "11_findings"):
        _execute(con, name)
    _resolve(con, "impact_question")
    for name in ("12_finding", "13_holds"):
        _execute(con, name)
    _resolve(con, "other_question")
    for name in ("14_time_entry", "15_kpi", "16_lags"):
        _execute(con, name)
    return con


def _load(con: duckdb.DuckDBPyConnection, captures: Sequence[Path]) -> None:
    """Put every capture's lines into the table `line`."""
    con.execute(
        f"""CREATE TABLE line AS SELECT * FROM read_json(?, format = 'newline_delimited', columns = {COLUMNS},
            maximum_object_size = 67108864)""",
        [[str(path) for path in captures]],
    )


def _execute(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Run one SQL file."""
    con.execute((SQL / f"{name}.sql").read_text(encoding="utf-8"))


def _resolve(con: duckdb.DuckDBPyConnection, question: str) -> None:
    """Answer the rate questions of a table."""
    con.execute((SQL / "06_rates.sql").read_text(encoding="utf-8").replace("{question}", question))
