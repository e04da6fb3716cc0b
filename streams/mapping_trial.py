"""A payload through a mapping, for people who write one: the canonical result, and what was not read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from tieout.codecs.canonical import CanonicalCodec
from tieout.codecs.entity_map import TableMapping
from tieout.codecs.errors import DecodeError
from tieout.codecs.formats import codec
from tieout.codecs.mapping import load
from tieout.codecs.records import RawRecord
from tieout.codecs.sample import ROW, Sample, column_name, read_sample, wrapped
from tieout.codecs.values import instant_text, to_wire
from tieout.reconcilers.changes import Change
from tieout.reconcilers.entities import ENTITIES

Row = tuple[str, str | None, str | None, str | None, str | None, str, str]


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one payload."""

    format: str
    changes: tuple[Change, ...] = ()
    filtered: str | None = None
    unmapped: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    reason: str = ""
    hint: str = ""

    def rows(self) -> Iterator[Row]:
        """Outcome, entity, op, key, subject, attribute, value: a row for each attribute and each column left over."""
        for change in self.changes:
            about = ("change", change.entity, change.op.value, change.key, change.subject)
            values = canonical(change)
            yield from [(*about, name, _text(value)) for name, value in values.items()] or [(*about, "", "")]
        if self.filtered:
            yield ("filtered", None, None, None, None, "", self.filtered)
        if self.error:
            yield ("refused", None, None, None, None, self.reason, self.error)
        for column, value in self.unmapped.items():
            yield ("unmapped", None, None, None, None, column, _text(value))

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return {
            "format": self.format, "filtered": self.filtered, "reason": self.reason or None,
            "error": self.error or None, "hint": self.hint or None, "unmapped": self.unmapped,
            "changes": [{"entity": change.entity, "op": change.op.value, "key": change.key, "subject": change.subject,
                         "seq": change.seq, "commit": instant_text(change.commit_us), "asserted": canonical(change)}
                        for change in self.changes],
        }


def _text(value: Any) -> str:
    """A value for people: text as it is, all else as JSON."""
    if isinstance(value, Decimal):
        return format(value, "f")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def canonical(change: Change) -> dict[str, Any]:
    """What a change asserts, in canonical JSON form; references as {"$ref": [entity, id]}."""
    kinds = ENTITIES[change.entity].attributes
    return {name: to_wire(kinds[name], value) if name in kinds and not isinstance(value, dict) else value
            for name, value in change.asserted.items()}


def try_record(mapping: str, record: RawRecord, format: str | None, source: str) -> Trial:
    """Decode a record; ConfigurationError when mapping, format or source are wrong."""
    loaded = load(mapping, [Path.cwd()])
    try:
        sample = read_sample(record.value or b"")
    except DecodeError as error:
        sample = Sample(format or "cloudevents", "", {})
        if format is None:
            return _refused(sample.format, error)
    chosen = format or sample.format
    if chosen == ROW:
        chosen, record = "cloudevents", record._replace(value=wrapped(record.value or b"", _kind(loaded)))
    if chosen == "canonical":
        decoder: Any = CanonicalCodec()
    else:
        decoder = codec(chosen, {"source": source, "mapping": mapping, "folders": [Path.cwd()]})
    try:
        decoded = decoder.decode(record)
    except DecodeError as error:
        return _refused(chosen, error, unmapped(loaded, sample))
    return Trial(chosen, decoded.changes, decoded.filtered, unmapped(loaded, sample))


def _refused(format: str, error: DecodeError, left: dict[str, Any] | None = None) -> Trial:
    """A payload that could not be read."""
    return Trial(format, unmapped=left or {}, error=str(error), reason=error.reason, hint=error.hint)


def _kind(mapping: TableMapping) -> str:
    """The type of the event that a bare row is wrapped in: that of the mapping's first table."""
    return f"{mapping.maps[0].table or mapping.name}.upserted"


def unmapped(mapping: TableMapping, sample: Sample) -> dict[str, Any]:
    """The columns of a sample that no map of its table reads."""
    tables = (sample.table, sample.table.rpartition(".")[2])
    maps = mapping.for_table(tables) if sample.format != ROW else mapping.maps[:1]
    read = {column_name(name) for each in maps for name in each.reads}
    return {name: value for name, value in sample.columns.items() if name not in read}
