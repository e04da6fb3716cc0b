"""`tieout up`: all roles on this machine, as child processes that live and die together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Run all roles on this machine.")

Config = Annotated[Path | None, typer.Option("--config", help="Configuration file; else tieout.toml.")]


@app.command()
def up(config: Config = None) -> None:
    """Run ingest, worker, sink and api on this machine until Ctrl-C; when one fails, all stop."""
    from tieout.streams.app import up as start

    raise typer.Exit(start(config))
