"""The doctor: every check that can fail does, with its remedy; none holds up the others."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from brokers import KafkaCluster
from http_answers import Asked, Reply, answering

from tieout.codecs.formats import codec
from tieout.codecs.values import instant_text
from tieout.reconcilers.outcomes import Output
from tieout.streams.cli.exits import Exit
from tieout.streams.cli.main import main
from tieout.streams.clock import now_us
from tieout.streams.doctor.examination import Look, run
from tieout.streams.doctor.local import disk
from tieout.streams.doctor.records import Sample, decoded, judge
from tieout.streams.doctor.services import clocks, connect, registry
from tieout.streams.health import Check, State
from tieout.streams.outputs import encoders
from tieout.streams.registry import Registry
from tieout.streams.registry_memory import shared
from tieout.streams.schema_check import register_outputs
from tieout.streams.settings import Settings, Source, load
from tieout.streams.topics import output_topic

STATES = output_topic(Output.SOURCE_STATE)
OK, WARN, FAIL = State.OK, State.WARN, State.FAIL


def settings(folder: Path, text: str) -> Settings:
    """A configuration in a folder."""
    path = folder / "tieout.toml"
    path.write_text(text)
    return load(path, {})


def test_checks_run_together_and_none_waits_for_another() -> None:
    """Three that take half a second take half a second; one that hangs fails alone, under its own name."""
    def slow(name: str, seconds: float) -> Look:
        def find() -> list[Check]:
            time.sleep(seconds)
            return [Check(name, OK, "found")]
        return Look(name, find)

    begun = time.monotonic()
    found = run([slow("a", 0.5), slow("hangs", 30), slow("b", 0.5), Look("none", list), slow("c", 0.5)], 2.0)
    assert time.monotonic() - begun < 4
    assert [(each.name, each.state) for each in found] == [("a", OK), ("hangs", FAIL), ("b", OK), ("c", OK)]
    assert found[1].found == "no answer within 2 s"


def test_a_check_that_breaks_has_failed() -> None:
    """With the reason; the others are made all the same."""
    def breaks() -> list[Check]:
        raise LookupError("nobody foresaw this")

    found = run([Look("x", breaks), Look("y", lambda: [Check("y", OK, "")])], 5.0)
    assert [(each.name, each.state) for each in found] == [("x", FAIL), ("y", OK)]
    assert found[0].found == "LookupError: nobody foresaw this"


def test_a_wrong_configuration_is_all_there_is_to_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each problem is a check of its own."""
    path = tmp_path / "tieout.toml"
    path.write_text('clock = "wal"\n[sources.x]\nsystem = "ERB"\ntopic = "t"\n')
    assert main(["doctor", "--config", str(path), "-o", "json"]) == Exit.UNHEALTHY
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "tieout.doctor/v1"
    assert [row["check"] for row in document["rows"]] == ["configuration clock", "configuration sources.x.system"]
    assert "did you mean ERP?" in document["rows"][1]["remedy"]


