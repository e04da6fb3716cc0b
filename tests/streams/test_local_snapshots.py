"""Local snapshots: what a restore takes from one, and everything for which it is left aside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import orjson
import pytest
from brokers import KafkaCluster
from conftest import Broker
from faults.counting import COUNTING, TABLES
from hypothesis import given
from hypothesis import strategies as st
from streams.test_checkpoint_transactions import PLACE, Owner, prepared

from tieout.reconcilers.entities import Axis
from tieout.streams import localcopy
from tieout.streams.localcopy import Folder, LocalCopy, NotUsable, _parsed, _write
from tieout.streams.shards import Shard
from tieout.streams.tables import (
    Checkpoint,
    Ledger,
    Place,
    Restored,
    RestoreError,
    Rows,
    Stamp,
    Watch,
    reread,
    restore,
)
from tieout.streams.topics import table_topic

pytestmark = pytest.mark.kafka


@pytest.fixture
def client(kafka: KafkaCluster) -> dict[str, Any]:
    """Topics on Apache Kafka: what a snapshot is good for is a log that outlives its reader."""
    return prepared(Broker(kafka.bootstrap, kafka))


class Found:
    """A restore with a snapshot: what it brought, and how much of it came from changelogs."""

    def __init__(self, client: dict[str, Any], folder: Folder) -> None:
        self.watch = Watch()
        restored = restore(client, PLACE, TABLES, lambda epoch: None, self.watch, folder.load(PLACE))
        self.rows = {(table, key): value for table, key, value in restored.rows.items()}
        self.checkpoint = restored.checkpoint
        Shard.restored(PLACE, 2, 99, COUNTING, restored)  # it refuses rows of one checkpoint that were torn apart


def whole(client: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """What the changelogs alone say."""
    restored = restore(client, PLACE, TABLES, lambda epoch: None)
    return {(table, key): value for table, key, value in restored.rows.items()}


def refresh(client: dict[str, Any], folder: Folder) -> None:
    """As a worker does."""
    folder.save(PLACE, reread(client, PLACE, TABLES, folder.load(PLACE)), TABLES)


def written(client: dict[str, Any], folder: Folder) -> Owner:
    """An owner that wrote two checkpoints and a snapshot of them."""
    owner = Owner(client)
    owner.writer.write(owner.apply("a", "b", "c"))
    owner.writer.write(owner.apply("a"))
    refresh(client, folder)
    return owner


def test_only_what_followed_is_read(client: dict[str, Any], tmp_path: Path) -> None:
    folder = Folder(tmp_path, client)
    owner = written(client, folder)
    assert Found(client, folder).watch.read == 0
    owner.writer.write(owner.apply("b", *["c"] * 6))  # the seventh of c deletes its row of `last`
    found = Found(client, folder)
    assert found.watch.read == 4  # b and c of both tables
    assert found.rows == whole(client)
    assert ("last", "c") not in found.rows
    assert found.checkpoint is not None
    assert found.checkpoint.stamp == (owner.epoch, 3)


def test_another_worker_wrote_in_between(client: dict[str, Any], tmp_path: Path) -> None:
    """The place moved away and came back: the old snapshot is a beginning, the rest is in the changelogs."""
    folder = Folder(tmp_path, client)
    written(client, folder)
    other = Owner(client)
    other.writer.write(other.apply("a", "d"))
    found = Found(client, folder)
    assert found.rows == whole(client)
    assert found.rows["counts", "a"] == 3


def test_killed_between_snapshot_and_checkpoint(client: dict[str, Any], tmp_path: Path) -> None:
    """What the next checkpoint had begun to write is not in the snapshot and not in the restore."""
    folder = Folder(tmp_path, client)
    owner = written(client, folder)
    owner.tear(owner.apply("a", "b"))
    Owner(client)  # its fence aborts that transaction
    found = Found(client, folder)
    assert found.rows["counts", "a"] == 2
    refresh(client, folder)
    assert Found(client, folder).rows == found.rows == whole(client)


def test_a_snapshot_grows_by_what_followed(client: dict[str, Any], tmp_path: Path) -> None:
    folder = Folder(tmp_path, client)
    owner = written(client, folder)
    for _ in range(3):
        owner.writer.write(owner.apply("a", "e"))
        refresh(client, folder)
        found = Found(client, folder)
        assert found.watch.read == 0
        assert found.rows == whole(client)


def head(**changed: Any) -> Callable[[Path], None]:
    """Give a snapshot another head, with a checksum that fits."""

    def change(path: Path) -> None:
        copy = _parsed(path.read_bytes())
        fresh = {**copy.head, **changed}
        content = orjson.dumps(fresh) + b"\n" + bytes(copy.body)
        path.write_bytes(content + localcopy._CHECKSUM.pack(crc32(content)))

    return change


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def behind(path: Path) -> None:
    topics = _parsed(path.read_bytes()).head["topics"]
    head(topics={topic: [name, offset + 1_000] for topic, (name, offset) in topics.items()})(path)


def recreated(path: Path) -> None:
    topics = _parsed(path.read_bytes()).head["topics"]
    head(topics={topic: ["another", offset] for topic, (_, offset) in topics.items()})(path)


UNUSABLE: list[tuple[str, Callable[[Path], None], str]] = [
    ("another format",         head(format=2),            "its format is 2, expected 1"),
    ("another build",          head(build="0.0.1"),       "its build is '0.0.1'"),
    ("another cluster",        head(cluster="elsewhere"), "its cluster is 'elsewhere'"),
    ("another place",          head(place="project/7"),   "its place is 'project/7'"),
    ("too old",                head(taken_us=1),          "deletions may have been compacted away"),
    ("of the future",          head(taken_us=2**60),      "s old, expected 0 to"),
    ("cut off",                cut,                       "its checksum is wrong"),
    ("a bit changed",          flip,                      "its checksum is wrong"),
    ("empty",                  emptied,                  "its checksum is wrong"),
    ("topics made anew",       recreated,                 "is another topic now"),
    ("newer than the ledger",  head(stamp=[9, 1]),        "it is of checkpoint 9.1, the last in the ledger is 1.2"),
    ("newer than changelogs",  behind,                    "ends before it"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "spoil", "says"), UNUSABLE, ids=[row[0] for row in UNUSABLE])
def test_what_cannot_be_trusted_is_left_aside(
    client: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture,
    what: str, spoil: Callable[[Path], None], says: str,
) -> None:  # fmt: skip
    """With a line that says why; then everything is read from the changelogs."""
    folder = Folder(tmp_path, client)
    written(client, folder)
    (path,) = tmp_path.iterdir()
    spoil(path)
    found = Found(client, folder)
    assert found.watch.read > 0
    assert found.rows == whole(client)
    assert says in caplog.text


def test_a_snapshot_of_a_checkpoint_that_does_not_count_is_left_aside(
    client: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Epoch 1 had two checkpoints when epoch 2 took over from it."""
    folder = Folder(tmp_path, client)
    written(client, folder)
    other = Owner(client)
    other.writer.write(other.apply("a"))
    head(stamp=[1, 3])(next(tmp_path.iterdir()))
    assert Found(client, folder).rows == whole(client)
    assert "its checkpoint 1.3 does not count" in caplog.text


