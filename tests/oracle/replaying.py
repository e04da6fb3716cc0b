"""Run `tieout replay` in this process: what the command does, without starting Python again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tieout.codecs.records import RawRecord


def replay(
    capture: Path,
    database: Path,
    *,
    until: str | None = None,
    assume_fresh: bool = False,
    stale: tuple[str, ...] = (),
    order: Iterable[int] | None = None,
    **options: Any,
) -> None:
    """Replay a capture of canonical lines, in `order` (positions of lines, perhaps repeated) if that is given."""
    from tieout.streams import replay as product

    lines = records(capture)
    if order is not None:
        lines = [lines[position] for position in order]
    chosen = product.Options(
        until_us=instant_us(until) if until else None, assume_fresh=assume_fresh, stale=stale, **options
    )
    product.replay(lines, database, chosen)


def records(capture: Path) -> list[RawRecord]:
    """The lines of a capture as the Kafka records that they were."""
    from tieout.codecs.records import RawRecord

    rows = [json.loads(line) for line in capture.read_text(encoding="utf-8").splitlines()]
    return [
        RawRecord(
            row["topic"], row["partition"], row["offset"], row["ts"], str(row["key"]).encode(), row["payload"].encode()
        )
        for row in rows
    ]


def instant_us(text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 instant."""
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
