"""What older builds stored is opened, made this build's own, or refused with what to do; newer ones' is refused.

`format-1` was frozen before the worker axis, `format-2` with it, `format-3` when what was published came to be kept;
`freeze.py` wrote all of them.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest
from upgrades.freeze import RECONCILER, TAIL, played

from tieout.reconcilers.changes import Frame, UnknownVersion
from tieout.reconcilers.entities import Axis
from tieout.streams.frames import decode
from tieout.streams.parking import Parked
from tieout.streams.settings import Settings
from tieout.streams.shards import Shard
from tieout.streams.sinks import store as store_module
from tieout.streams.sinks.sink import run as run_sink
from tieout.streams.sinks.store import OtherVersion, Store
from tieout.streams.sinks.tables import KEYED_TABLES, OUTPUT_TABLES, SCHEMA_VERSION, Table
from tieout.streams.tables import CHECKPOINT_KEY, FORMAT, Ledger, Place, Restored, Rows

HERE = Path(__file__).parent
ALL, OURS = ("format-1", "format-2", "format-3"), f"format-{FORMAT}"
READABLE = ALL[1:]


def lines(frozen: str, name: str) -> Iterator[list[Any]]:
    with gzip.open(HERE / frozen / f"{name}.jsonl.gz") as content:
        yield from map(json.loads, content)


def frames(frozen: str) -> dict[Place, list[Frame]]:
    found: dict[Place, list[Frame]] = defaultdict(list)
    for axis, partition, value in lines(frozen, "frames"):
        found[Place(Axis(axis), partition)].append(decode(value.encode()))
    return found


def restored(frozen: str, place: Place) -> Shard:
    """The shard that the frozen changelogs of a place describe."""
    own = [line for line in lines(frozen, "changelogs") if line[:2] == [place.axis.value, place.partition]]
    [checkpoint] = [value for _, _, table, _, value in own if table == "checkpoint"]
    ledger = Ledger()
    ledger.read(CHECKPOINT_KEY, checkpoint.encode())
    rows, last = Rows(ledger), ledger.last()
    assert last is not None
    for _, _, table, key, value in own:
        if table != "checkpoint":
            rows.add(table, key.encode(), value and value.encode(), last.stamp)
    assert rows.holds(last, RECONCILER.tables)
    rows.take_newest()
    return Shard.restored(place, 1, last.epoch + 1, RECONCILER, Restored(rows, last))


# -- frames ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", ALL)
def test_frames_of_older_builds_are_read(frozen: str) -> None:
    found = frames(frozen)
    assert {place.axis for place in found} >= {Axis.PROJECT, Axis.CONTROL}
    for sequence in found.values():
        assert [frame.number for frame in sequence] == list(range(len(sequence)))
    assert sum(len(frame.changes) for frame in found[Place(Axis.PROJECT, 0)]) > 30


@pytest.mark.parametrize("frozen", ALL)
def test_frames_of_version_1_say_the_same(frozen: str) -> None:
    """Version 1 had each change whole, and sums in the place of tallies."""
    for sequence in frames(frozen).values():
        for frame in sequence:
            old = {**frame.to_record(), "v": 1, "ch": [change.to_record() for change in frame.changes], "c": {}}
            assert Frame.from_record(orjson.loads(orjson.dumps(old))).changes == frame.changes


@pytest.mark.parametrize("version", [0, 3, None, "2"])
def test_a_frame_of_another_version_is_refused(version: Any) -> None:
    with pytest.raises(UnknownVersion, match=r"this build reads 1 and 2: upgrade the workers first"):
        Frame.from_record({"v": version})


# -- changelogs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", READABLE)
def test_a_frozen_changelog_goes_on_as_if_it_had_never_stopped(frozen: str) -> None:
    """The last frames over it end in the rows and outcomes of a shard that applied all frames in this build.

    What older builds did not keep of what was published is worked out and written besides, once.
    """
    for place, sequence in frames(frozen).items():
        ours, theirs = played(place, sequence[:-TAIL]), restored(frozen, place)
        assert theirs.next_offset == len(sequence) - TAIL
        ours.snapshot()
        for offset, frame in enumerate(sequence[-TAIL:], len(sequence) - TAIL):
            ours.apply(offset, frame, None)
            theirs.apply(offset, frame, None)
        expected, found = ours.snapshot(), theirs.snapshot()
        assert sorted(found.outcomes, key=repr) == sorted(expected.outcomes, key=repr)
        written, wanted = ({row[:2]: row[2] and orjson.loads(row[2]) for row in snapshot.rows}
                           for snapshot in (found, expected))
        besides = written.keys() - wanted.keys()
        assert {where: value for where, value in written.items() if where not in besides} == wanted
        assert {table for table, _ in besides} <= (set() if frozen == OURS else {"counts"})


def test_a_checkpoint_states_the_format_of_its_rows() -> None:
    for _, _, table, _, value in lines(OURS, "changelogs"):
        assert table != "checkpoint" or orjson.loads(value)["format"] == FORMAT


def test_a_changelog_of_before_the_worker_axis_is_refused_with_what_to_do() -> None:
    with pytest.raises(UnknownVersion, match=r"format 1, this build reads 2 and 3: stop ingest .*"
                                             r"`tieout topics apply`.*--reset-offsets --to-earliest"):
        restored("format-1", Place(Axis.PROJECT, 0))


def test_a_changelog_of_a_newer_build_is_refused() -> None:
    value = orjson.dumps({"format": FORMAT + 1, "whatever": "it holds"})
    with pytest.raises(UnknownVersion, match=rf"format {FORMAT + 1}, this build reads 2 and 3: run the newer build"):
        Ledger().read(CHECKPOINT_KEY, value)


def test_a_worker_that_cannot_read_its_changelogs_ends_with_12() -> None:
    """70 would have it started again, to find the same."""
    program = """
