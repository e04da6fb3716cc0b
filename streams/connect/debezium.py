"""From a configured connector to the flat configuration that Kafka Connect takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tieout.streams.connect.sections import Connector, Kind

if TYPE_CHECKING:
    from tieout.streams.settings import Settings

Config = dict[str, str]

CLASSES: Final[Mapping[Kind, str]] = {
    "postgresql": "io.debezium.connector.postgresql.PostgresConnector",
    "mysql": "io.debezium.connector.mysql.MySqlConnector",
    "mariadb": "io.debezium.connector.mariadb.MariaDbConnector",
    "sqlserver": "io.debezium.connector.sqlserver.SqlServerConnector",
}
_PORTS: Final[Mapping[Kind, int]] = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306, "sqlserver": 1433}
_HOME: Final[Mapping[Kind, str]] = {"postgresql": "public", "sqlserver": "dbo"}  # of our two tables
_BINLOG: Final = ("mysql", "mariadb")
_JSON: Final = "org.apache.kafka.connect.json.JsonConverter"
_AVRO: Final = {"confluent": "io.confluent.connect.avro.AvroConverter",
                "apicurio": "io.apicurio.registry.utils.converter.AvroConverter"}  # fmt: skip
_UNWRAP: Final = "io.debezium.transforms.ExtractNewRecordState"
_DAY_MS: Final = 86_400_000
_RETRY_MS: Final = 300_000  # a registry or broker that restarts is back by then


@dataclass(frozen=True, slots=True)
class Feed:
    """A connector with every name that follows from its settings."""

    name: str
    connector: Connector
    tables: tuple[str, ...]

    @property
    def prefix(self) -> str:
        """What its topics begin with."""
        return self.connector.topic_prefix or self.name

    @property
    def home(self) -> str:
        """The schema of our own tables in the database; on MySQL and MariaDB that of the first table."""
        return _HOME.get(self.connector.kind) or (self.tables[0].split(".")[0] if self.tables else "tieout")

    @property
    def heartbeat_table(self) -> str:
        """The table that a heartbeat writes, so that the log moves on while nothing else happens."""
        return self.connector.heartbeat_table or f"{self.home}.tieout_heartbeat"

    @property
    def signal_table(self) -> str:
        """The table of signals: incremental snapshots, chiefly."""
        return self.connector.signal_table or f"{self.home}.tieout_signal"

    @property
    def signal_topic(self) -> str:
        """The topic of signals, for whoever must not write into the database."""
        return self.connector.signal_topic or f"{self.prefix}.signal"

    @property
    def notification_topic(self) -> str:
        """Where it tells how snapshots go."""
        return f"{self.prefix}.notification"

    @property
    def control_topics(self) -> tuple[str, ...]:
        """Topics with its prefix that hold no table's rows; a source may read the notifications."""
        return self.notification_topic, f"{self.prefix}.transaction", self.signal_topic

    @property
    def heartbeat_topic(self) -> str:
        """Where its heartbeats arrive: what a source's `heartbeat` must name."""
        return f"__debezium-heartbeat.{self.prefix}"

    @property
    def slot(self) -> str:
        """The replication slot in PostgreSQL."""
        return self.connector.slot or f"tieout_{_word(self.name)}"

    @property
    def publication(self) -> str:
        """The publication in PostgreSQL."""
        return self.connector.publication or f"tieout_{_word(self.name)}"

    def topic(self, table: str) -> str:
        """The topic of a table: Debezium's own naming."""
        return f"{self.prefix}.{self.qualified(table)}"

    def qualified(self, table: str) -> str:
        """A table as Debezium names it: SQL Server puts the database in front."""
        return f"{self.connector.database}.{table}" if self.connector.kind == "sqlserver" else table


def feeds(settings: Settings) -> dict[str, Feed]:
    """The configured connectors by name, each with its tables: those it names, else those that sources read."""
    return {name: Feed(name, each, tuple(each.tables) or _read_tables(settings, name, each))
            for name, each in settings.connectors.items()}  # fmt: skip


def _read_tables(settings: Settings, name: str, connector: Connector) -> tuple[str, ...]:
    feed = Feed(name, connector, ())
    start = feed.topic("")
    topics = (source.topic for source in settings.sources.values() if source.topic not in feed.control_topics)
    return tuple(dict.fromkeys(topic.removeprefix(start) for topic in topics if topic.startswith(start)))


