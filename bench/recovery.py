"""`python -m bench.recovery`: seconds until a worker's tables are back, by phase, at several sizes of changelog.

The rows are those that the engine wrote for four weeks of the simulator's firm, repeated under other names until there
are as many keys as asked for: firms beside each other, a part of them on each partition. They lie in changelogs on
Apache Kafka with a claim and a checkpoint, and are restored by the worker's own code, in one process a core.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import re
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import orjson
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from rich.console import Console
from rich.table import Table

from bench.frames import story_frames
from tieout.reconcilers.engine import TABLES, State, apply, settle
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.policy import Policy
from tieout.streams import collector
from tieout.streams.localcopy import Folder
from tieout.streams.settings import Kafka, Settings
from tieout.streams.shards import Reconciler, Shard
from tieout.streams.tables import CHECKPOINT_KEY, CLAIM_KEY, Checkpoint, Place, Stamp, restore
from tieout.streams.topics import LEDGER, changes_topic, table_topic

Row = tuple[str, str, Any]
SIZES: Final = (10_000, 100_000, 1_000_000)
GOAL_S: Final = 60.0  # for a million keys on two cores
_PARTITIONS: Final = 4
_PROCESSES: Final = 2  # one a core, each with half of the partitions, as two workers of a group
# Names of what a firm has of its own: entries, projects (and contracts, assignments and rates that are named after
# them), workers, opportunities, postings and invoices.
_NAMES: Final = re.compile(
    r"TIME:\d{5}|[A-Z]+-2\d{4}(?!\d)|\bW\d{4}(?!\d)|O-5\d{3}|LT-\d{5}|(?:UK|DE)-26-\d{4}|INT-[A-Z]{2}\b"
)


def firm_rows() -> list[Row]:
    """What the engine's changelogs hold after the story, on one partition."""
    state = State(Axis.PROJECT, 0, 1, Policy())
    rows: dict[tuple[str, str], Any] = {}
    for axis, _, frame in story_frames(1):
        if axis is Axis.PROJECT:
            apply(state, frame)
            settle(state)
            rows.update({(table, key): value for table, key, value in state.drain()})
    return [(table, key, value) for (table, key), value in rows.items() if value is not None]


