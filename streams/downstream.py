"""The worker's back-pressure: outputs wait for the sink where the broker would forget what it has not read.

Apache Kafka keeps outputs whatever the sink does, so nothing waits there. The embedded broker keeps about 5 MB a
partition; the agents pause while the sink is too far behind, and the process ends when records are lost all the same.
"""

from __future__ import annotations

import asyncio
from collections import deque

from confluent_kafka import KafkaError, Message
from confluent_kafka.admin import AdminClient

from tieout.reconcilers.outcomes import PUBLISHED
from tieout.streams.pressure import REFRESH_S, GroupProgress, Pressure, forgets
from tieout.streams.settings import Settings
from tieout.streams.standings import STANDINGS
from tieout.streams.topics import output_topic

_BROKER_S = 15.0


class Downstream:
    """Whether outputs may go out now; deliveries are told by the checkpoint thread, waiting is done on the loop."""

    def __init__(self, pressure: Pressure) -> None:
        self._pressure = pressure
        self._delivered: deque[tuple[str, int, int, int]] = deque()  # topic, partition, offset, bytes
        self._open = asyncio.Event()
        self._open.set()

    @classmethod
    def of(cls, settings: Settings) -> Downstream | None:
        """The back-pressure that this broker needs, None where it needs none."""
        metadata = AdminClient(settings.kafka_client()).list_topics(timeout=_BROKER_S)
        if not forgets(metadata.cluster_id):
            return None
        progress = GroupProgress(settings, settings.group("sink"))
        pressure = Pressure(progress, settings.ingest.max_ahead_bytes, lossy=True)
        names = [name for name in map(output_topic, PUBLISHED) if name in metadata.topics]
        pressure.watch((name, partition) for name in names for partition in metadata.topics[name].partitions)
        return cls(pressure)

    def on_delivery(self, error: KafkaError | None, message: Message) -> None:
        """An output was delivered. Called in the checkpoint thread."""
        if error is None and message.topic() != STANDINGS:  # which ingest reads
            size = len(message.value() or b"") + len(message.key() or b"")
            self._delivered.append((str(message.topic()), message.partition() or 0, message.offset() or 0, size))

    async def room(self) -> None:
        """Wait while the sink is too far behind."""
        await self._open.wait()

    async def run(self) -> None:
        """Look at the sink until cancelled; raises RecordsLost."""
        loop = asyncio.get_running_loop()
        while True:
            if await loop.run_in_executor(None, self._look):
                self._open.clear()
            else:
                self._open.set()
            await asyncio.sleep(REFRESH_S)

    def _look(self) -> bool:
        while self._delivered:
            self._pressure.sent(*self._delivered.popleft())
        return self._pressure.wait()
