"""Ingest and the schema registry: while it is down nothing is read on, nothing is lost, nothing is dead-lettered."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from avro_firm import column, envelope, key, message, written
from confluent_kafka import Consumer, Producer, TopicPartition
from conftest import Broker
from faults.harness import wait_until
from registries import Served

from tieout.codecs.errors import SchemasUnreachable
from tieout.codecs.formats import codec
from tieout.codecs.records import RawRecord
from tieout.reconcilers.changes import Op
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.outcomes import Output
from tieout.streams import deadletters
from tieout.streams.frames import decode
from tieout.streams.ingest import IngestRole
from tieout.streams.pipeline import Pipeline, Reading
from tieout.streams.registry import Registry
from tieout.streams.registry_http import HttpTransport
from tieout.streams.settings import Registry as Section
from tieout.streams.settings import Settings
from tieout.streams.topicread import whole_topic
from tieout.streams.topics import DEAD_LETTER, PARKED, XREF, changes_topic, output_topic

pytestmark = pytest.mark.timeout(120)
WAIT_S = 40.0
TOPIC = "psa.public.project"
TOPICS = (TOPIC, *map(changes_topic, (Axis.PROJECT, Axis.CONTROL, Axis.WORKER)), output_topic(Output.STANDING), XREF,
          PARKED, DEAD_LETTER)
VALUE, KEY = envelope([column("code", "string"), column("name", "string")]), key([column("code", "string", null=False)])


@pytest.fixture
def registry() -> Iterator[Served]:
    server = Served()
    for schema_id, (part, schema) in enumerate((("value", VALUE), ("key", KEY)), start=1):
        answer = server.registry.call("POST", f"/subjects/{TOPIC}-{part}/versions", {"schema": json.dumps(schema)})
        assert answer.body == {"id": schema_id}
    yield server
    server.close()


def settings_for(broker: Broker, registry: Served) -> Settings:
    return Settings.model_validate({
        "clock": "log",
        "kafka": {"client": {"bootstrap.servers": broker.bootstrap, "session.timeout.ms": 6_000, "log_level": 0},
                  "partitions": 1},
        "sources": {"psa": {"system": "PSA", "topic": TOPIC, "format": "debezium-avro", "mapping": "postgres",
                            "entity": "project"}},
        "registry": {"url": registry.url, "timeout_ms": 1_000},
        "ops": {"port": 0}, "ingest": {"tick_ms": 300, "linger_ms": 20},
    })


def produce(broker: Broker, *records: tuple[Any, int]) -> None:
    """Records of project codes, each with the id of the schema that it claims."""
    writer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    for code, schema_id in records:
        writer.produce(TOPIC, written(VALUE, message({"code": code, "name": code}), schema_id),
                       written(KEY, {"code": code}, 2), timestamp=1_773_164_531_000)
    assert writer.flush(WAIT_S) == 0


def codes(settings: Settings, *, unknown: bool = False) -> list[str]:
    """Projects that were read, or those that a dead letter made unknown."""
    frames = [decode(each.value() or b"") for each in whole_topic(settings, changes_topic(Axis.PROJECT))]
    return [change.key for frame in frames for change in frame.changes
            if change.entity == "project" and (change.op is Op.GAP) is unknown]


def committed(settings: Settings) -> int:
    reader = Consumer(settings.kafka_client({"group.id": settings.group("ingest")}))
    try:
        return int(reader.committed([TopicPartition(TOPIC, 0)], WAIT_S)[0].offset)
    finally:
        reader.close()


def until(holds: Callable[[], bool], what: str) -> None:
    wait_until(holds, WAIT_S, what)


def test_records_are_held_while_the_registry_is_down(broker: Broker, registry: Served) -> None:
    for topic in TOPICS:
        broker.create(topic, 1, {"retention.ms": "-1"})
    settings = settings_for(broker, registry)
    registry.down = True
    produce(broker, ("A", 1), ("B", 99), ("C", 1))
    role = IngestRole(settings)
    thread = threading.Thread(target=role.run)
    thread.start()
    try:
        until(lambda: len(registry.paths) >= 6, "asked more than once")
        assert not role._schemas().ok
        assert (codes(settings), list(deadletters.read(settings)), committed(settings) > 0) == ([], [], False)
        registry.down = False
        until(lambda: codes(settings) == ["A", "C"], "records are read once the registry answers")
        until(lambda: committed(settings) == 3, "and committed")
        assert role._schemas().ok
        produce(broker, ("D", 1))
        until(lambda: codes(settings) == ["A", "C", "D"], "and reading goes on")
    finally:
        role.stop()
        thread.join(WAIT_S)
    (letter,) = deadletters.read(settings).values()
    assert (letter.reason, letter.offset) == ("schema_unknown", 1)
    assert codes(settings, unknown=True) == ["B"], "the key of the letter says which project it was about"


def test_ingest_ends_in_order_while_it_holds(broker: Broker, registry: Served) -> None:
    for topic in TOPICS:
        broker.create(topic, 1, {"retention.ms": "-1"})
    settings = settings_for(broker, registry)
    registry.down = True
    produce(broker, ("A", 1))
    role, ended = IngestRole(settings), []
    thread = threading.Thread(target=lambda: ended.append(role.run()))
    thread.start()
    until(lambda: len(registry.paths) >= 3, "asked")
    role.stop()
    thread.join(WAIT_S)
    assert ended == [0]
    assert committed(settings) <= 0


def test_the_pipeline_dead_letters_nothing_for_a_registry_that_is_down(registry: Served) -> None:
    """`tieout replay` has nobody to wait for: it ends with the reason."""
    registry.down = True
    transport = HttpTransport(Section(url=registry.url), pause=lambda seconds: None)
    reader = codec("debezium-avro", {"source": "PSA/main", "mapping": "postgres", "schemas": Registry(transport)})
    pipeline = Pipeline({TOPIC: Reading(reader, "PSA/main", by_id=True)}, sources={"PSA/main": [f"{TOPIC}/0"]},
                        partitions=1, producer="p", reads=frozenset(("project",)), closed=True)
    value = written(VALUE, message({"code": "A", "name": "A"}))
    record = RawRecord(TOPIC, 0, 0, 0, written(KEY, {"code": "A"}, 2), value)
    with pytest.raises(SchemasUnreachable):
        pipeline.take([record])
    registry.down = False
    taken = pipeline.take([record])
    assert [change.key for out in taken.frames if out.axis is Axis.PROJECT for change in out.frame.changes] == ["A"]
