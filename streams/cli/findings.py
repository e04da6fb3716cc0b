"""`tieout findings`: the findings of the published snapshot, and the life of one of them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tieout.streams.cli.output import Format, print_object, print_rows
from tieout.streams.cli.snapshot import USAGE, Configuration, Database, Detail, Output, failure, opened
from tieout.streams.personal import masked_finding

if TYPE_CHECKING:
    from tieout.streams.sinks.reader import Snapshot

app = typer.Typer(help="Findings: what disagrees, since when, worth how much, whose turn.", no_args_is_help=True)

Status = Annotated[list[str] | None, typer.Option("--status", help="OPEN, ACK, …; may be repeated. Default OPEN, ACK.")]
Everything = Annotated[bool, typer.Option("--all", help="Whatever their status.")]
Code = Annotated[str | None, typer.Option("--code", help="Name of a check, e.g. TIME_LATE_TO_ERP.")]
Severity = Annotated[str | None, typer.Option("--severity", help="LOW, MEDIUM, HIGH or CRITICAL.")]
Project = Annotated[str | None, typer.Option("--project", help="Project code.")]
Queue = Annotated[str | None, typer.Option("--queue", help="Owner queue, or its function: finance.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Most findings to print.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="A finding's id, or its beginning.")]

_LISTED: Final = ("finding_id, severity, status, code, facet, business_key, queue, impact_s, impact_minor, currency, "
                  "opened_at")
_HEADINGS: Final = ("id", "severity", "status", "check", "business key", "queue", "hours", "impact", "opened")
_MACHINE: Final = _LISTED + ", explanation"
_WORST_FIRST: Final = ("list_position(['CRITICAL', 'HIGH', 'MEDIUM', 'LOW'], severity), "
                       "abs(impact_minor) DESC, finding_id")
_SHORTEST_ID: Final = 4


@app.command("list")
def list_findings(
    status: Status = None,
    everything: Everything = False,
    code: Code = None,
    severity: Severity = None,
    project: Project = None,
    queue: Queue = None,
    limit: Limit = 200,
    db: Database = None,
    config: Configuration = None,
    output: Output = Format.TABLE,
) -> None:
    """Findings, the worst first; those that are open unless told otherwise."""
    conditions: list[tuple[str, Any]] = [
        ("code = ?", code), ("severity = ?", severity and severity.upper()), ("project_code = ?", project),
        ("(queue = ? OR starts_with(queue, ? || '.'))", queue),
    ]
    if not everything:
        conditions.append(("list_contains(?, status)", [name.upper() for name in status or ("OPEN", "ACK")]))
    wanted = [(text, value) for text, value in conditions if value]
    parameters = [value for text, value in wanted for _ in range(text.count("?"))]
    where = " AND ".join(["true", *(text for text, _ in wanted)])
    columns = _LISTED if output is Format.TABLE else _MACHINE
    with opened(db, config) as snapshot:
        found = snapshot.query(
            f"SELECT {columns} FROM v1.finding WHERE {where} ORDER BY {_WORST_FIRST} LIMIT ?", [*parameters, limit]
        ).masked()
    if output is Format.TABLE:
        print_rows("findings.list", _HEADINGS, [_short(row) for row in found.dicts()], output)
    else:
        print_rows("findings.list", found.columns, found.rows, output)


@app.command("show")
def show(
    finding: Id, db: Database = None, config: Configuration = None, output: Output = Format.TABLE,
    detail: Detail = False,
) -> None:
    """One finding: both sides, what it is worth, and every step of its life."""
    with opened(db, config) as snapshot:
        row = _one(snapshot, finding)
        events = snapshot.query(
            'SELECT "at", step, status, actor, reason, impact_s, impact_minor, currency FROM v1.finding_event '
            'WHERE finding_id = ? ORDER BY "at", event_id', [row["finding_id"]])
    if not detail:
        row, events = masked_finding(row), events.masked()
    if output is Format.TABLE:
        _print_shown(row)
        print_rows("findings.show", events.columns, events.rows, output)
    elif output is Format.CSV:
        print_rows("findings.show", tuple(row), [tuple(row.values())], output)
    elif output is Format.JSONL:
        print_rows("findings.show", (*row, "events"), [(*row.values(), list(events.dicts()))], output)
    else:
        print_object("findings.show", {**row, "events": list(events.dicts())})


def _one(snapshot: Snapshot, beginning: str) -> dict[str, Any]:
    if len(beginning) < _SHORTEST_ID:
        raise failure(f"{beginning!r} is too short: give at least {_SHORTEST_ID} characters of the id", USAGE)
    found = list(snapshot.query(
        "SELECT * FROM v1.finding WHERE starts_with(finding_id, ?) ORDER BY finding_id LIMIT 3", [beginning]).dicts())
    if not found:
        raise failure(f"no finding begins with {beginning!r}; see `tieout findings list --all`", USAGE)
    if len(found) > 1:
        raise failure(f"{beginning!r} is the beginning of several findings: give more of the id", USAGE)
    return found[0]


def _short(row: dict[str, Any]) -> tuple[Any, ...]:
    check = f"{row['code']}/{row['facet']}" if row["facet"] else row["code"]
    return (row["finding_id"][:8], row["severity"], row["status"], check, row["business_key"], row["queue"],
            _hours(row["impact_s"]), _money(row["impact_minor"], row["currency"]), _minute(row["opened_at"]))


def _print_shown(row: dict[str, Any]) -> None:
    check = f"{row['code']}/{row['facet']}" if row["facet"] else row["code"]
    print(f"{row['finding_id']}  {check}  {row['severity']}  {row['status']}  {row['queue']}")
    print(f"{row['explanation']}\n")
    estimated = " (estimated)" if row["estimated"] else ""
    print(f"  impact    {_hours(row['impact_s'])} h, {_money(row['impact_minor'], row['currency'])}{estimated}")
    print(f"  {row['left_system'] or 'left':<9} {_said(row['left_value'])}")
    print(f"  {row['right_system'] or 'right':<9} {_said(row['right_value'])}")
    print(f"  key       {row['entity']} {row['business_key']}, episode {row['episode']}")
    print(f"  since     {_minute(row['onset_at'])}, due {_minute(row['deadline_at'])}")
    print(f"  opened    {_minute(row['opened_at'])}")
    if row["resolved_at"]:
        print(f"  resolved  {_minute(row['resolved_at'])}: {row['resolution'] or ''}")
    print(f"  concerns  {row['entries_count']}: {', '.join(row['entries'])}\n")


def _said(value: str | None) -> str:
    return "(nothing)" if value is None else value


def _hours(seconds: int) -> Decimal:
    from tieout.streams.sinks.catalogue import value

    return (value("h", seconds) or Decimal()).quantize(Decimal("0.01"))


def _money(minor: int, currency: str | None) -> str:
    from tieout.reconcilers.quantities import money_text

    return money_text(minor, currency) if currency else ""


def _minute(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}Z" if at else ""
