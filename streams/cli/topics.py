"""`tieout topics`: what differs between the cluster and what it must be, and bringing it there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tieout.streams.cli.exits import Exit
from tieout.streams.cli.output import Format, print_rows
from tieout.streams.cli.snapshot import Configuration, Output

if TYPE_CHECKING:
    from tieout.streams.topics import Difference

app = typer.Typer(help="Topics: compare the cluster with what it must be, and bring it there.", no_args_is_help=True)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
_COLUMNS = ("step", "topic", "found", "expected")


@app.command()
def plan(config: Configuration = None, output: Output = Format.TABLE) -> None:
    """What differs; exit 10 when something does."""
    _, differences = _compare(config)
    _show(differences, output)
    if differences:
        raise typer.Exit(Exit.UNHEALTHY)


@app.command()
def apply(config: Configuration = None, output: Output = Format.TABLE, dry_run: DryRun = False) -> None:
    """Make and configure what `plan` names; refuses to change a topic's number of partitions."""
    from tieout.streams.topics import apply as carry_out

    admin, differences = _compare(config)
    _show(differences, output)
    if not dry_run:
        carry_out(admin, differences)
        print(f"{len(differences)} done", file=sys.stderr)


def _compare(config: Path | None) -> tuple[Any, list[Difference]]:
    from tieout.reconcilers.engine import TABLES
    from tieout.streams.cluster import admin as connected
    from tieout.streams.settings import load
    from tieout.streams.topics import desired
    from tieout.streams.topics import plan as compare

    settings = load(config)
    admin = connected(settings)
    return admin, compare(admin, desired(settings, TABLES))


def _show(differences: list[Difference], output: Format) -> None:
    rows = [(each.step.value, each.topic.name, each.found, each.expected) for each in differences]
    if not rows and output is Format.TABLE:
        print("nothing differs", file=sys.stderr)
        return
    print_rows("topics.plan", _COLUMNS, rows, output)
