"""`tieout status`: is everything well, and waiting until it is."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from tieout.streams.cli.exits import Exit
from tieout.streams.cli.output import Format, print_rows
from tieout.streams.cli.snapshot import Configuration, Output

if TYPE_CHECKING:
    from tieout.streams.health import Check

Wait = Annotated[bool, typer.Option("--wait", help="Look again until nothing fails.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0, help="Seconds that --wait waits.")]
_PAUSE_S = 1.0


def status(
    config: Configuration = None, output: Output = Format.TABLE, wait: Wait = False, timeout: Timeout = 90
) -> None:
    """Look at everything once, or until it is well; exit 10 when something fails, 4 when the broker is not there."""
    from tieout.streams.clock import monotonic_s
    from tieout.streams.health import checks, healthy
    from tieout.streams.settings import load

    settings = load(config)
    deadline = monotonic_s() + timeout
    found = checks(settings)
    while wait and not healthy(found) and monotonic_s() < deadline:
        time.sleep(_PAUSE_S)
        found = checks(settings)
    rows = [(each.state.value, each.name, each.found, each.remedy) for each in found]
    print_rows("status", ("state", "check", "found", "remedy"), rows, output)
    if not healthy(found):
        raise _ended(found)


def _ended(found: list[Check]) -> typer.Exit:
    from tieout.streams.health import State

    failed = [each.name for each in found if each.state is State.FAIL]
    print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return typer.Exit(Exit.UNREACHABLE if "broker" in failed else Exit.UNHEALTHY)
