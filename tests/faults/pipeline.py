"""The whole pipeline as real processes on a real broker, fed with the simulated firm's four weeks."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb
from brokers import KafkaCluster
from confluent_kafka import Producer

from tieout.codecs.records import RawRecord
from tieout.streams import demo
from tieout.streams.app import command
from tieout.streams.demo_gauges import Gauges
from tieout.streams.replay import Options, replay
from tieout.streams.simulate.delivery import Record
from tieout.streams.simulate.story import tell

ROLES: Final = ("ingest", "worker", "sink")
SESSION_MS: Final = 6_000
_SETTLE_S: Final = 180.0
_STOP_S: Final = 30.0
# What depends on when somebody looked: instants of detection, what they graded, and rows made of them.
DETECTED: Final = {
    "v1.time_entry": ("updated_at",),
    "v1.finding": ("opened_at", "updated_at"),
    "v1.kpi": ("as_of", "complete_through", "freshness"),
}
ORDERED: Final = {
    "v1.time_entry": "SELECT * FROM v1.time_entry",
    "v1.finding": "SELECT * FROM v1.finding WHERE code <> 'SOURCE_STALE'",
    "v1.kpi": "SELECT * FROM v1.kpi WHERE kpi NOT IN ('sync_lag', 'duplicates_suppressed')",
}


class Role:
    """One process of a role; `number` tells several of one role apart."""

    def __init__(self, role: str, config: Path, folder: Path, number: int = 0) -> None:
        self.role = role
        self.log = folder / f"{role}-{number}.log"
        self._command = [sys.executable, "-m", *command(role, config)]
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env=_environment())
        self.starts += 1

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, wherever it is."""
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self.process is not None
        self.signal(signal.SIGTERM)
        return self.process.wait(_STOP_S)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3_000:]


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "TIEOUT_OPS__PORT": "0"}


class Plant:
    """Broker topics, configuration, roles and the firm's records."""

    def __init__(self, kafka: KafkaCluster, folder: Path, records: list[Record]) -> None:
        demo.prepare(folder)
        self.folder, self.records = folder, records
        self.config = folder / "tieout.toml"
        extra = f'"session.timeout.ms" = {SESSION_MS}\n"heartbeat.interval.ms" = 1500'
        text = demo.configuration(kafka.bootstrap, folder, 1)
        line = f'"bootstrap.servers" = "{kafka.bootstrap}"'
        self.config.write_text(text.replace(line, f"{line}\n{extra}"), encoding="utf-8")
        self.settings = demo.load(self.config)
        for name, partitions in demo.topics(self.settings):
            kafka.create(name, partitions, {"cleanup.policy": "compact"} if _compacted(name) else None)
        self.roles = {role: Role(role, self.config, folder) for role in ROLES}

    def feed(self, seconds: float) -> threading.Thread:
        """Send all records, evenly over so many seconds; the thread ends when the last is acknowledged."""
        thread = threading.Thread(target=self._feed, args=(seconds,), daemon=True)
        thread.start()
        return thread

    def _feed(self, seconds: float) -> None:
        producer = Producer({"bootstrap.servers": str(self.settings.kafka.client["bootstrap.servers"]),
                             "enable.idempotence": True, "linger.ms": 5})
        begun = time.monotonic()
        for index, record in enumerate(self.records):
            ahead = begun + seconds * index / len(self.records) - time.monotonic()
            if ahead > 0.02:
                producer.poll(0)
                time.sleep(ahead)
            producer.produce(record.topic, record.value, record.key, record.partition, timestamp=record.at // 1_000)
        producer.flush(60)

    @contextmanager
    def running(self) -> Iterator[Plant]:
        """All roles; whatever is left of them is killed at the end."""
        for role in self.roles.values():
            role.start()
        try:
            yield self
        finally:
            for role in self.roles.values():
                if role.alive:
                    role.kill()

    def settle(self) -> None:
        """Until each role in turn has read all that was there when the one before it had."""
        gauges = Gauges(self.settings)
        try:
            for role in ROLES:
                self._until_read(gauges, role)
        finally:
            gauges.close()

    def _until_read(self, gauges: Gauges, role: str) -> None:
        ends, deadline = gauges.ends(role), time.monotonic() + _SETTLE_S
        while gauges.unread(role, ends) > 0:
            assert self.roles[role].alive, f"{role} ended: {self.roles[role].tail()}"
            assert time.monotonic() < deadline, f"{role} stands still: {self.roles[role].tail()}"
            time.sleep(0.3)

    def stop(self) -> dict[str, int]:
        """SIGTERM to every role, in the order of the stream; exit codes."""
        return {name: role.stop() for name, role in self.roles.items()}

    @property
    def database(self) -> Path:
        return Path(self.settings.sink.path)


def _compacted(name: str) -> bool:
    return name.startswith("tieout.tables.") or name.endswith((".state.v1", "xref.v1", "parked.v1"))


def four_weeks() -> list[Record]:
    """The firm's records in order of delivery."""
    return tell().records


def raw(records: list[Record]) -> list[RawRecord]:
    """The records as a reader of the topics would get them."""
    offsets: dict[tuple[str, int], int] = {}
    found = []
    for record in records:
        place = (record.topic, record.partition)
        offsets[place] = offsets.get(place, -1) + 1
        key = record.key.encode() if record.key is not None else None
        found.append(RawRecord(*place, offsets[place], record.at // 1_000, key, record.value))
    return found


def replayed(records: list[Record], database: Path) -> Path:
    """The same records through `tieout replay`."""
    replay(raw(records), database, Options())
    return database


def rows(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What must be equal, by view, sorted."""
    found = {}
    with duckdb.connect(str(database), read_only=True) as connection:
        for view, query in ORDERED.items():
            kept = connection.execute(f"SELECT * EXCLUDE ({', '.join(DETECTED[view])}) FROM ({query})").fetchall()
            found[view] = sorted(kept, key=repr)
    return found


def differences(left: dict[str, list[tuple[Any, ...]]], right: dict[str, list[tuple[Any, ...]]]) -> list[str]:
    """Rows that only one side has, readable."""
    lines = []
    for view in ORDERED:
        ours, theirs = set(map(repr, left[view])), set(map(repr, right[view]))
        lines += [f"{view}: only in the stream: {row}" for row in sorted(ours - theirs)]
        lines += [f"{view}: only in the replay: {row}" for row in sorted(theirs - ours)]
        if len(left[view]) != len(right[view]):
            lines.append(f"{view}: {len(left[view])} rows in the stream, {len(right[view])} in the replay")
    return lines


def pause(chance: random.Random, low_s: float, high_s: float) -> None:
    time.sleep(chance.uniform(low_s, high_s))