def config_of(feed: Feed, settings: Settings) -> Config:
    """What Connect must be told about a connector."""
    made: Config = {}
    for part in (_database(feed), _tables(feed), _records(feed, settings), _heartbeats(feed), _signals(feed, settings),
                 _topics(feed, settings), _errors(), feed.connector.options.items()):  # fmt: skip
        made.update(part)
    return made


def _database(feed: Feed) -> Iterator[tuple[str, str]]:
    connector = feed.connector
    yield "connector.class", CLASSES[connector.kind]
    yield "tasks.max", "1"
    yield "database.hostname", connector.host
    yield "database.port", str(connector.port or _PORTS[connector.kind])
    yield "database.user", connector.user
    yield "database.password", connector.password
    yield "topic.prefix", feed.prefix
    yield "snapshot.mode", connector.snapshot
    if connector.kind == "postgresql":
        yield from _postgresql(feed)
    elif connector.kind == "sqlserver":
        yield "database.names", str(connector.database)
    else:
        yield "database.server.id", str(connector.server_id)
        yield "database.include.list", ",".join(dict.fromkeys(_pattern(table.split(".")[0]) for table in feed.tables))
        yield "bigint.unsigned.handling.mode", "precise"  # an id beyond 2^63 would turn negative


def _postgresql(feed: Feed) -> Iterator[tuple[str, str]]:
    yield "database.dbname", str(feed.connector.database)
    yield "plugin.name", "pgoutput"
    yield "slot.name", feed.slot
    yield "slot.drop.on.stop", "false"  # a slot that is gone takes changes with it
    yield "publication.name", feed.publication
    yield "publication.autocreate.mode", "disabled"  # the DBA's: creating one needs the tables' owner


def _tables(feed: Feed) -> Iterator[tuple[str, str]]:
    yield "table.include.list", ",".join(_pattern(table) for table in feed.tables)
    yield "tombstones.on.delete", "true"
    yield "provide.transaction.metadata", "true" if feed.connector.transactions else "false"


def _records(feed: Feed, settings: Settings) -> Iterator[tuple[str, str]]:
    connector = feed.connector
    with_schema = connector.format in ("debezium-json-schema", "debezium-avro")
    yield "decimal.handling.mode", connector.decimals or ("precise" if with_schema else "string")
    adaptive = "adaptive_time_microseconds" if connector.kind in _BINLOG else "adaptive"
    yield "time.precision.mode", connector.times or adaptive
    for side in ("key", "value"):
        if connector.format == "debezium-avro":
            yield from _avro(side, settings)
        else:
            yield f"{side}.converter", _JSON
            yield f"{side}.converter.schemas.enable", "true" if connector.format == "debezium-json-schema" else "false"
    if connector.format == "debezium-avro":
        yield "schema.name.adjustment.mode", "avro"  # a column may be named as no Avro field can be
        yield "field.name.adjustment.mode", "avro"
    if connector.format == "debezium-flat":
        yield from _flat(feed)


def _avro(side: str, settings: Settings) -> Iterator[tuple[str, str]]:
    converter, url = settings.connect.avro_converter, str(registry_url(settings))
    yield f"{side}.converter", _AVRO[converter]
    if converter == "confluent":
        yield f"{side}.converter.schema.registry.url", url
        return
    yield f"{side}.converter.apicurio.registry.url", url
    yield f"{side}.converter.apicurio.registry.auto-register", "true"
    yield f"{side}.converter.apicurio.registry.as-confluent", "true"  # four bytes of id, as everybody reads them
    yield f"{side}.converter.apicurio.registry.use-id", "contentId"


def registry_url(settings: Settings) -> str | None:
    """The schema registry as Connect's workers reach it: where nothing else is said, as we do."""
    return settings.connect.registry_url or settings.registry.url


def _flat(feed: Feed) -> Iterator[tuple[str, str]]:
    """Rows without envelope; what orders them travels in added fields."""
    order = {"postgresql": "source.lsn,source.sequence", "sqlserver": "source.commit_lsn,source.change_lsn,"
             "source.event_serial_no"}.get(feed.connector.kind, "source.file,source.pos,source.row,source.gtid")
    place = "source.db,source.table" if feed.connector.kind in _BINLOG else "source.db,source.schema,source.table"
    yield "transforms", "flat"
    yield "transforms.flat.type", _UNWRAP
    yield "transforms.flat.delete.tombstone.handling.mode", "rewrite"  # a tombstone has no place in the source's log
    yield "transforms.flat.add.fields", f"op,source.connector,source.ts_ms,source.ts_us,source.snapshot,{place},{order}"
    yield "transforms.flat.add.headers", "op"


