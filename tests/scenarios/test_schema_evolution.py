"""S16: a captured timesheet table whose schema evolves in mid-stream, through Avro and `tieout replay`.

::

    v1  hours                        7.5                          27,000 s, £1,125.00
    v2  hours, duration_minutes      7.45 and 450: minutes win    27,000 s, £1,125.00
    v3  project_id is gone           one update                   1 dead letter, nothing moves
    v4  project_id is back           the letter is replayed       resolved
    v2  hours                        450, in 250 rows             drift, and none is applied
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
from avro_firm import DATE, column, envelope, key, message, written
from scenarios.dsl import ERP, HCM, PSA, SCHED, TIME, P, fixture, instant_us
from typer.testing import CliRunner

from tieout.streams.cli.replay import app
from tieout.streams.deadletters import REPLAYED_FROM

TOPIC, TABLE = "time.public.entry", "public.entry"
MAPPING = """
name = "timesheets"
version = 1
[[map]]
entity = "time_entry"
table = "public.entry"
[map.fields]
origin_system = "@system"
origin_id = "id"
worker_no = "worker"
project_code = "project_id"
work_date = "worked_on"
qty_s = { first_of = [{ from = "duration_minutes", as = "minutes" }, { from = "hours", as = "decimal_hours_to_seconds", allow_double = true }] }
quantum_s = { const = 60 }
time_type = { const = "WORK" }
billable = { const = true }
role_code = { const = "SA" }
state = "state"
"""
CANONICAL = (ERP, PSA, HCM, SCHED, TIME)
CONFIG = "[registry]\nfolder = \"schemas\"\n" + "".join(f"""
[sources.{source.partition("/")[0].lower()}]
system = "{source.partition("/")[0]}"
instance = "{source.partition("/")[2]}"
topic = "{source.lower().replace("/", ".")}"
""" for source in CANONICAL) + f"""
[sources.timesheets]
system = "TIME"
instance = "kimai"
topic = "{TOPIC}"
format = "debezium-avro"
mapping = "timesheets"
"""
ID, WORKER, DAY, STATE = (column("id", "string", null=False), column("worker", "string"), column("worked_on", DATE),
                          column("state", "string"))
PROJECT, HOURS, MINUTES = column("project_id", "string"), column("hours", "double"), column("duration_minutes", "int")
V1 = envelope([ID, WORKER, DAY, STATE, PROJECT, HOURS], TABLE)
V2 = envelope([ID, WORKER, DAY, STATE, PROJECT, HOURS, MINUTES], TABLE)
V3 = envelope([ID, WORKER, DAY, STATE, HOURS, MINUTES], TABLE)
KEYS = key([ID], TABLE)
SCHEMAS = {1: V1, 2: V2, 3: V3, 4: V2}
KEY_ID = 9

Row = dict[str, Any]
Line = dict[str, Any]


class Sheet:
    """Records of the table in the making, each in the schema that was in force."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def write(self, version: int, at: str, entry: str, *, headers: tuple[str, ...] = (), lsn: int | None = None,
              **row: Any) -> int:
        """An insert or update of an entry; its offset."""
        offset = len(self.lines)
        lsn = 1_000 + offset if lsn is None else lsn
        whole = {"id": entry, "worker": "W1001", "worked_on": (date(2026, 3, 9) - date(1970, 1, 1)).days, **row}
        value = message(whole, "u", ts_ms=instant_us(at) // 1_000, lsn=lsn, sequence=f'["{lsn}","{lsn}"]', table="entry")
        self.lines.append({
            "topic": TOPIC, "partition": 0, "offset": offset, "ts": instant_us(at) // 1_000, "headers": list(headers),
            "key_b64": _text(written(KEYS, {"id": entry}, KEY_ID)),
            "payload_b64": _text(written(SCHEMAS[version], value, version))})
        return offset


def _text(value: bytes) -> str:
    return b64encode(value).decode()


def story() -> tuple[list[Line], str]:
    """Every line in order of arrival, and the origin of the record that could not be read."""
    firm, sheet = fixture(), Sheet()
    same: Row = {"origin_system": "TIME", "origin_id": "E1", "worker_no": "W1001", "project_code": P,
                 "work_date": "2026-03-09", "qty_s": 27_000, "quantum_s": 60, "time_type": "WORK", "billable": True}
    firm.put(PSA, "time_entry", at="2026-03-16T09:00:00Z", state="APPROVED", **same)
    firm.put(ERP, "posted_labour", at="2026-03-16T11:00:00Z", le_code="UK01", erp_txn_id="T-E1", origin_ref="TIME:E1",
             txn_type="COST", accounting_date="2026-03-09", voucher="V", **{
                 name: same[name] for name in ("project_code", "worker_no", "work_date", "qty_s")})
    known: Row = {"state": "APPROVED", "project_id": P}
    sheet.write(1, "2026-03-16T09:00:00Z", "E1", hours=7.5, **known)
    sheet.write(2, "2026-03-17T09:00:00Z", "E1", hours=7.45, duration_minutes=450, **known)
    broken = sheet.write(3, "2026-03-18T09:00:00Z", "E1", hours=7.45, duration_minutes=450, state="APPROVED")
    lsn, origin = 1_000 + broken, f"{TOPIC}/0/{broken}"
    sheet.write(4, "2026-03-19T09:00:00Z", "E1", hours=7.45, duration_minutes=450, lsn=lsn,
                headers=(REPLAYED_FROM, origin), **known)
    for number in range(250):
        sheet.write(2, "2026-03-20T10:30:00Z", f"M{number}", hours=450.0, duration_minutes=None, **known)
    lines = [*firm.rows(), *sheet.lines]
    return sorted(lines, key=lambda line: line["ts"]), origin


def replayed(folder: Path, until: str, *options: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """The store after `tieout replay` of what had arrived until then."""
    (folder / "tieout.toml").write_text(CONFIG)
    (folder / "timesheets.toml").write_text(MAPPING)
    (folder / "schemas").mkdir()
    for number, schema in SCHEMAS.items():
        (folder / "schemas" / f"{TOPIC}-value.{number}.avsc").write_text(json.dumps(schema))
    (folder / "schemas" / f"{TOPIC}-key.{KEY_ID}.avsc").write_text(json.dumps(KEYS))
    lines = [line for line in story()[0] if line["ts"] * 1_000 <= instant_us(until)]
    (folder / "capture.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = CliRunner().invoke(app, [
        str(folder / "capture.jsonl"), "--db", str(folder / "tieout.duckdb"), "--config", str(folder / "tieout.toml"),
        "--until", until, "--assume-fresh", *options])
    assert result.exit_code == 0, result.output
    with duckdb.connect(str(folder / "tieout.duckdb"), read_only=True) as connection:
        yield connection


ENTRY = ("TIME:E1", "APPROVED", 27_000, 112_500)
CHECK: Mapping[str, Any] = {"code": "SCHEMA_INCOMPATIBLE", "key": f"{TIME}|time_entry"}
OPEN = (None, "OPEN", 1, 27_000, 112_500, "GBP", True)
RESOLVED = (None, "RESOLVED_AUTO", 1, 27_000, 0, None, True)
DRIFT = ("SEMANTIC", "OPEN", 250, 0, 0, None, False)

MOMENTS: list[tuple[str, str, list[tuple[Any, ...]], list[tuple[Any, ...]]]] = [
    # when                        entry's state  findings             dead letters
    ("2026-03-16T18:00:00Z",      "READY",       [],                  []),
    ("2026-03-17T18:00:00Z",      "READY",       [],                  []),
    ("2026-03-18T18:00:00Z",      "HELD",        [OPEN],              [("column_missing", 1)]),
    ("2026-03-19T18:00:00Z",      "READY",       [RESOLVED],          [("column_missing", 1)]),
    ("2026-03-20T18:00:00Z",      "READY",       [DRIFT, RESOLVED],   [("column_missing", 1),
                                                                       ("implausible_quantity", 250)]),
]  # fmt: skip
ORDERS = [(), ("--shuffle", "7"), ("--shuffle", "8", "--duplicate", "0.4"), ("--shuffle", "9", "--partitions", "3")]


@pytest.mark.parametrize("options", ORDERS, ids="".join)
@pytest.mark.parametrize(("until", "state", "findings", "letters"), MOMENTS, ids=[moment[0][:10] for moment in MOMENTS])
def test_a_schema_that_evolves(tmp_path: Path, until: str, state: str, findings: list[tuple[Any, ...]],
                               letters: list[tuple[Any, ...]], options: tuple[str, ...]) -> None:
    for store in replayed(tmp_path, until, *options):
        assert store.execute("""
            SELECT entry_key, status, unbilled_s, unbilled_minor, state FROM v1.time_entry""").fetchall() == [
                (*ENTRY, state)]
        assert store.execute("""
            SELECT kpi, sum(numerator) FROM v1.kpi WHERE kpi IN ('unbilled_hours', 'unbilled_value')
            GROUP BY 1 ORDER BY 1""").fetchall() == [("unbilled_hours", 27_000), ("unbilled_value", 112_500)]
        assert store.execute("""
            SELECT facet, status, entries_count, impact_s, impact_minor, currency, estimated FROM v1.finding
            WHERE code = $code AND business_key = $key ORDER BY 1 NULLS LAST""", CHECK).fetchall() == findings
        assert store.execute("""
            SELECT reason, count(DISTINCT (topic, kafka_offset)) FROM v1.dead_letter GROUP BY 1 ORDER BY 1
            """).fetchall() == letters


def test_the_drift_says_by_how_much(tmp_path: Path) -> None:
    for store in replayed(tmp_path, MOMENTS[-1][0]):
        (row,) = store.execute("""
            SELECT left_value, right_value, explanation FROM v1.finding WHERE facet = 'SEMANTIC'""").fetchall()
        assert row[:2] == ("450.00 h", "7.50 h")
        assert "60 times" in row[2]
