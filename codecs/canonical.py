"""Canonical input: CloudEvents 1.0 structured JSON whose `data` is already canonical. No mapping needed.

Types are `tieout.<entity>.<upserted|deleted|rekeyed|snapshot|gap|truncated>`, `tieout.source.observed` (a watermark)
and `tieout.finding.<acked|assigned|waived|resolved>` (a user decision). A gap without subject is one of the whole
object, a snapshot with neither subject nor data ends it. Where an event has no `sequence`, its commit instant orders
it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final

import orjson

from tieout.codecs.errors import (
    SHOWN_LENGTH,
    BadValue,
    DecodeError,
    MissingKey,
    MissingOrder,
    UnknownType,
    WrongShape,
    nearest,
    shown,
)
from tieout.codecs.json_text import load_object
from tieout.codecs.lost import arrived_us, readable
from tieout.codecs.records import Decision, Decoded, RawRecord
from tieout.codecs.values import Parser, instant_text, parse_instant, parse_int, parse_text, parser_of, to_wire
from tieout.reconcilers.changes import Change, Op
from tieout.reconcilers.entities import SOURCED, SYSTEMS, Entity

OBSERVED: Final = "tieout.source.observed"
DECISIONS: Final = ("acked", "assigned", "waived", "resolved")
_VERBS: Final = {"upserted": Op.UPSERT, "deleted": Op.DELETE, "rekeyed": Op.REKEY, "snapshot": Op.SNAPSHOT,
                 "gap": Op.GAP, "truncated": Op.TRUNCATE}
_VERB_OF: Final = {op: verb for verb, op in _VERBS.items()}
_KINDS_KEPT: Final = 1_024  # unknown types, of which a source sends the same ones again and again
_TOMBSTONE: Final = Decoded(filtered="tombstone")

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Plan:
    """How the events of one type are read."""

    entity: Entity
    op: Op
    parsers: Mapping[str, Parser]


def _plans() -> dict[str, _Plan]:
    """A plan for each event type of each entity."""
    plans: dict[str, _Plan] = {}
    for entity in SOURCED.values():
        parsers = {name: parser_of(attribute) for name, attribute in entity.attributes.items()}
        for verb, op in _VERBS.items():
            plans[f"tieout.{entity.name}.{verb}"] = _Plan(entity, op, parsers)
    return plans


_PLANS: Final = _plans()


class CanonicalCodec:
    """Decodes canonical events; it has no state and no options."""

    def decode(self, raw: RawRecord) -> Decoded:
        """The change, watermark or decision of one record; raises DecodeError."""
        if raw.value is None:
            return _TOMBSTONE
        event = load_object(raw.value)
        kind = event.get("type")
        if type(kind) is not str:
            raise WrongShape(f"found type {shown(kind)}, expected the type of a CloudEvent")
        if event.get("specversion") != "1.0":
            raise WrongShape(f"found specversion {shown(event.get('specversion'))}, expected '1.0'")
        plan = _PLANS.get(kind)
        if plan is not None:
            return _change(plan, event, raw)
        return _rare(kind, event, raw)

    def lost(self, raw: RawRecord) -> tuple[Change, ...]:
        """The record that an event is about which cannot be read: a GAP with what it belongs to, where that is told."""
        try:
            event = load_object(raw.value or b"")
            source, plan = _source(event), _PLANS.get(str(event.get("type")))
        except DecodeError:
            return ()
        if plan is None or plan.op not in (Op.UPSERT, Op.DELETE, Op.SNAPSHOT):
            return ()
        subject, data = event.get("subject"), event.get("data")
        subject = subject if type(subject) is str else ""
        asserted = _sound(plan, data if type(data) is dict else {})
        key = plan.entity.business_key(asserted, subject)
        if not key:
            return ()
        commit_us = readable(lambda: _commit_us(event), arrived_us(raw))
        return (Change(plan.entity.name, key, Op.GAP, source, subject or key, commit_us, "", asserted, "",
                       (raw.topic, raw.partition, raw.offset)),)


def recognises(value: bytes | None) -> bool:
    """True when the bytes are a CloudEvent with a type of ours; never raises."""
    try:
        kind = load_object(value or b"").get("type")
    except DecodeError:
        return False
    return isinstance(kind, str) and kind.startswith("tieout.")


def encode(change: Change) -> bytes:
    """The canonical event of a change: `decode` gives the change back, its origin aside."""
    entity = SOURCED[change.entity]
    data = {name: to_wire(entity.attributes[name], value) if name in entity.attributes else value
            for name, value in change.asserted.items()}
    return orjson.dumps({
        "specversion": "1.0", "id": change.event_id, "source": change.source,
        "type": f"tieout.{change.entity}.{_VERB_OF[change.op]}", "subject": change.subject,
        "time": instant_text(change.commit_us), "sequence": change.seq, "data": data,
    })


def encode_observed(source: str, event_id: str, through_us: int) -> bytes:
    """The event that says a source has delivered everything committed until `through_us`."""
    through = instant_text(through_us)
    return orjson.dumps({"specversion": "1.0", "id": event_id, "source": source, "type": OBSERVED, "time": through,
                         "data": {"through": through}})


def _change(plan: _Plan, event: Event, raw: RawRecord) -> Decoded:
    """A change of one record."""
    asserted, ignored = _READERS[plan.op](plan, _data(event))
    subject = event.get("subject")
    if subject is None:
        subject = ""
    elif type(subject) is not str:
        raise WrongShape(f"subject: found {shown(subject)}, expected text")
    commit_us = _commit_us(event)
    key = _key(plan, asserted, subject)
    change = Change(
        plan.entity.name, key, plan.op, _source(event), "" if plan.op is Op.TRUNCATE else subject or key, commit_us,
        _sequence(event, commit_us), asserted, _text(event, "id"), (raw.topic, raw.partition, raw.offset),
    )
    return Decoded((change,), None, False, None, ignored)


def _attributes(plan: _Plan, data: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """The asserted attributes of `data`, and how many of its members are no attributes."""
    parser_for = plan.parsers.get
    asserted: dict[str, Any] = {}
    ignored = 0
    name = ""
    try:
        for name, value in data.items():
            parse = parser_for(name)
            if parse is None:
                ignored += 1
            else:
                asserted[name] = None if value is None else parse(value)
    except DecodeError as error:
        raise error.within(f"data.{name}") from None
    return asserted, ignored


def _sound(plan: _Plan, data: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that can be read, whatever is wrong with the others."""
    found = {name: readable(partial(parse, data[name]), None) for name, parse in plan.parsers.items()
             if data.get(name) is not None}
    return {name: value for name, value in found.items() if value is not None}


