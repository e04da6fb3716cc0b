"""The two things that travel: a canonical `Change` and the `Frame` that carries a batch of them.

Attribute values are plain JSON values: dates are days since 1970-01-01, instants are microseconds UTC, a rate is
`[rate_e6, ccy, unit, day_s]`, money is `[minor, ccy]`. Attributes are tri-state: absent from `asserted` means the
source does not say, `None` means it says there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from tieout.reconcilers.tallies import Tally

Attributes = Mapping[str, Any]

Head = tuple[str, str, str, str, int]  # entity, op, source; topic and partition of the raw record

NEVER: Final = -(2**62)  # a watermark that has not been stated yet
_NOTHING: Final[Attributes] = {}


class UnknownVersion(ValueError):
    """Bytes of a format that this build does not know: a newer one wrote them. Trying again does not help."""


class Op(StrEnum):
    """What happened to the record at its source."""

    UPSERT = "UPSERT"  # created or updated; `asserted` may be partial
    DELETE = "DELETE"  # gone at the source; its last version stays readable as of earlier instants
    REKEY = "REKEY"  # the business key changed: asserted {"old", "new"}
    SNAPSHOT = "SNAPSHOT"  # re-read, not changed: same meaning as UPSERT, older than what we may already know
    GAP = "GAP"  # the source lost events: the record (or, with an empty key, the object) is unknown
    TRUNCATE = "TRUNCATE"  # the object (empty key) was emptied at the source: every older version in it is gone


class Change(NamedTuple):
    """One canonical change of one record in one source system."""

    entity: str  # a name in entities.ENTITIES
    key: str  # business key of the record, see entities.Entity.key
    op: Op
    source: str  # "SYSTEM/instance", e.g. "TIME/kimai-emea"
    subject: str  # the record's id in its source
    commit_us: int  # commit instant at the source, microseconds UTC
    seq: str  # order token, compared as text within (source, entity, subject)
    asserted: Attributes = _NOTHING
    event_id: str = ""
    origin: tuple[str, int, int] = ("", 0, 0)  # topic, partition, offset of the raw record

    @property
    def system(self) -> str:
        """ERP, PSA, HCM, CRM, SCHED or TIME."""
        return self.source.partition("/")[0]

    def to_record(self) -> dict[str, Any]:
        """A JSON object with short names; `from_record` is its inverse."""
        return {
            "e": self.entity, "k": self.key, "o": self.op.value, "s": self.source, "i": self.subject,
            "t": self.commit_us, "q": self.seq, "a": dict(self.asserted), "x": self.event_id, "r": list(self.origin),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Change:
        """The change that `to_record` wrote."""
        topic, partition, offset = record["r"]
        return cls(record["e"], record["k"], Op(record["o"]), record["s"], record["i"], record["t"], record["q"],
                   record["a"], record["x"], (topic, partition, offset))


@dataclass(frozen=True, slots=True)
class Frame:
    """A batch on one partition of an axis: changes, and what is known about time when they were sent.

    `number` counts the frames of one producer on this partition from 0 without gaps; a frame without changes is a
    tick. `watermarks` maps a raw partition ("topic/3") to the commit instant up to which it has been delivered in
    full. `sources` maps a source to the raw partitions that make it up: its watermark is the minimum over them.
    `tallies` (control axis only) tell what ingest read. The changes of the control axis are those of whole objects,
    gaps of records, dead letters (`platform.DEAD_LETTER`) and unknown symbols (`symbols.SYMBOL`).
    """

    producer: str
    number: int
    now_us: int  # processing instant, never before that of an earlier frame of this producer
    changes: tuple[Change, ...] = ()
    watermarks: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, list[str]] = field(default_factory=dict)
    tallies: tuple[Tally, ...] = ()
    fresh: tuple[str, ...] = ()  # sources assumed to have kept up with the clock (replay with --assume-fresh)
    oldest: Mapping[str, int] | None = field(default=None, compare=False)  # `oldest_by_source`, where it is stated

    def oldest_by_source(self) -> Mapping[str, int]:
        """The earliest commit instant of each source among the changes: whoever makes frames states it for readers."""
        if self.oldest is not None:
            return self.oldest
        found: dict[str, int] = {}
        for change in self.changes:
            found[change.source] = min(change.commit_us, found.get(change.source, change.commit_us))
        return found

    def to_record(self) -> dict[str, Any]:
        """A JSON object; `from_record` is its inverse. What many changes share is stated once, under "h"."""
        heads: dict[Head, int] = {}
        rows = [_row(change, heads) for change in self.changes]
        return {
            "v": 2, "p": self.producer, "n": self.number, "now": self.now_us, "w": dict(self.watermarks),
            "s": dict(self.sources), "c": [tally.to_record() for tally in self.tallies], "f": list(self.fresh),
            "h": list(heads), "ch": rows, "l": self.oldest_by_source(),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Frame:
        """The frame that `to_record` wrote, in this version or the one before."""
        version = record.get("v")
        if version not in _VERSIONS:
            raise UnknownVersion(f"frame of version {version!r}, this build reads 1 and 2: upgrade the workers first, "
                                 "then ingest")
        tallies = map(Tally.from_record, record["c"] if version > 1 else ())  # version 1 had sums instead
        return cls(record["p"], record["n"], record["now"], _VERSIONS[version](record), record["w"], record["s"],
                   tuple(tallies), tuple(record.get("f", ())), record.get("l"))


def _row(change: Change, heads: dict[Head, int]) -> list[Any]:
    """A change as the columns that differ, and the place of its head in `heads`."""
    entity, key, op, source, subject, commit_us, seq, asserted, event_id, (topic, partition, offset) = change
    head = heads.setdefault((entity, op.value, source, topic, partition), len(heads))
    return [head, key, subject, commit_us, seq, dict(asserted), event_id, offset]


def _changes(record: Mapping[str, Any]) -> tuple[Change, ...]:
    """The changes of a frame of version 2. A backlog is read at the speed of this loop."""
    heads = [(entity, Op(op), *rest) for entity, op, *rest in record["h"]]
    made = tuple.__new__  # what `_make` calls after a look at the length
    changes = []
    for head, key, subject, commit_us, seq, asserted, event_id, offset in record["ch"]:
        entity, op, source, topic, partition = heads[head]
        origin = (topic, partition, offset)
        changes.append(made(Change, (entity, key, op, source, subject, commit_us, seq, asserted, event_id, origin)))
    return tuple(changes)


def _changes_of_version_1(record: Mapping[str, Any]) -> tuple[Change, ...]:
    return tuple(map(Change.from_record, record["ch"]))


_VERSIONS: Final = {1: _changes_of_version_1, 2: _changes}
