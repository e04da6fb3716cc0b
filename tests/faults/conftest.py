"""What the fault tests share: one Apache Kafka, fresh topics a test, and how hard to try."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import brokers
import harness

from tieout.streams.settings import Settings


def pytest_report_header() -> str:
    return f"faults: seed {SEED}, {KILLS} kills, {RESTARTS} restarts (TIEOUT_TEST_SEED, _FAULT_KILLS, _FAULT_RESTARTS)"


SEED = int(os.environ.get("TIEOUT_TEST_SEED", "20260310"))
KILLS = int(os.environ.get("TIEOUT_TEST_FAULT_KILLS", "30"))
RESTARTS = int(os.environ.get("TIEOUT_TEST_FAULT_RESTARTS", "20"))


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """The address of an Apache Kafka broker."""
    if running := os.environ.get("TIEOUT_TEST_BOOTSTRAP"):
        yield running
        return
    with brokers.KafkaCluster(1) as cluster:
        yield cluster.bootstrap


@pytest.fixture
def shared(kafka: str) -> Settings:
    """Settings of a test, its topics made anew."""
    settings = harness.settings(kafka)
    harness.make_topics(settings)
    return settings
