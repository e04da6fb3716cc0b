"""Checkpoints on brokers: what is written whole, what is fenced, what a restore reads back."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, cast

import orjson
import pytest
from brokers import KafkaCluster
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from conftest import Broker
from faults.counting import COUNTING, TABLES

from tieout.reconcilers.changes import Change, Frame, Op
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.outcomes import Output
from tieout.streams import checkpoint as module
from tieout.streams.checkpoint import Fenced, Outputs, Writer
from tieout.streams.embedded import EmbeddedBroker
from tieout.streams.outputs import encoders
from tieout.streams.shards import Shard, Snapshot
from tieout.streams.tables import Checkpoint, Place, RestoreError, Stamp, progress, restore
from tieout.streams.topics import LEDGER, output_topic, table_topic

PLACE = Place(Axis.PROJECT, 1)
COMPACTED = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"}


@pytest.fixture
def client(broker: Broker) -> dict[str, Any]:
    """A client's settings, on either broker."""
    return prepared(broker)


def prepared(broker: Broker) -> dict[str, Any]:
    """Make the topics of a counting worker; a client's settings."""
    for table in (LEDGER, *TABLES):
        broker.create(table_topic(table), 2, COMPACTED)
    for output in Output:
        broker.create(output_topic(output), 2)
    return {"bootstrap.servers": broker.bootstrap, "log_level": 0}


class Owner:
    """What a worker does with one place, step by step."""

    def __init__(self, client: dict[str, Any]) -> None:
        self.client = client
        self.writer = Writer(client, "tieout-worker", PLACE, Outputs(encoders()))
        self.writer.fence()
        self.epoch = 0
        restored = restore(client, PLACE, TABLES, self._claim)
        self.shard = Shard.restored(PLACE, 2, self.epoch, COUNTING, restored)
        self.restored = {(table, key): value for table, key, value in restored.rows.items()}

    def _claim(self, epoch: int) -> None:
        self.epoch = epoch
        self.writer.claim(epoch)

    def apply(self, *keys: str) -> Snapshot:
        """Apply one frame with a change of each key, and cut it off."""
        offset = self.shard.next_offset
        changes = tuple(Change("time_entry", key, Op.UPSERT, "TIME/x", key, offset, str(offset)) for key in keys)
        self.shard.apply(offset, Frame("p", offset, offset, changes), None)
        return self.shard.snapshot()

    def begin(self, snapshot: Snapshot) -> None:
        """Send all of a transaction but its end: the instant before a kill."""
        self.writer._producer.begin_transaction()
        self.writer._put_snapshot(snapshot)
        self.writer._producer.flush(10)

    def tear(self, snapshot: Snapshot) -> None:
        """Send the rows of a transaction but not its checkpoint record."""
        self.writer._producer.begin_transaction()
        self.writer._put_rows(snapshot.rows, snapshot.checkpoint.stamp.header())
        self.writer._producer.flush(10)


def test_what_was_written_is_restored(client: dict[str, Any]) -> None:
    first = Owner(client)
    assert (first.epoch, first.shard.next_offset, first.restored) == (1, 0, {})
    first.writer.write(first.apply("a", "b"))
    first.writer.write(first.apply("a"))
    second = Owner(client)
    assert (second.epoch, second.shard.next_offset) == (2, 2)
    assert second.restored == {
        ("counts", "a"): 2, ("last", "a"): [2, "1"], ("counts", "b"): 1, ("last", "b"): [1, "0"],
    }  # fmt: skip
    second.writer.write(second.apply("a"))
    last = progress(client, PLACE)
    assert last == Checkpoint(2, 1, 3, {"counts": 1, "last": 1}, Stamp(1, 2), {"p": 3})


def test_deleted_rows_stay_deleted(client: dict[str, Any]) -> None:
    first = Owner(client)
    first.writer.write(first.apply("a"))
    first.writer.write(first.apply(*["a"] * 6))
    assert Owner(client).restored == {("counts", "a"): 7}


@pytest.mark.parametrize("die", [Owner.begin, Owner.tear], ids=["before the commit", "before the checkpoint record"])
def test_an_unfinished_checkpoint_does_not_count(
    client: dict[str, Any], die: Callable[[Owner, Snapshot], None]
) -> None:
    """The next owner goes on from the last whole one, and so does the one after it."""
    first = Owner(client)
    first.writer.write(first.apply("a"))
    die(first, first.apply("a", "b"))
    second = Owner(client)
    if second.shard.next_offset == 2:  # the embedded broker shows the whole of it: then it counts as whole
        assert die is Owner.begin
        assert second.restored["counts", "a"] == 2
        return
    assert second.shard.next_offset == 1
    assert second.restored == {("counts", "a"): 1, ("last", "a"): [1, "0"]}
    second.writer.write(second.apply("c"))
    assert Owner(client).restored.keys() == {("counts", "a"), ("last", "a"), ("counts", "c"), ("last", "c")}


