"""`tieout kpi`: the KPIs of the published snapshot, what they mean and the rows that they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tieout.streams.cli.output import Format, print_object, print_rows
from tieout.streams.cli.snapshot import USAGE, Configuration, Database, Output, failure, opened

if TYPE_CHECKING:
    from tieout.streams.sinks.catalogue import Kpi
    from tieout.streams.sinks.reader import Snapshot

app = typer.Typer(help="KPIs: values, meaning and where they come from.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="A KPI's id, e.g. unbilled_hours.")]
By = Annotated[list[str] | None, typer.Option("--by", help="Break down by a dimension; may be repeated.")]
Where = Annotated[list[str] | None, typer.Option("--where", metavar="DIM=VALUE", help="Only these; may be repeated.")]

_DIMENSIONS: Final = ("le_code", "region", "practice", "project_code", "billing_cycle_id", "currency", "state",
                      "hold_code")
_MOVERS: Final = 10


@app.command("list")
def list_kpis(db: Database = None, config: Configuration = None, output: Output = Format.TABLE) -> None:
    """Every KPI with its value now, money per currency."""
    from tieout.streams.sinks.catalogue import KPIS

    columns = ("kpi", "title", "measure", "value", "unit")
    with opened(db, config) as snapshot:
        rows = [(kpi.id, kpi.title, *row) for kpi in KPIS for row in _values(snapshot, kpi, (), {}) or [("", None, "")]]
        print_rows("kpi.list", columns, rows, output)


@app.command("get")
def get(
    kpi: Id, by: By = None, where: Where = None, db: Database = None, config: Configuration = None,
    output: Output = Format.TABLE,
) -> None:
    """One KPI, whole or broken down: sums of its cells, ratios of sums."""
    chosen, dimensions = _known(kpi), tuple(by or ())
    conditions = dict(_condition(text) for text in where or ())
    for name in (*dimensions, *conditions):
        _check_dimension(name)
    with opened(db, config) as snapshot:
        rows = _values(snapshot, chosen, dimensions, conditions)
        print_rows("kpi.get", (*dimensions, "measure", "value", "unit"), rows, output)


@app.command("explain")
def explain(kpi: Id, db: Database = None, config: Configuration = None, output: Output = Format.TABLE) -> None:
    """What a KPI means, whether the stream and SQL agree on it, what it consists of, and the SQL."""
    from tieout.streams.sinks.catalogue import BY_ID

    chosen = BY_ID[_known(kpi).id]
    with opened(db, config) as snapshot:
        values = _values(snapshot, chosen, (), {})
        parts = _parts(snapshot, chosen)
        differing = _differing(snapshot, chosen)
        (definition,), = snapshot.query(
            "SELECT sql FROM duckdb_views() WHERE schema_name = 'v1' AND view_name = ?", [f"kpi_{chosen.id}"]).rows
    columns = ("project_code", "state", "hold_code", "measure", "value", "unit")
    if output is Format.TABLE:
        _print_explained(chosen, values, differing, definition)
        print_rows("kpi.explain", columns, parts, output)
    elif output is Format.JSON:
        print_object("kpi.explain", {
            "id": chosen.id, "title": chosen.title, "definition": chosen.definition, "formula": chosen.formula,
            "direction": chosen.direction.value,
            "values": [dict(zip(("measure", "value", "unit"), row, strict=True)) for row in values],
            "cells_differing_from_sql": differing, "sql": definition,
            "largest": [dict(zip(columns, row, strict=True)) for row in parts],
        })
    else:
        print_rows("kpi.explain", columns, parts, output)


def _print_explained(kpi: Kpi, values: Sequence[Sequence[Any]], differing: int, definition: str) -> None:
    for measure, value, unit in values or [("VALUE", "nothing", "")]:
        print(f"{kpi.title}{'' if measure == 'VALUE' else f' ({measure})'}: {value} {unit}")
    print(f"\n{kpi.definition}\nFormula: {kpi.formula}. {kpi.direction.value.capitalize()} is better.")
    print("Stream and SQL agree on every cell." if not differing else f"Stream and SQL differ on {differing} cells.")
    print(f"\n{definition}\n\nIts largest parts:")


def _values(
    snapshot: Snapshot, kpi: Kpi, by: Sequence[str], conditions: dict[str, str]
) -> list[tuple[Any, ...]]:
    """(dimensions…, measure, value, unit) of a KPI's summed cells; a lag is the longest one, never a sum."""
    from tieout.streams.sinks.catalogue import value

    chosen = "".join(f"{name}, " for name in by)
    total = "max(numerator)" if kpi.id == "sync_lag" else "sum(numerator)"
    found = snapshot.query(
        f"SELECT {chosen}measure, unit, {total}::BIGINT, sum(denominator)::BIGINT FROM v1.kpi WHERE kpi = ?"
        + "".join(f" AND {name} = ?" for name in conditions) + " GROUP BY ALL ORDER BY ALL",
        [kpi.id, *conditions.values()],
    )
    return [(*row[:-3], value(row[-3], row[-2], row[-1]), row[-3]) for row in found.rows]


def _parts(snapshot: Snapshot, kpi: Kpi) -> list[tuple[Any, ...]]:
    """The largest cells by project, state and hold."""
    rows = _values(snapshot, kpi, ("project_code", "state", "hold_code"), {})
    return sorted(rows, key=lambda row: (row[3], row[5], -abs(row[4] or 0)))[:_MOVERS]


def _differing(snapshot: Snapshot, kpi: Kpi) -> int:
    """Cells that only one of stream and SQL has, or has with another value."""
    streamed = "SELECT * FROM v1.kpi WHERE kpi = ?"
    recomputed = f"SELECT * FROM {kpi.view}"
    different = f"(({streamed}) EXCEPT ({recomputed})) UNION ALL (({recomputed}) EXCEPT ({streamed}))"
    ((count,),) = snapshot.query(f"SELECT count(*) FROM ({different})", [kpi.id, kpi.id]).rows
    return int(count)


def _known(kpi: str) -> Kpi:
    from tieout.streams.sinks.catalogue import BY_ID

    if kpi not in BY_ID:
        near = get_close_matches(kpi, BY_ID, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(BY_ID)}"
        raise failure(f"no KPI is called {kpi!r}: {hint}", USAGE)
    return BY_ID[kpi]


def _condition(text: str) -> tuple[str, str]:
    name, equals, wanted = text.partition("=")
    if not equals:
        raise failure(f"--where {text!r}: expected DIM=VALUE, e.g. le_code=UK01", USAGE)
    return name, wanted


def _check_dimension(name: str) -> None:
    if name not in _DIMENSIONS:
        near = get_close_matches(name, _DIMENSIONS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_DIMENSIONS)}"
        raise failure(f"KPIs have no dimension {name!r}: {hint}", USAGE)
