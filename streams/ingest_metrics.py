"""What ingest counts, once a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tieout.streams import clock
from tieout.streams.metrics import counter, forget, gauge
from tieout.streams.pipeline import Batch, Pipeline


class IngestMetrics:
    """Turns the pipeline's running totals into counters; a new pipeline starts its totals anew."""

    def __init__(self) -> None:
        self._pipeline: Pipeline | None = None
        self._before: dict[str, Counter[str]] = {}

    def assigned(self, topics: Iterable[str]) -> None:
        """Set the number of partitions that this process reads, by topic."""
        forget("tieout_assigned_partitions")
        for topic, partitions in Counter(topics).items():
            gauge("tieout_assigned_partitions", topic=topic).set(partitions)

    def batch(self, pipeline: Pipeline, batch: Batch) -> None:
        """Add what a batch brought."""
        if pipeline is not self._pipeline:
            self._pipeline, self._before = pipeline, {}
        for outgoing in batch.frames:
            counter("tieout_frames_produced", axis=outgoing.axis.value).inc()
        for (source, reason), number in batch.rejected.items():
            counter("tieout_events_rejected", source=source, reason=reason).inc(number)
        self._totals(pipeline)
        self._watermarks(pipeline)

    def _totals(self, pipeline: Pipeline) -> None:
        heard: set[str] = set()
        if all(totals == self._before.get(name) for name, totals in pipeline.totals.items()):
            return
        for name, totals in pipeline.totals.items():
            source = name.partition("|")[0]
            before = self._before.get(name, Counter())
            heard.add(source)
            counter("tieout_events_consumed", source=source).inc(totals.get("received", 0) - before["received"])
            counter("tieout_events_filtered", source=source).inc(totals.get("filtered", 0) - before["filtered"])
            gauge("tieout_parked_changes", source=source).inc(totals.get("parked", 0) - before["parked"])
            self._before[name] = Counter(totals)
        for source in heard:
            gauge("tieout_source_last_heartbeat_timestamp_seconds", source=source).set(clock.now_us() / 1e6)

    def _watermarks(self, pipeline: Pipeline) -> None:
        stated = pipeline.watermarks.vector()
        for source, parts in pipeline.sources.items():
            known = [stated[part] for part in parts if part in stated]
            if parts and len(known) == len(parts):
                gauge("tieout_watermark_timestamp_seconds", source=source).set(min(known) / 1e6)
