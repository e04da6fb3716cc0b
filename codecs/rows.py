"""Rows of vendor events to changes by the maps of a mapping: what `salesforce-cdc`, `dataverse`, `cloudevents` share.

A row has the source's own columns and three of ours: `@id` (the record's id), `@commit` (when it was committed) and
`@system` (ERP, PSA, …).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tieout.codecs.columns import Instant, Missing, Row
from tieout.codecs.entity_map import EntityMap
from tieout.codecs.errors import DecodeError, MissingKey, MissingOrder
from tieout.codecs.fields import CHANGED
from tieout.codecs.parts import NOBODY_KNOWS, Changed, Part
from tieout.codecs.records import Decoded, RawRecord
from tieout.reconcilers.changes import Change, Op

OURS: Final = ("@id", "@commit", "@system")
Order = Callable[[int], str]  # the order token of a change, given its commit instant


@dataclass(frozen=True, slots=True)
class Event:
    """What the changes of one event have in common."""

    raw: RawRecord
    source: str
    op: Op
    commit_us: int
    order: Order
    stem: str  # begins the ids of its changes
    changed: Changed = None
    is_new: bool = False  # there was no such record before
    touched: Changed = None  # columns that changed where the row is whole all the same

    @property
    def origin(self) -> tuple[str, int, int]:
        """Where the record was read."""
        return self.raw.topic, self.raw.partition, self.raw.offset


def decoded(event: Event, maps: Iterable[EntityMap], rows: Iterable[tuple[str, Row]], watermark_us: int | None,
            otherwise: str = "other_table") -> Decoded:
    """The changes that maps make of the rows of an event, each row under its record's id."""
    changes: list[Change] = []
    reasons: list[str] = []
    maps = tuple(maps)
    for record_id, row in rows:
        ours = {"@id": record_id, "@commit": Instant(event.commit_us), "@system": event.source.partition("/")[0]}
        touched = event.touched if event.changed is None else event.changed
        for each in maps:
            _of_map(event, each, {**row, **ours, CHANGED: touched}, changes, reasons)
    if not changes and NOBODY_KNOWS in reasons:
        raise MissingKey(f"found a {event.op.value} of records that the row alone names, and no row",
                         "send the former row with a delete")
    reason = None if changes else next(iter(reasons), otherwise)
    return Decoded(tuple(changes), watermark_us, filtered=reason)


def whole_object(event: Event, maps: Sequence[EntityMap], watermark_us: int | None) -> Decoded:
    """The changes that say of whole objects what the event's operation says of a record."""
    changes = [
        Change(name, "", event.op, event.source, "", event.commit_us, event.order(event.commit_us), {},
               f"{event.stem}:{name}:{event.op.value}", event.origin)
        for name in dict.fromkeys(each.entity.name for each in maps if not each.claims)
    ]
    reason = "claim" if maps else "other_table"
    return Decoded(tuple(changes), watermark_us, filtered=None if changes else reason)


def _of_map(event: Event, each: EntityMap, row: Row, changes: list[Change], reasons: list[str]) -> None:
    """Append the changes of one map, or why there are none."""
    op = Op.GAP if event.op is not Op.DELETE and each.unknown(row) else event.op
    if op in (Op.DELETE, Op.GAP):
        gone = [] if each.claims else [_gone(event, each, part, op) for part in each.parts_known(row)]
        if not gone:
            reasons.append("claim" if each.claims else NOBODY_KNOWS)
        changes += gone
        return
    if not _concerns(event, each.reads):
        reasons.append("no_mapped_field")
        return
    for part in each.parts_of(row, event.changed):
        if (change := _change(event, each, part, reasons)) is not None:
            changes.append(change)


def _concerns(event: Event, reads: frozenset[str]) -> bool:
    """Whether one of the columns changed."""
    changed = event.changed
    return changed is None or any(name in changed for name in reads)


def _change(event: Event, each: EntityMap, part: Part, reasons: list[str]) -> Change | None:
    """The change of one part, None when it says nothing."""
    reason = each.skipped(part.row) or _irrelevant(event, each, part)
    if reason is not None:
        reasons.append(reason)
        return None
    asserted = each.asserted(part.row)
    if event.changed is not None and each.says_nothing(asserted):
        reasons.append("nothing_asserted")
        return None
    op = Op.DELETE if part.empty or each.deleted(part.row) else event.op
    return _make(event, each, part, op, asserted)


def _irrelevant(event: Event, each: EntityMap, part: Part) -> str | None:
    """Why a part is none of the event's business: nothing of it changed, or it was empty before as well."""
    if part.empty and (event.is_new or not _concerns(event, part.own)):
        return "empty"
    apart = each.parts.apart if each.parts else frozenset()
    return None if _concerns(event, (each.reads - apart) | part.own) else "no_mapped_field"


def _gone(event: Event, each: EntityMap, part: Part, op: Op) -> Change:
    """A delete or a gap: it asserts the business key as far as the row has it."""
    return _make(event, each, part, op, each.identity(part.row))


def _make(event: Event, each: EntityMap, part: Part, op: Op, asserted: dict[str, Any]) -> Change:
    """A change of one part of a row."""
    subject = each.subject_of(part.row, {"@id": part.row["@id"]})
    if not subject:
        raise MissingKey(f"{each.entity.name}: found an event without subject, expected the record's id in it",
                         "let the event have a subject, or set subject in the mapping")
    commit_us = _stated(each, "commit", part.row, event.commit_us)
    seq = _stated(each, "order", part.row, None) or event.order(commit_us)
    seq = f"{seq}:{part.number:04d}" if part.number else seq
    return Change(each.entity.name, each.key_of(asserted, subject), op, event.source, subject, commit_us, seq, asserted,
                  f"{event.stem}:{each.entity.name}:{subject}:{seq}:{op.value}", event.origin)


def _stated(each: EntityMap, what: str, row: Row, otherwise: Any) -> Any:
    """What the row itself says about its commit or order, where the map reads that."""
    field = each.commit if what == "commit" else each.order
    if field is None:
        return otherwise
    try:
        value = field.evaluate(row)
    except DecodeError as error:
        raise error.within(f"{each.entity.name} {what}") from None
    if value is None or isinstance(value, Missing):
        if what == "order":
            raise MissingOrder(f"{each.entity.name}: expected columns {', '.join(sorted(field.reads))} to order it")
        return otherwise
    return value
