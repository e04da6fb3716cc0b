"""Local snapshots: a place's changelogs up to some offsets, as one file; a planned restart reads what followed.

A snapshot is a cache of the log and is made of the log alone, never of memory: each row that the changelogs hold before
`offsets`, as read. A file, from its first byte:

    {"format":1,"build":…,"cluster":…,"topics":{topic:[id, offset]},"stamp":[7,3],…}\n     what it is a copy of
    table, newest, key length, value length; key; value    …                              rows
    CRC-32 of all that lies before                                                        4 bytes

Whatever does not fit (another format, build, cluster or topic, a checksum, an age at which deletions may have been
compacted away) leaves it aside with a log line; then the changelogs are read from their beginning.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import orjson
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient

from tieout.streams.clock import now_us
from tieout.streams.tables import Place, Restored, Stamp
from tieout.streams.topics import table_topic

log = logging.getLogger(__name__)

FORMAT: Final = 1
STALE_S: Final = 12 * 3_600  # Kafka keeps the marks of deletions for 24 h: an older copy would bring rows back
_ROW: Final = struct.Struct("<BBII")  # table, newest, length of key, length of value
_CHECKSUM: Final = struct.Struct("<I")
_OLDER: Final = Stamp(0, 0)  # of rows that counted when the copy was made
_FLUSH: Final = 4_000  # rows
_BROKER_S: Final = 15.0


class NotUsable(Exception):
    """A snapshot that must not be used; the message says why."""


def build() -> str:
    """The version whose rows these are."""
    try:
        return version("tieout")
    except PackageNotFoundError:  # a checkout that is not installed
        return "unknown"


@dataclass(frozen=True, slots=True)
class LocalCopy:
    """A snapshot that was read and found whole."""

    head: Mapping[str, Any]
    body: memoryview

    @property
    def stamp(self) -> Stamp:
        """Its last checkpoint."""
        return Stamp(*self.head["stamp"])

    @property
    def offsets(self) -> Mapping[str, int]:
        """By changelog topic, the first record that is not in it."""
        return {topic: offset for topic, (_, offset) in self.head["topics"].items()}

    def rows(self) -> Iterator[tuple[str, bytes, bytes, Stamp]]:
        """(table, key, value, stamp) of its rows."""
        names, stamp, body, at = self.head["tables"], self.stamp, self.body, 0
        unpack, size, end = _ROW.unpack_from, _ROW.size, len(self.body)
        while at < end:
            table, newest, key_length, value_length = unpack(body, at)
            at += size
            middle = at + key_length
            at, key = middle + value_length, bytes(body[at:middle])
            yield names[table], key, bytes(body[middle:at]), stamp if newest else _OLDER


class Folder:
    """The snapshots of one cluster in a folder. All calls block; one thread a place at a time."""

    def __init__(self, folder: Path, client: Mapping[str, Any]) -> None:
        self._folder, self._client = folder, dict(client)

    def load(self, place: Place) -> LocalCopy | None:
        """The snapshot of a place, or None where there is none that can be trusted."""
        path = self._path(place)
        try:
            copy = _parsed(path.read_bytes())
            self._check(copy.head, place)
        except FileNotFoundError:
            return None
        except (NotUsable, OSError) as error:
            log.warning("the local snapshot %s is left aside: %s", path, error)
            return None
        return copy

    def save(self, place: Place, restored: Restored, tables: Sequence[str]) -> None:
        """Write what was read as the place's snapshot: whole or not at all."""
        if restored.checkpoint is None:
            return
        head = {
            "format": FORMAT, "build": build(), "cluster": self._cluster, "place": str(place), "taken_us": now_us(),
            "stamp": list(restored.checkpoint.stamp), "tables": list(tables),
            "topics": {
                topic: [self._topic_ids(place, tables)[topic], restored.offsets[topic]]
                for topic in (table_topic(table, place.axis) for table in tables)
            },
        }  # fmt: skip
        path = self._path(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            _write(partial, head, restored, {table: number for number, table in enumerate(tables)})
            partial.replace(path)
        finally:
            with suppress(FileNotFoundError):
                partial.unlink()

    def _path(self, place: Place) -> Path:
        return self._folder / f"{place.axis.value}-{place.partition}.tables"

    def _check(self, head: Mapping[str, Any], place: Place) -> None:
        expected = {"format": FORMAT, "build": build(), "place": str(place), "cluster": self._cluster}
        for name, wanted in expected.items():
            if head.get(name) != wanted:
                raise NotUsable(f"its {name} is {head.get(name)!r}, expected {wanted!r}")
        age_s = (now_us() - head["taken_us"]) / 1e6
        if not 0 <= age_s <= STALE_S:
            raise NotUsable(f"it is {age_s:.0f} s old, expected 0 to {STALE_S}: deletions may have been compacted away")
        ids = self._topic_ids(place, head["tables"])
        for topic, (topic_id, _) in head["topics"].items():
            if ids.get(topic) != topic_id:
                raise NotUsable(f"{topic} is another topic now: its id is {ids.get(topic)}, expected {topic_id}")

    @cached_property
    def _admin(self) -> AdminClient:
        return AdminClient(self._client)

    @cached_property
    def _cluster(self) -> str:
        return str(self._admin.describe_cluster(request_timeout=_BROKER_S).result(_BROKER_S).cluster_id)

    def _topic_ids(self, place: Place, tables: Sequence[str]) -> dict[str, str]:
        wanted = TopicCollection([table_topic(table, place.axis) for table in tables])
        asked = self._admin.describe_topics(wanted, request_timeout=_BROKER_S)
        return {topic: str(answer.result(_BROKER_S).topic_id) for topic, answer in asked.items()}


def _parsed(content: bytes) -> LocalCopy:
    """Take a file apart; NotUsable when it is not whole."""
    view = memoryview(content)
    middle = len(content) - _CHECKSUM.size
    if middle < 0 or crc32(view[:middle]) != _CHECKSUM.unpack_from(content, middle)[0]:
        raise NotUsable("its checksum is wrong: it was cut off or changed")
    begin = content.index(b"\n") + 1
    head = orjson.loads(view[:begin])
    return LocalCopy(head, view[begin:middle])


def _write(path: Path, head: Mapping[str, Any], restored: Restored, numbers: Mapping[str, int]) -> None:
    with path.open("wb") as file:
        pieces, checksum = [orjson.dumps(head), b"\n"], 0
        for count, (table, key, value, newest) in enumerate(restored.rows.raw()):
            pieces += (_ROW.pack(numbers[table], newest, len(key), len(value)), key, value)
            if count % _FLUSH == 0:
                checksum = _put(file, pieces, checksum)
        checksum = _put(file, pieces, checksum)
        file.write(_CHECKSUM.pack(checksum))
        file.flush()
        os.fsync(file.fileno())


def _put(file: Any, pieces: list[bytes], checksum: int) -> int:
    """Write the pieces and forget them; the checksum with them in it."""
    joined = b"".join(pieces)
    pieces.clear()
    file.write(joined)
    return crc32(joined, checksum)
