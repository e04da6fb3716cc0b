"""The one configuration of all roles: `tieout.toml`, over it a secrets directory, over that the environment.

A variable is `TIEOUT_` and the key in capitals, tables joined by two underscores: `TIEOUT_CHECKPOINT__INTERVAL_MS`.
With `_FILE` at its end it names a file that holds the value. A secret is a file of the same name in the secrets
directory (`TIEOUT_SECRETS_DIR`, default `/run/secrets`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from tieout.reconcilers.policy import Policy, PolicyError
from tieout.streams.connect.agreement import disagreements
from tieout.streams.connect.sections import Connect, Connector
from tieout.streams.credentials import client_problems, complete, is_weak, is_weak_digest
from tieout.streams.layers import ConfigError, Key, Layers, Problem, is_secret, read, shown

__all__ = [
    "Api", "Checkpoint", "ConfigError", "Connect", "Connector", "DeadLetters", "Ingest", "Kafka", "Log", "Ops",
    "Problem", "Registry", "Retry", "Settings", "Sink", "Source", "Token", "is_secret", "load",
]  # fmt: skip

Role = Literal["ingest", "worker", "sink", "api", "audit", "simulate"]
Format = Literal[
    "canonical", "debezium-json", "debezium-json-schema", "debezium-avro", "debezium-flat", "salesforce-cdc",
    "dataverse", "cloudevents",
]


def _scalar(value: Any) -> Any:
    if not isinstance(value, str | int | float | bool):
        raise ValueError("text, a number, true or false")
    return value


Scalar = Annotated[Any, AfterValidator(_scalar)]
Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[int, Field(gt=0)]


def _texts(value: Any) -> Any:
    """A variable holds a list as text with commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _digest(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value) or is_weak_digest(value):
        raise ValueError("the SHA-256 of a token, 64 hexadecimal digits, as `tieout token new` prints it")
    return value


def _signing_key(value: str) -> str:
    if is_weak(value):
        raise ValueError("at least 32 characters from a random generator, as `tieout token key` prints them")
    return value


def _origin(value: str) -> str:
    if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?", value):
        raise ValueError("an origin without path or wildcard: https://dashboards.example.com")
    return value


def _ancestor(value: str) -> str:
    return value if value == "'self'" else _origin(value)


TokenScope = Literal["kpi:read", "detail:read", "embed:sign", "ops"]
Digest = Annotated[str, AfterValidator(_digest)]
SigningKey = Annotated[str, AfterValidator(_signing_key)]
Origins = Annotated[list[Annotated[str, AfterValidator(_origin)]], BeforeValidator(_texts)]
Ancestors = Annotated[list[Annotated[str, AfterValidator(_ancestor)]], BeforeValidator(_texts)]
TokenScopes = Annotated[list[TokenScope], BeforeValidator(_texts), Field(min_length=1)]

DEFAULT_FILE = Path("tieout.toml")
DEFAULT_SECRETS = Path("/run/secrets")
_CONSUMER_ONLY = ("session.timeout.ms", "heartbeat.interval.ms", "max.poll.interval.ms", "group.instance.id")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Kafka(_Section):
    """How to reach the cluster, and the shape of our topics on it."""

    client: dict[str, Scalar] = Field(
        default={"bootstrap.servers": "127.0.0.1:9092"},
        description="librdkafka's settings by their own names; the one block for all clients.",
    )
    partitions: Positive = Field(default=4, description="Partitions of the project axis and its tables.")
    replication: Positive = Field(default=1, description="Replication factor of our topics.")
    group: str = Field(default="tieout", min_length=1, description="Prefix of consumer groups and transactional ids.")

    @field_validator("client")
    @classmethod
    def _has_bootstrap(cls, client: dict[str, Any]) -> dict[str, Any]:
        if not client.get("bootstrap.servers"):
            raise ValueError('"bootstrap.servers" is missing: name at least one broker, "host:port"')
        if problems := client_problems(client):
            raise ValueError("; ".join(problems))
        return client


