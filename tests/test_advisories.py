"""The audit: vulnerable, audited and not audited are three different things, and no exception is for ever."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from advisories import IGNORED, ROOT, Ignore, ignores, judge

TODAY = datetime.date(2026, 11, 26)
CLEAN = {"name": "a", "version": "1", "vulns": []}
SKIPPED = {"name": "b", "skip_reason": "not found"}
BAD = {"name": "c", "version": "2", "vulns": [{"id": "GHSA-1", "aliases": ["CVE-1"], "fix_versions": ["3"]}]}
OLD, VALID = Ignore("GHSA-1", TODAY - datetime.timedelta(1), "x"), Ignore("CVE-1", TODAY, "x")


@pytest.mark.parametrize(
    ("packages", "listed", "code", "said"),
    [
        ([CLEAN], [], 0, "1 packages audited, 0 advisories"),
        ([CLEAN, BAD], [], 1, "c 2: GHSA-1, fixed in 3"),
        ([CLEAN, BAD], [VALID], 0, "2 packages audited, 0 advisories"),
        ([CLEAN, BAD], [OLD], 1, "expired: GHSA-1"),
        ([CLEAN], [OLD], 1, "expired: GHSA-1"),
        ([CLEAN, SKIPPED], [], 0, "NOT AUDITED, the advisory service did not know them: 1 of 2"),
        (None, [], 0, "NOT AUDITED: the advisory service cannot be reached"),
        (None, [OLD], 1, "expired: GHSA-1"),
    ],
)
def test_the_verdict(packages: Any, listed: list[Ignore], code: int, said: str) -> None:
    """A table of reports."""
    verdict = judge(None if packages is None else {"dependencies": packages}, listed, TODAY)
    assert verdict.code == code
    assert any(said in line for line in verdict.lines)


@pytest.mark.parametrize("entry", [
    'id = "a"', 'id = "a"\nuntil = "soon"\nreason = "x"', 'id = "a"\nuntil = 2027-01-01\nreason = ""',
])  # fmt: skip
def test_an_exception_has_a_day_and_a_reason(entry: str) -> None:
    """Otherwise it is not read at all."""
    with pytest.raises((KeyError, TypeError)):
        ignores(f"[[ignore]]\n{entry}\n")


def test_the_list_is_in_force() -> None:
    """What stands in it today can be read."""
    assert isinstance(ignores(IGNORED.read_text()), list)


def test_everything_that_is_installed_is_pinned_with_hashes() -> None:
    """A package that was replaced under its version is refused."""
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-uv.txt"):
        text = (ROOT / name).read_text()
        pins = [line for line in text.splitlines() if line[:1].isalnum()]
        assert pins
        assert all("==" in line and line.endswith("\\") for line in pins), name


def test_the_bill_of_materials_names_every_locked_package(tmp_path: Path) -> None:
    """CycloneDX, from the lock file, without a network."""
    target = tmp_path / "tieout.cdx.json"
    command = [
        sys.executable, "-m", "cyclonedx_py", "requirements", "--pyproject", str(ROOT / "pyproject.toml"),
        "--output-reproducible", "-o", str(target), str(ROOT / "requirements.txt"),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    bill = json.loads(target.read_text())
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    locked = {line.partition("==")[0] for line in lines if line[:1].isalnum()}
    assert bill["bomFormat"] == "CycloneDX"
    assert {component["name"] for component in bill["components"]} == locked
    assert bill["metadata"]["component"]["name"] == "tieout"
