"""Which subjects a record bears on, and which records bear on a subject: the two directions of the join.

Too many is harmless, too few would make the answer depend on the order of arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from tieout.reconcilers.changes import Change, Op
from tieout.reconcilers.facts import Facts, Pair, renames
from tieout.reconcilers.views import History, Record, Version

Subject = tuple[str, str]  # kind, key
Attributes = Mapping[str, Any]


def by(facts: Facts, change: Change) -> set[Subject]:
    """Subjects that a change bears on, by what the facts know now."""
    record = facts.get(change.entity, change.key)
    found: set[Subject] = set()
    if record:  # what is parked may come after what follows it, and name an entry that the later version has left
        found = of_versions(facts, record) if record.entity in _OF_ENTRIES else of_record(facts, record)
    if change.op is Op.REKEY and change.entity == "project":
        for code in (str(change.asserted["old"]), str(change.asserted["new"])):
            found |= _of_code(facts, code)
    return found


def of_record(facts: Facts, record: Record) -> set[Subject]:
    """Subjects that a record bears on."""
    find = _OF.get(record.entity)
    return set(find(facts, record)) if find else set()


def of_versions(facts: Facts, record: Record) -> set[Subject]:
    """Subjects that a record bears on, or bore on by a version before: it may have moved from one to another."""
    found = of_record(facts, record)
    if record.entity in _BY_ASSERTION:
        for (source, subject), history in record.histories.items():
            for view in history.views() if len(history.versions()) > 1 else ():
                former = Record(record.entity, record.key)
                former.keep(source, subject, History((Version("", view.commit_us, False, view.attributes),)))
                found |= of_record(facts, former)
    return found


def _assertions(record: Record) -> Iterator[Attributes]:
    for system in record.systems():
        if last := record.last(system):
            yield last.attributes
    for history in record.histories.values():
        yield from history.former()


def _of_code(facts: Facts, project_code: str) -> set[Subject]:
    codes = facts.codes(project_code)
    found: set[Subject] = {("project", name) for name in codes}
    found |= {("entry", key) for key in facts.entries_on(project_code)}
    return found | {subject for code in codes for pair in facts.pairs_of_project.get(code, ())
                    for subject in of_pair(facts, pair)}


def of_pair(facts: Facts, pair: Pair) -> set[Subject]:
    """The pair under the code that was named, and under the one that stands for the project; and its logged work."""
    return {(kind, f"{code}|{pair[1]}") for code in (pair[0], facts.root(pair[0])) for kind in ("pair", "work")}


def of_work(facts: Facts, pair: Pair) -> set[Subject]:
    """What was logged by the pair, where an assignment says what was planned."""
    if not any((code, pair[1]) in facts.assignments for code in facts.codes(pair[0])):
        return set()
    return {("work", f"{code}|{pair[1]}") for code in (pair[0], facts.root(pair[0]))}


def _of_project(facts: Facts, record: Record) -> set[Subject]:
    found = _of_code(facts, record.key)
    for attributes in _assertions(record):
        if number := attributes.get("opportunity_no"):
            found.add(("opportunity", number))
    return found


def _of_alias(facts: Facts, record: Record) -> set[Subject]:
    found: set[Subject] = set()
    for attributes in _assertions(record):
        if renames(attributes):
            found |= _of_code(facts, str(attributes["old"])) | _of_code(facts, str(attributes["new"]))
    return found


def _of_entry(facts: Facts, record: Record) -> set[Subject]:
    found: set[Subject] = {("entry", key) for key in (record.key, *facts.twins(record.key))}
    return found.union(*(of_work(facts, pair) for pair in facts.pairs_of_entry(record.key)))


def _of_labour(facts: Facts, record: Record) -> set[Subject]:
    return {("entry", attributes["origin_ref"]) for attributes in _assertions(record) if attributes.get("origin_ref")}


def _of_target(facts: Facts, record: Record) -> set[Subject]:
    return {("entry", attributes["target"]) for attributes in _assertions(record) if attributes.get("target")
            and attributes.get("kind", "TIME_ENTRY") == "TIME_ENTRY"}


def _of_invoice(facts: Facts, record: Record) -> set[Subject]:
    return _about_invoice(facts, record.key)


def _of_invoice_line(facts: Facts, record: Record) -> set[Subject]:
    return _about_invoice(facts, record.key.rpartition(":")[0])


def _about_invoice(facts: Facts, invoice: str) -> set[Subject]:
    found: set[Subject] = {("entry", key) for key in facts.invoiced.get(invoice, ())}
    return found | {("invoice", key) for key in (invoice, *facts.doubles(invoice))}


def _of_assignment(facts: Facts, record: Record) -> set[Subject]:
    return _of_pairs(facts, facts.pairs_of_assignment.get(record.key, ()))


def _of_pairs(facts: Facts, pairs: Iterable[Pair]) -> set[Subject]:
    found: set[Subject] = set()
    for pair in pairs:
        found |= of_pair(facts, pair)
        for code in facts.codes(pair[0]):
            found |= {("entry", key) for key in facts.entries_of_pair.get((code, pair[1]), ())}
    return found


def _of_rate(facts: Facts, record: Record) -> set[Subject]:
    found: set[Subject] = set()
    for attributes in _assertions(record):
        level, scope = attributes.get("level"), attributes.get("scope_key")
        if level is None or scope is None:
            continue
        found.add(("card", f"{level}|{scope}|{attributes.get('role_code') or ''}"))
        found |= _in_scope(facts, level, str(scope))
    return found


def _in_scope(facts: Facts, level: int, scope: str) -> set[Subject]:
    if level == 1:
        return {("entry", scope)}
    if level == 2 and scope in facts.pairs_of_assignment:
        return _of_pairs(facts, facts.pairs_of_assignment[scope])
    contract = scope
    if level in (2, 3):
        contract = scope.replace(":", "/").rpartition("/")[0]
    codes = set(facts.projects_of_contract.get(contract, ()))
    if level == 4 and not codes:
        codes = {scope}
    if level in (2, 3, 4):
        return {subject for code in codes for subject in _of_code(facts, code)}
    return _everything(facts)


def _everything(facts: Facts) -> set[Subject]:
    found: set[Subject] = {("entry", key) for key in facts.entries}
    found |= {subject for pair in facts.assignments for subject in of_pair(facts, pair)}
    return found | {("project", code) for code in facts.demands}


def _of_line(facts: Facts, record: Record) -> set[Subject]:
    codes = facts.projects_of_contract.get(record.key.rpartition(":")[0], ())
    return {subject for code in codes for subject in _of_code(facts, code)}


def _of_resource(facts: Facts, record: Record) -> set[Subject]:
    pairs = facts.pairs_of_worker.get(record.key, ())
    found: set[Subject] = {subject for pair in pairs for subject in of_pair(facts, pair)}
    return found | {("entry", key) for key in facts.entries_of_worker.get(record.key, ())}


def _of_calendar(facts: Facts, record: Record) -> set[Subject]:
    workers = facts.workers_of_calendar.get(record.key.rpartition(":")[0], ())
    return {subject for worker in workers for pair in facts.pairs_of_worker.get(worker, ())
            for subject in of_pair(facts, pair)}


def _of_legal_entity(facts: Facts, record: Record) -> set[Subject]:
    found = _everything(facts) | {("project", key) for entity, key in facts.records if entity == "project"}
    return found | {("opportunity", key) for entity, key in facts.records if entity == "opportunity"}


def _of_demand(facts: Facts, record: Record) -> set[Subject]:
    return {("project", code) for code in facts.codes(record.key.rpartition(":")[0])}


def _of_opportunity(facts: Facts, record: Record) -> set[Subject]:
    return {("opportunity", record.key)}


def _of_cycle(facts: Facts, record: Record) -> set[Subject]:
    return {("entry", key) for key in facts.entries}


_OF: Final[Mapping[str, Callable[[Facts, Record], Iterable[Subject]]]] = {
    "project": _of_project, "alias": _of_alias, "time_entry": _of_entry, "posted_labour": _of_labour,
    "coverage": _of_target, "write_off": _of_target, "invoice": _of_invoice, "invoice_line": _of_invoice_line,
    "covered_invoice": _of_invoice, "assignment": _of_assignment,
    "rate": _of_rate, "contract_line": _of_line, "resource": _of_resource, "calendar_day": _of_calendar,
    "legal_entity": _of_legal_entity, "staffing_demand": _of_demand, "opportunity": _of_opportunity,
    "billing_cycle": _of_cycle,
}

# What is found by what the record says; the others are found by indexes, which name every version.
_OF_ENTRIES: Final = frozenset(("posted_labour", "coverage", "write_off"))
_BY_ASSERTION: Final = _OF_ENTRIES | {"project", "alias", "rate"}

_EVERY_KIND: Final = ("entry", "day", "work", "pair", "project", "opportunity", "invoice")

# Entity -> kinds of subjects that its records can bear on: what `_OF` finds, without looking.
KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "project": _EVERY_KIND, "alias": _EVERY_KIND, "legal_entity": _EVERY_KIND,
    "time_entry": ("entry", "day", "work"), "posted_labour": ("entry",), "coverage": ("entry",),
    "write_off": ("entry",),
    "invoice": ("entry", "invoice"), "invoice_line": ("entry", "invoice"), "covered_invoice": ("entry", "invoice"),
    "assignment": ("pair", "entry", "work"), "rate": ("card", "entry", "pair", "project", "work"),
    "contract_line": ("entry", "pair", "project", "work"), "resource": ("pair", "entry", "work"),
    "calendar_day": ("pair", "work"), "staffing_demand": ("project",), "opportunity": ("opportunity",),
    "billing_cycle": ("entry",),
}


# -- the other direction -------------------------------------------------------------------------


_WIDE: Final = ("rate", "legal_entity", "billing_cycle", "alias")
_WIDE_OF_PLANS: Final = (*_WIDE, "calendar_day")


def later_commits(facts: Facts, kind: str, subject: str, instant: int) -> set[int]:
    """Commit instants after `instant` of records that arrived before the subject but bear on it."""
    found = _of_twins(facts, subject, instant) if kind == "entry" else set()
    return found | _later_masters(facts, kind, subject, instant)


def _later_masters(facts: Facts, kind: str, subject: str, instant: int) -> set[int]:
    return facts.later_commits(instant, _WIDE_OF_PLANS if kind in ("pair", "work") else _WIDE,
                               _bearing_on(facts, kind, subject))


def _of_twins(facts: Facts, key: str, instant: int) -> set[int]:
    return {commit for twin in facts.twins(key) for commit in _commits_of(facts, twin) if commit > instant}


def _commits_of(facts: Facts, entry: str) -> list[int]:
    record = facts.get("time_entry", entry)
    return record.commits() if record else []


def of_days(facts: Facts, entries: Iterable[str]) -> set[Subject]:
    """On the worker axis: the entries, their twins and days, and what they may overlap there and on the days beside."""
    found: set[Subject] = set()
    for key in entries:
        found |= {("entry", other) for other in (key, *facts.twins(key))}
        for worker, day in facts.days_of_entry(key):
            found.add(("day", f"{worker}|{day}"))
            for date in (day - 1, day, day + 1) if key in facts.timed else ():
                found |= {("entry", other) for other in facts.entries_of_day.get((worker, date), ())
                          if other in facts.timed}
    return found


def later_of_day(facts: Facts, kind: str, subject: str, instant: int) -> set[int]:
    """On the worker axis: later commits of what a subject is compared with, and of masters that bear on it."""
    if kind == "day":
        worker, _, day = subject.rpartition("|")
        keys = set(facts.entries_of_day.get((worker, int(day)), ()))
    else:
        keys = {key for found, key in of_days(facts, [subject]) if found == "entry"}
    found = {commit for key in keys for commit in _commits_of(facts, key) if commit > instant}
    return found.union(*(_later_masters(facts, "entry", key, instant) for key in keys))


def by_meeting(facts: Facts, subjects: Iterable[Subject], instant: int) -> Iterator[tuple[str, str, int]]:
    """After two codes became one project, or a pair got its assignment, as of an instant: (kind, subject, later commit)
    of entries that now meet. They may have arrived before there was anything to meet."""
    for kind, subject in subjects:
        if kind == "work":
            code, _, worker = subject.rpartition("|")
            for key in {key for name in facts.codes(code) for key in facts.entries_of_pair.get((name, worker), ())}:
                yield from ((kind, subject, commit) for commit in _commits_of(facts, key) if commit > instant)


def _bearing_on(facts: Facts, kind: str, subject: str) -> Iterator[tuple[str, str]]:
    """Identities of the masters that bear on a subject."""
    if kind == "entry":
        workers = {pair[1] for pair in facts.pairs_of_entry(subject)}
        yield from (("resource", worker) for worker in workers)
        for code in facts.projects_of_entry.get(subject, ()):
            yield from _of_masters(facts, code)
            for worker in workers:
                yield from (("assignment", key) for key in facts.assignments_of((code, worker)))
        for cover in facts.coverage.get(subject, ()):
            yield from _of_header(facts, ":".join(cover.split(":")[:2]))
    elif kind == "invoice":
        for key in (subject, *facts.doubles(subject)):
            yield from _of_header(facts, key)
    elif kind in ("pair", "work"):
        code, _, worker = subject.rpartition("|")
        yield "resource", worker
        yield from _of_masters(facts, code)
        yield from (("assignment", key) for key in facts.assignments_of((code, worker)))
    elif kind == "project":
        yield from _of_masters(facts, subject)
        yield from (("staffing_demand", key) for code in facts.codes(subject) for key in facts.demands.get(code, ()))
    elif kind == "opportunity":
        yield from (("project", code) for code in facts.projects_of_opportunity.get(subject, ()))


def _of_header(facts: Facts, invoice: str) -> Iterator[tuple[str, str]]:
    yield "invoice", invoice
    yield "covered_invoice", invoice
    yield from (("invoice_line", key) for key in facts.lines_of_invoice.get(invoice, ()))


def _of_masters(facts: Facts, project_code: str) -> Iterator[tuple[str, str]]:
    for code in facts.codes(project_code):
        yield "project", code
        for contract in facts.contracts_of_project.get(code, ()):
            yield from (("contract_line", key) for key in facts.lines.get(contract, ()))
