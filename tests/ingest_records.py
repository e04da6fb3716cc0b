"""Raw records for tests of ingest and replay: canonical events, and a codec that refers to records by their ids."""

from __future__ import annotations

from typing import Any

import orjson

from tieout.codecs.errors import WrongShape
from tieout.codecs.records import Decoded, RawRecord
from tieout.reconcilers.changes import Change, Op
from tieout.reconcilers.entities import ENTITIES

T0_MS = 1_772_442_000_000  # 2026-03-02T09:00:00Z


def record(topic: str, offset: int, value: bytes | None, *, partition: int = 0, at_ms: int = T0_MS) -> RawRecord:
    return RawRecord(topic, partition, offset, at_ms, None, value)


def instant(at_ms: int) -> str:
    from tieout.codecs.values import instant_text

    return instant_text(at_ms * 1_000)


def event(
    kind: str, source: str, subject: str, data: dict[str, Any], *, at_ms: int = T0_MS, sequence: str | None = None
) -> bytes:
    """A canonical event: kind 'time_entry.upserted'."""
    return orjson.dumps({
        "specversion": "1.0", "id": f"{kind}:{source}:{subject}:{sequence or at_ms}", "source": source,
        "type": f"tieout.{kind}", "subject": subject, "time": instant(at_ms),
        **({"sequence": sequence} if sequence else {}), "data": data,
    })


def observed(source: str, through_ms: int) -> bytes:
    """The event that states a watermark."""
    return event("source.observed", source, "", {"through": instant(through_ms)}, at_ms=through_ms)


def entry(number: int, **data: Any) -> bytes:
    """A change of time entry TIME:<number>."""
    return event("time_entry.upserted", "TIME/kimai", str(number),
                 {"origin_system": "TIME", "origin_id": str(number), **data}, sequence=data.pop("sequence", None))


class ByIdCodec:
    """Reads {"entity", "id", "op"?, "seq", …attributes}: attributes may be references, the key may be incomplete."""

    def __init__(self, source: str) -> None:
        self.source = source

    def decode(self, raw: RawRecord) -> Decoded:
        if raw.value is None:
            return Decoded(filtered="tombstone")
        row = orjson.loads(raw.value)
        if "bad" in row:
            raise WrongShape("a bad record")
        if "through" in row:
            return Decoded(watermark_us=row["through"], heartbeat=True)
        entity, subject, op, seq = (row.pop(name, "") for name in ("entity", "id", "op", "seq"))
        whole = not any(isinstance(row.get(name), dict) for name in ENTITIES[entity].key)
        key = ENTITIES[entity].business_key(row, subject) if whole else None
        return Decoded((Change(entity, key or "", Op(op or "UPSERT"), self.source, subject, raw.ts_ms * 1_000, seq, row,
                               f"{entity}:{subject}:{seq}", (raw.topic, raw.partition, raw.offset)),))
