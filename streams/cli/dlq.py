"""`tieout dlq`: records that could not be read and why; sending them once more, parking them, giving them up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tieout.streams.cli.output import Format, print_object, print_rows
from tieout.streams.cli.snapshot import (
    CONFIGURATION,
    FAILED,
    UNREACHABLE,
    USAGE,
    Configuration,
    Detail,
    Output,
    failure,
)
from tieout.streams.personal import masked_rows, masked_value

if TYPE_CHECKING:
    from tieout.streams.deadletters import Letter
    from tieout.streams.settings import Settings

app = typer.Typer(help="Dead letters: list, show, replay, park, drop.", no_args_is_help=True)

Origin = Annotated[str, typer.Argument(metavar="ORIGIN", help="topic/partition/offset of the record.")]
Origins = Annotated[list[str] | None, typer.Argument(metavar="[ORIGIN]…", help="Records by topic/partition/offset.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Only letters with this reason.")]
Topic = Annotated[str | None, typer.Option("--topic", help="Only letters of this raw topic.")]
Past = Annotated[bool, typer.Option("--replayed", help="Also those that were replayed or dropped.")]
Every = Annotated[bool, typer.Option("--all", help="Every letter that is not done with.")]
Force = Annotated[bool, typer.Option("--force", help="Also past the attempts, and past older letters of a key.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, do nothing.")]
Note = Annotated[str, typer.Option("--note", help="Why, and who says so; it stays with the letter.")]

_COLUMNS: Final = ("origin", "at", "source", "object", "reason", "hint", "status", "attempts", "note")
_SHOWN_BYTES: Final = 2_000


@app.command("list")
def list_letters(
    reason: Reason = None, topic: Topic = None, replayed: Past = False, config: Configuration = None,
    output: Output = Format.TABLE,
) -> None:
    """Dead letters, the oldest first."""
    letters = _chosen(_letters(config).values(), reason, topic, past=replayed)
    print_rows("dlq.list", _COLUMNS, masked_rows(_COLUMNS, list(map(_row, letters))), output)


@app.command("show")
def show(
    origin: Origin, config: Configuration = None, output: Output = Format.TABLE, detail: Detail = False
) -> None:
    """One dead letter: the record with personal data masked, what was wrong with it, and what to do."""
    record = _details(_one(_letters(config), origin))
    if not detail:
        record = {name: masked_value(name, value) for name, value in record.items()}
    if output is Format.JSON:
        print_object("dlq.show", record)
    elif output is Format.TABLE:
        print_rows("dlq.show", ("what", "found"), list(record.items()), output)
    else:
        print_rows("dlq.show", tuple(record), [tuple(record.values())], output)


@app.command("replay")
def replay(
    origins: Origins = None, reason: Reason = None, topic: Topic = None, every: Every = False, force: Force = False,
    dry_run: DryRun = False, config: Configuration = None, output: Output = Format.TABLE,
) -> None:
    """Send records once more to the topics that they came from, in their order; what is done with is not sent again.

    Refused as a whole where a record was tried too often, or would overtake an older letter of its key.
    """
    settings = _load(config)
    letters = _read(settings)
    chosen = _named(letters, origins, reason, topic, every)
    if not force:
        _check_attempts(chosen, settings.dead_letters.attempts)
        _check_order(letters, chosen)
    print_rows("dlq.replay", _COLUMNS, map(_row, chosen), output)
    if not dry_run:
        _send(settings, chosen)


@app.command("park")
def park(
    note: Note, origins: Origins = None, reason: Reason = None, topic: Topic = None, every: Every = False,
    dry_run: DryRun = False, config: Configuration = None, output: Output = Format.TABLE,
) -> None:
    """Put letters off: they no longer count as open, and can be replayed or dropped later."""
    _decide("PARKED", note, origins, reason, topic, every, dry_run, config, output)


@app.command("drop")
def drop(
    note: Note, origins: Origins = None, reason: Reason = None, topic: Topic = None, every: Every = False,
    dry_run: DryRun = False, config: Configuration = None, output: Output = Format.TABLE,
) -> None:
    """Give letters up: what they say never reaches a number. The bytes stay in the topic until its retention ends."""
    _decide("DROPPED", note, origins, reason, topic, every, dry_run, config, output)


def _decide(
    status: str, note: str, origins: list[str] | None, reason: str | None, topic: str | None, every: bool,
    dry_run: bool, config: Path | None, output: Format,
) -> None:
    from tieout.streams.deadletters import Status, decide

    if not note.strip():
        raise failure("--note is empty: say why, and who decided it", USAGE)
    settings = _load(config)
    chosen = _named(_read(settings), origins, reason, topic, every)
    print_rows(f"dlq.{'park' if status == Status.PARKED else 'drop'}", _COLUMNS, map(_row, chosen), output)
    if not dry_run and chosen:
        _guarded(lambda: decide(settings, chosen, Status(status), note))


def _named(
    letters: dict[str, Letter], origins: list[str] | None, reason: str | None, topic: str | None, every: bool
) -> list[Letter]:
    if not origins and not (reason or topic or every):
        raise failure("nothing chosen: name origins, --reason, --topic or --all", USAGE)
    for origin in origins or ():
        _one(letters, origin)
    named = [letter for letter in letters.values() if not origins or letter.origin in origins]
    return list(_chosen(named, reason, topic, past=False))


def _check_attempts(chosen: list[Letter], most: int) -> None:
    if tired := [letter.origin for letter in chosen if letter.attempts >= most]:
        raise failure(
            f"{len(tired)} records were replayed {most} times and failed each time, e.g. {tired[0]}: mend the cause, "
            "park or drop them, or say --force", FAILED)


def _check_order(letters: dict[str, Letter], chosen: list[Letter]) -> None:
    from tieout.streams.deadletters import overtaken

    for origin, older in overtaken(letters.values(), chosen).items():
        raise failure(
            f"{origin} would overtake {older}, an older letter of the same key: replay both, drop the older one, or "
            "say --force", FAILED)


def _send(settings: Settings, letters: list[Letter]) -> None:
    from tieout.streams import deadletters

    _guarded(lambda: deadletters.replay(settings, letters))


def _guarded(do: Callable[[], object]) -> None:
    from confluent_kafka import KafkaException

    try:
        do()
    except KafkaException as error:
        said = error.args[0].str()
        raise failure(f"not all of it was done, go on with the same command: {said}", FAILED) from None


def _chosen(letters: Iterable[Letter], reason: str | None, topic: str | None, *, past: bool) -> Iterator[Letter]:
    for letter in letters:
        if reason in (None, letter.reason) and topic in (None, letter.topic) and (past or not letter.status.over):
            yield letter


def _one(letters: dict[str, Letter], origin: str) -> Letter:
    if origin not in letters:
        raise failure(f"no dead letter of {origin}; `tieout dlq list --replayed` names them all", USAGE)
    return letters[origin]


def _letters(config: Path | None) -> dict[str, Letter]:
    return _read(_load(config))


def _load(config: Path | None) -> Settings:
    from tieout.streams.settings import ConfigError, load

    try:
        return load(config)
    except ConfigError as error:
        raise failure(str(error), CONFIGURATION) from None


def _read(settings: Settings) -> dict[str, Letter]:
    from confluent_kafka import KafkaException

    from tieout.streams.cluster import Refused, check
    from tieout.streams.deadletters import read
    from tieout.streams.topicread import TopicMissing

    try:
        check(settings)
        return read(settings)
    except KafkaException as error:
        raise failure(f"Kafka: {error.args[0].str()} (tieout status tells more)", UNREACHABLE) from None
    except (Refused, TopicMissing, TimeoutError) as error:
        raise failure(str(error), UNREACHABLE) from None


def _row(letter: Letter) -> tuple[Any, ...]:
    return (letter.origin, _at(letter), letter.source, letter.object, letter.reason, letter.hint, letter.status.value,
            letter.attempts, letter.note)


def _at(letter: Letter) -> str:
    from tieout.codecs.values import instant_text

    return instant_text(max(0, letter.ts_us))


def _details(letter: Letter) -> dict[str, Any]:
    return {
        **dict(zip(_COLUMNS, _row(letter), strict=True)),
        "message": letter.message, "error": letter.error, "key": letter.key,
        "headers": [f"{name}: {(value or b'').decode(errors='backslashreplace')}" for name, value in letter.headers],
        "payload": letter.value[:_SHOWN_BYTES] if letter.value is not None else None,
    }
