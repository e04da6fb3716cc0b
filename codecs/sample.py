"""A payload whose format nobody has said: which format it has, which table it is of, which columns it carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from tieout.codecs.dataverse import context_row
from tieout.codecs.errors import WrongShape
from tieout.codecs.json_text import load_exact
from tieout.codecs.salesforce import HEADER

ROW: Final = "row"  # no envelope at all: it can travel as the data of a CloudEvent

Object = Mapping[str, Any]


class Sample(NamedTuple):
    """An opened payload. Columns of lists have no numbers: 'item.line' stands for those of all members."""

    format: str
    table: str
    columns: dict[str, Any]


def read_sample(value: bytes) -> Sample:
    """Open a payload by its looks; DecodeError when it is not one JSON object."""
    message = load_exact(value)
    payload = message.get("payload")
    inner = payload if type(payload) is dict else message
    if type(header := inner.get(HEADER)) is dict:
        fields = {name: field for name, field in inner.items() if name != HEADER}
        return Sample("salesforce-cdc", str(header.get("entityName", "")), columns_of(fields))
    if "MessageName" in message and "PrimaryEntityName" in message:
        return Sample("dataverse", str(message["PrimaryEntityName"]), columns_of(context_row(message)))
    if message.get("specversion") == "1.0":
        kind, data = str(message.get("type", "")), message.get("data")
        if kind.startswith("tieout."):
            return Sample("canonical", kind, columns_of(data))
        return Sample("cloudevents", kind.rpartition(".")[0] or kind, columns_of(data))
    if "op" in inner and type(source := inner.get("source")) is dict:
        row = inner.get("after") or inner.get("before") or {}
        schema = "-schema" if inner is payload else ""
        return Sample(f"debezium-json{schema}", str(source.get("table", "")), columns_of(row))
    return Sample(ROW, "", columns_of(message))


def wrapped(row: bytes, kind: str) -> bytes:
    """A bare row as a CloudEvent of a type, at the beginning of time."""
    data = orjson.loads(row)
    if type(data) is not dict:
        raise WrongShape("expected a JSON object")
    subject = next((str(data[name]) for name in ("id", "Id", "ID") if name in data), "sample")
    # the data stays as it was written: a number read and written again may differ
    event = {"specversion": "1.0", "id": "sample", "source": "sample", "type": kind, "subject": subject,
             "time": "1970-01-01T00:00:00Z", "sequence": "0"}
    return orjson.dumps(event)[:-1] + b',"data":' + row.strip() + b"}"


def columns_of(value: Any, above: str = "") -> dict[str, Any]:
    """The columns of a row, each with the first value that it has."""
    found: dict[str, Any] = {}
    _collect(value, above, found)
    return found


def _collect(value: Any, name: str, found: dict[str, Any]) -> None:
    members = value if type(value) is list and value and all(type(each) is dict for each in value) else None
    if members is not None:
        for member in members:
            _collect(member, name, found)
    elif type(value) is dict:
        for member, inner in value.items():
            _collect(inner, f"{name}.{member}" if name else member, found)
    elif name:
        found.setdefault(name, value)


def column_name(read: str) -> str:
    """The name that a column of a mapping has here: 'log.last.moment' is 'log.moment'."""
    return ".".join(part for part in read.split(".") if part != "last" and not part.isdigit())
