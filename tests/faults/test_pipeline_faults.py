"""All roles killed under load on Apache Kafka: the sink's database says what a replay of the same records says."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from brokers import KafkaCluster
from confluent_kafka.admin import AdminClient
from faults.harness import KILLS, RESTARTS, SEED
from faults.pipeline import ROLES, Pipeline, StoryFeed, blame, differences, repeated_events, replayed

from tieout.reconcilers.engine import TABLES
from tieout.streams import topics
from tieout.streams.audit import compared
from tieout.streams.simulate.facts import TOPICS
from tieout.streams.simulate.story import Story, tell

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.timeout(1_800)]


@pytest.fixture(scope="module")
def story() -> Story:
    """Four weeks of the simulated firm."""
    return tell()


@pytest.fixture
def pipeline(kafka: KafkaCluster, tmp_path: Path) -> Pipeline:
    """The pipeline, not started, on a broker with all topics."""
    made = Pipeline(kafka.bootstrap, tmp_path)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    topics.apply(admin, topics.plan(admin, topics.desired(made.settings, TABLES)))
    for raw in TOPICS:
        kafka.create(raw.name, raw.partitions, {"retention.ms": "-1"})  # the story is older than a week
    return made


def test_every_role_is_killed_at_random_instants(pipeline: Pipeline, story: Story) -> None:
    """kill -9 of ingest, worker and sink, each as often as asked, while four weeks are played."""
    chance = random.Random(SEED)
    feed = StoryFeed(pipeline.settings, story)
    with pipeline.running():
        for _ in range(KILLS):
            with feed.playing(1 / KILLS, seconds=6.0):
                for role in chance.sample(ROLES, len(ROLES)):
                    time.sleep(chance.uniform(0.2, 3.0))
                    pipeline.supervise()
                    pipeline.procs[role].kill()
                    pipeline.procs[role].start()
        judge(pipeline, feed, story)


def test_workers_join_and_leave_and_everything_restarts(pipeline: Pipeline, story: Story) -> None:
    """No kills: rolling restarts of each role with SIGTERM, and a second worker that comes and goes."""
    chance = random.Random(SEED)
    feed = StoryFeed(pipeline.settings, story)
    rounds = max(3, RESTARTS // 4)
    with pipeline.running():
        for number in range(rounds):
            with feed.playing(1 / rounds, seconds=8.0):
                pipeline.start(f"worker-{number}", static=False)
                for role in ROLES:
                    time.sleep(chance.uniform(0.5, 2.0))
                    proc = pipeline.started(role)
                    assert proc.stop(20) == 0, proc.tail()
                    proc.start()
                second = pipeline.started(f"worker-{number}")
                assert second.stop(20) == 0, second.tail()
                del pipeline.procs[f"worker-{number}"]
        judge(pipeline, feed, story)


def judge(pipeline: Pipeline, feed: StoryFeed, story: Story) -> None:
    """Play to the end, stop in order, and compare with a replay."""
    feed.rest()
    pipeline.settle()
    pipeline.stop()
    assert repeated_events(pipeline.settings) == []
    assert compared(pipeline.settings).found == [], "topics and store differ by independent count"
    found = differences(pipeline.settings.sink.path, replayed(story, pipeline))
    assert found == {}, f"{blame(pipeline.settings)}; {found}"
