"""The facts of one partition: records by key, and the indexes by which rules find what belongs together."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any, Final

from tieout.reconcilers.changes import NEVER, Change, Op
from tieout.reconcilers.objects import Object
from tieout.reconcilers.timeline import FOREVER
from tieout.reconcilers.views import Record, Verdict

# The table that holds an entity's records; what is not named here is read by no rule yet.
TABLE_OF: Final = {
    **dict.fromkeys(("project", "resource", "calendar_day", "contract_line", "opportunity", "legal_entity",
                     "billing_cycle", "staffing_demand", "alias"), "masters"),
    "rate": "rates",
    "assignment": "assignments",
    "time_entry": "timesheets",
    "posted_labour": "timesheets",
    **dict.fromkeys(("invoice", "invoice_line", "coverage", "covered_invoice", "write_off"), "invoices"),
}
READS: Final = frozenset(TABLE_OF)

KEY_ALIKE: Final = "idempotency key"
NET_ALIKE: Final = "customer and net"
_PLACES_OF_ENTRY: Final = frozenset(("worker_no", "project_code", "work_date", "qty_s"))
_SHARED_TABLES: Final = ("masters", "rates", "assignments")
Pair = tuple[str, str]  # project code, worker


class Facts:
    """Records and their indexes. Indexes name every value that any version ever had: rules look at the instant."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Record] = {}
        self.objects: dict[tuple[str, str], Object] = {}  # (entity, source) -> what happened to the whole of it
        self.gapped: set[tuple[str, str]] = set()  # records that were unknown at some time
        self.entries: set[str] = set()  # keys of all time entries that any system mentions
        self.labour: dict[str, set[str]] = defaultdict(set)  # entry -> posted_labour keys
        self.coverage: dict[str, set[str]] = defaultdict(set)  # entry -> coverage keys
        self.write_offs: dict[str, set[str]] = defaultdict(set)  # entry -> write_off keys
        self.invoiced: dict[str, set[str]] = defaultdict(set)  # invoice -> entries it covers
        self.lines_of_invoice: dict[str, set[str]] = defaultdict(set)  # invoice -> invoice_line keys
        self.invoices_alike: dict[tuple[str, ...], set[str]] = defaultdict(set)  # what doubles share -> invoices
        self.entries_of_project: dict[str, set[str]] = defaultdict(set)
        self.entries_of_pair: dict[Pair, set[str]] = defaultdict(set)
        self.entries_of_worker: dict[str, set[str]] = defaultdict(set)
        self.entries_of_day: dict[tuple[str, int], set[str]] = defaultdict(set)  # (worker, work date) -> entries
        self.entries_alike: dict[tuple[str, str, int, int], set[str]] = defaultdict(set)  # project, worker, day, s
        self.timed: set[str] = set()  # entries of which any version has a beginning
        self._likeness: dict[str, set[tuple[str, str, int, int]]] = {}  # entry -> its places in `entries_alike`
        self._days_of_entry: dict[str, set[tuple[str, int]]] = defaultdict(set)
        self.projects_of_entry: dict[str, set[str]] = defaultdict(set)  # codes any version asserted, unresolved
        self.assignments: dict[Pair, set[str]] = defaultdict(set)
        self.pairs_of_assignment: dict[str, set[Pair]] = defaultdict(set)
        self.pairs_of_project: dict[str, set[Pair]] = defaultdict(set)
        self.pairs_of_worker: dict[str, set[Pair]] = defaultdict(set)
        self.rates: dict[tuple[int, str], set[str]] = defaultdict(set)  # (level, scope_key) -> rate keys
        self.lines: dict[str, set[str]] = defaultdict(set)  # contract -> contract_line keys
        self.contracts_of_project: dict[str, set[str]] = defaultdict(set)
        self._pairs_of_entry: dict[str, set[Pair]] = defaultdict(set)
        self.projects_of_contract: dict[str, set[str]] = defaultdict(set)
        self.projects_of_opportunity: dict[str, set[str]] = defaultdict(set)
        self.demands: dict[str, set[str]] = defaultdict(set)  # project -> staffing_demand keys
        self.calendar: dict[str, set[int]] = defaultdict(set)  # calendar -> days it states
        self.workers_of_calendar: dict[str, set[str]] = defaultdict(set)
        self.cycles: dict[str, set[str]] = defaultdict(set)  # billing calendar -> cycle keys
        self.shared: dict[Any, Any] = {}  # what worlds at or after `newest` worked out; emptied when a master changes
        self.newest = NEVER  # newest commit, or publication of a rate, among records that subjects share
        self._commits: dict[str, list[int]] = defaultdict(list)  # of each entity but entries' own; sorted
        self._newest_commit = NEVER  # of all of these
        self._horizon = NEVER  # no lane looks at or before it
        self._successor: dict[str, tuple[int, str, bool]] = {}  # code -> since when, which other, merged
        self._root: dict[str, str] = {}
        self._codes: dict[str, set[str]] = {}  # root -> all codes it ever had

    # -- project codes ---------------------------------------------------------------------------

    def code(self, project_code: str, instant: int = FOREVER, *, merges: bool = True) -> str:
        """The code that the project had at the instant, after the re-keys and, unless left out, merges until then."""
        seen: set[str] = set()
        while project_code in self._successor and project_code not in seen:
            seen.add(project_code)
            at, successor, merged = self._successor[project_code]
            if at > instant or (merged and not merges):
                break
            project_code = successor
        return project_code

    def root(self, project_code: str) -> str:
        """The code that stands for the project whatever it is called: its first; of merged ones, the survivor's."""
        return self._root.get(project_code, project_code)

    def codes(self, project_code: str) -> set[str]:
        """Every code that the project ever had, unresolved."""
        return self._codes.get(self.root(project_code), {project_code})

    def entries_on(self, project_code: str) -> set[str]:
        """Entries that any version put on the project, under any of its codes."""
        return {key for code in self.codes(project_code) for key in self.entries_of_project.get(code, ())}

    def assignments_of(self, pair: Pair) -> list[str]:
        """Assignments that any version put on the pair, under any of the project's codes; sorted."""
        return sorted({key for code in self.codes(pair[0]) for key in self.assignments.get((code, pair[1]), ())})

    def _rename(self, said: Mapping[str, Any], at: int) -> None:
        old, new = str(said["old"]), str(said["new"])
        if old == new or self._successor.get(old, (FOREVER, "", False))[0] < at:
            return
        merged = said.get("reason") in ("MERGE", "SPLIT")
        self._successor[old] = (at, new, merged)
        together = self.codes(old) | self.codes(new)
        root = self.root(new if merged else old)
        for code in together:
            self._root[code] = root
        self._codes[root] = together

    # -- records ---------------------------------------------------------------------------------

    def get(self, entity: str, key: str) -> Record | None:
        """The record, if any system ever mentioned it."""
        return self.records.get((entity, key))

    def of_project(self, project_code: str) -> Iterator[Record]:
        """The project's records under all codes it ever had."""
        for code in sorted(self.codes(project_code)):
            if record := self.records.get(("project", code)):
                yield record

    def put(self, change: Change) -> tuple[Record, Verdict, list[int]]:
        """Store a change; whether it brought news, and when what happened to its object deletes the record."""
        if change.op is Op.REKEY and change.entity == "project":
            self._rename(change.asserted, change.commit_us)
        identity = (change.entity, change.key)
        record = self.records.get(identity)
        if record is None:
            record = self.records[identity] = Record(change.entity, change.key)
        verdict, deleted_at = self._add(record, change)
        if verdict != "duplicate":
            if change.entity == "alias" and renames(change.asserted):
                self._rename(change.asserted, change.commit_us)
            self._index(record, change.asserted)
            self._note_commits(record.entity, change.commit_us)
            if TABLE_OF[change.entity] in _SHARED_TABLES:
                self.newest = max(self.newest, change.commit_us, change.asserted.get("published_at") or NEVER)
                self.shared = {}
        return record, verdict, deleted_at

    def _add(self, record: Record, change: Change) -> tuple[Verdict, list[int]]:
        """Put a change into the record; what its object went through comes after it, whatever came first."""
        if change.op is Op.GAP:
            self.gapped.add((record.entity, record.key))
        of_object = self.objects.get((change.entity, change.source))
        if of_object is None:
            return record.add(change), []
        history = record.histories.get((change.source, change.subject))
        if history:
            history.sweep((), of_object.settled)
        verdict = record.add(change)
        history = record.histories[change.source, change.subject]
        instants = history.sweep(of_object.sweeps(), of_object.settled)
        self._note_deletions(record, instants)
        return verdict, instants

    def put_object(self, change: Change) -> tuple[list[tuple[Record, list[int]]], Verdict]:
        """Store what happened to a whole object: its records with the instants at which they are deleted by it."""
        place = (change.entity, change.source)
        of_object = self.objects.setdefault(place, Object())
        if not of_object.note(change):
            return [], "duplicate"
        sweeps = of_object.sweeps()
        found = []
        for (entity, _), record in self.records.items():
            if entity == change.entity:
                instants = [instant for (source, _), history in record.histories.items() if source == change.source
                            for instant in history.sweep(sweeps, of_object.settled)]
                if instants:
                    self._note_deletions(record, instants)
                    found.append((record, instants))
        return found, "applied"

    def _note_deletions(self, record: Record, instants: list[int]) -> None:
        self._note_commits(record.entity, *instants)
        if TABLE_OF[record.entity] in _SHARED_TABLES:
            self.newest = max(self.newest, *instants, NEVER)
            self.shared = {}

    def _note_commits(self, entity: str, *instants: int) -> None:
        if TABLE_OF[entity] != "timesheets":
            commits = self._commits[entity]
            for instant in instants:
                at = bisect_right(commits, instant)
                if not at or commits[at - 1] != instant:
                    commits.insert(at, instant)
            self._newest_commit = max(self._newest_commit, *instants, NEVER)

    def later_commits(self, instant: int, entities: Iterable[str], identities: Iterable[tuple[str, str]]) -> set[int]:
        """Commits after the instant of all records of the entities, and of the single records; not of entries' own."""
        since = max(instant, self._horizon)
        if self._newest_commit <= since:
            return set()
        found: set[int] = set()
        for commits in (self._commits[entity] for entity in entities):
            found.update(commits[bisect_right(commits, since):])
        for identity in identities:
            if record := self.records.get(identity):
                found.update(commit for commit in record.commits() if commit > since)
        return found

    def days_of_entry(self, key: str) -> Iterator[tuple[str, int]]:
        """Workers and work dates that any versions of the entry asserted."""
        yield from self._days_of_entry.get(key, ())

    def twins(self, key: str) -> set[str]:
        """Other entries that may be the same work: any version has the same project, worker, day and quantity."""
        found = {other for project, worker, day, qty_s in self._likeness.get(key, ()) for code in self.codes(project)
                 for other in self.entries_alike.get((code, worker, day, qty_s), ())}
        return found - {key}

    def doubles(self, invoice: str) -> set[str]:
        """Other invoices that may say the same: of one idempotency key, or of one customer and net amount."""
        record = self.records.get(("invoice", invoice))
        if record is None:
            return set()
        nets = {tuple(net) for history in record.histories.values() for net in history.every("net") if net}
        places: set[tuple[str, ...]] = {(KEY_ALIKE, key) for key in record.said("idempotency_key")}
        places |= {(NET_ALIKE, customer, str(minor), ccy) for customer in record.said("customer_no")
                   for minor, ccy in nets}
        return {other for place in places for other in self.invoices_alike.get(place, ())} - {invoice}

    def pairs_of_entry(self, key: str) -> set[Pair]:
        """Projects and workers that any version of the entry named together."""
        return self._pairs_of_entry.get(key, set())

    def forget(self, horizon: int) -> None:
        """Drop what lies before the horizon: no lane will look there again."""
        for of_object in self.objects.values():
            of_object.prune(horizon)
        for commits in self._commits.values():
            del commits[: bisect_right(commits, horizon)]
        self._horizon = horizon

    def restore(self, value: list[Any]) -> None:
        """Take up a record from a changelog row."""
        record = Record.from_record(value)
        self.records[record.entity, record.key] = record

    def reindex(self, horizon: int = NEVER) -> None:
        """Rebuild every index from the records: renames first, since the others depend on them.

        Nobody looks back behind `horizon`: commits until then are not kept, as after `forget`.
        """
        for (entity, _), record in self.records.items():
            if entity in ("project", "alias"):
                for _, commit_us, _, said in record.versions():
                    if {"old", "new"} <= said.keys() and (entity == "project" or renames(said)):
                        self._rename(said, commit_us)
        newest, self._horizon = self.newest, horizon
        for identity, record in self.records.items():
            entity = identity[0]
            table, index = TABLE_OF[entity], _INDEXERS.get(entity)
            shared, commits = table in _SHARED_TABLES, self._commits[entity] if table != "timesheets" else None
            for version in record.versions():
                asserted = version.asserted
                if index:
                    index(self, record, asserted)
                if version.is_gap:
                    self.gapped.add(identity)
                if shared:
                    newest = max(newest, version.commit_us, asserted.get("published_at") or NEVER)
                if commits is not None and version.commit_us > horizon:
                    commits.append(version.commit_us)
            for history in record.histories.values():
                for said in history.former():  # what dead letters tell stands nowhere else
                    if index:
                        index(self, record, said)
                    if shared:
                        newest = max(newest, said.get("published_at") or NEVER)
                if history.lost() and any(history.gaps()):
                    self.gapped.add(identity)
        self.newest = newest
        for of_entity in self._commits.values():
            of_entity.sort()
        self._newest_commit = max((of_entity[-1] for of_entity in self._commits.values() if of_entity), default=NEVER)

    def _index(self, record: Record, asserted: Any) -> None:
        index = _INDEXERS.get(record.entity)
        if index:
            index(self, record, asserted)

    def _index_project(self, record: Record, asserted: Any) -> None:
        if contract := asserted.get("contract_no"):
            self.projects_of_contract[contract].add(record.key)
            self.contracts_of_project[record.key].add(contract)
        if opportunity := asserted.get("opportunity_no"):
            self.projects_of_opportunity[opportunity].add(record.key)

    def _index_entry(self, record: Record, asserted: Any) -> None:
        self.entries.add(record.key)
        if project := asserted.get("project_code"):
            self.projects_of_entry[record.key].add(project)
            self.entries_of_project[project].add(record.key)
        if asserted.get("start_at") is not None:
            self.timed.add(record.key)
        workers = record.said("worker_no") if asserted.keys() & _PLACES_OF_ENTRY else ()
        for worker in workers:
            self.entries_of_worker[worker].add(record.key)
            for day in record.said("work_date"):
                self.entries_of_day[worker, day].add(record.key)
                self._days_of_entry[record.key].add((worker, day))
            for project in record.said("project_code"):
                self.entries_of_pair[project, worker].add(record.key)
                self._pairs_of_entry[record.key].add((project, worker))
        if workers:
            places = self._likeness[record.key] = set(product(
                *map(record.said, ("project_code", "worker_no", "work_date", "qty_s"))))
            for place in places:
                self.entries_alike[place].add(record.key)

    def _index_labour(self, record: Record, asserted: Any) -> None:
        if origin := asserted.get("origin_ref"):
            self.labour[origin].add(record.key)
            self.entries.add(origin)

    def _index_coverage(self, record: Record, asserted: Any) -> None:
        target = asserted.get("target")
        if target and asserted.get("kind", "TIME_ENTRY") == "TIME_ENTRY":
            self.coverage[target].add(record.key)
            self.invoiced[f"{asserted.get('le_code')}:{asserted.get('invoice_no')}"].add(target)
            self.entries.add(target)

    def _index_invoice(self, record: Record, asserted: Any) -> None:
        if asserted.get("idempotency_key"):
            self.invoices_alike[KEY_ALIKE, asserted["idempotency_key"]].add(record.key)
        if asserted.keys() & {"customer_no", "net"}:
            nets = {tuple(net) for history in record.histories.values() for net in history.every("net") if net}
            for customer in record.said("customer_no"):
                for minor, ccy in nets:
                    self.invoices_alike[NET_ALIKE, customer, str(minor), ccy].add(record.key)

    def _index_invoice_line(self, record: Record, asserted: Any) -> None:
        self.lines_of_invoice[record.key.rpartition(":")[0]].add(record.key)

    def _index_write_off(self, record: Record, asserted: Any) -> None:
        if target := asserted.get("target"):
            self.write_offs[target].add(record.key)
            self.entries.add(target)

    def _index_assignment(self, record: Record, asserted: Any) -> None:
        for view in record.views():  # of all versions: a plan may go to somebody else
            if view.attributes.get("project_code") and view.attributes.get("worker_no"):
                pair = (view.attributes["project_code"], view.attributes["worker_no"])
                self.assignments[pair].add(record.key)
                self.pairs_of_assignment[record.key].add(pair)
                self.pairs_of_project[pair[0]].add(pair)
                self.pairs_of_worker[pair[1]].add(pair)

    def _index_rate(self, record: Record, asserted: Any) -> None:
        for view in record.views():
            if view.attributes.get("level") and view.attributes.get("scope_key"):
                self.rates[view.attributes["level"], view.attributes["scope_key"]].add(record.key)

    def _index_line(self, record: Record, asserted: Any) -> None:
        self.lines[record.key.rpartition(":")[0]].add(record.key)

    def _index_demand(self, record: Record, asserted: Any) -> None:
        self.demands[record.key.rpartition(":")[0]].add(record.key)

    def _index_calendar(self, record: Record, asserted: Any) -> None:
        calendar, _, day = record.key.rpartition(":")
        self.calendar[calendar].add(int(day))

    def _index_resource(self, record: Record, asserted: Any) -> None:
        if calendar := asserted.get("calendar_id"):
            self.workers_of_calendar[calendar].add(record.key)

    def _index_cycle(self, record: Record, asserted: Any) -> None:
        self.cycles[record.key.rpartition(":")[0]].add(record.key)


def renames(asserted: Any) -> bool:
    """Whether an alias names two codes of a project."""
    return asserted.get("entity") == "project" and bool(asserted.get("old")) and bool(asserted.get("new"))


_INDEXERS: Final = {
    "project": Facts._index_project,
    "time_entry": Facts._index_entry,
    "posted_labour": Facts._index_labour,
    "coverage": Facts._index_coverage,
    "write_off": Facts._index_write_off,
    "invoice": Facts._index_invoice,
    "invoice_line": Facts._index_invoice_line,
    "assignment": Facts._index_assignment,
    "rate": Facts._index_rate,
    "contract_line": Facts._index_line,
    "staffing_demand": Facts._index_demand,
    "calendar_day": Facts._index_calendar,
    "resource": Facts._index_resource,
    "billing_cycle": Facts._index_cycle,
}
