"""From the configured sources to how each raw topic is read, and to the raw partitions that make up a source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tieout.codecs.formats import NeedsSchemas, codec
from tieout.streams.pipeline import Reading, raw_partition
from tieout.streams.registry import open_schemas

if TYPE_CHECKING:
    from tieout.codecs.schema_source import SchemaSource
    from tieout.streams.settings import Settings, Source

CANONICAL = "canonical"


def source_name(source: Source) -> str:
    """'SYSTEM/instance'."""
    return f"{source.system}/{source.instance}"


def readings(settings: Settings) -> dict[str, Reading]:
    """How to read each configured topic; raises ConfigurationError of the codecs when one cannot be built."""
    found: dict[str, Reading] = {}
    schemas = open_schemas(settings)
    by_id = any(source.format != CANONICAL for source in settings.sources.values())  # somebody refers to ids
    for source in settings.sources.values():
        reading = _reading(source, settings.folder, schemas, by_id=by_id)
        if (other := found.get(source.topic)) is not None and other.source != reading.source:
            reading = Reading(reading.codec, None, None, reading.by_id)  # two sources: the events say which
        found[source.topic] = reading
    for source in settings.sources.values():
        if source.heartbeat and source.heartbeat not in found:
            found[source.heartbeat] = Reading(found[source.topic].codec, source_name(source), heartbeat=True)
    return found


def asking(readings: Mapping[str, Reading]) -> dict[str, NeedsSchemas]:
    """The codecs that ask others for schemas, by topic."""
    return {topic: each.codec for topic, each in readings.items() if isinstance(each.codec, NeedsSchemas)}


def _reading(source: Source, folder: Path, schemas: SchemaSource | None, *, by_id: bool) -> Reading:
    options = {"source": source_name(source), "mapping": source.mapping, "entity": source.entity, "folders": [folder],
               "schemas": schemas, "tombstones": source.tombstones, "epoch": source.epoch, "margin_s": source.margin_s}
    return Reading(codec(source.format, options), source_name(source), source.entity, by_id)


def raw_partitions(settings: Settings, counts: Mapping[str, int]) -> dict[str, list[str]]:
    """The raw partitions of each source; `counts` maps a topic to its number of partitions."""
    found: dict[str, list[str]] = {}
    for source in settings.sources.values():
        parts = found.setdefault(source_name(source), [])
        names = (raw_partition(source.topic, number) for number in range(counts.get(source.topic, 0)))
        parts += [name for name in names if name not in parts]
    return found
