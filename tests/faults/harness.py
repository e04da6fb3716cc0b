"""Real processes on a real broker: feed them, hurt them, and count what came out.

The feed knows what it sent, so the verdict does not ask the worker: every event exactly once, every state the last
one, every table row restored as counted.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

import orjson
from brokers import die_with_parent
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from faults.counting import TABLES

from tieout.reconcilers.changes import Change, Frame, Op
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.outcomes import Output
from tieout.streams import topics
from tieout.streams.settings import Kafka, Settings
from tieout.streams.tables import Place, progress

WORKER: Final = Path(__file__).with_name("counting_worker.py")
SESSION_MS: Final = 6_000
KEYS: Final = 997  # a partition
RESTART_SHARE: Final = 0.2  # of the rounds of a feed in the background after which it is another producer
EXIT_AGAIN: Final = 70
HOLDS_S: Final = 120.0  # a process on its way up, on a machine that does other things as well
SEED: Final = int(os.environ.get("TIEOUT_TEST_SEED", "20260310"))
KILLS: Final = int(os.environ.get("TIEOUT_TEST_KILLS", "3"))
RESTARTS: Final = int(os.environ.get("TIEOUT_TEST_RESTARTS", "3"))


def settings(bootstrap: str, partitions: int = 4) -> Settings:
    """The settings that feed, workers and verdict share."""
    client = {"bootstrap.servers": bootstrap, "session.timeout.ms": SESSION_MS, "heartbeat.interval.ms": 1_500}
    return Settings(kafka=Kafka(client=client, partitions=partitions))


def environment(shared: Settings, **more: str) -> dict[str, str]:
    """The same as variables of a process; `more` as TIEOUT_ names without the prefix."""
    kafka = {f"KAFKA__CLIENT__{name.upper().replace('.', '_')}": str(v) for name, v in shared.kafka.client.items()}
    values = {**kafka, "KAFKA__PARTITIONS": str(shared.kafka.partitions), "OPS__PORT": "0", **more}
    return {**os.environ, **{f"TIEOUT_{name}": value for name, value in values.items()}}


def make_topics(shared: Settings) -> None:
    """All topics of ours on an empty broker."""
    admin = AdminClient({"bootstrap.servers": shared.kafka.client["bootstrap.servers"]})
    topics.apply(admin, topics.plan(admin, topics.desired(shared, TABLES)))


class Proc:
    """A process with a log; a fault is a signal. Restarted by `supervise` where it dies of 70 or of a kill."""

    def __init__(self, command: list[str], env: Mapping[str, str], log: Path) -> None:
        self._command, self._env, self.log = command, dict(env), log
        self.ended = 0  # times that it asked to be restarted
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._log_from = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._env, stdout=log, stderr=log, preexec_fn=die_with_parent
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, nothing is flushed."""
        self.process.kill()
        self.process.wait(10)

    def stop(self, within_s: float = 20.0) -> int:
        """SIGTERM; its exit code."""
        self.process.terminate()
        return self.process.wait(within_s)

    def restart_if_dead(self) -> bool:
        """What a supervisor does; an exit code that asks for no restart is a failure of the test."""
        code = self.process.poll()
        if code is None:
            return False
        self.ended += 1
        assert code == EXIT_AGAIN, f"exit {code}, see {self.log}:\n{self.tail()}"
        assert self.ended < 4, f"it ends again and again, see {self.log}:\n{self.tail()}"
        self.start()
        return True

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()

    def log_now(self) -> str:
        """The log since the last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_from)
            return log.read().decode(errors="replace")

    def tail(self, lines: int = 25) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@contextmanager
def workers(shared: Settings, folder: Path, count: int = 1, **more: str) -> Iterator[list[Proc]]:
    """`count` counting workers, ended when the test is."""
    procs: list[Proc] = []
    try:
        procs.extend(worker(shared, folder, number, **more) for number in range(count))
        yield procs
    finally:
        for proc in procs:
            proc.close()


def worker(shared: Settings, folder: Path, number: int = 0, **more: str) -> Proc:
    """A counting worker."""
    return Proc([sys.executable, str(WORKER)], environment(shared, **more), folder / f"worker-{number}.log")


class Feed:
    """Sends frames of counted changes to every partition, at a rate or as fast as they go."""

    def __init__(self, shared: Settings, seed: int, changes_a_frame: int = 50) -> None:
        self.sent: Counter[tuple[int, str]] = Counter()  # changes by (partition, key)
        self._shared = shared
        self._random = random.Random(seed)
        self._size = changes_a_frame
        self._numbers = [0] * shared.kafka.partitions
        self._last = [b""] * shared.kafka.partitions
        self._seed, self._restarts = seed, 0
        self._producer_id = f"feed-{seed}"
        self._producer = Producer(shared.kafka_producer({"linger.ms": 5}))
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def send(self, frames: int) -> None:
        """So many frames to every partition, delivered."""
        for _ in range(frames):
            self._send_one_each()
        assert self._producer.flush(60) == 0

    @contextmanager
    def running(self, frames_a_second: float) -> Iterator[None]:
        """Keep sending in the background; what was begun is delivered at the end."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, args=(1 / frames_a_second,))
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()
            assert self._producer.flush(60) == 0

    def _restart(self) -> None:
        """As an ingest that was restarted: a new producer, numbers from 0."""
        self._restarts += 1
        self._producer_id = f"feed-{self._seed}-{self._restarts}"
        self._numbers = [0] * len(self._numbers)

    def _run(self, pause_s: float) -> None:
        while not self._stop.wait(pause_s):
            self._send_one_each()
            if self._random.random() < RESTART_SHARE:
                self._restart()

    def send_keys(self, partition: int, keys: list[str]) -> None:
        """One frame with one change of each key."""
        number = self._numbers[partition]
        self._numbers[partition] += 1
        self.sent.update((partition, key) for key in keys)
        changes = [Change("time_entry", key, Op.UPSERT, "TIME/x", key, number, str(i)) for i, key in enumerate(keys)]
        frame = Frame(self._producer_id, number, number + 1, tuple(changes), {"raw/0": number})
        self._last[partition] = orjson.dumps(frame.to_record())
        self._produce(partition)

    def skip(self, partition: int) -> None:
        """Lose a frame: its number is never sent."""
        self._numbers[partition] += 1

    def restart(self) -> None:
        """Be another producer from now on."""
        self._restart()

    def marker(self, partition: int) -> None:
        """Leave a hole of the log itself: the end of a transaction takes an offset."""
        bootstrap = self._shared.kafka.client["bootstrap.servers"]
        producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "marker"})
        producer.init_transactions(20)
        self.send(0)
        producer.begin_transaction()
        self._produce(partition, producer)
        producer.commit_transaction(20)

    def repeat_last(self, partition: int) -> None:
        """Send the last frame again, as it was."""
        self._produce(partition)

    def _produce(self, partition: int, producer: Producer | None = None) -> None:
        producer = producer or self._producer
        producer.produce(topics.changes_topic(Axis.PROJECT), self._last[partition], partition=partition)
        producer.poll(0)

    def _send_one_each(self) -> None:
        for partition in range(len(self._numbers)):
            self.send_keys(partition, [f"K{partition}-{self._random.randrange(KEYS)}" for _ in range(self._size)])


