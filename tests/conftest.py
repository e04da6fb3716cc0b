"""Fixtures for all tests: brokers, tools, and what a missing one means.

A test that cannot run is skipped with its reason; with `TIEOUT_REQUIRE=all` a skip is a failure.
"""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from brokers import ROOT, KafkaCluster, Unavailable

from tieout.streams.embedded import EmbeddedBroker

REQUIRE_ALL = os.environ.get("TIEOUT_REQUIRE") == "all"

# What CI says of a commit must be the same tomorrow; new examples are looked for where somebody can act on them.
hypothesis.settings.register_profile("ci", derandomize=True)
if REQUIRE_ALL:
    hypothesis.settings.load_profile("ci")


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker under test, embedded or Apache Kafka, without any topic of ours."""

    kind: str
    cluster: Any

    @property
    def bootstrap(self) -> str:
        return str(self.cluster.bootstrap)

    def create(self, topic: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        """Make a topic; the embedded broker has no use for `config`."""
        if self.kind == "embedded":
            self.cluster.create(topic, partitions)
        else:
            self.cluster.create(topic, partitions, config)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """The collector looks only when it is told to, as at tables in a worker (ADR 9); what is frozen is given back."""
    gc.collect()
    gc.disable()
    yield
    gc.unfreeze()
    gc.enable()


@pytest.fixture(scope="session")
def kafka_cluster() -> Iterator[KafkaCluster]:
    """One Apache Kafka broker for the whole session."""
    yield from _cluster(1)


@pytest.fixture(scope="session")
def kafka3_cluster() -> Iterator[KafkaCluster]:
    """Three Apache Kafka brokers for the whole session."""
    yield from _cluster(3)


@pytest.fixture
def kafka(kafka_cluster: KafkaCluster) -> KafkaCluster:
    """One Apache Kafka broker without topics."""
    kafka_cluster.clean()
    return kafka_cluster


@pytest.fixture
def kafka_alone() -> Iterator[KafkaCluster]:
    """A broker of the test's own, whose log cleaner no other test has kept busy."""
    yield from _cluster(1)


@pytest.fixture
def kafka3(kafka3_cluster: KafkaCluster) -> KafkaCluster:
    """Three Apache Kafka brokers, all up, without topics."""
    for node in kafka3_cluster.nodes:
        if node.process is None or node.process.poll() is not None:
            node.start()
    kafka3_cluster.wait()
    kafka3_cluster.clean()
    return kafka3_cluster


@pytest.fixture
def embedded() -> Iterator[EmbeddedBroker]:
    """A fresh embedded broker."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Both brokers, one after the other: the same test must pass on each."""
    return Broker(request.param, request.getfixturevalue(request.param))


@pytest.fixture(scope="session")
def promtool() -> str:
    """Prometheus' own linter and rule tester."""
    return tool("promtool", "apt-get install prometheus, or put promtool on the PATH")


@pytest.fixture(scope="session")
def streams_source() -> str:
    """The text of every module of the shell but the one that declares the metrics."""
    modules = (ROOT / "streams").rglob("*.py")
    return "\n".join(path.read_text(encoding="utf-8") for path in modules if path.name != "metrics.py")


def tool(name: str, remedy: str) -> str:
    """The path of a program, or a skip that says how to get it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not here: {remedy}")
    return found


def _cluster(n: int) -> Iterator[KafkaCluster]:
    try:
        cluster = KafkaCluster(n).__enter__()
    except Unavailable as error:
        pytest.skip(str(error))
    yield cluster
    cluster.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A gap of the embedded broker is a strict expected failure on it alone; three brokers run in one process only."""
    for item in items:
        if "kafka3" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("kafka3"))
        gap = item.get_closest_marker("embedded_gap")
        callspec = getattr(item, "callspec", None)
        if gap is not None and callspec is not None and callspec.params.get("broker") == "embedded":
            item.add_marker(pytest.mark.xfail(reason=gap.args[0], strict=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Where everything is required, what could not run has failed."""
    report = yield
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"TIEOUT_REQUIRE=all, but this did not run: {_reason(report.longrepr)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    """The same for a module that skips itself."""
    report = yield
    if REQUIRE_ALL and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"TIEOUT_REQUIRE=all, but {collector.nodeid} did not run: {_reason(report.longrepr)}"
    return report


def _reason(longrepr: Any) -> str:
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)


def pytest_report_header() -> str:
    """Say at the top what is required, so that a green summary can be read."""
    return f"tieout: TIEOUT_REQUIRE={'all' if REQUIRE_ALL else '(unset: what cannot run is skipped)'}; {Path.cwd()}"
