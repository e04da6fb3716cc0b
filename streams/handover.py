"""How places change hands: what a worker restores when partitions are assigned, and drops when they are revoked."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NoReturn

from confluent_kafka import Consumer, TopicPartition

from tieout.reconcilers.changes import UnknownVersion
from tieout.reconcilers.entities import Axis
from tieout.streams.checkpoint import Checkpointer, Held, Outputs, Writer
from tieout.streams.clock import monotonic_s
from tieout.streams.metrics import forget, gauge, histogram
from tieout.streams.settings import Settings
from tieout.streams.shards import Reconciler, Shard
from tieout.streams.tables import Place, RestoreError, restore
from tieout.streams.topics import AXES, changes_topic

log = logging.getLogger(__name__)

EXIT_AGAIN: Final = 70  # start me again: everything needed is in the last checkpoint
EXIT_CONTRACT: Final = 12  # what is stored is of a format that this build does not know
_RESTORES_AT_ONCE: Final = 8  # each waits for the broker most of the time
_BROKER_S: Final = 15.0


class StaleRestore(Exception):
    """The places were assigned anew while this restore ran."""


def end_process(reason: str, error: BaseException | None = None, code: int = EXIT_AGAIN) -> NoReturn:
    """End this process at once, without the clean-up that would acknowledge what was not applied."""
    what = "to be restarted from the last checkpoint" if code == EXIT_AGAIN else "a restart does not help"
    log.critical("%s; ending with %d: %s", reason, code, what, exc_info=error)
    logging.shutdown()
    os._exit(code)


class Handover:
    """Keeps `checkpointer.held` equal to what is assigned. Called on the loop; restores run on threads."""

    def __init__(
        self, settings: Settings, reconciler: Reconciler, checkpointer: Checkpointer, outputs: Outputs
    ) -> None:
        self.assigned: frozenset[Place] = frozenset()
        self._settings = settings
        self._reconciler = reconciler
        self._checkpointer = checkpointer
        self._outputs = outputs
        self._generation = 0
        self._without_since_s = monotonic_s()
        self._pool = ThreadPoolExecutor(_RESTORES_AT_ONCE, thread_name_prefix="restore")

    async def revoked(self) -> None:
        """Write a last checkpoint of everything, then let go: with eager rebalancing all of it may move."""
        self._generation += 1
        self.assigned = frozenset()
        try:
            await self._checkpointer.checkpoint()
        except Exception:  # the next owner applies it again; our own end would only delay the others
            log.exception("no checkpoint before the hand-over")
        for place in list(self._checkpointer.held):
            self._checkpointer.drop(place)

    def assign(self, places: Iterable[Place]) -> None:
        """Take note of what is ours from now on."""
        self._generation += 1
        self.assigned = frozenset(place for place in places if place.partition < self.partitions(place.axis))
        self._without_since_s = monotonic_s()
        forget("tieout_assigned_partitions")
        for axis in AXES:
            count = sum(place.axis is axis for place in self.assigned)
            gauge("tieout_assigned_partitions", topic=changes_topic(axis)).set(count)

    async def restore(self) -> None:
        """Restore every place that is ours and not here; on failure the process ends."""
        generation, begun_s = self._generation, monotonic_s()
        places = sorted(self.assigned - self._checkpointer.held.keys())
        loop = asyncio.get_running_loop()
        jobs = [loop.run_in_executor(self._pool, self._open, place, generation) for place in places]
        results = await asyncio.gather(*jobs, return_exceptions=True)
        if generation != self._generation:
            log.info("restored for an assignment that is over; dropped")
            return
        for place, result in zip(places, results, strict=True):
            if isinstance(result, BaseException):
                again = not isinstance(result, UnknownVersion)
                end_process(f"cannot restore {place}: {result}", result, EXIT_AGAIN if again else EXIT_CONTRACT)
            self._checkpointer.held[place] = result
        histogram("tieout_rebalance_duration_seconds").observe(monotonic_s() - begun_s)
        log.info("holding %s", ", ".join(map(str, places)) or "nothing")

    def partitions(self, axis: Axis) -> int:
        """How many partitions an axis has."""
        return 1 if axis is Axis.CONTROL else self._settings.kafka.partitions

    def first_frame(self, place: Place, offset: int) -> int | None:
        """The offset of the first frame in the log from `offset` on; blocks."""
        return _first_frame(self._settings.kafka_client(), place, offset)

    @property
    def missing(self) -> list[Place]:
        """Places that are ours and not restored."""
        return sorted(self.assigned - self._checkpointer.held.keys())

    def missing_for_s(self) -> float:
        """How long something has been missing; a shard that was fenced comes back with the next assignment."""
        if not self.missing:
            self._without_since_s = monotonic_s()
        return monotonic_s() - self._without_since_s

    def _open(self, place: Place, generation: int) -> Held:
        """Fence, claim, read, rebuild. On a thread; blocks as long as the changelogs are long."""
        self._check(generation)  # a late fence would shut out the place's new owner
        client = self._settings.kafka_client()
        writer = Writer(self._settings.kafka_producer(), self._settings.group("worker"), place, self._outputs,
                        self._settings.retry.brokers_s)
        writer.fence()
        epochs: list[int] = []

        def claim(epoch: int) -> None:
            self._check(generation)
            writer.claim(epoch)
            epochs.append(epoch)

        restored = restore(client, place, self._reconciler.tables, claim)
        self._check(generation)
        shard = Shard.restored(place, self.partitions(place.axis), epochs[0], self._reconciler, restored)
        _check_frames(client, place, shard.next_offset)
        log.info("restored %s at frame offset %d, epoch %d", place, shard.next_offset, epochs[0])
        return Held(shard, writer)

    def _check(self, generation: int) -> None:
        if generation != self._generation:
            raise StaleRestore


def _first_frame(client: dict[str, Any], place: Place, offset: int) -> int | None:
    consumer = Consumer({**client, "group.id": "tieout-restore", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(changes_topic(place.axis), place.partition, offset)])
        for message in consumer.consume(1, _BROKER_S):
            if message.error() is None:
                return message.offset()
        return None
    finally:
        consumer.close()


def _check_frames(client: dict[str, Any], place: Place, next_offset: int) -> None:
    """RestoreError when frames that were never applied have been deleted, or the changes topic was made anew."""
    topic = changes_topic(place.axis)
    consumer = Consumer({**client, "group.id": "tieout-restore", "enable.auto.commit": False})
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, place.partition), timeout=_BROKER_S)
    finally:
        consumer.close()
    if not low <= next_offset <= high:
        raise RestoreError(
            f"{topic} [{place.partition}] holds offsets {low} to {high}, the next frame to apply is {next_offset}: "
            "frames are lost; delete the worker's tables and replay the sources"
        )
