"""Which rate prices an hour: nine levels, effective-dated, explained down to the candidates.

Levels (domain model, section 1.6): 1 approved override of the entry, 2 assignment or contract line, 3 contract and
worker, 4 project or contract and role, 5 customer and role, 6 legal entity and practice, 7 practice, 8 the group's
list, 9 the worker's default. The lowest level wins; inside it the row that matches most dimensions; levels 8 and 9
are reference rates that bill only by policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tieout.reconcilers.asof import AsOf, Entry, Staffing
from tieout.reconcilers.facts import Pair
from tieout.reconcilers.quantities import Rate
from tieout.reconcilers.timeline import FOREVER
from tieout.reconcilers.views import Record

LIST_LEVEL = 8


class Candidate(NamedTuple):
    """A rate row that could price the work."""

    ref: str  # rate_id, or "assignment:<subject>"
    level: int
    scope_key: str
    rate: Rate
    matched: int  # dimensions beyond the scope that the row names and the work has
    effective_from: int
    systems: tuple[str, ...]  # who asserts it
    role_code: str | None


class Question(NamedTuple):
    """What a rate is asked for."""

    pair: Pair
    role: str | None
    time_type: str | None
    work_date: int
    ccy: str | None
    override: str | None = None  # entry key, for level 1
    assignment: str | None = None  # the assignment that the entry names


@dataclass(frozen=True, slots=True)
class Resolution:
    """The answer: the rate, where it comes from, and why there is none."""

    rate: Rate | None
    ref: str | None
    level: int | None
    basis_date: int
    problem: str | None  # NO_MATCH, ZERO, EXPIRED or CURRENCY; None if there is a rate
    ambiguous: bool
    candidates: tuple[Candidate, ...]  # all rows that match on the basis date, best first
    estimate: Rate | None  # the list's rate where nothing bills
    row: Candidate | None = None


def question_of(entry: Entry, world: AsOf) -> Question:
    """What to ask for a time entry."""
    line = world.contract_line(entry.project, entry.work_date)
    return Question(
        (entry.project_code, entry.worker_no or ""), entry.merged.get("role_code"), entry.merged.get("time_type"),
        entry.work_date or 0, line.get("ccy") or entry.project.get("ccy"), entry.key, entry.merged.get("assignment_id"),
    )


def resolve(world: AsOf, ask: Question, kind: str = "BILL") -> Resolution:
    """The rate for the question as of the world's instant."""
    if ask.override and (1, ask.override) not in world.facts.rates:
        ask = ask._replace(override=None)  # most have none: equal questions then share their answer
    place = ("resolved", ask, kind)
    found: Resolution | None = world.memory.get(place)
    if found is None:
        found = world.memory[place] = _resolve(world, ask, kind)
    return found


def _resolve(world: AsOf, ask: Question, kind: str) -> Resolution:
    project = world.project(ask.pair[0])
    line = world.contract_line(project, ask.work_date)
    staffing = _staffing(world, ask)
    basis = _basis_date(line, staffing, ask)
    rows = [row for level, scope in _scopes(ask, project, line, staffing)
            for row in _rows(world, level, scope, ask, kind)]
    if kind == "BILL":
        rows += _assignment_rates(world, staffing)
    current = _in_force(rows, basis)
    owner = world.policy.ownership.owner("rate", "rate")
    candidates = sorted((row.candidate for row in _owned(current, owner)),
                        key=lambda row: (row.level, -row.matched, row.rate.per_hour_e6(), row.ref))
    return _choose(world, ask, basis, candidates, rows)


class _Row(NamedTuple):
    candidate: Candidate
    effective_to: int


def _choose(world: AsOf, ask: Question, basis: int, candidates: list[Candidate], rows: list[_Row]) -> Resolution:
    billing = [row for row in candidates if row.level < LIST_LEVEL or world.policy.bill_from_list]
    priced = [row for row in billing if ask.ccy is None or row.rate.ccy == ask.ccy]
    estimate = next((row.rate for row in candidates if row.level >= LIST_LEVEL and row.rate.rate_e6
                     and ask.ccy in (None, row.rate.ccy)), None)
    if not priced:
        problem = "CURRENCY" if billing else "EXPIRED" if _expired(rows, basis, world) else "NO_MATCH"
        return Resolution(None, None, None, basis, problem, False, tuple(candidates), estimate)
    best = [row for row in priced if (row.level, row.matched) == (priced[0].level, priced[0].matched)]
    ambiguous = len({row.rate.per_hour_e6() for row in best}) > 1
    taken = best[0]  # the lowest value comes first: what is ambiguous is valued with care
    if taken.rate.rate_e6 == 0:
        return Resolution(None, taken.ref, taken.level, basis, "ZERO", ambiguous, tuple(candidates), estimate, taken)
    return Resolution(taken.rate, taken.ref, taken.level, basis, None, ambiguous, tuple(candidates), estimate, taken)


def tied(found: Resolution) -> list[Candidate]:
    """Candidates that match as well as the one that was taken, the lowest rate first."""
    taken = found.row
    return [] if taken is None else [row for row in found.candidates if (row.level, row.matched, row.rate.ccy) == (
        taken.level, taken.matched, taken.rate.ccy)]


def _expired(rows: list[_Row], basis: int, world: AsOf) -> bool:
    return any(row.effective_to <= basis and (row.candidate.level < LIST_LEVEL or world.policy.bill_from_list)
               for row in rows)


