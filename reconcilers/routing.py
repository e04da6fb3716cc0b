"""Where a change goes: the same pure function in ingest, replay and the engine."""

from __future__ import annotations

from zlib import crc32


def partition_of(key: str, partitions: int) -> int:
    """The partition of a business key: CRC-32 of its UTF-8 text, modulo the number of partitions."""
    return crc32(key.encode()) % partitions
