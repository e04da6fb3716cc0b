"""The project axis: assignments, timesheets, rates and invoices of one partition, joined."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from tieout.reconcilers import affected, billing, kpis, suppressed
from tieout.reconcilers.asof import AsOf
from tieout.reconcilers.changes import NEVER, Change, Frame, Op
from tieout.reconcilers.control import stale_sources, stale_systems
from tieout.reconcilers.entities import ENTITIES, Axis, Reach
from tieout.reconcilers.facts import TABLE_OF, Facts
from tieout.reconcilers.findings import publish, step
from tieout.reconcilers.kpis import Amount, Cell, Cells, Contribution
from tieout.reconcilers.lives import FindingKey, Lives, Step
from tieout.reconcilers.lost import is_of_letter
from tieout.reconcilers.matching import differs, weeks, window
from tieout.reconcilers.objects import Object, is_of_object
from tieout.reconcilers.outcomes import Outcome, Output
from tieout.reconcilers.policy import Policy
from tieout.reconcilers.quantities import exponent
from tieout.reconcilers.routing import COVERED, STANDING, partition_of
from tieout.reconcilers.rules import RULES, in_force
from tieout.reconcilers.timeline import FOREVER, local_day
from tieout.reconcilers.unknown import Unknown, systems_of
from tieout.reconcilers.watermarks import Watermarks

_NAMESPACE: Final = uuid5(NAMESPACE_URL, "tieout:decision")
_GUARDED: Final = ("TIME", "PSA", "ERP", "SCHED")  # whose staleness keeps an entry from being READY
RowKey = tuple[str, str]  # entry, project
Told = tuple[str, bool, bool, int | None]  # version, held, pending, when the last hold was lifted
_FREE: Final[Told] = ("", False, False, None)


def _minds_staleness(row: dict[str, Any]) -> bool:
    """Whether a row may change when a source turns stale or catches up: nothing else holds what is unbilled."""
    return bool(row["unbilled_s"]) and row["holds"] in ("", "H19")


class ProjectState:
    """Facts, lives, entry rows and cells of one partition of the project axis."""

    axis = Axis.PROJECT
    rules = RULES

    def __init__(self, partition: int, partitions: int, policy: Policy) -> None:
        self.partition, self.partitions, self.policy = partition, partitions, policy
        self.facts = Facts()
        self.marks = Watermarks()
        self.is_home = self._homes(partition, partitions)
        self.lives = Lives(in_force(self.rules, policy), self.is_home)
        self.cells = Cells(self.axis, partition)
        self.counts: dict[str, dict[str, int]] = {}  # source|object -> applied, duplicate, stale
        self.rows: dict[str, dict[RowKey, dict[str, Any]]] = {}  # entry -> its published rows
        self._frame = ""  # the one that is being applied: producer and number
        self._unknown = Unknown()
        self._stale: set[str] = set()  # systems on which entries wait: stale, or with an object that is unknown
        self._day: int | None = None
        self._pending: set[str] = set()  # entries with a difference that is not decided yet
        self._codes: dict[str, list[str]] = {}  # entry -> codes of its open differences when it was published
        self._counted: dict[str, Contribution] = {}  # pair -> what it was counted as
        self._dirty_counts: set[tuple[str, str]] = set()  # (kind, subject) of which that changed
        self._suppressed: dict[FindingKey, tuple[str, str]] = {}  # published as SUPPRESSED: id, fingerprint of the row
        self.standings: dict[str, Told] = {}  # entry -> what the worker axis says about it
        self._dirty_standings: set[str] = set()
        self._dirty_records: set[tuple[str, str]] = set()
        self._dirty_entries: set[str] = set()
        self._dirty_pairs: set[str] = set()

    @staticmethod
    def _homes(partition: int, partitions: int) -> Callable[[str, str], bool]:
        """Whether a partition speaks for a (kind, subject); entries live only there anyway.

        A function, as a method that `lives` held would make a cycle of all tables, which outlive their place then.
        """
        def is_home(kind: str, subject: str) -> bool:
            if kind == "entry":
                return True
            key = subject.rpartition("|")[0] if kind in ("pair", "work") else subject
            return partition_of(key, partitions) == partition

        return is_home

    def _world(self, instant: int, clock: int | None = None) -> AsOf:
        return AsOf(self.facts, self.policy, instant, clock)

    # -- apply -----------------------------------------------------------------------------------

    def apply(self, frame: Frame) -> Iterator[Outcome]:
        """Store the changes, advance the lanes, publish what moved."""
        self.marks.take(frame)
        self._frame = f"{frame.producer}/{frame.number}"
        for change in frame.changes:
            self._put_object(change) if is_of_object(change) else self._put(change)
        self._unknown = Unknown.of(self.facts, self._bearing)
        self._note_clock()
        live = self._world(FOREVER, self.marks.now_us)
        steps = self.lives.advance(self.marks, self._world, self._unknown)
        yield from self._publish_steps(steps, live)
        self._dirty_entries |= self.lives.renamed
        self.lives.renamed.clear()
        yield from self._publish_entries(live)
        self._count_pairs(live)

    def settle(self) -> Iterator[Outcome]:
        """KPI cells that moved since the last call."""
        for who, contribution in kpis.of_counts(self.counts, self.lives.healed):
            self.cells.give(who, contribution)
        yield from self._suppress()
        lowest = self.marks.lowest()
        yield from self.cells.changed(self.marks.now_us, None if lowest == NEVER else lowest)

    def _take_standing(self, change: Change) -> None:
        """What the worker axis says about an entry: the newest word counts."""
        known = self.standings.get(change.key)
        if known is None or change.seq > known[0]:
            said = change.asserted
            self.standings[change.key] = (change.seq, said["held"], said["pending"], said["released_at"])
            self._dirty_standings.add(change.key)
            self._dirty_entries.add(change.key)

    def _put(self, change: Change) -> None:
        if change.entity == STANDING:
            self._take_standing(change)
            return
        before = self._bearing(affected.by(self.facts, change))
        record, verdict, deleted_at = self.facts.put(change)
        self._count(change, verdict)
        if verdict == "duplicate":
            return
        self._dirty_records.add((record.entity, record.key))
        after = self._bearing(affected.by(self.facts, change))
        for kind, subject in before | after:
            for instant in (change.commit_us, *deleted_at):
                self._touch(kind, subject, instant)
        # An older version that arrives late may tell whom the newer ones are about.
        for kind, subject in after - before:
            for commit in record.commits():
                if commit > change.commit_us:
                    self._touch(kind, subject, commit)
        if change.op is Op.REKEY or change.entity in ("alias", "assignment"):
            for kind, subject, commit in affected.by_meeting(self.facts, before | after, change.commit_us):
                self.lives.touch(kind, subject, commit)

    def _put_object(self, change: Change) -> None:
        """What happened to a whole object changes each of its records that it deletes."""
        deleted, verdict = self.facts.put_object(change)
        if change.op is not Op.SNAPSHOT or not change.subject:  # else it repeats, for all, what one partition has
            self._count(change, verdict)
        for record, instants in deleted:
            self._dirty_records.add((record.entity, record.key))
            for kind, subject in self._bearing(affected.of_record(self.facts, record)):
                for instant in instants:
                    self._touch(kind, subject, instant)

    def _touch(self, kind: str, subject: str, instant: int) -> None:
        if kind == "entry":
            self._dirty_entries.add(subject)
        elif kind == "pair":
            if not self.is_home(kind, subject):
                return
            self._dirty_pairs.add(subject)
        elif kind != "project" and not self.is_home(kind, subject):
            return
        self.lives.touch(kind, subject, instant)
        for later in self._later(kind, subject, instant):
            self.lives.touch(kind, subject, later)

    def _bearing(self, found: set[affected.Subject]) -> set[affected.Subject]:
        """Subjects of this axis among, or because of, those that were found."""
        return found

    def _later(self, kind: str, subject: str, instant: int) -> set[int]:
        return affected.later_commits(self.facts, kind, subject, instant)

    def _count(self, change: Change, verdict: str) -> None:
        if is_of_letter(change):
            return  # it is counted where it was put aside
        if change.entity == COVERED or ((not change.key or ENTITIES[change.entity].reach is Reach.BROADCAST) and (
                partition_of(change.key, self.partitions) != self.partition)):
            return  # no source sent it; every partition has it, and one counts it
        totals = self.counts.setdefault(f"{change.source}|{change.entity}", {"APPLIED": 0, "DUPLICATE": 0, "STALE": 0})
        totals[verdict.upper()] += 1

    def _note_clock(self) -> None:
        """What moves without a change: sources that turn stale, and the day on which weeks are counted."""
        stale = self._waited_for()
        if stale != self._stale:
            self._stale = stale
            self._dirty_entries |= {key for key, rows in self.rows.items() if any(map(_minds_staleness, rows.values()))}
        day = local_day(self.marks.now_us) if self.marks.now_us != NEVER else None
        if day != self._day:
            self._day = day
            self._dirty_pairs |= self._pairs()

    def _waited_for(self) -> set[str]:
        """Systems on which entries wait: with a stale source, or with one of which an object is unknown."""
        return stale_systems(self.policy, self.marks) | systems_of(self._unknown.sources("entry"))

    def _waits_for(self, key: str) -> set[str]:
        """Systems on which an entry waits."""
        return self._stale | self._unknown.systems_on("entry", key)

    def _suppress(self) -> Iterator[Outcome]:
        """What waits for stale sources, published anew; what no longer waits has opened or never existed."""
        live = self._world(FOREVER, self.marks.now_us)
        self._count_cost(live)
        rules = self.lives.rules.values()
        found = dict(suppressed.find(live, self.lives, rules, self._pending, self._waits_for, self.marks.now_us)
                     if self._stale or self._unknown.subjects else ())
        fresh = {key: (row["finding_id"], suppressed.fingerprint(row)) for key, row in found.items()}
        for key, (name, _) in sorted(self._suppressed.items(), key=repr):
            if key in fresh and fresh[key][0] == name:
                continue  # else it waits no longer, or it would be another episode by now
            finding = self.lives.findings.get(key)
            known = finding is not None and finding.row.get("finding_id") == name
            yield Outcome(Output.FINDING_STATE, name, finding.row if finding and known else None)
        for key, row in found.items():
            if self._suppressed.get(key) != fresh[key]:
                yield Outcome(Output.FINDING_STATE, row["finding_id"], row)
        self._suppressed = fresh

    def _count_cost(self, live: AsOf) -> None:
        behind = {*stale_sources(self.policy, self.marks), *self._unknown.sources("entry")}
        blamed = sorted(source for source in behind if source.partition("/")[0] in _GUARDED)
        self.cells.give("unevaluated", self._cost(live, blamed) if blamed else {})
        self.cells.give("unread", suppressed.unread(live, self._unread()) if self.facts.gapped else {})

    def _unread(self) -> Iterator[tuple[str, set[str], Iterable[str]]]:
        """Entries, and postings of entries, that cannot be read now: their object, their sources, the entries."""
        for entity, key in self.facts.gapped:
            record = self.facts.records[entity, key]
            if entity in ("time_entry", "posted_labour") and (sources := record.unread_at()):
                found = affected.of_record(self.facts, record) if entity == "posted_labour" else {("entry", key)}
                yield entity, sources, [subject for kind, subject in found if kind == "entry"]

    def _cost(self, live: AsOf, blamed: list[str]) -> Mapping[Cell, Amount]:
        return suppressed.cost(live, sorted(self._pending), blamed)

    # -- findings --------------------------------------------------------------------------------

    def _publish_steps(self, steps: Iterable[Step], live: AsOf) -> Iterator[Outcome]:
        last: dict[FindingKey, Step] = {}
        for item in steps:
            finding = item.finding
            last[finding.code, finding.facet, finding.business_key] = item
            self._mark_held(item)
            if item.name != "CHANGED" and self._speaks_for(item):
                yield from self._step(item, live)
        for key, item in last.items():
            if item.finding.is_open and self._speaks_for(item):
                row = publish(live, item.rule, item.finding, self.marks.now_us)
                yield from self._state(key, item, row)

    def _speaks_for(self, item: Step) -> bool:
        subject = next(iter(item.finding.members), item.finding.business_key)
        return self.is_home(item.rule.subject, subject)

    def _step(self, item: Step, live: AsOf) -> Iterator[Outcome]:
        finding = item.finding
        row = publish(live, item.rule, finding, self.marks.now_us)
        yield from self._state((finding.code, finding.facet, finding.business_key), item, row)
        event = step(finding, item.name, item.at, item.reason)
        yield Outcome(Output.FINDING_EVENTS, event["event_id"], event)

    def _state(self, key: FindingKey, item: Step, row: dict[str, Any]) -> Iterator[Outcome]:
        if {**row, "updated_at": 0} != {**item.finding.row, "updated_at": 0}:
            item.finding.row = row
            self.lives.dirty_findings.add(key)
            self.cells.give(("finding", *key), kpis.of_finding(row))
            if key in self._suppressed:  # which the row replaces: whether that still holds is said after it
                self._suppressed[key] = (self._suppressed[key][0], "")
            yield Outcome(Output.FINDING_STATE, row["finding_id"], row)

    def _mark_held(self, item: Step) -> None:
        if item.rule.subject == "entry":
            self._dirty_entries |= item.finding.members.keys()
            # The one that just left is no member any more, but its life named it: all of the group may change.
            if item.rule.grouped:
                first = next(iter(item.finding.members.values())).found
                self._dirty_entries |= self.facts.entries_on(first.project_code or "")
        elif item.rule.subject == "project":
            self._dirty_entries |= self.facts.entries_on(item.finding.business_key)

    # -- entries ---------------------------------------------------------------------------------

    def _publish_entries(self, live: AsOf) -> Iterator[Outcome]:
        dirty = sorted(self._dirty_entries)
        self._dirty_entries.clear()
        for key in dirty:
            entry = live.entry(key)
            if entry.seen:
                standing = self._standing(live, key, entry.project_code)
                if standing.pending is not (key in self._pending):
                    (self._pending.add if standing.pending else self._pending.discard)(key)
                    self._dirty_counts.add(("entry", key))
                yield from self._publish_rows(key, list(billing.rows(live, entry, standing)))

    def _standing(self, live: AsOf, key: str, project_code: str) -> billing.Standing:
        holds: set[str] = set()
        pending = False
        open_here = self.lives.open_on.get(key, set())
        for life_key in open_here:
            life = self.lives.lives[life_key]
            if life_key[3] == "entry" and life.rule.hold and (life.found.holds or self._group_holds(life_key)):
                holds.add(life.rule.hold)
        for lane in self.lives.by_subject.get("entry", ()):
            for rule in lane.rules:
                pending = pending or any(broke.holds and (rule.code, broke.facet, key, "entry") not in open_here
                                         for broke in rule.find(live, key))
        for life_key in self.lives.naming.get(key, ()):
            life = self.lives.lives[life_key]
            if life.rule.hold and life.found.holds:
                if life.is_open:
                    holds.add(life.rule.hold)
                else:
                    pending = True
        _, held, waits, lifted = self.standings.get(key, _FREE)
        if held:
            holds.add("H17")
        pending = pending or waits
        released = max((at for at in (lifted, self.lives.released.get(key)) if at is not None), default=None)
        for life_key in (key for code in self.facts.codes(project_code)
                         for key in self.lives.of_subject.get(("project", code), ())):
            if self.lives.lives[life_key].is_open:
                holds.add("H14")
            else:
                pending = True
        if not holds and not pending and self._waits_for(key).intersection(_GUARDED):
            holds.add("H19")
        return billing.Standing(billing.ordered(holds), pending, released)

    def _group_holds(self, life_key: tuple[str, str | None, str, str]) -> bool:
        """A rate that differs little holds its entries when the group's money is large."""
        life = self.lives.lives[life_key]
        if life.rule.code != "RATE_MISMATCH":
            return False
        group = self.lives.findings[life.rule.code, life.found.facet, life.found.business_key]
        limit: int = self.policy.rate_hold_major * 10 ** exponent(life.found.ccy or "XXX")
        return abs(group.impact_minor) > limit

    def _publish_rows(self, key: str, rows: list[dict[str, Any]]) -> Iterator[Outcome]:
        fresh = {(row["entry_key"], row["project_code"]): row for row in rows}
        codes = self._codes_on(key)
        if (self.rows.get(key), self._codes.get(key, [])) != (fresh, codes):
            self._codes[key] = codes
            self._dirty_counts.add(("entry", key))
        known = self.rows.setdefault(key, {})
        for place in [place for place in known if place not in fresh]:
            del known[place]
            self.cells.give(("entry", *place), {})
            self.cells.give(("exposure", *place), {})
            yield Outcome(Output.TIME_ENTRY_STATE, "|".join(place), None)
        for place, row in fresh.items():
            self.cells.give(("exposure", *place), kpis.exposure_of_entry(row, codes))
            before = known.get(place)
            if before != row:
                known[place] = row
                self.cells.give(("entry", *place), kpis.of_entry(row))
                now = self.marks.now_us
                yield Outcome(Output.TIME_ENTRY_STATE, "|".join(place), {**row, "updated_at": now, "version": now})
                yield from self._decide(row, before, now)

    def _codes_on(self, key: str) -> list[str]:
        """Codes of open differences that expose the entry's money; sorted."""
        codes = {life_key[0] for life_key in self.lives.open_on.get(key, ())
                 if life_key[3] == "entry" and life_key[0] not in kpis.OWN_MONEY}
        codes |= {"TIME_DUPLICATE"} if self.standings.get(key, _FREE)[1] else set()
        codes |= {life_key[0] for life_key in self.lives.naming.get(key, ()) if self.lives.lives[life_key].is_open}
        return sorted(codes)

    def _decide(self, row: dict[str, Any], before: dict[str, Any] | None, now: int) -> Iterator[Outcome]:
        if before and (before["state"], before["holds"], before["unbilled_minor"]) == (
                row["state"], row["holds"], row["unbilled_minor"]):
            return
        # Named by its frame: within one processing instant an entry may come back to where it was.
        event_id = str(uuid5(_NAMESPACE, f"{row['entry_key']}|{row['project_code']}|{self._frame}"))
        event = billing.decision(row, before["state"] if before else None, event_id, now)
        yield Outcome(Output.BILLING_DECISION, event_id, event)

    # -- assignments -----------------------------------------------------------------------------

    def _count_pairs(self, live: AsOf) -> None:
        """K13: weeks with firm staffing, and those that every required system agrees on."""
        for subject in sorted(self._dirty_pairs):
            counted = self._synchronised(live, subject)
            if counted != self._counted.get(subject):
                self._counted[subject] = counted
                self._dirty_counts.add(("pair", subject))
                self.cells.give(("pair", subject), counted)
        self._dirty_pairs.clear()

    def _synchronised(self, live: AsOf, subject: str) -> dict[Cell, Amount]:
        pair = live.pair(subject)
        if pair is None:
            return {}
        hard = [row for row in live.staffing(pair, "SCHED") if row.commit == "HARD"]
        project = live.project(pair[0])
        today = local_day(self.marks.now_us, live.legal_entity(project.get("le_code")).tz)
        compared = {week.monday: True for week in weeks(live, hard, [], window(today)) if week.left_s}
        for system in ("PSA", "ERP"):
            if system in self.marks.systems():
                there = [row for row in live.staffing(pair, system) if row.commit == "HARD"]
                for week in weeks(live, hard, there, window(today)):
                    if week.monday in compared and differs(live, week):
                        compared[week.monday] = False
        if not compared:
            return {}
        dims: dict[str, Any] = {"le_code": project.get("le_code"), "region": project.get("region"),
                "practice": project.get("practice"), "project_code": pair[0]}
        agreed = sum(compared.values())
        found = {Cell("assignment_sync_rate", "count", **dims): Amount(agreed, len(compared))}
        if agreed < len(compared):
            found[Cell("unsynchronised_assignments", "count", **dims)] = Amount(len(compared) - agreed)
        return found

    # -- changelog -------------------------------------------------------------------------------

    def progress(self) -> dict[str, Any]:
        """Counters that no fact can give back."""
        frontiers = [[[list(needs), list(minds)], subject, lane.frontier]
                     for (subject, needs, minds), lane in self.lives.lanes.items()]
        objects = [[*place, of_object.to_record()] for place, of_object in self.facts.objects.items()]
        return {"healed": self.lives.healed, "counts": self.counts, "frontiers": frontiers, "objects": objects,
                "suppressed": [[*key, *published] for key, published in self._suppressed.items()]}

    def restore(self, table: str, value: Any) -> None:
        """Take up a changelog row."""
        if table == "progress":
            self.lives.healed, self.counts = dict(value["healed"]), value["counts"]
            self._suppressed = {(code, facet, key): (name, said)
                                for code, facet, key, name, said in value["suppressed"]}
            self.facts.objects = {(entity, source): Object.from_record(said)
                                  for entity, source, said in value["objects"]}
            for (needs, minds), subject, frontier in value["frontiers"]:
                lane = self.lives.lanes.get((subject, tuple(needs), tuple(minds)))
                if lane:
                    lane.frontier = frontier
        elif table == "findings":
            kind, *row = value
            {"F": self.lives.restore_finding, "L": self.lives.restore_life, "R": self.lives.restore_release,
             "S": self._restore_standing}[kind](row)
        elif table == "counts":
            self._restore_counts(*value)
        else:
            self.facts.restore(value)

    def _restore_standing(self, row: list[Any]) -> None:
        self.standings[row[0]] = (row[1], row[2], row[3], row[4])

    def _restore_counts(self, kind: str, version: int, subject: str, dues: dict[str, list[int]], *said: Any) -> None:
        """Take up what was published of a subject; of another version nothing, so that it is worked out anew."""
        if version != billing.ROWS_VERSION:
            return
        self.lives.restore_dues(kind, subject, dues)
        if kind == "pair":
            counted = self._counted[subject] = {Cell(*cell): Amount(*amount) for cell, amount in said[0]}
            self.cells.give(("pair", subject), counted)
            return
        pending, codes, rows = said
        if pending:
            self._pending.add(subject)
        if codes:
            self._codes[subject] = codes
        known = self.rows[subject] = {}
        for values in rows:
            place = (values[0], values[1])
            row = known[place] = dict(zip(billing.ROW_COLUMNS, values, strict=True))
            self.cells.give(("entry", *place), kpis.of_entry(row))
            if codes:
                self.cells.give(("exposure", *place), kpis.exposure_of_entry(row, codes))

    def restored(self) -> None:
        """Rebuild indexes, due points and cells; nothing of it is news.

        Rows and counts are those that were published. What an older changelog does not have is worked out.
        """
        self.facts.reindex(self._horizon())
        self.lives.reindex()
        self._unknown = Unknown.of(self.facts, self._bearing)
        self._stale = self._waited_for()
        self._day = local_day(self.marks.now_us) if self.marks.now_us != NEVER else None
        live = self._world(FOREVER, self.marks.now_us)
        self._dirty_entries = self._unpublished()
        self._dirty_pairs = self._pairs() - self._counted.keys()
        self._requeue({"entry": self._dirty_entries, "pair": self._dirty_pairs})
        for key, finding in self.lives.findings.items():
            if finding.row:
                self.cells.give(("finding", *key), kpis.of_finding(finding.row))
        for _ in self._publish_entries(live):
            pass
        self._count_pairs(live)
        self._count_cost(live)
        for who, contribution in kpis.of_counts(self.counts, self.lives.healed):
            self.cells.give(who, contribution)
        self.cells.forget_changes()

    def _unpublished(self) -> set[str]:
        """After a restore, entries of which the changelog does not say what was published."""
        return self.facts.entries - self.rows.keys()

    def _requeue(self, unknown: Mapping[str, set[str]]) -> None:
        """Points that had not been looked at: commits and dues after each lane's frontier.

        A lane that may not even go where it has been holds what came late for it: all of its subjects are looked at.
        `unknown`: subjects by kind of which no due points are remembered.
        """
        held_up = self.lives.held_up(self.marks, self._unknown)
        passed = {kind: min(NEVER if lane in held_up else lane.frontier for lane in lanes)
                  for kind, lanes in self.lives.by_subject.items()}
        passed["entry"] = min(passed.get(kind, FOREVER) for kind in ("entry", "day"))  # days are made of entries
        behind = {entity: min((passed.get(kind, FOREVER) for kind in kinds), default=FOREVER)
                  for entity, kinds in affected.KINDS.items()}
        for (entity, _), record in self.facts.records.items():
            horizon = behind.get(entity, FOREVER)
            if commits := {version.commit_us for version in record.versions() if version.commit_us > horizon}:
                for kind, subject in self._bearing(affected.of_versions(self.facts, record)):
                    if kind == "project" or self.is_home(kind, subject):
                        for lane in self.lives.by_subject.get(kind, ()):
                            for commit in commits:
                                if commit > lane.frontier or lane in held_up:
                                    lane.push(commit, subject)
        self.lives.requeue_dues()
        for lane in self.lives.lanes.values():
            for rule in lane.rules:
                if rule.due and lane.frontier != NEVER:
                    world = self._world(lane.frontier)
                    for subject in sorted(unknown.get(lane.subject, ())):
                        for instant in rule.due(world, subject):
                            if instant > lane.frontier:
                                lane.push(instant, subject)

    def _pairs(self) -> set[str]:
        """Pairs that this partition speaks for."""
        found = {subject for pair in self.facts.assignments for subject in affected.of_pair(self.facts, pair)}
        return {subject for kind, subject in found if kind == "pair" and self.is_home(kind, subject)}

    def _horizon(self) -> int:
        """The instant that every lane has passed."""
        return min((lane.frontier for lane in self.lives.lanes.values()), default=NEVER)

    def drain(self) -> Iterator[tuple[str, str, Any]]:
        """Changelog rows since the last drain; histories are folded as far as nobody looks back."""
        horizon = self._horizon()
        for identity in sorted(self._dirty_records):
            record = self.facts.records[identity]
            for history in record.histories.values():
                history.fold(horizon)
            yield TABLE_OF[record.entity], "|".join(identity), record.to_record()
        for key, row in self.lives.drain_lives():
            yield "findings", "L|" + "|".join(part or "" for part in key), row and ["L", *row]
        for found in sorted(self.lives.dirty_findings, key=repr):
            name = "F|" + "|".join(part or "" for part in found)
            yield "findings", name, ["F", *self.lives.finding_record(found)]
        for kind, subject in sorted(self._dirty_counts | self.lives.dirty_dues):
            if subject in (self.rows if kind == "entry" else self._counted):
                yield "counts", f"{kind}|{subject}", self._counts_record(kind, subject)
        for entry in sorted(self.lives.dirty_released):
            yield "findings", f"R|{entry}", ["R", entry, self.lives.released[entry]]
        for entry in sorted(self._dirty_standings):
            yield "findings", f"S|{entry}", ["S", entry, *self.standings[entry]]
        self._dirty_standings.clear()
        self.lives.dirty_released.clear()
        self.facts.forget(horizon)
        self._dirty_records.clear()
        self._dirty_counts.clear()
        self.lives.dirty_dues.clear()
        self.lives.dirty_findings.clear()

    def _counts_record(self, kind: str, subject: str) -> list[Any]:
        """What was published of a subject, as JSON: a restore then need not work it out again."""
        head = [kind, billing.ROWS_VERSION, subject, self.lives.dues.get((kind, subject), {})]
        if kind == "pair":
            return [*head, [[list(cell), list(amount)] for cell, amount in self._counted[subject].items()]]
        rows = [[row[column] for column in billing.ROW_COLUMNS] for row in self.rows[subject].values()]
        return [*head, subject in self._pending, self._codes.get(subject, []), rows]
