"""CloudEvents 1.0 as structured JSON whose `data` is in the source's own shape: `cloudevents`, with a mapping.

The way in for polls and webhooks. A map's `table` is the event's type, with or without its last word: 'ns.invoice'
takes 'ns.invoice.upserted'. That word says what happened: deleted, removed, destroyed and the like are a DELETE,
snapshot a SNAPSHOT, gap a GAP; everything else is an UPSERT, unless the map's own conditions say otherwise.

Nested members are columns with dots; `ce_id`, `ce_type`, `ce_subject`, `ce_source` and `ce_time` are those of the
event. The record's id is the event's subject, after its last slash. `sequence` orders; without one it is `time`, and
between equal times a hash of the data, so that a poll that reads a row again says nothing new. Events of type
`tieout.…` are canonical: `tieout.source.observed` is the watermark, nothing else moves it.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from tieout.codecs.canonical import CanonicalCodec
from tieout.codecs.columns import text_of
from tieout.codecs.dates import zoned
from tieout.codecs.entity_map import TableMapping
from tieout.codecs.errors import BadValue, DecodeError, WrongShape, shown
from tieout.codecs.json_text import flat, load_exact
from tieout.codecs.lost import arrived_us, named, readable
from tieout.codecs.order import order_text
from tieout.codecs.records import Decoded, RawRecord
from tieout.codecs.rows import Event, Order, decoded
from tieout.reconcilers.changes import Change, Op

OURS: Final = "tieout."
_WORDS: Final = {
    **dict.fromkeys(("deleted", "delete", "removed", "remove", "destroyed", "destroy"), Op.DELETE),
    "snapshot": Op.SNAPSHOT, "gap": Op.GAP,
}
_ATTRIBUTES: Final = ("id", "type", "subject", "source", "time")

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CloudEventsCodec:
    """Decodes one source's events with a mapping."""

    source: str  # "SYSTEM/instance"
    mapping: TableMapping
    margin_us: int = 0
    epoch: int = 0

    def decode(self, raw: RawRecord) -> Decoded:
        """The changes of one event; raises DecodeError."""
        if raw.value is None:
            return Decoded(filtered="tombstone")
        event = load_exact(raw.value)
        if event.get("specversion") != "1.0":
            raise WrongShape(f"found specversion {shown(event.get('specversion'))}, expected a CloudEvent '1.0'",
                             "wrap the row: specversion, id, source, type, subject, time, data")
        kind = _text(event, "type")
        if kind.startswith(OURS):
            return CanonicalCodec().decode(raw)
        table, _, word = kind.rpartition(".")
        maps = self.mapping.for_table((kind, table))
        if not maps:
            return Decoded(filtered="other_table")
        record_id, op = _record_id(event), _WORDS.get(word, Op.UPSERT)
        data = _data(event, optional=op in (Op.DELETE, Op.GAP))
        named = {f"ce_{name}": event[name] for name in _ATTRIBUTES if name in event}
        opened = Event(raw, self.source, op, _commit_us(event), self._order(event, data), _text(event, "id"),
                       is_new=word == "created")
        return decoded(opened, maps, [(record_id, {**flat(data), **named})], None)

    def lost(self, raw: RawRecord) -> tuple[Change, ...]:
        """Gaps of the record that an event is about which cannot be read, as its subject names it."""
        event = readable(lambda: load_exact(raw.value or b""), {})
        kind = event.get("type")
        if type(kind) is not str or kind.startswith(OURS):
            return CanonicalCodec().lost(raw)
        record_id = readable(lambda: _record_id(event), "")
        maps = self.mapping.for_table((kind, kind.rpartition(".")[0])) if record_id else ()
        commit_us = readable(lambda: _commit_us(event), arrived_us(raw))
        return tuple(named(maps, [({"@id": record_id}, {"@id": record_id})], self.source, commit_us, raw))

    def _order(self, event: Object, data: Object) -> Order:
        """The order token: the event's own, or its time with a hash of what it says."""
        sequence = event.get("sequence")
        prefix = f"~{self.epoch:04d}:" if self.epoch else ""
        if sequence is not None:
            token = order_text(sequence, {})
            return lambda commit_us: f"{prefix}{token}"
        digest = sha256(json.dumps(data, default=text_of, sort_keys=True).encode()).hexdigest()[:8]
        return lambda commit_us: f"{prefix}{commit_us:020d}:{digest}"


def _text(event: Object, name: str) -> str:
    """A member that must be text and not empty."""
    value = event.get(name)
    if type(value) is str and value:
        return value
    raise WrongShape(f"{name}: found {shown(value)}, expected text that is not empty")


def _record_id(event: Object) -> str:
    """The record's id: 'invoice/90211' is 90211; empty where the event has no subject."""
    subject = event.get("subject")
    if subject is None:
        return ""
    if type(subject) is not str:
        raise WrongShape(f"subject: found {shown(subject)}, expected text")
    return subject.rpartition("/")[2]


def _commit_us(event: Object) -> int:
    """The commit instant."""
    value = event.get("time")
    if type(value) is not str:
        raise WrongShape(f"time: found {shown(value)}, expected an instant like '2026-03-10T17:40:00Z'")
    try:
        return int(zoned(value))
    except BadValue as error:
        raise error.within("time") from None


def _data(event: Object, *, optional: bool) -> Object:
    """The source's own row; a delete may come without."""
    if "data_base64" in event:
        return _encoded(event["data_base64"])
    data = event.get("data")
    if data is None and optional:
        return {}
    if type(data) is dict:
        return data
    raise WrongShape(f"data: found {shown(data)}, expected a JSON object")


def _encoded(text: Any) -> Object:
    """Data that travels as base64 of JSON."""
    try:
        document = b64decode(text, validate=True)
    except (TypeError, ValueError):
        raise WrongShape(f"data_base64: found {shown(text)}, expected base64 of a JSON object") from None
    try:
        return load_exact(document)
    except DecodeError as error:
        raise error.within("data_base64") from None
