"""The composition root: which module plays which role, and how one process becomes it.

`python -m tieout.streams.app ROLE [--config FILE]` is what `tieout up` and `tieout demo` start as children; `tieout
run` calls the same functions in its own process.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tieout.streams.crew import Crew, end_with_parent

if TYPE_CHECKING:
    from tieout.streams.settings import Settings

ROLES: Final[Mapping[str, str]] = {
    "ingest": "tieout.streams.ingest",
    "worker": "tieout.streams.worker",
    "sink": "tieout.streams.sinks.sink",
    "api": "tieout.streams.api.server",
    "audit": "tieout.streams.audit",
}
PIPELINE: Final = ("ingest", "worker", "sink", "api")  # what it takes to see numbers
FAILED, CONFIGURATION, UNREACHABLE = 1, 3, 4
_WATCH_S: Final = 0.2


def run_role(role: str, config: Path | None = None) -> int:
    """Become a role until it ends; its exit code, or 3 and 4 for what it cannot start with."""
    from tieout.streams.settings import ConfigError, load

    try:
        settings = load(config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return CONFIGURATION
    return become(role, settings)


def become(role: str, settings: Settings) -> int:
    """Run a role in this process with these settings."""
    from confluent_kafka import KafkaException

    from tieout.streams.cluster import Refused, check
    from tieout.streams.logging import configure

    configure(settings.log, role)
    log = logging.getLogger(__name__)
    try:
        check(settings)
        return int(import_module(ROLES[role]).run(settings))
    except Refused as error:
        log.critical("Kafka: %s", error)
        return UNREACHABLE
    except KafkaException as error:
        servers = settings.kafka.client["bootstrap.servers"]
        log.critical("Kafka at %s: %s. Is the cluster up, and kafka.client right?", servers, error.args[0])
        return UNREACHABLE
    except OSError as error:
        log.critical("%s", error)
        return FAILED


def simulate(config: Path | None, *, seed: int, hours_per_s: float, truth: Path | None, capture: Path | None) -> int:
    """Play into a capture, or into Kafka, or with `config` and `capture` into both."""
    from confluent_kafka import KafkaException

    from tieout.streams.cluster import Refused, check
    from tieout.streams.settings import ConfigError, load
    from tieout.streams.simulate import role

    try:
        settings = load(config) if config or not capture else None
        if settings is not None:
            check(settings)
        return role.run(settings, role.Options(seed, hours_per_s, truth, capture))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return CONFIGURATION
    except Refused as error:
        print(f"Kafka: {error}", file=sys.stderr)
        return UNREACHABLE
    except KafkaException as error:
        print(f"Kafka: {error.args[0]}. Is the cluster up, and kafka.client right?", file=sys.stderr)
        return UNREACHABLE
    except (role.NotWritten, role.RecordsLost) as error:
        print(error, file=sys.stderr)
        return FAILED


def up(config: Path | None) -> int:
    """All roles as children of this process: 0 after Ctrl-C or SIGTERM, else the code of the first that ended."""
    from tieout.streams.settings import ConfigError, load

    try:
        settings = load(config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return CONFIGURATION
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    crew = Crew()
    try:
        for place, role in enumerate(ROLES):
            crew.start(role, command(role, config), ops_port(settings.ops.port, place))
        while not stop.wait(_WATCH_S):
            if ended := crew.ended():
                print(f"{ended.role} ended with {ended.code}: stopping the others", file=sys.stderr)
                return ended.code or FAILED
        return 0
    finally:
        crew.stop()


def command(role: str, config: Path | None) -> list[str]:
    """The module and arguments that make a child process a role."""
    return ["tieout.streams.app", role, *(["--config", str(config)] if config else [])]


def ops_port(first: int, place: int) -> dict[str, str]:
    """Metrics and probes of several roles on one machine: ports in a row, or any free ones where the first is 0."""
    return {"TIEOUT_OPS__PORT": str(first + place if first else 0)}


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point of a child process."""
    parser = ArgumentParser(prog="python -m tieout.streams.app")
    parser.add_argument("role", choices=[*ROLES, "simulate"])
    parser.add_argument("--config", type=Path)
    for name in ("--truth", "--capture"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--seed", type=int, default=24_017)
    parser.add_argument("--hours-per-second", type=float, default=15.0)
    given = parser.parse_args(arguments)
    end_with_parent()
    if given.role == "simulate":
        return simulate(given.config, seed=given.seed, hours_per_s=given.hours_per_second, truth=given.truth,
                        capture=given.capture)
    return run_role(given.role, given.config)


if __name__ == "__main__":
    sys.exit(main())
