"""`tieout lag`: records that each role has still to read, by topic or by partition."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from tieout.streams.cli.exits import Exit
from tieout.streams.cli.output import Format, print_rows
from tieout.streams.cli.snapshot import Configuration, Output

if TYPE_CHECKING:
    from tieout.streams.lag import Lag

Partitions = Annotated[bool, typer.Option("--partitions", help="One row a partition.")]
Above = Annotated[int | None, typer.Option("--fail-above", min=0, help="Exit 10 when a reader is further behind.")]


def lag(
    config: Configuration = None,
    output: Output = Format.TABLE,
    partitions: Partitions = False,
    fail_above: Above = None,
) -> None:
    """Records between what a role has committed and the end of what it reads."""
    from tieout.streams.lag import lags
    from tieout.streams.settings import load

    found = list(lags(load(config)))
    if partitions:
        print_rows("lag", ("role", "topic", "partition", "position", "end", "behind"), found, output)
    else:
        print_rows("lag", ("role", "topic", "partitions", "behind"), _by_topic(found), output)
    if fail_above is not None and any(each.behind > fail_above for each in found):
        raise typer.Exit(Exit.UNHEALTHY)


def _by_topic(found: list[Lag]) -> list[tuple[str, str, int, int]]:
    rows = []
    for (role, topic), places in groupby(found, key=lambda each: (each.role, each.topic)):
        behind = [each.behind for each in places]
        rows.append((role, topic, len(behind), sum(behind)))
    return rows
