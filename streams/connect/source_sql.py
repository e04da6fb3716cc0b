"""The SQL that a database's administrator runs before a connector reads it; it may be run again at any time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from tieout.streams.connect.debezium import Feed, quoted
from tieout.streams.connect.sections import Kind, is_reference

_SIGNAL_COLUMNS: Final = "id varchar(42) PRIMARY KEY, type varchar(32) NOT NULL, data varchar(2048)"
_UNKNOWN_USER: Final = "connector_user"  # where the name is a reference that only Connect resolves


def script(feed: Feed) -> str:
    """The whole script of one connector, with what to check by hand as comments."""
    return "\n".join(_SCRIPTS[feed.connector.kind](feed)) + "\n"


def _user(feed: Feed) -> str:
    return _UNKNOWN_USER if is_reference(feed.connector.user) else feed.connector.user


def _about(feed: Feed, product: str, whose: str) -> Iterator[str]:
    yield f"-- {product}, for the connector {feed.name} of tieout. Run it as {whose}; it may be run again."
    if is_reference(feed.connector.user):
        yield f"-- The connector's name is looked up by Connect: put it in the place of {_UNKNOWN_USER}."


def _postgresql(feed: Feed) -> Iterator[str]:
    user, publication = _name(_user(feed)), _name(feed.publication)
    tables = ", ".join(_sql(feed, table) for table in (*feed.tables, feed.heartbeat_table, feed.signal_table))
    yield from _about(feed, f"PostgreSQL, database {feed.connector.database}", "the owner of the tables or a superuser")
    yield "DO $$ BEGIN"
    yield "  IF current_setting('wal_level') <> 'logical' THEN"
    yield "    RAISE EXCEPTION 'wal_level is %: ALTER SYSTEM SET wal_level = ''logical'', restart, run this again',"
    yield "      current_setting('wal_level');"
    yield "  END IF;"
    yield f"  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {_text(_user(feed))}) THEN"
    yield f"    CREATE ROLE {user} LOGIN REPLICATION;  -- then give it a password: \\password {_user(feed)}"
    yield "  END IF;"
    yield "END $$;"
    yield from _our_tables(feed, "CREATE TABLE IF NOT EXISTS {} ({});", "text", "timestamptz")
    yield from _identities(feed)
    yield "DO $$ BEGIN"
    yield f"  IF EXISTS (SELECT FROM pg_publication WHERE pubname = {_text(feed.publication)}) THEN"
    yield f"    ALTER PUBLICATION {publication} SET TABLE {tables};"
    yield "  ELSE"
    yield f"    CREATE PUBLICATION {publication} FOR TABLE {tables};"
    yield "  END IF;"
    yield "END $$;"
    schemas = dict.fromkeys(table.split(".")[0] for table in (*feed.tables, feed.heartbeat_table, feed.signal_table))
    for schema in schemas:
        yield f"GRANT USAGE ON SCHEMA {_name(schema)} TO {user};"
    for table in feed.tables:
        yield f"GRANT SELECT ON {_sql(feed, table)} TO {user};"
    yield f"GRANT SELECT, INSERT, UPDATE ON {_sql(feed, feed.heartbeat_table)} TO {user};"
    yield f"GRANT SELECT, INSERT ON {_sql(feed, feed.signal_table)} TO {user};"
    yield "-- Its host must be let in by pg_hba.conf. How far the slot holds back the log:"
    yield "-- SELECT slot_name, active, pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn))"
    yield f"--   FROM pg_replication_slots WHERE slot_name = {_text(feed.slot)};"


def _identities(feed: Feed) -> Iterator[str]:
    identity = feed.connector.replica_identity.upper()
    for table in feed.tables:
        yield f"ALTER TABLE {_sql(feed, table)} REPLICA IDENTITY {identity};"


def _binlog(feed: Feed) -> Iterator[str]:
    mariadb = feed.connector.kind == "mariadb"
    account = f"{_text(_user(feed))}@'%'"
    yield from _about(feed, "MariaDB" if mariadb else "MySQL", "an administrator")
    yield "-- The server needs log_bin = ON, binlog_format = ROW, binlog_row_image = FULL, and a log of some days:"
    yield "--   SHOW VARIABLES WHERE variable_name IN ('log_bin', 'binlog_format', 'binlog_row_image',"
    yield f"--     'binlog_expire_logs_seconds', 'server_id');   -- and not the id {feed.connector.server_id}"
    yield f"CREATE USER IF NOT EXISTS {account};  -- then give it a password: ALTER USER {account} IDENTIFIED BY …"
    rights = f"RELOAD, SHOW DATABASES, REPLICATION SLAVE, {'BINLOG MONITOR' if mariadb else 'REPLICATION CLIENT'}"
    yield f"GRANT {rights}, LOCK TABLES ON *.* TO {account};"
    for table in feed.tables:
        yield f"GRANT SELECT ON {_sql(feed, table)} TO {account};"
    yield from _our_tables(feed, "CREATE TABLE IF NOT EXISTS {} ({});", "varchar(200)", "datetime(6)")
    yield f"GRANT SELECT, INSERT, UPDATE ON {_sql(feed, feed.heartbeat_table)} TO {account};"
    yield f"GRANT SELECT, INSERT ON {_sql(feed, feed.signal_table)} TO {account};"


def _sqlserver(feed: Feed) -> Iterator[str]:
    database, user = _bracketed(str(feed.connector.database)), _bracketed(_user(feed))
    yield from _about(feed, f"SQL Server, database {feed.connector.database}", "sysadmin")
    yield "-- SQL Server Agent must run: it fills the change tables."
    yield f"USE {database};"
    name = _n(feed.connector.database)
    yield f"IF NOT EXISTS (SELECT 1 FROM sys.databases WHERE name = {name} AND is_cdc_enabled = 1)"
    yield "  EXEC sys.sp_cdc_enable_db;"
    yield f"IF USER_ID({_n(_user(feed))}) IS NULL CREATE USER {user} FOR LOGIN {user};  -- the login must exist"
    exists = "IF OBJECT_ID(N'{0}') IS NULL CREATE TABLE {0} ({1});"
    yield from _our_tables(feed, exists, "nvarchar(200)", "datetime2(6)")
    heartbeat = _sql(feed, feed.heartbeat_table)
    yield (f"IF NOT EXISTS (SELECT 1 FROM {heartbeat} WHERE connector = {_n(feed.name)})"
           f" INSERT INTO {heartbeat} VALUES ({_n(feed.name)}, SYSUTCDATETIME());")  # fmt: skip
    for table in (*feed.tables, feed.heartbeat_table, feed.signal_table):
        schema, bare = table.split(".")
        yield (f"IF NOT EXISTS (SELECT 1 FROM cdc.change_tables WHERE source_object_id = OBJECT_ID({_n(table)}))"
               f" EXEC sys.sp_cdc_enable_table @source_schema = {_n(schema)}, @source_name = {_n(bare)},"
               " @role_name = NULL, @supports_net_changes = 0;")  # fmt: skip
    for schema in dict.fromkeys(["cdc", *(table.split(".")[0] for table in feed.tables)]):
        yield f"GRANT SELECT ON SCHEMA::{_bracketed(schema)} TO {user};"
    yield f"GRANT VIEW DATABASE STATE TO {user};"
    yield f"GRANT SELECT, INSERT, UPDATE ON {heartbeat} TO {user};"
    yield f"GRANT SELECT, INSERT ON {_sql(feed, feed.signal_table)} TO {user};"


def _our_tables(feed: Feed, create: str, text: str, instant: str) -> Iterator[str]:
    """The tables that heartbeats and signals are written to."""
    columns = f"connector {text} PRIMARY KEY, beat_at {instant} NOT NULL"
    yield create.format(_sql(feed, feed.heartbeat_table), columns)
    yield create.format(_sql(feed, feed.signal_table), _SIGNAL_COLUMNS)


def _sql(feed: Feed, table: str) -> str:
    return quoted(table, feed.connector.kind)


def _name(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'


def _bracketed(word: str) -> str:
    return "[" + word.replace("]", "]]") + "]"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _n(value: str | None) -> str:
    return f"N{_text(str(value))}"


_SCRIPTS: Final[Mapping[Kind, Callable[[Feed], Iterator[str]]]] = {
    "postgresql": _postgresql, "mysql": _binlog, "mariadb": _binlog, "sqlserver": _sqlserver,
}  # fmt: skip
