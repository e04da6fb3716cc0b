"""From an opened Debezium record of one row, in an envelope or flattened, to the changes that a mapping makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from tieout.codecs.columns import FIRST_DAY, LAST_DAY, Instant, Missing, Row, is_unavailable
from tieout.codecs.connect import Columns
from tieout.codecs.entity_map import EntityMap, TableMapping
from tieout.codecs.errors import BadValue, DecodeError, MissingKey, WrongShape, shown
from tieout.codecs.json_text import is_deep, load_object
from tieout.codecs.lost import named, readable
from tieout.codecs.openers import Opened, Opener, is_framed, is_wrapped, unwrapped
from tieout.codecs.order import order_token
from tieout.codecs.parts import NOBODY_KNOWS, Part
from tieout.codecs.records import Decoded, RawRecord
from tieout.codecs.values import DAY_US
from tieout.codecs.wire_types import WireType
from tieout.reconcilers.changes import Change, Op

Object = Mapping[str, Any]
Types = Mapping[str, WireType]

MARGIN_US: Final = 60_000_000  # commits become visible a little out of order: CDC watermarks stay a minute behind
OLD_KEY: Final = "__debezium.oldkey"
NEW_KEY: Final = "__debezium.newkey"

SNAPSHOT_DONE: Final = ("last", "last_in_data_collection")
STREAMED: Final = (None, False, "false")


class Record(NamedTuple):
    """A record of a row, opened: what the changes made of it have in common."""

    raw: RawRecord
    op: Op
    commit_us: int
    seq: str
    table: str
    row: Object | None = None  # None: a delete
    columns: Columns | None = None  # what the message states about the columns of `row`
    key: Object | None = None
    key_columns: Columns | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """Makes changes for one source. `epoch` is raised by hand when the source's log starts anew."""

    source: str  # "SYSTEM/instance"
    mapping: TableMapping
    margin_us: int = MARGIN_US
    epoch: int = 0

    def changes(self, record: Record, maps: Sequence[EntityMap], watermark_us: int | None, *, closes: bool) -> Decoded:
        """What a row says; `closes`: it is the last one of a snapshot of its table."""
        if record.op is Op.DELETE and record.raw.header(NEW_KEY) is not None:
            return Decoded(watermark_us=watermark_us, filtered="rekeyed")
        changes: list[Change] = []
        reason = None
        for each in maps:
            skipped = self._of_map(record, each, changes)
            reason = reason or skipped
        if not changes and reason == NOBODY_KNOWS:
            raise MissingKey("found a delete of records that only the row tells, and its key alone",
                             "a list or a series in a captured table needs a soft delete: see delete in the mapping")
        if closes:
            changes.extend(self.of_object(record, maps, Op.SNAPSHOT, "snapshot"))
        return Decoded(tuple(changes), watermark_us, filtered=None if changes else reason)

    def of_object(self, record: Record, maps: Iterable[EntityMap], op: Op, what: str) -> Iterable[Change]:
        """A change of the whole object of each map: it was emptied, or it has been read to its end."""
        for name in dict.fromkeys(each.entity.name for each in maps):
            yield Change(name, "", op, self.source, "", record.commit_us, record.seq, {},
                         f"{record.table}:{what}:{record.seq}", origin(record.raw))

    def lost(self, record: Record, maps: Iterable[EntityMap]) -> tuple[Change, ...]:
        """Gaps of what a record is about that cannot be read: as far as its key names it."""
        found: list[Change] = []
        for each in maps if record.key else ():
            types = each.columns if record.key_columns is None else record.key_columns.of_key(each)
            key = readable(partial(decoded, record.key or {}, types), {})
            if key:
                found += named([each], [(key, key)], self.source, record.commit_us, record.raw)
        return tuple(found)

    def token(self, source: Object) -> str:
        """The order token; those of a later epoch sort behind all others."""
        token = order_token(source)
        return f"~{self.epoch:04d}:{token}" if self.epoch else token

    def watermark_us(self, snapshot: Any, commit_us: int) -> int | None:
        """The watermark that a record proves: none while a snapshot of its table goes on."""
        return commit_us - self.margin_us if snapshot in STREAMED or snapshot in SNAPSHOT_DONE else None

    def _of_map(self, record: Record, each: EntityMap, changes: list[Change]) -> str | None:
        """Append the changes of one map; returns why there are none."""
        key = decoded(record.key or {}, each.columns if record.key_columns is None else record.key_columns.of_key(each))
        if record.op is Op.DELETE:
            if record.key is None:
                raise MissingKey("found a delete without key, before is not trusted",
                                 "give the table a primary key, or set message.key.columns in the connector")
            gone = [] if each.claims else each.parts_known(key)
            changes += [self._change(record, each, Op.DELETE, each.subject_of(part.row, key), each.identity(part.row))
                        for part in gone]
            return None if gone else "claim" if each.claims else NOBODY_KNOWS
        reason = None
        for part in each.parts_of({**_row(record, each), **self._ours(record, each)}):
            reason = self._of_part(record, each, key, part, changes) or reason
        return reason

    def _of_part(self, record: Record, each: EntityMap, key: Row, part: Part, changes: list[Change]) -> str | None:
        """Append the changes of one part of a row, which as a rule is the row; returns why there are none."""
        row = part.row
        reason = each.skipped(row)
        if reason is not None:
            return reason
        subject, asserted = each.subject_of(row, key), each.asserted(row)
        op = Op.DELETE if part.empty or each.deleted(row) else record.op
        if each.unknown(row):
            op, asserted = Op.GAP, each.identity(row)
        placed = record._replace(seq=f"{record.seq}:{part.number:04d}") if part.number else record
        change, old_key = self._change(placed, each, op, subject, asserted), record.raw.header(OLD_KEY)
        changes.extend([change] if old_key is None else self._moved(placed, each, row, old_key, change))
        return None

    def _ours(self, record: Record, each: EntityMap) -> dict[str, Any]:
        """The columns of ours that a map reads."""
        if "@commit" not in each.reads and "@system" not in each.reads:
            return {}
        return {"@commit": Instant(record.commit_us), "@system": self.source.partition("/")[0]}

    def _moved(self, record: Record, each: EntityMap, row: Row, header: bytes, change: Change) -> list[Change]:
        """The row's change under its new key, and what becomes of the record that had the old one.

        A project lives on under its new code. Anything else that had the old id or business key is no more, and the
        delete that says so stands in the same record as the new row: nothing is missing in between.
        """
        old = _header_key(header)
        stated = old.schema.columns() if old.schema else record.key_columns
        old_columns = decoded(old.members, each.columns if stated is None else stated.of_key(each))
        subject = each.subject_of({**row, **old_columns}, old_columns)
        before = each.key_of(each.asserted({**row, **old_columns}), subject)
        renamed = bool(before and change.key and before != change.key)
        if renamed and change.entity == "project":
            rekey = self._change(record, each, Op.REKEY, change.subject, {"old": before, "new": change.key}, change.key)
            second = record._replace(seq=f"{record.seq}:1")  # a version of its own
            return [rekey, self._change(second, each, change.op, change.subject, change.asserted)]
        if subject == change.subject and not renamed:
            return [change]
        return [change, self._change(record, each, Op.DELETE, subject, each.identity(old_columns), before)]

    def _change(self, record: Record, each: EntityMap, op: Op, subject: str, asserted: Mapping[str, Any],
                key: str | None = None) -> Change:
        """A change of this record."""
        return Change(
            each.entity.name, each.key_of(asserted, subject) if key is None else key, op, self.source, subject,
            record.commit_us, record.seq, asserted, f"{record.table}:{subject}:{record.seq}:{op.value}",
            origin(record.raw),
        )


