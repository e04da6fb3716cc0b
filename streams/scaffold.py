"""A first configuration: a commented tieout.toml and a folder for mappings, checked before it is written."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, get_args
from urllib.parse import urlsplit

from tieout.streams.layers import Layers, key_lines
from tieout.streams.settings import Format, parse

FILE: Final = "tieout.toml"
MAPPINGS: Final = "mappings"
FORMATS: Final[tuple[str, ...]] = get_args(Format)
SYSTEMS: Final = ("ERP", "PSA", "HCM", "CRM", "SCHED", "TIME")
_KINDS: Final = ("postgresql", "mysql", "mariadb", "sqlserver")
_EXAMPLE: Final = "postgres"  # the shipped mapping that is meant to be copied
_CANONICAL: Final = "canonical"


class Unusable(ValueError):
    """A description of a source or connector that cannot be read; the message says how it is written."""


class NewSource(NamedTuple):
    """A source as somebody describes it: 'TIME/kimai=kimai.kimai2_timesheet:debezium-json-schema:kimai'."""

    system: str
    instance: str
    topic: str
    format: str = _CANONICAL
    mapping: str = ""

    @property
    def name(self) -> str:
        """Its section: system and the last part of its topic."""
        last = self.topic.rpartition(".")[2]
        return re.sub(r"\W+", "_", f"{self.system}_{last}".lower())


class NewConnector(NamedTuple):
    """A connector as somebody describes it: 'psa=postgresql://tieout@psa-db:5432/psa'."""

    name: str
    kind: str
    host: str
    port: int | None
    user: str
    database: str

    @property
    def variable(self) -> str:
        """The variable of Connect's workers that holds its password."""
        return re.sub(r"\W+", "_", f"{self.name}_password".upper())


def read_source(text: str) -> NewSource:
    """'SYSTEM[/instance]=topic[:format[:mapping]]'; Unusable where it is none."""
    where, equals, what = text.partition("=")
    system, _, instance = where.partition("/")
    topic, _, rest = what.partition(":")
    format, _, mapping = rest.partition(":")
    if not equals or not topic or system.upper() not in SYSTEMS:
        raise Unusable(f"source: found {text!r}, expected SYSTEM/instance=topic:format:mapping with one of "
                       f"{', '.join(SYSTEMS)}, e.g. TIME/kimai=kimai.timesheet:debezium-json-schema:kimai")
    if format and format not in FORMATS:
        raise Unusable(f"source: found format {format!r}, expected one of {', '.join(FORMATS)}")
    return NewSource(system.upper(), instance or "main", topic, format or _CANONICAL, mapping)


