"""What goes into a codec and what comes out: raw records, decoded records, user decisions."""

from __future__ import annotations

from typing import NamedTuple

from tieout.reconcilers.changes import Change

Headers = tuple[tuple[str, bytes | None], ...]


class RawRecord(NamedTuple):
    """A Kafka record as it was read. `ts_ms` is the record's timestamp, -1 when it has none."""

    topic: str
    partition: int
    offset: int
    ts_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    def header(self, name: str) -> bytes | None:
        """The value of the last header of that name; None when there is none."""
        found = None
        for header, value in self.headers or ():
            if header == name:
                found = value
        return found


class Decision(NamedTuple):
    """What a user decided about a finding, as event `tieout.finding.<action>`."""

    action: str  # acked, assigned, waived or resolved
    code: str  # check, e.g. "28"
    facet: str | None
    entry_keys: tuple[str, ...]  # the time entries concerned; else
    business_key: str | None  # the business key of the finding
    actor: str
    reason: str
    ceiling_minor: int | None  # a waiver ends when the impact grows above it
    expires_us: int | None  # or at this instant
    at_us: int
    event_id: str
    source: str
    origin: tuple[str, int, int]  # topic, partition, offset


class Decoded(NamedTuple):
    """What one raw record says.

    `watermark_us` is the commit instant up to which the record proves its topic partition complete, safety margin
    taken off; readers keep the maximum. A `heartbeat` says nothing else. `filtered` is why a sound record has no
    changes. A change whose `key` is empty has no business key in the record: find it by (entity, source, subject); if
    its subject is empty too (GAP), the whole object is meant.
    """

    changes: tuple[Change, ...] = ()
    watermark_us: int | None = None
    heartbeat: bool = False
    filtered: str | None = None
    ignored_attributes: int = 0
    decisions: tuple[Decision, ...] = ()
