"""`tieout sql`: queries that ship with the program, or one's own, on the published snapshot."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated

import typer

from tieout.streams.cli.output import Format, print_rows
from tieout.streams.cli.snapshot import FAILED, USAGE, Configuration, Database, Detail, Output, failure, opened

Query = Annotated[str | None, typer.Argument(metavar="[NAME|QUERY]", help="A query by name or SQL; none lists them.")]
Limit = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds after which a query is stopped.")]


def sql(
    query: Query = None,
    timeout: Limit = 30.0,
    db: Database = None,
    config: Configuration = None,
    output: Output = Format.TABLE,
    detail: Detail = False,
) -> None:
    """Ask the published snapshot; `tieout sql` alone lists the questions that ship with it."""
    if query is None:
        _list(output)
        return
    text = _text(query)
    import duckdb

    from tieout.streams.sinks.reader import NotAQuestion, QueryTooLong

    with opened(db, config) as snapshot:
        try:
            found = snapshot.ask(text, limit_s=timeout)
        except (duckdb.Error, NotAQuestion, QueryTooLong) as error:
            raise failure(str(error), FAILED) from None
        found = found if detail else found.masked()
        print_rows("sql", found.columns, found.rows, output)


def _list(output: Format) -> None:
    from tieout.streams.sinks.reader import canned

    print_rows("sql", ("name", "question"), [(query.name, query.question) for query in canned().values()], output)


def _text(query: str) -> str:
    """The SQL to run: what a name stands for, or the text itself when it is more than a word."""
    from tieout.streams.sinks.reader import canned

    known = canned()
    if query in known:
        return known[query].sql
    if len(query.split()) > 1:
        return query
    near = get_close_matches(query, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    raise failure(f"no query is named {query!r}: {hint}", USAGE)
