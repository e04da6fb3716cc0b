"""Who a record is and where it lives: source ids to business keys, records to their home on the project axis.

What is learned is kept as rows of one map, `tieout.xref.v1`, each row a text key and a text value:

    id|<entity>|<source>|<subject>   the business key of a source's record; what a reference by id resolves to
    since|id|<entity>|…              the order token of the change that gave a record another business key
    home|<entity>|<key>              the code whose partition holds the record, for ever (a re-code does not move it)
    root|<code>                      the first code of a re-keyed project: old and new go to one partition
    from|<source>|<topic>            a source that was met in a topic, where the configuration names another one
    gap|<entity>|<source>|<subject>  a record that its source lost changes of, once: whatever follows is told to all
    symbol|<entity>|<source>|<subject>  the order token of a record's version and its fields with unknown symbols, JSON
    letter|<topic>/<partition>/<offset>  a record that could not be read: the gaps that it is for what it is about, JSON
    worker|<entry>                   the worker whose partition of the worker axis has a time entry, for ever
    cover|<invoice>                  the first commit, in microseconds, at which it was known what an invoice covers

A change that cannot be placed yet *needs* a row: the name of that row is all there is to know about waiting.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from tieout.reconcilers.changes import Change, Op
from tieout.reconcilers.entities import ENTITIES, GUARDED, UNKNOWN, Reach

# {"$ref": [entity, id]} stands for the business key of a record of the same source that is named by its id;
# {"$ref": [entity, id, system]} for one of another system, whichever instance of it knows the id.
REFERENCE: Final = "$ref"
_TIME_KIND: Final = "TIME_ENTRY"
_SYMBOL: Final = "symbol|"


class Place(NamedTuple):
    """Where a change goes on the project axis: the partition of `code`, or every partition when it is None."""

    code: str | None


class Need(NamedTuple):
    """What a change waits for: the row that has to be learned first."""

    row: str


EVERYWHERE: Final = Place(None)


def id_row(entity: str, source: str, subject: str) -> str:
    """The row that holds the business key of a source's record."""
    return f"id|{entity}|{source}|{subject}"


def home_row(entity: str, key: str) -> str:
    """The row that holds the code whose partition is the home of a record."""
    return f"home|{entity}|{key}"


def needs_met_by(row: str) -> tuple[str, ...]:
    """The needs that a row meets: itself, and for an id also the one that names only the system."""
    kind, _, rest = row.partition("|")
    if kind != "id":
        return (row,)
    entity, source, subject = rest.split("|", 2)
    return row, id_row(entity, source.partition("/")[0], subject)


