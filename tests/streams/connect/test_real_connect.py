"""Kafka Connect itself with Debezium and PostgreSQL: what the commands plan, apply, refuse and report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from brokers import ROOT, KafkaCluster, Unavailable
from capture.server import PostgresServer
from connect_worker import ConnectWorker

from tieout.codecs.formats import codec
from tieout.codecs.records import RawRecord
from tieout.reconcilers.changes import Change, Op
from tieout.streams.cli.exits import Exit
from tieout.streams.cli.main import main
from tieout.streams.connect.debezium import config_of, feeds
from tieout.streams.settings import load
from tieout.streams.sources import readings

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("connect")]

SECRET = "s3cr3t-of-the-test"
TABLES = """
    CREATE SCHEMA psa;
    CREATE TABLE psa.time_entry (id bigint PRIMARY KEY, worked_on date, hours numeric(9, 2), approved_at timestamptz);
    INSERT INTO psa.time_entry VALUES (88121, '2026-03-10', 7.50, '2026-03-10T17:40:00Z');
"""


class Stack(NamedTuple):
    """What runs: a broker, a worker and a database; and a place for configurations."""

    bootstrap: str
    worker: ConnectWorker
    postgres: PostgresServer
    folder: Path

    def configuration(self, name: str, extra: str = "", source: str = "", **changes: str | int) -> Path:
        """A tieout.toml with one connector; its sections can be added to, its keys changed."""
        keys: dict[str, str | int] = {
            "kind": "postgresql", "host": "127.0.0.1", "port": self.postgres.port, "database": "postgres",
            "user": f"{name}_reader", "password": "${env:TEST_PASSWORD}", "heartbeat_s": 1, **changes,
        }  # fmt: skip
        body = "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
        path = self.folder / f"{name}.toml"
        path.write_text(f"""
            [kafka.client]
            "bootstrap.servers" = "{self.bootstrap}"
            [connect]
            url = "{self.worker.url}"
            [sources.{name}_entries]
            system = "PSA"
            topic = "{name}.psa.time_entry"
            heartbeat = "__debezium-heartbeat.{name}"
            format = "debezium-json-schema"
            mapping = "postgres"
            {source}
            [connectors.{name}]
            {body}
            {extra}
        """)
        return path

    def execute(self, script: str) -> None:
        """Run SQL as the database's administrator."""
        with psycopg.connect(self.postgres.dsn, autocommit=True) as connection:
            connection.execute(script.encode())


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One broker, worker and database for the module: together they are up in some ten seconds."""
    folder = tmp_path_factory.mktemp("connect")
    try:
        with (KafkaCluster(1) as cluster, PostgresServer() as postgres,
              ConnectWorker(cluster.bootstrap, folder / "worker", {"TEST_PASSWORD": SECRET}) as worker):  # fmt: skip
            whole = Stack(cluster.bootstrap, worker, postgres, folder)
            whole.execute(TABLES)
            yield whole
    except Unavailable as error:
        pytest.skip(str(error))


class Answer(NamedTuple):
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Answer]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a `tieout` command in this process; nothing that it prints may hold the secret."""

    def command(*words: str | Path) -> Answer:
        code = main([str(word) for word in words])
        answer = Answer(code, *capsys.readouterr())
        assert SECRET not in answer.out + answer.err
        return answer

    return command


def states(run: Run, config: Path) -> dict[tuple[str, str], dict[str, str]]:
    """The rows of `connectors status` by connector and part."""
    rows = run("connectors", "status", "--config", config, "-o", "json").document["rows"]
    return {(row["connector"], row["part"]): row for row in rows}


def until(holds: Callable[[], bool], what: str, limit_s: float = 30) -> None:
    """Wait for something that a JVM does in its own time."""
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.3)


