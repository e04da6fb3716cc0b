"""The schema registry: schemas by id for reading, and registering our own. Over HTTP, `mock://` in process, or files.

`Registry` knows the questions, a `Transport` carries them. What cannot be asked now raises SchemasUnreachable: the
records that need it are held, not dead-lettered. A registry that says no (wrong credentials) counts as unreachable too:
nothing is wrong with the records.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from urllib.parse import quote

from tieout.codecs.errors import SchemasUnreachable, SchemaUnknown, UnknownFormat, shown
from tieout.codecs.schema_source import Registered
from tieout.streams import clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tieout.streams.settings import Settings

EARLIER_MAX: Final = 10  # versions before the one that wrote a record: enough to see what a column was called
_DEPTH_MAX: Final = 16  # references of references
_UNKNOWN_S: Final = 30.0  # an id that is not there is asked for again after this
_NO_SCHEMA: Final = (40401, 40402, 40403)  # no such subject, version, schema
_AVRO: Final = (None, "AVRO")
_CONFLICT: Final = 409


class Answer(NamedTuple):
    """The status and the JSON body of an answer."""

    status: int
    body: Any


class Transport(Protocol):
    """Carries a request to a registry."""

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        """The answer to a request with a JSON body; SchemasUnreachable when there is none."""
        ...


class Version(NamedTuple):
    """A version of a subject."""

    subject: str
    version: int
    schema_id: int
    text: str
    references: tuple[str, ...] = ()


class Incompatible(Exception):
    """The registry refuses a schema as incompatible with earlier versions of its subject."""


class Registry:
    """A client of the registry's REST interface, as Confluent's, Karapace and Apicurio have it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._known: dict[int, Registered] = {}  # schemas never change
        self._refused: dict[int, tuple[float, SchemaUnknown]] = {}  # id -> when it was asked for, and why there is none

    def schema(self, schema_id: int) -> Registered:
        """The schema of an id with its references and earlier versions; SchemaUnknown, or SchemasUnreachable."""
        if schema_id not in self._known:
            asked_s, refusal = self._refused.get(schema_id, (-_UNKNOWN_S, None))
            if refusal is not None and clock.monotonic_s() - asked_s < _UNKNOWN_S:
                raise refusal
            try:
                self._known[schema_id] = self._fetched(schema_id)
            except SchemaUnknown as error:
                self._refused[schema_id] = clock.monotonic_s(), error
                raise
            except (AttributeError, LookupError, TypeError) as error:  # JSON, but not what a registry answers
                raise SchemasUnreachable(f"schema registry: found an answer without what it should hold ({error!r}): "
                                         "check url in [registry]") from None
        return self._known[schema_id]

    def _fetched(self, schema_id: int) -> Registered:
        found = self._get(f"/schemas/ids/{schema_id}")
        if found is None:
            raise SchemaUnknown(f"schema id {schema_id}: the registry has none")
        text, references = self._avro(found, f"schema id {schema_id}")
        return Registered(text, references, tuple(self._earlier(schema_id)))

    def subjects(self) -> list[str]:
        """The names of all subjects."""
        return [str(name) for name in self._get("/subjects") or ()]

    def versions(self, subject: str) -> list[Version]:
        """Every version of a subject, oldest first; none when there is no such subject."""
        return [self._version(subject, number) for number in self._numbers(subject)]

    def register(self, subject: str, text: str) -> int:
        """Register a schema; returns its id. Incompatible when the registry refuses it."""
        answer = self._transport.call("POST", f"/subjects/{quote(subject, safe='')}/versions", {"schema": text})
        if answer.status == _CONFLICT:
            raise Incompatible(f"{subject}: {_said(answer)}")
        return int(self._sound(answer, f"register {subject}")["id"])

    def id_of(self, subject: str, text: str) -> int | None:
        """The id that a schema has in a subject; None when it is not registered there."""
        path = f"/subjects/{quote(subject, safe='')}"
        answer = self._transport.call("POST", path, {"schema": text})
        known = answer.body if isinstance(answer.body, dict) else {}
        if answer.status == 404 and known.get("error_code") in _NO_SCHEMA:
            return None
        return int(self._sound(answer, f"look up {subject}")["id"])

    def require(self, subject: str, compatibility: str) -> None:
        """Set what the registry demands of new versions of a subject."""
        answer = self._transport.call("PUT", f"/config/{quote(subject, safe='')}", {"compatibility": compatibility})
        self._sound(answer, f"configure {subject}")

    def _earlier(self, schema_id: int) -> Iterator[str]:
        """The texts of the versions before this one, in every subject that has it."""
        for place in self._get(f"/schemas/ids/{schema_id}/versions") or ():
            subject, version = str(place["subject"]), int(place["version"])
            before = [number for number in self._numbers(subject) if number < version]
            yield from (self._version(subject, number).text for number in before[-EARLIER_MAX:])

    def _numbers(self, subject: str) -> list[int]:
        return sorted(int(number) for number in self._get(f"/subjects/{quote(subject, safe='')}/versions") or ())

    def _version(self, subject: str, number: int | str) -> Version:
        name = f"{subject}, version {number}"
        found = self._get(f"/subjects/{quote(subject, safe='')}/versions/{number}")
        if found is None:
            raise SchemaUnknown(f"{name}: the registry has none")
        text, references = self._avro(found, name)
        return Version(subject, int(found["version"]), int(found["id"]), text, references)

    def _avro(self, found: Any, name: str, depth: int = 0) -> tuple[str, tuple[str, ...]]:
        """The text of a schema and those of its references, each before those that use it."""
        if type(found) is not dict or found.get("schemaType") not in _AVRO or type(found.get("schema")) is not str:
            kind = found.get("schemaType") if type(found) is dict else found
            raise SchemaUnknown(f"{name}: found {shown(kind)}, expected an Avro schema",
                                "set the connector's converter to AvroConverter")
        if depth > _DEPTH_MAX:
            raise SchemaUnknown(f"{name}: references nested deeper than {_DEPTH_MAX}")
        texts: dict[str, None] = {}
        for reference in found.get("references") or ():
            subject, version = str(reference["subject"]), reference["version"]
            inner = self._get(f"/subjects/{quote(subject, safe='')}/versions/{version}")
            text, below = self._avro(inner, f"{subject}, version {version}", depth + 1)
            texts |= dict.fromkeys((*below, text))
        return found["schema"], tuple(texts)

    def _get(self, path: str) -> Any:
        """The body of an answer; None when the registry knows no such thing."""
        answer = self._transport.call("GET", path)
        known = answer.body if isinstance(answer.body, dict) else {}
        if answer.status == 404 and known.get("error_code") in _NO_SCHEMA:
            return None
        return self._sound(answer, f"GET {path}")

    def _sound(self, answer: Answer, what: str) -> Any:
        if answer.status == 200:
            return answer.body
        raise SchemasUnreachable(f"schema registry: {what}: found status {answer.status} ({_said(answer)}), "
                                 "expected 200: check url, user, password and token in [registry]")


