"""Where a change goes: the same pure function in ingest, replay and the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from zlib import crc32

from tieout.reconcilers.changes import Change, Op

COVERED: Final = "covered_invoice"  # no source sends it: it follows from coverage
STANDING: Final = "standing"  # nor this: the worker axis's word on a time entry, brought back by ingest


def standing(row: Mapping[str, Any]) -> Change:
    """A row of `standing.state` as the change that the entry's home partition takes."""
    said = {name: row[name] for name in ("held", "pending", "released_at")}
    return Change(STANDING, row["entry_key"], Op.UPSERT, "WORKER/axis", row["entry_key"], row["as_of"],
                  f"{row['version']:020}", said)


def covered_invoice(change: Change) -> Change:
    """What a coverage says about its invoice, wherever the invoice is looked at: it is known what it covers."""
    le_code, invoice_no, _ = change.key.split(":", 2)
    said = {"le_code": le_code, "invoice_no": invoice_no}
    return change._replace(entity=COVERED, key=f"{le_code}:{invoice_no}", op=Op.UPSERT, asserted=said,
                           event_id=f"{change.event_id}#covered")


def partition_of(key: str, partitions: int) -> int:
    """The partition of a business key: CRC-32 of its UTF-8 text, modulo the number of partitions."""
    return crc32(key.encode()) % partitions
