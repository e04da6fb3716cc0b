"""A KPI value in the shapes of different dashboards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Value = Mapping[str, Any]

COLUMNS: Final = (
    "id", "title", "measure", "currency", "value", "exact", "unit", "as_of", "complete_through", "freshness",
    "stale_sources",
)  # fmt: skip


def flat(value: Value) -> list[dict[str, Any]]:
    """One flat row per measure and currency, for tables (Grafana Infinity, Power Query, spreadsheets)."""
    fresh = value["freshness"]
    common = {
        **{name: value[name] for name in ("id", "title", "as_of", "complete_through")},
        "freshness": fresh["state"],
        "stale_sources": "|".join(source["source"] for source in fresh["stale_sources"]),
    }
    scope = {name: "|".join(values) for name, values in value["scope"].items() if name != "currency"}
    return [{name: (common | row)[name] for name in COLUMNS} | scope for row in value["rows"]]


def geckoboard(value: Value) -> dict[str, Any]:
    """Geckoboard's number widget: the value, and the one before where a comparison was asked for."""
    several = len(value["rows"]) > 1
    items = [
        {"value": row["value"], "text": f"{value['title']}{_label(row) if several else ''}", **_prefix(row)}
        for row in value["rows"]
    ]
    comparison = value["comparison"]
    if comparison and not several:
        items.append({"value": comparison["value"], "text": comparison["basis"].replace("_", " ")})
    return {"item": items}


def _label(row: Value) -> str:
    return f", {row['currency'] or row['measure'].lower()}"


def _prefix(row: Value) -> dict[str, str]:
    return {"prefix": row["currency"]} if row["currency"] else {}
