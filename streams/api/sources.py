"""The published form of sources: how far each has been delivered, how late that is, what became of its changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from tieout.streams.api.encoding import instant
from tieout.streams.api.freshness import WHOLE, behind_text
from tieout.streams.api.live import EVENTS, Live, Row
from tieout.streams.api.values import Values

_COUNTS: Final = ("received", "parked", "filtered", "dead_lettered")
_EVENTS: Final = {"applied": "APPLIED", "stale": "STALE"}  # measures of the cells, as in v1.source


def source_bodies(values: Values) -> list[dict[str, Any]]:
    """Every source as a whole, in order of name."""
    return [row for row in source_rows(values) if row["object"] == WHOLE]


def source_rows(values: Values) -> list[dict[str, Any]]:
    """Every source object, the whole of a source before its objects."""
    events = _events(values.live)
    rows = values.live.sources()
    objects: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["object"] != WHOLE:
            objects[row["source"]].append(row)
    ordered = sorted(rows, key=lambda row: (row["source"], row["object"] != WHOLE, row["object"]))
    return [_body(values, row, objects[row["source"]] if row["object"] == WHOLE else [], events) for row in ordered]


Events = Mapping[tuple[str, str], Mapping[str, int]]


def _body(values: Values, row: Row, objects: list[Row], events: Events) -> dict[str, Any]:
    """The form of a row; the whole of a source adds up its objects, as in v1.source."""
    judged = values.judge.source(row)
    happened = events.get((row["source"], row["object"]), {})
    counted = objects or [row]
    heard = [part["last_event_at"] for part in counted if part["last_event_at"] is not None]
    return {
        **{name: row[name] for name in ("source", "system", "instance", "object")},
        "state": judged.state,
        "watermark_at": instant(row["watermark_at"]),
        "last_event_at": instant(max(heard, default=None)),
        "behind_s": None if judged.behind_us is None else judged.behind_us // 1_000_000,
        "behind": behind_text(judged.behind_us),
        "limit_s": row["limit_s"],
        **{name: sum(part[name] for part in counted) for name in _COUNTS},
        **{name: happened.get(name, 0) for name in (*_EVENTS, "duplicates")},
        "as_of": instant(row["as_of"]),
    }


def _events(live: Live) -> Events:
    """What happened to the changes of each (source, object), and of each source in total under the object '*'."""
    found: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    sums = live.sums(EVENTS, ("measure", "source", "object"))
    named = [(measure, *place, total) for (measure, *place), total in sums.items()]
    duplicates = live.sums("duplicates_suppressed", ("source", "object"))
    named += [("DUPLICATE", *place, total) for place, total in duplicates.items()]
    columns = {measure: name for name, measure in (*_EVENTS.items(), ("duplicates", "DUPLICATE"))}
    for measure, source, thing, total in named:
        if measure in columns:
            for place in {(source, thing), (source, WHOLE)}:
                found[place][columns[measure]] += total.numerator
    return found