def test_without_brokers_what_needs_none_is_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The broker has failed; topics and records have not, they were not looked at."""
    path = tmp_path / "tieout.toml"
    path.write_text('[kafka.client]\n"bootstrap.servers" = "127.0.0.1:1"\n[sink]\n'
                    f'path = "{tmp_path}/s.duckdb"\npublish_dir = "{tmp_path}/pub"\n')
    assert main(["doctor", "--config", str(path), "-o", "json"]) == Exit.UNHEALTHY
    rows = {row["check"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert {name for name, row in rows.items() if row["state"] == "fail"} == {"broker"}
    assert rows["configuration"]["state"] == "warn"  # no source
    assert "disk of store" in rows


ENVELOPE = {"op": "c", "after": {}, "source": {}}


@pytest.mark.parametrize(("format", "value", "state", "remedy"), [
    ("debezium-json", ENVELOPE, OK, ""),
    ("debezium-json", {"schema": {}, "payload": ENVELOPE}, FAIL,
     'sources.x.format = "debezium-json-schema", or value.converter.schemas.enable = false in the connector'),
    ("debezium-json-schema", ENVELOPE, FAIL,
     'sources.x.format = "debezium-json", or value.converter.schemas.enable = true in the connector'),
    ("canonical", ENVELOPE, FAIL, 'sources.x.format = "debezium-json", or make its producer write canonical'),
    ("debezium-json", b"\0\0\0\0\x07\2", FAIL,
     'sources.x.format = "debezium-avro", or make its producer write debezium-json'),
    ("debezium-json", b"\0\0\0\0\0\0\0\0\x07\2", FAIL, "make the producer write ids of four bytes"),
    ("debezium-json", b"\x80\x81", FAIL, "its producer writes another format than any we read"),
])  # fmt: skip
def test_the_wire_format_is_told_with_what_to_set(format: Any, value: Any, state: State, remedy: str) -> None:
    """What the newest record looks like against what the source says."""
    payload = value if isinstance(value, bytes) else json.dumps(value).encode()
    source = Source(system="PSA", topic="t", format=format, mapping="postgres")
    found = judge("x", source, Sample("t", 0, 9, 0, payload))
    assert found.state is state
    assert found.remedy.startswith(remedy)


@pytest.mark.parametrize(("data", "ahead_s", "state", "said"), [
    ({}, 0, OK, "project upsert at 0/9"),
    ({}, 30, WARN, r"committed in (2\d|30) s at 0/9"),
    ({}, 90, FAIL, r"committed in (8\d|90) s at 0/9"),
    ({"start": "soon"}, 0, FAIL, "data.start"),
])  # fmt: skip
def test_what_ingest_would_make_of_a_record(data: dict[str, str], ahead_s: int, state: State, said: str) -> None:
    """Its changes; why it would be a dead letter; or that the database's clock is ahead."""
    at = instant_text(now_us() + ahead_s * 1_000_000)
    event = {"specversion": "1.0", "id": "1", "source": "PSA/main", "type": "tieout.project.upserted", "subject": "P",
             "time": at, "sequence": "1", "data": {"project_code": "P", **data}}
    sample = Sample("t", 0, 9, now_us(), json.dumps(event).encode())
    found = decoded(Source(system="PSA", topic="t"), sample, codec("canonical", {}))
    assert found.state is state
    assert re.search(said, found.found)
    assert (found.remedy == "") is (state is OK)


