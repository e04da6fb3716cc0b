"""What we rely on from a broker, on the embedded one and on Apache Kafka; each gap of the embedded one is marked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import aiokafka
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType  # type: ignore[attr-defined]
from conftest import Broker

pytestmark = pytest.mark.timeout(90)
WAIT_S = 20.0

gap = pytest.mark.embedded_gap
Sent = tuple[bytes | None, bytes | None]


def producer(broker: Broker, **config: Any) -> Producer:
    names = {name.replace("_", "."): value for name, value in config.items()}
    return Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0, **names})


def consumer(broker: Broker, group: str = "readers", **config: Any) -> Consumer:
    names = {name.replace("_", "."): value for name, value in config.items()}
    short = {"session.timeout.ms": 6000, "log_level": 0}  # the embedded broker misses a leaver until it times out
    defaults = {"auto.offset.reset": "earliest", "enable.auto.commit": False, **short}
    return Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group, **defaults, **names})


def read_to_end(broker: Broker, topic: str, partition: int = 0, **config: Any) -> list[Message]:
    """All that a reader gets from a partition, up to the end that the broker tells it."""
    reader = consumer(broker, enable_partition_eof=True, **config)
    reader.assign([TopicPartition(topic, partition, 0)])
    messages: list[Message] = []
    try:
        for message in iter(lambda: reader.poll(WAIT_S), None):
            error = message.error()
            if error is None:
                messages.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                return messages
            else:
                raise KafkaException(error)
        raise AssertionError(f"no end of {topic} within {WAIT_S} s, {len(messages)} records read")
    finally:
        reader.close()


def values(messages: list[Message]) -> list[bytes | None]:
    return [message.value() for message in messages]


def until(holds: Callable[[], bool], seconds: float = WAIT_S) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_keys_values_headers_and_timestamps_come_back(broker: Broker) -> None:
    """A record is bytes in and bytes out; a tombstone is None and not empty; a null key is None."""
    broker.create("t")
    sent: list[Sent] = [(b"a", b"1"), (b"a", None), (None, b"2"), (b"b", b"")]
    writer = producer(broker)
    for number, (key, value) in enumerate(sent):
        writer.produce("t", value, key, headers=[("h", b"x"), ("h", b"y"), ("n", None)], timestamp=1_000 + number)
    writer.flush(WAIT_S)
    got = read_to_end(broker, "t")
    assert [(message.key(), message.value()) for message in got] == sent
    assert {tuple(message.headers() or ()) for message in got} == {(("h", b"x"), ("h", b"y"), ("n", None))}
    assert [message.timestamp()[1] for message in got] == [1_000, 1_001, 1_002, 1_003]
    assert [message.offset() for message in got] == [0, 1, 2, 3]


def test_a_topic_has_the_partitions_it_was_made_with(broker: Broker) -> None:
    """Seven partitions, and a record goes to the one it names."""
    broker.create("seven", 7)
    writer = producer(broker)
    writer.produce("seven", b"x", partition=6)
    writer.flush(WAIT_S)
    assert len(writer.list_topics("seven", timeout=WAIT_S).topics["seven"].partitions) == 7
    assert values(read_to_end(broker, "seven", 6)) == [b"x"]


def test_an_idempotent_producer_keeps_order(broker: Broker) -> None:
    """A thousand records of one partition in the order they were produced."""
    broker.create("t")
    writer = producer(broker, enable_idempotence=True, linger_ms=1)
    for number in range(1_000):
        writer.produce("t", str(number).encode(), partition=0)
    writer.flush(WAIT_S)
    assert values(read_to_end(broker, "t")) == [str(number).encode() for number in range(1_000)]


def test_a_group_goes_on_where_it_committed(broker: Broker) -> None:
    """What was committed is not read again by the next member of the group."""
    broker.create("t")
    writer = producer(broker)
    for number in range(6):
        writer.produce("t", str(number).encode())
    writer.flush(WAIT_S)
    first = consumer(broker, "g")
    first.subscribe(["t"])
    assert values(first.consume(4, WAIT_S)) == [b"0", b"1", b"2", b"3"]
    first.commit(offsets=[TopicPartition("t", 0, 4)], asynchronous=False)
    first.close()
    second = consumer(broker, "g")
    second.subscribe(["t"])
    assert values(second.consume(2, WAIT_S)) == [b"4", b"5"]
    second.close()


def test_two_members_share_the_partitions(broker: Broker) -> None:
    """A second member of a group takes over half, and gives it back when it leaves."""
    broker.create("t", 4)
    first, second = consumer(broker, "g"), consumer(broker, "g")

    def held() -> tuple[int, int]:
        first.poll(0.1)
        second.poll(0.1)
        return len(first.assignment()), len(second.assignment())

    first.subscribe(["t"])
    assert until(lambda: first.poll(0.1) is None and len(first.assignment()) == 4)
    second.subscribe(["t"])
    assert until(lambda: held() == (2, 2), 2 * WAIT_S)
    second.close()
    assert until(lambda: first.poll(0.1) is None and len(first.assignment()) == 4)
    first.close()


def test_a_committed_transaction_is_visible(broker: Broker) -> None:
    """All records of a transaction over two topics, none before the commit."""
    broker.create("a")
    broker.create("b")
    writer = producer(broker, transactional_id="w")
    writer.init_transactions(WAIT_S)
    writer.begin_transaction()
    writer.produce("a", b"1")
    writer.produce("b", b"2")
    writer.commit_transaction(WAIT_S)
    assert values(read_to_end(broker, "a", isolation_level="read_committed")) == [b"1"]
    assert values(read_to_end(broker, "b", isolation_level="read_committed")) == [b"2"]


@gap("transactions are accepted, but what was aborted stays visible")
def test_an_aborted_transaction_is_invisible(broker: Broker) -> None:
    """A reader of committed records never sees what was aborted."""
    broker.create("t")
    writer = producer(broker, transactional_id="w")
    writer.init_transactions(WAIT_S)
    for value, commit in ((b"aborted", False), (b"committed", True)):
        writer.begin_transaction()
        writer.produce("t", value)
        writer.flush(WAIT_S)
        (writer.commit_transaction if commit else writer.abort_transaction)(WAIT_S)
    assert values(read_to_end(broker, "t", isolation_level="read_committed")) == [b"committed"]


@gap("there is no last stable offset: open transactions are visible")
def test_an_open_transaction_holds_readers_back(broker: Broker) -> None:
    """The last stable offset stays before an open transaction, and so do readers of committed records."""
    broker.create("t")
    plain = producer(broker)
    plain.produce("t", b"before")
    plain.flush(WAIT_S)
    writer = producer(broker, transactional_id="w")
    writer.init_transactions(WAIT_S)
    writer.begin_transaction()
    writer.produce("t", b"open")
    writer.flush(WAIT_S)
    plain.produce("t", b"after")
    plain.flush(WAIT_S)
    assert values(read_to_end(broker, "t", isolation_level="read_committed")) == [b"before"]
    writer.abort_transaction(WAIT_S)
    assert values(read_to_end(broker, "t", isolation_level="read_committed")) == [b"before", b"after"]


@gap("a transactional id is not fenced: the old producer commits")
def test_an_older_producer_is_fenced(broker: Broker) -> None:
    """A second producer with the same transactional id ends the first one's writes for good."""
    broker.create("t")
    old, new = (producer(broker, transactional_id="w") for _ in range(2))
    old.init_transactions(WAIT_S)
    old.begin_transaction()
    old.produce("t", b"old")
    old.flush(WAIT_S)
    new.init_transactions(WAIT_S)
    with pytest.raises(KafkaException) as caught:
        old.commit_transaction(WAIT_S)
    assert caught.value.args[0].code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH)
    new.begin_transaction()
    new.produce("t", b"new")
    new.commit_transaction(WAIT_S)
    assert values(read_to_end(broker, "t", isolation_level="read_committed")) == [b"new"]


