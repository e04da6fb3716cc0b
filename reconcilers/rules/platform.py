"""Checks 41 to 43 in words: what is stale, lost or unreadable, as breaks of the control axis."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from tieout.reconcilers.deadlines import Grace
from tieout.reconcilers.findings import Break, Rule, Severity, Side
from tieout.reconcilers.objects import ORDER
from tieout.reconcilers.quantities import hours_text
from tieout.reconcilers.tallies import HOUR_US
from tieout.reconcilers.timeline import instant_text

# The entity of a change that says a record could not be read (UPSERT), or was sent once more (DELETE). Its key is the
# record's origin, its subject the object; it asserts `schema`: whether the source's schema is to blame.
DEAD_LETTER: Final = "dead_letter"
WHOLE: Final = "*"  # stands for every record of an object
NO_RECORD: Final = ("", ORDER)  # subjects of gaps that are not records
SEMANTIC: Final = "SEMANTIC"
ENUM: Final = "ENUM"

STALE: Final = Rule("SOURCE_STALE", "41", "source", (), lambda world, subject: (), Severity.HIGH, "platform",
                    hold="H19", structural=True)
GAP: Final = Rule("CDC_GAP", "42", "source", (), lambda world, subject: (), Severity.HIGH, "platform",
                  hold="H19", structural=True)
SCHEMA: Final = Rule("SCHEMA_INCOMPATIBLE", "43", "source", (), lambda world, subject: (), Severity.HIGH, "platform",
                     structural=True)
RULES: Final = (STALE, GAP, SCHEMA)


def stale(source: str, mark: int, limit_s: int) -> Break:
    """A source whose watermark is older than its limit."""
    text = (f"{source} has been delivered until {instant_text(mark)}, no further for more than {limit_s // 60} "
            "minutes; checks that need it wait.")
    return Break(None, source, Grace(), text, "source", Side(source, instant_text(mark)), Side("clock", None))


def gap(source: str, entity: str, subjects: Collection[str], since: int) -> Break:
    """Changes that a source lost: of the whole object, or of single records."""
    lost = instant_text(since)
    if "" in subjects:
        what = f"all of {entity}"
        text = (f"{source} lost changes of {entity} at {lost}: what is there and what is gone is unknown until the "
                "object has been read again; checks that need it wait.")
    elif ORDER in subjects:
        what = f"the order of {entity}"
        text = (f"{source} went back in its own order of {entity} at {lost} (a log that was restarted?): what it sends "
                "since then counts as older than what is known. Give the source a new instance name, read it again.")
    else:
        what = f"{len(subjects)} of {entity}"
        text = (f"{source} lost changes of {len(subjects)} {entity} record{'s' if len(subjects) > 1 else ''} since "
                f"{lost}: unknown until read again; what depends on them waits.")
    return Break(None, f"{source}|{entity}", Grace(), text, "source", Side(source, f"{what} unknown"),
                 Side(source, None))


def unreadable(source: str, entity: str, letters: int, mean_s: int | None) -> Break:
    """Records that cannot be read because the source's schema is not the one that was agreed."""
    worth_s = letters * mean_s if mean_s else 0
    worth = f", about {hours_text(worth_s)}" if worth_s else ""
    text = (f"{letters} record{'s' if letters > 1 else ''} of {entity} from {source} cannot be read, its schema "
            f"changed{worth}: none is applied. Restore the schema or adapt the mapping, then `tieout dlq replay`.")
    return Break(None, f"{source}|{entity}", Grace(), text, "source", Side(source, f"{letters} unreadable"),
                 Side("schema", None), impact_s=worth_s, estimated=bool(worth_s))


def unknown_symbols(source: str, entity: str, records: int, fields: Collection[str]) -> Break:
    """Records that say something in a field that decides, and nobody here knows what it means."""
    have = "records have" if records > 1 else "record has"
    text = (f"{entity} from {source}: {records} {have} a symbol in {', '.join(fields)} that is not known here; it "
            "counts as UNKNOWN. Add it to the enum table of the mapping and let the source send the records again.")
    return Break(ENUM, f"{source}|{entity}", Grace(), text, "source", Side(source, f"{records} with unknown symbols"),
                 Side("mapping", None), attribute="|".join(fields))


def drifted(source: str, entity: str, hour: int, rows: int, median_s: int, before_s: int | None) -> Break:
    """Quantities whose median moved by a factor of two or more: a unit was changed, a schema was not."""
    usual = _moved(median_s, before_s) if before_s else "nobody works so long in a day"
    text = (f"The median quantity of {rows} rows of {entity} from {source} within the hour of "
            f"{instant_text(hour * HOUR_US)} is {hours_text(median_s)}, {usual}: has a unit changed?")
    return Break(SEMANTIC, f"{source}|{entity}", Grace(), text, "source", Side(source, hours_text(median_s)),
                 Side(source, hours_text(before_s) if before_s is not None else None), attribute="qty_s")


def _moved(median_s: int, before_s: int) -> str:
    """By what factor a median moved, in whole numbers."""
    share = f"{median_s // before_s} times" if median_s >= before_s else f"1/{before_s // median_s} of"
    return f"about {share} the usual {hours_text(before_s)}"
