"""Logging: one format for our loggers and foreign ones, and no secret in any of it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from tieout.streams.logging import configure, redact_text
from tieout.streams.settings import Log


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def test_off_a_terminal_every_logger_writes_json(stream: io.StringIO) -> None:
    """Ours, the standard library's and Faust's lines are objects with the same fields."""
    configure(Log(), "worker", stream)
    structlog.get_logger("tieout").info("checkpoint", partition=3)
    logging.getLogger("faust.app").warning("rebalancing %d", 2, extra={"topic": "t"})
    ours, foreign = map(json.loads, stream.getvalue().splitlines())
    assert (ours["event"], ours["partition"], ours["level"], ours["role"]) == ("checkpoint", 3, "info", "worker")
    assert (foreign["event"], foreign["topic"], foreign["logger"]) == ("rebalancing 2", "t", "faust.app")


def test_pretty_is_for_people(stream: io.StringIO) -> None:
    """On request, or on a terminal, a line is not JSON."""
    configure(Log(format="pretty"), "sink", stream)
    logging.getLogger("tieout").warning("late", extra={"source": "psa"})
    assert not stream.getvalue().startswith("{")
    assert "late" in stream.getvalue()
    assert "psa" in stream.getvalue()


def test_the_chatter_of_libraries_is_for_debugging(stream: io.StringIO) -> None:
    """Faust's INFO is dropped unless the level is DEBUG."""
    configure(Log(), "worker", stream)
    logging.getLogger("mode").info("starting service")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sasl.password=hunter2 next", "sasl.password=(hidden) next"),
        ("{'sasl.password': 'hunter2', 'a': 1}", "{'sasl.password': '(hidden)', 'a': 1}"),
        ("Authorization: Bearer abc.def", "Authorization: (hidden)"),
        ("aiokafka://user:hunter2@host:9093", "aiokafka://user:(hidden)@host:9093"),
        ("partition=3 offset=4", "partition=3 offset=4"),
    ],
)
def test_secrets_inside_texts_are_hidden(text: str, expected: str) -> None:
    """Whatever a library writes into a message, the value after a secret's name is not shown."""
    assert redact_text(text) == expected


def test_secret_fields_are_hidden_at_any_depth(stream: io.StringIO) -> None:
    """A password in a field, in a nested field or in a traceback is hidden."""
    configure(Log(), "ingest", stream)
    structlog.get_logger("tieout").info("client", client={"sasl.password": "hunter2"}, token="hunter2")
    try:
        raise ValueError("bad address aiokafka://u:hunter2@h:1")
    except ValueError:
        logging.getLogger("tieout").exception("failed")
    assert "hunter2" not in stream.getvalue()
    assert stream.getvalue().count("(hidden)") == 4  # the traceback shows the address twice
