"""The real parts of ingest and worker, and a sink, over the simulated log; each can die wherever the world says.

What is simulated is the broker and the loop around the parts. Pipeline, outbox, id map, shard, writer, ledger, restore,
engine and encoders are the product's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from unittest.mock import patch

from simulation.world import Partition, Producer, Record, World

from tieout.codecs.formats import codec
from tieout.codecs.records import RawRecord
from tieout.reconcilers.engine import READS
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.outcomes import PUBLISHED
from tieout.streams import checkpoint, frames, outbox, tables
from tieout.streams.checkpoint import Fenced, Outputs, Writer
from tieout.streams.outputs import encoders
from tieout.streams.pipeline import Pipeline, Reading
from tieout.streams.settings import Settings
from tieout.streams.shards import Shard, Verdict
from tieout.streams.standings import STANDINGS, of_records
from tieout.streams.tables import Place
from tieout.streams.topics import changes_topic, output_topic, table_topic
from tieout.streams.worker import engine

WIDE: Final = 2  # partitions of the project axis
PLACES: Final = (*(Place(axis, number) for axis in (Axis.PROJECT, Axis.WORKER) for number in range(WIDE)),
                 Place(Axis.CONTROL, 0))
SETTINGS: Final = Settings()
READING: Final = Reading(codec("canonical", {}))
RECONCILER: Final = engine(SETTINGS)
OUTPUTS: Final = Outputs(encoders())
TOPICS: Final = tuple(sorted(output_topic(output) for output in PUBLISHED))


@contextmanager
def wired(world: World) -> Iterator[None]:
    """The product's clients, replaced by the world's."""

    def reader(_settings: Any, topic: str) -> _TopicReader:
        return _TopicReader(world, topic)

    with ExitStack() as stack:
        for module, name, stands_in in (
            (checkpoint, "Producer", lambda config: Producer(world, config["transactional.id"])),
            (tables, "_Reader", lambda _client, place: _Changelogs(world, place)),
            (outbox, "TopicReader", reader),
            (outbox, "whole_topic", lambda _settings, topic: world.whole(topic)),
        ):
            stack.enter_context(patch.object(module, name, stands_in))
        yield


class _TopicReader:
    def __init__(self, world: World, topic: str) -> None:
        self._world, self._topic, self._seen = world, topic, 0

    def to_the_end(self) -> Iterator[Record]:
        records = list(self._world.whole(self._topic))
        self._seen = len(records)
        yield from records

    def news(self) -> Iterator[Record]:
        records = list(self._world.whole(self._topic))[self._seen :]
        self._seen += len(records)
        yield from records

    def close(self) -> None:
        pass


class _Changelogs:
    """What `tables.restore` reads from: the changelogs of one place, each from where it left off."""

    def __init__(self, world: World, place: Place) -> None:
        self._world, self._place = world, place
        self.offsets: dict[str, int] = {}

    def __enter__(self) -> _Changelogs:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, names: Sequence[str], watch: object = None) -> Iterator[tuple[str, Record]]:
        for name in names:
            topic = table_topic(name, self._place.axis)
            records = self._world.log[topic, self._place.partition]
            start = self.offsets.get(topic, 0)
            self.offsets[topic] = len(records)
            for record in records[start:]:
                yield name, record


class Ingest:
    """Reads the raw topics a little at a time; what it did not commit it reads again under another name."""

    def __init__(self, world: World, raw: dict[Partition, list[RawRecord]], sources: dict[str, list[str]]) -> None:
        self._world, self._raw, self._sources = world, raw, sources
        self._unread = sorted(raw)  # partitions that are not committed to their end
        self._lives = 0
        self._pipeline: Pipeline | None = None

    @property
    def done(self) -> bool:
        """Whether everything is committed."""
        self._unread = [at for at in self._unread if self._next(at) < len(self._raw[at])]
        return not self._unread and not self._returned()

    def die(self) -> None:
        self._pipeline = None

    def step(self) -> None:
        """Start, or one turn of the loop."""
        if self._pipeline is None:
            self._start()
            return
        chance, took = self._world.chance, []
        for at in chance.sample(sorted(self._raw), len(self._raw)):
            if chance.random() < 0.6:
                took += self._raw[at][self._next(at) : self._next(at) + chance.choice((1, 4, 30))]
        back = self._returned()
        if not took and not back and self._pipeline.now_us == 0:
            return  # there is no time yet
        if took or not back:
            self._outbox.deliver(self._pipeline.take(took) if took else self._pipeline.tick())
        if back:
            self._outbox.deliver(self._pipeline.deliver(of_records(back)))
        self._world.at("frames delivered, offsets not committed")
        for record in (*took, *back):
            self._world.committed["ingest", (record.topic, record.partition)] = record.offset + 1
        self._pipeline.committed({(record.topic, record.partition): record.offset + 1 for record in took})
        self._world.at("offsets committed")

    def _returned(self) -> list[RawRecord]:
        """What the worker axis says about entries and was not framed yet."""
        return [RawRecord(*record.at, record.number, 0, record.raw_key, record.raw_value)
                for at in self._world.partitions[STANDINGS] for record in self._world.log[at][self._next(at) :]]

    def _next(self, at: Partition) -> int:
        return self._world.committed.get(("ingest", at), 0)

    def _start(self) -> None:
        self._lives += 1
        self._outbox = outbox.Outbox(Producer(self._world))  # type: ignore[arg-type]
        identity = outbox.IdMap(SETTINGS).restore()
        self._world.at("restoring ingest")
        parking = outbox.restore_parking(SETTINGS, set(self._raw))
        pipeline = Pipeline(
            {}, sources=self._sources, partitions=WIDE, producer=f"life-{self._lives}", reads=READS, identity=identity,
            parking=parking, otherwise=READING, closed=True,
        )  # fmt: skip
        pipeline.restored()
        self._pipeline = pipeline


class Worker:
    """Holds places; applies their frames and writes checkpoints. Its memory is its shards."""

    def __init__(self, world: World, places: Sequence[Place]) -> None:
        self.places = list(places)
        self._world = world
        self._held: dict[Place, tuple[Shard, Writer]] = {}

    @property
    def done(self) -> bool:
        """Whether every frame there is is in a checkpoint."""
        return all(
            place in self._held
            and self._held[place][0].pending_frames == 0
            and self._held[place][0].next_offset == len(self._frames(place))
            for place in self.places
        )

    @property
    def idle(self) -> bool:
        """Whether there is nothing that it could do."""
        return not self.places and not self._held

    def die(self) -> None:
        self._held.clear()

    def states(self) -> Iterator[Any]:
        """The reconcilers' states of the project and the worker axis."""
        for place, (shard, _) in self._held.items():
            if place.axis is not Axis.CONTROL:
                yield shard._state._part  # type: ignore[attr-defined]

    def give(self, place: Place, orderly: bool) -> None:
        """Lose a place to another worker: after a last checkpoint, or without noticing."""
        self.places.remove(place)
        if orderly and place in self._held:
            self._checkpoint(place)
            self._held.pop(place, None)

    def step(self) -> None:
        """Something that the loop may do next: restore, apply, or write a checkpoint of any place it thinks it has."""
        place = self._world.chance.choice(sorted({*self.places, *self._held}))
        if place not in self._held:
            self._held[place] = self._open(place)
        elif self._world.chance.random() < 0.25:
            self._checkpoint(place)
        else:
            self._apply(place)

    def _frames(self, place: Place) -> list[Record]:
        return self._world.log[changes_topic(place.axis), place.partition]

    def _open(self, place: Place) -> tuple[Shard, Writer]:
        writer = Writer({}, "tieout-worker", place, OUTPUTS)
        writer.fence()
        self._world.at("fenced the last owner")
        epochs: list[int] = []

        def claim(epoch: int) -> None:
            writer.claim(epoch)
            epochs.append(epoch)

        restored = tables.restore({}, place, RECONCILER.tables, claim)
        self._world.at("restored, nothing applied")
        wide = WIDE if place.axis is not Axis.CONTROL else 1
        return Shard.restored(place, wide, epochs[0], RECONCILER, restored), writer

    def _apply(self, place: Place) -> None:
        shard, _ = self._held[place]
        for record in self._frames(place)[shard.next_offset :][: self._world.chance.choice((1, 3, 10))]:
            frame = frames.decode(record.value() or b"")
            verdict = shard.judge(record.offset(), frame)
            if verdict is Verdict.NEXT:
                shard.apply(record.offset(), frame, record)
                self.applied(place, record.offset())
            else:
                assert verdict is Verdict.REPEAT, f"{place} offset {record.offset()}: frames are missing before it"
                shard.skip(record.offset())
            self._world.at("a frame applied")

    def applied(self, place: Place, offset: int) -> None:
        """For planted bugs."""

    def _checkpoint(self, place: Place) -> None:
        shard, writer = self._held[place]
        if not shard.pending_frames:
            return
        try:
            snapshot = shard.snapshot()
            assert len({row[:2] for row in snapshot.rows}) == len(snapshot.rows), f"{place}: a key twice in its rows"
            writer.write(snapshot)
        except Fenced:
            assert self._world.atomic
            del self._held[place]


