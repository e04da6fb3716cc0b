"""Output records to rows: bulk and one by one agree, and whatever is bad is found."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from sink_rows import cell, decision, encoded, entry, finding, finding_event, source

from tieout.reconcilers.outcomes import PUBLISHED, Outcome, Output
from tieout.schemas import avsc
from tieout.streams.sinks.decode import Undecodable, decode_all, decode_one, unframed
from tieout.streams.sinks.tables import OUTPUT_TABLES

ONE_OF_EACH = [entry(), finding(), finding_event(), decision(), cell(-5, denominator=3), source()]


def payload(outcome: Outcome) -> bytes:
    value = encoded(outcome)
    assert value is not None
    return unframed(value)


def test_there_is_a_table_for_every_output() -> None:
    assert {outcome.output for outcome in ONE_OF_EACH} == set(PUBLISHED) == set(OUTPUT_TABLES)


@pytest.mark.parametrize("outcome", ONE_OF_EACH, ids=lambda outcome: outcome.output.value)
def test_bulk_and_one_by_one_agree(outcome: Outcome) -> None:
    """Both give what was written; the bulk way as DuckDB's types."""
    schema, table = avsc(outcome.output.value), OUTPUT_TABLES[outcome.output]
    assert outcome.row is not None
    assert decode_one(schema, payload(outcome)) == outcome.row
    bulk = decode_all(schema, table, [payload(outcome)] * 3)
    assert bulk.equals(table.frame([outcome.row] * 3))


BAD: dict[str, Callable[[bytes], bytes]] = {
    "cut at the end": lambda good: good[:-1],
    "cut in the middle": lambda good: good[: len(good) // 2],
    "empty": lambda good: b"",
    "a byte too much": lambda good: good + b"\0",
    "JSON": lambda good: b'{"entry_key":"TIME:1"}',
    "another schema": lambda good: payload(source()),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_payloads_are_found(bad: str) -> None:
    """Alone, and as one of many in a bulk."""
    schema, table, good = avsc("time_entry.state"), OUTPUT_TABLES[Output.TIME_ENTRY_STATE], payload(entry())
    with pytest.raises(Undecodable):
        decode_one(schema, BAD[bad](good))
    with pytest.raises(Undecodable):
        decode_all(schema, table, [good, BAD[bad](good), good])


def test_no_cut_is_taken_for_a_record() -> None:
    schema, good = avsc("time_entry.state"), payload(entry())
    for length in range(len(good)):
        with pytest.raises(Undecodable):
            decode_one(schema, good[:length])


@pytest.mark.parametrize("value", [b"", b"\0", b"\0\0\0\0\1", b"\1\0\0\0\1xyz", b'{"a":1}'])
def test_framing_is_checked(value: bytes) -> None:
    with pytest.raises(Undecodable, match="expected 00 and a 4-byte schema id") as raised:
        unframed(value)
    assert raised.value.reason == "bad_framing"


def test_an_older_writer_leaves_nulls() -> None:
    """A column that the writer's schema lacks is null; one that we do not know is left out."""
    schema = {"type": "record", "name": "Old", "fields": [
        {"name": "entry_key", "type": "string"}, {"name": "unheard_of", "type": "long"}]}
    row = decode_all(schema, OUTPUT_TABLES[Output.TIME_ENTRY_STATE], [b"\x04ab\x02"])
    assert row.select("entry_key", "work_date").rows() == [("ab", None)]
    assert row.schema["work_date"] == pl.Date
    assert "unheard_of" not in row.columns