def last_record(bootstrap: str, topic: str) -> tuple[bytes | None, bytes] | None:
    """Key and value of the newest record of a topic of one partition; None while there is none."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test", "log_level": 0})
    try:
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
        if not end:
            return None
        consumer.assign([TopicPartition(topic, 0, end - 1)])
        message = consumer.poll(10)
        return None if message is None else (message.key(), message.value() or b"")
    finally:
        consumer.close()


def test_from_an_empty_database_to_records_and_heartbeats(stack: Stack, run: Run) -> None:
    """Refused before the DBA's script, failed without its publication, running after all of it, unchanged at last."""
    config = stack.configuration("first")
    planned = run("connectors", "plan", "--config", config, "-o", "json")
    assert planned.code == Exit.UNHEALTHY
    assert [(each["connector"], each["step"]) for each in planned.document["connectors"]] == [("first", "create")]

    refused = run("connectors", "apply", "--config", config)
    assert refused.code == Exit.FAILED
    assert "first: database" in refused.err
    assert "nothing was changed" in refused.err
    assert stack.worker.ask("GET", "/connectors") == []

    script = run("connectors", "sql", "first", "--config", config).out
    stack.execute(script)
    stack.execute(script)  # it may be run again
    stack.execute("DROP PUBLICATION tieout_first")
    assert run("connectors", "apply", "--config", config).code == Exit.OK
    until(lambda: states(run, config).get(("first", "task 0"), {}).get("state") == "FAILED", "the task failed")
    failed = run("connectors", "status", "--config", config, "-o", "json")
    assert failed.code == Exit.UNHEALTHY
    task = next(row for row in failed.document["rows"] if row["part"] == "task 0")
    assert "ublication" in task["found"]
    assert "\n" not in task["found"]
    assert "restart?includeTasks=true&onlyFailed=true" in task["remedy"]

    stack.execute(script)
    stack.worker.ask("POST", "/connectors/first/restart?includeTasks=true&onlyFailed=true")
    until(lambda: run("connectors", "status", "--config", config).code == Exit.OK, "everything runs")
    for topic in ("first.psa.time_entry", "__debezium-heartbeat.first"):
        until(partial(known, stack, topic), f"{topic} has a record")
    _, value = last_record(stack.bootstrap, "first.psa.time_entry") or (None, b"")
    row = json.loads(value)
    assert row["payload"]["op"] == "r"
    assert row["payload"]["after"]["hours"] == "Au4="  # 750 with the scale in the schema: precise
    assert run("connectors", "plan", "--config", config).code == Exit.OK
    found = {row["check"]: row for row in run("doctor", "--config", config, "-o", "json").document["rows"]}
    for check in ("broker", "connect", "connector first task 0", "raw topic first.psa.time_entry", "source PSA/main",
                  "wire format first.psa.time_entry", "clock"):  # fmt: skip
        assert found[check]["state"] == "ok", found[check]
    assert "debezium-json-schema" in found["wire format first.psa.time_entry"]["found"]
    assert found["source PSA/main"]["found"].startswith("heartbeat ")


def known(stack: Stack, topic: str) -> bool:
    """Whether a topic has a record."""
    from confluent_kafka import KafkaException

    try:
        return last_record(stack.bootstrap, topic) is not None
    except KafkaException:
        return False


def test_a_change_is_shown_key_by_key_and_applied(stack: Stack, run: Run) -> None:
    """What somebody set by hand is taken back, what the configuration changed is set; a dry run does neither."""
    config = stack.configuration("plan")
    stack.execute(run("connectors", "sql", "plan", "--config", config).out)
    assert run("connectors", "apply", "--config", config).code == Exit.OK
    by_hand = stack.worker.ask("GET", "/connectors/plan/config") | {"poll.interval.ms": "9", "x.password": "in clear"}
    stack.worker.ask("PUT", "/connectors/plan/config", by_hand)

    config = stack.configuration("plan", heartbeat_s=2)
    for command in (("plan",), ("apply", "--dry-run")):
        answer = run("connectors", *command, "--config", config, "-o", "json")
        mine = next(each for each in answer.document["connectors"] if each["connector"] == "plan")
        assert mine["step"] == "change"
        assert {(key["name"], key["found"], key["expected"]) for key in mine["keys"]} == {
            ("heartbeat.interval.ms", "1000", "2000"), ("poll.interval.ms", "9", None),
            ("x.password", "(hidden)", None),
        }  # fmt: skip
    assert run("connectors", "apply", "--config", config).code == Exit.OK
    assert "poll.interval.ms" not in stack.worker.ask("GET", "/connectors/plan/config")
    assert run("connectors", "plan", "--config", config).code == Exit.OK


def test_a_change_that_loses_the_position_needs_a_word(stack: Stack, run: Run) -> None:
    """Another slot is another position: refused, and carried out only when asked for by name."""
    config = stack.configuration("slot")
    stack.execute(run("connectors", "sql", "slot", "--config", config).out)
    assert run("connectors", "apply", "--config", config).code == Exit.OK
    config = stack.configuration("slot", slot="another")
    refused = run("connectors", "apply", "--config", config)
    assert refused.code == Exit.FAILED
    assert "slot.name: found tieout_slot, expected another" in refused.err
    assert stack.worker.ask("GET", "/connectors/slot/config")["slot.name"] == "tieout_slot"
    assert run("connectors", "apply", "--restart-from-nothing", "--config", config).code == Exit.OK
    assert stack.worker.ask("GET", "/connectors/slot/config")["slot.name"] == "another"


