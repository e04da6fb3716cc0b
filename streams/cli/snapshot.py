"""What the commands that read the published snapshot share: finding it, opening it, saying how fresh it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tieout.streams.cli.exits import Exit
from tieout.streams.cli.output import Format

if TYPE_CHECKING:
    from tieout.streams.sinks.reader import Snapshot

FAILED: Final = Exit.FAILED
USAGE: Final = Exit.USAGE
CONFIGURATION: Final = Exit.CONFIGURATION
UNREACHABLE: Final = Exit.UNREACHABLE

Database = Annotated[
    Path | None, typer.Option("--db", help="A snapshot or the result of a replay; else the published one.")
]
Configuration = Annotated[Path | None, typer.Option("--config", help="Configuration file; else tieout.toml.")]
Output = Annotated[Format, typer.Option("--output", "-o", help="How to print.")]

Detail = Annotated[bool, typer.Option("--detail", help="Show personal data: who decided, raw records, e-mails.")]


@contextmanager
def opened(db: Path | None, config: Path | None) -> Iterator[Snapshot]:
    """The snapshot; its freshness goes to standard error. Ends the command where there is none."""
    from tieout.streams.sinks.reader import Snapshot, SnapshotMissing

    try:
        snapshot = Snapshot(db or _published(config))
    except SnapshotMissing as error:
        raise failure(str(error), UNREACHABLE) from None
    with snapshot:
        print(snapshot.freshness().banner(), file=sys.stderr)
        yield snapshot


def failure(message: str, code: int) -> typer.Exit:
    """Say what is wrong on standard error; raise what this returns."""
    print(message, file=sys.stderr)
    return typer.Exit(code)


def _published(config: Path | None) -> Path:
    from tieout.streams.settings import ConfigError, load
    from tieout.streams.sinks.publish import SNAPSHOT

    try:
        return load(config).sink.publish_dir / SNAPSHOT
    except ConfigError as error:
        raise failure(str(error), CONFIGURATION) from None
