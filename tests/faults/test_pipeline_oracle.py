"""Stream on Apache Kafka, replay, and the SQL oracle: the same rows, three ways."""

from __future__ import annotations

from pathlib import Path

import pytest
from brokers import KafkaCluster
from confluent_kafka.admin import AdminClient
from faults.pipeline import Pipeline, StoryFeed, differences, replayed
from oracle import compare, oracle

from tieout.reconcilers.engine import TABLES
from tieout.streams import topics
from tieout.streams.simulate.capture import write_capture
from tieout.streams.simulate.facts import TOPICS
from tieout.streams.simulate.story import tell

pytestmark = [pytest.mark.kafka, pytest.mark.faults]


def test_the_stream_equals_the_replay_and_the_oracle(kafka: KafkaCluster, tmp_path: Path) -> None:
    """Four weeks of the simulated firm, undisturbed and as fast as they go."""
    story = tell()
    pipeline = Pipeline(kafka.bootstrap, tmp_path)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    topics.apply(admin, topics.plan(admin, topics.desired(pipeline.settings, TABLES)))
    for raw in TOPICS:
        kafka.create(raw.name, raw.partitions)
    with pipeline.running():
        StoryFeed(pipeline.settings, story).rest()
        pipeline.settle()
        pipeline.stop()
    again = replayed(story, pipeline)
    assert differences(pipeline.settings.sink.path, again) == {}
    write_capture(tmp_path / "capture.jsonl", story.records)
    answers = oracle.run([tmp_path / "capture.jsonl"])
    assert compare.compare(answers, Path(pipeline.settings.sink.path)) == []
    assert compare.compare(answers, Path(again)) == []
