"""Reading a whole topic: to the end that it has when the reading begins, however much is written meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Producer
from conftest import Broker

from tieout.streams.settings import Settings
from tieout.streams.topicread import TopicMissing, TopicReader, whole_topic

pytestmark = pytest.mark.timeout(60)
TOPIC = "written.to"


def settings_for(broker: Broker) -> Settings:
    return Settings.model_validate({"kafka": {"client": {"bootstrap.servers": broker.bootstrap, "log_level": 0}}})


def produce(broker: Broker, *values: str) -> None:
    writer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    for value in values:
        writer.produce(TOPIC, value, partition=0)
    assert writer.flush(20) == 0


@contextmanager
def busy(broker: Broker) -> Iterator[None]:
    """Something new long before a fetch could find nothing, until the block is left."""
    ended = threading.Event()

    def write() -> None:
        while not ended.wait(0.02):
            produce(broker, "more")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()


def test_a_topic_that_is_written_to_all_the_time_has_an_end(broker: Broker) -> None:
    broker.create(TOPIC, 1)
    produce(broker, "a", "b")
    with busy(broker):
        assert [message.value() for message in whole_topic(settings_for(broker), TOPIC)][:2] == [b"a", b"b"]


def test_empty_partitions_are_at_their_end_and_news_comes_after(broker: Broker) -> None:
    broker.create(TOPIC, 3)
    produce(broker, "a")
    reader = TopicReader(settings_for(broker), TOPIC)
    try:
        assert [message.value() for message in reader.to_the_end()] == [b"a"]
        produce(broker, "b")
        news: list[bytes | None] = []
        while not news:
            news += [message.value() for message in reader.news()]
        assert news == [b"b"]
    finally:
        reader.close()


def test_a_topic_that_is_missing_is_named(broker: Broker) -> None:
    with pytest.raises(TopicMissing, match=r"topic written\.to does not exist"):
        list(whole_topic(settings_for(broker), TOPIC))
