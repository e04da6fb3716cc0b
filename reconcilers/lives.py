"""The life of a difference: pending, healed or open, resolved. In the order of source commit time, not of arrival.

A lane is a set of input systems with one frontier: the commit instant up to which all of them have been delivered.
When it moves, subjects are looked at as of each instant in between at which something about them changed or fell
due, oldest first. So what opens does not depend on which stream was faster, and absence is proved, not guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Final, NamedTuple

from tieout.reconcilers.asof import AsOf
from tieout.reconcilers.changes import NEVER
from tieout.reconcilers.deadlines import deadline
from tieout.reconcilers.findings import Break, Finding, Life, Rule
from tieout.reconcilers.timeline import DAY, FOREVER
from tieout.reconcilers.unknown import Unknown
from tieout.reconcilers.watermarks import Watermarks

NOTHING_UNKNOWN: Final = Unknown()
_WORLDS_KEPT: Final = 1_000
Worlds = Callable[[int], AsOf]  # the world as of an instant
LifeKey = tuple[str, str | None, str, str]  # code, facet, subject, rule's subject kind
LaneKey = tuple[str, tuple[str, ...], tuple[str, ...]]  # kind of subject, systems it needs, systems it minds
FindingKey = tuple[str, str | None, str]  # code, facet, business key


@dataclass
class Lane:
    """Rules over one kind of subject that wait for the same systems."""

    subject: str
    rules: list[Rule] = field(default_factory=list)
    frontier: int = NEVER
    due: list[tuple[int, str]] = field(default_factory=list)  # heap
    queued: set[tuple[int, str]] = field(default_factory=set)

    def push(self, instant: int, subject: str) -> None:
        """Look at the subject as of the instant, or now if the lane has passed it."""
        point = (max(instant, self.frontier), subject)
        if point not in self.queued:
            self.queued.add(point)
            heappush(self.due, point)

    def pop_until(self, frontier: int) -> Iterator[tuple[int, str]]:
        """Points that have fallen due, oldest first; more may be pushed meanwhile."""
        while self.due and self.due[0][0] <= frontier:
            point = heappop(self.due)
            self.queued.discard(point)
            yield point


class _Kept(dict[int, AsOf]):
    """Worlds by instant, for as long as no fact changes: lanes of one subject look at the same instants."""

    def __init__(self, world_at: Worlds) -> None:
        super().__init__()
        self._world_at = world_at

    def __missing__(self, instant: int) -> AsOf:
        if len(self) >= _WORLDS_KEPT:
            self.clear()
        world = self[instant] = self._world_at(instant)
        return world


class Step(NamedTuple):
    """Something that happened to a finding, to be published."""

    rule: Rule
    finding: Finding
    name: str
    at: int
    reason: str | None


class Lives:
    """All lives and findings of one partition."""

    def __init__(self, rules: Iterable[Rule], is_home: Callable[[str, str], bool] = lambda kind, subject: True) -> None:
        self.is_home = is_home
        self.lanes: dict[LaneKey, Lane] = {}
        for rule in rules:
            place = (rule.subject, rule.needs, rule.minds)
            self.lanes.setdefault(place, Lane(rule.subject)).rules.append(rule)
        self.by_subject: dict[str, list[Lane]] = {}
        for lane in self.lanes.values():
            self.by_subject.setdefault(lane.subject, []).append(lane)
        self.rules = {(rule.code, rule.subject): rule for lane in self.lanes.values() for rule in lane.rules}
        self.lives: dict[LifeKey, Life] = {}
        self.findings: dict[FindingKey, Finding] = {}
        self.groups: dict[FindingKey, dict[str, Life]] = {}  # pending or open, by subject
        self.open_on: dict[str, set[LifeKey]] = {}  # subject -> its open lives
        self.of_subject: dict[tuple[str, str], set[LifeKey]] = {}  # (kind, subject) -> its lives
        self._unknown = NOTHING_UNKNOWN
        self.naming: dict[str, set[LifeKey]] = {}  # entry -> lives on other subjects that name it, pending or open
        self.renamed: set[str] = set()  # entries that came to be named, or are no longer, or whose holds may differ
        self.released: dict[str, int] = {}  # entry -> when the last hold on it was lifted
        self.healed: dict[str, int] = {}  # code -> differences that healed within their grace
        self.dirty_lives: set[LifeKey] = set()
        self._written: set[LifeKey] = set()  # lives that the changelog has a row of
        self.dirty_findings: set[FindingKey] = set()
        self.dues: dict[tuple[str, str], dict[str, tuple[int, ...]]] = {}  # (kind, subject) -> code -> instants to come
        self.dirty_dues: set[tuple[str, str]] = set()
        self.dirty_released: set[str] = set()

    def touch(self, kind: str, subject: str, instant: int) -> None:
        """Something about the subject changed at the instant."""
        for lane in self.by_subject.get(kind, ()):
            lane.push(instant, subject)

    def frontier_of(self, lane_key: LaneKey, marks: Watermarks) -> int:
        """How far the lane may look: all systems that it needs, and those that it minds and the firm has."""
        subject, needs, minds = lane_key
        have = marks.systems()
        if subject == "pair" and marks.awaits("HCM"):
            return NEVER  # plans are expanded through its calendars: not before they have been delivered once
        if not have.issuperset(needs):
            return NEVER
        wanted = [*needs, *(system for system in minds if system in have)]
        return min(marks.frontier(wanted), marks.now_us) if wanted else NEVER

    def _reach(self, lane_key: LaneKey, marks: Watermarks, unknown: Unknown) -> int:
        """The same, less what lies behind a gap."""
        return unknown.frontier({*lane_key[1], *lane_key[2]}, lane_key[0], self.frontier_of(lane_key, marks))

    def held_up(self, marks: Watermarks, unknown: Unknown) -> list[Lane]:
        """Lanes that may not go as far as they have been: a gap came late, or a source did."""
        return [lane for lane_key, lane in self.lanes.items() if self._reach(lane_key, marks, unknown) < lane.frontier]

    def advance(self, marks: Watermarks, world_at: Worlds, unknown: Unknown = NOTHING_UNKNOWN) -> Iterator[Step]:
        """Move every lane to its frontier; what opens, changes or resolves on the way, as it happens.

        A finding may go through two episodes on the way: its state is that of the step until the next one is asked for.
        """
        self._unknown = unknown
        worlds = _Kept(world_at)
        for lane_key, lane in self.lanes.items():
            systems = {*lane_key[1], *lane_key[2]}
            frontier = self._reach(lane_key, marks, unknown)
            if frontier < lane.frontier or frontier <= NEVER:
                continue
            for instant, subject in lane.pop_until(frontier):
                known = unknown.known(systems, lane.subject, subject, instant)
                if known > instant:
                    if known < FOREVER:  # else the version that ends the gap will bring the subject back
                        lane.push(known, subject)
                    continue
                lane.frontier = instant  # what is pushed meanwhile is looked at from here on, never earlier
                world = worlds[instant]
                for rule in lane.rules:
                    yield from self._look(rule, subject, world, lane, marks, systems)
            lane.frontier = frontier

    def _look(self, rule: Rule, subject: str, world: AsOf, lane: Lane, marks: Watermarks,
              systems: set[str]) -> Iterator[Step]:
        before = [key for key in self.of_subject.get((rule.subject, subject), ())
                  if key[0] == rule.code and self.lives[key].rule is rule]
        world.onsets = {key[:3]: self.lives[key].onset for key in before}
        found = {broke.facet: broke for broke in rule.find(world, subject)}
        for key in sorted(before, key=repr):
            broke = found.get(key[1])
            if broke is None or broke.business_key != self.lives[key].found.business_key:
                yield from self._end(key, world.instant)
        for facet, broke in found.items():
            yield from self._go_on((rule.code, facet, subject, rule.subject), rule, broke, world, lane, marks, systems)
        if rule.due:
            dues = {instant for instant in rule.due(world, subject) if instant > world.instant}
            for instant in dues:
                lane.push(instant, subject)
            self._note_dues(rule, subject, dues, world.instant)

    def _note_dues(self, rule: Rule, subject: str, dues: set[int], now: int) -> None:
        """Remember what is due: a restore would have to ask every rule about every subject."""
        place = (rule.subject, subject)
        known = self.dues.get(place, {}).get(rule.code, ())
        left = tuple(sorted(dues.union(instant for instant in known if instant > now)))
        if left != known:
            self.dues.setdefault(place, {})[rule.code] = left
            self.dirty_dues.add(place)

    def restore_dues(self, kind: str, subject: str, dues: Mapping[str, Iterable[int]]) -> None:
        """Take up what was remembered of a subject; `requeue_dues` puts it to work."""
        if dues:
            self.dues[kind, subject] = {code: tuple(instants) for code, instants in dues.items()}

    def requeue_dues(self) -> None:
        """After the last row, when the frontiers are known: look again where something is due."""
        for (kind, subject), by_code in self.dues.items():
            for lane in self.by_subject.get(kind, ()):
                for rule in lane.rules:
                    for instant in by_code.get(rule.code, ()) if rule.due else ():
                        if instant > lane.frontier:
                            lane.push(instant, subject)

    def _go_on(self, key: LifeKey, rule: Rule, broke: Break, world: AsOf, lane: Lane, marks: Watermarks,
               systems: set[str]) -> Iterator[Step]:
        now = world.instant
        life = self.lives.get(key)
        if life is None:
            onset, until = self._group_clock(rule, broke) or (now, self._deadline(world, broke, now))
            life = self._begin(key, Life(rule, key[2], broke, onset, until))
            lane.push(life.deadline, life.subject)
        elif rule.restarts and not life.is_open and now < life.deadline and self._changed(rule, world, life):
            life.onset, life.deadline = now, self._deadline(world, broke, now)
            lane.push(life.deadline, life.subject)
            self.dirty_lives.add(key)
        if life.found != broke:
            self._name(key, life.found.entries, broke.entries)
            life.found = broke
            self.dirty_lives.add(key)
            if life.is_open:
                yield self._step(life, "CHANGED", now, None)
        if not life.is_open and now >= life.deadline:
            proved = self._unknown.known(systems, lane.subject, life.subject, life.deadline)
            yield self._open(key, life, world, marks.passed_at(systems, min(proved, now)))

    def _group_clock(self, rule: Rule, broke: Break) -> tuple[int, int] | None:
        """Onset and deadline of the group that the break joins, if there is one."""
        group = self.groups.get((rule.code, broke.facet, broke.business_key)) if rule.grouped else None
        first = next(iter(group.values()), None) if group else None
        return (first.onset, first.deadline) if first else None

    def _changed(self, rule: Rule, world: AsOf, life: Life) -> bool:
        """Whether the evidence has a version committed exactly now, after the onset."""
        return world.instant > life.onset and world.instant in world.evidence_commits(life.subject)

    def _deadline(self, world: AsOf, broke: Break, onset: int) -> int:
        project = world.project(broke.project_code) if broke.project_code else {}
        return deadline(world, broke.grace, onset, project)

    def _begin(self, key: LifeKey, life: Life) -> Life:
        self.lives[key] = life
        self.of_subject.setdefault((key[3], key[2]), set()).add(key)
        self.groups.setdefault((key[0], key[1], life.found.business_key), {})[life.subject] = life
        self._name(key, (), life.found.entries)
        self.dirty_lives.add(key)
        return life

    def _name(self, key: LifeKey, before: tuple[str, ...], after: tuple[str, ...]) -> None:
        """Keep track of which entries a life names."""
        for entry in before:
            self.naming[entry].discard(key)
        for entry in after:
            self.naming.setdefault(entry, set()).add(key)
        self.renamed.update(before, after)

    def _finding(self, life: Life) -> tuple[FindingKey, Finding]:
        key = (life.rule.code, life.found.facet, life.found.business_key)
        finding = self.findings.get(key)
        if finding is None:
            finding = self.findings[key] = Finding(*key)
        self.dirty_findings.add(key)
        return key, finding

    def _step(self, life: Life, name: str, at: int, reason: str | None) -> Step:
        _, finding = self._finding(life)
        return Step(life.rule, finding, name, at, reason)

    def _open(self, key: LifeKey, life: Life, world: AsOf, opened_at: int) -> Step:
        life.is_open = True
        self.renamed.update(life.found.entries)
        self.dirty_lives.add(key)
        self.open_on.setdefault(life.subject, set()).add(key)
        _, finding = self._finding(life)
        name = "CHANGED" if finding.is_open else self._open_finding(finding, life, world, opened_at)
        finding.members[life.subject] = life
        finding.onset = min(finding.onset, life.onset)
        finding.deadline = min(finding.deadline, life.deadline)
        finding.opened_at = min(finding.opened_at or opened_at, opened_at)
        return Step(life.rule, finding, name, opened_at, None)

    def _open_finding(self, finding: Finding, life: Life, world: AsOf, opened_at: int) -> str:
        again = finding.resolved_at is not None and (
            life.deadline - finding.resolved_at <= world.policy.flap_days * DAY)
        if again:
            finding.occurrences += 1
        else:
            finding.episode, finding.occurrences = finding.episode + 1, 1
            finding.onset, finding.deadline, finding.opened_at = life.onset, life.deadline, opened_at
        finding.status, finding.resolved_at, finding.resolution = "OPEN", None, None
        finding.members.clear()
        return "REOPENED" if again else "OPENED"

    def _end(self, key: LifeKey, at: int) -> Iterator[Step]:
        life = self.lives.pop(key)
        self._name(key, life.found.entries, ())
        self.of_subject[key[3], key[2]].discard(key)
        group = self.groups[key[0], key[1], life.found.business_key]
        del group[life.subject]
        if not group:
            del self.groups[key[0], key[1], life.found.business_key]
        self.dirty_lives.add(key)
        if not life.is_open:
            if self.is_home(key[3], key[2]):
                self.healed[life.rule.code] = self.healed.get(life.rule.code, 0) + 1
            return
        self.open_on[life.subject].discard(key)
        if life.rule.hold and life.found.holds:
            self.release(life.found.entries or ((life.subject,) if key[3] == "entry" else ()), at)
        _, finding = self._finding(life)
        if finding.left_at != at:
            finding.left_at, finding.left = at, {}
        if len(finding.members) > 1:
            finding.left[life.subject] = finding.members.pop(life.subject)
            yield Step(life.rule, finding, "CHANGED", at, None)
        else:
            finding.status, finding.resolved_at = "RESOLVED_AUTO", at
            finding.resolution = "the systems agree again"
            finding.members |= finding.left
            yield Step(life.rule, finding, "RESOLVED_AUTO", at, finding.resolution)

    def release(self, entries: Iterable[str], at: int) -> None:
        """A hold on the entries was lifted."""
        for entry in entries:
            self.released[entry] = max(at, self.released.get(entry, at))
            self.dirty_released.add(entry)
            self.renamed.add(entry)

    # -- changelog -------------------------------------------------------------------------------

    def drain_lives(self) -> Iterator[tuple[LifeKey, list[Any] | None]]:
        """Lives that changed since the last call, as JSON; None for one that has ended and that was written before.

        Most differences heal before a checkpoint sees them: nothing is written of these, not even a deletion.
        """
        ended = self.dirty_lives - self.lives.keys()
        for key in sorted(self.dirty_lives - (ended - self._written), key=repr):
            yield key, None if key in ended else self._record(key, self.lives[key])
        self._written = (self._written | self.dirty_lives) - ended
        self.dirty_lives.clear()

    def _record(self, key: LifeKey, life: Life) -> list[Any]:
        return [*key, life.found.to_record(), life.onset, life.deadline, life.is_open]

    def finding_record(self, key: FindingKey) -> list[Any]:
        """A finding as JSON; its members are in the lives."""
        f = self.findings[key]
        return [*key, f.episode, f.occurrences, f.status, f.onset, f.deadline, f.opened_at, f.resolved_at, f.resolution,
                dict(f.row)]

    def restore_life(self, value: list[Any]) -> None:
        """Take up what `drain_lives` wrote."""
        code, facet, subject, kind, found, onset, until, is_open = value
        if (code, kind) not in self.rules:
            return  # the firm has switched the check off since
        broke = Break.from_record(found)
        rule = self._rule_of(code, kind, facet)
        self._written.add(key := (code, facet, subject, kind))
        self._begin(key, Life(rule, subject, broke, onset, until, is_open))

    def restore_finding(self, value: list[Any]) -> None:
        """Take up what `finding_record` wrote."""
        finding = Finding(*value)
        self.findings[finding.code, finding.facet, finding.business_key] = finding

    def restore_release(self, value: list[Any]) -> None:
        """Take up an entry and when the last hold on it was lifted."""
        entry, at = value
        self.released[entry] = at

    def reindex(self) -> None:
        """After the last row: members, open subjects and due points follow from the lives."""
        for key, life in self.lives.items():
            if life.is_open:
                self.open_on.setdefault(life.subject, set()).add(key)
                self.findings[key[0], key[1], life.found.business_key].members[life.subject] = life
            else:
                for lane in self.by_subject[key[3]]:
                    if life.rule in lane.rules:
                        lane.push(life.deadline, life.subject)
        self.dirty_lives.clear()
        self.dirty_findings.clear()

    def _rule_of(self, code: str, kind: str, facet: str | None) -> Rule:
        same = [rule for lane in self.by_subject[kind] for rule in lane.rules if rule.code == code]
        return next((rule for rule in same if facet in rule.needs), same[0]) if len(same) > 1 else same[0]
