"""The worker under faults on Apache Kafka: nothing lost, nothing twice, whatever is killed, stopped, moved, paused."""

from __future__ import annotations

import random
import signal
import time
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from faults import harness
from faults.counting import POISON
from faults.harness import HOLDS_S, KILLS, RESTARTS, SEED, SESSION_MS, Feed, Proc, wait_applied, wait_until

from tieout.reconcilers.entities import Axis
from tieout.streams.settings import Settings
from tieout.streams.tables import Place, progress
from tieout.streams.topics import changes_topic

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.timeout(1_800)]

FRAMES_A_SECOND = 20.0  # on each of four partitions, 50 changes each


def test_killed_at_random_instants_under_load(shared: Settings, tmp_path: Path) -> None:
    """kill -9 while it restores, applies or writes; as a static member, so that its successor need not wait."""
    chance = random.Random(SEED)
    feed = Feed(shared, SEED)
    with harness.workers(shared, tmp_path, KAFKA__CLIENT__GROUP_INSTANCE_ID="worker-0") as (worker,):
        with feed.running(FRAMES_A_SECOND):
            for kill in range(KILLS):
                if kill % 3:  # two of three while it works, one wherever it is on its way up
                    wait_until(lambda: holds(worker), HOLDS_S, "the worker holds partitions", worker.tail)
                time.sleep(chance.uniform(0.0, 1.2))
                worker.kill()
                worker.start()
        wait_applied(shared, [worker])
        assert harness.verdict(shared, feed.sent)["sent"] > 1_000
        assert worker.stop() == 0


def test_graceful_restarts_with_a_backlog(shared: Settings, tmp_path: Path) -> None:
    """SIGTERM in the middle of a backlog: exit 0 in time, and the successor goes on where it stopped."""
    chance = random.Random(SEED)
    feed = Feed(shared, SEED)
    slowest_s = 0.0
    with harness.workers(shared, tmp_path) as (worker,):
        for _ in range(RESTARTS):
            feed.send(60)
            wait_until(lambda: holds(worker), HOLDS_S, "the worker holds partitions", worker.tail)
            time.sleep(chance.uniform(0.0, 1.0))
            begun = time.monotonic()
            assert worker.stop(20) == 0, worker.tail()
            slowest_s = max(slowest_s, time.monotonic() - begun)
            worker.start()
        wait_applied(shared, [worker])
        report = harness.verdict(shared, feed.sent)
    print(f"{RESTARTS} restarts, slowest stop {slowest_s:.1f} s, {report}")


