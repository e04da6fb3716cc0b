"""Connectors without Connect: what is made of the settings, what does not fit, what is compared, shown and hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tieout.streams.connect.debezium import CLASSES, config_of, feeds
from tieout.streams.connect.plan import Difference, Step, cause, compare, redacted, shown
from tieout.streams.connect.sections import is_reference
from tieout.streams.connect.source_sql import script
from tieout.streams.settings import ConfigError, Settings, load

BASE = """
[kafka]
replication = 3
[kafka.client]
"bootstrap.servers" = "kafka:9092"
[connect]
url = "http://connect:8083"
registry_url = "http://registry:8081"
avro_converter = "{avro}"
client = {{ "security.protocol" = "SSL" }}
[connectors.erp]
kind = "{kind}"
host = "erp-db"
user = "tieout"
password = "${{file:/run/secrets/erp.properties:password}}"
tables = ["erp.invoice", "erp.invoice_line"]
format = "{format}"
"""
BEAT = 'heartbeat = "__debezium-heartbeat.erp"'
OWN = {"postgresql": 'database = "erp"\n', "sqlserver": 'database = "AX"\n', "mysql": "server_id = 7\n",
       "mariadb": "server_id = 7\n"}  # fmt: skip


def settings(folder: Path, kind: str = "postgresql", format: str = "debezium-json-schema", extra: str = "",
             avro: str = "confluent") -> Settings:  # fmt: skip
    """A configuration with one connector."""
    path = folder / "tieout.toml"
    path.write_text(BASE.format(kind=kind, format=format, avro=avro) + OWN[kind] + extra)
    return load(path, {})


def made(folder: Path, *arguments: str, **named: str) -> dict[str, str]:
    """What Connect would be told."""
    known = settings(folder, *arguments, **named)
    return config_of(feeds(known)["erp"], known)


ALWAYS = {
    "tasks.max": "1", "topic.prefix": "erp", "snapshot.mode": "initial", "tombstones.on.delete": "true",
    "table.include.list": r"erp\.invoice,erp\.invoice_line", "heartbeat.interval.ms": "10000",
    "errors.tolerance": "none", "errors.log.include.messages": "false",
    "database.password": "${file:/run/secrets/erp.properties:password}",
    "signal.enabled.channels": "source,kafka", "signal.kafka.topic": "erp.signal", "signal.kafka.bootstrap.servers":
    "kafka:9092", "signal.consumer.security.protocol": "SSL", "notification.sink.topic.name": "erp.notification",
    "topic.creation.default.partitions": "1", "topic.creation.default.replication.factor": "3",
    "topic.creation.single.include": r"__debezium-heartbeat\.erp,erp\.notification,erp\.transaction",
}  # fmt: skip
BY_KIND: dict[str, dict[str, str | None]] = {
    "postgresql": {
        "database.dbname": "erp", "database.port": "5432", "plugin.name": "pgoutput", "slot.name": "tieout_erp",
        "publication.name": "tieout_erp", "publication.autocreate.mode": "disabled", "signal.data.collection":
        "public.tieout_signal", "time.precision.mode": "adaptive", "schema.history.internal.kafka.topic": None,
    },
    "mysql": {
        "database.server.id": "7", "database.port": "3306", "database.include.list": "erp", "slot.name": None,
        "signal.data.collection": "erp.tieout_signal", "time.precision.mode": "adaptive_time_microseconds",
        "schema.history.internal.kafka.topic": "erp.schema-history",
        "schema.history.internal.producer.security.protocol": "SSL",
    },
    "mariadb": {"database.server.id": "7", "database.port": "3306", "signal.data.collection": "erp.tieout_signal"},
    "sqlserver": {
        "database.names": "AX", "database.port": "1433", "signal.data.collection": "AX.dbo.tieout_signal",
        "schema.history.internal.kafka.topic": "erp.schema-history", "database.dbname": None,
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", BY_KIND)
def test_each_database_is_configured_in_its_own_way(kind: str, tmp_path: Path) -> None:
    """What all have, and what only one knows."""
    config = made(tmp_path, kind)
    expected = {**ALWAYS, **BY_KIND[kind], "connector.class": CLASSES[kind]}  # type: ignore[index]
    assert {key: config.get(key) for key in expected} == expected


@pytest.mark.parametrize(("format", "expected"), [
    ("debezium-json", {"value.converter.schemas.enable": "false", "decimal.handling.mode": "string"}),
    ("debezium-json-schema", {"value.converter.schemas.enable": "true", "decimal.handling.mode": "precise"}),
    ("debezium-avro", {"value.converter": "io.confluent.connect.avro.AvroConverter", "decimal.handling.mode": "precise",
                       "key.converter.schema.registry.url": "http://registry:8081", "transforms": None}),
    ("debezium-flat", {"value.converter.schemas.enable": "false", "decimal.handling.mode": "string",
                       "transforms": "flat", "transforms.flat.delete.tombstone.handling.mode": "rewrite"}),
])  # fmt: skip
def test_each_format_has_its_converters(format: str, expected: dict[str, str | None], tmp_path: Path) -> None:
    """A decimal is exact in all of them: as text where no schema tells its scale."""
    config = made(tmp_path, "postgresql", format)
    assert {key: config.get(key) for key in expected} == expected


def test_apicurio_writes_ids_of_four_bytes(tmp_path: Path) -> None:
    """As everybody reads them."""
    config = made(tmp_path, "postgresql", "debezium-avro", avro="apicurio")
    assert config["value.converter"] == "io.apicurio.registry.utils.converter.AvroConverter"
    assert config["value.converter.apicurio.registry.as-confluent"] == "true"


def test_options_go_over_everything_else(tmp_path: Path) -> None:
    """By Connect's own names, and with its types."""
    options = '{ "slot.name" = "theirs", "max.batch.size" = 4096, "slot.failover" = true }'
    config = made(tmp_path, extra=f"options = {options}\n")
    assert (config["slot.name"], config["max.batch.size"], config["slot.failover"]) == ("theirs", "4096", "true")


