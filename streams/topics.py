"""Every topic by name, what each must look like, and how a cluster is brought there: plan first, then apply."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from tieout.reconcilers.entities import Axis
from tieout.reconcilers.outcomes import STATE_OUTPUTS, Output
from tieout.streams.clock import monotonic_s
from tieout.streams.connect.debezium import feeds
from tieout.streams.embedded import is_embedded
from tieout.streams.settings import Settings

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

AXES: Final = (Axis.PROJECT, Axis.WORKER, Axis.CONTROL)  # those that have rules
XREF: Final = "tieout.xref.v1"
PARKED: Final = "tieout.parked.v1"
COMMAND: Final = "tieout.command.v1"
AUDIT: Final = "tieout.audit.v1"
DEAD_LETTER: Final = "tieout.dead_letter.v1"
LEDGER: Final = "checkpoint"  # the table of the worker's claims and checkpoints, beside the engine's tables

_DAY_MS: Final = 86_400_000
_COMPACTED: Final = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"}
_KEPT: Final = {"cleanup.policy": "delete", "retention.ms": "-1"}
_FRAMES: Final = {"cleanup.policy": "delete", "retention.ms": str(7 * _DAY_MS), "max.message.bytes": "2097164"}
_LETTERS: Final = {"cleanup.policy": "delete", "retention.ms": str(30 * _DAY_MS)}  # they hold whole records of people
_ADMIN_TIMEOUT_S: Final = 15.0
_METADATA_S: Final = 5.0


def changes_topic(axis: Axis) -> str:
    """The frames of an axis: 'tieout.changes.project.v1'."""
    return f"tieout.changes.{axis.value}.v1"


def output_topic(output: Output) -> str:
    """An output's topic: 'tieout.finding.state.v1'."""
    return f"tieout.{output.value}.v1"


def table_topic(table: str, axis: Axis = Axis.PROJECT) -> str:
    """The changelog of a worker's table: 'tieout.tables.rates.v1', on another axis 'tieout.tables.control_rates.v1'."""
    return f"tieout.tables.{table if axis is Axis.PROJECT else f'{axis.value}_{table}'}.v1"


@dataclass(frozen=True, slots=True)
class Topic:
    """What a topic must look like; `config` holds only what we insist on."""

    name: str
    partitions: int
    replication: int = 1
    config: Mapping[str, str] = field(default_factory=dict)


class Step(StrEnum):
    """What `plan` says about one topic."""

    CREATE = "create"  # it is not there
    CONFIGURE = "configure"  # a setting differs
    REFUSE = "refuse"  # its partition count differs: Kafka takes none away, and one more would move keys


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between what is and what must be; `found` and `expected` are for people."""

    step: Step
    topic: Topic
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.step.value:<9} {self.topic.name}: found {self.found}, expected {self.expected}"


class TopicsRefused(Exception):
    """The plan holds a step that would lose or mix up keys; nothing was changed."""

    def __init__(self, refused: list[Difference]) -> None:
        self.refused = refused
        super().__init__(
            "\n".join(map(str, refused))
            + "\nA key would change its partition: set kafka.partitions to what the topic has, "
            "or drain it, delete it and replay the sources."
        )


def desired(settings: Settings, tables: Iterable[str] = ()) -> tuple[Topic, ...]:
    """Our topics on a cluster; `tables` are the engine's table names. Raw topics belong to their connectors."""
    return tuple(_topics(settings, tuple(tables)))


def _topics(settings: Settings, tables: tuple[str, ...]) -> Iterator[Topic]:
    wide, copies = settings.kafka.partitions, settings.kafka.replication
    for axis in Axis:
        yield Topic(changes_topic(axis), 1 if axis is Axis.CONTROL else wide, copies, _FRAMES)
    for table in (LEDGER, *tables):
        for axis in AXES:
            yield Topic(table_topic(table, axis), 1 if axis is Axis.CONTROL else wide, copies, _COMPACTED)
    for name in (XREF, PARKED):
        yield Topic(name, 1, copies, _COMPACTED)
    for output in Output:
        yield Topic(output_topic(output), wide, copies, _COMPACTED if output in STATE_OUTPUTS else _KEPT)
    for feed in feeds(settings).values():
        yield Topic(feed.signal_topic, 1, copies, {"cleanup.policy": "delete"})
    yield Topic(COMMAND, 1, copies, _KEPT)
    yield Topic(AUDIT, 1, copies, _KEPT)
    yield Topic(DEAD_LETTER, 1, copies, _LETTERS)