def test_a_torn_transaction_that_only_lacks_a_row_does_not_count(client: dict[str, Any]) -> None:
    """Its checkpoint record arrived before one of its rows: only a broker that shows such things makes this matter."""
    first = Owner(client)
    first.writer.write(first.apply("a"))
    torn = first.apply("a", "b")
    first.begin(Snapshot(torn.place, torn.checkpoint, torn.rows[1:], (), (), 0))
    second = Owner(client)
    assert second.shard.next_offset == 1
    assert second.restored == {("counts", "a"): 1, ("last", "a"): [1, "0"]}


@pytest.mark.embedded_gap("transactional ids are not fenced: a superseded owner may go on writing outputs")
def test_a_superseded_owner_is_fenced(client: dict[str, Any]) -> None:
    first = Owner(client)
    first.writer.write(first.apply("a"))
    late = first.apply("a")
    second = Owner(client)
    with pytest.raises(Fenced):
        first.writer.write(late)
    with pytest.raises(Fenced):
        first.writer.write(first.apply("a"))
    second.writer.write(second.apply("b"))
    assert events(client) == ["a#1", "b#1"]


def test_what_a_superseded_owner_still_writes_is_not_restored(client: dict[str, Any]) -> None:
    """By the claim where the broker does not fence; by the broker where it does."""
    first = Owner(client)
    first.writer.write(first.apply("a"))
    late = first.apply("a")
    second = Owner(client)
    with suppress(Fenced):
        first.writer.write(late)
    second.writer.write(second.apply("b"))
    assert Owner(client).restored["counts", "a"] == 1


@pytest.mark.embedded_gap("rows of transactions that never committed are visible")
def test_outputs_of_an_unfinished_checkpoint_are_invisible(client: dict[str, Any]) -> None:
    first = Owner(client)
    first.begin(first.apply("a"))
    assert events(client) == []
    second = Owner(client)
    assert second.shard.next_offset == 0
    second.writer.write(second.apply("a"))
    assert events(client) == ["a#1"]


@pytest.mark.kafka
def test_compacted_changelogs_restore_the_same(kafka_alone: KafkaCluster) -> None:
    """Many versions of a few keys by several owners; the cleaner leaves the last of each, ledger included."""
    client = prepared(Broker("kafka", kafka_alone))
    for _ in range(3):
        owner = Owner(client)
        for _ in range(15):
            owner.writer.write(owner.apply("a", "b", "c"))
        time.sleep(0.2)
    written = {table_topic("counts"): 3 * 15 * 3, table_topic(LEDGER): 3 * 15 + 3}  # cleaned meanwhile, perhaps
    deadline = time.monotonic() + 180
    while any(records(client, topic) > count / 2 for topic, count in written.items()):
        assert time.monotonic() < deadline, kafka_alone.tail("did not clean its logs")
        owner.writer.write(owner.apply("a"))  # a new segment, so that the old one may be cleaned
        time.sleep(0.3)
    successor = Owner(client)
    counts = {key: count for (table, key), count in successor.restored.items() if table == "counts"}
    assert counts == {"a": owner.shard.next_offset, "b": 45, "c": 45}
    assert successor.shard.next_offset == owner.shard.next_offset


def test_a_changelog_that_lost_its_head_is_refused(embedded: EmbeddedBroker) -> None:
    """The embedded broker forgets what is older than about 5 MB: better no start than a wrong one."""
    client = prepared(Broker("embedded", embedded))
    first = Owner(client)
    first.writer._producer.begin_transaction()
    first.writer._put_rows([("counts", b"%d" % n, os.urandom(700_000)) for n in range(12)], Stamp(1, 1).header())
    first.writer._producer.flush(10)
    with pytest.raises(RestoreError, match=r"tieout\.tables\.counts\.v1 \[1\] begins at offset \d+, expected 0"):
        Owner(client)


def test_an_event_says_what_it_is(client: dict[str, Any]) -> None:
    """CloudEvents headers in binary mode, on a state and on an event."""
    owner = Owner(client)
    owner.writer.write(owner.apply("a"))
    for output, event_id in ((Output.BILLING_DECISION, "a#1"), (Output.KPI_STATE, "project/1/1.1/0")):
        found = read(client, output_topic(output))
        headers, value = next(record for record in found if record[0]["ce_id"] == event_id.encode())
        assert headers == {
            "content-type": b"application/avro", "ce_specversion": b"1.0", "ce_id": event_id.encode(),
            "ce_type": f"tieout.{output.value}.v1".encode(), "ce_source": b"/tieout/worker/project/1",
        }  # fmt: skip
        assert value[:1] == b"\0"


