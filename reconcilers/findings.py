"""A finding: its identity, episodes, severity, owner and wording. What opens and closes it is in `lives.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

from tieout.reconcilers.asof import AsOf
from tieout.reconcilers.deadlines import Grace, at_cutoff
from tieout.reconcilers.quantities import exponent

_NAMESPACE: Final = uuid5(NAMESPACE_URL, "tieout:finding")
_MAX_ENTRIES: Final = 50
_SMALL_MAJOR: Final = 100  # an impact below this many major units lowers the severity


class Severity(IntEnum):
    """How urgent: 1 to 4."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


class Side(NamedTuple):
    """One side of a comparison: the system and its word, as text."""

    system: str
    value: str | None


class Break(NamedTuple):
    """What a rule found on one subject: enough to open, value, route and word a finding."""

    facet: str | None
    business_key: str
    grace: Grace
    explanation: str
    entity: str
    left: Side
    right: Side
    project_code: str | None = None
    impact_s: int = 0
    impact_minor: int = 0
    ccy: str | None = None
    estimated: bool = False
    holds: bool = False  # blocks billing of the entry
    attribute: str | None = None
    le_code: str | None = None
    cycle: str | None = None
    worker_no: str | None = None
    urgent: bool = False  # one step more severe than the base
    queue: str | None = None  # overrides the rule's function
    base: int | None = None  # overrides the rule's severity
    entries: tuple[str, ...] = ()  # the time entries that it names and holds, where the subject is none itself

    def to_record(self) -> list[Any]:
        """A JSON list; `from_record` is its inverse."""
        return [list(part) if isinstance(part, tuple) else part for part in self]

    @classmethod
    def from_record(cls, value: list[Any]) -> Break:
        """The break that `to_record` wrote."""
        broke = cls(*value)
        return broke._replace(grace=Grace(*broke.grace), left=Side(*broke.left), right=Side(*broke.right),
                              entries=tuple(broke.entries))


@dataclass(frozen=True, slots=True)
class Rule:
    """One check of the catalogue over one kind of subject.

    `needs` are systems whose watermarks prove it and without which it stays silent; `minds` are systems that it waits
    for where the firm has them. `find` returns the breaks of a subject as of an instant.
    """

    code: str
    check_no: str
    subject: str  # entry, pair, work, project, opportunity, card, invoice
    needs: tuple[str, ...]
    find: Callable[[AsOf, str], Iterable[Break]]
    base: Severity
    queue: str
    minds: tuple[str, ...] = ()
    hold: str | None = None
    structural: bool = False
    restarts: bool = False  # the grace begins again with each change of the evidence
    grouped: bool = False  # the business key is the subject of the grace: who joins an open group is open at once
    due: Callable[[AsOf, str], Iterable[int]] | None = None  # instants at which time alone may change the answer


@dataclass(slots=True)
class Life:
    """A break on one subject over time: pending until its deadline, then open as a member of its finding."""

    rule: Rule
    subject: str
    found: Break
    onset: int
    deadline: int
    is_open: bool = False


@dataclass(slots=True)
class Finding:
    """A finding and its members."""

    code: str
    facet: str | None
    business_key: str
    episode: int = 0
    occurrences: int = 0
    status: str = ""
    onset: int = 0
    deadline: int = 0
    opened_at: int | None = None
    resolved_at: int | None = None
    resolution: str | None = None
    row: Mapping[str, Any] = field(default_factory=dict)  # as last published
    members: dict[str, Life] = field(default_factory=dict)
    left_at: int = 0  # the instant at which the members in `left` left: if it closes then, they are its last ones
    left: dict[str, Life] = field(default_factory=dict)

    @property
    def finding_id(self) -> str:
        """Its identity: no amount, no instant."""
        return str(identity(self.code, self.business_key, self.facet, self.episode))

    @property
    def is_open(self) -> bool:
        """Whether somebody still has to act."""
        return self.status in ("OPEN", "ACK")

    @property
    def impact_minor(self) -> int:
        """Signed sum over the members."""
        return sum(life.found.impact_minor for life in self.members.values())


def identity(code: str, business_key: str, facet: str | None, episode: int) -> UUID:
    """The finding's id, equal wherever and whenever it is found."""
    return uuid5(_NAMESPACE, f"{code}|{business_key}|{facet or ''}|{episode}")


