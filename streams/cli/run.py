"""`tieout run ROLE`: one role in this process, until SIGTERM or Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
