"""Contracts of Avro topics: our outputs against what was promised, sources against what their mappings expect."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from tieout.codecs.avro_schema import WriterSchema
from tieout.codecs.debezium_control import table_names
from tieout.codecs.errors import DecodeError
from tieout.codecs.mapping import load
from tieout.codecs.schema_changes import Break, corrupting, not_flat, row_path, unresolvable
from tieout.codecs.schema_source import Registered
from tieout.reconcilers.outcomes import Output
from tieout.schemas import avsc, released
from tieout.streams.registry import Registry, Version, open_registry
from tieout.streams.topics import output_topic

if TYPE_CHECKING:
    from tieout.codecs.entity_map import EntityMap
    from tieout.streams.settings import Settings, Source

COMPATIBILITY: Final = "BACKWARD_TRANSITIVE"
AVRO_FORMATS: Final = ("debezium-avro", "debezium-flat")


class Versions(Protocol):
    """Where the versions of a subject come from."""

    def versions(self, subject: str) -> list[Version]:
        """Every version, oldest first."""
        ...


class Broken(NamedTuple):
    """A broken contract: in which subject, against which version, and what."""

    subject: str
    version: int
    place: str
    before: str
    after: str
    why: str


def subject_of(output: Output) -> str:
    """The subject of an output's values."""
    return f"{output_topic(output)}-value"


def broken_outputs(known: Versions | None) -> Iterator[Broken]:
    """What is wrong with our own schemas: by themselves, against every release, and every version registered."""
    for output in Output:
        subject, schema = subject_of(output), avsc(output.value)
        yield from _broken(subject, 0, not_flat(schema))
        for release, schemas in released().items():
            if output.value in schemas:
                yield from _broken(f"{subject} of {release}", 0, unresolvable(schema, schemas[output.value]))
        for version in known.versions(subject) if known else ():
            yield from _broken(subject, version.version, unresolvable(schema, json.loads(version.text)))


def broken_sources(settings: Settings, known: Versions, names: Sequence[str] = (), candidate: str | None = None
                   ) -> Iterator[Broken]:
    """What sources' schemas do to their mappings; `candidate` is the text of a value schema that is to come.

    What a mapping does not read does not matter. A type that it pins is accepted, whatever it was before.
    """
    for name, source in settings.sources.items():
        if source.format in AVRO_FORMATS and (not names or name in names):
            maps = _maps(settings, source)
            for part in ("value", "key"):
                subject = f"{source.topic}-{part}"
                texts = known.versions(subject)
                if part == "value" and candidate is not None:
                    texts = [*texts, Version(subject, len(texts) + 1, 0, candidate)]
                yield from _broken_versions(subject, texts, maps, is_key=part == "key")


def register_outputs(registry: Registry) -> Iterator[tuple[str, int]]:
    """Register our schemas, each subject BACKWARD_TRANSITIVE; yields subject and id. Incompatible when refused."""
    for output in Output:
        subject = subject_of(output)
        registry.require(subject, COMPATIBILITY)
        yield subject, registry.register(subject, json.dumps(avsc(output.value)))


class NotRegistered(Exception):
    """Schemas of outputs that the registry does not have."""


def registered_ids(settings: Settings) -> dict[Output, int]:
    """The ids that the registry has for our schemas.

    Raises NotRegistered, or SchemasUnreachable: a worker that wrote other ids meanwhile would be misread for ever.
    """
    registry = open_registry(settings)
    if registry is None:
        raise NotRegistered("registry.url: found nothing, registry.outputs needs the address of a registry")
    found = {output: registry.id_of(subject_of(output), json.dumps(avsc(output.value))) for output in Output}
    if missing := [subject_of(output) for output, number in found.items() if number is None]:
        raise NotRegistered(f"{len(missing)} schemas of outputs are not in the registry as this build writes them, the "
                            f"first is {missing[0]}: run `tieout schemas register`")
    return {output: number for output, number in found.items() if number is not None}


def _maps(settings: Settings, source: Source) -> tuple[EntityMap, ...]:
    """The maps of a source: those of the table that its topic is named after, else all."""
    mapping = load(str(source.mapping), [settings.folder]).only(source.entity)
    return mapping.for_table(table_names(*source.topic.split("."))) or mapping.maps


def _broken_versions(subject: str, versions: Sequence[Version], maps: Iterable[EntityMap], *, is_key: bool
                     ) -> Iterator[Broken]:
    """The newest version against each before it, the latest first, and against the mapping."""
    if not versions:
        return
    *before, newest = versions
    now = _compiled(newest)
    seen: set[str] = set()
    maps = tuple(maps)
    for version in reversed(before):
        for each in corrupting(_compiled(version), now):
            wanted = is_key or any(each.place in one.reads for one in maps)
            if wanted and each.place not in seen and not any(_pinned(one, each) for one in maps):
                seen.add(each.place)
                yield Broken(subject, version.version, *each)
    if not is_key:
        for one in maps:
            try:
                now.columns(*row_path(now)).agreed(one)
            except DecodeError as error:
                yield Broken(subject, newest.version, one.entity.name, "the mapping", "the schema", str(error))


def _pinned(one: EntityMap, each: Break) -> bool:
    """Whether a mapping says in so many words that a column is what it has become."""
    pin = one.columns.get(each.place)
    return pin is not None and pin.name == each.after


def _compiled(version: Version) -> WriterSchema:
    """A version to ask about columns."""
    return WriterSchema(Registered(version.text, version.references), f"{version.subject}, version {version.version}")


def _broken(subject: str, version: int, breaks: Iterable[Break]) -> Iterator[Broken]:
    return (Broken(subject, version, *each) for each in breaks)