class Source(_Section):
    """One source object: the topic that its changes arrive on and how to read them."""

    system: Literal["ERP", "PSA", "HCM", "CRM", "SCHED", "TIME"] = Field(description="What kind of system it is.")
    instance: str = Field(default="main", min_length=1, description="Which of several systems of this kind.")
    topic: str = Field(min_length=1, description="The raw topic that its changes arrive on.")
    format: Format = Field(default="canonical", description="How its records are encoded.")
    mapping: str | None = Field(default=None, description="A mapping by name, or a TOML file beside the configuration.")
    entity: str | None = Field(default=None, description="Canonical entity, where neither mapping nor event names it.")
    heartbeat: str | None = Field(default=None, description="Topic of the connector's heartbeats.")
    tombstones: Literal["refuse", "ignore"] = Field(
        default="refuse",
        description="debezium-flat: ignore tombstones without order token, where deletes are rewritten.",
    )
    epoch: int = Field(
        default=0, ge=0, le=9_999,
        description="Raised by one when the source's log starts anew: a failover, an org that was migrated.",
    )
    margin_s: float = Field(
        default=60.0, ge=0,
        description="Seconds that the watermark of captured changes stays behind the newest commit.",
    )


class Registry(_Section):
    """Where the schemas of Avro records come from: a registry, or a folder of files."""

    url: str | None = Field(
        default=None, description="Schema registry, several addresses with commas; mock://name is one in process.",
    )
    folder: Path | None = Field(
        default=None, description="Folder of schema files named subject.id.avsc, instead of a registry.",
    )
    user: str | None = Field(default=None, description="User for basic authentication.")
    password: str | None = Field(default=None, description="Password of the user.")
    token: str | None = Field(default=None, description="Bearer token, instead of user and password.")
    ca_file: Path | None = Field(default=None, description="Certificate authority to trust, instead of the system's.")
    certificate_file: Path | None = Field(default=None, description="Our certificate, for mutual TLS.")
    key_file: Path | None = Field(default=None, description="Private key of our certificate.")
    timeout_ms: Positive = Field(default=5_000, description="Longest wait for an answer.")
    outputs: bool = Field(
        default=False, description="Write outputs with the ids that the registry gave our schemas, for readers by id.",
    )

    @field_validator("url")
    @classmethod
    def _has_scheme(cls, url: str | None) -> str | None:
        for address in () if url is None else url.split(","):
            scheme, _, rest = address.strip().partition("://")
            if scheme not in ("http", "https", "mock") or not rest:
                raise ValueError("addresses like http://registry:8081")
            if "@" in rest:
                raise ValueError("an address without credentials: they have keys of their own, user and password")
        return url

    @model_validator(mode="after")
    def _one_place(self) -> Registry:
        if self.url is not None and self.folder is not None:
            raise ValueError("one of url and folder")
        return self


class Sink(_Section):
    """The analyst store and its published snapshot."""

    path: Path = Field(default=Path("tieout.duckdb"), description="The store; one process owns it.")
    publish_dir: Path = Field(default=Path("pub"), description="Where snapshots for readers are published.")
    publish_every_s: float = Field(default=2.0, gt=0, description="Seconds between snapshots, at the least.")
    batch_records: Positive = Field(default=10_000, description="Most records in one DuckDB transaction.")
    batch_ms: Positive = Field(default=200, description="Longest wait for a batch to fill.")


class Token(_Section):
    """An API token, known by its hash alone; a name may have a successor beside it while clients change over."""

    sha256: Digest = Field(description="Hash of the token; `tieout token new` prints both.")
    scopes: TokenScopes = Field(description="What it may do: `kpi:read`, `detail:read`, `embed:sign`, `ops`.")