class Firms:
    """Rows of a firm, and of others like it under other names; masters of the group stay as they are."""

    def __init__(self, rows: list[Row]) -> None:
        self._shared: list[tuple[str, bytes, bytes]] = []
        self._templates: list[tuple[str, str, str]] = []
        for table, key, value in sorted(rows, key=lambda row: row[1].startswith("L|")):  # lives have their findings
            text = orjson.dumps(value).decode()
            if _NAMES.search(key):
                self._templates.append((table, _NAMES.sub(r"\g<0>\0", key), _NAMES.sub(r"\g<0>\0", text)))
            else:
                self._shared.append((table, key.encode(), text.encode()))

    def rows(self, keys: int) -> Iterator[tuple[str, bytes, bytes]]:
        """So many (table, key, value), each key once."""
        yield from self._shared
        left = keys - len(self._shared)
        for number in range(left // len(self._templates) + 1):
            name = f"x{number}"
            for table, key, value in self._templates[: left - number * len(self._templates)]:
                yield table, key.replace("\0", name).encode(), value.replace("\0", name).encode()


def fill(settings: Settings, firms: Firms, keys: int) -> None:
    """Topics with the changelogs of every partition, as one checkpoint of epoch 1."""
    topics = [*(table_topic(table) for table in (LEDGER, *TABLES)), changes_topic(Axis.PROJECT)]
    admin = AdminClient(settings.kafka_client())
    for future in admin.create_topics([NewTopic(name, _PARTITIONS, 1) for name in topics]).values():
        future.result(30)
    producer = Producer(settings.kafka_producer({"queue.buffering.max.messages": 1_000_000, "compression.type": "lz4"}))
    header = Stamp(1, 1).header()
    for partition in range(_PARTITIONS):
        puts: dict[str, int] = {}
        for table, key, value in firms.rows(keys // _PARTITIONS):
            puts[table] = puts.get(table, 0) + 1
            while True:
                try:
                    producer.produce(table_topic(table), value, key, partition, headers=header)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        ledger = table_topic(LEDGER)
        producer.produce(ledger, orjson.dumps({"epoch": 1}), CLAIM_KEY, partition)
        producer.produce(ledger, Checkpoint(1, 1, 0, puts).to_bytes(), CHECKPOINT_KEY, partition)
    if left := producer.flush(120):
        raise RuntimeError(f"{left} rows were not delivered within 120 s")


class _Timed(State):
    """The engine's state, and how long it took to take its rows up."""

    facts_s = 0.0
    derived_s = 0.0

    def restore(self, table: str, key: str, value: Any) -> None:
        begun = time.perf_counter()
        super().restore(table, key, value)
        _Timed.facts_s += time.perf_counter() - begun

    def restored(self) -> None:
        begun = time.perf_counter()
        super().restored()
        _Timed.derived_s += time.perf_counter() - begun


def restore_some(settings: Settings, partitions: list[int], folder: Path | None, ready: Any, results: Any) -> None:
    """What one worker does with its share; its figures go to `results`."""
    reconciler = Reconciler(lambda axis, n, of: _Timed(axis, n, of, Policy()), apply, settle, TABLES)
    gc.collect()
    ready.wait()
    begun, cpu = time.perf_counter(), time.process_time()
    reading_s, shards, keys = 0.0, [], 0
    with collector.off():
        for partition in partitions:
            place, since = Place(Axis.PROJECT, partition), time.perf_counter()
            copy = Folder(folder, settings.kafka_client()).load(place) if folder else None
            restored = restore(settings.kafka_client(), place, TABLES, lambda epoch: None, copy=copy)
            reading_s += time.perf_counter() - since
            keys += len(restored.rows)
            shards.append(Shard.restored(place, 1, 2, reconciler, restored))
    whole_s = time.perf_counter() - begun
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    results.put(
        {
            "keys": keys, "ready_s": whole_s, "cpu_s": time.process_time() - cpu, "reading_s": reading_s,
            "facts_s": _Timed.facts_s, "derived_s": _Timed.derived_s, "peak_mb": peak_mb,
            "json_s": whole_s - reading_s - _Timed.facts_s - _Timed.derived_s,
        }
    )  # fmt: skip


def measure(settings: Settings, folder: Path | None = None) -> dict[str, Any]:
    """Restore every partition, in processes side by side: the slowest's times, memory together."""
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(_PROCESSES), context.Queue()
    processes = [
        context.Process(
            target=restore_some,
            args=(settings, list(range(number, _PARTITIONS, _PROCESSES)), folder, ready, results),
        )
        for number in range(_PROCESSES)
    ]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes) and results.qsize() < len(processes):
        if any(process.exitcode for process in processes):
            ready.abort()  # the others wait for one that is gone
        time.sleep(0.1)
    found = [results.get(timeout=10) for _ in processes]
    for process in processes:
        process.join()
    summed = {name: sum(each[name] for each in found) for name in ("keys", "cpu_s", "peak_mb")}
    return {**{name: max(each[name] for each in found) for name in found[0]}, **summed}


def main() -> int:
    from bench.__main__ import broker

    parser = argparse.ArgumentParser(prog="make bench-recovery", description=__doc__)
    parser.add_argument("--broker", choices=["kafka", "embedded"], default="kafka", help="embedded: the smallest only")
    parser.add_argument("--keys", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--snapshots", action="store_true", help="also from local snapshots that are whole")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args()
    firms, report = Firms(firm_rows()), []
    for keys in options.keys:
        with broker(options.broker) as (name, bootstrap, embedded), TemporaryDirectory() as scratch:
            if embedded:
                raise SystemExit("the embedded broker keeps 5 MB a partition: only Apache Kafka holds such changelogs")
            settings = Settings(kafka=Kafka(client={"bootstrap.servers": bootstrap}, partitions=_PARTITIONS))
            fill(settings, firms, keys)
            report.append({"broker": name, "from": "changelogs", **measure(settings)})
            if options.snapshots:
                for partition in range(_PARTITIONS):
                    Folder(Path(scratch), settings.kafka_client()).refresh(Place(Axis.PROJECT, partition), TABLES)
                report.append({"broker": name, "from": "snapshots", **measure(settings, Path(scratch))})
    _print(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if all(each["ready_s"] <= GOAL_S for each in report) else 1


def _print(report: list[dict[str, Any]]) -> None:
    table = Table(title=f"{_PROCESSES} processes, {_PARTITIONS} partitions, {os.cpu_count()} cores")
    columns = ("keys", "from", "ready s", "reading", "JSON", "facts", "derived", "processor s", "MB")
    for column in columns:
        table.add_column(column, justify="left" if column == "from" else "right")
    for each in report:
        times = (each[f"{name}_s"] for name in ("ready", "reading", "json", "facts", "derived", "cpu"))
        table.add_row(f"{each['keys']:,}", each["from"], *(f"{value:.1f}" for value in times), f"{each['peak_mb']:,}")
    Console().print(table)
    print(f"load {os.getloadavg()[0]:.1f}; goal: a million keys within {GOAL_S:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
