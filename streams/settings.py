"""The one configuration of all roles: `tieout.toml`, over it a secrets directory, over that the environment.

A variable is `TIEOUT_` and the key in capitals, tables joined by two underscores: `TIEOUT_CHECKPOINT__INTERVAL_MS`.
With `_FILE` at its end it names a file that holds the value. A secret is a file of the same name in the secrets
directory (`TIEOUT_SECRETS_DIR`, default `/run/secrets`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from tieout.reconcilers.policy import Policy, PolicyError
from tieout.streams.layers import ConfigError, Key, Layers, Problem, read

__all__ = [
    "Api", "Checkpoint", "ConfigError", "DeadLetters", "Ingest", "Kafka", "Log", "Ops", "Problem", "Settings",
    "Sink", "Source", "load",
]  # fmt: skip

Role = Literal["ingest", "worker", "sink", "api", "audit", "simulate"]
Format = Literal["canonical", "debezium-json", "debezium-json-schema"]
def _scalar(value: Any) -> Any:
    if not isinstance(value, str | int | float | bool):
        raise ValueError("text, a number, true or false")
    return value


Scalar = Annotated[Any, AfterValidator(_scalar)]
Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[int, Field(gt=0)]

DEFAULT_FILE = Path("tieout.toml")
DEFAULT_SECRETS = Path("/run/secrets")
_CONSUMER_ONLY = ("session.timeout.ms", "heartbeat.interval.ms", "max.poll.interval.ms", "group.instance.id")
SECRET_WORDS = ("password", "secret", "token", "key.pem", "sasl.oauthbearer.config", "user.info")


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


class Sink(_Section):
    """The analyst store and its published snapshot."""

    path: Path = Field(default=Path("tieout.duckdb"), description="The store; one process owns it.")
    publish_dir: Path = Field(default=Path("pub"), description="Where snapshots for readers are published.")
    publish_every_s: float = Field(default=2.0, gt=0, description="Seconds between snapshots, at the least.")
    batch_records: Positive = Field(default=10_000, description="Most records in one DuckDB transaction.")
    batch_ms: Positive = Field(default=200, description="Longest wait for a batch to fill.")


class Api(_Section):
    """The HTTP endpoints for people and dashboards."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: Port = Field(default=8080, description="Port to listen on; 0 takes any free one.")


class Checkpoint(_Section):
    """When the worker writes its state, outputs and progress: whichever limit is reached first."""

    interval_ms: Positive = Field(default=500, description="Longest time between checkpoints.")
    changes: Positive = Field(default=5_000, description="Most changes between checkpoints.")


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


class Log(_Section):
    """What a process writes to standard error."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least severe line shown.")
    format: Literal["auto", "json", "pretty"] = Field(default="auto", description="auto: JSON off a terminal.")


class Settings(_Section):
    """Everything that can be configured; unknown keys are errors."""

    clock: Literal["wall", "log"] = Field(default="wall", description="log: the largest record timestamp seen.")
    kafka: Kafka = Kafka()
    sources: dict[str, Source] = {}
    policy: dict[str, Any] = Field(default={}, description="Tolerances, graces, ownership, rate basis, materiality.")
    sink: Sink = Sink()
    api: Api = Api()
    checkpoint: Checkpoint = Checkpoint()
    ops: Ops = Ops()
    ingest: Ingest = Ingest()
    dead_letters: DeadLetters = DeadLetters()
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
        return {**self.kafka.client, **(overrides or {})}

    def kafka_producer(self, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The same for a producer whose records arrive in order, each once.

        One request at a time: of several, a broker that does not know a new partition yet can refuse the first and take
        the second, and then no retry of the first succeeds (KAFKA-15591, silent for idempotent producers).
        """
        client = {name: value for name, value in self.kafka.client.items() if name not in _CONSUMER_ONLY}
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


def is_secret(key: str) -> bool:
    """Whether the value of this key must never be shown."""
    return any(word in key.lower() for word in SECRET_WORDS)


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
    found = "(hidden)" if is_secret(name) else repr(error["input"])
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