class Api(_Section):
    """The HTTP endpoints for people and dashboards, and who may use them."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: Port = Field(default=8080, description="Port to listen on; 0 takes any free one.")
    tokens: dict[str, Token] = Field(default={}, description="API tokens by name; none: open on loopback.")
    open_to_network: bool = Field(default=False, description="Open without tokens beyond loopback: a closed network.")
    embed_keys: dict[str, SigningKey] = Field(default={}, description="Keys of embed tokens by id; all are accepted.")
    embed_key: str | None = Field(default=None, description="Id of the key that signs; default: the only one.")
    frame_ancestors: Ancestors = Field(default=["'self'"], description="Origins whose pages may frame an embed.")
    cors_origins: Origins = Field(default=[], description="Origins whose scripts may read answers; never `*`.")
    requests_per_minute: Positive = Field(default=600, description="Of each token; 429 beyond, a burst of as many.")
    query_ms: Positive = Field(default=2_000, description="Longest time for a query on the snapshot.")
    rows: Positive = Field(default=10_000, description="Most rows that a query on the snapshot may return.")

    @model_validator(mode="after")
    def _consistent(self) -> Api:
        digests = [token.sha256 for token in self.tokens.values()]
        if len(set(digests)) < len(digests):
            raise ValueError("two tokens have the same sha256: each token stands under one name")
        if self.embed_key is None and len(self.embed_keys) > 1:
            raise ValueError(f"embed_key must say which of embed_keys signs: one of {', '.join(self.embed_keys)}")
        if self.embed_key is not None and self.embed_key not in self.embed_keys:
            raise ValueError(f"embed_key names none of embed_keys: {', '.join(self.embed_keys) or 'there are none'}")
        return self


class Checkpoint(_Section):
    """When the worker writes its state, outputs and progress: whichever limit is reached first."""

    interval_ms: Positive = Field(default=500, description="Longest time between checkpoints.")
    changes: Positive = Field(default=5_000, description="Most changes between checkpoints.")
    snapshot_dir: Path | None = Field(default=None, description="Folder of the tables' local snapshots; null: none.")
    snapshot_every_s: Positive = Field(default=600, description="Time between two local snapshots of a running worker.")


class Ops(_Section):
    """Metrics and probes of a process; port 0 takes any free one."""

    host: str = Field(default="127.0.0.1", description="Address of metrics and probes.")
    port: Port = Field(default=9464, description="Their port; 0 takes any free one.")


class Ingest(_Section):
    """How changes are put into frames, and when ingest holds back."""

    frame_changes: Positive = Field(default=500, description="Most changes in a frame.")
    frame_bytes: Positive = Field(default=262_144, description="Most bytes in a frame.")
    linger_ms: Positive = Field(default=50, description="Longest wait for a frame to fill.")
    instance: str | None = Field(default=None, description="Static group member: a quick restart moves no partitions.")
    tick_ms: Positive = Field(default=1_000, description="A frame without changes after this silence.")
    max_ahead_bytes: Positive = Field(default=3_000_000, description="Unread frames of a partition that stop ingest.")


class DeadLetters(_Section):
    """How many records may be put aside, and how often one is tried again."""

    attempts: Positive = Field(default=5, description="Replays of one record; more need --force.")
    most_open: Positive = Field(default=10_000, description="Open dead letters at which ingest stops: no accident.")


class Retry(_Section):
    """How long and how often what a role needs is asked again; docs/reliability.md says what happens then."""

    brokers_s: float = Field(
        default=30.0, gt=0, description="How long a delivery or a checkpoint waits for brokers; then the process ends.",
    )
    registry_s: float = Field(
        default=1.0, gt=0, description="Between two questions to a registry that is away; ingest holds for ever.",
    )
    first_s: float = Field(default=0.5, gt=0, description="First pause before the sink writes its store again.")
    longest_s: float = Field(default=30.0, gt=0, description="Longest pause: each is twice the one before.")


class Log(_Section):
    """What a process writes to standard error."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least severe line shown.")
    format: Literal["auto", "json", "pretty"] = Field(default="auto", description="auto: JSON off a terminal.")