def read_connector(text: str) -> NewConnector:
    """'NAME=KIND://USER@HOST[:PORT]/DATABASE'; Unusable where it is none, or carries a password."""
    name, equals, address = text.partition("=")
    url = urlsplit(address)
    if url.password is not None:
        raise Unusable(f"connector {name}: found a password, expected none: Connect looks it up")
    named = equals and re.fullmatch(r"[\w-]+", name)
    if not named or url.scheme not in _KINDS or not url.hostname or not url.username:
        raise Unusable(f"connector: found {text!r}, expected NAME=KIND://USER@HOST:PORT/DATABASE with one of "
                       f"{', '.join(_KINDS)}, e.g. psa=postgresql://tieout@psa-db:5432/psa")
    return NewConnector(name, url.scheme, url.hostname, url.port, url.username, url.path.strip("/"))


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be written."""

    brokers: str
    sources: Sequence[NewSource] = ()
    connectors: Sequence[NewConnector] = ()
    connect_url: str = ""

    def files(self) -> dict[Path, str]:
        """The text of every file by its path below the folder; raises ConfigError where what was asked for is wrong."""
        text = "\n".join(self._lines()) + "\n"
        _check(text)
        example = _shipped(_EXAMPLE)
        found = {Path(FILE): text, Path(MAPPINGS, "example.toml"): example}
        for name, source in self.named().items():
            if mapping := self._own_mapping(name, source):
                found[Path(mapping)] = example
        return found

    def named(self) -> dict[str, NewSource]:
        """The sources by the name of their section; two of one name get numbers."""
        found: dict[str, NewSource] = {}
        for source in self.sources:
            number = sum(name.rstrip("0123456789").rstrip("_") == source.name for name in found)
            found[f"{source.name}_{number + 1}" if number else source.name] = source
        return found

    def _own_mapping(self, name: str, source: NewSource) -> str:
        """The file of a mapping that is not shipped; nothing where a shipped one is named, or none is needed."""
        if source.format == _CANONICAL or (source.mapping and _is_shipped(source.mapping)):
            return ""
        mapping = source.mapping or f"{MAPPINGS}/{name}.toml"
        return mapping if mapping.endswith(".toml") else f"{MAPPINGS}/{mapping}.toml"

    def _lines(self) -> Iterator[str]:
        yield from _HEAD.format(brokers=json.dumps(self.brokers), formats=", ".join(FORMATS)).splitlines()
        for name, source in self.named().items():
            yield from self._source(name, source)
        if not self.sources:
            yield from _NO_SOURCE.splitlines()
        if self.connectors or self.connect_url:
            url = json.dumps(self.connect_url or "http://127.0.0.1:8083")
            yield from ("", "# Kafka Connect: `tieout connectors sql` for the DBA, then `plan`, `apply`, `status`.",
                        "[connect]", f"url = {url}")  # fmt: skip
        for connector in self.connectors:
            yield from self._connector(connector)
        yield from _TAIL.splitlines()

    def _source(self, name: str, source: NewSource) -> Iterator[str]:
        yield from ("", f"[sources.{name}]", f'system = "{source.system}"', f"instance = {json.dumps(source.instance)}",
                    f"topic = {json.dumps(source.topic)}", f'format = "{source.format}"')  # fmt: skip
        if source.format != _CANONICAL:
            yield f"mapping = {json.dumps(self._own_mapping(name, source) or source.mapping)}"
        for connector in self.connectors:
            if source.topic.startswith(f"{connector.name}."):
                yield f'heartbeat = "__debezium-heartbeat.{connector.name}"'

    def _connector(self, new: NewConnector) -> Iterator[str]:
        yield from ("", f"[connectors.{new.name}]", f'kind = "{new.kind}"', f"host = {json.dumps(new.host)}")
        if new.port is not None:
            yield f"port = {new.port}"
        if new.kind in ("postgresql", "sqlserver"):
            yield f"database = {json.dumps(new.database)}"
        else:
            yield f"server_id = {5400 + list(self.connectors).index(new)}  # no server of the replication may have it"
        yield f"user = {json.dumps(new.user)}"
        yield f'password = "${{env:{new.variable}}}"  # looked up by Connect; or "${{file:/path/of.properties:key}}"'
        mine = [source for source in self.sources if source.topic.startswith(f"{new.name}.")]
        if mine:
            yield f'format = "{mine[0].format}"'
        else:
            yield 'tables = ["public.time_entry"]  # or leave it out, and add sources with topics of this connector'


def write(folder: Path, files: Mapping[Path, str], *, force: bool) -> list[Path]:
    """Write what is not there yet; FileExistsError before anything is written where tieout.toml would be replaced.

    Mappings that are there are somebody's work: they are kept, with `force` too.
    """
    if (folder / FILE).exists() and not force:
        raise FileExistsError(f"{folder / FILE} is there: --force replaces it, --dry-run shows what would be written")
    written = []
    for path, text in files.items():
        place = folder / path
        if place.exists() and path != Path(FILE):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        written.append(place)
    return written


def _check(text: str) -> None:
    """What is written passes `tieout config check`."""
    origins = {key: f"{FILE}:{line}" for key, line in key_lines(text).items()}
    parse(Layers(tomllib.loads(text), origins), Path(FILE))


def _is_shipped(name: str) -> bool:
    from tieout.codecs.mapping import SHIPPED

    return (SHIPPED / f"{name}.toml").is_file()


def _shipped(name: str) -> str:
    from tieout.codecs.mapping import SHIPPED

    return (SHIPPED / f"{name}.toml").read_text(encoding="utf-8")


_HEAD: Final = """\
# tieout: one file for all roles. `tieout config check` names every mistake, `tieout doctor` looks at what is there.
# A variable goes over it: TIEOUT_KAFKA__CLIENT__BOOTSTRAP_SERVERS. Secrets: variables or /run/secrets, not this file.
# Every key is described in docs/configuration.md; `tieout config schema` prints a JSON Schema for editors.

clock = "wall"  # "log" for replayed or simulated records: time is that of the newest one

[kafka]
# partitions = 4    # of the project axis: choose before `tieout topics apply`, it cannot be changed later
# replication = 1   # 3 on a cluster of three brokers

[kafka.client]  # librdkafka's own names, for all clients
"bootstrap.servers" = {brokers}
# "security.protocol" = "SASL_SSL"
# "sasl.mechanism" = "SCRAM-SHA-512"
# "sasl.username" = "tieout"        # and TIEOUT_KAFKA__CLIENT__SASL_PASSWORD

# One section a topic. Formats: {formats}.
# All but canonical need a mapping: a shipped one by name, or a file below mappings/."""

_NO_SOURCE: Final = """\

# [sources.time_entries]
# system = "TIME"                   # ERP, PSA, HCM, CRM, SCHED or TIME
# instance = "kimai"
# topic = "kimai.kimai.kimai2_timesheet"
# format = "debezium-json-schema"
# mapping = "kimai"
# heartbeat = "__debezium-heartbeat.kimai"  # so that silence and standstill differ"""

_TAIL: Final = """\

# [policy]            # what the firm decides: tolerances, ownership, calendars; see docs/configuration.md
# materiality_minor = 1000000

[sink]
path = "tieout.duckdb"
publish_dir = "pub"

# [api]
# host = "127.0.0.1"
# port = 8080"""
