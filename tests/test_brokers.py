"""The Kafka that tests run on: three brokers lose one and go on, and get it back with its data."""

from __future__ import annotations

import pytest
from brokers import KafkaCluster
from confluent_kafka import Producer

pytestmark = pytest.mark.kafka


def produce(cluster: KafkaCluster, value: bytes) -> None:
    writer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "log_level": 0})
    failed: list[object] = []
    writer.produce("t", value, on_delivery=lambda error, _: failed.append(error) if error else None)
    assert writer.flush(30) == 0
    assert failed == []


def test_three_brokers_lose_one_and_get_it_back(kafka3: KafkaCluster) -> None:
    """Writes with all acknowledgements go on with two of three, and the third comes back after SIGKILL."""
    kafka3.create("t", 3)
    produce(kafka3, b"1")
    kafka3.nodes[0].kill()
    kafka3.wait(brokers=2)
    produce(kafka3, b"2")
    kafka3.nodes[0].start()
    kafka3.wait()
    produce(kafka3, b"3")
    assert all(node.process is not None and node.process.poll() is None for node in kafka3.nodes)


def test_a_cleaned_cluster_has_no_topics(kafka: KafkaCluster) -> None:
    """A test never sees what another one left."""
    kafka.create("left.over", 2)
    kafka.clean()
    kafka.create("left.over", 3)
    writer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    assert len(writer.list_topics("left.over", timeout=10).topics["left.over"].partitions) == 3
