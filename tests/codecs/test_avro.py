"""Output rows as Confluent-framed Avro: frozen bytes, round trips, bulk equal to single, damage put aside."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieout.codecs.avro import RowReader, row_encoder
from tieout.codecs.errors import BadAvro, BadFraming
from tieout.codecs.framing import HEADER_BYTES, frame, header, unframe
from tieout.schemas import avsc, names

SMALL = {"type": "record", "name": "Small", "fields": [
    {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": None},
    {"name": "text", "type": "string"},
]}  # fmt: skip
ROW = {"day": 20522, "at": 1773164531123456, "text": "é"}
# header, day, branch 1 of the union, instant, length of the text, text
GOLDEN = bytes.fromhex("00 00000007 d4c002 02 80948ca0e1aba606 04 c3a9")


def test_golden_bytes() -> None:
    record = row_encoder(SMALL, 7)(ROW)
    assert record.hex(" ") == GOLDEN.hex(" ")
    assert unframe(record) == (7, record[HEADER_BYTES:])
    assert RowReader(SMALL).read(record[HEADER_BYTES:]) == ROW


def test_a_payload_cut_at_any_byte_or_with_bytes_behind_is_refused() -> None:
    reader, payload = RowReader(SMALL), GOLDEN[HEADER_BYTES:]
    for damaged in [payload[:cut] for cut in range(len(payload))] + [payload + tail for tail in (b"\0", b"x", payload)]:
        with pytest.raises(BadAvro) as caught:
            reader.read(damaged)
        assert caught.value.hint
        rows = reader.read_many([payload, damaged])
        assert (rows.frame.height, [position for position, _ in rows.failed]) == (1, [1])


BAD_ROWS = [{"day": 20522, "at": None}, {**ROW, "more": 1}, {**ROW, "text": None}, {**ROW, "day": "2026-03-10"}]


@pytest.mark.parametrize("row", BAD_ROWS)
def test_rows_that_do_not_fit_their_schema_are_our_mistake(row: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        row_encoder(SMALL, 7)(row)


def test_a_default_may_be_left_out() -> None:
    record = row_encoder(SMALL, 7)({"day": 0, "text": ""})
    assert RowReader(SMALL).read(record[HEADER_BYTES:]) == {"day": 0, "at": None, "text": ""}


_VALUES = {
    "string": st.text(max_size=12), "long": st.integers(-(2**63), 2**63 - 1), "int": st.integers(-(2**31), 2**31 - 1),
    "boolean": st.booleans(), "date": st.integers(-700_000, 2_900_000),
    "timestamp-micros": st.integers(-(10**15), 10**16),
}  # fmt: skip


def _field(kind: Any) -> st.SearchStrategy[Any]:
    if isinstance(kind, list):
        return st.none() | _field(kind[1])
    return _VALUES[kind["logicalType"] if isinstance(kind, dict) else kind]


def rows_of(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Rows of a flat schema."""
    return st.fixed_dictionaries({field["name"]: _field(field["type"]) for field in schema["fields"]})


def physical(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame with dates and instants as integers."""
    return frame.with_columns(pl.selectors.temporal().to_physical()).rows(named=True)


@pytest.mark.parametrize("name", names())
def test_every_output_schema_there_and_back_one_by_one_and_at_once(name: str) -> None:
    schema = avsc(name)
    encode, reader = row_encoder(schema, 1), RowReader(schema)
    logical = fastavro.parse_schema(schema)

    @settings(max_examples=25)
    @given(st.lists(rows_of(schema), max_size=4))
    def check(rows: list[dict[str, Any]]) -> None:
        payloads = [unframe(encode(row)).payload for row in rows]
        assert [reader.read(payload) for payload in payloads] == rows
        found = reader.read_many(payloads)
        assert (physical(found.frame), found.failed) == (rows, ())
        assert payloads == [_written(logical, row) for row in rows], "the bytes that any Avro library writes"

    check()


def _written(schema: Any, row: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, row)
    return buffer.getvalue()


def test_bad_payloads_of_many_are_put_aside_and_the_others_keep_their_order() -> None:
    encode, reader = row_encoder(SMALL, 7), RowReader(SMALL)
    good = [encode({"day": number, "text": str(number)})[HEADER_BYTES:] for number in range(100)]
    bad = {0: b"", 3: good[3] + b"\0", 50: b'{"day":1}', 98: good[98][:-1], 99: good[99] + b"\0\0"}
    found = reader.read_many([bad.get(number, payload) for number, payload in enumerate(good)])
    assert [position for position, _ in found.failed] == sorted(bad)
    assert found.frame["text"].to_list() == [str(number) for number in range(100) if number not in bad]


def test_many_without_any() -> None:
    reader = RowReader(SMALL)
    for payloads in ([], [b""]):
        rows = reader.read_many(payloads)
        assert (rows.frame.columns, rows.frame.height, len(rows.failed)) == (["day", "at", "text"], 0, len(payloads))


def test_what_polars_cannot_read_comes_one_by_one() -> None:
    reader, payload = RowReader(SMALL), GOLDEN[HEADER_BYTES:]
    assert reader._one_by_one([payload] * 2).equals(reader.read_many([payload] * 2).frame)


FRAMES = [(0, b""), (1, b""), (7, b"x"), (2**32 - 1, b"\0" * 9)]


@pytest.mark.parametrize(("schema_id", "payload"), FRAMES)
def test_framing(schema_id: int, payload: bytes) -> None:
    assert unframe(frame(schema_id, payload)) == (schema_id, payload)


NOT_FRAMED = [(b"", "found nothing, expected 00"), (b"\0\0\0\0", "found 00 00 00 00, expected 00"),
              (b"{}   ", "found 7b 7d 20 20 20"), (b"\1\0\0\0\7x", "found 01 00 00 00 07"),
              (b"\0" * 8 + b"\7payload", "schema id 0")]


@pytest.mark.parametrize(("data", "words"), NOT_FRAMED)
def test_what_is_not_framed(data: bytes, words: str) -> None:
    with pytest.raises(BadFraming, match=words) as caught:
        unframe(data)
    assert caught.value.hint


@pytest.mark.parametrize("schema_id", [-1, 2**32])
def test_ids_have_32_bits(schema_id: int) -> None:
    with pytest.raises(ValueError, match="schema id"):
        header(schema_id)
