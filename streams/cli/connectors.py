"""`tieout connectors`: what Kafka Connect runs against the configuration, making it so, how it runs, the DBA's SQL."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tieout.streams.cli.exits import Exit
from tieout.streams.cli.output import Format, print_object, print_rows
from tieout.streams.cli.snapshot import Configuration, Output, failure

if TYPE_CHECKING:
    from tieout.streams.connect.plan import Difference, Running
    from tieout.streams.connect.rest import Rest
    from tieout.streams.settings import Settings

app = typer.Typer(help="Connectors of Kafka Connect: compare, bring there, watch.", no_args_is_help=True)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Validate with Connect and say what would be done.")]
FromNothing = Annotated[bool, typer.Option("--restart-from-nothing", help="Allow changes that lose the position.")]
Name = Annotated[str | None, typer.Argument(help="One connector; else all.")]
_KEYS = ("step", "connector", "key", "found", "expected")
_PARTS = ("state", "connector", "part", "worker", "found", "remedy")


@app.command()
def plan(config: Configuration = None, output: Output = Format.TABLE) -> None:
    """What differs, key by key; exit 10 when something does."""
    from tieout.streams.connect.plan import Step

    _, differences = _compare(config)
    _show("connectors.plan", differences, output)
    if any(each.step not in (Step.UNCHANGED, Step.FOREIGN) for each in differences):
        raise typer.Exit(Exit.UNHEALTHY)


@app.command()
def apply(
    config: Configuration = None, output: Output = Format.TABLE, dry_run: DryRun = False,
    restart_from_nothing: FromNothing = False,
) -> None:
    """Carry out what `plan` names: all is validated first, and when one is refused nothing is changed."""
    from tieout.streams.connect import plan as connectors

    rest, differences = _compare(config)
    _show("connectors.apply", differences, output)
    try:
        chosen = connectors.validate(rest, differences, from_nothing=restart_from_nothing)
    except connectors.PlanRefused as error:
        raise failure(str(error), Exit.FAILED) from None
    if not dry_run:
        connectors.apply(rest, chosen)
    said = "found right, nothing done (--dry-run)" if dry_run else "done; `tieout connectors status` tells how they run"
    print(f"{len(chosen)} {said}", file=sys.stderr)


@app.command()
def status(config: Configuration = None, output: Output = Format.TABLE) -> None:
    """Connectors and their tasks as Connect reports them; exit 10 when one of ours does not run. Restarts nothing."""
    from tieout.streams.connect.plan import status as ask

    rest, settings = _reach(config)
    parts = list(ask(rest, settings))
    rows = [(each.state, each.name, each.part, each.worker, each.trace, remedy(each, rest.url)) for each in parts]
    print_rows("connectors.status", _PARTS, rows, output)
    if ill := [f"{each.name} {each.part}" for each in parts if not each.well]:
        print(f"not running: {', '.join(ill)}", file=sys.stderr)
        raise typer.Exit(Exit.UNHEALTHY)


@app.command()
def sql(name: Name = None, config: Configuration = None) -> None:
    """The SQL that each database's administrator runs once: roles, publication, replica identity, our two tables."""
    from tieout.streams.connect.debezium import feeds
    from tieout.streams.connect.source_sql import script
    from tieout.streams.settings import load

    known = feeds(load(config))
    if name is not None and name not in known:
        raise failure(f"no connector is named {name!r}: there are {', '.join(known) or 'none'}", Exit.USAGE)
    print("\n".join(script(feed) for feed in known.values() if name in (None, feed.name)), end="")


def remedy(part: Running, url: str) -> str:
    """What to do about a connector or task that does not run."""
    if not part.ours:
        return "not ours: our configuration does not name it"
    if part.state == "MISSING":
        return "tieout connectors apply"
    if part.state == "FAILED":
        restart = f"{url}/connectors/{part.name}/restart?includeTasks=true&onlyFailed=true"
        return f"remove the cause, then: curl -X POST '{restart}'"
    if part.state in ("PAUSED", "STOPPED"):
        return f"curl -X PUT {url}/connectors/{part.name}/resume"
    return ""


def _reach(config: Path | None) -> tuple[Rest, Settings]:
    """Connect and the configuration; ConfigError where no address is configured."""
    from tieout.streams.connect.rest import Rest
    from tieout.streams.settings import ConfigError, Problem, load

    settings = load(config)
    if settings.connect.url is None:
        where = "[connect] of the configuration, TIEOUT_CONNECT__URL"
        raise ConfigError([Problem("connect.url", f"looked in {where}", "nothing", "the address of Kafka Connect")])
    return Rest(settings.connect), settings


def _compare(config: Path | None) -> tuple[Rest, list[Difference]]:
    from tieout.streams.connect.plan import plan as compare

    rest, settings = _reach(config)
    return rest, compare(rest, settings)


def _show(command: str, differences: list[Difference], output: Format) -> None:
    if output is Format.JSON:
        print_object(command, {"connectors": [_document(each) for each in differences]})
        return
    rows: list[tuple[str | None, ...]] = []
    for each in differences:
        rows.append((each.step.value, each.name, "", "", ""))
        rows += [("", each.name, *key) for key in each.keys]
    print_rows(command, _KEYS, rows, output)


def _document(difference: Difference) -> dict[str, object]:
    keys = [key._asdict() for key in difference.keys]
    return {"connector": difference.name, "step": difference.step.value, "keys": keys}
