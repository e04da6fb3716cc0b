"""What is known of a record that cannot be read: which record it is about, where key or envelope still tell.

A codec's `lost` gives a GAP for each such record, its order token empty. It never raises for what a source sent, and
says nothing where it would have to guess: a letter that nobody can place makes nothing unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from tieout.codecs.columns import Instant, Row
from tieout.codecs.entity_map import EntityMap
from tieout.codecs.errors import DecodeError
from tieout.codecs.records import RawRecord
from tieout.reconcilers.changes import Change, Op


def readable(read: Callable[[], Any], otherwise: Any) -> Any:
    """What a part of the record says, or the stand-in where that part cannot be read."""
    try:
        return read()
    except DecodeError:
        return otherwise


def arrived_us(raw: RawRecord) -> int:
    """The record's Kafka timestamp, microseconds: stands in for a commit instant that cannot be read."""
    return max(0, raw.ts_ms) * 1_000


def named(maps: Iterable[EntityMap], rows: Iterable[tuple[Row, Row]], source: str, commit_us: int, raw: RawRecord
          ) -> Iterator[Change]:
    """Gaps of the records that maps make of (row, key): as far as known, `key` being what names the record."""
    maps = tuple(maps)
    for row, key in rows:
        ours = {"@commit": Instant(commit_us), "@system": source.partition("/")[0], **row}
        for each in maps:
            if not each.claims:
                yield from readable(partial(_gaps, each, ours, key, source, commit_us, raw), ())


def _gaps(each: EntityMap, row: Row, key: Row, source: str, commit_us: int, raw: RawRecord) -> list[Change]:
    return [_gap(each, part.row, key, source, commit_us, raw) for part in each.parts_known(row)]


def _gap(each: EntityMap, row: Row, key: Row, source: str, commit_us: int, raw: RawRecord) -> Change:
    subject = each.subject_of(row, key)
    asserted = each.identity(row)
    return Change(each.entity.name, each.key_of(asserted, subject), Op.GAP, source, subject, commit_us, "", asserted,
                  "", (raw.topic, raw.partition, raw.offset))
