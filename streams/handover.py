"""How places change hands: what a worker restores when partitions are assigned, and drops when they are revoked."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any, Final, NoReturn

from confluent_kafka import Consumer, TopicPartition

from tieout.reconcilers.changes import UnknownVersion
from tieout.reconcilers.entities import Axis
from tieout.streams import collector
from tieout.streams.checkpoint import Checkpointer, Held, Outputs, Writer
from tieout.streams.clock import monotonic_s
from tieout.streams.localcopy import Folder
from tieout.streams.metrics import counter, forget, gauge, histogram
from tieout.streams.settings import Settings
from tieout.streams.shards import Reconciler, Shard
from tieout.streams.tables import Place, Restored, RestoreError, Watch, reread, restore
from tieout.streams.topics import AXES, changes_topic

log = logging.getLogger(__name__)

EXIT_AGAIN: Final = 70  # start me again: everything needed is in the last checkpoint
EXIT_CONTRACT: Final = 12  # what is stored is of a format that this build does not know
_RESTORES_AT_ONCE: Final = 8  # each waits for the broker most of the time
_BROKER_S: Final = 15.0
_TELL_S: Final = 5.0  # between two lines about a restore that takes its time
_WORTH_A_SNAPSHOT: Final = 20_000  # records read from changelogs, after which a restore writes one itself
_SNAPSHOTS_S: Final = 6.0  # for all snapshots of a process that is asked to end; those before stay good


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
        self._done = 0
        self._jobs: list[asyncio.Future[Held]] = []
        self._pool = ThreadPoolExecutor(_RESTORES_AT_ONCE, thread_name_prefix="restore")
        self._watches: dict[Place, Watch] = {}  # of the restores that run
        folder = settings.checkpoint.snapshot_dir
        self._folder = Folder(folder, settings.kafka_client()) if folder else None

    def abandon(self) -> None:
        """End the restores that run; what they would bring is not wanted any more."""
        self._generation += 1

    @property
    def busy(self) -> bool:
        """Whether a restore has not noticed yet that it was abandoned."""
        return any(not job.done() for job in self._jobs)

    async def shutdown(self) -> None:
        """As `revoked`; what runs is ended, and the next start of this process finds snapshots."""
        held = sorted(self._checkpointer.held)
        await self.revoked()
        with suppress(TimeoutError):
            async with asyncio.timeout(_SNAPSHOTS_S):
                for place in held:
                    await self._refresh(place)

    async def snapshots(self) -> None:
        """Bring the local snapshots up to date every so often, one place after the other, until cancelled."""
        while self._folder:
            await asyncio.sleep(self._settings.checkpoint.snapshot_every_s)
            for place in sorted(self._checkpointer.held):
                await self._refresh(place)

    async def _refresh(self, place: Place) -> None:
        """Nothing is written to the changelogs while what followed is read; a snapshot that fails costs only time."""
        if self._folder is None:
            return
        folder, tables = self._folder, self._reconciler.tables
        run = partial(asyncio.get_running_loop().run_in_executor, self._pool)
        try:
            copy = await run(folder.load, place)
            async with self._checkpointer.pause():
                read = await run(reread, self._settings.kafka_client(), place, tables, copy)
            await run(folder.save, place, read, tables)
        except Exception as error:
            log.warning("no local snapshot of %s: %s", place, error)

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
        watches = self._watches = {place: Watch(partial(self._check, generation)) for place in places}
        telling = asyncio.create_task(self._tell(watches))
        try:
            with collector.off():
                jobs = [loop.run_in_executor(self._pool, self._open, place, watches[place]) for place in places]
                self._jobs = jobs
                results = await asyncio.gather(*jobs, return_exceptions=True)
                self._jobs = []  # all done: they would keep what is dropped later
        finally:
            telling.cancel()
        if generation != self._generation:
            log.info("restored for an assignment that is over; dropped")
            return
        for place, result in zip(places, results, strict=True):
            if isinstance(result, BaseException):
                again = not isinstance(result, UnknownVersion)
                end_process(f"cannot restore {place}: {result}", result, EXIT_AGAIN if again else EXIT_CONTRACT)
            self._checkpointer.held[place] = result
        self._watches = {}
        gauge("tieout_restore_progress_ratio").set(1)
        histogram("tieout_rebalance_duration_seconds").observe(monotonic_s() - begun_s)
        log.info("holding %s", ", ".join(map(str, places)) or "nothing")

    async def _tell(self, watches: Mapping[Place, Watch]) -> None:
        """Say how far a restore is, in the log and as a metric, until cancelled."""
        gauge("tieout_restore_progress_ratio").set(0)
        for beat in count(1):
            await asyncio.sleep(_TELL_S / 5)
            gauge("tieout_restore_progress_ratio").set(_share(watches.values()))
            if beat % 5 == 0:
                log.info("restoring: %s", "; ".join(f"{place} {_told(watch)}" for place, watch in watches.items()))

    def progress(self) -> str:
        """How far the restores are that run, in words; empty where none runs. From any thread."""
        watches = dict(self._watches)
        if not watches:
            return ""
        return f"{_share(watches.values()):.0%}: " + ", ".join(f"{p} {_told(w)}" for p, w in watches.items())

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
        done = sum(watch.read + watch.rebuilt for watch in self._watches.values())
        deriving = any(watch.deriving for watch in self._watches.values())
        if not self.missing or deriving or done != self._done:  # a long restore is no lost place as long as it gets on
            self._without_since_s, self._done = monotonic_s(), done
        return monotonic_s() - self._without_since_s

    def _open(self, place: Place, watch: Watch) -> Held:
        """Fence, claim, read, rebuild. On a thread; blocks as long as the changelogs are long."""
        watch.took(0)  # a late fence would shut out the place's new owner
        begun_s = monotonic_s()
        client, tables = self._settings.kafka_client(), self._reconciler.tables
        writer = Writer(self._settings.kafka_producer(), self._settings.group("worker"), place, self._outputs,
                        self._settings.retry.brokers_s)
        writer.fence()
        epochs: list[int] = []

        def claim(epoch: int) -> None:
            watch.took(0)
            writer.claim(epoch)
            epochs.append(epoch)

        copy = self._folder.load(place) if self._folder else None
        restored = restore(client, place, tables, claim, watch, copy)
        watch.took(0)
        read_s = monotonic_s() - begun_s
        shard = Shard.restored(place, self.partitions(place.axis), epochs[0], self._reconciler, restored)
        _check_frames(client, place, shard.next_offset)
        counter("tieout_restored_rows", axis=place.axis.value).inc(len(restored.rows))
        log.info(
            "restored %s at frame offset %d, epoch %d: %d rows, %d records read from changelogs in %.1f s, "
            "%.1f s in all", place, shard.next_offset, epochs[0], len(restored.rows), watch.read, read_s,
            monotonic_s() - begun_s,
        )  # fmt: skip
        if watch.read >= _WORTH_A_SNAPSHOT:
            self._save(place, restored)
        return Held(shard, writer)

    def _save(self, place: Place, restored: Restored) -> None:
        try:
            if self._folder:
                self._folder.save(place, restored, self._reconciler.tables)
        except Exception as error:
            log.warning("no local snapshot of %s: %s", place, error)

    def _check(self, generation: int) -> None:
        if generation != self._generation:
            raise StaleRestore


def _share(watches: Collection[Watch]) -> float:
    """How much of these restores is done, 0 to 1."""
    return sum(watch.share for watch in watches) / len(watches) if watches else 1.0


def _told(watch: Watch) -> str:
    return f"{watch.read}/{watch.expected} records, {watch.rebuilt}/{watch.rows} rows"


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
