"""Inputs that fuzzing found worth keeping: each is read, or refused with a DecodeError, for ever."""

from __future__ import annotations

import pytest
from fuzz_debezium import TARGETS, read
from fuzzing import CORPUS


@pytest.mark.parametrize("target", TARGETS)
def test_corpus(target: str) -> None:
    files = sorted((CORPUS / target).iterdir())
    assert files, f"no inputs for {target}: the corpus was not checked in"
    for file in files:
        read(target, file.read_bytes())
