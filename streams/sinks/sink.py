"""The sink role: one process that moves the output topics into the store and publishes snapshots of it.

Offsets are stored with the rows, so a sink that is killed at any instant goes on exactly where its last transaction
ended. When the disk is full it waits and says so; it never skips.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from typing import Any, Final

import duckdb

from tieout.streams import clock
from tieout.streams.dependencies import BrokerWatch, expect, saw
from tieout.streams.metrics import counter, forget, gauge, histogram
from tieout.streams.ops import Answer, Heartbeat, OpsServer
from tieout.streams.settings import Settings
from tieout.streams.sinks.gauges import show
from tieout.streams.sinks.intake import OUTPUT_OF, Intake
from tieout.streams.sinks.publish import Publisher
from tieout.streams.sinks.source import OutputReader, RecordsLost, until_assigned
from tieout.streams.sinks.store import Store, StoreError

_DRAIN_S: Final = 10.0  # longest reading after SIGTERM
_HANGS_S: Final = 120.0  # a loop that does not turn so long is dead

log = logging.getLogger(__name__)


class Sink:
    """The loop: consume, write, publish. `wait(seconds)` is True once the process shall end."""

    def __init__(self, settings: Settings, wait: Callable[[float], bool]) -> None:
        self._settings = settings
        self._wait = wait
        expect("sink")
        self._store = Store(settings.sink.path)
        saw("store", up=True)
        self._publisher = Publisher(settings.sink.publish_dir, settings.sink.publish_every_s)
        self._reader = OutputReader(settings)
        self._written = True  # since the last snapshot; the first one is published whatever it holds
        self._failing = ""  # why nothing can be written now
        self._assigned = False
        self.turns = Heartbeat(within_s=_HANGS_S)

    def ready(self) -> Answer:
        """Whether rows arrive and are published."""
        if self._failing:
            return Answer(False, self._failing)
        if not self._assigned:
            return Answer(False, "waiting for the output topics")
        return Answer(self._publisher.published_us is not None, "a snapshot is published")

    def run(self) -> int:
        """Until told to stop: 0 after a drain and a last snapshot, 1 when something unwritten had to be given up."""
        try:
            self._publish()
            self._assigned = until_assigned(self._reader, self._store.offsets(), self._wait)
            while self._assigned and not self._wait(0):
                self.turn(self._settings.sink.batch_ms / 1_000)
            return self._drain()
        except RecordsLost as error:
            log.error("%s", error)
            return 1
        finally:
            self._reader.close()
            self._store.close()

    def turn(self, timeout_s: float) -> int:
        """One batch, and a snapshot where it is due; the number of records."""
        self.turns.beat()
        messages = self._reader.consume(self._settings.sink.batch_records, timeout_s)
        if messages:
            intake = Intake()
            intake.take(messages)
            if not self._write(intake):
                return 0
            self._reader.hint(intake.offsets)
        if self._written and self._publisher.due():
            self._publish()
        return len(messages)

    def _write(self, intake: Intake) -> bool:
        """Write until it succeeds; False when told to stop before that: the offsets did not move then."""
        delay_s, longest_s = self._settings.retry.first_s, self._settings.retry.longest_s
        while True:
            began_s = clock.monotonic_s()
            try:
                self._store.write_batch(intake.batch, intake.offsets)
            except (duckdb.Error, OSError, StoreError) as error:
                self._failing = f"the store cannot be written: {error}"
                saw("store", up=False)
                log.error("%s; trying again in %.1f s", self._failing, delay_s)
                if self._wait(delay_s):
                    return False
                self.turns.beat()
                delay_s = min(delay_s * 2, longest_s)
                self._reopen()
                continue
            self._failing = ""
            self._written = True
            saw("store", up=True)
            histogram("tieout_sink_transaction_seconds").observe(clock.monotonic_s() - began_s)
            _count(intake)
            return True

    def _reopen(self) -> None:
        """After a fatal error DuckDB refuses everything until the file is opened anew; that may fail as well."""
        self._store.close()
        try:
            self._store = Store(self._settings.sink.path)
        except (duckdb.Error, OSError, StoreError) as error:
            log.error("the store cannot be opened: %s", error)

    def _publish(self) -> None:
        published = self._publisher.publish(self._store)
        saw("snapshot", up=published)
        if published:
            self._written = False
            gauge("tieout_snapshot_last_success_timestamp_seconds").set(clock.now_us() / 1e6)
            show(self._store)
        self._show_lag()

    def _show_lag(self) -> None:
        forget("tieout_consumer_lag_records")
        for (topic, partition), records in self._reader.lags().items():
            gauge("tieout_consumer_lag_records", topic=topic, partition=str(partition)).set(records)

    def _drain(self) -> int:
        """What is in the topics already is written, then published."""
        ends_s = clock.monotonic_s() + _DRAIN_S
        while self._assigned and not self._failing and clock.monotonic_s() < ends_s:
            if not self.turn(timeout_s=0.5):
                break
        if not self._failing:
            self._publish()
        return 1 if self._failing else 0


def run(settings: Settings) -> int:
    """The role's process: ends with 0 after SIGTERM or SIGINT."""
    stop = threading.Event()
    _on_signals(stop)
    try:
        sink = Sink(settings, lambda seconds: stop.wait(seconds) if seconds else stop.is_set())
    except StoreError as error:
        log.critical("%s", error)
        return error.code
    with BrokerWatch(settings), OpsServer(settings.ops, "sink") as ops:
        ops.check("loop", sink.turns, "live")
        ops.check("store", sink.ready)
        return sink.run()


def _on_signals(stop: threading.Event) -> None:
    def end(number: int, _frame: Any) -> None:
        log.info("%s: draining, publishing, then ending", signal.Signals(number).name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def _count(intake: Intake) -> None:
    for topic, records in intake.counts.items():
        output = OUTPUT_OF.get(topic)
        counter("tieout_sink_records", output=output.value if output else topic).inc(records)
    if intake.refused:
        counter("tieout_events_rejected", source="tieout", reason="output").inc(intake.refused)
