"""Whatever bytes arrive in the name of a vendor: changes, a reason, or a DecodeError; never anything else."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson
import pytest
from fuzz_vendors import TARGETS, read
from fuzzing import CORPUS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tieout.codecs.errors import DecodeError
from tieout.codecs.formats import Codec, codec
from tieout.codecs.records import RawRecord

HEADER = {"entityName": "pse__Timecard_Header__c", "recordIds": ["a1"], "changeType": "UPDATE", "sequenceNumber": 1,
          "commitTimestamp": 1773652350000, "commitNumber": 5, "transactionKey": "t",
          "changedFields": ["pse__Status__c"], "nulledFields": ["pse__Bill_Rate__c"], "diffFields": []}
HOURS = {f"pse__{day}_Hours__c": 7.5 for day in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
                                                 "Sunday")}
TIMECARD = {"ChangeEventHeader": HEADER, "pse__Status__c": "Approved", "pse__Start_Date__c": "2026-03-09",
            "pse__Resource__c": "0031", "pse__Project__c": "a0P1", "pse__Bill_Rate__c": 150.25,
            "CurrencyIsoCode": "GBP", **HOURS}
CONTEXT = {
    "MessageName": "Update", "PrimaryEntityName": "msdyn_timeentry", "PrimaryEntityId": "6f0c",
    "OperationCreatedOn": "/Date(1773652350000+0000)/",
    "InputParameters": [{"key": "Target", "value": {"Attributes": [
        {"key": "msdyn_entrystatus", "value": {"__type": "OptionSetValue:x", "Value": 192350002}}]}}],
    "PostEntityImages": [{"key": "full", "value": {"Attributes": [
        {"key": "msdyn_date", "value": "/Date(1773144000000)/"}, {"key": "msdyn_duration", "value": 450},
        {"key": "msdyn_project", "value": {"Id": "p", "LogicalName": "msdyn_project"}},
        {"key": "versionnumber", "value": 88211903}]}}],
}
INVOICE = {
    "specversion": "1.0", "id": "1", "source": "s", "type": "ns.invoice.upserted", "subject": "invoice/90211",
    "time": "2026-04-02T18:05:11Z", "data": {
        "id": "90211", "tranid": "INV-310", "job": "ACME", "subsidiary": "UK01", "currency": "GBP",
        "trandate": "2026-04-02", "postingperiod": "Mar 2026", "status": "open", "externalid": "be:1",
        "item": [{"line": 1, "quantity": "37.5", "rate": "150.00", "amount": 5625.0}],
        "time": [{"doc": "71001", "apply": True, "hours": "7:30"}]},
}
TASK = {
    "specversion": "1.0", "id": "1", "source": "s", "type": "float.task.updated", "subject": "1",
    "time": "2026-03-02T11:15:00Z", "sequence": "7", "data": {
        "task_id": 1, "project_id": 2, "people_id": 3, "start_date": "2026-03-02", "end_date": "2026-03-03",
        "hours": 7.5, "status": 2, "billable": 1, "repeat_state": 1, "repeat_end_date": "2026-03-20"},
}
SOURCES: list[tuple[str, Codec, dict[str, Any]]] = [
    ("salesforce", codec("salesforce-cdc", {"source": "PSA/c", "mapping": "certinia"}), TIMECARD),
    ("dataverse", codec("dataverse", {"source": "PSA/d", "mapping": "d365"}), CONTEXT),
    ("netsuite", codec("cloudevents", {"source": "ERP/n", "mapping": "netsuite"}), INVOICE),
    ("float", codec("cloudevents", {"source": "SCHED/f", "mapping": "float"}), TASK),
]
IDS = [name for name, *_ in SOURCES]

NASTY = ["", "0", "-1", "1e400", "2026-02-30", "2026-03-10T24:00:00Z", "/Date(1)/", "/Date(-99999999999999999)/",
         "7:60", "Mar 0000", "0x01", "001*", "9" * 400, "\ud800", "Infinity", "NaN", "DELETE", "GAP_OVERFLOW"]
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.integers(-(2**70), 2**70), st.floats(),
                    st.text(max_size=12), st.sampled_from(NASTY))
VALUES = st.recursive(SCALARS, lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)), max_leaves=6)


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to everything in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [above, *(place for name, each in inner for place in places(each, (*above, name)))]


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The document with one place replaced."""
    if not path:
        return value
    document = copy.deepcopy(document)
    target = document
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return document


def survives(decoder: Codec, value: bytes | None) -> None:
    """Decode; what comes out can travel in a frame."""
    decoded = None
    with suppress(DecodeError):
        decoded = decoder.decode(RawRecord("raw", 0, 0, 0, None, value))
    if decoded is None:
        return
    for change in decoded.changes:
        orjson.dumps(change.to_record())
        assert change.seq
    assert decoded.changes or decoded.filtered or decoded.heartbeat


@pytest.mark.parametrize(("decoder", "document"), [row[1:] for row in SOURCES], ids=IDS)
def test_each_is_read_whole_and_refused_in_pieces(decoder: Codec, document: dict[str, Any],
                                                  refuses_damage: Callable[..., None]) -> None:
    record = RawRecord("raw", 0, 0, 0, None, json.dumps(document).encode())
    assert decoder.decode(record).changes
    refuses_damage(decoder, record)


@pytest.mark.parametrize(("decoder", "document"), [row[1:] for row in SOURCES], ids=IDS)
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_value_in_any_place(decoder: Codec, document: dict[str, Any], data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        document = replaced(document, data.draw(st.sampled_from(places(document))), data.draw(VALUES))
        if not isinstance(document, dict):
            break
    survives(decoder, json.dumps(document).encode())


@pytest.mark.parametrize("decoder", [row[1] for row in SOURCES], ids=IDS)
@settings(max_examples=100)
@given(value=st.one_of(st.none(), st.binary(max_size=64), VALUES.map(lambda value: json.dumps(value).encode())))
def test_any_bytes(decoder: Codec, value: bytes | None) -> None:
    survives(decoder, value)


@pytest.mark.parametrize(("decoder", "document"), [row[1:] for row in SOURCES], ids=IDS)
@settings(max_examples=100)
@given(data=st.data())
def test_any_byte_changed(decoder: Codec, document: dict[str, Any], data: st.DataObject) -> None:
    value = bytearray(json.dumps(document).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    survives(decoder, bytes(value))


@pytest.mark.parametrize("target", TARGETS)
def test_corpus(target: str) -> None:
    """Inputs that coverage-guided fuzzing found worth keeping."""
    files = sorted((CORPUS / target).iterdir())
    assert files, f"no inputs for {target}: the corpus was not checked in"
    for file in files:
        read(target, file.read_bytes())
