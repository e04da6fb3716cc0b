"""What format the bytes of a record look like, whatever was configured: for a diagnosis, never for decoding.

===========================  =====================================================================================
00, four bytes of id         Confluent's wire format: `debezium-avro`
00, eight bytes of id        another registry's wire format: nobody here reads it
JSON of schema and payload   `debezium-json-schema`; a payload that is no envelope was flattened
JSON with op and source      `debezium-json`
JSON with __op, __deleted    `debezium-flat`
JSON with specversion        `canonical` where the type is one of ours, else `cloudevents`
ChangeEventHeader            `salesforce-cdc`
PrimaryEntityName            `dataverse`
===========================  =====================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tieout.codecs.errors import DecodeError
from tieout.codecs.framing import HEADER_BYTES
from tieout.codecs.json_text import load_object

TOMBSTONE: Final = "tombstone"  # belongs to every format
CONTROL: Final = "heartbeat or notification"  # likewise
WIDE_AVRO: Final = "avro with ids of eight bytes"
JSON: Final = "json"  # an object of no known envelope
UNKNOWN: Final = "unknown"

_CONTROLS: Final = ({"ts_ms"}, {"id", "type", "aggregate_type", "additional_data", "timestamp"})
_FLAT_MARKS: Final = ("__op", "__deleted", "__table", "__lsn", "__source_ts_ms")
# What each format may also look like: the first events of a canonical source are CloudEvents like any other.
_ALSO: Final[Mapping[str, tuple[str, ...]]] = {
    "cloudevents": ("canonical",), "debezium-flat": (JSON,), "salesforce-cdc": ("debezium-json-schema",),
}  # fmt: skip


class Look(NamedTuple):
    """What a record looks like, and what was seen of it."""

    format: str
    seen: str


def recognise(value: bytes | None) -> Look:
    """The format that a record's value looks like."""
    if value is None:
        return Look(TOMBSTONE, "no value")
    if value[:1] == b"\0" and len(value) > HEADER_BYTES:
        schema_id = int.from_bytes(value[1:HEADER_BYTES])
        if schema_id == 0:
            return Look(WIDE_AVRO, f"00 and eight bytes of id: {value[1:9].hex()}")
        return Look("debezium-avro", f"00 and schema id {schema_id}")
    try:
        return _of_object(load_object(value))
    except DecodeError:
        return Look(UNKNOWN, f"neither JSON nor framed Avro: {value[:16].hex(' ') or 'empty'}")


def fits(format: str, look: Look) -> bool:
    """Whether a record of this look may stand in a topic of this format."""
    return look.format in (format, TOMBSTONE, CONTROL, *_ALSO.get(format, ()))


def _of_object(members: Mapping[str, Any]) -> Look:
    if members.keys() == {"schema", "payload"}:
        return _wrapped(members["payload"])
    look = _bare(members)
    return look or Look(JSON, f"an object of {', '.join(sorted(members)[:6]) or 'nothing'}")


def _bare(members: Mapping[str, Any]) -> Look | None:
    names = members.keys()
    if "specversion" in names:
        kind = str(members.get("type"))
        return Look("canonical" if kind.startswith("tieout.") else "cloudevents", f"a CloudEvent of type {kind}")
    if {"op", "source"} <= names:
        return Look("debezium-json", f"an envelope, op {members['op']}")
    if any(mark in names for mark in _FLAT_MARKS):
        return Look("debezium-flat", f"a row with {', '.join(mark for mark in _FLAT_MARKS if mark in names)}")
    if "ChangeEventHeader" in names or "ChangeEventHeader" in _object(members.get("payload")):
        return Look("salesforce-cdc", "a ChangeEventHeader")
    if "PrimaryEntityName" in names:
        return Look("dataverse", f"a RemoteExecutionContext of {members['PrimaryEntityName']}")
    return Look(CONTROL, "a control record") if names in _CONTROLS else None


def _wrapped(payload: Any) -> Look:
    """A payload with its schema: an envelope, a control record, or a row that was flattened before it was encoded."""
    inner = _bare(_object(payload))
    if inner is None:
        return Look("debezium-flat", "schema and payload, and no envelope in it")
    if inner.format == "debezium-json":
        return Look("debezium-json-schema", f"schema and payload: {inner.seen}")
    return inner._replace(seen=f"schema and payload: {inner.seen}")


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
