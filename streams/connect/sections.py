"""The configuration of Kafka Connect and of the Debezium connectors that it runs for us."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from tieout.streams.layers import is_secret

Kind = Literal["postgresql", "mysql", "mariadb", "sqlserver"]
Encoding = Literal["debezium-json", "debezium-json-schema", "debezium-avro", "debezium-flat"]

_REFERENCE: Final = re.compile(r"\$\{\w+:[^${}]+\}")
_NAME: Final = re.compile(r"[A-Za-z_][\w$-]*\.[A-Za-z_][\w$-]*")


def is_reference(value: str) -> bool:
    """Whether a value is looked up by Connect itself: '${file:/run/secrets/psa.properties:password}', '${env:NAME}'."""
    return _REFERENCE.fullmatch(value) is not None


def _reference(value: str) -> str:
    if not is_reference(value):
        raise ValueError("a reference that Connect resolves, ${file:/path/of.properties:key} or ${env:NAME}: "
                         "a secret written here would stand in Connect's configuration topic")
    return value


def _table(value: str) -> str:
    if _NAME.fullmatch(value) is None:
        raise ValueError('a table with its schema (MySQL, MariaDB: its database), "public.time_entry"')
    return value


def _option(value: Any) -> str:
    """Connect's values are text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int):
        raise ValueError("text, a whole number, true or false")
    return str(value)


def _no_secrets(options: dict[str, str]) -> dict[str, str]:
    for name, value in options.items():
        if is_secret(name) and not is_reference(value):
            raise ValueError(f"{name}: a reference that Connect resolves, ${{file:/path:key}} or ${{env:NAME}}")
    return options


Reference = Annotated[str, AfterValidator(_reference)]
Table = Annotated[str, AfterValidator(_table)]
Option = Annotated[Any, AfterValidator(_option)]
Options = Annotated[dict[str, Option], AfterValidator(_no_secrets)]
Positive = Annotated[int, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Connect(_Section):
    """Where Kafka Connect is, and what its workers see of the world."""

    url: str | None = Field(default=None, description="Address of Connect's REST interface.")
    username: str | None = Field(default=None, description="Name for its basic authentication.")
    password: str | None = Field(default=None, description="Password for it; better in the secrets directory.")
    timeout_s: float = Field(default=30.0, gt=0, description="Seconds to wait for an answer.")
    bootstrap_servers: str | None = Field(
        default=None, description="The brokers as Connect's workers reach them; else those of `kafka.client`."
    )
    client: Options = Field(
        default={}, description="Java clients' settings by their own names, for schema history and signals."
    )
    avro_converter: Literal["confluent", "apicurio"] = Field(
        default="confluent", description="Which converter the workers have; Debezium's image carries Apicurio's."
    )
    registry_url: str | None = Field(
        default=None, description="The schema registry as Connect's workers reach it; else `registry.url`."
    )

    @field_validator("url", "registry_url")
    @classmethod
    def _without_credentials(cls, url: str | None) -> str | None:
        if url is not None and not re.match(r"https?://[^/@]+(/|$)", url):
            raise ValueError("http:// or https://, a host, and no name or password in it")
        return url


class Connector(_Section):
    """One Debezium source connector: a database and the tables whose changes it sends."""

    kind: Kind = Field(description="What database it is.")
    host: str = Field(min_length=1, description="Where the database is, as Connect's workers reach it.")
    port: Annotated[int, Field(gt=0, le=65535)] | None = Field(default=None, description="Its port, if not the usual.")
    database: str | None = Field(default=None, description="Its database; MySQL and MariaDB name it in `tables`.")
    user: str = Field(pattern=r"^[^\x00-\x1f]+$",
                      description="Who connects; a name, or a reference that Connect resolves.")
    password: Reference = Field(description="A reference that Connect resolves: `${file:/path:key}` or `${env:NAME}`.")
    topic_prefix: str | None = Field(
        default=None, pattern=r"^[\w.-]+$", description="What its topics begin with; else the connector's name."
    )
    tables: list[Table] = Field(default=[], description="Its tables, `schema.name`; else those that sources read.")
    format: Encoding = Field(default="debezium-json-schema", description="How records are encoded.")
    snapshot: Literal["initial", "always", "initial_only", "no_data", "when_needed", "recovery"] = Field(
        default="initial", description="When it reads the tables as they are."
    )
    decimals: Literal["precise", "string"] | None = Field(
        default=None, description="Encoding of decimals; else precise where records carry a schema, text where not."
    )
    times: Literal["adaptive", "adaptive_time_microseconds", "connect", "isostring"] | None = Field(
        default=None, description="Encoding of dates and times; else adaptive."
    )
    heartbeat_s: Positive = Field(default=10, description="Seconds between heartbeats.")
    heartbeat_table: Table | None = Field(default=None, description="Table written at each; else tieout_heartbeat.")
    signal_table: Table | None = Field(default=None, description="Table for signals; else tieout_signal.")
    signal_topic: str | None = Field(default=None, description="Topic for signals; else `<prefix>.signal`.")
    replica_identity: Literal["full", "default"] = Field(
        default="full", description="PostgreSQL: what it logs of an old row."
    )
    publication: str | None = Field(default=None, description="PostgreSQL: its publication; else `tieout_<name>`.")
    slot: str | None = Field(
        default=None, pattern=r"^[a-z0-9_]{1,63}$", description="PostgreSQL: its slot; else `tieout_<name>`."
    )
    server_id: Positive | None = Field(default=None, description="MySQL and MariaDB: an id that no replica has.")
    transactions: bool = Field(default=False, description="Whether to send where transactions begin and end.")
    partitions: Positive = Field(default=1, description="Partitions of the topics that Connect creates.")
    retention_days: Positive = Field(default=30, description="How long those keep their records.")
    options: Options = Field(default={}, description="Connect's own names, over everything above.")