@gap("offsets sent to a transaction are not stored")
def test_offsets_are_committed_with_the_transaction(broker: Broker) -> None:
    """A group's position moves with the transaction that carried it, and not with one that was aborted."""
    broker.create("t")
    reader = consumer(broker, "g")
    reader.subscribe(["t"])
    assert until(lambda: reader.poll(0.1) is None and bool(reader.assignment()))
    writer = producer(broker, transactional_id="w")
    writer.init_transactions(WAIT_S)
    for offset, commit in ((7, True), (9, False)):
        writer.begin_transaction()
        writer.produce("t", b"x")
        writer.send_offsets_to_transaction([TopicPartition("t", 0, offset)], reader.consumer_group_metadata(), WAIT_S)
        (writer.commit_transaction if commit else writer.abort_transaction)(WAIT_S)
    (position,) = reader.committed([TopicPartition("t", 0)], WAIT_S)
    reader.close()
    assert position.offset == 7


@gap("a partition keeps about 5 MB and drops older records silently")
def test_a_partition_keeps_all_that_it_was_given(broker: Broker) -> None:
    """Eight megabytes in one partition are all there."""
    broker.create("t")
    writer = producer(broker)
    for number in range(8_000):
        writer.produce("t", b"x" * 1_000)
        if number % 1_000 == 999:
            writer.flush(WAIT_S)
    low, high = _watermarks(broker, "t")
    assert (low, high) == (0, 8_000)