def test_all_that_connect_refuses_is_said_at_once_and_nothing_is_done(stack: Stack, run: Run) -> None:
    """A wrong value, a database that is not there, a plugin that is not installed."""
    config = stack.configuration("wrong", extra=f"""
            options = {{ "snapshot.mode" = "sometimes" }}
            [connectors.away]
            kind = "postgresql"
            host = "127.0.0.1"
            port = 1
            database = "x"
            user = "x"
            password = "${{env:TEST_PASSWORD}}"
            tables = ["public.x"]
            [connectors.maria]
            kind = "mariadb"
            host = "127.0.0.1"
            server_id = {stack.postgres.port}
            user = "x"
            password = "${{env:TEST_PASSWORD}}"
            tables = ["public.x"]
        """)  # fmt: skip
    answer = run("connectors", "apply", "--config", config)
    assert answer.code == Exit.FAILED
    assert "wrong: snapshot.mode: " in answer.err
    assert "away: database.hostname: " in answer.err or "away: database" in answer.err
    assert "maria: connector.class: io.debezium.connector.mariadb.MariaDbConnector is not installed" in answer.err
    assert not {"wrong", "away", "maria"} & set(stack.worker.ask("GET", "/connectors"))


def test_a_foreign_connector_is_named_and_left_alone(stack: Stack, run: Run) -> None:
    """Somebody else's connector, broken or not, neither fails a check nor is touched."""
    foreign = {"connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector", "topic": "x", "file": "/"}
    stack.worker.ask("PUT", "/connectors/theirs/config", foreign)
    until(lambda: states(run, empty).get(("theirs", "task 0")) is not None, "it has a task") if (
        empty := stack.folder / "empty.toml").write_text(f'connect.url = "{stack.worker.url}"\n') else None  # fmt: skip
    planned = run("connectors", "plan", "--config", empty, "-o", "json")
    assert planned.code == Exit.OK
    assert {"connector": "theirs", "step": "not ours", "keys": []} in planned.document["connectors"]
    assert run("connectors", "status", "--config", empty).code == Exit.OK
    stack.worker.ask("DELETE", "/connectors/theirs")


def test_flat_rows_carry_what_orders_them(stack: Stack, run: Run) -> None:
    """Without an envelope the position, the commit instant, the table and the deletion travel beside the columns."""
    config = stack.folder / "flat.toml"
    config.write_text(f"""
        [kafka.client]
        "bootstrap.servers" = "{stack.bootstrap}"
        [connect]
        url = "{stack.worker.url}"
        [connectors.flat]
        kind = "postgresql"
        host = "127.0.0.1"
        port = {stack.postgres.port}
        database = "postgres"
        user = "flat_reader"
        password = "${{env:TEST_PASSWORD}}"
        format = "debezium-flat"
        tables = ["psa.leave"]
    """)
    stack.execute("CREATE TABLE psa.leave (id int PRIMARY KEY, hours numeric(9, 2))")
    stack.execute("INSERT INTO psa.leave VALUES (1, 7.5)")
    stack.execute(run("connectors", "sql", "flat", "--config", config).out)
    assert run("connectors", "apply", "--config", config).code == Exit.OK
    mapping = stack.folder / "flat-mapping.toml"
    mapping.write_text("""
        name = "flat"
        version = 1
        [[map]]
        entity = "project"
        table = "psa.leave"
        subject = "{id}"
        fields = { project_code = { from = "id", as = "text" } }
    """)
    read = codec("debezium-flat", {"source": "PSA/flat", "mapping": str(mapping)})
    rows: dict[str, dict[str, Any]] = {}
    changes: list[Change] = []
    for op, change in (("r", "SELECT"), ("u", "UPDATE psa.leave SET hours = 8"), ("d", "DELETE FROM psa.leave")):
        stack.execute(change)
        until(partial(flat_row_has, stack, op), f"a row of op {op}")
        rows[op] = flat_row(stack)
        record = RawRecord("flat.psa.leave", 0, 0, 0, *(last_record(stack.bootstrap, "flat.psa.leave") or (None, None)))
        changes += read.decode(record).changes
    of_rows = [change for change in changes if change.subject]  # the snapshot's end closes the object besides
    assert [change.op for change in of_rows] == [Op.SNAPSHOT, Op.UPSERT, Op.DELETE]
    assert [change.seq for change in of_rows] == sorted({change.seq for change in of_rows})
    assert [row["hours"] for row in rows.values()] == ["7.50", "8.00", "8.00"]
    assert [row["__deleted"] for row in rows.values()] == ["false", "false", "true"]
    assert rows["r"]["__source_lsn"] < rows["u"]["__source_lsn"] < rows["d"]["__source_lsn"]
    for row in rows.values():
        assert row["__source_ts_us"] // 1_000 == row["__source_ts_ms"]
        assert [row[f"__source_{name}"] for name in ("connector", "schema", "table")] == ["postgresql", "psa", "leave"]
        assert "__source_sequence" in row


