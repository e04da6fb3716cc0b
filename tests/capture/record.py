"""Record the six-system workload anew: `python -m capture.record FOLDER` (from `tests/`), or `make capture`.

FOLDER/json.jsonl.gz, avro.jsonl.gz, flat.jsonl.gz   the captured records, as `kcat -J` writes them
FOLDER/schemas.json.gz                               Avro schemas by subject and the id that stands in the frames
FOLDER/tables.json.gz                                at each checkpoint: its name, when, and all source tables as CSV
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import psycopg
from brokers import Unavailable
from capture.engines import CHECKPOINT, Capture, Captured, Encoder, postgres, running, start_java
from capture.server import PostgresServer
from capture.sources import FORMATS, PARTITIONS, SYSTEMS
from capture.workload import CHECKPOINTS, Workload

from tieout.codecs import capture as captures
from tieout.codecs.records import RawRecord

SQL: Final = Path(__file__).parent / "sql"
NULL: Final = "\\N"
_TABLES: Final = """SELECT format('%%I.%%I', schemaname, tablename) FROM pg_tables
    WHERE schemaname = ANY(%s) ORDER BY schemaname, tablename"""


def record(folder: Path, seed: int = 7) -> None:
    """Run the workload and write what the engines captured; raises Unavailable where that cannot run."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tieout-debezium-") as scratch, PostgresServer() as server:
        start_java(Path(scratch) / "debezium.log")
        capture, encoder = Capture(), Encoder()
        with psycopg.connect(server.dsn, autocommit=True) as admin:
            admin.execute((SQL / "tables.sql").read_bytes())
            today = admin.execute("SELECT current_date").fetchone()
            workload = Workload(server.dsn, today[0] if today else date.min, seed)
            workload.masters()
            try:
                with running({system: postgres(system, server.port) for system in SYSTEMS}, encoder, capture):
                    wait_for_streaming(admin)
                    copies = list(checkpoints(admin, capture, workload))
            except TimeoutError as error:
                log = (Path(scratch) / "debezium.log").read_text(errors="replace")[-3000:]
                raise Unavailable(f"Debezium did not keep up: {error}; its log:\n{log}") from None
    write(folder, capture.records, encoder.schemas(), copies)


def wait_for_streaming(admin: psycopg.Connection[Any], within_s: float = 60.0) -> None:
    """Until every slot is read: what is committed from then on is streamed, what was before is in the snapshots."""
    deadline = time.monotonic() + within_s
    active = "SELECT count(*) FROM pg_replication_slots WHERE active"
    while (found := admin.execute(active).fetchone()) != (len(SYSTEMS),):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {within_s:.0f} s for {len(SYSTEMS)} active slots, found {found}")
        time.sleep(0.1)


def checkpoints(admin: psycopg.Connection[Any], capture: Capture, workload: Workload) -> Iterator[dict[str, Any]]:
    """Run the steps; after each, wait for all engines and copy the source tables."""
    for name, step in CHECKPOINTS:
        step(workload)
        admin.execute("SELECT pg_logical_emit_message(true, %s, %s)", (CHECKPOINT, name))
        capture.wait(name, SYSTEMS)
        yield {"name": name, "ts_ms": max(each.ts_ms for each in capture.records), "tables": dict(tables(admin))}
        time.sleep(0.01)  # what comes later is younger


def tables(admin: psycopg.Connection[Any]) -> Iterator[tuple[str, str]]:
    """Every source table as CSV text, every value as PostgreSQL writes it."""
    for (table,) in admin.execute(_TABLES, (list(SYSTEMS),)).fetchall():
        statement = f"COPY (SELECT * FROM {table} ORDER BY 1, 2) TO STDOUT (FORMAT csv, HEADER, NULL '{NULL}')"
        with admin.cursor().copy(statement.encode()) as lines:
            yield table, b"".join(bytes(line) for line in lines).decode()


def write(folder: Path, records: list[Captured], schemas: dict[str, str], copies: list[dict[str, Any]]) -> None:
    """Write everything, so that the same content gives the same bytes."""
    for form in FORMATS:
        captures.write(folder / f"{form}.jsonl.gz", raw(records, form))
    parsed = {name: json.loads(schema) for name, schema in schemas.items()}
    (folder / "schemas.json.gz").write_bytes(gzip.compress(json.dumps(parsed, indent=0).encode(), mtime=0))
    (folder / "tables.json.gz").write_bytes(gzip.compress(json.dumps(copies).encode(), mtime=0))


def raw(records: Iterable[Captured], form: str) -> Iterator[RawRecord]:
    """The records of one form as Kafka would hold them: partition by key, offsets from 0."""
    offsets: dict[tuple[str, int], int] = {}
    for each in records:
        encoded = each.forms.get(form)
        if encoded is not None:
            partition = crc32(encoded.key or b"") % PARTITIONS.get(each.topic, 1)
            offset = offsets.get((each.topic, partition), 0)
            offsets[each.topic, partition] = offset + 1
            yield RawRecord(each.topic, partition, offset, each.ts_ms, encoded.key, encoded.value, each.headers)


def command(name: str, into: Callable[[Path], object]) -> int:
    """`python -m capture.<name> FOLDER`: record into the folder; 4 when what is recorded cannot run here."""
    if len(sys.argv) != 2:
        print(f"usage: python -m capture.{name} FOLDER", file=sys.stderr)
        return 2
    try:
        into(Path(sys.argv[1]))
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(command("record", record))