def _watermarks(broker: Broker, topic: str) -> tuple[int, int]:
    reader = consumer(broker)
    try:
        low, high = reader.get_watermark_offsets(TopicPartition(topic, 0), WAIT_S)
        return low, high
    finally:
        reader.close()


@gap("any topic that is asked for springs up with 4 partitions")
def test_a_topic_that_nobody_made_does_not_spring_up(broker: Broker) -> None:
    """A misspelt name is an error, not a new topic."""
    writer = producer(broker, topic_metadata_propagation_max_ms=1_000)
    errors: list[Any] = []
    writer.produce("mispelt", b"x", on_delivery=lambda error, _: errors.append(error and error.name()))
    writer.flush(WAIT_S)
    assert errors == ["UNKNOWN_TOPIC_OR_PART"]


@gap("CreateTopics and DescribeConfigs are not answered")
def test_a_client_can_make_and_describe_topics(broker: Broker) -> None:
    """CreateTopics with a clean-up policy, and the policy read back."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    new = NewTopic("made", 3, 1, config={"cleanup.policy": "compact"})
    admin.create_topics([new], request_timeout=3)["made"].result(5)
    resource = ConfigResource(ResourceType.TOPIC, "made")
    described = admin.describe_configs([resource], request_timeout=3)[resource].result(5)
    assert described["cleanup.policy"].value == "compact"


@gap("nothing is compacted")
def test_a_compacted_topic_forgets_old_versions_and_keeps_the_last(broker: Broker) -> None:
    """Compaction runs: of 300 versions of one key few are left, the newest among them; the tombstoned key is gone."""
    quick = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01",
             "delete.retention.ms": "100", "segment.bytes": "1048576"}  # fmt: skip
    broker.create("t", 1, quick)
    writer = producer(broker)
    for number in range(300):
        writer.produce("t", str(number).encode(), b"kept")
        writer.produce("t", b"x" if number < 299 else None, b"gone")
        if number % 100 == 99:
            writer.flush(WAIT_S)
            time.sleep(0.15)  # the next record rolls the segment

    def compacted() -> bool:
        writer.produce("t", b"tick", b"other")
        writer.flush(WAIT_S)
        return len([m for m in read_to_end(broker, "t") if m.key() != b"other"]) < 20

    assert until(compacted, 30 if broker.kind == "kafka" else 1)
    last = {message.key(): message.value() for message in read_to_end(broker, "t")}
    assert last[b"kept"] == b"299"
    assert last.get(b"gone") is None


def test_aiokafka_reads_what_librdkafka_wrote(broker: Broker) -> None:
    """Faust's client and ours speak to the same broker, headers and tombstones included."""
    broker.create("t", 2)
    writer = producer(broker)
    for partition in range(2):
        writer.produce("t", None if partition else b"v", b"k", partition=partition, headers=[("h", b"x")])
    writer.flush(WAIT_S)

    async def read() -> set[tuple[Any, ...]]:
        reader = aiokafka.AIOKafkaConsumer(
            "t", bootstrap_servers=broker.bootstrap, group_id="faust", auto_offset_reset="earliest"
        )
        await reader.start()
        try:
            got = [await asyncio.wait_for(reader.getone(), WAIT_S) for _ in range(2)]
            await reader.commit()
            return {(m.partition, m.key, m.value, m.headers) for m in got}
        finally:
            await reader.stop()

    assert asyncio.run(read()) == {(0, b"k", b"v", (("h", b"x"),)), (1, b"k", None, (("h", b"x"),))}
