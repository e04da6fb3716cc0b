"""The Faust side of the worker: thin agents, one an axis, and a consumer whose position is the checkpoint's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from tieout.reconcilers.changes import Frame, UnknownVersion
from tieout.reconcilers.entities import Axis
from tieout.streams import collector
from tieout.streams.checkpoint import Checkpointer
from tieout.streams.clock import monotonic_s, now_us
from tieout.streams.downstream import Downstream
from tieout.streams.frames import decode
from tieout.streams.handover import EXIT_CONTRACT, Handover, end_process
from tieout.streams.metrics import counter, gauge, histogram
from tieout.streams.shards import Shard, Verdict
from tieout.streams.tables import Place
from tieout.streams.topics import AXES, changes_topic

log = logging.getLogger(__name__)

# A broker has one fetch in flight: a partition that is not in it waits until it returns, by Faust's default 1.5 s.
_FETCH_WAIT_MS = 250
_SEEK_S = 10.0
_AXIS_OF = {changes_topic(axis): axis for axis in AXES}


class Agents:
    """Applies frames to shards, in order and without holes."""

    def __init__(
        self, app: WorkerApp, checkpointer: Checkpointer, handover: Handover, downstream: Downstream | None
    ) -> None:
        self._app = app
        self._checkpointer = checkpointer
        self._handover = handover
        self._downstream = downstream
        self._found_by_s = 0.0  # when a frame that we went back for must have come
        app.positions = self.position
        signals: list[tuple[Any, Callable[..., Awaitable[None]]]] = [
            (app.on_partitions_revoked, self._revoked),
            (app.on_partitions_assigned, self._assigned),
            (app.on_rebalance_complete, self._complete),
            (app.on_before_shutdown, self._shutdown),
        ]
        for sent, handler in signals:
            sent.connect(handler)
        for axis in AXES:
            self._declare(axis)

    def position(self, tp: TP) -> int | None:
        """The offset to read next, None for a partition that is not restored here."""
        shard = self._checkpointer.shard(place_of(tp)) if tp.topic in _AXIS_OF else None
        return shard.next_offset if shard else None

    def _declare(self, axis: Axis) -> None:
        topic = self._app.topic(
            changes_topic(axis), key_type=bytes, key_serializer="raw", value_type=bytes, value_serializer="raw"
        )

        @self._app.agent(topic, name=f"tieout.{axis.value}", concurrency=1)
        async def frames(stream: Any) -> None:
            """Apply the frames of an axis; they are acknowledged by the checkpoint that holds them."""
            async for event in stream.noack().events():
                await self._take(event)

    async def _take(self, event: Any) -> None:
        message = event.message
        place = place_of(message.tp)
        if self._downstream:
            await self._downstream.room()
        await self._checkpointer.room(place)
        shard = self._checkpointer.shard(place)
        if shard is None:  # not ours any more, or not yet: it comes again
            return
        collector.sweep()
        await self._judged(shard, decode(event.value), event)

    async def _judged(self, shard: Shard, frame: Frame, event: Any) -> None:
        offset = int(event.message.offset)
        verdict = shard.judge(offset, frame)
        if verdict is Verdict.NEXT:
            self._apply(shard, offset, frame, event)
        elif verdict is Verdict.REPEAT:
            shard.skip(offset)
            event.ack()
        elif shard.sought_from is None:
            await self._go_back(shard, event.message)
        elif offset > shard.sought_from and monotonic_s() < self._found_by_s:
            shard.sought_from = offset  # fetched before we went back
        elif offset > shard.next_offset and await self._nothing_before(shard, offset):
            shard.pass_gap(offset)
            await self._judged(shard, frame, event)
        elif self._checkpointer.shard(shard.place) is shard:
            end_process(
                f"{event.message.tp} offset {offset} is frame {frame.number} of {frame.producer}, "
                f"and frames from offset {shard.next_offset} on are missing"
            )

    def _apply(self, shard: Shard, offset: int, frame: Frame, event: Any) -> None:
        axis = shard.place.axis.value
        with histogram("tieout_agent_processing_seconds", axis=axis).time():
            shard.apply(offset, frame, event)
        collector.keep()
        counter("tieout_changes_applied", axis=axis).inc(len(frame.changes))
        _show_latency(frame)
        gauge("tieout_frame_tick_timestamp_seconds", axis=axis).set(frame.now_us / 1e6)

    async def _go_back(self, shard: Shard, message: Any) -> None:
        """Seek once to the first frame that is missing; what was fetched before that still comes first."""
        if message.tp in self._app.consumer.assignment():
            log.warning("frames are missing before %s, offset %d", message.tp, message.offset)
            shard.sought_from = int(message.offset)
            self._found_by_s = monotonic_s() + _SEEK_S
            await self._app.consumer.seek_wait({message.tp: shard.next_offset})

    async def _nothing_before(self, shard: Shard, offset: int) -> bool:
        """Whether the log, asked past Faust, has no frame between the last one applied and this one."""
        found = await asyncio.to_thread(self._handover.first_frame, shard.place, shard.next_offset)
        return found == offset and self._checkpointer.shard(shard.place) is shard

    async def _revoked(self, _app: Any, revoked: set[TP], **_: Any) -> None:
        await self._handover.revoked()

    async def _assigned(self, _app: Any, assigned: set[TP], **_: Any) -> None:
        self._handover.assign(place_of(tp) for tp in assigned if tp.topic in _AXIS_OF)

    async def _complete(self, _app: Any, **_: Any) -> None:
        await self._handover.restore()

    async def _shutdown(self, _app: Any, **_: Any) -> None:
        await self._handover.shutdown()


def place_of(tp: TP) -> Place:
    """The place whose frames a partition of a changes topic carries."""
    return Place(_AXIS_OF[tp.topic], tp.partition)


class WorkerApp(faust.App):
    """A Faust app that ends the process rather than acknowledge a frame that raised, and that writes no files."""

    positions: Callable[[TP], int | None]

    async def _on_agent_error(self, agent: Any, exc: BaseException) -> None:
        if isinstance(exc, UnknownVersion):
            end_process(str(exc), None, EXIT_CONTRACT)
        end_process(f"agent {agent!r} raised", exc)

    def _create_directories(self) -> None:
        """Nothing: the tables are ours."""

    def _new_transport(self) -> Any:
        return _Transport(self.conf.broker_consumer, self)


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MS
        return consumer

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """The committed offset is a hint, so a commit that fails is not a reason to crash."""
        consumer = self._ensure_consumer()
        ours = {tp: offset for tp, offset in offsets.items() if tp in self.assignment()}
        try:
            self.tp_last_committed_at.update(dict.fromkeys(ours, monotonic_s()))
            await consumer.commit({driver.ensure_aiokafka_TP(tp): offset for tp, offset in ours.items()})
        except Exception as error:
            log.info("offsets were not committed: %s", error)
            return False
        return True


class _Consumer(driver.Consumer):
    def _new_consumer_thread(self) -> Any:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go where the checkpoints say; returns the positions."""
        found: dict[TP, int] = dict(await super().seek_to_committed())
        assigned = self.assignment()  # a fetch in flight seeks too, perhaps for an assignment that is over
        positions = cast(WorkerApp, self.app).positions
        ours = {tp: offset for tp in found if tp in assigned and (offset := positions(tp)) is not None}
        if ours:
            await self.seek_wait(ours)
        return {**found, **ours}


class _Transport(driver.Transport):
    Consumer = _Consumer


def _show_latency(frame: Frame) -> None:
    """Observe the oldest change of each source in a frame: one for every change would cost more than it tells."""
    for source, commit_us in frame.oldest_by_source().items():
        histogram("tieout_sync_latency_seconds", source=source).observe(max(0, now_us() - commit_us) / 1e6)
