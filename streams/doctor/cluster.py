"""The cluster and our own topics on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from tieout.reconcilers.engine import TABLES
from tieout.streams.embedded import is_embedded
from tieout.streams.health import Check, State
from tieout.streams.topics import Difference, Step, desired, plan

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

    from tieout.streams.settings import Settings

ASK_S: Final = 5.0


def admin(settings: Settings) -> AdminClient:
    """A client for questions about the cluster."""
    from confluent_kafka.admin import AdminClient

    return AdminClient(settings.kafka_client({"log_level": 0}))


def metadata(settings: Settings) -> Any:
    """What the cluster says of itself; None where no broker answers."""
    from confluent_kafka import KafkaException

    try:
        return admin(settings).list_topics(timeout=ASK_S)
    except KafkaException:
        return None


def broker(settings: Settings) -> Iterator[Check]:
    """Whether the brokers answer, how many, and whether they keep what they are told."""
    servers = settings.kafka.client["bootstrap.servers"]
    known = metadata(settings)
    if known is None:
        yield Check("broker", State.FAIL, f"no answer from {servers}",
                    "start it, or correct kafka.client: address, security.protocol, credentials")  # fmt: skip
        return
    count = len(known.brokers)
    yield Check("broker", State.OK, f"{servers}, {count} broker{'' if count == 1 else 's'}")
    if is_embedded(known.cluster_id):
        yield Check("embedded broker", State.WARN, "in memory, about 5 MB a partition, gone with its process",
                    "point kafka.client at Apache Kafka for anything but a demo")  # fmt: skip
    elif settings.kafka.replication > count:
        yield Check("replication", State.FAIL, f"{count} brokers for kafka.replication = {settings.kafka.replication}",
                    "lower kafka.replication, or add brokers")  # fmt: skip
    elif settings.kafka.replication == 1 and count > 2:
        yield Check("replication", State.WARN, f"kafka.replication = 1 on {count} brokers: a lost one loses records",
                    "kafka.replication = 3, before `tieout topics apply`")  # fmt: skip


def topics(settings: Settings) -> Iterator[Check]:
    """Our topics with their partitions and clean-up; those whose partition count differs mix up keys."""
    if metadata(settings) is None:
        return
    differences = plan(admin(settings), desired(settings, TABLES))
    if not differences:
        yield Check("topics", State.OK, f"as they must be, {settings.kafka.partitions} partitions")
    for step, name, state, remedy in _STEPS:
        if some := [each for each in differences if each.step is step]:
            yield Check(name, state, _found(some), remedy)


_STEPS: Final = (
    (Step.CREATE, "topics", State.FAIL, "tieout topics apply"),
    (Step.CONFIGURE, "topic settings", State.WARN, "tieout topics apply"),
    (Step.REFUSE, "partitions", State.FAIL,
     "set kafka.partitions to what the topics have, or drain and delete them, apply, replay"),
)


def _found(differences: list[Difference]) -> str:
    first = differences[0]
    more = f", and {len(differences) - 1} more" if len(differences) > 1 else ""
    return f"{first.topic.name}: found {first.found}, expected {first.expected}{more}"