def origin(raw: RawRecord) -> tuple[str, int, int]:
    """Where the record was read."""
    return raw.topic, raw.partition, raw.offset


def opened_key(opener: Opener, key: bytes | None) -> tuple[Object | None, Columns | None]:
    """The columns of a record key and what it states about them; None where the record has no key."""
    if key is None:
        return None, None
    try:
        opened = opener.key(key)
        return opened.members, opened.schema.columns() if opened.schema else None
    except DecodeError as error:
        raise error.within("key") from None


def decoded(members: Object, types: Types) -> dict[str, Any]:
    """Columns with values that know what they are; those without a type stay as they are."""
    row: dict[str, Any] = {}
    for name, value in members.items():
        row[name] = _value(name, value, types)
    return row


def instant_us(members: Object, prefix: str = "") -> int:
    """The instant that a block states, as fine as it says it: `ts_us`, else `ts_ms`."""
    for name, unit_us in ((f"{prefix}ts_us", 1), (f"{prefix}ts_ms", 1_000)):
        if name in members:
            value = members[name]
            value = int(value) if type(value) is str and value.isascii() and value.isdigit() else value
            if type(value) is int and FIRST_DAY <= value * unit_us // DAY_US <= LAST_DAY:
                return value * unit_us
            raise WrongShape(f"{name}: found {shown(value)}, expected an integer since 1970")
    raise WrongShape(f"{prefix}ts_ms: found None, expected an integer since 1970")


def _row(record: Record, each: EntityMap) -> dict[str, Any]:
    """The columns that a map reads, under the names that it uses."""
    members = record.row or {}
    if record.columns is None:
        return {name: _value(name, members[name], each.columns) for name in each.reads if name in members}
    types, aliases = record.columns.agreed(each), record.columns.aliases
    row: dict[str, Any] = {}
    for name in each.reads:
        own = name if name in members else aliases.get(name, name)
        if own in members:
            row[name] = _value(name, members[own], types)
    return row


def _value(name: str, value: Any, types: Types) -> Any:
    """One column's value; a DecodeError names the column."""
    if value is None:
        return None
    if type(value) is not int and is_unavailable(value):
        return Missing.UNAVAILABLE
    if type(value) in (list, dict) and is_deep(value):
        raise BadValue(f"column {name}: found {shown(value)}, expected a value that is nested less")
    kind = types.get(name)
    if kind is None:
        return value
    try:
        return kind.decode(value)
    except DecodeError as error:
        raise error.within(f"column {name}") from None


def _header_key(header: bytes) -> Opened:
    """A record key in a header: JSON, alone or wrapped with its schema, whatever the format of values.

    Connect's own header converter writes structs as JSON; Avro there would need a header converter of its own.
    """
    try:
        if is_framed(header):
            raise WrongShape("found Avro in a header, expected JSON", "set header.converter to the JsonConverter")
        message = load_object(header)
        return unwrapped(message, OLD_KEY) if is_wrapped(message) else Opened(message)
    except DecodeError as error:
        raise error.within(OLD_KEY) from None
