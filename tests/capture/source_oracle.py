"""The answers worked out from the source tables of a checkpoint, in SQL, without any change record.

`sql/canonical.sql` says in DuckDB what the tables mean; the oracle of `tests/oracle` works out entries, findings and KPIs.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
from oracle import oracle

SQL: Final = Path(__file__).parent / "sql" / "canonical.sql"
# How long after a checkpoint it is judged: every deadline of what is wrong by then has passed, and nothing else happens.
LATER: Final = timedelta(days=9, hours=1, minutes=7)


class Checkpoint(NamedTuple):
    """What the source tables held when no transaction was open: CSV by table; `ts_ms` of the last record before it."""

    name: str
    ts_ms: int
    tables: Mapping[str, str]

    @property
    def judged(self) -> datetime:
        """The instant as of which it is judged."""
        return datetime.fromtimestamp(self.ts_ms // 1_000, UTC) + LATER


def read(path: Path) -> list[Checkpoint]:
    """The checkpoints of a recording."""
    return [Checkpoint(each["name"], each["ts_ms"], each["tables"]) for each in json.loads(gzip.decompress(path.read_bytes()))]


def answers(checkpoint: Checkpoint, scratch: Path) -> duckdb.DuckDBPyConnection:
    """A connection with the oracle's tables `time_entry`, `finding` and `kpi`."""
    events = canonical(checkpoint, scratch)
    capture = scratch / "canonical.jsonl"
    with capture.open("w", encoding="utf-8") as file:
        for number, (source, entity, op, subject, data) in enumerate(events):
            event = {"id": str(number), "source": source, "type": f"tieout.{entity}.{op}", "subject": subject,
                     "time": _text(checkpoint.ts_ms), "sequence": "0", "data": json.loads(data)}
            file.write(json.dumps({"topic": "tables", "partition": 0, "ts": checkpoint.ts_ms, "payload": json.dumps(event)}) + "\n")
    return oracle.run([capture], until=checkpoint.judged.isoformat(), assume_fresh=True)


def canonical(checkpoint: Checkpoint, scratch: Path) -> list[tuple[Any, ...]]:
    """Source, entity, operation, subject and data of each event that the tables amount to."""
    con = duckdb.connect()
    for name, csv in checkpoint.tables.items():
        file = scratch / "table.csv"
        file.write_text(csv, encoding="utf-8")
        con.execute(f"CREATE SCHEMA IF NOT EXISTS {name.partition('.')[0]}")
        con.execute(f"CREATE TABLE {name} AS SELECT * FROM read_csv(?, header = true, all_varchar = true, nullstr = '\\N')",
                    [str(file)])
    con.execute(SQL.read_text(encoding="utf-8"))
    return con.execute("SELECT source, entity, op, subject, data::VARCHAR FROM event ORDER BY ALL").fetchall()


def _text(ts_ms: int) -> str:
    return datetime.fromtimestamp(ts_ms / 1_000, UTC).isoformat().replace("+00:00", "Z")
