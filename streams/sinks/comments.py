"""Comments on every view and column of schema v1: from the Avro schemas, the KPI catalogue and, for the rest, here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tieout.reconcilers.outcomes import Output
from tieout.schemas import avsc
from tieout.streams.sinks.catalogue import KPIS


@dataclass(frozen=True, slots=True)
class ViewComment:
    """What a view shows. A column that is not in `columns` takes the text of the output's schema."""

    text: str
    output: Output | None = None
    columns: Mapping[str, str] | None = None


_FRESHNESS: Final = {
    "as_of": "Newest processing instant in this database, UTC: every row is as of then.",
    "complete_through": "Commit instant (UTC) up to which every source has been delivered in full; "
                        "null while one has not said so.",
    "freshness": "FRESH, STALE or UNKNOWN: the worst of the sources.",
}
_KPI: Final = {
    "kpi": "KPI id, e.g. unbilled_hours; `tieout kpi list` explains each.",
    "measure": "VALUE or, where a KPI has several, which one: HOURS or VALUE for unbilled_ageing, "
               "MEAN, P50 or P90 for lags.",
    "state": "Billing state; severity for open_findings, age bucket for unbilled_ageing, source for sync_lag, "
             "stage for time_to_bill_stages.",
    "hold_code": "Hold (H12) for what is held; name of the check for findings and in-flight mismatches.",
    "value": "The value in `unit`, exact: hours 4 decimals, money in major units, ratios 1 decimal "
             "half away from zero.",
    "numerator": "What the value was made of: seconds, minor units, microseconds or a count. Sum these, then convert.",
    "denominator": "What the numerator is divided by; null unless the KPI is a ratio or a mean.",
    "unit": "h, d (days), %, s, count or, for money, the code of its currency.",
    **_FRESHNESS,
}
_LETTER: Final = {
    "topic": "Topic that the record came from.",
    "kafka_partition": "Its partition.",
    "kafka_offset": "Its offset.",
    "put_aside_at": "When it was put aside, UTC.",
    "source": "SYSTEM/instance, where it was known.",
    "object": "Source object or entity, where it was known.",
    "reason": "Why, as a code.",
    "hint": "What to do about it.",
    "payload": "The record's bytes as they came.",
}

VIEWS: Final[Mapping[str, ViewComment]] = {
    "time_entry": ViewComment(
        "Time entries per project now: approved, billed and unbilled seconds, their value, billing state and holds.",
        Output.TIME_ENTRY_STATE,
        {"holds": "All holds in order of precedence, as a list."}),
    "finding": ViewComment(
        "Findings now: which systems disagree about what, since when, what it is worth and whose turn it is.",
        Output.FINDING_STATE,
        {"entries": "Keys of at most 50 of the entries concerned, as a list."}),
    "finding_event": ViewComment(
        "Every step in the life of a finding, append-only.", Output.FINDING_EVENTS,
        {"entity": "Entity that the business key names.",
         "attribute": "Attribute that disagrees, where it is one.",
         "systems": "Systems compared, joined by '|'."}),
    "billing_decision": ViewComment(
        "What may be done with a time entry, each time that changed; append-only.", Output.BILLING_DECISION,
        {"reasons": "Holds in order of precedence, as a list."}),
    "kpi": ViewComment(
        "KPI values now, leaf cells only: a roll-up is a sum of numerators, or a ratio of sums.",
        Output.KPI_STATE, _KPI),
    "kpi_history": ViewComment(
        "KPI values after each change; lags and duplicate counts at most once a minute. as_of and complete_through "
        "are those of the change.", Output.KPI_STATE,
        {**_KPI, "as_of": "Processing instant of the change, UTC.",
         "complete_through": "Commit instant (UTC) up to which every input was complete at the change.",
         "freshness": "FRESH, STALE or UNKNOWN at the change: by the age of complete_through."}),
    "source": ViewComment(
        "Sources and their objects: watermark, state, and where every received change went. "
        "received = applied + parked + duplicates + stale + dead_lettered + filtered.", Output.SOURCE_STATE,
        {"applied": "Changes that were applied.",
         "duplicates": "Changes that had been applied before.",
         "stale": "Changes older than what was already known."}),
    "dead_letter": ViewComment("Records that could not be read, with reason and hint.", None, _LETTER),
    "parked": ViewComment(
        "Changes that wait for a reference to become known.", None,
        {**_LETTER, "reference": "What they wait for."}),
    "meta_freshness": ViewComment(
        "How fresh this database is: source '*' is all of them together, then each source.", Output.SOURCE_STATE,
        {"source": "SYSTEM/instance, or '*' for all together.",
         "stale_sources": "The sources that are not FRESH, as a list."}),
    **{f"kpi_{kpi.id}": ViewComment(
        f"{kpi.number} {kpi.title}, recomputed in SQL: equals v1.kpi. {kpi.definition}", Output.KPI_STATE, _KPI)
       for kpi in KPIS},
}


def column_comment(view: str, column: str) -> str:
    """The comment of a view's column; KeyError when neither the schema nor this module has one."""
    comment = VIEWS[view]
    if comment.columns and column in comment.columns:
        return comment.columns[column]
    fields = avsc(comment.output.value)["fields"] if comment.output else []
    texts = {field["name"]: field for field in fields}
    field = texts[column]
    instant = "timestamp-micros" in str(field["type"])
    return f"{field['doc']} UTC." if instant else str(field["doc"])


def statements(columns: Mapping[str, list[str]]) -> Iterator[str]:
    """COMMENT ON for each view of schema v1 and each of its columns, as they are in the database."""
    for view, names in columns.items():
        yield f"COMMENT ON VIEW v1.{view} IS {_quoted(VIEWS[view].text)}"
        for name in names:
            yield f'COMMENT ON COLUMN v1.{view}."{name}" IS {_quoted(column_comment(view, name))}'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
