"""The fault suite in CI's form: the scenarios that most can go wrong in, once each, on three brokers."""

from __future__ import annotations

from pathlib import Path

import pytest
from brokers import KafkaCluster
from faults import ingest_runs, scenarios
from faults.figures import Figures, markdown, quantile, write
from faults.harness import SEED

HARD = 1
PIPELINE = ("points", "disk full")  # brokers and storm want the machine to themselves: `make faults`
INGEST = ("poison", "registry down")

faults = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.timeout(600)]


@pytest.mark.parametrize("name", [pytest.param(name, marks=faults) for name in PIPELINE])
def test_nothing_is_lost_or_twice(kafka3: KafkaCluster, tmp_path: Path, name: str) -> None:
    """The store equals the replay, the audit agrees, and no instant was off by a cent."""
    _must_be_good(scenarios.play(kafka3, tmp_path, name, SEED, HARD))


@pytest.mark.parametrize("name", [pytest.param(name, marks=faults) for name in INGEST])
def test_every_record_is_accounted_for(kafka3: KafkaCluster, tmp_path: Path, name: str) -> None:
    """In a frame, parked, or a dead letter that it must be."""
    _must_be_good(ingest_runs.play(kafka3, tmp_path, name, SEED, HARD))


def _must_be_good(figures: Figures) -> None:
    print(markdown([figures]))
    assert figures.good, figures
    assert figures.instants, "no audit"


def test_the_table_adds_runs_up(tmp_path: Path) -> None:
    """A run of the same scenario and seed replaces the earlier one; errors are the largest, counts are sums."""
    write(tmp_path, [Figures("kills", 1, events=10, lost=5), Figures("kills", 2, events=10, kills=3, cents=2)])
    write(tmp_path, [Figures("kills", 1, events=20, kills=4, cents=7, recoveries=[1.0, 3.0])])
    line = (tmp_path / "faults.md").read_text().splitlines()[-1]
    assert line == "| all | 2 | 2 | 30 | 7 | 0 | 0 | 0 | 0 | 7 | 0 | 1.0 | 3.0 | 3.0 | 2 |"


def test_quantiles_are_values_that_were_seen() -> None:
    """Nearest rank, no interpolation."""
    assert [quantile(range(1, 101), share) for share in (0.5, 0.95, 1.0)] == [50, 95, 100]
    assert quantile([], 0.5) == 0.0
