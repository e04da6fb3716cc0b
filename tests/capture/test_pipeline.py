"""The captured bytes through ingest, worker and sink on Apache Kafka: the published store says what the tables said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from brokers import KafkaCluster
from capture import sources
from capture.judgement import FORMS, GOLDEN, checkpoints, differences, oracle, place, records
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient
from faults.pipeline import Pipeline

from tieout.codecs.records import RawRecord
from tieout.reconcilers.engine import TABLES
from tieout.streams import topics
from tieout.streams.settings import Settings

pytestmark = pytest.mark.kafka
PARTITIONS = 2
# It is judged as of days to come, and brokers refuse records that are far ahead of their clock.
AHEAD = {"message.timestamp.after.max.ms": str(2**63 - 1)}
# The flattened form ends before the truncate that it cannot carry.
LAST = {form: "reload" if form == "flat" else "emptied" for form in FORMS}


def options(bootstrap: str, folder: Path) -> str:
    """The part of the configuration that says where everything is."""
    return "\n".join([
        "[kafka]", f"partitions = {PARTITIONS}", "[kafka.client]", f'"bootstrap.servers" = "{bootstrap}"',
        "[sink]", f'path = "{folder / "sink.duckdb"}"', f'publish_dir = "{folder / "pub"}"', "publish_every_s = 0.5",
        "[ingest]", "tick_ms = 250",
    ])  # fmt: skip


def feed(settings: Settings, lines: Sequence[RawRecord]) -> None:
    """Produce the records with the keys, headers, partitions and timestamps that they had."""
    producer = Producer(settings.kafka_producer({"linger.ms": 5}))
    refused: list[str] = []

    def delivered(error: KafkaError | None, _: Message[bytes, bytes]) -> None:
        if error is not None:
            refused.append(str(error))

    known = {source.topic for source in settings.sources.values()} | {sources.heartbeats(each) for each in sources.SYSTEMS}
    for each in lines:
        if each.topic in known:
            producer.produce(each.topic, each.value, each.key, partition=each.partition, timestamp=each.ts_ms,
                             headers=list(each.headers), on_delivery=delivered)
    assert (producer.flush(60), refused) == (0, [])


@pytest.mark.parametrize("form", FORMS)
def test_the_stream_equals_the_source_tables(form: str, kafka: KafkaCluster, tmp_path: Path) -> None:
    """Each encoding through three processes, to the second and the cent."""
    lines = records(form)
    checkpoint = checkpoints()[place(LAST[form])]
    settings = sources.settings(form, tmp_path, GOLDEN, options(kafka.bootstrap, tmp_path))
    partitions = {each.topic: 1 for each in lines} | sources.PARTITIONS
    raw = {source.topic for source in settings.sources.values()} | {sources.heartbeats(each) for each in sources.SYSTEMS}
    pipeline = Pipeline(kafka.bootstrap, tmp_path, tmp_path / "tieout.toml", settings,
                        [(topic, number) for topic in sorted(raw) for number in range(partitions[topic])])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    topics.apply(admin, topics.plan(admin, topics.desired(settings, TABLES)))
    for topic in raw:
        kafka.create(topic, partitions[topic], AHEAD)
    with pipeline.running():
        feed(settings, sources.until(lines, checkpoint.ts_ms, checkpoint.judged))
        pipeline.settle()
        pipeline.stop()
    found = differences(oracle(LAST[form], tmp_path), Path(settings.sink.path))
    assert not found, "\n".join(found)
