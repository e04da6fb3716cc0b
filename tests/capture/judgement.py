"""What a store must say at a checkpoint, against the answers worked out from the source tables.

Tables have no history: when something began and how long it took is not compared, and what is over is left out. Everything that holds at the
checkpoint is: quantities, rates, values, states and holds of every entry, open findings with their impact, KPIs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import duckdb
from capture import source_oracle, sources
from capture.source_oracle import Checkpoint
from oracle import compare
from oracle.compare import Rows

from tieout.codecs import capture as captures
from tieout.codecs.records import RawRecord
from tieout.streams import replay

GOLDEN: Final = Path(__file__).parent / "golden"
FORMS: Final = tuple(sources.FORMATS)
_LAGS: Final = ("time_to_bill", "approval_latency", "approval_latency_business")
_STEADY: Final = ("impact_s", "impact_minor", "currency", "estimated", "entries_count")


@lru_cache(maxsize=4)
def checkpoints(recording: Path = GOLDEN) -> tuple[Checkpoint, ...]:
    """The checkpoints of a recording."""
    return tuple(source_oracle.read(recording / "tables.json.gz"))


@lru_cache(maxsize=8)
def records(form: str, recording: Path = GOLDEN) -> Sequence[RawRecord]:
    """The captured records in one form."""
    return tuple(captures.read(recording / f"{form}.jsonl.gz"))


def place(name: str, recording: Path = GOLDEN) -> int:
    """Where a checkpoint stands."""
    return [each.name for each in checkpoints(recording)].index(name)


def replayed(form: str, name: str, folder: Path, recording: Path = GOLDEN, **options: float) -> Path:
    """The store that `tieout replay` makes of the records up to a checkpoint; nothing may be dead-lettered."""
    checkpoint = checkpoints(recording)[place(name, recording)]
    settings = sources.settings(form, folder, recording)
    lines = sources.until(records(form, recording), checkpoint.ts_ms, checkpoint.judged)
    database = folder / f"{form}.duckdb"
    summary = replay.replay(lines, database, replay.Options(**options), settings)  # type: ignore[arg-type]
    lost = {fate: summary.fates[fate] for fate in ("dead_lettered", "parked") if summary.fates[fate]}
    assert not lost, f"{form}, {name}: {lost}; {dead_letters(database)}"
    return database


def dead_letters(database: Path) -> list[tuple[str, ...]]:
    """Reasons, topics and hints of what was put aside."""
    with duckdb.connect(str(database), read_only=True) as con:
        return con.execute("SELECT DISTINCT reason, topic, hint FROM v1.dead_letter").fetchall()


def oracle(name: str, folder: Path, recording: Path = GOLDEN) -> duckdb.DuckDBPyConnection:
    """The answers from the source tables as of a checkpoint."""
    return source_oracle.answers(checkpoints(recording)[: place(name, recording) + 1], folder)


def differences(told: duckdb.DuckDBPyConnection, database: Path) -> list[str]:
    """What differs, a readable line each; the comparison must not be one of nothing."""
    with duckdb.connect(str(database), read_only=True) as store:
        store.execute("SET timezone = 'UTC'")
        expected = compare.findings(told, "SELECT * FROM finding"), compare.kpis(told, "SELECT * FROM kpi")
        found = compare.findings(store, compare.STREAMED_FINDINGS), compare.kpis(store, compare.STREAMED_KPIS)
        return [
            *compare.differences("time_entry", compare.entries(told, "time_entry"), compare.entries(store, "v1.time_entry")),
            *compare.differences("finding", _open(expected[0]), _open(found[0])),
            *compare.differences("kpi", _of_now(expected[1]), _of_now(found[1])),
        ]


def _of_now(rows: Rows) -> Rows:
    return {key: row for key, row in rows.items() if key[0] not in _LAGS}


def _open(rows: Rows) -> Rows:
    """Findings that are open, by (code, facet, key), without their dates."""
    return {key[:3]: {name: row[name] for name in _STEADY if name in row} for key, row in rows.items()
            if row["status"] == "OPEN"}
