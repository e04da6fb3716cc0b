"""Record Kimai on MariaDB anew: `python -m capture.record_kimai FOLDER` (from `tests/`), or `make capture`.

FOLDER/kimai.jsonl.gz        the captured records as JSON, as `kcat -J` writes them
FOLDER/kimai-tables.json     the tables at the end: rows by table, every value as text
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from brokers import Unavailable
from capture.engines import Capture, Captured, Encoder, running, start_java
from capture.mariadb import MASTERS, STEPS, TABLES, MariaServer, connector
from capture.record import command, raw

from tieout.codecs import capture as captures

_WITHIN_S: Final = 60.0


def record(folder: Path) -> None:
    """Run the workload and write what was captured; raises Unavailable where that cannot run."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tieout-debezium-") as scratch, MariaServer() as server:
        start_java(Path(scratch) / "debezium.log")
        capture, connection = Capture(), server.connect()
        cursor = connection.cursor()
        for statement in MASTERS:
            cursor.execute(statement)
        try:
            with running({"kimai": connector(server.port)}, Encoder(), capture):
                _wait(capture, b'"snapshot":"last"', 1)
                for statements in STEPS:
                    connection.begin()
                    for statement in statements:
                        cursor.execute(statement)
                    connection.commit()
                cursor.execute("UPDATE kimai2_users SET username = 'the end' WHERE id = 3")
                _wait(capture, b'"username":"the end"', 1)
        except TimeoutError as error:
            log = (Path(scratch) / "debezium.log").read_text(errors="replace")[-3000:]
            raise Unavailable(f"Debezium did not keep up: {error}; its log:\n{log}") from None
        tables = {table: _rows(cursor, table) for table in TABLES}
    captures.write(folder / "kimai.jsonl.gz", raw(capture.records, "json"))
    (folder / "kimai-tables.json").write_text(json.dumps(tables, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


def _wait(capture: Capture, words: bytes, times: int) -> None:
    """Until records with these words have come."""
    deadline = time.monotonic() + _WITHIN_S
    while sum(words in (each.forms["json"].value or b"") for each in _so_far(capture)) < times:
        if capture.failed or time.monotonic() > deadline:
            raise TimeoutError(f"waited for {words!r} among {len(capture.records)} records; failures: {capture.failed}")
        time.sleep(0.05)


def _so_far(capture: Capture) -> list[Captured]:
    with capture.changed:
        return list(capture.records)


def _rows(cursor: Any, table: str) -> list[dict[str, str | None]]:
    cursor.execute(f"SELECT * FROM {table} ORDER BY id")
    names = [column[0] for column in cursor.description]
    return [{name: None if value is None else str(value) for name, value in zip(names, row, strict=True)}
            for row in cursor.fetchall()]


if __name__ == "__main__":
    sys.exit(command("record_kimai", record))
