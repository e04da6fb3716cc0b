"""The captured systems as tieout reads them: a configuration for each form, and the records up to a checkpoint."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from tieout.codecs.records import RawRecord
from tieout.streams.settings import Settings, load

SYSTEMS: Final = ("hcm", "crm", "sched", "psa", "erp", "time")
PARTITIONS: Final = {"time.time.timesheet": 2, "psa.psa.timecard": 2}  # of raw topics; others have one
MAPPINGS: Final = Path(__file__).parent / "mappings"
FORMATS: Final = {"json": "debezium-json", "avro": "debezium-avro", "flat": "debezium-flat"}
TABLES: Final = (
    "hcm.worker", "hcm.work_schedule_day", "crm.opportunity", "sched.project", "sched.person", "sched.task", "psa.project",
    "psa.assignment", "psa.timecard", "erp.legal_entity", "erp.billing_cycle", "erp.contract_line", "erp.project",
    "erp.sales_price", "erp.forecast", "erp.empl_trans", "erp.invoice", "erp.invoice_hours", "erp.write_off", "time.account",
    "time.project", "time.timesheet",
)  # fmt: skip


def topic(table: str) -> str:
    """The raw topic of a table: the connector's prefix, schema and table."""
    return f"{table.partition('.')[0]}.{table}"


def heartbeats(system: str) -> str:
    """The topic of a connector's heartbeats."""
    return f"__debezium-heartbeat.{system}"


def settings(form: str, folder: Path, recording: Path, more: str = "") -> Settings:
    """The configuration that reads a recording in this form, written into `folder`; `more` is TOML that comes first."""
    lines = ['clock = "log"', more, "[policy]", 'checks_off = ["TIME_DUPLICATE"]']  # see source_oracle.answers
    if form == "avro":
        lines += ["[registry]", f'folder = "{schemas(recording, folder / "schemas")}"']
    for table in TABLES:
        system = table.partition(".")[0]
        lines += [f'[sources."{table}"]', f'system = "{system.upper()}"', f'topic = "{topic(table)}"',
                  f'format = "{FORMATS[form]}"', f'mapping = "{MAPPINGS / system}.toml"', f'heartbeat = "{heartbeats(system)}"']
    path = folder / "tieout.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load(path, {})


def schemas(recording: Path, folder: Path) -> Path:
    """The recorded Avro schemas as the files that a registry's place can be taken by."""
    folder.mkdir(exist_ok=True)
    for name, schema in json.loads(gzip.decompress((recording / "schemas.json.gz").read_bytes())).items():
        (folder / f"{name}.avsc").write_text(json.dumps(schema), encoding="utf-8")
    return folder


def until(records: Iterable[RawRecord], ts_ms: int, judged: datetime) -> list[RawRecord]:
    """The records up to a checkpoint, and a heartbeat of each connector from which all is quiet until it is judged."""
    kept = [each for each in records if each.ts_ms <= ts_ms]
    return [*kept, *_quiet(kept, round(judged.timestamp() * 1_000))]


def _quiet(records: Iterable[RawRecord], judged_ms: int) -> Iterator[RawRecord]:
    """The last heartbeat of each connector once more, a minute (the watermark's margin) after the judgement."""
    last = {each.topic: each for each in records}
    for system in SYSTEMS:
        beat = last[heartbeats(system)]
        yield beat._replace(offset=beat.offset + 1, ts_ms=judged_ms, value=_later(beat.value or b"", judged_ms + 60_000))


def _later(value: bytes, ts_ms: int) -> bytes:
    """A heartbeat that says another time: JSON, or Avro with one long after the five bytes of the frame."""
    if value[:1] == b"{":
        assert json.loads(value).keys() == {"ts_ms"}
        return json.dumps({"ts_ms": ts_ms}).encode()
    return value[:5] + _long(ts_ms)


def _long(number: int) -> bytes:
    """An Avro long: zigzag, seven bits a byte, the lowest first."""
    rest, out = number << 1, bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*out, rest])
