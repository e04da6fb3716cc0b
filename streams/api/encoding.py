"""How answers leave the process: exact JSON numbers, RFC 3339 instants, CSV that no spreadsheet executes."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import orjson

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


def to_json(value: Any) -> bytes:
    """`value` as JSON; a Decimal becomes a number with all its digits, so money never is a float."""
    return orjson.dumps(value, default=_default, option=orjson.OPT_NON_STR_KEYS)


def instant(micros: int | None) -> str | None:
    """Microseconds since 1970 as RFC 3339 in UTC, to the millisecond: '2026-03-10T18:05:00.000Z'."""
    if micros is None:
        return None
    return (_EPOCH + timedelta(microseconds=micros)).strftime("%Y-%m-%dT%H:%M:%S.") + f"{micros // 1000 % 1000:03d}Z"


def day(days: int | None) -> str | None:
    """Days since 1970 as an ISO date."""
    return None if days is None else (_EPOCH + timedelta(days=days)).date().isoformat()


def micros(at: datetime | None) -> int | None:
    """An instant as microseconds since 1970; a naive one is UTC, as DuckDB gives TIMESTAMP."""
    if at is None:
        return None
    return (at.replace(tzinfo=at.tzinfo or UTC) - _EPOCH) // timedelta(microseconds=1)


def to_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> bytes:
    """Flat rows as RFC 4180 CSV with a header; nested values are left out, texts cannot start a formula."""
    names = list(columns or _flat_columns(rows))
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(names)
    writer.writerows([[_cell(row.get(name)) for name in names] for row in rows])
    return out.getvalue().encode()


def _flat_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [name for name, value in rows[0].items() if not isinstance(value, dict | list)] if rows else []


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS) and not _is_number(value):
        return f"'{value}"
    return str(value)


def _is_number(text: str) -> bool:
    return text.removeprefix("-").replace(".", "", 1).isdigit()


def _default(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f").encode())
    if isinstance(value, datetime):
        return instant(micros(value))
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")
