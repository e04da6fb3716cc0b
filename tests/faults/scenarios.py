"""The scenarios on the whole pipeline: what goes wrong while a story is played. `hard` scales how often, 1 is CI's."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from brokers import KafkaCluster
from faults.dying_role import POINTS
from faults.figures import Figures
from faults.harness import HOLDS_S, Proc, wait_until
from faults.pipeline import ROLES
from faults.runs import Run

from tieout.streams.orders import duplicated, shuffled
from tieout.streams.simulate.delivery import Record
from tieout.streams.simulate.story import tell

IDLE: Final = "raw.time.entries"  # has a partition in which nothing happens, where a scenario asks for it
STORM_EVERY_S: Final = 5.0
_HOUR_US: Final = 3_600_000_000
_OUTAGE_US: Final = 8 * _HOUR_US


@dataclass(frozen=True, slots=True)
class Scenario:
    """`hurt(run, hard)` plays the story and does harm; `records` of the story are played, `partitions` of the axis."""

    hurt: Callable[[Run, int], None]
    what: str
    records: int = 4_000
    partitions: int = 4
    messy: bool = False


def kills(run: Run, hard: int) -> None:
    """kill -9 of each role at random instants: one round of three when all work, two wherever they are by then."""
    with run.feed.playing(0.95, seconds=20.0 * hard):
        for number in range(5 * hard):
            if number % 3:
                time.sleep(run.chance.uniform(1.0, 4.0))
            else:
                run.recovered()
            for role in run.chance.sample(ROLES, len(ROLES)):
                time.sleep(run.chance.uniform(0.0, 0.8))
                run.kill(role)
    run.kill("worker")  # with everything there is to restore


def points(run: Run, hard: int) -> None:
    """kill -9 at named points: what was done just before is durable, or is not, and the next step never came."""
    chosen = run.chance.sample(sorted(POINTS), min(len(POINTS), 4 * hard))
    chosen.sort(key=lambda point: POINTS[point].role != "ingest")  # whose points come only while there are new records
    with run.feed.playing(0.95, seconds=15.0 * hard):
        for point in chosen:
            run.die_at(point)


def brokers(run: Run, hard: int) -> None:
    """The leader of frames and a group's coordinator are killed, one falls asleep, and all restart one by one."""
    with run.feed.playing(0.95, seconds=30.0 * hard):
        for _ in range(hard):
            run.broker_dies(run.leader(), down_s=run.chance.uniform(1.0, 4.0))
            run.broker_dies(run.coordinator(run.chance.choice(["ingest", "worker"])), down_s=1.0)
        if hard > 1:
            run.broker_sleeps(run.leader(), seconds=10.0)
            for node in run.kafka.nodes:
                run.broker_restarts(node)


def storm(run: Run, hard: int) -> None:
    """Two workers, eight partitions: one joins or leaves every five seconds, in order, killed, or asleep."""
    run.pipeline.procs.pop("worker").close()
    run.join("worker-a")
    with run.feed.playing(0.95, seconds=STORM_EVERY_S * 6 * hard):
        for number in range(3 * hard):
            due_s = time.monotonic()
            names = [f"worker-{number}", *(name for name in run.pipeline.procs if name.startswith("worker"))]
            run.join(names[0])
            if number % 4 == 2:
                run.sleeps_past_its_session(names[1])
            _wait_until(due_s + STORM_EVERY_S)
            run.leave(run.chance.choice(names), dies=run.chance.random() < 0.3)
            for role in ("ingest", "sink"):
                if run.chance.random() < 0.5:
                    run.kill(role)
            _wait_until(due_s + 2 * STORM_EVERY_S)


def restarts(run: Run, hard: int) -> None:
    """SIGTERM of each role in turn, each with a backlog: it ends with 0 in time, and goes on where it was."""
    with run.feed.playing(0.95, seconds=8.0 * hard):
        for _ in range(hard):
            for role in run.chance.sample(ROLES, len(ROLES)):
                time.sleep(run.chance.uniform(0.2, 1.0))
                proc = run.pipeline.started(role)
                assert proc.stop(20) == 0, proc.tail()
                run.note(role)
                proc.start()


def disk_full(run: Run, hard: int) -> None:
    """The sink's files may not grow for a while: it waits, says so, and goes on where it was."""
    with run.feed.playing(0.95, seconds=12.0 * hard):
        for _ in range(hard):
            run.pipeline.started("sink")
            wait_until(run.pipeline.settings.sink.path.exists, HOLDS_S, "a store")
            sink = run.pipeline.procs["sink"]
            with run.full_disk():
                wait_until(partial(_says, sink, "File too large"), HOLDS_S, "the disk is full", sink.tail)
                time.sleep(run.chance.uniform(1.0, 5.0))
            assert sink.process.poll() is None, sink.tail()


def slow_sink(run: Run, hard: int) -> None:
    """Every transaction of the store takes two seconds more."""
    run.restart_with("sink", "slow:2.0")
    with run.feed.playing(0.95, seconds=8.0 * hard):
        pass


