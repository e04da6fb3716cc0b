"""Output schemas stay readable by, and able to read, what every release wrote."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from upgrades.schemas import bare

from tieout.reconcilers.outcomes import Output
from tieout.schemas import avsc, names, released
from tieout.streams import schema_check
from tieout.streams.schema_check import broken_outputs


def test_todays_schemas_hold_what_every_release_promised() -> None:
    assert list(released()) == sorted(released())
    assert list(broken_outputs(None)) == []


def test_the_newest_release_or_what_became_of_it_is_in_the_tree() -> None:
    """Every output of a release is still one: a topic is never given up in silence."""
    for schemas in released().values():
        assert set(schemas) <= set(names())
        assert all(bare(schema) == schema for schema in schemas.values())


@pytest.mark.parametrize(("field", "after"), [
    ("status", None),  # a field that readers knew by a type has another one
    ("brand_new", {"name": "brand_new", "type": "string"}),  # a field without default: old rows do not have it
])
def test_a_change_that_a_released_reader_or_row_cannot_bear_is_found(
        field: str, after: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = copy.deepcopy(avsc(Output.FINDING_STATE.value))
    if after is None:
        [old] = [each for each in changed["fields"] if each["name"] == field]
        old["type"] = "long"
    else:
        changed["fields"].append(after)
    monkeypatch.setattr(schema_check, "avsc", lambda name: changed if name == "finding.state" else avsc(name))
    found = {broken.subject for broken in broken_outputs(None)}
    assert found == {f"tieout.finding.state.v1-value of {release}" for release in released()}
