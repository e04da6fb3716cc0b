"""The page about mappings names all that the language has, and no more."""

from __future__ import annotations

import re
import tomllib

import pytest
from brokers import ROOT

from tieout.codecs.converters import CONVERTERS
from tieout.codecs.mapping import load, parse, shipped
from tieout.codecs.mapping_fields import COLUMN_KEYS, SOURCES, STATES
from tieout.codecs.mapping_file import MAP_KEYS
from tieout.codecs.mapping_parts import DAYS_KEYS, REPEAT_KEYS

PAGE = (ROOT / "docs" / "mappings.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text under a heading."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def named(text: str) -> set[str]:
    """What the first column of its tables names."""
    cells = re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([\w.-]+)(?: = [^`]*)?`", cell)}


def test_keys_of_a_map() -> None:
    assert named(section("A file")) == set(MAP_KEYS)


def test_sources_and_converters_of_a_field() -> None:
    beside = set(COLUMN_KEYS) - {"from"}
    assert named(section("Fields")) == {*SOURCES, *beside, *CONVERTERS}


def test_words_that_stand_elsewhere() -> None:
    for word in (*STATES, *DAYS_KEYS, *REPEAT_KEYS):
        assert re.search(rf"\b{word}\b", PAGE), word


def test_shipped_mappings_with_their_entities() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \| ([^|]+) \|", section("Shipped"), re.MULTILINE))
    assert set(rows) == set(shipped())
    words = {"time_entry": "time|labour", "assignment": "assignment|booking", "posted_labour": "labour|time bill",
             "rate": "rate card", "invoice_line": "lines", "opportunity": "opportunit"}
    for name, text in rows.items():
        for each in load(name).maps:
            assert re.search(words.get(each.entity.name, each.entity.name), text), f"{name}: {each.entity.name}"


@pytest.mark.parametrize("block", [block for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
                                   if "[[map]]" in block])
def test_whole_examples_load(block: str) -> None:
    assert parse(block, "docs").maps
    assert tomllib.loads(block)["name"]
