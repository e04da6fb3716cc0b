"""Contender: an ordinary Faust app. A message an event, a Faust table written an event, the same reconcilers."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import faust
import mode.loop

from bench.frames import EVENTS, WIDE
from bench.stopwatch import Stopwatch
from tieout.streams import settings
from tieout.streams.frames import decode


class App(faust.App):
    """Writes no files."""

    def _create_directories(self) -> None: ...


async def serve(expected: int, configured: settings.Settings) -> None:
    watch = Stopwatch()
    reconciler = watch.reconciler()
    partitions = configured.kafka.partitions
    states = [reconciler.state(axis, number, partitions) for axis in WIDE for number in range(partitions)]
    done = asyncio.Event()
    app = App(
        "bench-ordinary", broker=configured.faust_broker(), store="memory://", web_enabled=False,
        topic_allow_declare=False, topic_disable_leader=True, table_standby_replicas=0, stream_recovery_delay=0,
        stream_wait_empty=False, consumer_auto_offset_reset="earliest",
    )  # fmt: skip
    table = app.Table("state", partitions=len(states))
    topic = app.topic(EVENTS, key_type=bytes, key_serializer="raw", value_type=bytes, value_serializer="raw")

    @app.agent(topic)
    async def reconcile(stream: Any) -> None:
        async for event in stream.events():
            frame = decode(event.value)
            reconciler.apply(states[event.message.partition], frame)
            change = frame.changes[0]
            table[f"{change.entity}|{change.key}"] = change.to_record()
            if watch.changes == expected:
                done.set()

    await app.start()
    await done.wait()
    await app.producer.flush()
    watch.stop()
    print(watch.report(), flush=True)
    os._exit(0)  # its shutdown is not measured


def main() -> None:
    mode.loop.use("uvloop")
    asyncio.run(serve(int(sys.argv[1]), settings.load(env=os.environ)))


if __name__ == "__main__":
    main()
