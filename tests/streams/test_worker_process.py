"""One worker process on both brokers: it takes up where its predecessor was stopped or killed."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faust
import pytest
from conftest import Broker
from faults import harness
from faults.counting import TABLES
from faults.harness import HOLDS_S, Feed, Proc, counted, wait_applied, wait_until
from registries import Served

from tieout.codecs.framing import unframe
from tieout.reconcilers.outcomes import Output
from tieout.streams.handover import EXIT_AGAIN
from tieout.streams.registry import Registry
from tieout.streams.schema_check import register_outputs
from tieout.streams.settings import Settings
from tieout.streams.topicread import whole_topic
from tieout.streams.topics import desired, output_topic
from tieout.streams.worker import PINNED, StartError, check_packages, engine


@pytest.fixture
def shared(broker: Broker) -> Settings:
    """Settings on a broker with the worker's topics."""
    configured = harness.settings(broker.bootstrap)
    for topic in desired(configured, TABLES):
        broker.create(topic.name, topic.partitions, topic.config)
    return configured


@pytest.fixture
def worker(shared: Settings, tmp_path: Path) -> Iterator[Proc]:
    """A counting worker."""
    with harness.workers(shared, tmp_path) as (proc,):
        yield proc


def test_stopped_in_a_backlog_it_goes_on_where_it_was(shared: Settings, worker: Proc) -> None:
    feed = Feed(shared, 1)
    feed.send(40)
    wait_until(lambda: holds(worker), HOLDS_S, "it holds partitions", worker.tail)
    assert worker.stop() == 0, worker.tail()
    worker.start()
    wait_applied(shared, [worker])
    harness.verdict(shared, feed.sent)


def test_killed_it_counts_the_same(shared: Settings, worker: Proc) -> None:
    """Outputs of the transaction that died are hidden on Apache Kafka only; the tables are right on both."""
    feed = Feed(shared, 2)
    feed.send(60)
    for _ in range(2):
        wait_until(lambda: holds(worker), HOLDS_S, "it holds partitions", worker.tail)
        worker.kill()
        worker.start()
    wait_applied(shared, [worker])
    assert counted(shared) == {key: number for (_, key), number in feed.sent.items()}


def test_probes_and_metrics(shared: Settings, worker: Proc) -> None:
    """Unready while it restores, ready afterwards, and it says what it did."""
    feed = Feed(shared, 3)
    feed.send(2)
    wait_until(lambda: "metrics and probes on" in worker.log_now(), 30, "the port is open", worker.tail)
    url = worker.log_now().split("metrics and probes on ")[1].split('"')[0]
    assert probe(f"{url}/livez")["status"] == "ok"
    assert probe(f"{url}/readyz")["status"] == "failed"
    wait_applied(shared, [worker])
    assert probe(f"{url}/readyz")["checks"]["places"] == {"ok": True, "detail": "all restored"}
    metrics = urllib.request.urlopen(f"{url}/metrics", timeout=5).read().decode()
    assert 'tieout_changes_applied_total{axis="project"} 400.0' in metrics
    assert 'tieout_outputs_produced_total{output="billing_decision.events"} 400.0' in metrics
    assert 'tieout_assigned_partitions{topic="tieout.changes.project.v1"} 4.0' in metrics


def test_outputs_carry_the_ids_of_the_registry(shared: Settings, tmp_path: Path) -> None:
    """A registry that knew another schema first; while it is away, or has not ours, no worker starts."""
    served = Served()
    asks: dict[str, Any] = {"REGISTRY__URL": served.url, "REGISTRY__OUTPUTS": "true"}
    try:
        with harness.workers(shared, tmp_path, **asks) as (worker,):
            assert worker.process.wait(40) == 3
            assert "run `tieout schemas register`" in worker.log_now()
            registry = Registry(served.registry)
            registry.register("somebody-value", '"string"')
            ids = dict(register_outputs(registry))
            served.down = True
            worker.start()
            assert worker.process.wait(40) == 4
            served.down = False
            worker.start()
            Feed(shared, 4).send(1)
            wait_applied(shared, [worker])
    finally:
        served.close()
    topic = output_topic(Output.BILLING_DECISION)
    written = {unframe(each.value() or b"").schema_id for each in whole_topic(shared, topic)}
    assert written == {ids[f"{topic}-value"]}
    assert min(ids.values()) == 2


def test_without_its_topics_it_says_what_to_do(broker: Broker, tmp_path: Path) -> None:
    with harness.workers(harness.settings(broker.bootstrap), tmp_path) as (worker,):
        assert worker.process.wait(40) == 4
        assert "has 0 partitions, expected 4: run `tieout topics apply`" in worker.log_now()


@pytest.mark.parametrize(("package", "found"), [("aiokafka", "0.13.0"), ("faust-streaming", "0.15.4")])
def test_other_packages_than_proven_are_refused(monkeypatch: pytest.MonkeyPatch, package: str, found: str) -> None:
    versions = {**PINNED, package: found}
    monkeypatch.setattr("tieout.streams.worker.version", versions.__getitem__)
    with pytest.raises(StartError, match=f"{package} is {found}, expected {PINNED[package]}"):
        check_packages()


def test_what_is_pinned_is_installed_and_pickle_is_gone() -> None:
    check_packages()
    assert "pickle" not in faust.serializers.codecs.codecs


def test_a_policy_that_is_not_valid_is_refused() -> None:
    with pytest.raises(StartError, match=r"\[policy\] is not valid") as caught:
        engine(Settings(policy={"no_such_rule": 1}))
    assert caught.value.code == 3


def test_without_a_broker_it_says_so(tmp_path: Path) -> None:
    with harness.workers(harness.settings("127.0.0.1:1"), tmp_path) as (worker,):
        assert worker.process.wait(40) == 4
        assert "no broker answers at 127.0.0.1:1" in worker.log_now()


HANGS = """
import asyncio
from tieout.streams import worker

class App:
    async def stop(self):
        await asyncio.Event().wait()

worker._STOP_S = 0.2
asyncio.run(worker._stop(App(), [], holding=True))
"""


def test_an_end_that_hangs_is_ended_and_says_where() -> None:
    """It once ended with 70 and not a word."""
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == EXIT_AGAIN
    assert "not stopped within 0 s" in done.stderr
    assert "Waiting: _stop > App.stop > Event.wait" in done.stderr


def holds(worker: Proc) -> bool:
    """Whether it has restored its partitions."""
    return '"holding ' in worker.log_now()


def probe(url: str) -> dict[str, Any]:
    """The body of a probe, whatever its status."""
    try:
        answer = urllib.request.urlopen(url, timeout=5)
    except urllib.error.HTTPError as error:
        answer = error
    body: dict[str, Any] = json.loads(answer.read())
    return body
