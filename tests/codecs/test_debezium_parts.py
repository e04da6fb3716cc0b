"""Rows of captured tables that are many records: as in events of vendors, but ordered by the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tieout.codecs.debezium import DebeziumCodec
from tieout.codecs.debezium_rows import Rows
from tieout.codecs.errors import MissingKey
from tieout.codecs.formats import Codec
from tieout.codecs.mapping import parse
from tieout.codecs.openers import JsonOpener
from tieout.codecs.records import RawRecord
from tieout.reconcilers.changes import Op

MakeRaw = Callable[..., RawRecord]
COMMIT_US = 1_773_164_531_000_000
SEQ = "00000000000000000100:00000000000000000200"
SOURCE = {"connector": "postgresql", "ts_ms": 1773164531000, "snapshot": "false", "db": "psa", "schema": "public",
          "table": "week", "lsn": 200, "sequence": '["100","200"]'}


def envelope(after: dict[str, Any] | None, op: str = "u") -> dict[str, Any]:
    """An envelope of one row."""
    return {"before": None, "after": after, "source": SOURCE, "op": op, "ts_ms": 1773164531420}


def of(mapping: str) -> Codec:
    """The codec of the source PSA/home."""
    return DebeziumCodec(Rows("PSA/home", parse(mapping, "t.toml")), JsonOpener(False))


WEEKLY = """
name = "t"
version = 1
[[map]]
entity = "time_entry"
subject = "{id}:{day.no}"
days = { start = "starts_on", hours = ["h1", "h2", "h3", "h4", "h5", "h6", "h7"] }
gap = [{ column = "lost", in = [true] }]
columns = { starts_on = "date" }
[map.fields]
origin_system = "@system"
origin_id = { template = "{id}:{day.date}" }
qty_s = { from = "day.hours", as = "decimal_hours_to_seconds" }
approved_at = { from = "@commit", when = [
    { column = "approved", is = "changed" }, { column = "approved", in = [true] }] }
"""


def test_a_captured_week_is_a_record_a_day(raw: MakeRaw) -> None:
    """Dates of days, hours of nought, and columns of ours as in events of vendors."""
    row = {"id": 7, "starts_on": 20521, "approved": True, "h1": "7.5", "h2": 8, **dict.fromkeys(("h3", "h4", "h5"), 0),
           "h6": None, "h7": None}
    codec, key = of(WEEKLY), {"id": 7}
    changes = codec.decode(raw(envelope(row), key=key)).changes
    assert [(each.key, each.subject, each.op) for each in changes] == [
        (f"PSA:7:2026-03-{9 + number:02d}", f"7:{number + 1}", Op.UPSERT if number < 2 else Op.DELETE)
        for number in range(7)]
    assert changes[1].asserted == {"origin_system": "PSA", "origin_id": "7:2026-03-10", "qty_s": 28_800,
                                   "approved_at": COMMIT_US}
    assert {each.seq for each in changes} == {SEQ}
    gone = codec.decode(raw(envelope(None, "d"), key=key)).changes
    assert [(each.op, each.subject) for each in gone] == [(Op.DELETE, f"7:{number}") for number in range(1, 8)]
    lost = codec.decode(raw(envelope({**row, "lost": True}), key=key)).changes
    assert {each.op for each in lost} == {Op.GAP}
    assert lost[0].asserted == {"origin_system": "PSA", "origin_id": "7:2026-03-09"}


LISTED = """
name = "t"
version = 1
[[map]]
entity = "assignment"
subject = "{id}:{days.no}"
each = "days"
fields = { alloc_value = { from = "days.minutes", as = "minutes" } }
"""


def test_a_captured_list_is_a_record_a_member_and_its_key_does_not_tell_them(raw: MakeRaw) -> None:
    codec = of(LISTED)
    row = {"id": 7, "days": [{"minutes": 60}, {"minutes": 90}]}
    changes = codec.decode(raw(envelope(row), key={"id": 7})).changes
    assert [(each.subject, each.seq, each.asserted) for each in changes] == [
        ("7:1", f"{SEQ}:0001", {"alloc_value": 3_600}), ("7:2", f"{SEQ}:0002", {"alloc_value": 5_400})]
    with pytest.raises(MissingKey, match="only the row tells"):
        codec.decode(raw(envelope(None, "d"), key={"id": 7}))