@pytest.mark.kafka
def test_records_and_topics_on_a_broker(
    kafka: KafkaCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing, empty, well and ill topics; a tombstone at the end hides nothing; a source without life is told."""
    from confluent_kafka import Producer

    for topic in ("raw.good", "raw.ill", "raw.empty", "beats", "raw.old"):
        kafka.create(topic)
    producer, now_ms = Producer({"bootstrap.servers": kafka.bootstrap}), now_us() // 1_000
    for topic, value, at_ms in (
        ("raw.good", json.dumps(ENVELOPE), now_ms), ("raw.good", None, now_ms),
        ("raw.ill", '{"a": 1}', now_ms + 3_050_000), ("beats", '{"ts_ms": 1}', now_ms - 5_000),
        ("raw.old", json.dumps(ENVELOPE), now_ms - 7_200_000),
    ):  # fmt: skip
        producer.produce(topic, value, key="k", timestamp=at_ms)
    kafka.create(STATES)
    row = {
        "source": "PSA/main", "system": "PSA", "instance": "main", "watermark_at": (now_ms - 600_000) * 1_000,
        "last_event_at": None, "state": "OK", "limit_s": 5_400, "received": 0, "parked": 0, "filtered": 0,
        "dead_lettered": 0, "as_of": now_ms * 1_000,
    }  # fmt: skip
    for name in ("*", "time_entry"):  # the object's own watermark is not the source's
        late = {**row, "object": name, "watermark_at": row["watermark_at"] if name == "*" else 0}
        producer.produce(STATES, encoders()[Output.SOURCE_STATE](late), key=f"PSA/main|{name}")
    producer.flush(10)
    source = '[sources.{0}]\nsystem = "{1}"\ntopic = "raw.{0}"\nformat = "debezium-json"\nmapping = "postgres"\n{2}'
    path = tmp_path / "tieout.toml"
    path.write_text(
        f'[kafka.client]\n"bootstrap.servers" = "{kafka.bootstrap}"\n'
        f'[sink]\npath = "{tmp_path}/s.duckdb"\npublish_dir = "{tmp_path}/pub"\n'
        + source.format("good", "PSA", 'heartbeat = "beats"\n') + source.format("ill", "ERP", "")
        + source.format("empty", "CRM", "") + source.format("missing", "HCM", "") + source.format("old", "TIME", "")
    )  # fmt: skip
    assert main(["doctor", "--config", str(path), "-o", "json"]) == Exit.UNHEALTHY
    rows = {row["check"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    states = {name: row["state"] for name, row in rows.items()}
    assert states["broker"] == "ok"
    assert (states["topics"], rows["topics"]["remedy"]) == ("fail", "tieout topics apply")
    assert (states["raw topic raw.good"], states["wire format raw.good"]) == ("ok", "ok")
    assert states["decoding raw.good"] == "fail"  # an envelope, and no row in it
    assert (states["raw topic raw.ill"], states["wire format raw.ill"]) == ("ok", "fail")
    assert (states["raw topic raw.empty"], states["raw topic raw.missing"]) == ("warn", "fail")
    assert [states[f"source {name}/main"] for name in ("PSA", "CRM", "TIME")] == ["warn", "warn", "fail"]
    assert re.fullmatch(r"heartbeat \d+ s old, watermark 6\d\d s old", rows["source PSA/main"]["found"])
    assert "newest record 7,2" in rows["source TIME/main"]["found"]
    assert (states["clock"], "records of raw.ill +3,0" in rows["clock"]["found"]) == ("fail", True)


def test_a_registry_without_the_schemas_that_outputs_name_has_failed(tmp_path: Path) -> None:
    """Until they are registered: a worker would not start."""
    url = f"mock://{tmp_path.name}"
    configured = settings(tmp_path, f'registry.url = "{url}"\nregistry.outputs = true\n')
    assert [(each.name, each.state) for each in registry(configured)] == [
        ("registry", OK), ("schemas of outputs", FAIL)]
    registered = list(register_outputs(Registry(shared(url))))
    (_, found) = registry(configured)
    assert (found.state, found.found) == (OK, f"{len(registered)} registered")


@pytest.mark.parametrize(("status", "state"), [(200, OK), (401, FAIL), (404, FAIL)])
def test_a_registry_that_answers_wrongly_has_failed(status: int, state: State, tmp_path: Path) -> None:
    """Its subjects are asked for, as a client would."""
    with answering(lambda _: Reply(status, '["a-value","b-value"]')) as (url, asked):
        found = list(registry(settings(tmp_path, f'registry.url = "{url}/apis/ccompat/v7/"\n')))
    assert [each.state for each in found] == [state]
    assert [each.path for each in asked] == ["/apis/ccompat/v7/subjects"]


@pytest.mark.parametrize(("ahead_s", "state"), [(0, OK), (10, WARN), (-10, WARN), (90, FAIL)])
def test_a_clock_that_differs_is_told(ahead_s: float, state: State, tmp_path: Path) -> None:
    """By Connect's own date; more than the margin of watermarks has failed."""
    with answering(lambda _: Reply(200, "{}", ahead_s)) as (url, _):
        found = list(clocks(settings(tmp_path, f'clock = "log"\n[connect]\nurl = "{url}"\n')))
    assert [each.state for each in found] == [state]


@pytest.mark.parametrize(("task", "state"), [
    ({"state": "RUNNING"}, OK), ({"state": "PAUSED"}, WARN),
    ({"state": "FAILED", "trace": "a.B: no route\n\tat x"}, FAIL),
])  # fmt: skip
def test_connectors_are_looked_at_and_their_tasks(task: dict[str, str], state: State, tmp_path: Path) -> None:
    """Those of the configuration; what differs from it is worth a look."""
    def reply(asked: Asked) -> Reply:
        if asked.path == "/":
            return Reply(200, '{"version": "4.1.0"}')
        if "status" in asked.path:
            part = {"worker_id": "w:8083", "state": "RUNNING"}
            answer: Any = {"psa": {"status": {"connector": part, "tasks": [{"id": 0, "worker_id": "w:8083", **task}]}}}
        else:
            answer = {"psa": {"info": {"config": {"name": "psa"}}}, "theirs": {"info": {"config": {}}}}
        return Reply(200, json.dumps(answer))

    connector = ('[connectors.psa]\nkind = "postgresql"\nhost = "h"\ndatabase = "d"\nuser = "u"\n'
                 'password = "${env:P}"\ntables = ["a.b"]\n')
    with answering(reply) as (url, _):
        found = {each.name: each for each in connect(settings(tmp_path, f'[connect]\nurl = "{url}"\n{connector}'))}
    assert {name: each.state for name, each in found.items()} == {
        "connect": OK, "connector psa connector": OK, "connector psa task 0": state, "connector psa": WARN,
    }  # fmt: skip
    assert state is not FAIL or found["connector psa task 0"].found == "FAILED: a.B: no route"


def test_room_for_the_store_is_measured(tmp_path: Path) -> None:
    """A store that does not fit twice into what is free cannot publish; a sparse file has its size without the room."""
    store = tmp_path / "s.duckdb"
    known = settings(tmp_path, f'[sink]\npath = "{store}"\npublish_dir = "{tmp_path}/not/there/yet"\n')
    store.touch()
    small = [each.state for each in disk(known)]
    with store.open("wb") as file:
        file.truncate(1 << 43)  # 8 TiB
    assert [each.state for each in disk(known)] == [FAIL, FAIL]
    assert FAIL not in small
