"""`tieout mappings`: which there are, what one makes of a payload, a draft from a sample, the schema for editors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tieout.streams.cli.output import Format, print_object, print_rows
from tieout.streams.cli.snapshot import CONFIGURATION, FAILED, USAGE, Output, failure

if TYPE_CHECKING:
    from tieout.codecs.records import RawRecord
    from tieout.streams.mapping_trial import Trial

app = typer.Typer(help="Mappings: list, try on a payload, draft from a sample, print the schema.", no_args_is_help=True)

Mapping = Annotated[str, typer.Argument(metavar="FILE", help="A mapping by name, or a TOML file.")]
Payload = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="One JSON document, or a capture.")]
SampleFile = Annotated[Path, typer.Option("--from-sample", exists=True, dir_okay=False, help="A payload or a row.")]
Wire = Annotated[str | None, typer.Option("--format", help="Format of the payload; else by its looks.")]
Source = Annotated[str, typer.Option("--source", help="SYSTEM/instance that it comes from.")]
Key = Annotated[str | None, typer.Option("--key", help="The record's key, where the payload has none.")]
Entity = Annotated[str | None, typer.Option("--entity", help="The canonical entity; else the likeliest.")]
Name = Annotated[str | None, typer.Option("--name", help="Name of the mapping; else that of the sample.")]
Out = Annotated[Path | None, typer.Option("--out", help="Write here instead of to standard output.")]


@app.command("list")
def list_mappings(output: Output = Format.TABLE) -> None:
    """The mappings that are shipped: a row for each table and entity."""
    from tieout.codecs.mapping import load, shipped

    rows = [(name, mapping.version, each.table, each.entity.name, len(each.fields))
            for name in shipped() for mapping in (load(name),) for each in mapping.maps]
    print_rows("mappings.list", ("mapping", "version", "table", "entity", "attributes"), rows, output)


@app.command("try")
def try_mapping(mapping: Mapping, payload: Payload, wire: Wire = None, source: Source = "TIME/try", key: Key = None,
                output: Output = Format.TABLE) -> None:
    """What a mapping makes of a payload, and the columns that it does not read; exit 1 when it cannot be read."""
    trials = list(_trials(mapping, payload, wire, source, key))
    if output is Format.JSON:
        print_object("mappings.try", {"records": [trial.to_json() for trial in trials]})
    else:
        print_rows("mappings.try", ("record", "outcome", "entity", "op", "key", "subject", "attribute", "value"),
                   [(number, *row) for number, trial in enumerate(trials, start=1) for row in trial.rows()], output)
    for trial in trials:
        if trial.error:
            print(f"{trial.error}\n{trial.hint}", file=sys.stderr)
    if any(trial.error for trial in trials):
        raise typer.Exit(FAILED)


@app.command()
def new(sample: SampleFile, entity: Entity = None, name: Name = None, source: Source = "TIME/try", out: Out = None
        ) -> None:
    """Draft a mapping from a sample: it loads and reads the sample, the rest is up to you."""
    from tieout.codecs.draft import draft
    from tieout.codecs.errors import DecodeError
    from tieout.codecs.sample import read_sample
    from tieout.reconcilers.entities import ENTITIES

    if entity is not None and entity not in ENTITIES:
        raise failure(f"--entity: found {entity!r}, expected one of {', '.join(ENTITIES)}", USAGE)
    (record, *_) = _records(sample)
    try:
        text = draft(read_sample(record.value or b""), name or sample.name.partition(".")[0], source.partition("/")[0],
                     entity)
    except (DecodeError, ValueError) as error:
        raise failure(f"{sample}: {error}", FAILED) from None
    if out is None:
        print(text, end="")
        return
    out.write_text(text, encoding="utf-8")
    print(f"wrote {out}; see what it does: tieout mappings try {out} {sample}", file=sys.stderr)


@app.command()
def schema() -> None:
    """The JSON Schema of mapping files, for completion and checks in an editor."""
    from tieout.codecs.mapping_schema import schema as document

    print(json.dumps(document(), indent=2))


def _trials(mapping: str, payload: Path, wire: str | None, source: str, key: str | None) -> Iterator[Trial]:
    """Each record of a file through the mapping."""
    from tieout.codecs.errors import ConfigurationError
    from tieout.streams.mapping_trial import try_record

    records = _records(payload)
    try:
        for record in records:
            whole = record if key is None else record._replace(key=key.encode())
            yield try_record(mapping, whole, wire, source)
    except ConfigurationError as error:
        raise failure(str(error), CONFIGURATION) from None


def _records(file: Path) -> Sequence[RawRecord]:
    """The payload as one record, or the records of a capture."""
    from tieout.codecs.capture import read
    from tieout.codecs.errors import BadCapture
    from tieout.codecs.records import RawRecord

    data = file.read_bytes()
    if _is_document(data):
        return [RawRecord("payload", 0, 0, -1, None, data)]
    try:
        records = list(read(file))
    except BadCapture as error:
        raise failure(f"{error}", FAILED) from None
    if not records:
        raise failure(f"{file}: found nothing in it, expected a payload", FAILED)
    return records


def _is_document(data: bytes) -> bool:
    """Whether a file is one payload: JSON that is not a line of a capture."""
    try:
        document: Any = json.loads(data)
    except ValueError:
        return False
    return not (isinstance(document, dict) and "topic" in document and {"payload", "payload_b64"} & document.keys())