def clock_jumps(run: Run, hard: int) -> None:
    """The wall clock of all roles is set back and forth, by an hour and by forty days."""
    file = run.pipeline.folder / "clock"
    file.write_text("0")
    for role in ROLES:
        run.restart_with(role, f"clock:{file}")
    with run.feed.playing(0.95, seconds=8.0 * hard):
        for hours in (1, -1, 40 * 24, -40 * 24, 0):
            run.note()
            _replace(file, str(hours * 3_600))
            time.sleep(1.4 * hard)


def burst(run: Run, hard: int) -> None:
    """Ten times the rate, and a kill of each role at its peak."""
    with run.feed.playing(0.1, seconds=5.0):
        time.sleep(5.0)
    with run.feed.playing(0.85, seconds=4.25):
        time.sleep(2.0)
        for role in ROLES[: hard + 1]:
            run.kill(role)


def backlog(run: Run, hard: int) -> None:
    """Everything is down while at least eight hours of the log go by; then everything starts at once."""
    for role in ROLES:
        assert run.pipeline.started(role).stop(20) == 0
    hours = run.records[-1].at - run.records[0].at
    assert hours >= _OUTAGE_US, f"the story is {hours / _HOUR_US:.1f} hours long"
    run.feed.rest()
    run.note()
    for role in ROLES:
        run.pipeline.start(role)
    for _ in range(hard - 1):
        run.kill(run.chance.choice(ROLES))


def disorder(run: Run, _hard: int) -> None:
    """Played as it is: the records themselves are a mess."""
    with run.feed.playing(0.95, seconds=8.0):
        time.sleep(3.0)
        run.kill("ingest")
        time.sleep(2.0)
        run.kill("worker")


def mess(records: Sequence[Record], seed: int) -> list[Record]:
    """Duplicates, other orders within and between partitions, future-stamped records, and a partition that is idle.

    A late record comes behind all others up to its partition's next statement, never behind the statement: that would
    break the source's promise. The firm's own late entries are in the story. Stamps of the future are at most the
    story's last one: the log clock is the largest stamp, and must stand there in the end as well.
    """
    chance = random.Random(seed)
    last_us = records[-1].at
    late: dict[tuple[str, int], list[Record]] = defaultdict(list)
    found: list[Record] = []
    for record in records:
        lane = (record.topic, record.partition)
        if b"tieout.source.observed" in record.value:
            found += [each._replace(at=max(each.at, record.at)) for each in late.pop(lane, [])]
            if record.topic == IDLE and record.partition == 0:
                found.append(record._replace(partition=2))
        elif chance.random() < 0.05:
            late[lane].append(record)
            continue
        elif chance.random() < 0.01:
            record = record._replace(at=min(last_us, record.at + chance.randint(1, 10) * _HOUR_US))
        found.append(record)
    found += [record for lane in late.values() for record in lane]
    return list(duplicated(shuffled(found, seed), 0.05, seed))  # type: ignore[arg-type]


SCENARIOS: Final = {
    "kills": Scenario(kills, "kill -9 of every role at random instants"),
    "points": Scenario(points, "kill -9 at named points"),
    "brokers": Scenario(brokers, "brokers killed, asleep, restarted in turn"),
    "storm": Scenario(storm, "two workers, eight partitions, joining and leaving", partitions=8),
    "restarts": Scenario(restarts, "SIGTERM of every role in turn, under load"),
    "disk full": Scenario(disk_full, "the sink's files may not grow"),
    "slow sink": Scenario(slow_sink, "two seconds more a transaction"),
    "clock jumps": Scenario(clock_jumps, "an hour and forty days, both ways"),
    "burst": Scenario(burst, "ten times the rate, killed at the peak"),
    "backlog": Scenario(backlog, "everything down for eight hours of the log and more"),
    "disorder": Scenario(disorder, "duplicates, reordered, late, future-stamped, one idle partition", messy=True),
}


def play(kafka: KafkaCluster, folder: Path, name: str, seed: int, hard: int) -> Figures:
    """One run of a scenario."""
    scenario = SCENARIOS[name]
    records = tell(seed).records[: scenario.records * hard]
    if scenario.messy:
        records = mess(records, seed)
    idle = IDLE if scenario.messy else ""
    run = Run(kafka, folder, name, seed, records, partitions=scenario.partitions, idle=idle)
    return run.execute(partial(_hurt, scenario, hard))


def _hurt(scenario: Scenario, hard: int, run: Run) -> None:
    scenario.hurt(run, hard)


def _wait_until(instant_s: float) -> None:
    time.sleep(max(0.0, instant_s - time.monotonic()))


def _says(proc: Proc, text: str) -> bool:
    return text in proc.log_now()


def _replace(file: Path, text: str) -> None:
    """Nobody reads half of it."""
    part = file.with_suffix(".part")
    part.write_text(text)
    part.replace(file)