class Sink:
    """Rows and offsets in one transaction of its store."""

    def __init__(self, world: World) -> None:
        self.rows: dict[tuple[str, bytes | None], bytes | None] = {}
        self.offsets: dict[Partition, int] = {}
        self.seen: list[Record] = []
        self._world = world

    @property
    def done(self) -> bool:
        return all(self.offsets.get(at, 0) == len(records) for at, records in self._outputs())

    def die(self) -> None:
        """Its disk outlives it."""

    def step(self) -> None:
        """One batch of some partitions; the disk may be full."""
        batch: list[Record] = []
        for at, records in self._outputs():
            offset = self.offsets.get(at, 0)
            if offset < len(records) and self._world.chance.random() < 0.5:
                batch += records[offset : offset + self._world.chance.choice((1, 20, 200))]
        if not batch:
            return
        self._world.at("before the store's transaction")
        if self._world.chance.random() < 0.05:
            return  # no room: nothing is written, the same records come again
        self.write(batch)
        self._world.at("after the store's transaction")

    def write(self, batch: list[Record]) -> None:
        """Rows and offsets, at once."""
        self.seen += batch
        for record in batch:
            self.rows[record.topic(), record.key()] = record.value()
            self.offsets[record.at] = record.offset() + 1

    def _outputs(self) -> list[tuple[Partition, list[Record]]]:
        return [(at, self._world.log[at]) for topic in TOPICS for at in self._world.partitions[topic]]
