"""The simulate role: writes the truth, then plays the story into Kafka or into a capture."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from tieout.streams.pressure import RecordsLost
from tieout.streams.simulate.capture import write_capture
from tieout.streams.simulate.facts import TOPICS
from tieout.streams.simulate.instants import iso
from tieout.streams.simulate.play import NotWritten, Player, Progress
from tieout.streams.simulate.story import SEED, Story, tell
from tieout.streams.simulate.truth import Truth

if TYPE_CHECKING:
    from tieout.streams.settings import Settings

__all__ = ["NotWritten", "Options", "RecordsLost", "read_truth", "run", "write_truth"]

HOURS_PER_S: Final = 15.0
_AHEAD_BYTES: Final = 1_500_000  # unread on one raw partition; the embedded broker forgets beyond 5 MB
_WAIT_S: Final = 30.0
_PRODUCER: Final = {"linger.ms": 0}


@dataclass(frozen=True, slots=True)
class Options:
    """What to play: the seed, simulated hours a second, where the truth and a capture go."""

    seed: int = SEED
    hours_per_s: float = HOURS_PER_S
    truth: Path | None = None
    capture: Path | None = None


def run(settings: Settings | None, options: Options) -> int:
    """Play to the end: 0; 130 when interrupted. Without `settings` only a capture is written."""
    story = tell(options.seed)
    if options.truth:
        write_truth(options.truth, story.truth)
    if options.capture:
        write_capture(options.capture, story.records)
    if settings is None:
        return 0
    stop = threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    return 0 if _play(settings, story, options.hours_per_s, stop.wait) else 130


def write_truth(path: Path, truth: Truth) -> None:
    """Write the truth file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(truth.document(), option=orjson.OPT_INDENT_2))


def read_truth(path: Path) -> Truth:
    """The truth of a run; ValueError when the file is of another release."""
    return Truth.of(orjson.loads(path.read_bytes()))


def _play(settings: Settings, story: Story, hours_per_s: float, stop: Callable[[float], bool]) -> bool:
    from confluent_kafka import Producer

    from tieout.streams.pressure import GroupProgress, Pressure, forgets

    producer = Producer(settings.kafka_producer(_PRODUCER))
    _ensure_topics(settings, producer)
    standings = GroupProgress(settings, settings.group("ingest"))
    pressure = Pressure(standings, _AHEAD_BYTES, lossy=forgets(producer.list_topics(timeout=_WAIT_S).cluster_id))
    pressure.watch((topic.name, number) for topic in TOPICS for number in range(topic.partitions))
    try:
        return Player(producer, hours_per_s, pressure.wait, stop, pressure.sent, _tell).play(story.records)
    finally:
        standings.close()


def _ensure_topics(settings: Settings, producer: Any) -> None:
    """Make the raw topics that are not there; connectors would do that for real systems."""
    from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

    known = producer.list_topics(timeout=_WAIT_S).topics
    kept = {"retention.ms": "-1"}  # the story's timestamps are in the past: a broker would delete it at once
    new = [NewTopic(topic.name, topic.partitions, settings.kafka.replication, config=kept) for topic in TOPICS
           if topic.name not in known]
    if new:
        admin = AdminClient(settings.kafka_client())  # named: its answers die with it
        for answer in admin.create_topics(new, request_timeout=_WAIT_S).values():
            answer.result()


def _tell(progress: Progress) -> None:
    """A JSON line for whoever started us, or one line that is written over on a terminal."""
    if sys.stdout.isatty():
        held = "(waiting for readers)" if progress.held else " " * 21
        line = f"{iso(progress.at)[:16]}Z  {progress.written:,} of {progress.total:,} records {held}"
        print(f"\r{line}", end="", flush=True)
    else:
        print(orjson.dumps({"at": iso(progress.at), "written": progress.written, "total": progress.total,
                            "held": progress.held}).decode(), flush=True)