def test_a_heartbeat_writes_into_the_database(tmp_path: Path) -> None:
    """In its own dialect: without it a quiet database keeps its log for ever."""
    queries = {kind: made(tmp_path, kind)["heartbeat.action.query"] for kind in BY_KIND}
    assert queries["postgresql"].startswith('INSERT INTO "public"."tieout_heartbeat"')
    assert queries["mysql"] == queries["mariadb"]
    assert "ON DUPLICATE KEY" in queries["mysql"]
    assert queries["sqlserver"].startswith("UPDATE [dbo].[tieout_heartbeat]")


def test_tables_are_those_that_sources_read(tmp_path: Path) -> None:
    """Named once, in the sources' topics."""
    path = tmp_path / "tieout.toml"
    source = """
        [sources.{0}]
        system = "ERP"
        topic = "ax.AX.dbo.{0}"
        format = "debezium-json-schema"
        heartbeat = "__debezium-heartbeat.ax"
    """
    connector = '[connectors.ax]\nkind = "sqlserver"\nhost = "h"\nuser = "u"\npassword = "${env:P}"\ndatabase = "AX"\n'
    path.write_text("".join(map(source.format, ("PROJTABLE", "PROJINVOICE"))) + connector)
    feed = feeds(load(path, {}))["ax"]
    assert feed.tables == ("dbo.PROJTABLE", "dbo.PROJINVOICE")
    assert feed.topic("dbo.PROJTABLE") == "ax.AX.dbo.PROJTABLE"


def source(topic: str, format: str = "debezium-json-schema", heartbeat: str = BEAT) -> str:
    """A section of a source."""
    return f'[sources.x]\nsystem = "ERP"\ntopic = "{topic}"\nformat = "{format}"\n{heartbeat}\n'


