"""Rows on standard output as a table, JSON, JSON lines or CSV; exact numbers stay exact in all of them."""

from __future__ import annotations

import csv
import json
import sys
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

_NUMBERS: Final = (int, Decimal)


class Format(StrEnum):
    """What `-o` takes."""

    TABLE = "table"  # for people
    JSON = "json"  # one object with its schema's name
    JSONL = "jsonl"  # one object a line
    CSV = "csv"  # a header and rows; null is an empty field


def print_rows(command: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], form: Format) -> None:
    """Print rows; `command` names the JSON schema: 'kpi.list' becomes 'tieout.kpi.list/v1'."""
    if form is Format.TABLE:
        _print_table(columns, rows)
    elif form is Format.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(value) for value in row] for row in rows)
    elif form is Format.JSONL:
        for row in rows:
            print(to_json(dict(zip(columns, row, strict=True))))
    else:
        print_object(command, {"rows": [dict(zip(columns, row, strict=True)) for row in rows]})


def print_object(command: str, values: Mapping[str, Any]) -> None:
    """Print one JSON object under its schema's name."""
    print(to_json({"schema": f"tieout.{command}/v1", **values}))


def to_json(value: Any) -> str:
    """JSON without floats: a Decimal is a number with all its digits, instants are RFC 3339, bytes text or base64."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(name))}: {to_json(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(to_json, value)) + "]"
    if isinstance(value, Decimal):
        return format(value, "f")
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    return json.dumps(_text(value), ensure_ascii=False)


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    cells = [list(row) for row in rows]
    for at, column in enumerate(columns):
        numeric = any(isinstance(row[at], _NUMBERS) for row in cells)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(_cell(value)) for value in row))
    console().print(table)


def console() -> Console:
    """Standard output; as wide as it needs to be where it is no terminal, so that nothing is cut."""
    out = Console(highlight=False, markup=False, emoji=False)
    return out if out.is_terminal else Console(highlight=False, markup=False, emoji=False, width=500)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "|".join(_cell(item) for item in value)
    return format(value, "f") if isinstance(value, Decimal) else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat() + "Z"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return b64encode(value).decode()
    return str(value)
