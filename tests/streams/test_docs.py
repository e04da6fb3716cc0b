"""The documents say what the code says: every metric, setting and command is described, and nothing that is gone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
from brokers import ROOT
from pydantic import BaseModel

from tieout.reconcilers.policy import Policy
from tieout.streams import metrics
from tieout.streams.settings import Settings

METRICS = (ROOT / "docs" / "metrics.md").read_text()
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()


def settings(model: type[BaseModel] = Settings, above: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of the configuration with its field; a source's keys stand under `sources.<name>`."""
    for name, field in model.model_fields.items():
        inner = [field.annotation, *getattr(field.annotation, "__args__", ())][-1]
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from settings(inner, f"{above}{name}.{'' if inner is field.annotation else '<name>.'}")
        else:
            yield above + name, field


def rows(text: str) -> dict[str, list[str]]:
    """The rows of a document's tables by the name in their first column."""
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:3] == "| `"]
    return {cells[0].strip("`"): cells[1:] for cells in found}


def test_every_metric_is_described_with_kind_labels_and_meaning() -> None:
    """The table is the code's table."""
    expected = {"tieout_build_info": ["info", "version, python", "Version and Python of the running process."]}
    for kind, suffix, table in (("counter", "_total", metrics.COUNTERS), ("gauge", "", metrics.GAUGES),
                                ("histogram", "", metrics.HISTOGRAMS)):  # fmt: skip
        for name, family in table.items():
            expected[name + suffix] = [kind, ", ".join(family.labels) or "–", family.help]
    assert rows(METRICS) == expected


@pytest.mark.parametrize(("key", "field"), list(settings()), ids=lambda value: value if isinstance(value, str) else "")
def test_every_setting_is_described(key: str, field: Any) -> None:
    """In the document and, for the JSON Schema, in the code."""
    default, what = rows(CONFIGURATION)[key]
    assert field.description
    assert what.startswith(field.description)
    assert (default == "required") is field.is_required()


def test_no_setting_is_described_that_does_not_exist() -> None:
    """A key that is gone from the code is gone from the document."""
    known = {key for key, _ in settings()} | {f"policy.{field.name}" for field in fields(Policy)}
    assert set(rows(CONFIGURATION)) == known


def test_metrics_named_in_any_document_exist() -> None:
    """Runbooks and decisions name metrics that a process exposes."""
    names = {f"{name}{suffix}" for name in (*metrics.COUNTERS, *metrics.GAUGES, *metrics.HISTOGRAMS)
             for suffix in ("", "_total", "_bucket", "_count")}  # fmt: skip
    for page in (ROOT / "docs").rglob("*.md"):
        text = page.read_text()
        named = re.findall(r"`(tieout_[a-z_]+_(?:seconds|records|total|open|ratio|clients|partitions))", text)
        assert set(named) <= names, page
