"""`tieout_dependency_up` falls when what a role needs is taken away, and rises when it is back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from avro_firm import column, envelope, key, message, written
from brokers import KafkaCluster
from registries import Served
from sink_rows import entry

from tieout.codecs.records import RawRecord
from tieout.streams import metrics
from tieout.streams.api.snapshot import Snapshot
from tieout.streams.dependencies import NEEDS, BrokerWatch, Dependency, expect
from tieout.streams.embedded import EmbeddedBroker
from tieout.streams.ingest import IngestRole
from tieout.streams.settings import Settings
from tieout.streams.sinks.intake import Intake
from tieout.streams.sinks.publish import SNAPSHOT, Publisher
from tieout.streams.sinks.sink import Sink
from tieout.streams.sinks.store import Store

WAIT_S = 40.0


def up(dependency: Dependency) -> float | None:
    return metrics.REGISTRY.get_sample_value("tieout_dependency_up", {"dependency": dependency})


@pytest.fixture(autouse=True)
def unknown() -> None:
    metrics.forget("tieout_dependency_up")


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"waited {WAIT_S:.0f} s in vain: {what}"
        time.sleep(0.05)


def test_what_a_role_needs_counts_as_down_until_it_answers() -> None:
    for role, needs in NEEDS.items():
        metrics.forget("tieout_dependency_up")
        expect(role)
        assert {need: up(need) for need in needs} == {need: None if need == "registry" else 0.0 for need in needs}


# --- brokers --------------------------------------------------------------------------------------------


def test_brokers_that_go_are_seen() -> None:
    """On the embedded broker, which cannot come back under its address."""
    with EmbeddedBroker(topics={"t": 1}) as broker:
        client = {"bootstrap.servers": broker.bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 200}
        expect("sink")
        with BrokerWatch(Settings.model_validate({"kafka": {"client": client}})):
            until(lambda: up("brokers") == 1.0, "connected")
            broker.close()
            until(lambda: up("brokers") == 0.0, "gone")


@pytest.mark.timeout(180)
def test_brokers_that_come_back_are_seen(kafka_alone: KafkaCluster) -> None:
    client = {"bootstrap.servers": kafka_alone.bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 500}
    with BrokerWatch(Settings.model_validate({"kafka": {"client": client}})):
        until(lambda: up("brokers") == 1.0, "connected")
        kafka_alone.nodes[0].kill()
        until(lambda: up("brokers") == 0.0, "gone")
        kafka_alone.nodes[0].start()
        kafka_alone.wait()
        until(lambda: up("brokers") == 1.0, "back")


# --- registry -------------------------------------------------------------------------------------------


def test_a_registry_that_is_away_is_seen_by_ingest_and_its_return_as_well() -> None:
    value = envelope([column("code", "string"), column("name", "string")])
    of_key = key([column("code", "string", null=False)])
    topic, served = "psa.public.project", Served()
    for part, schema in (("value", value), ("key", of_key)):
        served.registry.call("POST", f"/subjects/{topic}-{part}/versions", {"schema": json.dumps(schema)})
    with EmbeddedBroker(topics={topic: 1}) as broker:
        role = IngestRole(Settings.model_validate({
            "kafka": {"client": {"bootstrap.servers": broker.bootstrap, "log_level": 0}},
            "sources": {"psa": {"system": "PSA", "topic": topic, "format": "debezium-avro", "mapping": "postgres",
                                "entity": "project"}},
            "registry": {"url": served.url, "timeout_ms": 1_000}, "ops": {"port": 0}}))
        record = RawRecord(topic, 0, 0, 0, written(of_key, {"code": "A"}, 2),
                           written(value, message({"code": "A", "name": "A"}), 1))
        seen: list[float | None] = []

        def idle() -> None:
            seen.append(up("registry"))
            served.down = False

        role._idle = idle  # type: ignore[method-assign]  # what it does while it holds, without a second a turn
        served.down = True
        assert role._have_schemas([record])
        assert (seen, up("registry")) == ([0.0], 1.0)
    served.close()


# --- store and snapshot ---------------------------------------------------------------------------------


def test_a_store_that_cannot_be_written_is_seen_by_the_sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.model_validate({"sink": {"path": tmp_path / "t.duckdb", "publish_dir": tmp_path / "pub"},
                                        "kafka": {"client": {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}}})
    seen: list[float | None] = []

    def wait(seconds: float) -> bool:
        seen.append(up("store"))
        monkeypatch.undo()
        return False

    sink = Sink(settings, wait)
    assert up("store") == 1.0
    full = OSError(28, "No space left on device")

    def fail(*_: Any) -> None:
        raise full

    monkeypatch.setattr(Store, "write_batch", fail)
    assert sink._write(Intake())
    assert (seen, up("store")) == ([0.0], 1.0)
    sink._store.close()
    sink._reader.close()


def test_a_snapshot_that_is_not_there_is_seen_by_its_reader_and_by_its_writer(tmp_path: Path) -> None:
    with Store(tmp_path / "t.duckdb") as store:
        store.write([entry(1)])
        reader = Snapshot(tmp_path / "pub" / SNAPSHOT)
        reader.look()
        assert up("snapshot") == 0.0
        publisher = Publisher(tmp_path / "pub", 0.01)
        assert publisher.publish(store)
        reader.look()
        assert up("snapshot") == 1.0
        publisher.snapshot.unlink()
        reader.look()
        assert up("snapshot") == 0.0
        reader.close()
