"""Captures: files of raw records, one JSON object a line, as `kcat -J` writes them; plain or gzip.

`topic, partition, offset, ts, key, payload, headers`. Key and payload are text, null, or an object, which stands for
its JSON; `key_b64` and `payload_b64` carry bytes. Headers are a flat list of names and values, `headers_b64` the same
with values in base64. What a line leaves out: partition 0, the next offset of its partition, no timestamp (-1).
"""

from __future__ import annotations

import gzip
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Any, Final, cast

import orjson

from tieout.codecs.errors import BadCapture, DecodeError, shown
from tieout.codecs.json_text import load_object
from tieout.codecs.records import Headers, RawRecord

_GZIP_MAGIC: Final = b"\x1f\x8b"
_NO_TIMESTAMP: Final = -1

Offsets = dict[tuple[str, int], int]


def read(path: Path) -> Iterator[RawRecord]:
    """The records of a file in the order of its lines; BadCapture names file and line of what cannot be read."""
    with path.open("rb") as file:
        compressed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        file.seek(0)
        yield from read_lines(gzip.GzipFile(fileobj=file) if compressed else file, path.name)


def read_lines(lines: Iterable[bytes], name: str = "capture") -> Iterator[RawRecord]:
    """The records of lines; empty lines are skipped."""
    offsets: Offsets = {}
    number = 0
    try:
        for line in lines:
            number += 1
            if line.strip():
                yield _record(load_object(line), offsets)
    except DecodeError as error:
        raise BadCapture(f"{name}, line {number}: {error}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadCapture(f"{name}, after line {number}: {error}", "the file is cut: write it again") from None


def write(path: Path, records: Iterable[RawRecord]) -> int:
    """Write records, compressed where the name ends in .gz; returns how many."""
    count = 0
    with path.open("wb") as file, _packed(file, path) as target:
        for record in records:
            target.write(to_line(record))
            count += 1
    return count


def _packed(file: IO[bytes], path: Path) -> AbstractContextManager[IO[bytes]]:
    """The file itself, or one that compresses into it; the same records give the same bytes."""
    if path.suffix != ".gz":
        return nullcontext(file)
    return cast("AbstractContextManager[IO[bytes]]", gzip.GzipFile(fileobj=file, mode="wb", mtime=0))


def to_line(record: RawRecord) -> bytes:
    """A record as a line; bytes that are not UTF-8 become base64."""
    line: dict[str, Any] = {"topic": record.topic, "partition": record.partition, "offset": record.offset,
                            "ts": record.ts_ms}
    for name, value in (("key", record.key), ("payload", record.value)):
        _put(line, name, value)
    if record.headers:
        _put_headers(line, record.headers)
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _put(line: dict[str, Any], name: str, value: bytes | None) -> None:
    """Set a member to text, or its `_b64` twin where the bytes are no text."""
    try:
        line[name] = None if value is None else value.decode()
    except UnicodeDecodeError:
        line[f"{name}_b64"] = b64encode(value or b"").decode()


def _put_headers(line: dict[str, Any], headers: Headers) -> None:
    """Set the headers, all in base64 as soon as one is no text."""
    try:
        values = [None if value is None else value.decode() for _, value in headers]
        member = "headers"
    except UnicodeDecodeError:
        values = [None if value is None else b64encode(value).decode() for _, value in headers]
        member = "headers_b64"
    line[member] = [part for (name, _), value in zip(headers, values, strict=True) for part in (name, value)]


def _record(line: dict[str, Any], offsets: Offsets) -> RawRecord:
    """The record of a line."""
    topic = line.get("topic")
    if type(topic) is not str or not topic:
        raise BadCapture(f"topic: found {shown(topic)}, expected text")
    partition = _integer(line, "partition", 0)
    offset = _integer(line, "offset", offsets.get((topic, partition), 0))
    offsets[topic, partition] = offset + 1
    return RawRecord(topic, partition, offset, _integer(line, "ts", _NO_TIMESTAMP), _content(line, "key"),
                     _content(line, "payload"), _headers(line))


def _integer(line: dict[str, Any], name: str, default: int) -> int:
    """An integer member, or its default."""
    value = line.get(name)
    if value is None:
        return default
    if type(value) is int:
        return value
    raise BadCapture(f"{name}: found {shown(value)}, expected an integer")


def _content(line: dict[str, Any], name: str) -> bytes | None:
    """The bytes of key or payload."""
    encoded = line.get(f"{name}_b64")
    if encoded is not None:
        return _base64(encoded, f"{name}_b64")
    value = line.get(name)
    if value is None:
        return None
    return value.encode() if type(value) is str else orjson.dumps(value)


def _base64(value: Any, name: str) -> bytes:
    """Decoded base64."""
    try:
        return b64decode(value, validate=True)
    except (ValueError, TypeError):
        raise BadCapture(f"{name}: found {shown(value)}, expected base64") from None


def _headers(line: dict[str, Any]) -> Headers:
    """Pairs of name and value from a flat list."""
    encoded = line.get("headers_b64")
    name = "headers" if encoded is None else "headers_b64"
    flat = line.get("headers") if encoded is None else encoded
    if flat is None:
        return ()
    if type(flat) is not list or len(flat) % 2 or not all(type(part) is str for part in flat[::2]):
        raise BadCapture(f"{name}: found {shown(flat)}, expected a list of names and values in turn")
    read = _header_text if encoded is None else _header_base64
    return tuple((header, read(value)) for header, value in zip(flat[::2], flat[1::2], strict=True))


def _header_text(value: Any) -> bytes | None:
    """A header's value as text; other JSON stands for itself."""
    if value is None:
        return None
    return value.encode() if type(value) is str else orjson.dumps(value)


def _header_base64(value: Any) -> bytes | None:
    """A header's value in base64."""
    return None if value is None else _base64(value, "headers_b64")
