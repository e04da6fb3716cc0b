"""The whole pipeline on Apache Kafka, hurt in every role, against the replay and the SQL oracle: 0 rows, 0 cents."""

from __future__ import annotations

import random
import signal
import threading
import time
from pathlib import Path

import duckdb
import pytest
from brokers import KafkaCluster
from faults.harness import KILLS, RESTARTS, SEED
from faults.pipeline import ROLES, SESSION_MS, Plant, Role, differences, four_weeks, pause, replayed, rows
from oracle import compare, oracle

from tieout.streams.simulate.capture import write_capture
from tieout.streams.simulate.delivery import Record

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.xdist_group("pipeline")]


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return four_weeks()


@pytest.fixture(scope="module")
def expected(records: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `tieout replay` makes of the same records."""
    return replayed(records, tmp_path_factory.mktemp("replay") / "replay.duckdb")


def test_the_stream_equals_the_replay_and_the_oracle(kafka: KafkaCluster, records: list[Record], expected: Path,
                                                     tmp_path: Path) -> None:
    """Undisturbed, as fast as it goes."""
    plant = Plant(kafka, tmp_path, records)
    with plant.running():
        plant.feed(20).join()
        plant.settle()
        assert plant.stop() == dict.fromkeys(ROLES, 0)
    assert differences(rows(plant.database), rows(expected)) == []
    write_capture(tmp_path / "capture.jsonl", records)
    truth = oracle.run([tmp_path / "capture.jsonl"])
    assert compare.compare(truth, plant.database) == []
    assert compare.compare(truth, expected) == []


def test_kill_9_of_every_role_at_random_instants_under_load(kafka: KafkaCluster, records: list[Record],
                                                            expected: Path, tmp_path: Path) -> None:
    """Each role is killed so many times, wherever it is: starting, restoring, applying, writing."""
    plant = Plant(kafka, tmp_path, records)
    with plant.running():
        load = plant.feed(6.0 * KILLS)
        killers = [threading.Thread(target=_kill, args=(plant.roles[role], random.Random(SEED + number)))
                   for number, role in enumerate(ROLES)]
        for killer in killers:
            killer.start()
        for killer in killers:
            killer.join()
        load.join()
        plant.settle()
        assert plant.stop() == dict.fromkeys(ROLES, 0)
    assert [plant.roles[role].starts for role in ROLES] == [KILLS + 1] * 3
    _report(plant, expected, f"{3 * KILLS} kills, seed {SEED}")


def _kill(role: Role, chance: random.Random) -> None:
    for _ in range(KILLS):
        pause(chance, 0.5, 9.0)
        assert role.alive, f"{role.role} ended by itself: {role.tail()}"
        role.kill()
        role.start()


def test_graceful_restarts_with_a_backlog(kafka: KafkaCluster, records: list[Record], expected: Path,
                                          tmp_path: Path) -> None:
    """SIGTERM to each role in turn while everything is already there: exit 0, and the successor goes on."""
    plant, chance = Plant(kafka, tmp_path, records), random.Random(SEED)
    plant.feed(0).join()
    with plant.running():
        for turn in range(RESTARTS):
            role = plant.roles[ROLES[turn % 3]]
            pause(chance, 2.0, 6.0)
            assert role.stop() == 0, role.tail()
            role.start()
        plant.settle()
        assert plant.stop() == dict.fromkeys(ROLES, 0)
    _report(plant, expected, f"{RESTARTS} graceful restarts, seed {SEED}")


def test_two_workers_and_one_that_sleeps_past_its_session(kafka: KafkaCluster, records: list[Record], expected: Path,
                                                          tmp_path: Path) -> None:
    """A second worker joins and leaves; the first is stopped beyond its session time-out, and wakes up fenced."""
    plant = Plant(kafka, tmp_path, records)
    second = Role("worker", plant.config, tmp_path, 1)
    with plant.running():
        load = plant.feed(60)
        try:
            for _ in range(2):
                time.sleep(4)
                second.start()
                time.sleep(8)
                assert second.stop() == 0, second.tail()
            second.start()
            time.sleep(6)
            first = plant.roles["worker"]
            first.signal(signal.SIGSTOP)
            time.sleep(SESSION_MS / 1_000 + 6)
            first.signal(signal.SIGCONT)
            time.sleep(4)
            if not first.alive:  # fenced in the middle of a checkpoint it ends, to be started again
                first.start()
            load.join()
            plant.settle()
        finally:
            if second.alive:
                second.kill()
    _report(plant, expected, "two workers, one asleep")


def _report(plant: Plant, expected: Path, what: str) -> None:
    found, wanted = rows(plant.database), rows(expected)
    wrong = differences(found, wanted)
    cents = _cents(expected) - _cents(plant.database)
    print(f"{what}: {sum(map(len, wanted.values()))} rows, {len(wrong)} differences, {cents} cents")
    assert wrong == []
    assert cents == 0


def _cents(database: Path) -> int:
    with duckdb.connect(str(database), read_only=True) as connection:
        ((total,),) = connection.execute(
            "SELECT coalesce(sum(unbilled_minor + billed_minor + adjustment_due_minor), 0) FROM v1.time_entry").fetchall()
    return int(total)