def applied(shared: Settings) -> bool:
    """Whether the checkpoints have every frame there is."""
    consumer = Consumer({**shared.kafka_client(), "group.id": "verdict"})
    try:
        for partition in range(shared.kafka.partitions):
            frames = TopicPartition(topics.changes_topic(Axis.PROJECT), partition)
            _, end = consumer.get_watermark_offsets(frames, timeout=10)
            last = progress(shared.kafka_client(), Place(Axis.PROJECT, partition))
            if (last.next_offset if last else 0) != end:
                return False
        return True
    finally:
        consumer.close()


def wait_applied(shared: Settings, procs: list[Proc], timeout_s: float = 180.0) -> None:
    """Until every frame is in a checkpoint, with the processes supervised on the way."""

    def done() -> bool:
        for proc in procs:
            proc.restart_if_dead()
        return applied(shared)

    wait_until(done, timeout_s, "every frame applied", lambda: "\n".join(proc.tail() for proc in procs))


def wait_until(holds: Callable[[], bool], timeout_s: float, what: str, why: Callable[[], str] = lambda: "") -> None:
    """Poll until it holds; AssertionError says what did not, and why."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}\n{why()}"
        time.sleep(0.2)


def verdict(shared: Settings, sent: Counter[tuple[int, str]]) -> dict[str, int]:
    """Compare what came out with what was sent, key by key; AssertionError with examples where they differ."""
    by_key = Counter({key: number for (_, key), number in sent.items()})
    expected = {f"{key}#{number}" for key, count in by_key.items() for number in range(1, count + 1)}
    seen = Counter(record["ce_id"] for record, _ in read_all(shared, topics.output_topic(Output.BILLING_DECISION)))
    lost, invented = expected - seen.keys(), seen.keys() - expected
    twice = [event for event, number in seen.items() if number > 1]
    report = {"sent": len(expected), "lost": len(lost), "twice": len(twice), "invented": len(invented)}
    wrong = [*sorted(lost)[:3], *twice[:3], *sorted(invented)[:3]]
    assert not wrong, f"{report}: e.g. {wrong}"
    assert counted(shared) == by_key, "the tables differ from what was sent"
    return report


def counted(shared: Settings) -> Counter[str]:
    """What the changelog of `counts` holds: the last row of each key."""
    rows: dict[str, int] = {}
    for record, value in read_all(shared, topics.table_topic("counts")):
        rows[record["key"]] = orjson.loads(value)
    return Counter(rows)


def read_all(shared: Settings, topic: str, partitions: Sequence[int] = ()) -> Iterator[tuple[dict[str, str], bytes]]:
    """(key, partition, offset and headers, value) of all committed records of a topic, or of some partitions."""
    consumer = Consumer(
        {
            **shared.kafka_client(), "group.id": "verdict", "isolation.level": "read_committed",
            "enable.partition.eof": True, "enable.auto.commit": False, "fetch.wait.max.ms": 10,
        }
    )  # fmt: skip
    partitions = partitions or list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    unread = set(partitions)  # one that is still written to may reach its end more than once
    while unread:
        for message in consumer.consume(1_000, 0.05):
            error: KafkaError | None = message.error()
            if error is not None:
                assert error.code() == KafkaError._PARTITION_EOF, error
                unread.discard(cast(int, message.partition()))
                continue
            headers = {name: value.decode() for name, value in cast("list[tuple[str, bytes]]", message.headers() or [])}
            place = {"partition": str(message.partition()), "offset": str(message.offset())}
            yield {"key": (message.key() or b"").decode(), **place, **headers}, cast(bytes, message.value())
    consumer.close()
