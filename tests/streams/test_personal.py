"""Personal data is masked, and what is not personal stays readable."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from tieout.streams.logging import configure, redact_text
from tieout.streams.personal import masked_finding, masked_record, masked_rows, masked_text, masked_value
from tieout.streams.settings import Log


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        ({"worker_no": "W1", "qty_s": 27_000}, {"worker_no": "W1", "qty_s": 27_000}),
        ({"name": "Alice Smith", "email": "a@b.example"}, {"name": "***", "email": "***"}),
        ({"firstName": "Alice", "LAST_NAME": "Smith"}, {"firstName": "***", "LAST_NAME": "***"}),
        ({"UserName": "as", "user": {"id": 7, "x": "y"}}, {"UserName": "***", "user": "***"}),
        ({"phone": 4930123, "phones": "x"}, {"phone": "***", "phones": "x"}),
        ({"cost_rate": {"rate_e6": 95}, "costRate": 95}, {"cost_rate": "***", "costRate": "***"}),
        ({"kind": "COST", "rate": {"rate_e6": 95}}, {"kind": "COST", "rate": "***"}),
        ({"kind": "BILL", "rate": {"rate_e6": 150}}, {"kind": "BILL", "rate": {"rate_e6": 150}}),
        ({"note": "ask a.smith@b.example now"}, {"note": "ask *** now"}),
        ({"after": {"actor": "as", "billable": True}}, {"after": {"actor": "***", "billable": True}}),
        ({"payment_no": "P1", "display": "x", "name": None}, {"payment_no": "P1", "display": "x", "name": None}),
        ([{"name": "A"}, "a@b.example"], [{"name": "***"}, "***"]),
    ],
)
def test_records_keep_their_shape_without_persons(record: Any, shown: Any) -> None:
    """Names, addresses and cost rates by the words of their keys, whatever their spelling."""
    assert json.loads(masked_record(json.dumps(record))) == shown
    assert json.loads(masked_record(json.dumps(record).encode())) == shown


@pytest.mark.parametrize("raw", [b"\x00\x00\x00\x00\x07Alice", b"Alice Smith", "Alice", b"\xff\xfe"])
def test_a_record_that_is_not_json_is_only_counted(raw: bytes | str) -> None:
    """Nobody knows what stands where in it."""
    assert masked_record(raw) == f"*** ({len(raw)} bytes)"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("actor", "anna", "***"), ("actor", "tieout", "tieout"), ("actor", None, None),
        ("message", "qty_s: found 'Alice', expected a number", "qty_s: found '***', expected a number"),
        ("explanation", "7.50 h of W1001", "7.50 h of W1001"), ("value", 7, 7), ("headers", ["h: x"], "***"),
        ("entries", ["TIME:1", "a@b.example"], ["TIME:1", "***"]),
    ],
)  # fmt: skip
def test_columns_are_masked_by_their_names(name: str, value: Any, shown: Any) -> None:
    """Decisions by the program itself have no person behind them."""
    assert masked_value(name, value) == shown
    assert masked_rows((name, "n"), [(value, 1)]) == [(shown, 1)]


def test_a_finding_about_a_cost_rate_does_not_say_it() -> None:
    """The numbers stand in its values and in its sentence."""
    row = {"attribute": "cost_rate", "left_value": "95", "right_value": None, "explanation": "95, not 90", "code": "X"}
    assert masked_finding(row) == {
        "attribute": "cost_rate", "left_value": "***", "right_value": None, "explanation": "***", "code": "X",
    }  # fmt: skip


def test_texts_without_an_address_are_untouched() -> None:
    """An @ alone is none."""
    for text in ("7 h @ 150 GBP", "topic/3@42", "a @ b.example"):
        assert masked_text(text) == text


def test_logs_have_no_addresses_of_people() -> None:
    """Whatever logs them."""
    import logging

    stream, root = io.StringIO(), logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        configure(Log(format="json"), "test", stream)
        logging.getLogger("x").warning("sent to %s", "a.smith@b.example", extra={"note": "cc c@d.example"})
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    assert "@" not in stream.getvalue()
    assert redact_text("a@b.example") == "***"