def severity(world: AsOf, rule: Rule, finding: Finding) -> Severity:
    """Base, raised by materiality, by blocking at a cutoff and by the rule itself, lowered when small."""
    first = finding.members[min(finding.members)].found
    entity = world.legal_entity(first.le_code)
    project = world.project(first.project_code) if first.project_code else {}
    impact = abs(finding.impact_minor)
    grade = (first.base or int(rule.base)) + (1 if first.urgent else 0)
    if impact >= entity.materiality_minor:
        grade += 1
    if any(life.found.holds for life in finding.members.values()) and at_cutoff(world, project, finding.deadline):
        grade += 1
    if not rule.structural and impact < _SMALL_MAJOR * 10 ** exponent(first.ccy or "XXX"):
        grade -= 1
    return Severity(max(1, min(4, grade)))


def region_of(world: AsOf, function: str, found: Break) -> str:
    """The region that the queue's function is organised by (domain model, section 3.0)."""
    project = world.project(found.project_code) if found.project_code else {}
    if function == "platform":
        return "global"
    if function == "pmo":
        return str(project.get("region") or world.legal_entity(found.le_code).region)
    if function in ("resource-mgmt", "hr-ops"):
        record = world.facts.get("resource", found.worker_no) if found.worker_no else None
        known = (world.merged(record) if record else None) or {}
        return str(known.get("home_region") or project.get("region") or world.policy.default_region)
    return world.legal_entity(found.le_code).region


def publish(world: AsOf, rule: Rule, finding: Finding, now: int) -> dict[str, Any]:
    """The finding as a row of `finding.state`."""
    lives = [finding.members[name] for name in sorted(finding.members)]
    first = lives[0].found
    project = world.project(first.project_code) if first.project_code else {}
    function = first.queue or rule.queue
    region = region_of(world, function, first)
    cycles = {life.found.cycle for life in lives}
    entries = sorted({key for life in lives for key in life.found.entries or (life.subject,)})
    return {
        "finding_id": finding.finding_id, "code": finding.code, "check_no": rule.check_no, "facet": finding.facet,
        "entity": first.entity, "business_key": finding.business_key, "attribute": first.attribute,
        "systems": "|".join(dict.fromkeys((first.left.system, first.right.system))),
        "episode": finding.episode, "occurrences": finding.occurrences, "status": finding.status,
        "severity": severity(world, rule, finding).name, "queue": f"{function}.{region.lower()}", "region": region,
        "le_code": first.le_code or project.get("le_code"), "practice": project.get("practice"),
        "project_code": first.project_code, "billing_cycle_id": cycles.pop() if len(cycles) == 1 else None,
        "impact_s": sum(life.found.impact_s for life in lives), "impact_minor": finding.impact_minor,
        "currency": first.ccy, "estimated": any(life.found.estimated for life in lives),
        "left_system": first.left.system, "left_value": first.left.value,
        "right_system": first.right.system, "right_value": first.right.value,
        "owner_system": first.left.system, "onset_at": finding.onset, "deadline_at": finding.deadline,
        "opened_at": finding.opened_at, "resolved_at": finding.resolved_at, "resolution": finding.resolution,
        "entries_count": len(entries), "entries": "|".join(entries[:_MAX_ENTRIES]),
        "explanation": _explain(lives), "rule_version": world.policy.rule_version, "updated_at": now,
    }


def _explain(lives: list[Life]) -> str:
    first = lives[0].found.explanation
    return first if len(lives) == 1 else f"{first} And {len(lives) - 1} more like it."


def step(finding: Finding, name: str, at: int, reason: str | None, actor: str = "tieout") -> dict[str, Any]:
    """One step of the finding's life as a row of `finding.events`."""
    row = finding.row
    return {
        "event_id": str(uuid5(_NAMESPACE, f"{finding.finding_id}|{finding.occurrences}|{name}|{at}")),
        "finding_id": finding.finding_id, "code": finding.code, "facet": finding.facet,
        "business_key": finding.business_key, "episode": finding.episode, "step": name, "status": finding.status,
        "at": at, "actor": actor, "reason": reason, "impact_s": row["impact_s"], "impact_minor": row["impact_minor"],
        "currency": row["currency"], "queue": row["queue"],
    }
