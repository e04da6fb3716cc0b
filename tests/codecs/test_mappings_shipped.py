"""Every mapping that is shipped decodes a frozen payload of its system, cut and padded payloads refused."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tieout.codecs.errors import MappingError
from tieout.codecs.formats import codec
from tieout.codecs.mapping import SHIPPED, load, shipped
from tieout.codecs.mapping_file import read_mapping
from tieout.codecs.mapping_schema import schema
from tieout.codecs.records import Decoded, RawRecord
from tieout.reconcilers.changes import Op

jsonschema_rs = pytest.importorskip("jsonschema_rs")  # comes with schemathesis

VENDORS = Path(__file__).parent / "messages" / "vendors.jsonl"
GoldenFile = Callable[[str], bytes]
MakeRaw = Callable[..., RawRecord]

KIMAI = {"source": "TIME/kimai-emea", "mapping": "kimai"}
AX = {"source": "ERP/ax", "mapping": "ax"}
POSTGRES = {"source": "PSA/home", "mapping": "postgres"}

KIMAI_ENTRY = {
    "origin_system": "TIME", "origin_id": "88121", "worker_no": {"$ref": ["resource", "1001"]},
    "project_code": {"$ref": ["project", "317"]}, "work_date": 20522, "work_tz": "Europe/London",
    "start_at": 1773131400000000, "end_at": 1773162000000000, "break_s": 3600, "qty_s": 27000, "quantum_s": 60,
    "time_type": "WORK", "billable": True,
}  # fmt: skip
AX_LABOUR = {
    "le_code": "UK01", "erp_txn_id": "PT-0048213", "origin_ref": "TIME:88121", "project_code": "ACME-24017",
    "worker_no": "W1001", "work_date": 20522, "txn_type": "COST", "qty_s": 27000,
    "source_rate": [165000000, "GBP", "HOUR", 28800], "cost_centre": "CC-4410", "bill_status": "POSTED",
}  # fmt: skip


def test_kimai(golden: GoldenFile, raw: MakeRaw, refuses_damage: Callable[..., None]) -> None:
    kimai = codec("debezium-json", KIMAI)
    for file in ("kimai_create.json", "kimai_update.json"):
        record = raw(golden(file), key={"id": 88121})
        (change,) = kimai.decode(record).changes
        assert (change.entity, change.key, change.op) == ("time_entry", "TIME:88121", Op.UPSERT)
        assert change.subject == "88121"
        assert change.asserted == KIMAI_ENTRY
        assert (change.commit_us, change.seq) == (1773164531000000, "mysql:binlog.0000000412:000048211934:0000")
        refuses_damage(kimai, record)


def test_kimai_delete_then_tombstone(golden: GoldenFile, raw: MakeRaw, refuses_damage: Callable[..., None]) -> None:
    kimai = codec("debezium-json", KIMAI)
    record = raw(golden("kimai_delete.json"), key={"id": 88121})
    (change,) = kimai.decode(record).changes
    assert (change.op, change.key, change.subject) == (Op.DELETE, "TIME:88121", "88121")
    assert change.asserted == {"origin_system": "TIME", "origin_id": "88121"}
    refuses_damage(kimai, record)
    assert kimai.decode(raw(None, key={"id": 88121})) == Decoded(filtered="tombstone")


def test_kimai_running_timer_is_not_wanted(golden: GoldenFile, raw: MakeRaw) -> None:
    envelope = json.loads(golden("kimai_create.json"))
    envelope["after"]["end_time"] = None
    decoded = codec("debezium-json", KIMAI).decode(raw(envelope, key={"id": 88121}))
    assert (decoded.changes, decoded.filtered) == ((), "running_timer")


@pytest.mark.parametrize(("format", "file", "key"), [
    ("debezium-json", "ax_create.json", {"RECID": 5637148213}),
    ("debezium-json-schema", "ax_create_schema.json", {
        "schema": {"type": "struct", "fields": [{"type": "int64", "field": "RECID"}]},
        "payload": {"RECID": 5637148213}}),
])
def test_ax(golden: GoldenFile, raw: MakeRaw, format: str, file: str, key: Any) -> None:
    """numeric(32,16) as base64: 7.5 h are 27000 s, 165 an hour are 165000000; with and without embedded schema."""
    ax = codec(format, AX)
    (change,) = ax.decode(raw(golden(file), key=key)).changes
    assert (change.entity, change.key, change.op, change.subject) == (
        "posted_labour", "UK01:PT-0048213", Op.UPSERT, "5637148213")
    assert change.asserted == AX_LABOUR
    assert change.seq == "00000027:00000758:0005|00000027:00000758:0003|000001"


def test_ax_refuses_damage(golden: GoldenFile, raw: MakeRaw, refuses_damage: Callable[..., None]) -> None:
    refuses_damage(codec("debezium-json", AX), raw(golden("ax_create.json"), key={"RECID": 5637148213}))


def test_ax_delete_knows_only_the_record_id(raw: MakeRaw, golden: GoldenFile) -> None:
    envelope = json.loads(golden("ax_create.json"))
    envelope.update(op="d", before=envelope["after"], after=None)
    (change,) = codec("debezium-json", AX).decode(raw(envelope, key={"RECID": 5637148213})).changes
    assert (change.op, change.key, change.subject) == (Op.DELETE, "", "5637148213")
    assert change.asserted == {}


SOURCE = {"connector": "postgresql", "ts_ms": 1773164531000, "db": "psa", "schema": "public", "lsn": 200,
          "sequence": '["100","200"]'}
POSTGRES_ROWS = [
    ("project", {"code": "acme 24017", "name": "Acme", "starts_on": 20454, "ends_on": 20818, "billable": True,
                 "kind": "client", "status": "paused", "deleted": False}, "ACME-24017", Op.UPSERT,
     {"project_code": "ACME-24017", "name": "Acme", "start": 20454, "end": 20819, "billable": True,
      "project_type": "EXTERNAL", "state": "UNKNOWN"}),
    ("project", {"code": "P", "deleted": True}, "P", Op.DELETE, {"project_code": "P"}),
    ("project", {"code": "P", "ends_on": 2147483647, "deleted": None}, "P", Op.UPSERT,
     {"project_code": "P", "end": None}),
    ("assignment", {"id": 7, "project_code": "P", "worker_no": "W1", "starts_on": 20514, "ends_on": 20539,
                    "confirmed": True, "percent": "62.5", "day_rate": "1000.00", "currency": "GBP"}, "7", Op.UPSERT,
     {"project_code": "P", "worker_no": "W1", "from": 20514, "to": 20540, "mode": "PCT", "alloc_value": 6250,
      "commit": "HARD", "bill_rate": [1000000000, "GBP", "DAY", 27000]}),
    ("time_entry", {"id": 9, "hours": "0.33", "worked_on": 20522, "status": "approved", "currency": "JPY",
                    "approved_at": "2026-03-10T17:40:00Z", "amount": "148000"}, "TIME:9", Op.UPSERT,
     {"origin_system": "TIME", "origin_id": "9", "qty_s": 1188, "quantum_s": 36, "work_date": 20522,
      "state": "APPROVED", "approved_at": 1773164400000000, "source_amount": [148000, "JPY"]}),
    ("time_entry", {"id": 9, "minutes": 450, "hours": "7.4"}, "TIME:9", Op.UPSERT,
     {"origin_system": "TIME", "origin_id": "9", "qty_s": 27000, "quantum_s": 36}),
]  # fmt: skip


@pytest.mark.parametrize(("table", "row", "key", "op", "asserted"), POSTGRES_ROWS)
def test_postgres(raw: MakeRaw, table: str, row: dict[str, Any], key: str, op: Op, asserted: dict[str, Any]) -> None:
    envelope = {"op": "c", "after": row, "source": {**SOURCE, "table": table}}
    (change,) = codec("debezium-json", POSTGRES).decode(raw(envelope, key={"id": row.get("id", 1)})).changes
    assert (change.entity, change.key, change.op, change.asserted) == (table, key, op, asserted)


def vendor_cases() -> list[dict[str, Any]]:
    """The messages of vendors, which `test_messages.py` sends through the pipeline."""
    return [json.loads(line) for line in VENDORS.read_text(encoding="utf-8").splitlines()]


def test_every_shipped_mapping_is_tested() -> None:
    """Here or among the messages; each entity of a mapping comes in at least one change there."""
    tested = {options["mapping"] for options in (KIMAI, AX, POSTGRES)}
    made: dict[str, set[str]] = {}
    for case in vendor_cases():
        made.setdefault(case["options"]["mapping"], set()).update(each["entity"] for each in case.get("changes", ()))
    assert set(shipped()) == tested | made.keys()
    untested = {name: {each.entity.name for each in load(name).maps} - entities for name, entities in made.items()}
    assert {name: entities for name, entities in untested.items() if entities} == {}


@pytest.mark.parametrize("name", shipped())
def test_what_is_shipped_fits_the_schema_that_editors_use(name: str) -> None:
    """Each names the schema in its first line, for editors that look there."""
    text = (SHIPPED / f"{name}.toml").read_text(encoding="utf-8")
    assert text.startswith("#:schema schema.json\n")
    assert jsonschema_rs.validator_for(schema()).is_valid(tomllib.loads(text))


def test_the_schema_that_is_shipped_is_that_of_the_reader() -> None:
    """`tieout mappings schema > codecs/mappings/schema.json` makes it anew."""
    assert json.loads((SHIPPED / "schema.json").read_text(encoding="utf-8")) == schema()


@pytest.mark.parametrize("wrong", [
    {"name": "x", "version": 1},
    {"name": "x", "version": 1, "map": [{"entity": "time_entri", "fields": {}}]},
    {"name": "x", "version": 1, "map": [{"entity": "project", "fields": {"project_code": "a", "hours": "b"}}]},
    {"name": "x", "version": 1, "map": [{"entity": "project", "fields": {"name": "a"}}]},
    {"name": "x", "version": 1, "map": [{"entity": "project", "fields": {"project_code": {"from": "a", "as": "txt"}}}]},
    {"name": "x", "version": 1, "map": [{"entity": "project", "skip": [{"column": "a"}],
                                         "fields": {"project_code": "a"}}]},
])
def test_the_schema_refuses_what_the_reader_refuses(wrong: dict[str, Any]) -> None:
    assert not jsonschema_rs.validator_for(schema()).is_valid(wrong)
    with pytest.raises(MappingError):
        read_mapping(wrong, "t.toml")
