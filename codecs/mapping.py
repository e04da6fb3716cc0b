"""Mappings: TOML files that say how the rows of a source become canonical entities. No Python needed for a new source.

`docs/mappings.md` describes the language; this much is enough for most sources:

::

    name = "kimai"                          # a file holds the tables of one product
    version = 1

    [[map]]                                 # one for each table and entity
    entity  = "time_entry"                  # a canonical entity
    table   = "kimai2_timesheet"            # only rows of this table; leave out for topics of one table
    subject = "{id}"                        # the record's id; leave out: the parts of the record key joined by ':'
    skip    = [{ column = "end_time", is = "null", reason = "running timer" }]
    delete  = [{ column = "deleted", in = [1] }]                # rows that are marked, not removed
    columns = { start_time = "timestamp", QTY = "decimal(16)" } # encodings: how to read messages without schema,
                                            # and what to expect of those with one

    [map.fields]                            # attribute = where it comes from
    origin_system = { const = "TIME" }
    origin_id     = { from = "id", as = "text", required = true }
    project_code  = { from = "project_id", ref = { entity = "project" } }   # an id: identity resolves it
    work_date     = "date_tz"                                               # short for { from = "date_tz" }
    qty_s         = { first_of = [{ from = "minutes", as = "minutes" },
                                  { from = "hours", as = "decimal_hours_to_seconds" }] }
    to            = { from = "end_date", as = ["date_days", "inclusive_end"], null_if = ["1900-01-01"] }
    source_rate   = { from = "PRICE", as = "rate", ccy_from = "CURRENCYID", unit = "HOUR" }
    state         = { from = "status", enum = { 2 = "APPROVED" }, otherwise = "DRAFT" }
    origin_ref    = { template = "{DATAAREAID}:{TRANSID}" }

A column that is not in the row, or unchanged and not read by the connector, is not asserted; null is asserted null. A
reference by source id is asserted as {"$ref": [entity, source id]}, or {"$ref": [entity, source id, system]} when it
means another system's record. A change whose business key is not in its row (deletes, references) has an empty `key`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tieout.codecs.entity_map import TableMapping
from tieout.codecs.errors import MappingError, nearest
from tieout.codecs.mapping_file import read_mapping

SHIPPED: Final = Path(__file__).parent / "mappings"


def load(name: str, folders: Sequence[Path] = ()) -> TableMapping:
    """The mapping called `name` ('kimai', or the path of a file), from `folders` first, then those that are shipped.

    MappingError carries every problem of the file; its own problem when there is no such file.
    """
    paths = [Path(name)] if name.endswith(".toml") else []
    places = [folder / name for folder in folders] + paths + [SHIPPED / name]
    for place in places:
        file = place if place.suffix == ".toml" else place.with_name(f"{place.name}.toml")
        if file.is_file():
            return parse(file.read_text(encoding="utf-8"), file.name)
    known = sorted({file.stem for folder in (*folders, SHIPPED) for file in folder.glob("*.toml")})
    raise MappingError([f"mapping: found {name!r}, expected a file or one of {', '.join(known)}{nearest(name, known)}"])


def shipped() -> list[str]:
    """The names of the mappings that come with the product."""
    return sorted(file.stem for file in SHIPPED.glob("*.toml"))


def parse(text: str, file: str) -> TableMapping:
    """The mapping of a file's text; MappingError lists all that is wrong, each with the file and the key."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MappingError([f"{file}: not TOML: {error}"]) from None
    return read_mapping(document, file)