def _staffing(world: AsOf, ask: Question) -> list[Staffing]:
    """The assignments that may price the work: the one it names, else those that hold its day."""
    found = {row.key: row for system in ("SCHED", "PSA") for row in world.staffing(ask.pair, system)}
    if ask.assignment and ask.assignment in found:
        return [found[ask.assignment]]
    return [row for row in found.values() if row.days.holds(ask.work_date)
            and (ask.role is None or row.attributes.get("role_code") in (None, ask.role))]


def _basis_date(line: Mapping[str, Any], staffing: list[Staffing], ask: Question) -> int:
    basis = line.get("rate_basis")
    if basis == "ASSIGNMENT_START" and staffing:
        return min(row.days.start for row in staffing)
    if basis == "CONTRACT_SIGN" and line.get("from") is not None:
        return int(line["from"])
    return ask.work_date


def _scopes(ask: Question, project: Mapping[str, Any], line: Mapping[str, Any],
            staffing: list[Staffing]) -> list[tuple[int, str]]:
    contract, practice = project.get("contract_no"), project.get("practice")
    scopes = [(2, row.key) for row in staffing] + [(4, ask.pair[0])]
    if ask.override:
        scopes.append((1, ask.override))
    if contract:
        scopes += [(3, f"{contract}/{ask.pair[1]}"), (4, contract)]
        if line:
            scopes += [(2, f"{contract}:{line.get('line_no')}"), (2, f"{contract}/{line.get('line_no')}")]
    if project.get("customer_no"):
        scopes.append((5, project["customer_no"]))
    if practice:
        scopes += [(6, f"{project.get('le_code')}/{practice}"), (7, practice)]
    return [*scopes, (8, "*"), (9, ask.pair[1])]


def _rows(world: AsOf, level: int, scope: str, ask: Question, kind: str) -> list[_Row]:
    place = ("rates", level, scope)
    stated: list[tuple[str, Record, Mapping[str, Any]]] | None = world.memory.get(place)
    if stated is None:
        stated = world.memory[place] = list(_stated(world, level, scope))
    return [row for key, record, attributes in stated if (row := _row(world, key, record, attributes, ask, kind))]


def _stated(world: AsOf, level: int, scope: str) -> Iterator[tuple[str, Record, Mapping[str, Any]]]:
    """Published rows of a scope, by key."""
    scopes = {code for code in world.facts.codes(scope) if world.code(code) == scope} if level == 4 else {scope}
    for key in sorted(key for code in scopes for key in world.facts.rates.get((level, code), ())):
        record = world.facts.get("rate", key)
        row = world.merged(record) if record else None
        if record and row and row.get("rate") and row.get("level") == level and row.get("scope_key") in scopes and (
                row.get("state", "PUBLISHED") == "PUBLISHED"):
            yield key, record, row


def _row(world: AsOf, key: str, record: Record, row: Mapping[str, Any], ask: Question, kind: str) -> _Row | None:
    if row.get("kind", "BILL") != kind or (row.get("published_at") or -FOREVER) > world.clock:
        return None
    level: int = row["level"]
    matched = 0
    for attribute, value in (("role_code", ask.role), ("worker_no", ask.pair[1]), ("time_type", ask.time_type)):
        wanted = row.get(attribute)
        if wanted not in (None, "", "*"):
            if wanted != value:
                return None
            matched += 1
    start, end = row.get("effective_from"), row.get("effective_to")
    candidate = Candidate(key, level, row["scope_key"], Rate(*row["rate"]), matched,
                          -FOREVER if start is None else start, tuple(sorted(record.systems())), row.get("role_code"))
    return _Row(candidate, FOREVER if end is None else end)


def _assignment_rates(world: AsOf, staffing: list[Staffing]) -> list[_Row]:
    """The rate that an assignment itself carries, by the word of its commercial owner: level 2."""
    found = []
    for row in staffing:
        record = world.facts.get("assignment", row.key)
        rate = ((world.merged(record) if record else None) or {}).get("bill_rate")
        if rate:
            ref = f"assignment:{row.key}"
            found.append(_Row(Candidate(ref, 2, row.key, Rate(*rate), 1, -FOREVER, (row.system,), None), FOREVER))
    return found


def _in_force(rows: list[_Row], basis: int) -> list[_Row]:
    """Rows in force on the day: within one scope and set of dimensions, the row that began last replaces the others.

    Only open-ended ones: a row whose end is stated holds until then, and beside a later one it is ambiguous.
    """
    groups: dict[tuple[Any, ...], list[_Row]] = {}
    for row in rows:
        if row.candidate.effective_from <= basis < row.effective_to:
            place = (row.candidate.level, row.candidate.scope_key, row.candidate.matched, row.candidate.role_code)
            groups.setdefault(place, []).append(row)
    current = []
    for group in groups.values():
        latest = max(row.candidate.effective_from for row in group)
        current += [row for row in group if row.candidate.effective_from == latest or row.effective_to < FOREVER]
    return current


def _owned(rows: list[_Row], owner: str) -> list[_Row]:
    """At a level where the owner of rates has a row, the rows of others are replicas and do not count."""
    owned = {row.candidate.level for row in rows if owner in row.candidate.systems}
    return [row for row in rows if row.candidate.level not in owned or owner in row.candidate.systems
            or row.candidate.ref.startswith("assignment:")]
