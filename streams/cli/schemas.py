"""`tieout schemas`: are the schemas of outputs and sources what was agreed, and registering our own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tieout.streams.cli.exits import Exit
from tieout.streams.cli.output import Format, print_rows
from tieout.streams.cli.snapshot import CONFIGURATION, FAILED, USAGE, Configuration, Output, failure

if TYPE_CHECKING:
    from tieout.streams.registry import Registry
    from tieout.streams.settings import Settings

app = typer.Typer(help="Schemas: check contracts of outputs and sources, register our own.", no_args_is_help=True)

Only = Annotated[list[str] | None, typer.Option("--source", help="Only this source of the configuration; repeatable.")]
Candidate = Annotated[
    Path | None, typer.Option("--candidate", help="A value schema (.avsc) that --source is about to register.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be registered.")]
_BROKEN = ("subject", "version", "place", "before", "after", "why")


@app.command()
def check(
    source: Only = None, candidate: Candidate = None, config: Configuration = None, output: Output = Format.TABLE,
) -> None:
    """Outputs must stay readable by all older readers, sources must not change what numbers mean; exit 12 if not."""
    from tieout.streams.registry import open_schemas
    from tieout.streams.schema_check import broken_outputs, broken_sources
    from tieout.streams.settings import load

    settings = load(config)
    known, names = open_schemas(settings), source or []
    if candidate is not None and len(names) != 1:
        raise failure("--candidate needs exactly one --source: whose schema is it?", USAGE)
    if unknown := [name for name in names if name not in settings.sources]:
        raise failure(f"no source {unknown[0]!r}; there are {', '.join(settings.sources) or 'none'}", USAGE)
    broken = list(broken_outputs(known))
    if known is None:
        _say_unchecked(settings)
    else:
        text = None if candidate is None else _text(candidate)
        broken += broken_sources(settings, known, names, text)
    if broken or output is not Format.TABLE:
        print_rows("schemas.check", _BROKEN, broken, output)
    if broken:
        print(f"{len(broken)} contracts are broken", file=sys.stderr)
        raise typer.Exit(Exit.CONTRACT)
    print("every contract holds", file=sys.stderr)


@app.command()
def register(config: Configuration = None, output: Output = Format.TABLE, dry_run: DryRun = False) -> None:
    """Register the schemas of our outputs; refuses those that older readers could not read."""
    from tieout.reconcilers.outcomes import Output as Out
    from tieout.streams.registry import Incompatible
    from tieout.streams.schema_check import broken_outputs, register_outputs, subject_of
    from tieout.streams.settings import load

    registry = _registry(config)
    broken = list(broken_outputs(registry))
    if broken:
        print_rows("schemas.check", _BROKEN, broken, output)
        raise failure(f"{len(broken)} contracts are broken, nothing is registered", Exit.CONTRACT)
    if dry_run:
        print_rows("schemas.register", ("subject", "id"), [(subject_of(each), None) for each in Out], output)
        return
    try:
        registered = list(register_outputs(registry))
    except Incompatible as error:
        raise failure(f"the registry refuses {error}", Exit.CONTRACT) from None
    print_rows("schemas.register", ("subject", "id"), registered, output)
    if not load(config).registry.outputs and [schema_id for _, schema_id in registered] != [*range(1, len(Out) + 1)]:
        print("the worker writes ids from 1 in this order: for readers that go by id, set registry.outputs = true and "
              "restart the workers; others go by the topic", file=sys.stderr)


def _registry(config: Path | None) -> Registry:
    from tieout.streams.registry import open_registry
    from tieout.streams.settings import load

    registry = open_registry(load(config))
    if registry is None:
        raise failure("registry.url: found nothing, expected the address of a registry", CONFIGURATION)
    return registry


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise failure(f"{file}: {error.strerror}", FAILED) from None


def _say_unchecked(settings: Settings) -> None:
    from tieout.streams.schema_check import AVRO_FORMATS

    names = [name for name, source in settings.sources.items() if source.format in AVRO_FORMATS]
    print("no registry is configured: our schemas are checked by themselves"
          + (f", those of {', '.join(names)} not at all" if names else ""), file=sys.stderr)
