"""An observer beside a run: when each role advanced, and what an audit says at instants in between.

A role has recovered from a fault when every partition that it writes has advanced since: frames of ingest, checkpoints
of the worker, offsets of the sink. The audit is the audit role's own, and sums of KPI cells as a snapshot shows them.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from contextlib import suppress
from typing import Any, Final, NamedTuple

import duckdb
from confluent_kafka import Consumer, KafkaException, TopicPartition

from tieout.reconcilers.entities import Axis
from tieout.reconcilers.outcomes import Output
from tieout.streams.audit import Auditor, Difference, read_to
from tieout.streams.settings import Settings
from tieout.streams.sinks.publish import SNAPSHOT
from tieout.streams.sinks.reader import Snapshot, SnapshotMissing
from tieout.streams.topics import LEDGER, changes_topic, output_topic, table_topic

AUDIT_EVERY_S: Final = 3.0
_ON_ITS_WAY_S: Final = 0.3  # what a role sent just before the fault
SUMS: Final = """SELECT kpi, measure, unit, currency, sum(numerator)::BIGINT FROM internal.kpi_cell
    GROUP BY ALL"""

Cell = tuple[str, str, str, str | None]  # KPI, measure, unit, currency


class Sample(NamedTuple):
    """A snapshot at an audit instant: where its offsets stand, and its KPIs summed over all cells."""

    offsets: dict[tuple[str, int], int]
    sums: dict[Cell, int]


class Watch:
    """Two threads; `close` ends them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._seen: dict[str, dict[int, list[float]]] = {
            role: defaultdict(list) for role in ("ingest", "worker", "sink")
        }
        self.samples: list[Sample] = []
        self.differences: list[Difference] = []
        self.audits = 0
        self._threads = [threading.Thread(target=job, daemon=True) for job in (self._advance, self._audit)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def recovery_s(self, role: str, since: float) -> float | None:
        """Seconds from `since` until every partition of a role had advanced; None when one never did."""
        after = [
            next((at for at in times if at > since + _ON_ITS_WAY_S), None) for times in self._seen[role].values()
        ]
        known = [at for at in after if at is not None]
        return max(known) - since if known and len(known) == len(after) else None

    def _advance(self) -> None:
        frames, ledger = changes_topic(Axis.PROJECT), table_topic(LEDGER)
        consumer = Consumer(self._settings.kafka_client({
            "group.id": "watch", "enable.auto.commit": False, "isolation.level": "read_committed", "log_level": 0,
            "auto.offset.reset": "earliest",
        }))
        count = self._settings.kafka.partitions
        consumer.assign([TopicPartition(topic, n, 0) for topic in (frames, ledger) for n in range(count)])
        sink = Consumer(self._settings.kafka_client({"group.id": self._settings.group("sink"), "log_level": 0}))
        before, asked = None, 0.0
        while not self._stop.is_set():
            for message in consumer.consume(500, 0.1):
                if message.error() is None:
                    role = "ingest" if message.topic() == frames else "worker"
                    self._seen[role][message.partition() or 0].append(time.monotonic())
            if time.monotonic() - asked > 0.3:
                offsets, asked = self._sink_at(sink), time.monotonic()
                if offsets and offsets != before:
                    self._seen["sink"][0].append(time.monotonic())
                    before = offsets
        consumer.close()
        sink.close()

    def _sink_at(self, consumer: Consumer) -> list[int] | None:
        topic = output_topic(Output.KPI_STATE)
        parts = [TopicPartition(topic, number) for number in range(self._settings.kafka.partitions)]
        try:
            return [tp.offset for tp in consumer.committed(parts, 1.0)]
        except KafkaException:
            return None

    def _audit(self) -> None:
        auditor = Auditor(self._settings)
        while not self._stop.wait(AUDIT_EVERY_S):
            with suppress(SnapshotMissing, KafkaException, duckdb.Error, OSError):
                self.differences += auditor.compare()
                self.audits += 1
                self.samples.append(sample(self._settings))
        auditor.close()


def sample(settings: Settings) -> Sample:
    """The newest snapshot's offsets and sums."""
    with Snapshot((settings.sink.publish_dir / SNAPSHOT).resolve()) as snapshot:
        rows: list[Any] = snapshot.query(SUMS).rows
        return Sample(read_to(snapshot), {(kpi, measure, unit, ccy): total for kpi, measure, unit, ccy, total in rows})