class Settings(_Section):
    """Everything that can be configured; unknown keys are errors."""

    clock: Literal["wall", "log"] = Field(default="wall", description="log: the largest record timestamp seen.")
    kafka: Kafka = Kafka()
    sources: dict[str, Source] = {}
    registry: Registry = Registry()
    connect: Connect = Connect()
    connectors: dict[str, Connector] = {}
    policy: dict[str, Any] = Field(default={}, description="Tolerances, graces, ownership, rate basis, materiality.")
    sink: Sink = Sink()
    api: Api = Api()
    checkpoint: Checkpoint = Checkpoint()
    ops: Ops = Ops()
    ingest: Ingest = Ingest()
    dead_letters: DeadLetters = DeadLetters()
    retry: Retry = Retry()
    log: Log = Log()
    _folder: Path = PrivateAttr(default=Path())

    @property
    def folder(self) -> Path:
        """The folder of the configuration file, where users keep their mapping files; else the current one."""
        return self._folder

    @model_validator(mode="after")
    def _one_reading_of_a_topic(self) -> Settings:
        readings: dict[str, tuple[str, str]] = {}
        for name, source in self.sources.items():
            first, reading = readings.setdefault(source.topic, (name, source.format))
            if reading != source.format:
                raise ValueError(f"{source.topic}: {reading} in sources.{first}, {source.format} in sources.{name}")
        return self

    def kafka_client(self, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A confluent-kafka configuration: `kafka.client` and, over it, what this client needs."""
        return {**complete(self.kafka.client), **(overrides or {})}

    def kafka_producer(self, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The same for a producer whose records arrive in order, each once.

        One request at a time: of several, a broker that does not know a new partition yet can refuse the first and take
        the second, and then no retry of the first succeeds (KAFKA-15591, silent for idempotent producers).
        """
        client = {name: value for name, value in self.kafka_client().items() if name not in _CONSUMER_ONLY}
        return {**client, "enable.idempotence": True, "max.in.flight.requests.per.connection": 1, **(overrides or {})}

    def group(self, role: Role) -> str:
        """The consumer group of a role: 'tieout-worker'."""
        return f"{self.kafka.group}-{role}"

    def faust_broker(self) -> str:
        """The brokers as Faust writes them; never with credentials, since Faust prints this."""
        servers = str(self.kafka.client["bootstrap.servers"]).split(",")
        return ";".join(f"aiokafka://{server.strip()}" for server in servers)

    def faust_credentials(self) -> Any:
        """Faust's credentials made of librdkafka's names, or None for a plain connection."""
        from tieout.streams.credentials import faust_credentials

        return faust_credentials(self.kafka.client)


def load(path: Path | str | None = None, env: Mapping[str, str] | None = None) -> Settings:
    """Read and check everything; raises ConfigError with all problems at once."""
    return parse(*gather(path, env))


def gather(path: Path | str | None, env: Mapping[str, str] | None) -> tuple[Layers, Path | None]:
    """The layers before validation, and the file among them (`TIEOUT_CONFIG`, else `tieout.toml` where it exists)."""
    env = os.environ if env is None else env
    chosen = path or env.get("TIEOUT_CONFIG")
    file = Path(chosen) if chosen else (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    return read(file, Path(env.get("TIEOUT_SECRETS_DIR", DEFAULT_SECRETS)), env), file


def parse(layers: Layers, file: Path | None) -> Settings:
    """Validate merged layers; `file` is named where a required key is missing."""
    problems = list(_policy_problems(layers))
    try:
        settings = Settings.model_validate(layers.values)
    except ValidationError as error:
        raise ConfigError([_problem(dict(item), layers, file) for item in error.errors()] + problems) from None
    problems += _connector_problems(settings, layers)
    if problems:
        raise ConfigError(problems)
    settings._folder = file.parent if file else Path()
    return settings


def _policy_problems(layers: Layers) -> Iterator[Problem]:
    """What the engine's policy says about its table; a table of the wrong type is reported by the model."""
    table = layers.values.get("policy", {})
    try:
        Policy.from_mapping(table if isinstance(table, dict) else {})
    except PolicyError as error:
        for sentence in error.problems:
            name, _, found = sentence.partition(": ")
            yield Problem(name, layers.origin(tuple(name.split("."))), found, "a value that the policy allows")


def _connector_problems(settings: Settings, layers: Layers) -> Iterator[Problem]:
    """Where connectors and sources do not fit together."""
    for each in disagreements(settings):
        yield Problem(each.key, layers.origin(tuple(each.key.split("."))), each.found, each.expected, each.nearest)


def _problem(error: dict[str, Any], layers: Layers, file: Path | None) -> Problem:
    key = tuple(str(part) for part in error["loc"])
    model = _model_at(key[:-1])
    name = ".".join(key)
    where = layers.origin(key)
    if error["type"] == "missing":
        variable = "TIEOUT_" + "__".join(key).upper().replace(".", "_")
        table = f"[{'.'.join(key[:-1])}] of {file}" if file else "a configuration file (none found)"
        return Problem(name, f"looked in {variable}, {table}", "nothing", "a value: this key has no default")
    if error["type"] == "extra_forbidden":
        return Problem(name, where, "an unknown key", f"one of {', '.join(model)}", _nearest(key, model))
    found = shown(name, error["input"])
    if error["type"] == "literal_error":
        choices = [choice.strip("'") for choice in str(error["ctx"]["expected"]).replace(" or ", ", ").split(", ")]
        return Problem(name, where, found, f"one of {', '.join(choices)}", _closest(str(error["input"]), choices))
    return Problem(name or "(whole)", where, found if key else "a contradiction", _expected(error))


def _expected(error: dict[str, Any]) -> str:
    return str(error["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")


def _nearest(key: Key, names: Mapping[str, Any]) -> str | None:
    match = _closest(key[-1], list(names))
    return ".".join((*key[:-1], match)) if match else None


def _closest(word: str, choices: list[str]) -> str | None:
    folded = {choice.lower(): choice for choice in choices}
    match = get_close_matches(word.lower(), folded, n=1, cutoff=0.5)
    return folded[match[0]] if match else None


def _model_at(key: Key) -> Mapping[str, Any]:
    """The fields of the section that a key stands in."""
    fields: Mapping[str, Any] = Settings.model_fields
    model: Any = Settings
    for part in key:
        if get_origin(model) is dict:
            model = get_args(model)[1]
        elif part in fields:
            model = fields[part].annotation
        fields = getattr(model, "model_fields", fields)
    return fields
