"""Records of one source object with a symbol that nobody here knows, in a field that decides: facet ENUM of check 43.

Such a record is applied, the field reads UNKNOWN: an entry in a state that nobody knows is not approved. Ingest tells
in the order of each record's versions when one begins and when it ends.
"""

from __future__ import annotations

from heapq import nsmallest
from typing import Any, Final, NamedTuple

from tieout.reconcilers.changes import NEVER, Change, Op
from tieout.reconcilers.timeline import FOREVER

# The entity of a change that says so (UPSERT), or that it is over (DELETE). Its key is the record's id at the source,
# its subject the object; it asserts `fields`, their names joined by '|'.
SYMBOL: Final = "unknown_symbol"


class _Record(NamedTuple):
    """Since which commit, as of which commit, and in which fields, joined by '|'."""

    since: int
    commit_us: int
    fields: str


class Symbols:
    """Records of one object by their ids."""

    def __init__(self) -> None:
        self.over = NEVER  # the latest commit with which one of them ended
        self._records: dict[str, _Record] = {}

    def __len__(self) -> int:
        return len(self._records)

    @property
    def since(self) -> int:
        """The commit of the first of them."""
        return min((record.since for record in self._records.values()), default=FOREVER)

    def note(self, change: Change) -> bool:
        """A record has such a symbol, or has it no longer; whether that is news."""
        if change.op is Op.DELETE:
            return self._ended(self._records.pop(change.key, None) is not None, change.commit_us)
        before = self._records.get(change.key)
        said = _Record(before.since if before else change.commit_us, change.commit_us, str(change.asserted["fields"]))
        self._records[change.key] = said
        return said != before

    def emptied(self, commit_us: int) -> bool:
        """The object was emptied at the source: what is not younger is gone; whether there was any."""
        before = len(self._records)
        self._records = {key: said for key, said in self._records.items() if said.commit_us > commit_us}
        return self._ended(len(self._records) != before, commit_us)

    def _ended(self, any_did: bool, commit_us: int) -> bool:
        if any_did:
            self.over = max(self.over, commit_us)
        return any_did

    def fields(self) -> list[str]:
        """The fields concerned, by name."""
        return sorted({name for record in self._records.values() for name in record.fields.split("|")})

    def first(self, most: int) -> list[str]:
        """Some of the records, in order."""
        return nsmallest(most, self._records)

    def to_record(self) -> list[Any]:
        """A JSON value; `restore` reads it."""
        return [self.over, {key: list(said) for key, said in sorted(self._records.items())}]

    @classmethod
    def restore(cls, value: list[Any]) -> Symbols:
        """The symbols that `to_record` wrote."""
        symbols = cls()
        symbols.over = value[0]
        symbols._records = {key: _Record(*said) for key, said in value[1].items()}
        return symbols
