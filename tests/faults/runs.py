"""One run of the whole pipeline on three brokers: play a story, let a scenario hurt it, and judge what came out."""

from __future__ import annotations

import random
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from brokers import KafkaCluster, Node
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from faults import instants
from faults.dying_role import POINTS
from faults.figures import Figures
from faults.harness import HOLDS_S, Proc, wait_until
from faults.pipeline import ROLES, Pipeline, StoryFeed, differences, repeated_events, replayed
from faults.watch import Watch

from tieout.reconcilers.engine import TABLES
from tieout.reconcilers.entities import Axis
from tieout.streams import demo, topics
from tieout.streams.audit import compared
from tieout.streams.simulate.delivery import Record
from tieout.streams.simulate.facts import TOPICS

REACHED_S: Final = 60.0  # a named point, from the start of the process on
IDLE_AFTER_S: Final = 20.0  # whether a role goes on is asserted at the end; this only spaces faults
RAW_PARTITIONS: Final = {topic.name: topic.partitions for topic in TOPICS}


class Run:
    """A pipeline of its own folder and fresh topics; every random choice comes from `chance`."""

    def __init__(self, kafka: KafkaCluster, folder: Path, name: str, seed: int, records: Sequence[Record],
                 *, partitions: int = 4, idle: str = "") -> None:
        """`idle`: a raw topic that has one partition more than the firm writes to."""
        self.kafka, self.records = kafka, records
        self.chance = random.Random(seed)
        self.figures = Figures(name, seed, events=len(records))
        self.pipeline = _pipeline(kafka, folder, partitions, idle)
        self.feed = StoryFeed(self.pipeline.settings, records)
        self.admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
        topics.apply(self.admin, topics.plan(self.admin, topics.desired(self.pipeline.settings, TABLES)))
        for raw in TOPICS:
            kafka.create(raw.name, raw.partitions + (raw.name == idle), {"retention.ms": "-1"})
        self._faults: list[tuple[tuple[str, ...], float]] = []
        self._watch: Watch

    def execute(self, scenario: Callable[[Run], None]) -> Figures:
        """Everything from the first process to the verdict; what stops it on the way is what is wrong with it."""
        begun_s = time.monotonic()
        watch = self._watch = Watch(self.pipeline.settings)
        try:
            with self.pipeline.running():
                scenario(self)
                self.feed.rest()
                self.pipeline.settle()
                time.sleep(1.0)  # ticks show that every partition goes on
                self.pipeline.stop()
            watch.close()
            self._judge(watch)
        except Exception as error:  # the figures so far are part of the story
            traceback.print_exc()
            self.figures.wrong.append(f"{type(error).__name__}: {error}"[:2_000])
        finally:
            watch.close()
        self.figures.seconds = round(time.monotonic() - begun_s, 1)
        return self.figures

    # --- faults ----------------------------------------------------------------------------------------------------

    def kill(self, name: str) -> Proc:
        """kill -9, and start anew as a supervisor does."""
        self.pipeline.supervise()
        self._killed(name)
        self.pipeline.procs[name].kill()
        self.pipeline.procs[name].start()
        return self.pipeline.procs[name]

    def die_at(self, point: str) -> None:
        """Replace a role by one that kills itself at a named point; then start the sound one again."""
        self.recovered()
        role = POINTS[point].role
        self.pipeline.supervise()
        self._killed(role)
        self.pipeline.procs[role].kill()
        dying = self.pipeline.start(role, fault=f"die:{point}:{self.chance.randint(1, POINTS[point].most)}")
        wait_until(lambda: dying.process.poll() is not None, REACHED_S, f"dead at '{point}'", dying.tail)
        assert dying.process.returncode == -signal.SIGKILL, dying.tail()
        self._killed(role)
        self.pipeline.start(role)

    def restart_with(self, role: str, fault: str) -> None:
        """Stop a role in order, and start it with something wrong in it."""
        assert self.pipeline.started(role).stop(20) == 0
        self.pipeline.start(role, fault=fault)

    def recovered(self) -> None:
        """Until every role has advanced on every partition since the last fault, or has nothing to do any more."""
        since_s = self._faults[-1][1] if self._faults else time.monotonic()
        ends_s = time.monotonic() + IDLE_AFTER_S
        while time.monotonic() < ends_s:
            self.pipeline.supervise()
            if all(self._watch.recovery_s(role, since_s) is not None for role in ROLES):
                return
            time.sleep(0.1)

    def note(self, *roles: str) -> None:
        """A fault happens now, from which these roles have to recover."""
        self._faults.append((roles or ROLES, time.monotonic()))

    def _killed(self, role: str) -> None:
        self.figures.kills += 1
        self.note(role.partition("-")[0])

    # --- brokers ---------------------------------------------------------------------------------------------------

    def leader(self) -> Node:
        """The broker that leads a random partition of the frames."""
        parts = self.admin.list_topics(topics.changes_topic(Axis.PROJECT), timeout=10).topics
        found = parts[topics.changes_topic(Axis.PROJECT)].partitions
        return self._node(found[self.chance.randrange(len(found))].leader)

    def coordinator(self, role: str) -> Node:
        """The broker that coordinates a role's group."""
        group = self.pipeline.settings.group("worker" if role == "worker" else "ingest")
        until_s = time.monotonic() + 30
        while True:
            try:
                described = self.admin.describe_consumer_groups([group])[group].result(20)
            except KafkaException:  # it is moving
                if time.monotonic() > until_s:
                    raise
                time.sleep(0.5)
            else:
                return self._node(described.coordinator.id)

    def broker_dies(self, node: Node, *, down_s: float) -> None:
        """SIGKILL, and back after a while."""
        self._broker(lambda: node.kill(), node, down_s)

    def broker_restarts(self, node: Node) -> None:
        """SIGTERM: leaders move in order, as in a rolling restart."""
        self._broker(lambda: node.stop(), node, 0.0)

    def broker_sleeps(self, node: Node, *, seconds: float) -> None:
        """SIGSTOP: it answers nobody and closes no connection; the others think it dead."""
        self.figures.brokers += 1
        self.note()
        node.signal(signal.SIGSTOP)
        time.sleep(seconds)
        node.signal(signal.SIGCONT)
        self.kafka.wait()

    def _broker(self, ends: Callable[[], None], node: Node, down_s: float) -> None:
        self.figures.brokers += 1
        self.note()
        ends()
        time.sleep(down_s)
        node.start()
        self.kafka.wait()

    def _node(self, number: int) -> Node:
        return next(node for node in self.kafka.nodes if node.number == number)

    # --- workers that come and go ----------------------------------------------------------------------------------

    def rebalanced(self, change: Callable[[], None], asleep: str = "") -> None:
        """Make a change of the group, and wait until every worker that is awake has restored what it got."""
        before = self._held()
        self.note("worker")
        change()
        wait_until(lambda: self._moved(before, asleep), HOLDS_S, "partitions moved", self._tails)
        self.figures.rebalances += 1

    def join(self, name: str) -> None:
        """One more worker."""
        self.rebalanced(lambda: _nothing(self.pipeline.start(name, static=False)))

    def leave(self, name: str, *, dies: bool) -> None:
        """A worker goes, by SIGTERM or by SIGKILL; dead ones are missed when their session times out."""
        proc = self.pipeline.procs[name]
        if dies:
            self.figures.kills += 1

        def go() -> None:
            if dies:
                proc.kill()
            else:
                assert self.pipeline.started(name).stop(20) == 0, proc.tail()
            del self.pipeline.procs[name]

        self.rebalanced(go)

    def sleeps_past_its_session(self, name: str) -> None:
        """SIGSTOP until the others have its partitions, then SIGCONT: a zombie that still thinks it owns them."""
        proc = self.pipeline.procs[name]

        def sleep() -> None:
            proc.signal(signal.SIGSTOP)

        self.rebalanced(sleep, asleep=name)
        time.sleep(self.chance.uniform(0.5, 2.0))
        self.rebalanced(lambda: proc.signal(signal.SIGCONT))

    def _held(self) -> dict[str, int]:
        return {name: proc.log.read_text(errors="replace").count('"holding ')
                for name, proc in self.pipeline.procs.items() if name.startswith("worker")}

    def _moved(self, before: dict[str, int], asleep: str) -> bool:
        self.pipeline.supervise()
        return all(count > before.get(name, 0) for name, count in self._held().items() if name != asleep)

    def _tails(self) -> str:
        return "\n\n".join(proc.tail(8) for proc in self.pipeline.procs.values())

    # --- disk ------------------------------------------------------------------------------------------------------

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """No file of the sink may grow beyond what its store has now: the kernel refuses as a full disk does."""
        pid, store = self.pipeline.procs["sink"].process.pid, self.pipeline.settings.sink.path
        most = resource.RLIM_INFINITY
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (store.stat().st_size, most))
        self.note("sink")
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))

    # --- verdict ---------------------------------------------------------------------------------------------------

    def _judge(self, watch: Watch) -> None:
        figures, settings = self.figures, self.pipeline.settings
        for roles, at in self._faults:
            took = [watch.recovery_s(role, at) for role in roles]
            if all(each is not None for each in took):
                figures.recoveries.append(round(max(each for each in took if each is not None), 2))
        repeated = repeated_events(settings)
        audit = [*watch.differences, *(compared(settings).found or ())]
        rows = differences(settings.sink.path, replayed(self.records, self.pipeline))
        figures.twice += len(repeated) + sum(each.unexpected for each in audit)
        figures.lost += sum(each.missing for each in audit)
        for kind in rows.values():
            figures.lost, figures.twice = figures.lost + kind["n_lost"], figures.twice + kind["n_surplus"]
        errors = [instants.at_checkpoints(settings), instants.at_snapshots(settings, watch.samples)]
        figures.cents = max(error.cents for error in errors)
        figures.instants = sum(error.instants for error in errors) + watch.audits
        figures.wrong += [*map(str, audit), *repeated[:3], *(f"{what}: {kind}" for what, kind in rows.items())]
        figures.wrong += [text for error in errors for text in error.examples]


def _nothing(_proc: Proc) -> None:
    """A started process needs no answer."""


def _pipeline(kafka: KafkaCluster, folder: Path, partitions: int, idle: str) -> Pipeline:
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "tieout.toml"
    text = demo.configuration(kafka.bootstrap, folder, 0)
    shape = f"partitions = {partitions}\nreplication = {len(kafka.nodes)}"
    config.write_text(text.replace(f"partitions = {demo.PARTITIONS}", shape), encoding="utf-8")
    raw = [(name, number) for name, count in RAW_PARTITIONS.items() for number in range(count + (name == idle))]
    return Pipeline(kafka.bootstrap, folder, config, raw=raw)

