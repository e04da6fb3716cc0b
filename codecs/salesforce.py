"""Salesforce Change Data Capture: `salesforce-cdc`, change events as JSON with their ChangeEventHeader.

===========================  ===================================================================================
CREATE, UNDELETE             UPSERT of all fields that have a value; one that is not there may just not be visible
UPDATE                       UPSERT of the fields that the event carries with a value: those that changed, and those
                             that the channel is enriched with; null where `nulledFields` or `changedFields` say so
DELETE                       DELETE of the record
GAP_CREATE, GAP_UPDATE,      GAP of the record: it is unknown until it is read again
GAP_DELETE, GAP_UNDELETE
GAP_OVERFLOW, wildcard ids   GAP of the whole object
===========================  ===================================================================================

One event may stand for the same change of many records: each id in `recordIds` becomes a change of its own. Updates of
nothing that the mapping reads (roll-ups, recalculation flags) are filtered. Large texts that come as a difference
(`diffFields`) are not asserted. The events may be wrapped in {schema, event, payload}, as the Streaming API has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tieout.codecs.columns import FIRST_DAY, LAST_DAY, Missing
from tieout.codecs.entity_map import TableMapping
from tieout.codecs.errors import MissingKey, MissingOrder, UnknownType, WrongShape, shown
from tieout.codecs.json_text import flat, load_exact
from tieout.codecs.lost import arrived_us, named, readable
from tieout.codecs.records import Decoded, RawRecord
from tieout.codecs.rows import Event, decoded, whole_object
from tieout.reconcilers.changes import Change, Op

HEADER: Final = "ChangeEventHeader"
_OPS: Final = {"CREATE": Op.UPSERT, "UPDATE": Op.UPSERT, "UNDELETE": Op.UPSERT, "DELETE": Op.DELETE,
               "GAP_CREATE": Op.GAP, "GAP_UPDATE": Op.GAP, "GAP_DELETE": Op.GAP, "GAP_UNDELETE": Op.GAP,
               "GAP_OVERFLOW": Op.GAP}
_DAY_MS: Final = 86_400_000
_BITMAP: Final = "0x"

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SalesforceCodec:
    """Decodes one org's change events with a mapping. `epoch` is raised by hand when the org is migrated."""

    source: str  # "SYSTEM/instance"
    mapping: TableMapping
    margin_us: int
    epoch: int = 0

    def decode(self, raw: RawRecord) -> Decoded:
        """The changes of one event; raises DecodeError."""
        if raw.value is None:
            return Decoded(filtered="tombstone")
        payload = _payload(load_exact(raw.value))
        header = payload[HEADER]
        change_type, op = _operation(header)
        commit_us = _commit_us(header)
        watermark_us = commit_us - self.margin_us
        token, ids = self._token(header), _texts(header, "recordIds")
        fields = {name: value for name, value in payload.items() if name != HEADER}
        event = Event(raw, self.source, op, commit_us, lambda commit: token, f"{header.get('transactionKey')}:{token}",
                      _changed(header, fields) if change_type == "UPDATE" else None, change_type == "CREATE")
        maps = self.mapping.for_table((_text(header, "entityName"),))
        if change_type == "GAP_OVERFLOW" or any(each.endswith("*") for each in ids):
            return whole_object(Event(raw, self.source, Op.GAP, commit_us, event.order, event.stem), maps, watermark_us)
        if not ids:
            raise MissingKey(f"{HEADER}.recordIds: found none, expected the ids of the records")
        row = _row(header, fields)
        return decoded(event, maps, [(each, row) for each in ids], watermark_us)

    def lost(self, raw: RawRecord) -> tuple[Change, ...]:
        """Gaps of the records that an event is about which cannot be read, as its header names them."""
        header = readable(lambda: _payload(load_exact(raw.value or b""))[HEADER], {})
        ids = readable(lambda: _texts(header, "recordIds"), ())
        maps = readable(lambda: self.mapping.for_table((_text(header, "entityName"),)), ())
        commit_us = readable(lambda: _commit_us(header), arrived_us(raw))
        rows = [({"@id": each}, {"@id": each}) for each in ids if not each.endswith("*")]
        return tuple(named(maps, rows, self.source, commit_us, raw))

    def _token(self, header: Object) -> str:
        """The order token: commits of the org, events inside a transaction; a later epoch sorts behind all others."""
        token = f"{_number(header, 'commitNumber'):020d}:{_number(header, 'sequenceNumber'):010d}"
        return f"~{self.epoch:04d}:{token}" if self.epoch else token


def _payload(message: Object) -> Object:
    """The event, out of its wrapping; it has a header."""
    inner = message.get("payload")
    payload = inner if HEADER not in message and type(inner) is dict else message
    if type(payload.get(HEADER)) is dict:
        return payload
    raise WrongShape(f"found {', '.join(sorted(message)[:8]) or 'an empty object'}, expected an event with {HEADER}",
                     "subscribe to the object's ChangeEvent channel; platform events have no header")


def _operation(header: Object) -> tuple[str, Op]:
    """The type of the change and what it means."""
    change_type = header.get("changeType")
    op = _OPS.get(change_type) if isinstance(change_type, str) else None
    if op is None:
        raise UnknownType(f"{HEADER}.changeType: found {shown(change_type)}, expected one of {', '.join(_OPS)}")
    return str(change_type), op


def _commit_us(header: Object) -> int:
    """The commit instant, which stands in milliseconds."""
    value = header.get("commitTimestamp")
    if type(value) is int and FIRST_DAY <= value // _DAY_MS <= LAST_DAY:
        return value * 1_000
    raise WrongShape(f"{HEADER}.commitTimestamp: found {shown(value)}, expected milliseconds since 1970")


def _number(header: Object, name: str) -> int:
    """A number that orders."""
    value = header.get(name)
    if type(value) is int and value >= 0:
        return value
    raise MissingOrder(f"{HEADER}.{name}: found {shown(value)}, expected a whole number")


def _text(header: Object, name: str) -> str:
    """A member that must be text and not empty."""
    value = header.get(name)
    if type(value) is str and value:
        return value
    raise WrongShape(f"{HEADER}.{name}: found {shown(value)}, expected text")


def _texts(header: Object, name: str) -> Sequence[str]:
    """A list of text; none where it is left out."""
    value = header.get(name) or []
    if type(value) is list and all(type(each) is str for each in value):
        return value
    raise WrongShape(f"{HEADER}.{name}: found {shown(value)}, expected a list of text")


def _changed(header: Object, fields: Object) -> frozenset[str]:
    """The fields that an update changed, members of compound ones among them; all in the event where it names none."""
    names = {*_texts(header, "changedFields"), *_texts(header, "nulledFields"), *_texts(header, "diffFields")}
    if any(name.startswith(_BITMAP) for name in names):
        raise WrongShape(f"{HEADER}: found the bitmap {shown(min(names))} in changedFields, expected names of fields",
                         "the subscriber must decode the bitmaps with the event's schema")
    columns = flat(fields)
    if not names:
        return frozenset(columns)
    inside = {column for column in columns if column.partition(".")[0] in names}
    return frozenset(names | inside)


def _row(header: Object, fields: Object) -> dict[str, Any]:
    """The columns that the event tells something about."""
    nulled = {*_texts(header, "nulledFields"), *_texts(header, "changedFields")}
    row: dict[str, Any] = {name: value for name, value in flat(fields).items() if value is not None or name in nulled}
    row.update(dict.fromkeys(_texts(header, "nulledFields")))
    row.update(dict.fromkeys(_texts(header, "diffFields"), Missing.UNAVAILABLE))
    return row