@dataclass
class Identity:
    """The id map of one ingest process; `fresh` are the rows learned since they were last drained."""

    rows: dict[str, str] = field(default_factory=dict)
    fresh: dict[str, str] = field(default_factory=dict)
    sources: set[str] = field(default_factory=set)  # that have ids here
    systems: set[str] = field(default_factory=set)  # that have a source at all
    gapped: set[str] = field(default_factory=set)  # rows of records that were lost from sight at some time
    symbols: set[str] = field(default_factory=set)  # rows of records that had a symbol which nobody knows

    def __post_init__(self) -> None:
        for row in self.rows:
            self._note_source(row)

    def restore(self, row: str, value: str) -> None:
        """Take over a row that is already written."""
        self.rows[row] = value
        self._note_source(row)

    def is_news(self, row: str, value: str) -> bool:
        """Whether a row that was read says what is not known: rows are for ever, but those of symbols move on."""
        known = self.rows.get(row)
        return known is None or (row.startswith(_SYMBOL) and orjson.loads(value)[0] > orjson.loads(known)[0])

    def _note_source(self, row: str) -> None:
        if row.startswith("id|"):
            self.sources.add(row.split("|", 3)[2])
        elif row.startswith("gap|"):
            self.gapped.add(row)
        elif row.startswith(_SYMBOL):
            self.symbols.add(row)

    def meets(self, need: str) -> bool:
        """Whether what a change waits for is known."""
        if need in self.rows or not need.startswith("id|"):
            return need in self.rows
        _, entity, system, subject = need.split("|", 3)
        return self._business_key(entity, system, subject) is not None

    def drain(self) -> dict[str, str]:
        """The rows to write, each once, and forget that they are fresh."""
        fresh, self.fresh = self.fresh, {}
        return fresh

    def root(self, code: str) -> str:
        """The first code of a project that was re-keyed, else the code itself."""
        return self.rows.get(f"root|{code}", code)

    def learn_source(self, source: str, topic: str) -> None:
        """Remember that events of a source come in a topic."""
        self._learn(f"from|{source}|{topic}", topic)

    def met_sources(self) -> Iterator[tuple[str, str]]:
        """Source and topic of what `learn_source` was told."""
        for row, topic in self.rows.items():
            if row.startswith("from|"):
                yield row.removeprefix("from|").removesuffix(f"|{topic}"), topic

    def worker_of(self, change: Change) -> str | None:
        """The worker whose partition has the entry: whom its first version named; None if that named nobody.

        Like the home, it is for ever: an entry that is given to somebody else later stays where its past is.
        """
        row = f"worker|{change.key}"
        if row not in self.rows:
            self._learn(row, str(change.asserted.get("worker_no") or ""))
        return self.rows[row] or None

    def known_worker(self, change: Change) -> str | None:
        """The same where a version of the entry was read; a dead letter names nobody."""
        return self.rows.get(f"worker|{change.key}") or None

    def learn_cover(self, change: Change) -> bool:
        """Whether a coverage is the first of its invoice, by commit, that is seen here: then all have to hear of it."""
        row = f"cover|{':'.join(change.key.split(':', 2)[:2])}"
        if change.commit_us >= int(self.rows.get(row, change.commit_us + 1)):
            return False
        self._learn(row, str(change.commit_us))
        return True

    # --- references ------------------------------------------------------------------------------------------------

    def resolve(self, change: Change) -> Change | Need:
        """The change with its references replaced by business keys and its own key complete."""
        values: dict[str, Any] = {}
        for name, value in change.asserted.items():
            resolved = self._resolve_value(value, change.source)
            if isinstance(resolved, Need):
                return resolved
            values[name] = resolved
        referred = values != change.asserted
        if change.key and not referred:
            return change
        key = self._key(change, values)
        if not key:
            return Need(id_row(change.entity, change.source, change.subject))
        return change._replace(key=key, asserted=values)

    def _resolve_value(self, value: Any, source: str) -> Any:
        if isinstance(value, Mapping) and REFERENCE in value:
            entity, subject, *system = value[REFERENCE]
            whose = str(system[0]) if system else source
            return self._business_key(entity, whose, str(subject)) or Need(id_row(entity, whose, str(subject)))
        if isinstance(value, list):
            items = [self._resolve_value(item, source) for item in value]
            return next((item for item in items if isinstance(item, Need)), items)
        return value

    def _business_key(self, entity: str, whose: str, subject: str) -> str | None:
        """The business key of a record that is named by its id in a source, or in any source of a system."""
        if "/" in whose:
            return self.rows.get(id_row(entity, whose, subject))
        instances = sorted(source for source in self.sources if source.partition("/")[0] == whose)
        found = (self.rows.get(id_row(entity, source, subject)) for source in instances)
        return next((key for key in found if key is not None), None)

    def _key(self, change: Change, values: Mapping[str, Any]) -> str | None:
        """The business key from resolved attributes, from the key as sent, or as learned for the record's id."""
        computed = ENTITIES[change.entity].business_key(values, change.subject)
        return computed or change.key or self.rows.get(id_row(change.entity, change.source, change.subject))

    def learn_id(self, change: Change) -> tuple[list[str], Change | None]:
        """Remember the id of a resolved change: rows learned, and the re-key of a project that took a new code."""
        if not change.subject or not change.key or change.op in (Op.GAP, Op.DELETE):
            return [], None
        row = id_row(change.entity, change.source, change.subject)
        key = str(change.asserted.get("new", change.key)) if change.op is Op.REKEY else change.key
        before, since = self.rows.get(row), f"since|{row}"
        if before == key or change.seq < self.rows.get(since, ""):
            return [], None  # known, or read again: a record that is delivered twice must not take its old key back
        self._learn(row, key)
        if before is None:
            return list(needs_met_by(row)), None
        self._learn(since, change.seq)
        if change.entity != "project" or change.op is Op.REKEY:
            return [], None
        # A token of its own: of two changes of a record with one token the second passes for a duplicate.
        rekey = change._replace(op=Op.REKEY, seq=f"{change.seq}:0", asserted={"old": before, "new": key})
        return [], rekey._replace(event_id=f"{change.event_id}#rekey")

    # --- gaps ------------------------------------------------------------------------------------------------------

    def locate(self, change: Change) -> tuple[Change, Place]:
        """A gap of a record with the record's key and home; without a key, for everybody, where these are not known.

        It never waits: that a record is unknown has to be known at once.
        """
        named = self.resolve(change)
        if isinstance(named, Change) and named.key:
            if ENTITIES[change.entity].reach is Reach.BROADCAST:
                return named, EVERYWHERE
            if (home := self.rows.get(home_row(change.entity, named.key))) is not None:
                return named, Place(home)
        return change._replace(key="", asserted={}), EVERYWHERE

    def note_gap(self, change: Change) -> None:
        """Remember that a record was lost from sight."""
        row = _gap_row(change)
        if row not in self.gapped:
            self._learn(row, change.seq)

    def note_letter(self, origin: str, gaps: Sequence[Change]) -> None:
        """Remember what a dead letter made unknown, to be ended when it is replayed or dropped."""
        row, value = _letter_row(origin), orjson.dumps([gap.to_record() for gap in gaps]).decode()
        if self.rows.get(row) != value:
            self._learn(row, value)

    def letter(self, origin: str) -> list[Change]:
        """The gaps that `note_letter` was told."""
        return [Change.from_record(gap) for gap in orjson.loads(self.rows.get(_letter_row(origin), "[]"))]

    def note_symbols(self, change: Change) -> str | None:
        """Which guarded fields of the record read UNKNOWN as of this version, joined by '|'; None: nothing to tell.

        What was told is kept with its order token: an older version says nothing, and the same one, which may come
        again because a crash kept it from the control axis, says it again.
        """
        unknown = _unknown_in(change)
        if not unknown and not self.symbols:
            return None
        row = f"{_SYMBOL}{change.entity}|{change.source}|{change.subject}"
        known = self.rows.get(row)
        if known is None and not unknown:
            return None
        seq, before = orjson.loads(known) if known else ("", "")
        if seq > change.seq:
            return None
        stated = set() if change.op is Op.DELETE else set(filter(None, before.split("|"))) - change.asserted.keys()
        fields = "|".join(sorted(stated.union(unknown)))
        if seq == change.seq:
            return before
        if not fields and not before:
            return None
        self._learn(row, orjson.dumps([change.seq, fields]).decode())
        return fields

    def was_lost(self, change: Change) -> bool:
        """Whether changes of the record were lost before."""
        return bool(self.gapped) and _gap_row(change) in self.gapped

    # --- places ----------------------------------------------------------------------------------------------------

    def place(self, change: Change) -> tuple[Place | Need, list[str]]:
        """Where a resolved change goes, or what it waits for; and the rows learned on the way."""
        learned: list[str] = []
        if change.op is Op.REKEY or change.entity == "alias":
            self._alias(change)
        reach = ENTITIES[change.entity].reach
        if reach is Reach.BROADCAST:
            return EVERYWHERE, learned
        row = home_row(change.entity, change.key)
        code = self.rows.get(row)
        if code is None:
            found = self._first_home(change, row, reach)
            if isinstance(found, Need):
                return found, learned
            code = found
            learned += self._learn_all(self._rows_of_home(change, row), code)
        return Place(code), learned

    def _first_home(self, change: Change, row: str, reach: Reach) -> str | Need:
        if change.op is Op.REKEY:
            before = home_row(change.entity, str(change.asserted["old"]))
            return self.rows.get(before) or Need(before)
        target = _entry_of(change) if reach is Reach.ENTRY else None
        if change.entity == "time_entry" and self._speaks_itself(change.key) and change.system != _origin(change.key):
            return Need(row)
        if target is None:
            return self._own_home(change) or Need(row)
        if change.entity == "coverage" and change.asserted.get("kind", _TIME_KIND) != _TIME_KIND:
            return target
        entry = home_row("time_entry", target)
        known = self.rows.get(entry)
        if known is None and change.entity == "posted_labour" and not self._speaks_itself(target):
            known = self._own_home(change)
        return known or Need(entry)

    def _speaks_itself(self, entry: str) -> bool:
        """Whether the system that the entry comes from has a source here: then it alone gives the entry its home.

        If whoever mentions it first did, the home would depend on which source was faster.
        """
        return _origin(entry) in self.systems

    def _own_home(self, change: Change) -> str | None:
        """The home that the change's own project gives; without any project the record is a project of its own."""
        if "project_code" not in change.asserted:
            return None
        code = change.asserted["project_code"]
        return self.root(str(code)) if code else change.key

    def _rows_of_home(self, change: Change, row: str) -> Iterator[str]:
        yield row
        if change.entity == "posted_labour" and (target := _entry_of(change)):
            yield home_row("time_entry", target)
        if change.op is Op.REKEY:
            yield home_row(change.entity, str(change.asserted["new"]))

    def _alias(self, change: Change) -> None:
        """Let the new code of a re-keyed project share the old one's partition; a merge moves nothing."""
        said = change.asserted
        if change.entity == "alias" and (said.get("entity") != "project" or said.get("reason") != "REKEY"):
            return
        if change.entity not in ("alias", "project") or not said.get("old") or not said.get("new"):
            return
        root = self.root(str(said["old"]))
        row = f"root|{said['new']}"
        if root != said["new"] and row not in self.rows:
            self._learn(row, root)

    def _learn_all(self, rows: Iterator[str], value: str) -> list[str]:
        learned = [row for row in rows if row not in self.rows]
        for row in learned:
            self._learn(row, value)
        return learned

    def _learn(self, row: str, value: str) -> None:
        self.rows[row] = value
        self.fresh[row] = value
        self._note_source(row)


def _unknown_in(change: Change) -> list[str]:
    """The guarded fields of a version with a symbol that nobody knows."""
    if change.op is Op.DELETE:
        return []
    return [name for name in GUARDED[change.entity] if change.asserted.get(name) == UNKNOWN]


def _letter_row(origin: str) -> str:
    return f"letter|{origin}"


def _gap_row(change: Change) -> str:
    return f"gap|{change.entity}|{change.source}|{change.subject}"


def _origin(entry: str) -> str:
    """The system that a time entry comes from: 'TIME' of 'TIME:88121'."""
    return entry.partition(":")[0]


def _entry_of(change: Change) -> str | None:
    """The time entry (or other billed thing) that a change belongs to, where it says so."""
    name = {"posted_labour": "origin_ref", "coverage": "target", "write_off": "target"}.get(change.entity)
    value = change.asserted.get(name) if name else None
    return str(value) if value else None