def _rekeyed(plan: _Plan, data: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """The old and new key of a record; other members of `data` are ignored."""
    old, new = (_text(data, name, "data.") for name in ("old", "new"))
    return {"old": old, "new": new}, len(data) - 2


_READERS: Final[Mapping[Op, Callable[[_Plan, Mapping[str, Any]], tuple[dict[str, Any], int]]]] = {
    Op.UPSERT: _attributes, Op.DELETE: _attributes, Op.SNAPSHOT: _attributes, Op.GAP: _attributes, Op.REKEY: _rekeyed,
    Op.TRUNCATE: lambda plan, data: ({}, len(data)),
}


def _key(plan: _Plan, asserted: Mapping[str, Any], subject: str) -> str:
    """The business key of a record; empty for a gap of the whole object, and for the snapshot that ends it.

    The key of a rekeyed record is the new one.
    """
    if plan.op is Op.REKEY:
        return str(asserted["new"])
    if plan.op is Op.TRUNCATE:
        return ""
    key = plan.entity.business_key(asserted, subject)
    if key is not None:
        return key
    if plan.op is Op.GAP or (plan.op is Op.SNAPSHOT and not subject and not asserted):
        return ""
    parts = " and ".join(f"data.{name}" for name in plan.entity.key) or "subject"
    raise MissingKey(f"{plan.entity.name} {_VERB_OF[plan.op]}: expected {parts}, found {shown(dict(asserted))}")


def _data(event: Event) -> Mapping[str, Any]:
    """The event's `data`, an object."""
    data = event.get("data")
    if type(data) is dict:
        return data
    if "data_base64" in event:
        raise WrongShape("found data_base64, expected data as a JSON object")
    raise WrongShape(f"data: found {shown(data)}, expected a JSON object")


def _text(members: Mapping[str, Any], name: str, place: str = "") -> str:
    """A member that must be text and not empty."""
    value = members.get(name)
    if type(value) is str and value:
        return value
    raise WrongShape(f"{place}{name}: found {shown(value)}, expected text that is not empty")


def _source(event: Event) -> str:
    """The event's source, 'SYSTEM/instance'."""
    source = _text(event, "source")
    system, _, instance = source.partition("/")
    if system in SYSTEMS and instance:
        return source
    raise WrongShape(f"source: found {shown(source)}, expected SYSTEM/instance{nearest(system, SYSTEMS)}",
                     f"SYSTEM is one of {', '.join(SYSTEMS)}, e.g. TIME/kimai-emea")


def _commit_us(event: Event) -> int:
    """The commit instant at the source, microseconds UTC."""
    try:
        return parse_instant(event.get("time"))
    except BadValue as error:
        raise error.within("time") from None


def _sequence(event: Event, commit_us: int) -> str:
    """The order token; where there is none the commit instant stands in, padded to sort as text."""
    sequence = event.get("sequence")
    if type(sequence) is str and sequence:
        return sequence
    if sequence is None:
        return f"{commit_us:020d}"
    raise MissingOrder(f"sequence: found {shown(sequence)}, expected text", "pad numbers with zeros to a fixed width")


def _rare(kind: str, event: Event, raw: RawRecord) -> Decoded:
    """What is not a change of a record: watermarks, user decisions, and types that do not exist."""
    if kind == OBSERVED:
        return _observed(_data(event))
    prefix, _, action = kind.rpartition(".")
    if prefix == "tieout.finding" and action in DECISIONS:
        return _decision(action, event, raw)
    raise UnknownType(f"type: found {shown(kind)}, no such type{_meant(kind[:SHOWN_LENGTH])}")


@lru_cache(_KINDS_KEPT)
def _meant(kind: str) -> str:
    """Which type was meant, looked up once: comparing with all of them takes ten milliseconds."""
    return nearest(kind, list(_PLANS))


def _observed(data: Mapping[str, Any]) -> Decoded:
    """The watermark of the topic partition that the event stands in."""
    try:
        return Decoded(watermark_us=parse_instant(data.get("through")), heartbeat=True)
    except BadValue as error:
        raise error.within("data.through") from None


def _decision(action: str, event: Event, raw: RawRecord) -> Decoded:
    """What a user decided; it names time entries or one business key."""
    data = _data(event)
    optional = partial(_optional, data)
    entry_keys = data.get("entry_keys") or []
    if type(entry_keys) is not list or not all(type(key) is str for key in entry_keys):
        raise WrongShape(f"data.entry_keys: found {shown(entry_keys)}, expected a list of text")
    business_key = optional("business_key", parse_text)
    if not entry_keys and not business_key:
        raise MissingKey("a decision names data.entry_keys or data.business_key; found neither")
    decision = Decision(
        action, _text(data, "code", "data."), optional("facet", parse_text), tuple(entry_keys), business_key,
        _text(data, "actor", "data."), optional("reason", parse_text) or "", optional("ceiling_minor", parse_int),
        optional("expires_at", parse_instant), _commit_us(event), _text(event, "id"), _text(event, "source"),
        (raw.topic, raw.partition, raw.offset),
    )
    return Decoded(decisions=(decision,))


def _optional(data: Mapping[str, Any], name: str, parse: Parser) -> Any:
    """A parsed member of `data`, or None."""
    value = data.get(name)
    try:
        return None if value is None else parse(value)
    except DecodeError as error:
        raise error.within(f"data.{name}") from None
