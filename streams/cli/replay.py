"""`tieout replay`: captured files through ingest, engine and store in one process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tieout.streams.cli.output import print_object
from tieout.streams.cli.snapshot import CONFIGURATION, FAILED, UNREACHABLE, USAGE, Configuration, failure

if TYPE_CHECKING:
    from tieout.streams.replay import Progress, Summary
    from tieout.streams.settings import Settings

app = typer.Typer(help="Apply captured files in one process, without a broker.")

Paths = Annotated[list[Path], typer.Argument(
    metavar="PATH…", exists=True, help="Captures as `kcat -J` writes them, or gzipped; a folder: its files.")]
Database = Annotated[Path, typer.Option("--db", help="DuckDB file to write; a former replay's is replaced.")]
Until = Annotated[str | None, typer.Option("--until", metavar="INSTANT", help="Let the clock run on to this instant.")]
Fresh = Annotated[bool, typer.Option("--assume-fresh", help="Every source is complete until then.")]
Stale = Annotated[list[str] | None, typer.Option("--stale", metavar="SYSTEM", help="… but this one; may be repeated.")]
Shuffle = Annotated[int | None, typer.Option("--shuffle", metavar="SEED", help="Permute the order between sources.")]
Duplicate = Annotated[float, typer.Option("--duplicate", metavar="P", min=0, max=1, help="Repeat this share of lines.")]
Partitions = Annotated[int, typer.Option("--partitions", min=1, hidden=True, help="Partitions of the project axis.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]


@app.command()
def replay(
    paths: Paths,
    db: Database,
    config: Configuration = None,
    until: Until = None,
    assume_fresh: Fresh = False,
    stale: Stale = None,
    shuffle: Shuffle = None,
    duplicate: Duplicate = 0.0,
    partitions: Partitions = 1,
    as_json: AsJson = False,
) -> None:
    """Replay captures into a DuckDB file; without --config canonical events and the default policy are assumed."""
    from tieout.codecs.errors import CodecError, ConfigurationError, SchemasUnreachable
    from tieout.reconcilers.policy import PolicyError
    from tieout.streams.replay import NotOurs, Options, load
    from tieout.streams.replay import replay as run
    from tieout.streams.settings import ConfigError
    from tieout.streams.sinks.store import StoreError

    options = Options(
        until_us=_instant(until), assume_fresh=assume_fresh, stale=_systems(stale or []), shuffle=shuffle,
        duplicate=duplicate, partitions=partitions,
    )
    try:
        settings = _settings(config)
        with _progress() as progress:
            summary = run(load(paths), db, options, settings, progress)
    except (ConfigError, PolicyError, ConfigurationError) as error:
        raise failure(str(error), CONFIGURATION) from None
    except NotOurs as error:
        raise failure(str(error), USAGE) from None
    except SchemasUnreachable as error:
        raise failure(str(error), UNREACHABLE) from None
    except (CodecError, StoreError, OSError) as error:
        raise failure(str(error), FAILED) from None
    _report(summary, db, as_json=as_json)


def _instant(text: str | None) -> int | None:
    from tieout.codecs.errors import BadValue
    from tieout.codecs.values import parse_instant

    try:
        return None if text is None else parse_instant(text)
    except BadValue as error:
        raise failure(f"--until: {error}", USAGE) from None


def _systems(names: list[str]) -> tuple[str, ...]:
    from tieout.reconcilers.entities import SYSTEMS

    for name in names:
        if name.partition("/")[0] not in SYSTEMS:
            raise failure(f"--stale: found {name!r}, expected one of {', '.join(SYSTEMS)}, or SYSTEM/instance", USAGE)
    return tuple(names)


def _settings(config: Path | None) -> Settings | None:
    if config is None:
        return None
    from tieout.streams.settings import load

    return load(config)


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on standard error where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replay", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _report(summary: Summary, db: Path, *, as_json: bool) -> None:
    if summary.skipped:
        print(f"{summary.skipped} lines of topics that the configuration does not name were left out", file=sys.stderr)
    record = summary.to_record()
    if as_json:
        print_object("replay", {"database": str(db), **record})
        return
    print(f"{db}: {summary.lines} lines, the clock stands at {record['now']}")
    for title, counts in (("changes", summary.fates), ("rows", summary.outcomes)):
        said = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()) if count)
        print(f"  {title:<8} {said or 'none'}")
