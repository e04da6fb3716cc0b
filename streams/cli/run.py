"""`tieout run ROLE`: one role in this process, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tieout.streams.cli.output import Format, print_rows

app = typer.Typer(help="Run one role in this process.", no_args_is_help=True)

Config = Annotated[Path | None, typer.Option("--config", help="Configuration file; else tieout.toml.")]


def _role(name: str, config: Path | None) -> None:
    from tieout.streams.app import run_role

    raise typer.Exit(run_role(name, config))


@app.command()
def ingest(config: Config = None) -> None:
    """Raw topics in, frames of canonical changes out. As many processes as you like."""
    _role("ingest", config)


@app.command()
def worker(config: Config = None) -> None:
    """Reconcile: Faust agents over checkpointed tables. As many processes as there are partitions."""
    _role("worker", config)


@app.command()
def sink(config: Config = None) -> None:
    """Write outputs into DuckDB and publish snapshots. One process."""
    _role("sink", config)


@app.command()
def api(config: Config = None) -> None:
    """Serve KPIs, findings and sources over HTTP. As many processes as you like."""
    _role("api", config)


@app.command()
def audit(
    config: Config = None,
    once: Annotated[bool, typer.Option("--once", help="Compare once, print counts; exit 10 if they differ.")] = False,
    output: Annotated[Format, typer.Option("-o", "--output", help="How --once prints.")] = Format.TABLE,
) -> None:
    """Count, independently, what the output topics say against what the store holds."""
    if not once:
        _role("audit", config)
    from confluent_kafka import KafkaException

    from tieout.streams.audit import compared
    from tieout.streams.cli.exits import Exit
    from tieout.streams.settings import load
    from tieout.streams.sinks.reader import SnapshotMissing

    try:
        auditor = compared(load(config))
    except (SnapshotMissing, KafkaException) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(Exit.UNREACHABLE) from None
    print_rows("run.audit", ("topic", "partition", "hour", "ids"), auditor.report(), output)
    for difference in auditor.found or ():
        print(difference, file=sys.stderr)
    if auditor.repeated:
        print(f"{auditor.repeated} events come more than once", file=sys.stderr)
    if auditor.found or auditor.repeated:
        raise typer.Exit(Exit.UNHEALTHY)


@app.command()
def simulate(
    config: Config = None,
    seed: Annotated[int, typer.Option(help="The same seed plays the same four weeks.")] = 24_017,
    hours_per_second: Annotated[float, typer.Option(min=0.1, help="Simulated hours a second.")] = 15.0,
    truth: Annotated[Path | None, typer.Option(help="Write what must be found here, before the first record.")] = None,
    capture: Annotated[
        Path | None, typer.Option(help="Write the records here, for `tieout replay`; Kafka too with --config."),
    ] = None,
) -> None:
    """Play four weeks of a 60-consultant firm with planted faults into the raw topics, or into a capture."""
    from tieout.streams.app import simulate as play

    raise typer.Exit(play(config, seed=seed, hours_per_s=hours_per_second, truth=truth, capture=capture))
