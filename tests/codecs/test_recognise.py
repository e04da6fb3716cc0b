"""What format bytes look like: a table of samples, and the formats that each may stand in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieout.codecs.recognise import CONTROL, JSON, TOMBSTONE, UNKNOWN, WIDE_AVRO, fits, recognise

ENVELOPE = {"op": "c", "before": None, "after": {"id": 1}, "source": {"connector": "postgresql"}}
EVENT = {"specversion": "1.0", "id": "1", "source": "x"}
SAMPLES: list[tuple[Any, str]] = [
    (None, TOMBSTONE),
    (ENVELOPE, "debezium-json"),
    ({"schema": {}, "payload": ENVELOPE}, "debezium-json-schema"),
    ({"schema": {}, "payload": {"ts_ms": 1}}, CONTROL),
    ({"schema": {}, "payload": {"id": 1, "hours": "Au4="}}, "debezium-flat"),
    ({"schema": {}, "payload": None}, "debezium-flat"),
    ({"ts_ms": 1773164531000}, CONTROL),
    ({"id": 1, "__op": "c", "__deleted": "false"}, "debezium-flat"),
    ({**EVENT, "type": "tieout.time_entry.upserted"}, "canonical"),
    ({**EVENT, "type": "com.float.booking.created"}, "cloudevents"),
    ({"schema": "x", "payload": {"ChangeEventHeader": {}, "Name": "A"}, "event": {}}, "salesforce-cdc"),
    ({"ChangeEventHeader": {}, "Name": "A"}, "salesforce-cdc"),
    ({"PrimaryEntityName": "msdyn_timeentry", "InputParameters": []}, "dataverse"),
    ({"id": 1, "hours": 7.5}, JSON),
    ({}, JSON),
    (b"\x00\x00\x00\x00\x2a\x02\x04", "debezium-avro"),
    (b"\x00\x00\x00\x00\x00\x00\x00\x00\x2a\x02", WIDE_AVRO),
    (b"\x00\x00", UNKNOWN),
    (b"", UNKNOWN),
    (b"<xml/>", UNKNOWN),
    (b"[1, 2]", UNKNOWN),
]


def encoded(sample: Any) -> bytes | None:
    """The bytes of a sample."""
    return sample if sample is None or isinstance(sample, bytes) else json.dumps(sample).encode()


@pytest.mark.parametrize(("sample", "expected"), SAMPLES, ids=[f"{n}-{look}" for n, (_, look) in enumerate(SAMPLES)])
def test_a_record_is_recognised(sample: Any, expected: str) -> None:
    """Each format by what only it has."""
    look = recognise(encoded(sample))
    assert look.format == expected
    assert look.seen


@pytest.mark.parametrize(("format", "looks_like", "verdict"), [
    ("debezium-json", "debezium-json", True),
    ("debezium-json", TOMBSTONE, True),
    ("debezium-json", CONTROL, True),
    ("debezium-json", "debezium-json-schema", False),
    ("debezium-json-schema", "debezium-avro", False),
    ("debezium-flat", JSON, True),
    ("debezium-json", JSON, False),
    ("cloudevents", "canonical", True),
    ("canonical", "cloudevents", False),
    ("debezium-avro", WIDE_AVRO, False),
])  # fmt: skip
def test_what_may_stand_in_a_topic(format: str, looks_like: str, verdict: bool) -> None:
    """Control records and tombstones belong everywhere, other formats nowhere."""
    sample = next(each for each, look in SAMPLES if look == looks_like)
    assert fits(format, recognise(encoded(sample))) is verdict


@given(st.binary(max_size=64))
def test_any_bytes_have_a_look(value: bytes) -> None:
    """A diagnosis never fails on what it looks at."""
    assert recognise(value).format


@pytest.mark.parametrize("sample", [ENVELOPE, {"schema": {}, "payload": ENVELOPE}])
def test_a_cut_record_is_unknown(sample: Any) -> None:
    """At every byte."""
    whole = encoded(sample) or b""
    assert {recognise(whole[:length]).format for length in range(len(whole))} == {UNKNOWN}
