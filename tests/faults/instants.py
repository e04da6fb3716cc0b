"""KPI error in cents at every audit instant, by recomputing from the frames in the log.

Each checkpoint of the worker is an instant: the frames up to its offset, applied here from the first one on without
any restart, give the cells that it must have published by then. Each snapshot of the sink is another: the cells in the
topic up to its offsets give the sums that it must show.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from faults.harness import read_all
from faults.watch import Cell, Sample

from tieout.codecs.avro import RowReader
from tieout.codecs.framing import unframe
from tieout.reconcilers.changes import Frame
from tieout.reconcilers.engine import TABLES, State, apply, settle
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.outcomes import Outcome, Output
from tieout.reconcilers.policy import Policy
from tieout.schemas import avsc
from tieout.streams.frames import decode
from tieout.streams.settings import Settings
from tieout.streams.shards import Reconciler, Shard, Verdict
from tieout.streams.tables import CHECKPOINT_KEY, Checkpoint, Place
from tieout.streams.topics import AXES, LEDGER, changes_topic, output_topic, table_topic

# As of an instant of the process, not of the data: when a worker saw something, and through which frames it came.
NOT_OF_THE_DATA: Final = ("mttd", "mttr", "sync_lag")
Row = Mapping[str, Any] | None
Published = dict[tuple[Place, int, int], dict[str, Row]]  # place, epoch, number of the checkpoint


class Error(NamedTuple):
    """The largest differences over `instants`: money in cents, everything else in its own unit."""

    instants: int
    cents: int
    others: int
    examples: list[str]


def at_checkpoints(settings: Settings) -> Error:
    """Compare what each checkpoint published with what its frames give."""
    published = _published(settings)
    errors = [_of_place(settings, place, published) for place in _places(settings)]
    return Error(sum(e.instants for e in errors), max(e.cents for e in errors), max(e.others for e in errors),
                 [text for e in errors for text in e.examples][:3])


def at_snapshots(settings: Settings, samples: Sequence[Sample]) -> Error:
    """Compare the sums that snapshots showed with the topic up to their offsets."""
    topic = output_topic(Output.KPI_STATE)
    records = [(int(head["partition"]), int(head["offset"]), head["key"], _row(value))
               for head, value in read_all(settings, topic)]
    cents = others = 0
    examples: list[str] = []
    for sample in samples:
        cells = {key: row for part, offset, key, row in records if offset < sample.offsets.get((topic, part), 0)}
        wanted = _sums(cells.values())
        found = Counter({cell: total for cell, total in sample.sums.items() if total})
        cents, others = _larger(wanted, found, cents, others, examples)
    return Error(len(samples), cents, others, examples[:3])


def _of_place(settings: Settings, place: Place, published: Published) -> Error:
    engine = Reconciler(lambda axis, number, count: State(axis, number, count, Policy()), apply, settle, TABLES)
    count = _partitions(settings, place.axis)
    shard = Shard(place, 1, engine.state(place.axis, place.partition, count), engine, None)
    frames = list(_frames(settings, place))
    expected: dict[str, Row] = {}
    found: dict[str, Row] = {}
    at = instants = cents = others = 0
    examples: list[str] = []
    for checkpoint in _checkpoints(settings, place):
        while at < len(frames) and frames[at][0] < checkpoint.next_offset:
            _take(shard, *frames[at])
            at += 1
        expected.update(_cells(shard.snapshot().outcomes))
        found.update(published.get((place, checkpoint.epoch, checkpoint.number), {}))
        instants += 1
        cents, others = _larger(_sums(expected.values()), _sums(found.values()), cents, others, examples)
    assert at == len(frames), f"{place}: {len(frames) - at} frames are in no checkpoint"
    return Error(instants, cents, others, [f"{place}: {text}" for text in examples])


def _take(shard: Shard, offset: int, frame: Frame) -> None:
    verdict = shard.judge(offset, frame)
    assert verdict is not Verdict.HOLE, f"{shard.place}: frames are missing before offset {offset}"
    if verdict is Verdict.NEXT:
        shard.apply(offset, frame, None)
    else:
        shard.skip(offset)


def _cells(outcomes: Iterable[Outcome]) -> Iterator[tuple[str, Row]]:
    return ((each.key, each.row) for each in outcomes if each.output is Output.KPI_STATE)


def _sums(rows: Iterable[Row]) -> Counter[Cell]:
    sums: Counter[Cell] = Counter()
    for row in rows:
        if row is not None and row["numerator"] is not None:
            sums[row["kpi"], row["measure"], row["unit"], row.get("currency")] += row["numerator"]
    return sums


def _larger(
    wanted: Counter[Cell], found: Counter[Cell], cents: int, others: int, examples: list[str]
) -> tuple[int, int]:
    for cell in wanted.keys() | found.keys():
        error = abs(wanted[cell] - found[cell])
        if not error or cell[0] in NOT_OF_THE_DATA:
            continue
        examples.append(f"{cell}: {found[cell]}, expected {wanted[cell]}")
        if cell[2] == "minor":
            cents = max(cents, error)
        else:
            others = max(others, error)
    return cents, others


def _published(settings: Settings) -> Published:
    found: Published = defaultdict(dict)
    for head, value in read_all(settings, output_topic(Output.KPI_STATE)):
        axis, partition, stamp, _ = head["ce_id"].split("/")
        epoch, number = map(int, stamp.split("."))
        found[Place(Axis(axis), int(partition)), epoch, number][head["key"]] = _row(value)
    return found


_READER: Final = RowReader(avsc(Output.KPI_STATE.value))


def _row(value: bytes | None) -> Row:
    return _READER.read(unframe(value).payload) if value else None


def _frames(settings: Settings, place: Place) -> Iterator[tuple[int, Frame]]:
    for head, value in read_all(settings, changes_topic(place.axis), [place.partition]):
        yield int(head["offset"]), decode(value)


def _checkpoints(settings: Settings, place: Place) -> Iterator[Checkpoint]:
    for head, value in read_all(settings, table_topic(LEDGER, place.axis), [place.partition]):
        if head["key"].encode() == CHECKPOINT_KEY:
            yield Checkpoint.from_bytes(value)


def _places(settings: Settings) -> list[Place]:
    return [Place(axis, number) for axis in AXES for number in range(_partitions(settings, axis))]


def _partitions(settings: Settings, axis: Axis) -> int:
    return 1 if axis is Axis.CONTROL else settings.kafka.partitions
