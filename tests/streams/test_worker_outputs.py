"""The generated encoders write the same bytes as fastavro, for every output and any row."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieout.codecs import avro
from tieout.codecs.framing import unframe
from tieout.reconcilers.outcomes import Output
from tieout.schemas import avsc
from tieout.streams.outputs import encoders, row_encoder

ENCODERS = encoders()
LONG = st.integers(-(2**63), 2**63 - 1)
KINDS = {"string": st.text(), "boolean": st.booleans(), "int": st.integers(-(2**31), 2**31 - 1), "long": LONG}


def rows(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Rows of a flat schema; nullable fields may be null or left out."""
    required: dict[str, Any] = {}
    optional: dict[str, Any] = {}
    for field in schema["fields"]:
        kind = field["type"]
        nullable = isinstance(kind, list)
        base = kind[1] if nullable else kind
        values = KINDS[base["type"] if isinstance(base, dict) else base]
        (optional if nullable else required)[field["name"]] = st.none() | values if nullable else values
    return st.fixed_dictionaries(required, optional=optional)


@pytest.mark.parametrize("output", Output)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_same_bytes_as_fastavro(output: Output, data: st.DataObject) -> None:
    schema = avsc(output.value)
    row = data.draw(rows(schema))
    assert row_encoder(schema, 7)(row) == avro.row_encoder(schema, 7)(row)


def test_the_schema_id_is_the_position_of_the_output() -> None:
    found = []
    for output in Output:
        schema = avsc(output.value)
        row = {f["name"]: _least(f["type"]) for f in schema["fields"] if not isinstance(f["type"], list)}
        framed = unframe(ENCODERS[output](row))
        found.append(framed.schema_id)
    assert found == [1, 2, 3, 4, 5, 6, 7]


PAIR = {"type": "record", "name": "Pair", "fields": [{"name": "a", "type": "string"}, {"name": "n", "type": "long"}]}


@pytest.mark.parametrize(
    "row",
    [
        {"a": "x"}, {"a": None, "n": 1}, {"a": "x", "n": "1"}, {"a": "x", "n": 1, "b": 2}, {"a": "x", "n": 2**63},
        {"a": 1, "n": 1},
    ],
    ids=["missing", "null", "text", "unknown", "too large", "not text"],
)  # fmt: skip
def test_another_row_than_the_schema_says_is_an_error(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Pair|64 bits"):
        row_encoder(PAIR, 1)(row)


def test_the_smallest_and_largest_numbers_survive() -> None:
    for number in (-(2**63), -1, 0, 63, 64, 2**63 - 1):
        payload = unframe(row_encoder(PAIR, 1)({"a": "", "n": number})).payload
        assert avro.RowReader(PAIR).read(payload)["n"] == number


def _least(kind: Any) -> Any:
    return {"string": "", "boolean": False}.get(kind["type"] if isinstance(kind, dict) else kind, 0)