def plan(admin: AdminClient, topics: Iterable[Topic]) -> list[Difference]:
    """What differs on the cluster, in the order of `topics`; raises KafkaException when it cannot be asked."""
    metadata = admin.list_topics(timeout=_METADATA_S)
    known = metadata.topics
    wanted = tuple(topics)
    if is_embedded(metadata.cluster_id):  # it keeps no settings and answers no question about them
        configs = {topic.name: dict(topic.config) for topic in wanted}
    else:
        configs = _configs(admin, [topic.name for topic in wanted if topic.name in known])
    differences: list[Difference] = []
    for topic in wanted:
        if topic.name in known:
            differences += _compare(topic, len(known[topic.name].partitions), configs[topic.name])
        else:
            differences.append(Difference(Step.CREATE, topic, "no such topic", _shape(topic)))
    return differences


def _compare(topic: Topic, partitions: int, config: Mapping[str, str]) -> Iterator[Difference]:
    if partitions != topic.partitions:
        yield Difference(Step.REFUSE, topic, _count(partitions), _count(topic.partitions))
    other = {name: config.get(name, "(unset)") for name, value in topic.config.items() if config.get(name) != value}
    if other:
        yield Difference(Step.CONFIGURE, topic, _pairs(other), _pairs({name: topic.config[name] for name in other}))


def apply(admin: AdminClient, differences: Iterable[Difference]) -> None:
    """Carry out a plan; raises TopicsRefused, with nothing changed, where keys would move to other partitions."""
    steps = list(differences)
    if refused := [difference for difference in steps if difference.step is Step.REFUSE]:
        raise TopicsRefused(refused)
    _create(admin, [difference.topic for difference in steps if difference.step is Step.CREATE])
    _configure(admin, [difference.topic for difference in steps if difference.step is Step.CONFIGURE])
    _until_seen(admin, [difference.topic for difference in steps])


def _until_seen(admin: AdminClient, topics: list[Topic]) -> None:
    """A broker answers before it shows what was done: whoever comes next must find it."""
    deadline_s = monotonic_s() + _ADMIN_TIMEOUT_S
    while left := _unseen(admin, topics):
        if monotonic_s() > deadline_s:
            raise TimeoutError(f"done, but not seen after {_ADMIN_TIMEOUT_S:.0f} s: {left[0]}")
        time.sleep(0.1)


def _unseen(admin: AdminClient, topics: list[Topic]) -> list[Difference] | list[str]:
    """What is still not as it was made; of several brokers, the one that is asked for settings may be behind."""
    from confluent_kafka import KafkaError, KafkaException

    try:
        return plan(admin, topics)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise
        return [error.args[0].str()]


def _create(admin: AdminClient, topics: list[Topic]) -> None:
    from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

    if topics:
        new = [NewTopic(t.name, t.partitions, t.replication, config=dict(t.config)) for t in topics]
        _await(admin.create_topics(new, request_timeout=_ADMIN_TIMEOUT_S))


def _configure(admin: AdminClient, topics: list[Topic]) -> None:
    from confluent_kafka.admin import (  # type: ignore[attr-defined]
        AlterConfigOpType,
        ConfigEntry,
        ConfigResource,
        ResourceType,
    )

    def entry(name: str, value: str) -> Any:
        return ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)

    if topics:
        resources = [
            ConfigResource(ResourceType.TOPIC, t.name, incremental_configs=[entry(*pair) for pair in t.config.items()])
            for t in topics
        ]
        _await(admin.incremental_alter_configs(resources))


def _configs(admin: AdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    from confluent_kafka.admin import ConfigResource, ResourceType  # type: ignore[attr-defined]

    if not names:
        return {}
    answers = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names])
    return {
        resource.name: {name: entry.value for name, entry in future.result(_ADMIN_TIMEOUT_S).items()}
        for resource, future in answers.items()
    }


def _await(futures: Mapping[Any, Any]) -> None:
    for future in futures.values():
        future.result(_ADMIN_TIMEOUT_S)


def _shape(topic: Topic) -> str:
    return f"{_count(topic.partitions)}, {topic.config.get('cleanup.policy', 'delete')}"


def _count(partitions: int) -> str:
    return f"{partitions} partition{'' if partitions == 1 else 's'}"


def _pairs(config: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in config.items())
