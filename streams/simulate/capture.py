"""The play as a capture: JSON lines as `kcat -J` writes them, for `tieout replay`."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import orjson

from tieout.streams.simulate.delivery import Record


def write_capture(path: Path, records: Iterable[Record]) -> int:
    """Write the records in order; gzip when the name ends in .gz. Returns how many."""
    offsets: dict[tuple[str, int], int] = {}
    with _opened(path) as file:
        for record in records:
            where = (record.topic, record.partition)
            offset = offsets[where] = offsets.get(where, -1) + 1
            file.write(orjson.dumps({
                "topic": record.topic, "partition": record.partition, "offset": offset, "tstype": "create",
                "ts": record.at // 1_000, "key": record.key, "payload": record.value.decode(),
            }, option=orjson.OPT_APPEND_NEWLINE))
    return sum(offsets.values()) + len(offsets)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as raw:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
                yield packed  # type: ignore[misc]
        else:
            yield raw
    part.replace(path)
