"""`tieout init`: a first configuration from flags, or from answers on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tieout.streams.cli.exits import Exit
from tieout.streams.cli.snapshot import failure

if TYPE_CHECKING:
    from tieout.streams.scaffold import NewSource, Plan

Folder = Annotated[Path, typer.Argument(help="Where to write.")]
Brokers = Annotated[str | None, typer.Option("--brokers", help="host:port of the brokers, with commas.")]
Sources = Annotated[
    list[str] | None, typer.Option("--source", metavar="SYSTEM/NAME=TOPIC[:FORMAT[:MAPPING]]", help="May be repeated.")
]
Connectors = Annotated[
    list[str] | None, typer.Option("--connector", metavar="NAME=KIND://USER@HOST/DATABASE", help="May be repeated.")
]
Url = Annotated[str, typer.Option("--connect", help="Address of Kafka Connect.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a tieout.toml that is there.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be written, write nothing.")]
_BROKERS = "127.0.0.1:9092"


def init(
    folder: Folder = Path(), brokers: Brokers = None, source: Sources = None, connector: Connectors = None,
    connect: Url = "", force: Force = False, dry_run: DryRun = False,
) -> None:
    """Write a commented tieout.toml and a mappings folder; asks for what no flag says where it runs on a terminal."""
    from tieout.streams.scaffold import FILE, Plan, Unusable, read_connector, read_source, write

    if (folder / FILE).exists() and not (force or dry_run):  # before anybody answers questions
        raise failure(f"{folder / FILE} is there: --force replaces it, --dry-run shows what it would be", Exit.FAILED)
    try:
        sources = [read_source(each) for each in source or ()]
        connectors = [read_connector(each) for each in connector or ()]
    except Unusable as error:
        raise failure(str(error), Exit.USAGE) from None
    plan = Plan(brokers or _BROKERS, sources, connectors, connect)
    if not (brokers or source or connector or connect) and sys.stdin.isatty() and sys.stdout.isatty():
        plan = _asked()
    files = plan.files()
    if dry_run:
        for path, text in files.items():
            print(f"# ── {folder / path}\n{text}")
        return
    for place in write(folder, files, force=force):
        print(f"wrote {place}", file=sys.stderr)
    print("next: tieout config check, tieout topics apply, tieout doctor", file=sys.stderr)


def _asked() -> Plan:
    """A plan from a person's answers."""
    from tieout.streams.scaffold import Plan

    brokers = typer.prompt("Kafka brokers", default=_BROKERS, err=True)
    sources: list[NewSource] = []
    while system := _choice("System of a source (ERP, PSA, HCM, CRM, SCHED, TIME; empty: no more)", _system, ""):
        sources.append(_source(system))
    connect = typer.prompt("Kafka Connect's address (empty: none)", default="", show_default=False, err=True)
    return Plan(brokers, sources, (), connect)


def _source(system: str) -> NewSource:
    from tieout.streams.scaffold import FORMATS, NewSource

    instance = typer.prompt("  Its name, e.g. kimai-emea", default="main", err=True)
    topic = typer.prompt("  Topic of its changes", err=True)
    form = _choice(f"  Format ({', '.join(FORMATS)})", _format, "canonical")
    mapping = ""
    if form != "canonical":
        mapping = typer.prompt("  Mapping, shipped or new (empty: a new one)", default="", show_default=False, err=True)
    return NewSource(system, instance, topic, form, mapping)


def _choice(question: str, check: Callable[[str], str], default: str) -> str:
    return str(typer.prompt(question, default=default, show_default=bool(default), value_proc=check, err=True))


def _system(text: str) -> str:
    from tieout.streams.scaffold import SYSTEMS

    if text and text.upper() not in SYSTEMS:
        raise typer.BadParameter(f"found {text!r}, expected one of {', '.join(SYSTEMS)}")
    return text.upper()


def _format(text: str) -> str:
    from tieout.streams.scaffold import FORMATS

    if text not in FORMATS:
        raise typer.BadParameter(f"found {text!r}, expected one of {', '.join(FORMATS)}")
    return text
