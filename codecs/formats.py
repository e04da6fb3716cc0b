"""The formats that a source may have, by name: `codec("debezium-json", {"source": "TIME/kimai", "mapping": "kimai"})`.

========================  ==============================================================================
option                    meaning (formats other than `canonical`; None is as good as absent)
========================  ==============================================================================
source                    SYSTEM/instance that the changes come from
mapping                   name of a mapping file, or its path
entity                    only this entity of the mapping
folders                   where to look for mapping files before those that are shipped
margin_s                  seconds that the watermark stays behind the newest commit, 60
epoch                     raised when the source's log starts anew (a failover to another server), 0
schemas                   a SchemaSource: debezium-avro needs it, debezium-flat where records are Avro
tombstones                "refuse" (default) or "ignore": flattened tombstones without an order token
========================  ==============================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from tieout.codecs.canonical import CanonicalCodec
from tieout.codecs.cloudevents import CloudEventsCodec
from tieout.codecs.dataverse import DataverseCodec
from tieout.codecs.debezium import DebeziumAvroCodec, DebeziumCodec
from tieout.codecs.debezium_flat import FlatCodec
from tieout.codecs.debezium_rows import MARGIN_US, Rows
from tieout.codecs.entity_map import TableMapping
from tieout.codecs.errors import UnknownFormat, nearest
from tieout.codecs.mapping import load
from tieout.codecs.openers import AnyOpener, AvroOpener, JsonOpener
from tieout.codecs.records import Decoded, RawRecord
from tieout.codecs.salesforce import SalesforceCodec
from tieout.reconcilers.entities import SYSTEMS

Options = Mapping[str, Any]

OPTIONS: Final = ("source", "mapping", "entity", "folders", "margin_s", "epoch", "schemas", "tombstones")
TOMBSTONES: Final = ("refuse", "ignore")


class Codec(Protocol):
    """Turns one raw record into what it says. Keeps no state between records."""

    def decode(self, raw: RawRecord) -> Decoded:
        """What the record says; raises DecodeError when it cannot be read."""
        ...


@runtime_checkable
class NeedsSchemas(Protocol):
    """A codec that asks others for schemas."""

    def prepare(self, raw: RawRecord) -> None:
        """Fetch what `raw` needs, so that decoding it asks nobody; SchemasUnreachable when nobody answers now."""
        ...


def codec(format: str, options: Options) -> Codec:
    """The decoder of a format; UnknownFormat or MappingError say what is wrong with the configuration."""
    build = FORMATS.get(format)
    if build is None:
        raise UnknownFormat(
            f"format: found {format!r}, expected one of {', '.join(FORMATS)}{nearest(format, list(FORMATS))}"
        )
    return build({name: value for name, value in options.items() if value is not None})


def _canonical(options: Options) -> Codec:
    """Canonical events say everything themselves: options are ignored."""
    return CanonicalCodec()


def _debezium_json(options: Options, *, with_schema: bool) -> Codec:
    """Envelopes in JSON."""
    return DebeziumCodec(Rows(*_mapped(options)), JsonOpener(with_schema))


def _debezium_avro(options: Options) -> Codec:
    """Envelopes in Avro."""
    if "schemas" not in options:
        raise UnknownFormat("schemas: expected a registry or a folder of schemas, Avro means nothing without: "
                            "set url or folder in [registry]")
    return DebeziumAvroCodec(Rows(*_mapped(options)), AvroOpener(options["schemas"]))


def _debezium_flat(options: Options) -> Codec:
    """Rows without their envelope, in JSON or Avro."""
    tombstones = options.get("tombstones", "refuse")
    if tombstones not in TOMBSTONES:
        raise UnknownFormat(f"tombstones: found {tombstones!r}, expected one of {', '.join(TOMBSTONES)}")
    avro = AvroOpener(options["schemas"]) if "schemas" in options else None
    return FlatCodec(Rows(*_mapped(options)), AnyOpener(avro), tombstones)


class _Mapped(NamedTuple):
    """What formats with a mapping have in common."""

    source: str
    mapping: TableMapping
    margin_us: int
    epoch: int


def _mapped(options: Options) -> _Mapped:
    """The options of a format that needs a source and a mapping."""
    for name in options:
        if name not in OPTIONS:
            raise UnknownFormat(f"option {name!r} does not exist{nearest(name, OPTIONS)}")
    source = str(options.get("source", ""))
    system, _, instance = source.partition("/")
    if system not in SYSTEMS or not instance:
        raise UnknownFormat(f"source: found {source!r}, expected SYSTEM/instance with one of {', '.join(SYSTEMS)}")
    if "mapping" not in options:
        raise UnknownFormat("mapping: expected the name of a mapping, this format has no meaning without one")
    mapping = load(str(options["mapping"]), [Path(folder) for folder in options.get("folders", ())])
    margin_us = round(options["margin_s"] * 1_000_000) if "margin_s" in options else MARGIN_US
    return _Mapped(source, mapping.only(options.get("entity")), margin_us, options.get("epoch", 0))


def _vendor(options: Options, *, build: Callable[[str, TableMapping, int, int], Codec]) -> Codec:
    """Events of one vendor."""
    return build(*_mapped(options))


FORMATS: Final[Mapping[str, Callable[[Options], Codec]]] = {
    "canonical": _canonical,
    "debezium-json": partial(_debezium_json, with_schema=False),
    "debezium-json-schema": partial(_debezium_json, with_schema=True),
    "debezium-avro": _debezium_avro,
    "debezium-flat": _debezium_flat,
    "salesforce-cdc": partial(_vendor, build=SalesforceCodec),
    "dataverse": partial(_vendor, build=DataverseCodec),
    "cloudevents": partial(_vendor, build=CloudEventsCodec),
}
