"""`tieout config`: is the configuration right, what is in force and where from, and its JSON Schema for editors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tieout.streams.cli.output import Format, print_rows
from tieout.streams.cli.snapshot import Configuration, Output

if TYPE_CHECKING:
    from tieout.streams.settings import Settings

app = typer.Typer(help="The configuration: check it, show it with its origins, print its schema.", no_args_is_help=True)

Online = Annotated[bool, typer.Option("--online", help="Also ask the cluster for every source's topic.")]


@app.command()
def check(config: Configuration = None, online: Online = False) -> None:
    """Report every problem of the configuration; exit 3 when there is one."""
    from tieout.streams.api.access import start_problems
    from tieout.streams.settings import ConfigError, load

    settings = load(config)
    problems = [*start_problems(settings.api), *_client_problems(settings)]
    problems += _topic_problems(settings) if online else ()
    if problems:
        raise ConfigError(problems)
    print(f"the configuration is valid: {len(settings.sources)} sources, clock {settings.clock}", file=sys.stderr)


@app.command()
def show(config: Configuration = None, output: Output = Format.TABLE) -> None:
    """Every value in force and where it came from; secrets are hidden."""
    from tieout.streams.settings import gather, is_secret, parse

    layers, file = gather(config, None)
    rows = []
    for key, value in _flat(parse(layers, file).model_dump(mode="json")):
        origin = layers.origin(key)
        text = "(hidden)" if is_secret(".".join(key)) else value if isinstance(value, str) else json.dumps(value)
        rows.append((".".join(key), text, "default" if origin == "not set" else origin))
    print_rows("config.show", ("key", "value", "origin"), rows, output)


@app.command()
def schema() -> None:
    """The JSON Schema of tieout.toml, for completion and checks in an editor."""
    from tieout.streams.settings import Settings

    print(json.dumps(Settings.model_json_schema(), indent=2))


def _flat(values: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, (*above, name))
        else:
            yield (*above, name), value


def _client_problems(settings: Settings) -> Iterator[Any]:
    """Names and values that librdkafka refuses; the client that finds out connects to nothing."""
    from confluent_kafka import KafkaException, Producer

    from tieout.streams.settings import Problem

    try:
        Producer({**settings.kafka_client(), "log_level": 0})
    except KafkaException as error:
        yield Problem("kafka.client", "[kafka.client]", error.args[0].str(), "librdkafka's names and values")


def _topic_problems(settings: Settings) -> Iterator[Any]:
    from tieout.streams.cluster import admin
    from tieout.streams.settings import Problem

    known = admin(settings).list_topics(timeout=10).topics
    for name, source in settings.sources.items():
        if source.topic not in known:
            yield Problem(f"sources.{name}.topic", "the cluster", f"no topic {source.topic}", "a topic that exists")


