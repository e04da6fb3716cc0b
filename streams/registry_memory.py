"""A small schema registry in process: what `mock://` names, and what tests serve over HTTP.

It has the part of the REST interface that `registry.py` asks for, with BACKWARD_TRANSITIVE compatibility by default.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final
from urllib.parse import unquote

from tieout.codecs.schema_changes import unresolvable
from tieout.streams.registry import Answer

_NOT_FOUND: Final = {40401: "Subject not found.", 40402: "Version not found.", 40403: "Schema not found"}
_LATEST: Final = "latest"


class MemoryRegistry:
    """Subjects, versions and ids; equal texts share an id."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._entries: dict[int, dict[str, Any]] = {}
        self._subjects: dict[str, list[int]] = {}
        self._demands: dict[str, str] = {}

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        """The answer to a request."""
        parts = [unquote(part) for part in path.strip("/").split("/")]
        match (method, *parts):
            case ("GET", "subjects"):
                return Answer(200, sorted(self._subjects))
            case ("GET", "subjects", subject, "versions"):
                return self._listed(subject)
            case ("GET", "subjects", subject, "versions", number):
                return self._version(subject, number)
            case ("POST", "subjects", subject, "versions"):
                return self._register(subject, body)
            case ("POST", "subjects", subject):
                return self._found(subject, body)
            case ("GET", "schemas", "ids", number):
                entry = self._entries.get(int(number))
                return Answer(200, entry) if entry else _missing(40403)
            case ("GET", "schemas", "ids", number, "versions"):
                return self._places(int(number))
            case ("PUT", "config", subject):
                self._demands[subject] = str(body["compatibility"])
                return Answer(200, body)
        return Answer(404, {"error_code": 404, "message": f"HTTP 404 {method} {path}"})

    def _listed(self, subject: str) -> Answer:
        known = self._subjects.get(subject)
        return Answer(200, list(range(1, len(known) + 1))) if known else _missing(40401)

    def _version(self, subject: str, number: str) -> Answer:
        known = self._subjects.get(subject)
        if not known:
            return _missing(40401)
        wanted = len(known) if number == _LATEST else int(number)
        if not 1 <= wanted <= len(known):
            return _missing(40402)
        schema_id = known[wanted - 1]
        return Answer(200, {"subject": subject, "version": wanted, "id": schema_id, **self._entries[schema_id]})

    def _found(self, subject: str, body: Any) -> Answer:
        known = self._subjects.get(subject)
        if not known:
            return _missing(40401)
        schema_id = self._ids.get(_entry_text(body))
        if schema_id not in known:
            return _missing(40403)
        return Answer(200, {"subject": subject, "version": known.index(schema_id) + 1, "id": schema_id, **body})

    def _places(self, schema_id: int) -> Answer:
        if schema_id not in self._entries:
            return _missing(40403)
        places = [{"subject": subject, "version": ids.index(schema_id) + 1}
                  for subject, ids in self._subjects.items() if schema_id in ids]
        return Answer(200, places)

    def _register(self, subject: str, body: Any) -> Answer:
        known = self._subjects.setdefault(subject, [])
        if self._demands.get(subject, "BACKWARD_TRANSITIVE") != "NONE":
            for schema_id in known:
                breaks = unresolvable(json.loads(body["schema"]), json.loads(self._entries[schema_id]["schema"]))
                if breaks:
                    return Answer(409, {"error_code": 409, "message": f"{breaks[0].place}: {breaks[0].why}"})
        entry = _entry(body)
        schema_id = self._ids.setdefault(_entry_text(body), len(self._ids) + 1)
        self._entries[schema_id] = entry
        if schema_id not in known:
            known.append(schema_id)
        return Answer(200, {"id": schema_id})


def _entry(body: Any) -> dict[str, Any]:
    return {name: body[name] for name in ("schema", "schemaType", "references") if name in body}


def _entry_text(body: Any) -> str:
    return json.dumps(_entry(body), sort_keys=True)


@cache
def shared(url: str) -> MemoryRegistry:
    """The registry of a `mock://` address: one for each address in this process."""
    return MemoryRegistry()


def _missing(code: int) -> Answer:
    return Answer(404, {"error_code": code, "message": _NOT_FOUND[code]})