SECOND = '[connectors.other]\nkind = "postgresql"\nhost = "erp-db"\nuser = "u"\npassword = "${env:P}"\ndatabase = "d"\n'


@pytest.mark.parametrize(("extra", "key", "expected"), [
    (source("erp.erp.invoise"), "sources.x.topic", "erp.erp.invoice"),
    (source("erp.erp.invoice", format="debezium-json"), "sources.x.format", "debezium-json-schema"),
    (source("erp.erp.invoice", heartbeat=""), "sources.x.heartbeat", "__debezium-heartbeat.erp"),
    (SECOND, "connectors.other.tables", "at least one table"),
    (SECOND + 'tables = ["a.b"]\ntopic_prefix = "erp"\n', "connectors.other.topic_prefix", "connectors.erp has not"),
    (SECOND + 'tables = ["a.b"]\nslot = "tieout_erp"\n', "connectors.other.slot", "connectors.erp has not"),
    (SECOND.replace('database = "d"\n', 'tables = ["a.b"]\n'), "connectors.other.database", "the name of the database"),
    (SECOND.replace("postgresql", "mysql") + 'tables = ["a.b"]\n', "connectors.other.server_id", "a number"),
])  # fmt: skip
def test_what_does_not_fit_is_named(extra: str, key: str, expected: str, tmp_path: Path) -> None:
    """Key by key, with what it must be."""
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, extra=extra)
    problems = caught.value.problems
    assert [(each.key, expected in f"{each.expected} {each.nearest}") for each in problems] == [(key, True)]


def test_everything_that_does_not_fit_is_said_at_once(tmp_path: Path) -> None:
    """Three mistakes in two sections are three problems with file and line."""
    wrong = source("erp.erp.other", format="debezium-json", heartbeat="")
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, extra=wrong)
    problems = caught.value.problems
    assert [each.key for each in problems] == ["sources.x.topic", "sources.x.format", "sources.x.heartbeat"]
    assert all("tieout.toml:" in each.where for each in problems)


def test_avro_needs_a_registry(tmp_path: Path) -> None:
    """As Connect's workers reach it."""
    path = tmp_path / "tieout.toml"
    text = BASE.format(kind="postgresql", format="debezium-avro", avro="confluent") + OWN["postgresql"]
    path.write_text(text.replace('registry_url = "http://registry:8081"', ""))
    with pytest.raises(ConfigError, match=r"connect\.registry_url"):
        load(path, {})


@pytest.mark.parametrize(("line", "key"), [
    ('password = "hunter2"', "connectors.c.password"),
    ('password = "${env:P}"\noptions = { "database.sslpassword" = "hunter2" }', "connectors.c.options"),
    ('password = "${env:P}"\n[connect]\nclient = { "sasl.jaas.config" = "x password=hunter2" }', "connect.client"),
    ('password = "${env:P}"\n[connect]\nurl = "http://me:hunter2@connect:8083"', "connect.url"),
])  # fmt: skip
def test_a_secret_in_clear_is_refused_and_not_repeated(line: str, key: str, tmp_path: Path) -> None:
    """It would stand in Connect's configuration topic; and it must not stand in a log either."""
    path = tmp_path / "tieout.toml"
    start = '[connectors.c]\nkind = "mysql"\nhost = "h"\nuser = "u"\nserver_id = 1\ntables = ["a.b"]\n'
    path.write_text(f"{start}{line}\n")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert [each.key for each in caught.value.problems] == [key]
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("value", "verdict"), [
    ("${file:/run/secrets/a.properties:password}", True), ("${env:PASSWORD}", True), ("${env:}", False),
    ("${env:A}${env:B}", False), ("x${env:A}", False), ("$PASSWORD", False), ("", False),
])  # fmt: skip
def test_what_a_reference_is(value: str, verdict: bool) -> None:
    """The whole value is looked up by Connect, no part of it stands in clear."""
    assert is_reference(value) is verdict


