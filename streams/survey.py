"""What a capture holds before it is replayed: its sources, and the raw partitions that say how far these are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tieout.codecs.errors import SchemasUnreachable
from tieout.codecs.records import Decoded, RawRecord
from tieout.streams.pipeline import Reading, claimed_source, raw_partition, shared_part

_NOTHING = Decoded()


@dataclass
class Survey:
    """Sources by raw partition, and which of them state a watermark there; `stating` has one item for each record."""

    stating: list[bool] = field(default_factory=list)
    _sources: dict[str, dict[str, bool]] = field(default_factory=lambda: defaultdict(dict))  # part -> source -> stated
    _told_apart: set[str] = field(default_factory=set)  # parts whose events name their own source

    def sources(self) -> dict[str, list[str]]:
        """The raw partitions of each source: those that state a watermark where at least one does, else all."""
        every: dict[str, list[str]] = defaultdict(list)
        stated: dict[str, list[str]] = defaultdict(list)
        for part, found in self._sources.items():
            for source, states in found.items():
                name = shared_part(part, source) if part in self._told_apart and len(found) > 1 else part
                every[source].append(name)
                if states:
                    stated[source].append(name)
        return {source: sorted(stated[source] or parts) for source, parts in sorted(every.items())}

    def add(self, record: RawRecord, reading: Reading) -> None:
        """Look at one record."""
        decoded = _decoded(record, reading)
        part = raw_partition(record.topic, record.partition)
        self.stating.append(decoded.watermark_us is not None)
        if reading.heartbeat:
            return
        if reading.source is None:
            self._told_apart.add(part)
        found = self._sources[part]
        for change in decoded.changes:
            found.setdefault(change.source, False)
        if decoded.watermark_us is not None:
            found[reading.source or claimed_source(record)] = True


def survey(records: Iterable[RawRecord], readings: Mapping[str, Reading], otherwise: Reading | None) -> Survey:
    """Look at every record of a capture; those that belong to no reading are passed over."""
    found = Survey()
    for record in records:
        reading = readings.get(record.topic, otherwise)
        if reading is None:
            found.stating.append(False)
        else:
            found.add(record, reading)
    return found


def _decoded(record: RawRecord, reading: Reading) -> Decoded:
    """What the record says; nothing when it cannot be read, which the replay itself will tell."""
    try:
        return reading.codec.decode(record)
    except SchemasUnreachable:
        raise
    except Exception:  # whatever it is, the pipeline will put the record aside
        return _NOTHING
