"""What the fault tests share: fresh topics on Apache Kafka a test, and how hard to try."""

from __future__ import annotations

import pytest
from brokers import KafkaCluster
from faults.harness import KILLS, RESTARTS, SEED, make_topics, settings

from tieout.streams.settings import Settings


def pytest_report_header() -> str:
    """What to set to run the same again, or less of it."""
    return f"faults: TIEOUT_TEST_SEED={SEED} TIEOUT_TEST_KILLS={KILLS} TIEOUT_TEST_RESTARTS={RESTARTS}"


@pytest.fixture
def shared(kafka: KafkaCluster) -> Settings:
    """Settings of a test on a broker with our topics, empty."""
    configured = settings(kafka.bootstrap)
    make_topics(configured)
    return configured
