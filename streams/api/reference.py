"""The documentation page: the OpenAPI document as plain HTML, so that nothing is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tieout.streams.api.problems import KINDS

_METHODS: Final = ("get", "post", "put", "patch", "delete")


def context(document: Mapping[str, Any]) -> dict[str, Any]:
    """Operations grouped by tag, schemas by name, and the problems."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                operation = methods[method]
                group = operation.get("tags", ["Other"])[0]
                groups.setdefault(group, []).append(_operation(path, method, operation))
    schemas = document["components"]["schemas"]
    return {
        "info": document["info"],
        "groups": groups,
        "schemas": {name: _schema(schema) for name, schema in sorted(schemas.items())},
        "problems": KINDS,
    }


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    answers = operation["responses"]["200"].get("content", {}).get("application/json", {})
    return {
        "id": f"{method}{path}".replace("/", "-").replace("{", "").replace("}", ""),
        "path": path,
        "method": method.upper(),
        "summary": operation.get("summary", ""),
        "description": " ".join(operation.get("description", "").split()),
        "parameters": [_parameter(item) for item in operation.get("parameters", ())],
        "returns": type_of(answers["schema"]) if answers.get("schema") else "text",
    }


def _parameter(item: Mapping[str, Any]) -> dict[str, Any]:
    schema = item["schema"]
    return {
        "name": item["name"], "in": item["in"], "required": item.get("required", False),
        "type": type_of(schema), "default": schema.get("default"), "description": item.get("description", ""),
    }  # fmt: skip


def _schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    fields = [
        {"name": name, "type": type_of(field), "description": field.get("description", "")}
        for name, field in schema.get("properties", {}).items()
    ]
    return {"description": schema.get("description", ""), "fields": fields}


def type_of(schema: Mapping[str, Any]) -> str:
    """A JSON Schema in a few words: 'KpiValue', 'list of string', 'json | csv', 'integer or null'."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "anyOf" in schema:
        kinds = list(dict.fromkeys(type_of(option) for option in schema["anyOf"]))
        named = [kind for kind in kinds if kind != "null"]
        words = "number" if set(named) == {"number", "string"} else " or ".join(named)
        return f"{words} or null" if "null" in kinds else words
    if schema.get("type") == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    if schema.get("format") == "date-time":
        return "instant"
    return str(schema.get("type", "anything"))
