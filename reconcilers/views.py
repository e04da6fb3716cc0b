"""One view per source, multi-version: what each system said about a record, as of any instant since the last fold.

Versions of a record at one source are ordered by its order token, never by a clock; each asserts some attributes.
A view as of an instant merges the versions committed until then. Deleted records keep their last attributes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, Final, Literal, NamedTuple

from tieout.reconcilers import marks
from tieout.reconcilers.changes import Change, Op
from tieout.reconcilers.lost import Lost, is_of_letter
from tieout.reconcilers.objects import Span, Sweep
from tieout.reconcilers.timeline import FOREVER

_FOLDED: Final = "$folded"  # asserted by the version that others were merged into
_GAP: Final = "$gap"  # asserted by what is not a version: from here on the record is unknown until the next one
_SWEPT: Final = "$swept"  # asserted by a deletion that follows from what happened to the whole object
_LINKS: Final = ("project_code", "worker_no", "work_date", "origin_ref", "target", "level", "scope_key", "customer_no",
                 "contract_no", "opportunity_no", "calendar_id")  # what facts are found by
Verdict = Literal["applied", "duplicate", "stale"]


class Version(NamedTuple):
    """One version: its order token, its commit instant (never before its predecessor's), and what it asserts."""

    seq: str
    commit_us: int
    deleted: bool
    asserted: Mapping[str, Any]

    @property
    def is_gap(self) -> bool:
        """Whether it only says that nothing is known."""
        return _GAP in self.asserted


class View(NamedTuple):
    """A record as one source sees it."""

    attributes: Mapping[str, Any]
    deleted: bool
    commit_us: int  # of the newest version in it


class History:
    """The versions of one record at one source, which come from one raw topic."""

    __slots__ = ("_live", "_lost", "_versions", "topic")

    def __init__(self, versions: Iterable[Version] = (), topic: str = "",
                 lost: Mapping[str, Any] | None = None) -> None:
        self.topic = topic
        self._lost = Lost(lost) if lost else None  # dead letters of the record, which few records have
        self._versions = list(versions)
        self._live = _merge(self._versions)

    def add(self, change: Change) -> Verdict:
        """Put a change in its place; a known token is a duplicate, a lower one is stale (but still kept in order)."""
        if is_of_letter(change):
            self._lost = self._lost or Lost({})
            return "applied" if self._lost.note(change) else "duplicate"
        asserted = {_GAP: True} if change.op is Op.GAP else change.asserted
        version = Version(change.seq, change.commit_us, change.op is Op.DELETE, asserted)
        self.topic = min(self.topic or change.origin[0], change.origin[0])
        last = self._versions[-1] if self._versions else None
        if last is None or change.seq > last.seq:
            if last is not None and version.commit_us < last.commit_us:
                version = version._replace(commit_us=last.commit_us)
            self._versions.append(version)
            self._live = _stack(self._live, version)
            return "applied"
        index = bisect_left(self._versions, change.seq, key=lambda kept: kept.seq)
        if self._versions[index].seq == change.seq:
            return "duplicate"
        if index == 0 and self._folded:
            return "stale"  # older than what has been folded: its attributes were overtaken
        following = self._versions[index].commit_us
        self._versions.insert(index, version._replace(commit_us=min(version.commit_us, following)))
        self._live = _merge(self._versions)
        return "stale"

    @property
    def _folded(self) -> bool:
        return bool(self._versions) and _FOLDED in self._versions[0].asserted

    def sweep(self, sweeps: Iterable[Sweep], settled: int) -> list[int]:
        """Delete the record where what happened to its object says so; the commit instants of these deletions.

        All of them are worked out anew, but those at or before `settled`, of which nothing else is left.
        """
        own = [v for v in self._versions if _SWEPT not in v.asserted or v.commit_us <= settled]
        places: dict[int, int] = {}  # number of versions before the deletion -> its commit
        for sweep in sweeps:
            if sweep.topic in (None, self.topic) and (at := _swept_at(own, sweep)):
                places[at] = min(sweep.commit_us, places.get(at, FOREVER))
        fresh: list[Version] = []
        for index, version in enumerate([*own, None]):
            if index in places:
                fresh.append(_deletion(own[index - 1], places[index], version))
            fresh += [version] if version else []
        if fresh != self._versions:
            self._versions, self._live = fresh, _merge(fresh)
        return [version.commit_us for version in fresh if _SWEPT in version.asserted]

    def gaps(self) -> Iterator[Span]:
        """When the record was unknown: from each gap, and each dead letter, to the version that follows it."""
        yield from self._unread()
        until = FOREVER
        for version in reversed(self._versions):
            if version.is_gap:
                yield Span(version.commit_us, until)
            else:
                until = version.commit_us

    def _unread(self) -> Iterator[Span]:
        if self._lost:
            yield from self._lost.spans(version.commit_us for version in self._versions if not version.is_gap)

    @property
    def is_unread(self) -> bool:
        """Whether a dead letter of the record is neither over nor followed by a later version."""
        return any(span.until == FOREVER for span in self._unread())

    def at(self, instant: int) -> View | None:
        """The view as of an instant; None if the source had not said anything by then."""
        live = self._live
        if live is None or live.commit_us <= instant:
            return live
        return _merge(version for version in self._versions if version.commit_us <= instant)

    def project_at(self, instant: int) -> tuple[int, str] | None:
        """The project as of an instant, which may lie behind all that is kept, and a commit by which it was so.

        Before a record has named one it is on the first that it names: what was folded does not tell the two apart.
        """
        view = self.at(instant)
        if view is not None and (view.deleted or view.attributes.get("project_code")):
            return None if view.deleted else (view.commit_us, view.attributes["project_code"])
        since = self.marks().get("created", FOREVER)
        first = next((code for version in self._versions if (code := version.asserted.get("project_code"))), None)
        return (since, first) if first and since <= instant else None

    def former(self) -> Iterator[Mapping[str, Any]]:
        """The attributes at each deletion that was not the end (a record that comes back may say less), and those
        that dead letters tell."""
        if self._lost:
            yield from self._lost.links()
        for index, version in enumerate(self._versions[:-1]):
            if version.deleted and (view := _merge(self._versions[: index + 1])):
                yield view.attributes

    def versions(self) -> Sequence[Version]:
        """The versions, oldest first."""
        return self._versions

    def views(self) -> Iterator[View]:
        """The view after each version, oldest first."""
        view: View | None = None
        for version in self._versions:
            if view := _stack(view, version):
                yield view

    def commits(self) -> list[int]:
        """Commit instants of the versions, oldest first."""
        return [version.commit_us for version in self._versions]

    def holding_since(self, attribute: str, value: Any, instant: int) -> int | None:
        """When the attribute took the value that it has at the instant; None if it has another one."""
        since = None
        for version in self._versions:
            if version.commit_us <= instant and attribute in version.asserted:
                if version.asserted[attribute] != value:
                    since = None
                elif since is None:
                    since = version.asserted.get(marks.MARKS, {}).get(attribute, version.commit_us)
        return since

    def marks(self, instant: int = FOREVER) -> dict[str, int]:
        """Instants of the record's life until `instant`, see `marks.py`."""
        return marks.of_versions(version for version in self._versions if version.commit_us <= instant)

    def said(self, attribute: str, instant: int) -> set[Any]:
        """Every value that was asserted for an attribute until the instant."""
        return {v.asserted[attribute] for v in self._versions if v.commit_us <= instant and attribute in v.asserted}

    def every(self, attribute: str, instant: int = FOREVER) -> Iterable[Any]:
        """Every value that was asserted for an attribute until the instant, in order; for values that are lists."""
        return [v.asserted[attribute] for v in self._versions if v.commit_us <= instant and attribute in v.asserted]

    def fold(self, horizon: int) -> None:
        """Merge the versions that nobody will ask for any more: all below the newest one at or before `horizon`.

        A record that moved from one project, worker, entry or scope to another, renames a project, or came back keeps
        its versions: the instant of it matters, and a restore has to find what it left.
        """
        if self._lost:
            self._lost.fold((version.commit_us for version in self._versions if not version.is_gap), horizon)
        older = [version for version in self._versions if version.commit_us <= horizon]
        while older and older[-1].is_gap:
            older.pop()  # it is not over as of the horizon
        if (len(older) < 2 or self._moved() or any("old" in v.asserted for v in older)
                or any(v.deleted for v in older[:-1])):
            return
        view = _merge(older)
        assert view is not None
        kept = {_FOLDED: True, marks.MARKS: marks.of_versions(older)}
        base = Version(older[-1].seq, older[-1].commit_us, view.deleted, {**view.attributes, **kept})
        self._versions[: len(older)] = [base]

    def _moved(self) -> bool:
        for name in _LINKS:
            said = {version.asserted[name] for version in self._versions if name in version.asserted}
            if len(said) > 1:
                return True
        return False

    def to_record(self) -> list[list[Any]]:
        """JSON rows, one a version."""
        return [list(version) for version in self._versions]

    def lost(self) -> list[Any]:
        """The record's dead letters as a list of one JSON value; none where there are none."""
        return [self._lost.to_record()] if self._lost else []


def _swept_at(own: list[Version], sweep: Sweep) -> int:
    """How many versions lie before the deletion that a sweep means for them; 0 if it means none."""
    if sweep.since is None:
        return bisect_left(own, sweep.seq, key=lambda version: version.seq)
    before = [version for version in own if version.commit_us <= sweep.commit_us]
    if not before or before[-1].is_gap:
        return len(before)
    return len(before) if sweep.since < FOREVER and before[-1].commit_us < sweep.since else 0


def _deletion(before: Version, commit_us: int, following: Version | None) -> Version:
    """The deletion after a version: its token is the least that sorts behind it, so that no other can lie between."""
    latest = following.commit_us if following else FOREVER
    return Version(f"{before.seq}\0", min(max(commit_us, before.commit_us), latest), True, {_SWEPT: True})


def _stack(below: View | None, version: Version) -> View | None:
    if version.is_gap:
        return below
    if version.deleted:
        attributes = below.attributes if below else {} if _SWEPT in version.asserted else version.asserted
    elif below is None or below.deleted:
        attributes = version.asserted
    else:
        attributes = {**below.attributes, **version.asserted}
    return View(attributes, version.deleted, version.commit_us)


def _merge(versions: Iterable[Version]) -> View | None:
    view: View | None = None
    for version in versions:
        view = _stack(view, version)
    return view


def _newest(histories: Sequence[History], instant: int) -> View | None:
    if len(histories) == 1:  # as nearly always
        return histories[0].at(instant)
    best: View | None = None
    for history in histories:
        view = history.at(instant)
        if view and (best is None or (not view.deleted, view.commit_us) >= (not best.deleted, best.commit_us)):
            best = view
    return best


class Record:
    """A record of the domain: what each source, under each of its own ids, says about it."""

    __slots__ = ("_of_system", "entity", "histories", "key")

    def __init__(self, entity: str, key: str) -> None:
        self.entity = entity
        self.key = key
        self.histories: dict[tuple[str, str], History] = {}
        self._of_system: dict[str, list[History]] = {}

    def keep(self, source: str, subject: str, history: History) -> History:
        """Take up the history of a source under one of its ids."""
        self.histories[source, subject] = history
        self._of_system.setdefault(source.partition("/")[0], []).append(history)
        return history

    def add(self, change: Change) -> Verdict:
        """Put a change into the history of its source and subject."""
        history = self.histories.get((change.source, change.subject))
        if history is None:
            history = self.keep(change.source, change.subject, History())
        return history.add(change)

    def view(self, system: str, instant: int = FOREVER) -> Mapping[str, Any] | None:
        """What the system says as of an instant; None if it does not know the record, or deleted it."""
        last = self.last(system, instant)
        return None if last is None or last.deleted else last.attributes

    def project_at(self, system: str, instant: int) -> str | None:
        """The project by the system's word as of an instant, however long ago."""
        found = [history.project_at(instant) for history in self._of_system.get(system, ())]
        return max((each for each in found if each), default=(0, None))[1]

    def last(self, system: str, instant: int = FOREVER) -> View | None:
        """The newest view of the system; a deleted one where none is alive."""
        return _newest(self._of_system.get(system, ()), instant)

    def lasts(self, instant: int = FOREVER) -> dict[str, View]:
        """The same for every system that had said something by then."""
        found: dict[str, View] = {}
        for system, histories in self._of_system.items():
            if view := _newest(histories, instant):
                found[system] = view
        return found

    def systems(self) -> Set[str]:
        """Systems that ever said something."""
        return self._of_system.keys()

    def gaps(self) -> Iterator[tuple[str, Span]]:
        """Systems that did not know the record for some time, and when."""
        for (source, _), history in self.histories.items():
            yield from ((source.partition("/")[0], span) for span in history.gaps())

    def unread_at(self) -> set[str]:
        """Sources that said something of the record that nobody could read, and nothing since."""
        return {source for (source, _), history in self.histories.items() if history.is_unread}

    def versions(self) -> Iterator[Version]:
        """All versions of all sources."""
        for history in self.histories.values():
            yield from history.versions()

    def views(self) -> Iterator[View]:
        """What each source said after each of its versions."""
        for history in self.histories.values():
            yield from history.views()

    def said(self, attribute: str, instant: int = FOREVER) -> set[Any]:
        """Every value that any source ever asserted for an attribute until the instant, less null."""
        found = {value for history in self.histories.values() for value in history.said(attribute, instant)}
        return found - {None}

    def marks(self, system: str, instant: int = FOREVER) -> dict[str, int]:
        """The instants of its life at a system, each the earliest of its sources."""
        found: dict[str, int] = {}
        for history in self._of_system.get(system, ()):
            for name, at in history.marks(instant).items():
                found[name] = min(at, found.get(name, at))
        return found

    def first(self, system: str, instant: int, *names: str) -> int | None:
        """The first of these marks that the system has by then; where it has none, the earliest of another system's."""
        own = self.marks(system, instant)
        if own.keys().isdisjoint(names):
            others = [self.marks(other, instant) for other in self.systems() - {system}]
            own = {name: min(at) for name in names if (at := [each[name] for each in others if name in each])}
        return next((own[name] for name in names if name in own), None)

    def commits(self) -> list[int]:
        """All commit instants, in no order."""
        return [commit for history in self.histories.values() for commit in history.commits()]

    def to_record(self) -> list[Any]:
        """A JSON value; `from_record` is its inverse."""
        return [self.entity, self.key,
                [[source, subject, history.to_record(), history.topic, *history.lost()]
                 for (source, subject), history in self.histories.items()]]

    @classmethod
    def from_record(cls, value: list[Any]) -> Record:
        """The record that `to_record` wrote."""
        record = cls(value[0], value[1])
        for source, subject, rows, topic, *lost in value[2]:
            record.keep(source, subject, History((Version(*row) for row in rows), topic, *lost))
        return record