def test_two_workers_join_and_leave(shared: Settings, tmp_path: Path) -> None:
    """Partitions move while frames flow: a second worker joins, leaves in order, joins again, is killed."""
    chance = random.Random(SEED)
    feed = Feed(shared, SEED)
    with harness.workers(shared, tmp_path) as procs:
        with feed.running(FRAMES_A_SECOND):
            for round_ in range(max(2, RESTARTS // 5)):
                second = harness.worker(shared, tmp_path, 1 + round_)
                procs.append(second)
                wait_until(partial(holds, second), HOLDS_S, "the second worker holds partitions", second.tail)
                time.sleep(chance.uniform(0.5, 2.0))
                first = procs[0] if round_ % 2 else second
                if chance.random() < 0.5:
                    assert first.stop(20) == 0, first.tail()
                else:
                    first.kill()
                procs.remove(first)
        wait_applied(shared, procs)
        harness.verdict(shared, feed.sent)


def test_a_worker_paused_past_its_session_wakes_up_fenced(shared: Settings, tmp_path: Path) -> None:
    """SIGSTOP long enough for the other to take over, then SIGCONT: what it held may not reach the outputs."""
    feed = Feed(shared, SEED)
    with harness.workers(shared, tmp_path, 2) as (first, second):
        wait_until(lambda: holds(first) and holds(second), HOLDS_S, "both hold partitions", first.tail)
        with feed.running(FRAMES_A_SECOND):
            for sleeper, other in ((first, second), (second, first)):
                time.sleep(1.0)
                pause_until_taken_over(sleeper, other)
        wait_applied(shared, [first, second])
        harness.verdict(shared, feed.sent)
    assert "lost " in first.log.read_text() + second.log.read_text(), "neither was fenced: the pause proved nothing"


@pytest.mark.parametrize("shift", ["ahead", "behind"])
def test_fausts_committed_offset_is_only_a_hint(shared: Settings, tmp_path: Path, shift: str) -> None:
    """The group's offset is falsified while nobody runs: to the end of the log, or to its beginning."""
    feed = Feed(shared, SEED)
    feed.send(40)
    with harness.workers(shared, tmp_path) as (worker,):
        wait_applied(shared, [worker])
        assert worker.stop() == 0
        feed.send(40)
        commit(shared, 80 if shift == "ahead" else 0)
        worker.start()
        wait_applied(shared, [worker])
        harness.verdict(shared, feed.sent)


def test_an_exception_in_the_reconcilers_ends_the_process_and_applies_nothing(shared: Settings, tmp_path: Path) -> None:
    """Exit 70 every time, and the frame is never acknowledged: the fault is in the program, not in the data."""
    feed = Feed(shared, SEED)
    feed.send(3)
    feed.send_keys(0, [POISON])
    with harness.workers(shared, tmp_path) as (worker,):
        for _ in range(2):
            assert worker.process.wait(40) == harness.EXIT_AGAIN
            worker.start()
    last = progress(shared.kafka_client(), Place(Axis.PROJECT, 0))
    assert last is None or last.next_offset <= 3


def test_missing_frames_stop_the_worker(shared: Settings, tmp_path: Path) -> None:
    """A number is skipped: it goes back once, then ends with a message instead of applying what follows."""
    feed = Feed(shared, SEED)
    feed.send(2)
    feed.skip(0)
    feed.send(2)
    with harness.workers(shared, tmp_path) as (worker,):
        assert worker.process.wait(40) == harness.EXIT_AGAIN
        assert "frames from offset 2 on are missing" in worker.log.read_text()


def test_a_gap_of_the_log_itself_is_passed(shared: Settings, tmp_path: Path) -> None:
    """A transaction's marker takes an offset; nothing is missing, and the worker finds that out by itself."""
    feed = Feed(shared, SEED)
    feed.send(3)
    feed.marker(0)
    feed.restart()
    feed.send(3)
    with harness.workers(shared, tmp_path) as (worker,):
        wait_applied(shared, [worker])
        harness.verdict(shared, feed.sent)
        assert "frames are missing before" in worker.log.read_text(), "it did not look"


def test_frames_that_come_twice_are_applied_once(shared: Settings, tmp_path: Path) -> None:
    """The producer of frames repeats one (same producer, same number)."""
    feed = Feed(shared, SEED)
    feed.send(5)
    feed.repeat_last(0)
    feed.send(5)
    with harness.workers(shared, tmp_path) as (worker,):
        wait_applied(shared, [worker])
        harness.verdict(shared, feed.sent)


def pause_until_taken_over(sleeper: Proc, other: Proc) -> None:
    """SIGSTOP until the other has the partitions and works, then SIGCONT and wait until both share them again."""
    sleeper.signal(signal.SIGSTOP)
    before = holds_count(other)
    wait_until(lambda: holds_count(other) > before, SESSION_MS / 1_000 + 20, "taken over", other.tail)
    time.sleep(1.0)
    before = holds_count(sleeper)
    sleeper.signal(signal.SIGCONT)
    wait_until(lambda: holds_count(sleeper) > before, HOLDS_S, "back in the group without a restart", sleeper.tail)


def holds(worker: Proc) -> bool:
    """Whether the process that runs now has restored its partitions."""
    return holds_count(worker) > 0


def holds_count(worker: Proc) -> int:
    """How many assignments the process that runs now has restored."""
    return worker.log_now().count('"holding ')


def commit(shared: Settings, offset: int) -> None:
    """Set the workers' committed offsets from outside the group."""
    consumer = Consumer({**shared.kafka_client(), "group.id": shared.group("worker"), "enable.auto.commit": False})
    topic = changes_topic(Axis.PROJECT)
    wanted = [TopicPartition(topic, partition, offset) for partition in range(shared.kafka.partitions)]
    wait_until(lambda: not consumer.commit(offsets=wanted, asynchronous=False)[0].error, 20, "offsets falsified")
    consumer.close()