def _heartbeats(feed: Feed) -> Iterator[tuple[str, str]]:
    yield "heartbeat.interval.ms", str(feed.connector.heartbeat_s * 1_000)
    yield "heartbeat.action.query", heartbeat_query(feed)


def heartbeat_query(feed: Feed) -> str:
    """What a heartbeat writes: it makes the log move on, and the slot with it, while the tables are quiet."""
    kind, name = feed.connector.kind, feed.name.replace("'", "''")
    table = quoted(feed.heartbeat_table, kind)
    if kind == "sqlserver":
        return f"UPDATE {table} SET beat_at = SYSUTCDATETIME() WHERE connector = N'{name}'"
    insert = f"INSERT INTO {table} (connector, beat_at) VALUES ('{name}', "
    if kind == "postgresql":
        return f"{insert}now()) ON CONFLICT (connector) DO UPDATE SET beat_at = EXCLUDED.beat_at"
    return f"{insert}NOW(6)) ON DUPLICATE KEY UPDATE beat_at = NOW(6)"


def _signals(feed: Feed, settings: Settings) -> Iterator[tuple[str, str]]:
    servers = settings.connect.bootstrap_servers or str(settings.kafka.client["bootstrap.servers"])
    yield "signal.enabled.channels", "source,kafka"
    yield "signal.data.collection", feed.qualified(feed.signal_table)
    yield "signal.kafka.topic", feed.signal_topic
    yield "signal.kafka.bootstrap.servers", servers
    yield "notification.enabled.channels", "sink"
    yield "notification.sink.topic.name", feed.notification_topic
    clients = ["signal.consumer"]
    if feed.connector.kind != "postgresql":  # PostgreSQL's log describes its own rows
        yield "schema.history.internal.kafka.topic", f"{feed.prefix}.schema-history"
        yield "schema.history.internal.kafka.bootstrap.servers", servers
        clients += ["schema.history.internal.producer", "schema.history.internal.consumer"]
    for client in clients:
        yield from ((f"{client}.{name}", value) for name, value in settings.connect.client.items())


def _topics(feed: Feed, settings: Settings) -> Iterator[tuple[str, str]]:
    """What Connect creates: heartbeats and notifications in one partition each, whatever the tables have."""
    copies = str(settings.kafka.replication)
    yield "topic.creation.groups", "single"
    single = (feed.heartbeat_topic, feed.notification_topic, f"{feed.prefix}.transaction")
    yield "topic.creation.single.include", ",".join(_pattern(topic) for topic in single)
    for group, partitions in (("single", 1), ("default", feed.connector.partitions)):
        yield f"topic.creation.{group}.partitions", str(partitions)
        yield f"topic.creation.{group}.replication.factor", copies
        yield f"topic.creation.{group}.cleanup.policy", "delete"
        yield f"topic.creation.{group}.retention.ms", str(feed.connector.retention_days * _DAY_MS)


def _errors() -> Iterator[tuple[str, str]]:
    """A record that cannot be sent stops the connector: skipping it would be a gap that nobody sees."""
    yield "errors.tolerance", "none"
    yield "errors.retry.timeout", str(_RETRY_MS)
    yield "errors.log.enable", "true"
    yield "errors.log.include.messages", "false"  # rows are about people
    yield "event.processing.failure.handling.mode", "fail"


def quoted(table: str, kind: Kind) -> str:
    """A qualified name as the database's SQL writes it."""
    left, right = {"postgresql": ('"', '"'), "sqlserver": ("[", "]")}.get(kind, ("`", "`"))
    return ".".join(f"{left}{part}{right}" for part in table.split("."))


def _pattern(name: str) -> str:
    """Connect's lists hold regular expressions."""
    return re.sub(r"([.$])", r"\\\1", name)


def _word(name: str) -> str:
    """A name as PostgreSQL takes it for slots."""
    return re.sub(r"[^a-z0-9_]", "_", name.lower())[:56]
