"""The answers worked out from the source tables of a checkpoint, in SQL, without any change record.

`sql/canonical.sql` says in DuckDB what the tables mean; the oracle of `tests/oracle` works out entries, findings and KPIs.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

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


class Event(NamedTuple):
    """A canonical event; `data` is JSON."""

    source: str
    entity: str
    op: str
    subject: str
    data: str


def read(path: Path) -> list[Checkpoint]:
    """The checkpoints of a recording."""
    return [Checkpoint(each["name"], each["ts_ms"], each["tables"]) for each in json.loads(gzip.decompress(path.read_bytes()))]


def answers(checkpoints: Sequence[Checkpoint], scratch: Path) -> duckdb.DuckDBPyConnection:
    """A connection with the oracle's tables `time_entry`, `finding` and `kpi`, as of the last of the checkpoints.

    Tables do not remember. That a row is deleted is seen by the checkpoints before, at which it was there; which of two
    duplicates came later is seen nowhere, so check 31 is off.
    """
    checkpoint = checkpoints[-1]
    events = with_deleted([canonical(each, scratch) for each in checkpoints])
    capture = scratch / "canonical.jsonl"
    with capture.open("w", encoding="utf-8") as file:
        for number, (source, entity, op, subject, data) in enumerate(events):
            event = {"id": str(number), "source": source, "type": f"tieout.{entity}.{op}", "subject": subject,
                     "time": _text(checkpoint.ts_ms), "sequence": f"{number:06d}", "data": json.loads(data)}
            file.write(json.dumps({"topic": "tables", "partition": 0, "ts": checkpoint.ts_ms, "payload": json.dumps(event)}) + "\n")
    return oracle.run([capture], until=checkpoint.judged.isoformat(), assume_fresh=True, off=("31",))


def with_deleted(states: Sequence[Sequence[Event]]) -> list[Event]:
    """The events of the last state, and a delete of each record that only an earlier one has."""
    now = {event[:4] for event in states[-1]}
    gone = {event[:4]: event for state in states[:-1] for event in state if event[:4] not in now}
    return [*gone.values(), *(event._replace(op="deleted") for event in gone.values()), *states[-1]]


def canonical(checkpoint: Checkpoint, scratch: Path) -> list[Event]:
    """Source, entity, operation, subject and data of each event that the tables amount to."""
    con = duckdb.connect()
    for name, csv in checkpoint.tables.items():
        file = scratch / "table.csv"
        file.write_text(csv, encoding="utf-8")
        con.execute(f"CREATE SCHEMA IF NOT EXISTS {name.partition('.')[0]}")
        con.execute(f"CREATE TABLE {name} AS SELECT * FROM read_csv(?, header = true, all_varchar = true, nullstr = '\\N')",
                    [str(file)])
    con.execute(SQL.read_text(encoding="utf-8"))
    rows = con.execute("SELECT source, entity, op, subject, data::VARCHAR FROM event ORDER BY ALL").fetchall()
    return [Event(*row) for row in rows]


def _text(ts_ms: int) -> str:
    return datetime.fromtimestamp(ts_ms / 1_000, UTC).isoformat().replace("+00:00", "Z")
