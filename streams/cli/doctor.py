"""`tieout doctor`: every check with what was measured and how to mend it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tieout.streams.cli.exits import Exit
from tieout.streams.cli.output import Format, print_rows
from tieout.streams.cli.snapshot import Configuration, Output

Limit = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds that all checks together may take.")]


def doctor(config: Configuration = None, output: Output = Format.TABLE, timeout: Limit = 20.0) -> None:
    """Look at configuration, brokers, topics, wire formats, sources, registry, connectors, clocks, disk, all at once.

    Exit 10 when a check failed; nothing is changed.
    """
    from tieout.streams.doctor.examination import examine
    from tieout.streams.health import State, healthy

    found = examine(config, timeout)
    rows = [(each.state.value, each.name, each.found, each.remedy) for each in found]
    print_rows("doctor", ("state", "check", "found", "remedy"), rows, output)
    count = {state: sum(each.state is state for each in found) for state in State}
    print(f"{count[State.OK]} ok, {count[State.WARN]} to look at, {count[State.FAIL]} failed", file=sys.stderr)
    if not healthy(found):
        raise typer.Exit(Exit.UNHEALTHY)
