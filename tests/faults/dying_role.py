"""A role in which something goes wrong, by patching its functions: `python dying_role.py ROLE --config FILE`.

TIEOUT_TEST_FAULT is one of
    die:<point>:<n>        SIGKILL itself when it comes to a named point for the n-th time
    slow:<seconds>         every DuckDB transaction takes so much longer
    clock:<file>           the file's number of seconds is added to the wall clock whenever it is read
The product has no hooks: what is not patched is the role as it is.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple


class Point(NamedTuple):
    """A call that a role dies before or after; `most`: it comes there this often within seconds."""

    role: str
    module: str
    call: str
    after: bool
    most: int = 3


POINTS: Final = {
    "ingest: after the frames are made": Point("ingest", "tieout.streams.pipeline", "Pipeline.take", True),
    "ingest: id map delivered, frames not": Point("ingest", "tieout.streams.outbox", "Outbox._flush", True, 9),
    "ingest: before the acknowledgement": Point("ingest", "tieout.streams.ingest", "IngestRole._commit", False),
    "ingest: during recovery": Point("ingest", "tieout.streams.ingest", "IngestRole._restored_pipeline", True, 1),
    "worker: after apply": Point("worker", "tieout.streams.shards", "Shard.apply", True, 8),
    "worker: inside the checkpoint": Point("worker", "tieout.streams.checkpoint", "Writer._put_outcomes", False),
    "worker: before the commit": Point("worker", "tieout.streams.checkpoint", "Writer._put_snapshot", True),
    "worker: after the transaction": Point("worker", "tieout.streams.checkpoint", "Writer.write", True),
    "worker: before the acknowledgement": Point("worker", "tieout.streams.shards", "ack", False),
    "worker: during recovery, place fenced": Point("worker", "tieout.streams.checkpoint", "Writer.claim", True, 2),
    "worker: during recovery, rows read": Point("worker", "tieout.streams.shards", "Shard.restored", True, 2),
    "sink: inside the transaction": Point("sink", "tieout.streams.sinks.store", "Store._upsert", True, 4),
    "sink: after the transaction": Point("sink", "tieout.streams.sinks.store", "Store.write_batch", True),
    "sink: before the acknowledgement": Point("sink", "tieout.streams.sinks.source", "OutputReader.hint", False),
    "sink: while it publishes": Point("sink", "tieout.streams.sinks.store", "Store.copy_to", True, 2),
    "sink: during recovery": Point("sink", "tieout.streams.sinks.store", "Store._prepare", True, 1),
}


def die_at(name: str, number: int) -> None:
    """Patch the call of a named point."""
    point, left = POINTS[name], [number]

    def died() -> None:
        left[0] -= 1
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if point.call == "ack":
        _die_before_ack(died)
        return
    owner, call = _found(point.module, point.call)
    raw = vars(owner)[call]
    inner = raw.__func__ if isinstance(raw, classmethod) else raw

    def patched(*arguments: Any, **options: Any) -> Any:
        if not point.after:
            died()
        result = inner(*arguments, **options)
        if point.after:
            died()
        return result

    setattr(owner, call, classmethod(patched) if isinstance(raw, classmethod) else patched)


def _die_before_ack(died: Callable[[], None]) -> None:
    """The checkpoint is written; the first frame that would be acknowledged to Faust is the end."""
    from tieout.streams.shards import Shard, Snapshot

    class Last:
        def ack(self) -> None:
            died()

    inner = Shard.snapshot

    def snapshot(self: Shard) -> Snapshot:
        return dataclasses.replace(inner(self), events=[Last()])

    Shard.snapshot = snapshot  # type: ignore[method-assign]


def slow(seconds: float) -> None:
    """A disk that takes its time."""
    from tieout.streams.sinks.store import Store

    inner = Store.write_batch

    def write_batch(*arguments: Any, **options: Any) -> None:
        time.sleep(seconds)
        inner(*arguments, **options)

    Store.write_batch = write_batch  # type: ignore[method-assign]


def shift_clock(file: Path) -> None:
    """A wall clock that somebody sets while the process runs."""
    from tieout.streams import clock

    inner = clock.now_us

    def now_us() -> int:
        return inner() + int(file.read_text() or "0") * 1_000_000

    clock.now_us = now_us


def _found(module: str, path: str) -> tuple[Any, str]:
    owner: Any = import_module(module)
    *names, last = path.split(".")
    for name in names:
        owner = getattr(owner, name)
    return owner, last


def main() -> int:
    kind, _, rest = os.environ["TIEOUT_TEST_FAULT"].partition(":")
    if kind == "die":
        name, _, number = rest.rpartition(":")
        die_at(name, int(number))
    elif kind == "slow":
        slow(float(rest))
    else:
        shift_clock(Path(rest))
    from tieout.streams import app

    return app.main()


if __name__ == "__main__":
    sys.exit(main())
