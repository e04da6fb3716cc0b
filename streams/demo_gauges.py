"""How far each role is, in records: what it has read of the topics that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from tieout.reconcilers.entities import Axis
from tieout.reconcilers.outcomes import PUBLISHED
from tieout.streams.pressure import GroupProgress, Partition, Standing
from tieout.streams.simulate.facts import TOPICS
from tieout.streams.topics import changes_topic, output_topic

if TYPE_CHECKING:
    from tieout.streams.settings import Role, Settings

_RAW: Final = [(topic.name, number) for topic in TOPICS for number in range(topic.partitions)]


class Gauges:
    """Offsets of ingest and worker from their consumer groups, those of the sink from the published snapshot."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        wide = range(settings.kafka.partitions)
        self._reads: dict[str, list[Partition]] = {
            "ingest": _RAW,
            "worker": [*((changes_topic(axis), number) for axis in (Axis.PROJECT, Axis.WORKER) for number in wide),
                       (changes_topic(Axis.CONTROL), 0)],
            "sink": [(output_topic(output), number) for output in PUBLISHED for number in wide],
        }
        groups: tuple[Role, ...] = ("ingest", "worker", "sink")
        self._progress: dict[str, GroupProgress] = {
            role: GroupProgress(settings, settings.group(role)) for role in groups
        }

    def close(self) -> None:
        """Leave the broker."""
        for progress in self._progress.values():
            progress.close()

    def standings(self, role: str) -> dict[Partition, Standing]:
        """The committed, first and next offsets of what a role reads."""
        return self._progress[role](self._reads[role])

    def ends(self, role: str) -> dict[Partition, int]:
        """The next offset of every partition that a role reads, now."""
        return {partition: standing.high for partition, standing in self.standings(role).items()}

    def read_by(self, role: str) -> int:
        """Records that a role has read."""
        return sum(standing.committed or 0 for standing in self.standings(role).values())

    def unread(self, role: str, ends: Mapping[Partition, int]) -> int:
        """Records before `ends` that a role has not read; of the sink, those that are not published.

        Outputs are written in transactions, so the last offset of their partitions is a marker that nobody reads.
        """
        done, markers = (self._published(), 1) if role == "sink" else (self._committed(role), 0)
        return sum(max(0, end - markers - done.get(partition, 0)) for partition, end in ends.items())

    def _committed(self, role: str) -> dict[Partition, int]:
        return {partition: standing.committed or 0 for partition, standing in self.standings(role).items()}

    def _published(self) -> dict[Partition, int]:
        from tieout.streams.sinks.publish import SNAPSHOT
        from tieout.streams.sinks.reader import Snapshot, SnapshotMissing

        try:
            with Snapshot(self._settings.sink.publish_dir / SNAPSHOT) as snapshot:
                return {(topic, part): following for topic, part, following in snapshot.query(
                    "SELECT topic, part, next FROM internal.kafka_offsets").rows}
        except SnapshotMissing:
            return {}
