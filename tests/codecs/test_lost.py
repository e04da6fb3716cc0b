"""Which record is meant by one that cannot be read: the same that it would have changed, or nobody knows."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tieout.codecs.errors import DecodeError
from tieout.codecs.records import RawRecord
from tieout.reconcilers.changes import Change, Op
from tieout.streams.pipeline import NamesLost

_spec = importlib.util.spec_from_file_location("_messages", Path(__file__).with_name("test_messages.py"))
assert _spec is not None and _spec.loader is not None  # noqa: PT018  one look at one file
messages = sys.modules.setdefault("_messages", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(messages)
CASES = messages.cases()
SOUND = [case for case in CASES if case.values[0]["fate"] in ("applied", "parked")]


def lost(case: dict[str, Any], record: RawRecord) -> tuple[Change, ...]:
    codec = messages.codec_of(case)
    assert isinstance(codec, NamesLost)
    return codec.lost(record)


def subjects(changes: tuple[Change, ...]) -> set[tuple[str, str, str]]:
    return {(change.entity, change.source, change.subject) for change in changes if change.key or change.subject}


@pytest.mark.parametrize("case", CASES)
def test_it_is_a_gap_of_a_record_that_the_message_would_change_whatever_is_wrong_with_it(case: dict[str, Any]) -> None:
    record = messages.record_of(case)
    found = lost(case, record)
    assert all(change.op is Op.GAP and (change.key or change.subject) for change in found)
    assert all(change.origin == record[:3] for change in found)
    try:
        decoded = messages.codec_of(case).decode(record).changes
    except DecodeError:
        return
    if decoded and {change.op for change in decoded} <= {Op.UPSERT, Op.SNAPSHOT}:
        assert not found or subjects(decoded) <= subjects(found)  # a timecard means all of its days


@pytest.mark.parametrize("case", [case for case in SOUND if case.values[0]["format"] != "debezium-flat"])
def test_bytes_that_are_cut_anywhere_name_the_same_record_or_none(case: dict[str, Any]) -> None:
    record, codec = messages.record_of(case), messages.codec_of(case)
    whole = subjects(codec.lost(record))
    value = record.value or b""
    for cut in range(0, len(value), max(1, len(value) // 40)):
        assert subjects(codec.lost(record._replace(value=value[:cut]))) <= whole


ENTRY = {"specversion": "1.0", "id": "e", "source": "TIME/kimai", "type": "tieout.time_entry.upserted", "subject": "7",
         "time": "2026-03-10T10:00:00Z"}
DATA = {"origin_system": "TIME", "origin_id": "7", "project_code": "ACME", "qty_s": "much"}
CANONICAL: list[tuple[dict[str, Any], list[tuple[str, str, str]]]] = [
    ({**ENTRY, "data": DATA}, [("time_entry", "TIME:7", "7")]),
    ({**ENTRY, "data": {**DATA, "origin_id": None}}, []),  # which one?
    ({**ENTRY, "source": "nobody", "data": DATA}, []),  # whose?
    ({**ENTRY, "type": "tieout.time_entri.upserted", "data": DATA}, []),  # what?
    ({**ENTRY, "time": "yesterday", "data": DATA}, [("time_entry", "TIME:7", "7")]),
    ({**ENTRY, "sequence": 7, "data": DATA}, [("time_entry", "TIME:7", "7")]),
    ({**ENTRY, "data": "text"}, []),
]


@pytest.mark.parametrize(("event", "expected"), CANONICAL)
def test_a_canonical_event_names_its_record_by_the_business_key(
        event: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    record = RawRecord("raw", 0, 1, 1_773_164_531_000, None, json.dumps(event).encode())
    found = lost({"format": "canonical", "options": {}}, record)
    assert [(change.entity, change.key, change.subject) for change in found] == expected
    for change in found:
        assert change.asserted == {"origin_system": "TIME", "origin_id": "7", "project_code": "ACME"}
        stated = 1_773_136_800_000_000
        assert change.commit_us == (1_773_164_531_000_000 if event["time"] == "yesterday" else stated)


DEBEZIUM: list[tuple[bytes | None, bytes | None, list[str]]] = [  # key, value, subjects
    (b'{"code": "ACME"}', b"{", ["ACME"]),
    (b'{"code": "ACME"}', b'{"op": "u", "source": {}, "after": {}}', ["ACME"]),
    (None, b"{", []),
    (b"{", b"{", []),
]


@pytest.mark.parametrize(("key", "value", "expected"), DEBEZIUM)
def test_a_debezium_record_is_named_by_its_key(key: bytes | None, value: bytes | None, expected: list[str]) -> None:
    case = {"format": "debezium-json", "options": {"source": "PSA/home", "mapping": "postgres", "entity": "project"}}
    record = RawRecord("psa.public.project", 0, 1, 1_773_164_531_000, key, value)
    assert [change.subject for change in lost(case, record)] == expected