import asyncio
from unittest.mock import Mock
from tieout.reconcilers.changes import UnknownVersion
from tieout.reconcilers.entities import Axis
from tieout.streams.handover import Handover
from tieout.streams.settings import Settings
from tieout.streams.tables import Place
handover = Handover(Settings(), Mock(), Mock(held={}), Mock())
def refuse(place, generation):
    raise UnknownVersion("format 3, this build reads 2")
handover._open = refuse
handover.assign([Place(Axis.CONTROL, 0)])
asyncio.run(handover.restore())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=os.environ)
    assert (ended.returncode, "format 3, this build reads 2" in ended.stderr) == (12, True), ended.stderr


def test_a_parked_change_of_a_newer_build_is_refused() -> None:
    with pytest.raises(UnknownVersion, match=r"a parked change of version 2, this build reads 1"):
        Parked.from_record({"v": 2})


# -- the store -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=ALL)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A frozen store."""
    unpacked = tmp_path / "tieout.duckdb"
    unpacked.write_bytes(gzip.decompress((HERE / request.param / "store.duckdb.gz").read_bytes()))
    return unpacked


def columns(path: Path) -> set[tuple[str, str, str]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return set(connection.execute("SELECT table_name, column_name, data_type FROM duckdb_columns() "
                                      "WHERE schema_name IN ('internal', 'v1')").fetchall())


def test_a_frozen_store_becomes_ours_and_keeps_its_rows(file: Path, tmp_path: Path) -> None:
    with Store(tmp_path / "new.duckdb"):
        pass
    with duckdb.connect(str(file), read_only=True) as connection:
        before = connection.execute("SELECT count(*), sum(ready_s) FROM internal.time_entry").fetchall()
        assert before[0][0] > 0
    with Store(file) as store:
        assert store.query("SELECT count(*), sum(ready_s) FROM internal.time_entry") == before
        assert store.query("SELECT value FROM internal.meta WHERE name = 'schema_version'") == [(SCHEMA_VERSION,)]
        assert store.query("SELECT count(*) FROM v1.time_entry") == [(before[0][0],)]
        for place, sequence in frames(OURS).items():
            store.write([each for each in played(place, sequence).snapshot().outcomes
                         if each.output in OUTPUT_TABLES])
    assert columns(file) == columns(tmp_path / "new.duckdb")


def test_a_column_that_is_new_is_added_and_one_that_became_another_is_refused(
        file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {table.name: table for table in KEYED_TABLES}

    def with_column(name: str, kind: str) -> tuple[Table, ...]:
        entries = Table("time_entry", {**tables["time_entry"].columns, name: kind})
        return tuple({**tables, "time_entry": entries}.values())

    monkeypatch.setattr(store_module, "KEYED_TABLES", with_column("mood", "int"))
    with Store(file) as store:
        assert store.query("SELECT DISTINCT mood FROM internal.time_entry") == [(None,)]
    monkeypatch.setattr(store_module, "KEYED_TABLES", with_column("ready_s", "int"))
    with pytest.raises(OtherVersion, match=r"time_entry.ready_s is BIGINT, this build writes INTEGER: move the file"):
        Store(file)


@pytest.mark.parametrize(("version", "said"), [
    ("0", r"store version 0, this build writes version \d+: move the file away \(mv .*\): .*`tieout replay CAPTURE"),
    ("99", r"store version 99, this build writes version \d+: run the newer build that wrote it, or move"),
])
def test_a_store_of_another_version_is_refused_and_left_as_it_is(
        file: Path, version: str, said: str, tmp_path: Path) -> None:
    with Store(file):
        pass
    with duckdb.connect(str(file)) as connection:
        connection.execute("UPDATE internal.meta SET value = ? WHERE name = 'schema_version'", [version])
    with pytest.raises(OtherVersion, match=said):
        Store(file)
    with duckdb.connect(str(file), read_only=True) as connection:
        assert connection.execute("SELECT value FROM internal.meta WHERE name = 'schema_version'").fetchall() == [
            (version,)]
    settings = Settings.model_validate({"sink": {"path": file, "publish_dir": tmp_path / "pub"}, "ops": {"port": 0}})
    assert run_sink(settings) == 12
