"""The Avro schemas of the output topics, by name."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def avsc(name: str) -> dict[str, Any]:
    """The schema of an output, e.g. `avsc("finding.state")`; KeyError names those that exist."""
    file = files("tieout.schemas.avro") / f"{name}.avsc"
    if not file.is_file():
        raise KeyError(f"no Avro schema {name!r}; there are {', '.join(names())}")
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema


@cache
def released() -> dict[str, dict[str, Any]]:
    """The schemas of every release, by version and name: what readers out there were made with, never changed."""
    file = files("tieout.schemas") / "released.json"
    found: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return found


def names() -> list[str]:
    """Names of all schemas, sorted."""
    folder = files("tieout.schemas.avro")
    return sorted(file.name.removesuffix(".avsc") for file in folder.iterdir() if file.name.endswith(".avsc"))
