"""What a role needs of others, and whether it answers: `tieout_dependency_up`, set by what the role's own calls see.

Brokers are asked for metadata with the role's own configuration, on a connection beside the role's: its consumers wait
in calls that end without an error while brokers are away, and librdkafka's statistics, served inside a consumer's batch
calls, have aborted the process. Registry, store and snapshot are up when the role's last call went well.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, Self

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


class BrokerWatch:
    """Asks the brokers for metadata on a connection of its own; a question takes two seconds at the most."""

    def __init__(self, settings: Settings) -> None:
        from confluent_kafka.admin import AdminClient

        self._admin = AdminClient(settings.kafka_client({"log_level": 0}))
        self._topic = changes_topic(Axis.CONTROL)
        self._ended = threading.Event()

    def look(self) -> None:
        """One question."""
        from confluent_kafka import KafkaException

        try:
            self._admin.list_topics(topic=self._topic, timeout=_ASK_S)  # of one topic: the answer is short
        except KafkaException:
            saw("brokers", up=False)
        else:
            saw("brokers", up=True)

    def start(self) -> None:
        """Look until the process ends, on a thread that keeps nobody from ending."""
        threading.Thread(target=self._run, name="broker-watch", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            self.look()
            self._ended.wait(LOOK_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
