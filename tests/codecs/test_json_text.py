"""JSON as vendors write it: exact numbers, columns of nested members, and nothing that no computer holds."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tieout.codecs.errors import DecodeError, NotJson, WrongShape
from tieout.codecs.json_text import flat, load_exact


def test_numbers_are_what_was_written() -> None:
    found = load_exact(b'{"a": 7.1, "b": 7, "c": 9007199254740993, "d": 1e2, "e": "7.1"}')
    assert found == {"a": Decimal("7.1"), "b": 7, "c": 9007199254740993, "d": Decimal(100), "e": "7.1"}
    assert type(found["a"]) is Decimal


def nested(depth: int, unit: str = '{"a":', end: str = "}") -> bytes:
    return f"{unit * depth}1{end * depth}".encode()


@pytest.mark.parametrize(("data", "error"), [
    (b'{"a": NaN}', NotJson),
    (b'{"a": 1e101}', NotJson),
    (b'{"a": 1e-101}', NotJson),
    (b'{"a": ' + b"9" * 5_000 + b"}", NotJson),
    (b'{"a": "\\ud800"}', NotJson),
    (b'{"a": 1} x', NotJson),
    (b"[1]", WrongShape),
    (nested(65), WrongShape),
    (nested(2_000), NotJson),
    (nested(40, '{"a":[', "]}"), WrongShape),
])
def test_refused(data: bytes, error: type[DecodeError]) -> None:
    with pytest.raises(error):
        load_exact(data)


@pytest.mark.parametrize(("value", "columns"), [
    ({"a": {"b": {"c": 1}}, "d": None}, {"a.b.c": 1, "d": None}),
    ({"a": {}}, {}),
    ({"a": []}, {"a": []}),
    ({"a": [1, 2]}, {"a": [1, 2]}),
    ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1}, {"b": 2}], "a.0.b": 1, "a.1.b": 2, "a.last.b": 2}),
    ({"a": [{"b": [{"c": 1}]}]}, {"a": [{"b": [{"c": 1}]}], "a.0.b": [{"c": 1}], "a.last.b": [{"c": 1}]}),
])
def test_nested_members_are_columns(value: dict[str, Any], columns: dict[str, Any]) -> None:
    assert flat(value) == columns


def test_lists_in_lists_stay_few() -> None:
    """Each level by number and as the last would double them: two to the power of thirty."""
    document = json.loads(nested(31, '{"a":[', "]}"))
    assert len(flat(load_exact(json.dumps(document).encode()))) < 10
