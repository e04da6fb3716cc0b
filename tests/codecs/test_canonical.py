"""Canonical events: golden bytes, every type of event, everything that is refused, and the way back."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieout.codecs import canonical
from tieout.codecs.canonical import CanonicalCodec, encode, encode_observed, recognises
from tieout.codecs.errors import (
    BadValue,
    DecodeError,
    LossyNumber,
    MissingKey,
    MissingOrder,
    NotJson,
    UnknownType,
    WrongShape,
)
from tieout.codecs.formats import codec
from tieout.codecs.records import Decision, Decoded, RawRecord
from tieout.reconcilers.changes import Change, Op
from tieout.reconcilers.entities import ENTITIES, SOURCED, Attribute, Kind

CODEC = codec("canonical", {})
ORIGIN = ("raw", 2, 7)
APPROVED_US = 1_773_164_400_000_000
COMMIT_US = 1_773_164_531_000_000

EVENT: dict[str, Any] = {
    "specversion": "1.0", "id": "e-1", "source": "TIME/kimai-emea", "type": "tieout.time_entry.upserted",
    "subject": "88121", "time": "2026-03-10T17:42:11Z", "sequence": "000042",
    "data": {"origin_system": "TIME", "origin_id": "88121", "qty_s": 27000},
}


def event(**members: Any) -> dict[str, Any]:
    """The event above with members replaced; '…' takes one away, `data` members are merged."""
    data = {**EVENT["data"], **members.pop("data", {})}
    merged = {**EVENT, **members, "data": data}
    return {name: value for name, value in merged.items() if value is not ...}


def test_golden_time_entry(golden: Callable[[str], bytes], raw: Callable[..., RawRecord],
                           refuses_damage: Callable[..., None]) -> None:
    record = raw(golden("canonical_time_entry.json"))
    assert CODEC.decode(record) == Decoded(changes=(
        Change("time_entry", "TIME:88121", Op.UPSERT, "TIME/kimai-emea", "88121", COMMIT_US, "000000000042", {
            "origin_system": "TIME", "origin_id": "88121", "worker_no": "W1001", "project_code": "ACME-24017",
            "work_date": 20522, "work_tz": "Europe/London", "qty_s": 27000, "quantum_s": 60, "time_type": "WORK",
            "role_code": "SA", "billable": True, "state": "APPROVED", "approved_at": APPROVED_US,
            "approver_no": "W9001",
        }, "a-unique-id", ORIGIN),))
    refuses_damage(CODEC, record)


CHANGES = [
    # type                             subject  data                                        op           key
    ("tieout.project.upserted",        "P1",    {"project_code": "ACME"},                   Op.UPSERT,   "ACME"),
    ("tieout.project.snapshot",        "P1",    {"project_code": "ACME"},                   Op.SNAPSHOT, "ACME"),
    ("tieout.project.deleted",         "P1",    {"project_code": "ACME"},                   Op.DELETE,   "ACME"),
    ("tieout.project.rekeyed",         "P1",    {"old": "ACME", "new": "ACME-UK"},          Op.REKEY,    "ACME-UK"),
    ("tieout.project.gap",             "P1",    {"project_code": "ACME"},                   Op.GAP,      "ACME"),
    ("tieout.project.gap",             "",      {},                                         Op.GAP,      ""),
    ("tieout.project.snapshot",        "",      {},                                         Op.SNAPSHOT, ""),
    ("tieout.assignment.upserted",     "A1",    {"worker_no": "W1"},                        Op.UPSERT,   "A1"),
    ("tieout.assignment.deleted",      "A1",    {},                                         Op.DELETE,   "A1"),
    ("tieout.calendar_day.upserted",   "",      {"calendar_id": "UK", "day": "2026-03-10"}, Op.UPSERT,   "UK:20522"),
    ("tieout.contract_line.upserted",  "",      {"contract_no": "C7", "line_no": 2},        Op.UPSERT,   "C7:2"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "subject", "data", "op", "key"), CHANGES)
def test_changes(raw: Callable[..., RawRecord], kind: str, subject: str, data: dict[str, Any], op: Op, key: str
                 ) -> None:
    (change,) = CODEC.decode(raw({**EVENT, "type": kind, "subject": subject, "data": data})).changes
    assert (change.op, change.key, change.subject) == (op, key, subject or key)
    assert set(change.asserted) == set(data)


def test_absent_is_not_asserted_null_is_and_what_is_not_known_is_counted(raw: Callable[..., RawRecord]) -> None:
    decoded = CODEC.decode(raw(event(data={"role_code": None, "hours": 7.5, "canonical_id": "x"})))
    assert decoded.changes[0].asserted == {
        "origin_system": "TIME", "origin_id": "88121", "qty_s": 27000, "role_code": None}
    assert decoded.ignored_attributes == 2


def test_without_a_sequence_the_commit_instant_orders(raw: Callable[..., RawRecord]) -> None:
    (change,) = CODEC.decode(raw(event(sequence=...))).changes
    assert change.seq == "00001773164531000000"


def test_a_watermark(raw: Callable[..., RawRecord], refuses_damage: Callable[..., None]) -> None:
    record = raw(encode_observed("TIME/kimai-emea", "w-1", APPROVED_US))
    assert CODEC.decode(record) == Decoded(watermark_us=APPROVED_US, heartbeat=True)
    refuses_damage(CODEC, record)


def test_a_tombstone_says_nothing(raw: Callable[..., RawRecord]) -> None:
    assert CODEC.decode(raw(None, key=b"88121")) == Decoded(filtered="tombstone")


@pytest.mark.parametrize("action", ["acked", "assigned", "waived", "resolved"])
def test_user_decisions(raw: Callable[..., RawRecord], action: str) -> None:
    data = {"code": "28", "facet": "QTY", "entry_keys": ["TIME:1"], "actor": "ann", "reason": "known",
            "ceiling_minor": 5000, "expires_at": "2026-03-10T17:40:00Z"}
    record = raw({**EVENT, "type": f"tieout.finding.{action}", "source": "tieout/api", "data": data})
    assert CODEC.decode(record).decisions == (Decision(
        action, "28", "QTY", ("TIME:1",), None, "ann", "known", 5000, APPROVED_US, COMMIT_US, "e-1", "tieout/api",
        ORIGIN),)


REFUSED: list[tuple[Any, type[DecodeError], str]] = [
    # what                                                               error         words
    (b"",                                                                NotJson,      "expected one JSON object"),
    (b"\x00\x00\x00\x01\xa1Hi",                                          NotJson,      "expected one JSON object"),
    (b'{"a":NaN}',                                                       NotJson,      "expected one JSON object"),
    (b'{"a":"\xff"}',                                                    NotJson,      "expected one JSON object"),
    (b"[]",                                                              WrongShape,   "expected a JSON object"),
    (event(type=...),                                                    WrongShape,   "type of a CloudEvent"),
    (event(type=7),                                                      WrongShape,   "type of a CloudEvent"),
    (event(specversion="0.3"),                                           WrongShape,   "specversion '0.3'"),
    (event(type="tieout.time_entries.upserted"),                         UnknownType,  "did you mean"),
    (event(type="tieout.time_entry.created"),                            UnknownType,  "no such type"),
    (event(type="tieout.finding.closed"),                                UnknownType,  "no such type"),
    (event(type="com.example.thing"),                                    UnknownType,  "no such type"),
    (event(id=""),                                                       WrongShape,   "id: found ''"),
    (event(source="KIMAI/emea"),                                         WrongShape,   "SYSTEM/instance"),
    (event(source="TIME"),                                               WrongShape,   "SYSTEM/instance"),
    (event(subject=88121),                                               WrongShape,   "subject: found 88121"),
    (event(time=...),                                                    BadValue,     "time: found None"),
    (event(time="2026-03-10T17:42:11"),                                  BadValue,     "time: found"),
    (event(sequence=42),                                                 MissingOrder, "sequence: found 42"),
    (dict(EVENT, data=None),                                            WrongShape,   "data: found None"),
    (dict(EVENT, data_base64="AAAA", data=...),                      WrongShape,   "data_base64"),
    (event(data={"origin_id": None}),                                    MissingKey,   "and data.origin_id"),
    (event(data={"origin_id": ""}),                                      MissingKey,   "data.origin_id"),
    (event(data={"origin_id": 88121}),                                   BadValue,     "data.origin_id: found 88121"),
    (event(data={"qty_s": 27000.0}),                                     LossyNumber,  "data.qty_s: found 27000.0"),
    (event(data={"qty_s": 2**64}),                                       LossyNumber,  "data.qty_s"),
    (event(type="tieout.assignment.upserted", subject=..., data={}),     MissingKey,   "expected subject"),
    (event(type="tieout.project.rekeyed", data={"old": "A"}),            WrongShape,   "data.new: found None"),
    (event(type="tieout.source.observed", data={}),                      BadValue,     "data.through: found None"),
    (event(type="tieout.finding.acked", data={"code": "28"}),            MissingKey,   "data.business_key"),
    (event(type="tieout.finding.acked", data={"code": "28", "business_key": "P"}), WrongShape, "data.actor"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "error", "words"), REFUSED)
def test_refuses(raw: Callable[..., RawRecord], value: Any, error: type[DecodeError], words: str) -> None:
    if isinstance(value, dict):
        value = {name: member for name, member in value.items() if member is not ...}
    with pytest.raises(DecodeError) as caught:
        CODEC.decode(raw(value))
    assert type(caught.value) is error
    assert words in str(caught.value)
    assert caught.value.hint
    assert caught.value.reason


RECOGNISED = [(b'{"type":"tieout.project.upserted"}', True), (b'{"type":"x"}', False), (b"", False), (None, False)]


@pytest.mark.parametrize(("value", "answer"), RECOGNISED)
def test_recognises_its_own_events_and_never_raises(value: bytes | None, answer: bool) -> None:
    assert recognises(value) is answer


_TEXT = st.text(min_size=1)
_VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.TEXT: _TEXT, Kind.INT: st.integers(-(2**63), 2**63 - 1), Kind.BOOL: st.booleans(),
    Kind.DATE: st.integers(-700_000, 2_900_000), Kind.INSTANT: st.integers(-(10**15), 10**16),
    Kind.RATE: st.tuples(st.integers(0, 10**12), st.just("GBP"), st.just("DAY"), st.integers(1, 86_400)).map(list),
    Kind.MONEY: st.tuples(st.integers(-(10**12), 10**12), st.just("JPY")).map(list),
    Kind.TEXTS: st.lists(_TEXT), Kind.JSON: st.lists(st.dictionaries(_TEXT, st.integers(0, 9))),
}


def _value(attribute: Attribute) -> st.SearchStrategy[Any]:
    return st.sampled_from(attribute.members) if attribute.members else _VALUES[attribute.kind]


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """Any sound change: any entity, any operation, any subset of its attributes, some of them null."""
    entity = draw(st.sampled_from(sorted(SOURCED.values(), key=lambda entity: entity.name)))
    op = draw(st.sampled_from(list(Op)))
    subject, seq, event_id = draw(_TEXT), draw(_TEXT), draw(_TEXT)
    if op is Op.REKEY:
        asserted: dict[str, Any] = {"old": draw(_TEXT), "new": draw(_TEXT)}
        key = str(asserted["new"])
    else:
        asserted = {name: draw(_value(entity.attributes[name])) for name in entity.key}
        for name in draw(st.sets(st.sampled_from(sorted(entity.attributes)))) - set(entity.key):
            asserted[name] = draw(st.none() | _value(entity.attributes[name]))
        key = entity.business_key(asserted, subject) or ""
    if op is Op.TRUNCATE:
        key, subject, asserted = "", "", {}
    return Change(entity.name, key, op, "PSA/certinia", subject, draw(_VALUES[Kind.INSTANT]), seq, asserted, event_id,
                  ORIGIN)


@given(changes())
def test_reading_what_was_written_gives_it_back(change: Change) -> None:
    assert CanonicalCodec().decode(RawRecord(*ORIGIN, 0, None, encode(change))).changes == (change,)


@given(st.binary(max_size=64) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from([*EVENT, "through", "old", "code"]) | st.text(), inner)).map(lambda value: json.dumps(
            {**EVENT, **value} if isinstance(value, dict) else value).encode()))
def test_never_fails_otherwise_than_with_a_decode_error(value: bytes) -> None:
    with suppress(DecodeError):
        CODEC.decode(RawRecord("raw", 0, 0, 0, None, value))


def test_what_follows_from_coverage_cannot_be_sent() -> None:
    """An entity of ours is no type of an event: a source could say what an invoice covers without covering it."""
    assert ENTITIES.keys() - SOURCED.keys() == {"covered_invoice"}
    sent = {"specversion": "1.0", "id": "1", "source": "ERP/x", "type": "tieout.covered_invoice.upserted",
            "subject": "I", "time": "2026-03-10T10:00:00Z", "sequence": "1", "data": {"le_code": "UK01"}}
    with pytest.raises(UnknownType, match="covered_invoice"):
        CanonicalCodec().decode(RawRecord("t", 0, 0, 0, None, json.dumps(sent).encode()))


def test_an_unknown_type_is_compared_with_all_types_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison takes ten milliseconds: a source full of one unknown type would stand still."""
    asked: list[str] = []

    def nearest(name: str, known: list[str]) -> str:
        asked.append(name)
        return "; did you mean x?"

    monkeypatch.setattr(canonical, "nearest", nearest)
    for subject in ("1", "2", "3"):
        value = json.dumps({**EVENT, "type": "tieout.timesheet" * 100, "subject": subject}).encode()
        with pytest.raises(UnknownType, match="did you mean x"):
            CODEC.decode(RawRecord("raw", 0, 0, 0, None, value))
    assert [len(name) for name in asked] == [80]
