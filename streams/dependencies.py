"""What a role needs of others, and whether it answers: `tieout_dependency_up`, set by what the role's own calls see.

Of brokers a consumer hears through librdkafka: an error when none can be reached, and its statistics, which name the
connections that are up. A process without such a consumer asks for metadata. Registry, store and snapshot are up when
the last call went well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson

from tieout.reconcilers.entities import Axis
from tieout.streams.metrics import gauge
from tieout.streams.topics import changes_topic

if TYPE_CHECKING:
    from tieout.streams.settings import Role, Settings

Dependency = Literal["brokers", "registry", "store", "snapshot"]

# Kafka Connect is in nobody's way at run time: only commands ask it.
NEEDS: Final[Mapping[Role, tuple[Dependency, ...]]] = {
    "ingest": ("brokers", "registry"),  # the registry where a source's records name schemas
    "worker": ("brokers",),
    "sink": ("brokers", "store", "snapshot"),  # it writes the snapshot
    "api": ("brokers", "snapshot"),
    "audit": ("brokers", "snapshot"),
}
LOOK_S: Final = 2.0  # between two looks at the brokers
_ASK_S: Final = 2.0


def saw(dependency: Dependency, *, up: bool) -> None:
    """A call to a dependency went well, or did not."""
    gauge("tieout_dependency_up", dependency=dependency).set(up)


def expect(role: Role) -> None:
    """At the start of a role: what it needs counts as down until it answers; a registry may never be asked."""
    for dependency in NEEDS[role]:
        if dependency != "registry":
            saw(dependency, up=False)


def listening(client: Mapping[str, Any]) -> dict[str, Any]:
    """A librdkafka configuration whose client tells, whenever it is polled, whether any broker is connected."""
    return {**client, "error_cb": _on_error, "stats_cb": _on_statistics,
            "statistics.interval.ms": round(LOOK_S * 1_000)}


def _on_error(error: Any) -> None:
    from confluent_kafka import KafkaError

    if error.code() == KafkaError._ALL_BROKERS_DOWN:
        saw("brokers", up=False)


def _on_statistics(text: str) -> None:
    brokers = orjson.loads(text).get("brokers", {}).values()
    saw("brokers", up=any(broker.get("state") == "UP" for broker in brokers))


class BrokerWatch:
    """Asks the brokers for metadata on a connection of its own; a question takes two seconds at the most."""

    def __init__(self, settings: Settings) -> None:
        from confluent_kafka.admin import AdminClient

        self._admin = AdminClient(settings.kafka_client({"log_level": 0}))
        self._topic = changes_topic(Axis.CONTROL)

    def look(self) -> None:
        """One question."""
        from confluent_kafka import KafkaException

        try:
            self._admin.list_topics(topic=self._topic, timeout=_ASK_S)  # of one topic: the answer is short
        except KafkaException:
            saw("brokers", up=False)
        else:
            saw("brokers", up=True)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK_S)
