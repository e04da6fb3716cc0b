"""Kill -9 of a writer that publishes, again and again: rows and offsets agree, and no reader ever fails."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tieout.streams.sinks.publish import Publisher
from tieout.streams.sinks.reader import Snapshot
from tieout.streams.sinks.store import Store

KILLS = 10
AGREE = """
SELECT (SELECT coalesce(max(next), 0) FROM internal.kafka_offsets), (SELECT count(*) FROM v1.time_entry),
       (SELECT count(*) FROM v1.finding_event), (SELECT coalesce(sum(numerator), 0) FROM v1.kpi)
"""

# Batch i writes entry i, a step of finding i, i + 1 as the only cell, and i + 1 as the offset.
WRITER = """
import sys
from sink_rows import cell, entry, finding_event
from tieout.streams.sinks.publish import Publisher
from tieout.streams.sinks.store import Store
store, publisher = Store(sys.argv[1]), Publisher(__import__("pathlib").Path(sys.argv[2]), 0.01)
at = store.offsets().get(("t", 0), 0)
print("ready", flush=True)
while True:
    store.write([entry(at), finding_event(at), cell(at + 1)], {("t", 0): at + 1})
    at += 1
    if publisher.due():
        publisher.publish(store)
"""


def writer(path: Path, directory: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def read_until(stop: threading.Event, snapshot: Path, seen: list[tuple[int, ...]], failures: list[Exception]) -> None:
    while not stop.is_set():
        if snapshot.exists():
            try:
                with Snapshot(snapshot) as opened:
                    seen += opened.query(AGREE).rows
            except Exception as error:
                failures.append(error)
        time.sleep(0.02)


@pytest.mark.timeout(180)
def test_killed_writers_lose_nothing_and_readers_never_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))
    path, directory = tmp_path / "store.duckdb", tmp_path / "pub"
    stop = threading.Event()
    seen: list[tuple[int, ...]] = []
    failures: list[Exception] = []
    reader = threading.Thread(target=read_until, args=(stop, directory / "analytics.duckdb", seen, failures))
    reader.start()
    chance, ends = random.Random(7), []
    try:
        for _ in range(KILLS):
            process = writer(path, directory)
            time.sleep(chance.uniform(0.05, 0.6))
            process.kill()
            process.wait()
            with Store(path) as store:
                ((written, *rows),) = store.query(AGREE)
                assert rows == [written] * 3
                ends.append(written)
    finally:
        stop.set()
        reader.join()
    assert ends == sorted(ends)
    assert len(set(ends)) > 2  # the writers did write
    assert failures == []
    assert seen
    assert all(written == entries == events == cells for written, entries, events, cells in seen)
    assert seen == sorted(seen)  # nobody ever went back in time


def test_a_publisher_tidies_up_and_keeps_three(tmp_path: Path) -> None:
    """What a killed publisher left half-copied goes away; so do old snapshots, but not those that may be open."""
    directory = tmp_path / "pub"
    directory.mkdir()
    (directory / ".analytics_1.duckdb").write_bytes(b"half")
    (directory / "analytics.duckdb.tmp").symlink_to("nowhere")
    publisher = Publisher(directory, 0.0)
    with Store(tmp_path / "store.duckdb") as store:
        for _ in range(5):
            assert publisher.publish(store)
    names = sorted(path.name for path in directory.iterdir())
    assert len(names) == 4
    assert (directory / "analytics.duckdb").readlink().name == names[-1]


def test_a_slow_copy_is_made_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of 0.1 s may come every 2 s, however often it is wanted."""
    clock = iter([0.0, 0.0, 0.1, 1.99, 2.01])
    monkeypatch.setattr("tieout.streams.clock.monotonic_s", lambda: next(clock))
    publisher = Publisher(tmp_path / "pub", 0.5)
    with Store(tmp_path / "store.duckdb") as store:
        assert publisher.publish(store)
    assert [publisher.due(), publisher.due()] == [False, True]


def test_a_failed_copy_leaves_the_snapshot_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = Publisher(tmp_path / "pub", 0.0)
    with Store(tmp_path / "store.duckdb") as store:
        assert publisher.publish(store)
        before = publisher.snapshot.readlink()

        def full(self: Store, target: Path) -> None:
            target.write_bytes(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Store, "copy_to", full)
        assert not publisher.publish(store)
    assert publisher.snapshot.readlink() == before
    assert sorted(path.name for path in (tmp_path / "pub").iterdir()) == sorted(["analytics.duckdb", str(before)])
