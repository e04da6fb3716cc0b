"""SECURITY.md says what was tried: every test that it names is there."""

from __future__ import annotations

import re

import pytest
from brokers import ROOT

PAGE = (ROOT / "SECURITY.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_what_the_page_names_is_there(file: str, test: str) -> None:
    """A test that was renamed is renamed on the page."""
    text = (ROOT / file).read_text()
    assert not test or re.search(rf"^(async )?def {test}\(", text, re.MULTILINE)


def test_the_page_names_many() -> None:
    """The search above finds them."""
    assert len(NAMED) > 20
