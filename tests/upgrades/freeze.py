"""Write what this build stores, to be opened by every later one: `python tests/upgrades/freeze.py FOLDER`.

Run it at a release, or before a change of a stored format, in the tree of that build; keep the folder as
`tests/upgrades/<name>`. A frozen folder is never written again. It holds, gzipped, from one small firm:

changelogs.jsonl   the ledger record and the changelog rows of every place, after all frames but the last ones
frames.jsonl       every frame as its Kafka value: axis, partition, and the record
store.duckdb       the analyst store after all frames
"""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from simulation.tiny import capture

from tieout.codecs.formats import codec
from tieout.reconcilers.engine import READS
from tieout.streams.frames import encode
from tieout.streams.pipeline import Pipeline, Reading, raw_partition
from tieout.streams.settings import Settings
from tieout.streams.shards import Shard
from tieout.streams.sinks.store import Store
from tieout.streams.sinks.tables import OUTPUT_TABLES
from tieout.streams.tables import Place
from tieout.streams.worker import engine

SEED, BATCH, TAIL = 7, 12, 3  # of the firm; records of a batch; frames of each place that come after the checkpoint
RECONCILER = engine(Settings())
Frames = dict[Place, list[Any]]


def frames() -> Frames:
    """Every frame of the firm, by place."""
    records = capture(SEED)
    parts: dict[str, set[str]] = defaultdict(set)
    for record in records:
        source = json.loads(record.value or b"{}").get("source", "")
        parts[source].add(raw_partition(record.topic, record.partition))
    pipeline = Pipeline({}, sources={name: sorted(found) for name, found in parts.items()}, partitions=1,
                        producer="frozen", reads=READS, otherwise=Reading(codec("canonical", {})), closed=True)
    found: Frames = defaultdict(list)
    for first in range(0, len(records), BATCH):
        for axis, partition, frame in pipeline.take(records[first : first + BATCH]).frames:
            found[Place(axis, partition)].append(frame)
    for axis, partition, frame in pipeline.tick().frames:
        found[Place(axis, partition)].append(frame)
    return found


def played(place: Place, sequence: list[Any]) -> Shard:
    """A new shard after these frames."""
    state = RECONCILER.state(place.axis, place.partition, 1)
    shard = Shard(place, 1, state, RECONCILER, None)
    for offset, frame in enumerate(sequence):
        shard.apply(offset, frame, None)
    return shard


def write(folder: Path) -> None:
    """All of it."""
    folder.mkdir(parents=True)
    everything = frames()
    lines = [json.dumps([axis.value, partition, encode(frame).decode()])
             for (axis, partition), found in everything.items() for frame in found]
    _zip(folder / "frames.jsonl.gz", "\n".join(lines).encode())
    rows: list[str] = []
    with Store(folder / "store.duckdb") as store:
        for place, sequence in everything.items():
            snapshot = played(place, sequence[:-TAIL]).snapshot()
            name = [place.axis.value, place.partition]
            rows.append(json.dumps([*name, "checkpoint", "checkpoint", snapshot.checkpoint.to_bytes().decode()]))
            rows += [json.dumps([*name, table, key.decode(), value and value.decode()])
                     for table, key, value in snapshot.rows]
            store.write([each for each in played(place, sequence).snapshot().outcomes if each.output in OUTPUT_TABLES])
        store.checkpoint()
    _zip(folder / "changelogs.jsonl.gz", "\n".join(rows).encode())
    _zip(folder / "store.duckdb.gz", (folder / "store.duckdb").read_bytes())
    for left in folder.glob("store.duckdb*"):
        if left.suffix != ".gz":
            left.unlink()


def _zip(file: Path, content: bytes) -> None:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed:
        packed.write(content)
    file.write_bytes(buffer.getvalue())


if __name__ == "__main__":
    write(Path(sys.argv[1]))