class ScriptedProducer:
    """Answers each call with the next error of its script; counts what was asked of it."""

    script: list[tuple[str, KafkaError]]
    calls: list[str]

    def __init__(self, _config: dict[str, Any]) -> None:
        type(self).calls = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(*_: Any, **__: Any) -> None:
            self.calls.append(name)
            if self.script and self.script[0][0] == name:
                raise KafkaException(self.script.pop(0)[1])

        return call


ABORT = KafkaError(KafkaError._TIMED_OUT, txn_requires_abort=True)
AGAIN = KafkaError(KafkaError._TIMED_OUT, retriable=True)
FENCED = KafkaError(KafkaError._FENCED, fatal=True)
BROKEN = KafkaError(KafkaError._FATAL, fatal=True)
ANEW = ["begin", "put", "commit"]
SCRIPTS: list[tuple[str, list[tuple[str, KafkaError]], type[Exception] | None, list[str]]] = [
    # what            answers                                     raises          calls after begin and produce
    ("well",          [],                                         None,           ["commit"]),
    ("slow",          [("commit", AGAIN)] * 2,                    None,           ["commit"] * 3),
    ("abort",         [("commit", ABORT)],                        None,           ["commit", "abort", *ANEW]),
    ("slow abort",    [("commit", ABORT), ("abort", AGAIN)],      None,           ["commit", "abort", "abort", *ANEW]),
    ("fenced",        [("commit", FENCED)],                       Fenced,         ["commit"]),
    ("fenced late",   [("commit", ABORT), ("abort", FENCED)],     Fenced,         ["commit", "abort"]),
    ("fenced unseen", [("commit", BROKEN), ("abort", FENCED)],    Fenced,         ["commit", "abort"]),
    ("broken",        [("commit", BROKEN), ("abort", BROKEN)],    KafkaException, ["commit", "abort"]),
]  # fmt: skip
NAMES = {"commit_transaction": "commit", "abort_transaction": "abort", "begin_transaction": "begin", "produce": "put"}


@pytest.mark.parametrize(("what", "script", "raises", "calls"), SCRIPTS, ids=[row[0] for row in SCRIPTS])
def test_what_follows_from_an_error(
    monkeypatch: pytest.MonkeyPatch, what: str, script: list[tuple[str, KafkaError]],
    raises: type[Exception] | None, calls: list[str],
) -> None:  # fmt: skip
    """A commit that may be repeated is repeated; what must be aborted is, and written again; fencing is final."""
    long = {short: name for name, short in NAMES.items()}
    ScriptedProducer.script = [(long[name], error) for name, error in script]
    monkeypatch.setattr(module, "Producer", ScriptedProducer)
    writer = Writer({}, "g", PLACE, Outputs(encoders()))
    if raises:
        with pytest.raises(raises):
            writer.claim(1)
    else:
        writer.claim(1)
    assert [NAMES[name] for name in ScriptedProducer.calls] == ["begin", "put", *calls]


@pytest.mark.usefixtures("no_collector")
def test_a_writer_that_was_fenced_is_gone_when_it_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made beside the tables, which the collector does not look through, and its client has threads."""
    ScriptedProducer.script = [("commit_transaction", FENCED)]
    monkeypatch.setattr(module, "Producer", ScriptedProducer)
    writer = Writer({}, "g", PLACE, Outputs(encoders()))
    seen = weakref.ref(writer)
    with suppress(Fenced):
        writer.claim(1)
    del writer
    assert seen() is None


def read(client: dict[str, Any], topic: str) -> Iterator[tuple[dict[str, bytes], bytes]]:
    """(headers, value) of every committed record."""
    reading = {"isolation.level": "read_committed", "enable.partition.eof": True, "fetch.wait.max.ms": 10}
    consumer = Consumer({**client, "group.id": "test", **reading})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(2)])
    unread = {0, 1}
    while unread:
        for message in consumer.consume(100, 0.1):
            if message.error() is not None:
                unread.discard(cast(int, message.partition()))
                continue
            yield dict(cast("list[tuple[str, bytes]]", message.headers() or [])), cast(bytes, message.value())
    consumer.close()


def events(client: dict[str, Any]) -> list[str]:
    """The ids of the events that a reader of committed records sees."""
    return sorted(headers["ce_id"].decode() for headers, _ in read(client, output_topic(Output.BILLING_DECISION)))


def records(client: dict[str, Any], topic: str) -> int:
    """How many records a topic still has."""
    return sum(1 for _, value in read(client, topic) if orjson.loads(value) is not None)