def test_no_snapshot_is_made_of_half_a_checkpoint(client: dict[str, Any], tmp_path: Path) -> None:
    """A worker that does not know yet that it was fenced, and the place's new owner."""
    folder = Folder(tmp_path, client)
    written(client, folder)
    copy, other = folder.load(PLACE), Owner(client)
    assert copy

    class Slow(LocalCopy):
        """Meanwhile the other one writes."""

        def rows(self) -> Iterator[tuple[str, bytes, bytes, Stamp]]:
            other.writer.write(other.apply("a"))
            return super().rows()

    with pytest.raises(RestoreError, match="was written to by another worker"):
        reread(client, PLACE, TABLES, Slow(copy.head, copy.body))


def test_no_snapshot_is_no_news(client: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert Folder(tmp_path, client).load(PLACE) is None
    assert not caplog.text


KEYS = st.binary(max_size=12)


@given(rows=st.dictionaries(st.tuples(st.sampled_from(TABLES), KEYS), st.tuples(KEYS, st.booleans()), max_size=30))
def test_any_rows_survive_the_file(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[tuple[str, bytes], tuple[bytes, bool]]
) -> None:
    ledger = Ledger()
    ledger.read(b"claim", b'{"epoch":1}')
    for number in (1, 2):
        ledger.read(b"checkpoint", Checkpoint(1, number, 0, {}).to_bytes())
    kept = Rows(ledger)
    for (table, key), (value, newest) in rows.items():
        kept.add(table, key, value, Stamp(1, 2 if newest else 1))
    kept.take_newest()
    path = tmp_path_factory.mktemp("rows") / "file"
    _write(path, {"tables": list(TABLES), "stamp": [1, 2]}, Restored(kept, ledger.last()), {"counts": 0, "last": 1})
    read = {(table, key): (value, stamp == (1, 2)) for table, key, value, stamp in _parsed(path.read_bytes()).rows()}
    assert read == rows


@given(content=st.binary(max_size=200))
def test_any_bytes_that_are_no_snapshot_are_refused(content: bytes) -> None:
    with pytest.raises(NotUsable):
        _parsed(content)


def test_places_have_files_of_their_own(tmp_path: Path) -> None:
    folder = Folder(tmp_path, {})
    assert len({folder._path(Place(axis, number)) for axis in (Axis.PROJECT, Axis.CONTROL) for number in (0, 1)}) == 4


def test_topics_of_a_snapshot_are_the_tables_changelogs(client: dict[str, Any], tmp_path: Path) -> None:
    folder = Folder(tmp_path, client)
    written(client, folder)
    copy = folder.load(PLACE)
    assert copy is not None
    assert copy.offsets.keys() == {table_topic(table) for table in TABLES}
