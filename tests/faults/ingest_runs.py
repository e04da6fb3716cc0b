"""Scenarios of ingest alone on three brokers: poison in each format, a registry that is down, a source that floods.

What must come of each record is known beforehand (the table of messages says its fate), so nobody asks ingest. An event
is lost that is neither in a frame nor parked nor a dead letter; twice: with a dead letter that it should not have.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from brokers import KafkaCluster
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from faults.figures import Figures, quantile
from faults.harness import HOLDS_S, SESSION_MS, Proc, environment, wait_until
from ingest_records import entry
from message_table import Case, content, rows
from registries import Served

from tieout.reconcilers.engine import READS, TABLES
from tieout.reconcilers.entities import Axis
from tieout.streams import clock, deadletters, topics
from tieout.streams.frames import decode
from tieout.streams.settings import load
from tieout.streams.topicread import whole_topic
from tieout.streams.topics import PARKED, changes_topic

Origin = tuple[str, int, int]
Says = frozenset[Hashable]
Section = Mapping[str, str]  # of a source

SETTLES_S: Final = 180.0
DOWN_S: Final = 10.0  # of the registry, times how hard
FLOOD: Final = 30_000  # records, times how hard
STARVES_S: Final = 10.0  # a record of the quiet source that takes longer to a frame is starved
HEAD: Final = """clock = "wall"
[kafka]
partitions = 4
replication = {copies}
[kafka.client]
"bootstrap.servers" = "{bootstrap}"
"session.timeout.ms" = {session_ms}
[ingest]
linger_ms = 20
max_ahead_bytes = 1000000000
instance = "one"
[registry]
url = "{registry}"
timeout_ms = 1000
[ops]
port = 0
"""


class IngestRun:
    """One ingest process with sources of its own, and what it was sent."""

    def __init__(self, kafka: KafkaCluster, folder: Path, figures: Figures, sources: Mapping[str, Section],
                 registry: Served) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        text = HEAD.format(bootstrap=kafka.bootstrap, copies=len(kafka.nodes), session_ms=SESSION_MS,
                           registry=registry.url)
        for topic, section in sources.items():
            lines = [f'{name} = "{value}"' for name, value in {**section, "topic": topic}.items()]
            text += "\n".join([f"[sources.{topic.replace('.', '_')}]", *lines, ""])
        config = folder / "tieout.toml"
        config.write_text(text, encoding="utf-8")
        self.settings = load(config, {})
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
        topics.apply(admin, topics.plan(admin, topics.desired(self.settings, TABLES)))
        for topic in sources:
            kafka.create(topic, 1, {"retention.ms": "-1"})
        self.figures, self.sources = figures, list(sources)
        self._writer = Producer(self.settings.kafka_producer({"queue.buffering.max.messages": 500_000}))
        self._next = dict.fromkeys(sources, 0)
        command = [sys.executable, "-m", "tieout.streams.app", "ingest", "--config", str(config)]
        self.proc = Proc(command, environment(self.settings), folder / "ingest.log")

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Any = None,
             ts_ms: int | None = None) -> Origin:
        """A raw record; where it will stand."""
        at_ms = ts_ms or clock.now_us() // 1_000
        self._writer.produce(topic, value, key, partition=0, headers=headers, timestamp=at_ms)
        self._next[topic] += 1
        self.figures.events += 1
        return (topic, 0, self._next[topic] - 1)

    def flush(self) -> None:
        """Everything sent is in the log."""
        assert self._writer.flush(60) == 0

    def kill(self) -> None:
        """kill -9, and start anew."""
        self.figures.kills += 1
        self.proc.kill()
        self.proc.start()

    def read(self, topic: str) -> bool:
        """Whether the group has read a raw topic to its end."""
        consumer = Consumer(self.settings.kafka_client({"group.id": self.settings.group("ingest"), "log_level": 0}))
        try:
            (place,) = consumer.committed([TopicPartition(topic, 0)], 10)
            return int(place.offset) >= self._next[topic]
        except KafkaException:  # the coordinator moves
            return self._next[topic] == 0
        finally:
            consumer.close()

    def settle(self) -> None:
        """Until everything that was sent is read."""

        def done() -> bool:
            self.proc.restart_if_dead()
            return all(self.read(topic) for topic in self.sources if self._next[topic])

        wait_until(done, SETTLES_S, "everything read", self.proc.tail)

    def judge(self, applied: Mapping[Origin, Says], dead: set[Origin], others: Mapping[Origin, Says]) -> None:
        """Compare frames, what is parked and dead letters with what must have come of each record.

        `applied`: records with what they say; what several of them say must have arrived with one of them, or with one
        of `others`, of which it is not known whether they are applied or wait.
        """
        frames = [decode(message.value() or b"") for message in whole_topic(self.settings, changes_topic(Axis.PROJECT))]
        changes = [change for frame in frames for change in frame.changes]
        arrived = {change.origin for change in changes}
        waiting = {tuple(orjson.loads(value)["change"]["r"]) for message in whole_topic(self.settings, PARKED)
                   if (value := message.value())}
        letters = {letter.origin for letter in deadletters.read(self.settings).values()}
        expected = {"/".join(map(str, origin)) for origin in dead}
        told = {**others, **applied}
        said = {each for origin in arrived | waiting for each in told.get(origin, ())}
        said |= {(change.origin[0], change.entity, change.subject, change.seq) for change in changes}
        lost = {origin for origin, says in applied.items() if not says <= said}
        unexpected = letters - expected
        self.figures.lost += len(lost) + len(expected - letters)
        self.figures.twice += len(unexpected)
        self.figures.wrong += [f"lost: {each}" for each in sorted(lost)[:3]]
        self.figures.wrong += [f"no dead letter: {each}" for each in sorted(expected - letters)[:3]]
        self.figures.wrong += [f"an unexpected dead letter: {each}" for each in sorted(unexpected)[:3]]
        self.figures.instants += 1


def poison(kafka: KafkaCluster, folder: Path, figures: Figures, hard: int, registry: Served) -> None:
    """Every message of the table, good and bad, in each format; ingest is killed in between."""
    chance = random.Random(figures.seed)
    cases = [case for case in rows() if case["options"].keys() <= {"source", "mapping"}]
    places = {_section(case): f"raw.p{number}" for number, case in
              enumerate({_section(case): case for case in cases}.values())}
    run = IngestRun(kafka, folder, figures, {topic: dict(section) for section, topic in places.items()}, registry)
    applied: dict[Origin, Says] = {}
    others: dict[Origin, Says] = {}
    dead: set[Origin] = set()
    try:
        for _ in range(hard):
            for case in chance.sample(cases, len(cases)):
                key, value = (_with_known_id(case, name, registry) for name in ("key", "value"))
                headers = [(name, None if text is None else text.encode()) for name, text in case.get("headers", ())]
                at = run.send(places[_section(case)], key, value, headers, case.get("ts", 1_773_164_531_000))
                if case["fate"] == "dead_lettered":
                    dead.add(at)
                elif case["fate"] == "applied":
                    (others if case.get("known") else applied)[at] = _says(at[0], case)
                if chance.random() < 0.005:
                    run.flush()
                    run.kill()
        run.flush()
        run.kill()
        run.settle()
    finally:
        run.proc.close()
    run.judge(applied, dead, others)


def registry_down(kafka: KafkaCluster, folder: Path, figures: Figures, hard: int, registry: Served) -> None:
    """The registry refuses everybody for a while, ingest is killed meanwhile: held, then drained, no dead letter."""
    cases = [case for case in rows() if case["format"] == "debezium-avro" and case["fate"] == "applied"
             and case["options"].keys() <= {"source", "mapping"} and not case.get("known")]
    section = _section(cases[0])
    run = IngestRun(kafka, folder, figures, {"raw.avro": dict(section)}, registry)
    applied: dict[Origin, Says] = {}
    try:
        registry.down = True
        for case in [each for each in cases if _section(each) == section] * 10 * hard:
            key, value = (_with_known_id(case, name, registry) for name in ("key", "value"))
            at = run.send("raw.avro", key, value)
            applied[at] = frozenset((at,))
        unknown = run.send("raw.avro", None, b"\x00\x00\x00\xff\xff" + b"\x02")
        run.flush()
        wait_until(lambda: "nothing is lost" in run.proc.log_now(), HOLDS_S, "ingest holds", run.proc.tail)
        time.sleep(DOWN_S * hard / 2)
        run.kill()
        wait_until(lambda: "nothing is lost" in run.proc.log_now(), HOLDS_S, "ingest holds again", run.proc.tail)
        time.sleep(DOWN_S * hard / 2)
        letters = deadletters.read(run.settings)
        figures.wrong += [f"a dead letter while the registry is down: {letter.origin}" for letter in letters.values()]
        registry.down, back_s = False, time.monotonic()
        run.settle()
        figures.recoveries.append(round(time.monotonic() - back_s, 2))
    finally:
        registry.down = False
        run.proc.close()
    run.judge(applied, {unknown}, {})


def flood(kafka: KafkaCluster, folder: Path, figures: Figures, hard: int, registry: Served) -> None:
    """One source sends tens of thousands at once, another one record every 50 ms: those may not wait for the flood."""
    sources = {"raw.loud": {"system": "PSA"}, "raw.quiet": {"system": "TIME", "instance": "kimai"}}
    run = IngestRun(kafka, folder, figures, sources, registry)
    sent_ms: dict[int, int] = {}
    loud = {"origin_system": "TIME", "project_code": "P1"}
    try:
        wait_until(lambda: "assigned 2 raw partitions" in run.proc.log_now(), HOLDS_S, "assigned", run.proc.tail)
        sent = [run.send("raw.loud", None, _loud(number, loud)) for number in range(FLOOD * hard)]
        begun_s, number = time.monotonic(), 0
        while not run.read("raw.loud") or time.monotonic() - begun_s < 3.0:
            sent_ms[number] = clock.now_us() // 1_000
            sent.append(run.send("raw.quiet", None, entry(number, project_code="Q1", qty_s=60)))
            number += 1
            run.flush()
            time.sleep(0.05)
        run.settle()
        assert run.proc.stop(20) == 0, run.proc.tail()
    finally:
        run.proc.close()
    run.judge({at: frozenset((at,)) for at in sent}, set(), {})
    took = _delays_s(run, sent_ms)
    figures.recoveries += [round(quantile(took, share), 2) for share in (0.5, 0.95, 1.0)]
    if quantile(took, 1.0) > STARVES_S:
        figures.wrong.append(f"the quiet source waited up to {quantile(took, 1.0):.1f} s behind the flood")


def _delays_s(run: IngestRun, sent_ms: Mapping[int, int]) -> list[float]:
    """From the raw log to a frame in the log, of each record of the quiet source."""
    found: dict[int, float] = {}
    for message in whole_topic(run.settings, changes_topic(Axis.PROJECT)):
        for change in decode(message.value() or b"").changes:
            topic, _, offset = change.origin
            if topic == "raw.quiet":
                found.setdefault(offset, (message.timestamp()[1] - sent_ms[offset]) / 1_000)
    return list(found.values())


def _loud(number: int, data: Mapping[str, Any]) -> bytes:
    from ingest_records import event

    return event("time_entry.upserted", "PSA/main", str(number), {**data, "origin_id": f"L{number}"})


def _says(topic: str, case: Case) -> Says:
    """Which versions a case brings: of the same object and position at the source, one is as good as another; none of
    an entity that no check reads yet, which goes no further than ingest."""
    return frozenset((topic, each["entity"], each["subject"], each["seq"]) for each in case["changes"]
                     if each["entity"] in READS)


def _section(case: Case) -> tuple[tuple[str, str], ...]:
    """What the configuration says of a case's source."""
    system, _, instance = case["options"].get("source", "TIME/kimai").partition("/")
    mapping = {"mapping": case["options"]["mapping"]} if "mapping" in case["options"] else {}
    return tuple({"system": system, "instance": instance, "format": case["format"], **mapping}.items())


