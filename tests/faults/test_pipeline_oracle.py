"""Stream on Apache Kafka, replay, and the SQL oracle: the same rows, three ways."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from urllib.request import urlopen

import pytest
from brokers import KafkaCluster
from confluent_kafka.admin import AdminClient
from faults.pipeline import ROLES, Pipeline, StoryFeed, differences, replayed
from oracle import compare, oracle

from tieout.reconcilers.engine import TABLES
from tieout.streams import topics
from tieout.streams.simulate.capture import write_capture
from tieout.streams.simulate.facts import TOPICS
from tieout.streams.simulate.story import tell

pytestmark = [pytest.mark.kafka, pytest.mark.faults]


def lint_metrics(pipeline: Pipeline, promtool: str) -> None:
    """What each live process exposes passes Prometheus' own linter."""
    for role in ROLES:
        found = re.search(r"metrics and probes on (http://[\d.:]+)", pipeline.started(role).log_now())
        assert found, role
        with urlopen(f"{found[1]}/metrics", timeout=10) as answer:
            said = subprocess.run([promtool, "check", "metrics"], input=answer.read(), capture_output=True, check=False)
        assert (role, said.returncode, said.stdout.decode(), said.stderr.decode()) == (role, 0, "", "")


def test_the_stream_equals_the_replay_and_the_oracle(kafka: KafkaCluster, promtool: str, tmp_path: Path) -> None:
    """Four weeks of the simulated firm, undisturbed and as fast as they go."""
    story = tell()
    pipeline = Pipeline(kafka.bootstrap, tmp_path)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    topics.apply(admin, topics.plan(admin, topics.desired(pipeline.settings, TABLES)))
    for raw in TOPICS:
        kafka.create(raw.name, raw.partitions)
    with pipeline.running():
        StoryFeed(pipeline.settings, story.records).rest()
        pipeline.settle()
        lint_metrics(pipeline, promtool)
        pipeline.stop()
    again = replayed(story.records, pipeline)
    assert differences(pipeline.settings.sink.path, again) == {}
    write_capture(tmp_path / "capture.jsonl", story.records)
    answers = oracle.run([tmp_path / "capture.jsonl"])
    assert compare.compare(answers, Path(pipeline.settings.sink.path)) == []
    assert compare.compare(answers, Path(again)) == []