def flat_row_has(stack: Stack, op: str) -> bool:
    """Whether the newest row of the flattened topic is of this operation."""
    return flat_row(stack).get("__op") == op


def flat_row(stack: Stack) -> dict[str, Any]:
    """The newest row of the flattened topic; empty while there is none."""
    if not known(stack, "flat.psa.leave"):
        return {}
    _, value = last_record(stack.bootstrap, "flat.psa.leave") or (None, b"{}")
    return dict(json.loads(value))


def test_the_composed_databases_are_captured(stack: Stack, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts that the composed databases run at first, and the configuration beside them: every row is decoded."""
    config = ROOT / "deploy" / "compose" / "databases.toml"
    monkeypatch.setenv("TIEOUT_KAFKA__CLIENT__BOOTSTRAP_SERVERS", stack.bootstrap)
    monkeypatch.setenv("TIEOUT_CONNECT__URL", stack.worker.url)
    for name in ("psa", "erp"):
        stack.execute(f"CREATE DATABASE {name}")
        dsn = stack.postgres.dsn.replace("dbname=postgres", f"dbname={name}")
        with psycopg.connect(dsn, autocommit=True) as database:
            for script in ("10-tables.sql", "20-connector.sql"):
                database.execute((config.parent / name / script).read_bytes())
        for key, value in (("HOST", "127.0.0.1"), ("PORT", str(stack.postgres.port)), ("SLOT", f"composed_{name}"),
                           ("PASSWORD", "${env:TEST_PASSWORD}")):  # fmt: skip
            monkeypatch.setenv(f"TIEOUT_CONNECTORS__{name.upper()}__{key}", value)
    assert run("connectors", "apply", "--config", config).code == Exit.OK
    settings = load(config)
    decoded: dict[str, set[str]] = {}
    for topic, reading in readings(settings).items():
        if not reading.heartbeat:
            until(partial(known, stack, topic), f"{topic} has a record")
            record_key, record_value = last_record(stack.bootstrap, topic) or (None, None)
            changes = reading.codec.decode(RawRecord(topic, 0, 0, 0, record_key, record_value)).changes
            decoded[topic] = {change.entity for change in changes}
    assert decoded == {
        "psa.public.project": {"project"}, "psa.public.assignment": {"assignment"},
        "psa.public.time_entry": {"time_entry"}, "erp.ledger.project": {"project"},
        "erp.ledger.posted_labour": {"posted_labour"}, "psa.notification": set(), "erp.notification": set(),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["postgresql", "mysql", "sqlserver"])
def test_the_plugins_know_every_key_that_is_made(stack: Stack, kind: str) -> None:
    """A misspelt key would be ignored in silence: each is defined by the plugin, or of a family that it passes on."""
    own = {"postgresql": 'database = "d"', "mysql": "server_id = 7", "sqlserver": 'database = "d"'}[kind]
    path = stack.folder / f"keys-{kind}.toml"
    path.write_text(f"""
        connect.url = "{stack.worker.url}"
        [connectors.keys]
        kind = "{kind}"
        {own}
        host = "127.0.0.1"
        port = 1
        user = "x"
        password = "${{env:TEST_PASSWORD}}"
        tables = ["s.t"]
    """)
    settings = load(path, {})
    config = config_of(feeds(settings)["keys"], settings)
    body = {**config, "name": "keys", **({"driver.loginTimeout": "1"} if kind == "sqlserver" else {})}
    answer = stack.worker.ask("PUT", f"/connector-plugins/{config['connector.class']}/config/validate", body)
    defined = {each["definition"]["name"] for each in answer["configs"]}
    passed_on = ("signal.kafka.", "schema.history.internal.kafka.", "topic.creation.", "key.converter.",
                 "value.converter.")  # fmt: skip
    assert {key for key in config if not key.startswith(passed_on)} - defined == set()
    wrong = {each["value"]["name"] for each in answer["configs"] if each["value"]["errors"]}
    assert wrong <= {"database.hostname", "database.port", "database.dbname", "database.user", "database.password"}