def keys(difference: Difference) -> list[tuple[str | None, ...]]:
    """The keys of a difference."""
    return [tuple(each) for each in difference.keys]


@pytest.mark.parametrize(("found", "step", "expected"), [
    (None, Step.CREATE, [("a", None, "1"), ("database.password", None, "${env:P}"), ("slot.name", None, "s")]),
    ({"a": "1", "database.password": "${env:P}", "slot.name": "s", "name": "x"}, Step.UNCHANGED, []),
    ({"a": "2", "database.password": "${env:P}", "slot.name": "s"}, Step.CHANGE, [("a", "2", "1")]),
    ({"a": "1", "database.password": "in clear", "slot.name": "s"}, Step.CHANGE,
     [("database.password", "(hidden)", "${env:P}")]),
    ({"a": "1", "database.password": "${env:P}", "slot.name": "s", "b": "3"}, Step.CHANGE, [("b", "3", None)]),
    ({"a": "1", "database.password": "${env:P}", "slot.name": "t"}, Step.REFUSE, [("slot.name", "t", "s")]),
])  # fmt: skip
def test_a_connector_is_compared_key_by_key(found: Any, step: Step, expected: list[Any]) -> None:
    """Connect's own `name` is no difference; a lost position is; a secret is never shown."""
    difference = compare("x", {"a": "1", "database.password": "${env:P}", "slot.name": "s"}, found)
    assert (difference.step, keys(difference)) == (step, expected)


@pytest.mark.parametrize("name", ["database.password", "producer.override.sasl.jaas.config", "ssl.key.password"])
def test_secrets_are_hidden_by_the_name_of_their_key(name: str) -> None:
    """Whoever wrote them."""
    assert shown(name, "hunter2") == "(hidden)"


def test_a_trace_is_told_in_a_line() -> None:
    """What was thrown and what lies at its bottom; credentials in it are not."""
    trace = """org.apache.kafka.connect.errors.ConnectException: the connector will be stopped
        at io.debezium.pipeline.ErrorHandler.setProducerThrowable(ErrorHandler.java:67)
    Caused by: io.debezium.DebeziumException: no route
        at x.y(Z.java:1)
    Caused by: java.net.ConnectException: jdbc:postgresql://h/d?user=u&password=hunter2&ssl=true refused
    """
    first, bottom = cause(trace).split(" <- ")
    assert first == "org.apache.kafka.connect.errors.ConnectException: the connector will be stopped"
    assert bottom == "java.net.ConnectException: jdbc:postgresql://h/d?user=u&password=(hidden)&ssl=true refused"
    assert cause("") == ""
    assert redacted("token = abc, rest") == "token=(hidden), rest"


@pytest.mark.parametrize("kind", BY_KIND)
def test_the_script_for_the_dba_covers_what_the_connector_touches(kind: str, tmp_path: Path) -> None:
    """Every table, ours too, and the role that reads them; no password."""
    feed = feeds(settings(tmp_path, kind))["erp"]
    text = script(feed)
    for needed in ("invoice", "invoice_line", "tieout_heartbeat", "tieout_signal", "tieout"):
        assert needed in text
    assert "secrets" not in text
    wanted = {"postgresql": ("REPLICA IDENTITY FULL", 'CREATE PUBLICATION "tieout_erp"', "wal_level"),
              "mysql": ("REPLICATION CLIENT", "binlog_row_image"), "mariadb": ("BINLOG MONITOR",),
              "sqlserver": ("sp_cdc_enable_db", "sp_cdc_enable_table", "USE [AX]")}  # fmt: skip
    assert all(each in text for each in wanted[kind])


def test_replica_identity_is_what_was_chosen(tmp_path: Path) -> None:
    """Full, unless the log is too dear."""
    feed = feeds(settings(tmp_path, extra='replica_identity = "default"\n'))["erp"]
    assert 'ALTER TABLE "erp"."invoice" REPLICA IDENTITY DEFAULT;' in script(feed)