class SchemaFolder:
    """Schema files whose names end in their id: `psa.public.project-value.17.avsc`; the rest is the subject."""

    def __init__(self, folder: Path) -> None:
        self._files: dict[int, Path] = {}
        self._subjects: dict[str, list[int]] = {}
        for file in sorted(folder.glob("*.avsc")):
            match = re.fullmatch(r"(?:(.*)\.)?(\d+)", file.stem, re.ASCII)
            if match:
                self._files[int(match[2])] = file
                self._subjects.setdefault(match[1] or "", []).append(int(match[2]))
        if not self._files:
            raise UnknownFormat(f"registry.folder: found no files like 'subject.17.avsc' in {folder}")

    def schema(self, schema_id: int) -> Registered:
        """The schema of an id, with those of its subject that have smaller ids."""
        file = self._files.get(schema_id)
        if file is None:
            raise SchemaUnknown(f"schema id {schema_id}: no file for it among {len(self._files)}",
                                "save the schema as <subject>.<id>.avsc, then replay the dead letters")
        subject = file.stem.rpartition(".")[0]
        before = [number for number in sorted(self._subjects[subject]) if number < schema_id] if subject else []
        texts = tuple(self._files[number].read_text(encoding="utf-8") for number in before[-EARLIER_MAX:])
        return Registered(file.read_text(encoding="utf-8"), (), texts)

    def versions(self, subject: str) -> list[Version]:
        """The schemas of a subject by ascending id, numbered from 1."""
        ids = sorted(self._subjects.get(subject, ()))
        return [Version(subject, number, schema_id, self._files[schema_id].read_text(encoding="utf-8"))
                for number, schema_id in enumerate(ids, start=1)]


def open_schemas(settings: Settings) -> Registry | SchemaFolder | None:
    """What `[registry]` configures; None when it configures nothing."""
    if settings.registry.folder is not None:
        return SchemaFolder(settings.folder / settings.registry.folder)
    return open_registry(settings)


def open_registry(settings: Settings) -> Registry | None:
    """The registry that `[registry]` names by its address, or None."""
    url = settings.registry.url
    if url is None:
        return None
    if url.startswith("mock://"):
        from tieout.streams.registry_memory import shared

        return Registry(shared(url))
    from tieout.streams.registry_http import HttpTransport

    return Registry(HttpTransport(settings.registry))


def _said(answer: Answer) -> str:
    """What an error answer says."""
    said = answer.body.get("message") if isinstance(answer.body, dict) else None
    return str(said or "no message")