def _with_known_id(case: Case, name: str, registry: Served) -> bytes | None:
    """Key or value of a case, under the id that this registry gives to its schema; an unknown id stays unknown."""
    found, known = content(case, name), case.get("schemas", {})
    if not known or found is None or len(found) < 5 or found[0]:
        return found
    schema = known.get(str(int.from_bytes(found[1:5], "big")))
    if schema is None:
        return found[:1] + (999_999).to_bytes(4, "big") + found[5:]
    subject = f"case-{json.dumps(schema, sort_keys=True).__hash__()}"
    answer = registry.registry.call("POST", f"/subjects/{subject}/versions", {"schema": json.dumps(schema)})
    return found[:1] + int(answer.body["id"]).to_bytes(4, "big") + found[5:]


Hurt = Callable[[KafkaCluster, Path, Figures, int, Served], None]
INGEST_SCENARIOS: Final[Mapping[str, Hurt]] = {"poison": poison, "registry down": registry_down, "flood": flood}


def play(kafka: KafkaCluster, folder: Path, name: str, seed: int, hard: int) -> Figures:
    """One run of a scenario of ingest."""
    figures, begun_s = Figures(name, seed), time.monotonic()
    registry = Served()
    try:
        INGEST_SCENARIOS[name](kafka, folder, figures, hard, registry)
    finally:
        registry.close()
    figures.seconds = round(time.monotonic() - begun_s, 1)
    return figures
