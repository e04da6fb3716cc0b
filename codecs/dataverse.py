"""Dataverse: `dataverse`, the RemoteExecutionContext that a service endpoint or webhook posts, as JSON.

The row is the post image named by the step (any name, all of them together) over the `Target` of the request. Without
a post image the row has only what the request changed: a partial UPSERT. Its order token is `versionnumber`, so at
least that has to be in an image. A delete takes the version of its pre image; it comes behind all versions without one.

========================================  ============================================================================
{"__type": "OptionSetValue:…", "Value"}   the number
{"__type": "Money:…", "Value"}            the amount, a decimal
{"__type": "EntityReference:…", "Id"}     column: the id; `column.LogicalName` and `column.Name` as well
/Date(1773652350000+0000)/                an instant; the offset only says how to show it
========================================  ============================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tieout.codecs.columns import Instant
from tieout.codecs.dates import date_ms
from tieout.codecs.entity_map import TableMapping
from tieout.codecs.errors import MissingOrder, UnknownType, WrongShape, shown
from tieout.codecs.json_text import load_exact
from tieout.codecs.lost import arrived_us, named, readable
from tieout.codecs.records import Decoded, RawRecord
from tieout.codecs.rows import Event, decoded
from tieout.reconcilers.changes import Change, Op

VERSION: Final = "versionnumber"
_OPS: Final = {"Create": Op.UPSERT, "Update": Op.UPSERT, "Upsert": Op.UPSERT, "Assign": Op.UPSERT,
               "SetState": Op.UPSERT, "SetStateDynamicEntity": Op.UPSERT, "Delete": Op.DELETE}
_LAST: Final = "9" * 20
_BRACES: Final = "{}"

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DataverseCodec:
    """Decodes the messages of one environment with a mapping."""

    source: str  # "SYSTEM/instance"
    mapping: TableMapping
    margin_us: int
    epoch: int = 0

    def decode(self, raw: RawRecord) -> Decoded:
        """The change of one message; raises DecodeError."""
        if raw.value is None:
            return Decoded(filtered="tombstone")
        context = load_exact(raw.value)
        message, op = _operation(context)
        commit_us = _operation_us(context)
        table, record_id = _text(context, "PrimaryEntityName"), _text(context, "PrimaryEntityId").strip(_BRACES).lower()
        maps = self.mapping.for_table((table,))
        watermark_us = commit_us - self.margin_us
        if not maps:
            return Decoded(watermark_us=watermark_us, filtered="other_table")
        target, image = _target(context), _attributes(context, "PostEntityImages")
        row = {**target, **image}
        token = self._token(context, op, row, commit_us)
        is_new, touched = message == "Create", frozenset(target)
        event = Event(raw, self.source, op, commit_us, lambda commit: token, f"{table}:{record_id}:{token}",
                      None if image or is_new else touched, is_new, None if is_new else touched)
        return decoded(event, maps, [(record_id, row)], watermark_us)

    def lost(self, raw: RawRecord) -> tuple[Change, ...]:
        """Gaps of the record that a message is about which cannot be read."""
        context = readable(lambda: load_exact(raw.value or b""), {})
        record_id = readable(lambda: _text(context, "PrimaryEntityId").strip(_BRACES).lower(), "")
        maps = readable(lambda: self.mapping.for_table((_text(context, "PrimaryEntityName"),)), ()) if record_id else ()
        commit_us = readable(lambda: _operation_us(context), arrived_us(raw))
        return tuple(named(maps, [({"@id": record_id}, {"@id": record_id})], self.source, commit_us, raw))

    def _token(self, context: Object, op: Op, row: Object, commit_us: int) -> str:
        """The order token of a message."""
        if op is Op.DELETE:
            version = _attributes(context, "PreEntityImages").get(VERSION)
            token = f"{_LAST}:{commit_us:020d}" if version is None else f"{_version(version)}:1"
        else:
            token = f"{_version(row.get(VERSION))}:0"
        return f"~{self.epoch:04d}:{token}" if self.epoch else token


def context_row(context: Object) -> dict[str, Any]:
    """The columns of a message: its post images over what was requested."""
    return {**_target(context), **_attributes(context, "PostEntityImages")}


def _target(context: Object) -> dict[str, Any]:
    """What was requested."""
    return _attributes(context, "InputParameters", "Target")


def _version(value: Any) -> str:
    """A row version as text that sorts."""
    number = int(value) if type(value) is str and value.isascii() and value.isdigit() else value
    if type(number) is int and number >= 0:
        return f"{number:020d}"
    raise MissingOrder(f"{VERSION}: found {shown(value)}, expected a whole number in a post image",
                       f"register a post image with {VERSION} on the step; OperationCreatedOn is no order")


def _operation(context: Object) -> tuple[str, Op]:
    """The message and what it means."""
    message = context.get("MessageName")
    if type(message) is not str:
        raise WrongShape(f"found {', '.join(sorted(context)[:8]) or 'nothing'}, expected a RemoteExecutionContext",
                         "the endpoint's message format must be JSON")
    op = _OPS.get(message)
    if op is None:
        raise UnknownType(f"MessageName: found {shown(message)}, expected one of {', '.join(_OPS)}",
                          "register steps for Create, Update and Delete of single rows")
    return message, op


def _operation_us(context: Object) -> int:
    """When the operation was done."""
    value = context.get("OperationCreatedOn")
    instant = date_ms(value) if type(value) is str else None
    if instant is None:
        raise WrongShape(f"OperationCreatedOn: found {shown(value)}, expected '/Date(1773652350000+0000)/'")
    return int(instant)


def _text(context: Object, name: str) -> str:
    """A member that must be text and not empty."""
    value = context.get(name)
    if type(value) is str and value:
        return value
    raise WrongShape(f"{name}: found {shown(value)}, expected text")


def _attributes(context: Object, collection: str, only: str | None = None) -> dict[str, Any]:
    """The attributes of the entities in a collection of keys and values, as columns."""
    row: dict[str, Any] = {}
    for key, value in _pairs(context.get(collection), collection):
        if (only is None or key == only) and type(value) is dict and "Attributes" in value:
            for name, attribute in _pairs(value["Attributes"], f"{collection}.{key}.Attributes"):
                row.update(_columns(name, attribute))
    return row


def _pairs(value: Any, place: str) -> list[tuple[str, Any]]:
    """A list of {"key", "value"}; none where it is left out."""
    found = [] if value is None else value
    if type(found) is not list or not all(type(each) is dict and type(each.get("key")) is str for each in found):
        raise WrongShape(f"{place}: found {shown(found)}, expected a list of key and value")
    return [(each["key"], each.get("value")) for each in found]


def _columns(name: str, value: Any) -> dict[str, Any]:
    """The columns of an attribute."""
    if type(value) is str:
        instant = date_ms(value)
        return {name: value if instant is None else Instant(instant)}
    if type(value) is not dict:
        return {name: value}
    if "Id" in value:
        record_id = value["Id"]
        return {name: record_id.strip(_BRACES).lower() if type(record_id) is str else record_id,
                f"{name}.LogicalName": value.get("LogicalName"), f"{name}.Name": value.get("Name")}
    return {name: value.get("Value")} if "Value" in value else {name: value}
