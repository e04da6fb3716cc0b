"""The world as of an instant: what rules see. Views are merged by ownership, codes and dates are resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tieout.reconcilers.facts import Facts, Pair
from tieout.reconcilers.policy import Policy
from tieout.reconcilers.quantities import Rounding
from tieout.reconcilers.timeline import FOREVER, Interval, day_text, local_day, month, month_label
from tieout.reconcilers.views import Record, View

POSTED = frozenset(("POSTED", "SENT", "PAID"))
DRAFT = frozenset(("DRAFT", "APPROVED"))
GONE = frozenset(("CANCELLED", "DELETED"))
_ROUNDINGS: dict[str | None, Rounding] = {rounding.value: rounding for rounding in Rounding}
UNPLACED = "UNKNOWN"  # the project of an entry that nobody has placed yet


class LegalEntity(NamedTuple):
    """What the rules need of a legal entity."""

    code: str | None
    tz: str
    region: str
    rounding: Rounding
    materiality_minor: int
    base_ccy: str | None


class Cycle(NamedTuple):
    """A billing cycle: its label and the local day of its cutoff."""

    label: str
    days: Interval
    cutoff_day: int


class Staffing(NamedTuple):
    """An assignment as one system sees it."""

    key: str
    system: str
    project_code: str
    worker_no: str
    days: Interval
    commit: str
    attributes: Mapping[str, Any]


class Quantities(NamedTuple):
    """What is billed, proposed and written off of an entry on one project, in seconds and minor units."""

    billed_s: int = 0
    billed_minor: int = 0
    proposed_s: int = 0
    written_off_s: int = 0
    unpaid: int = 0  # posted coverages whose invoice is not paid


@dataclass
class Entry:
    """A time entry as of an instant: the three views and what follows from them."""

    key: str
    time: Mapping[str, Any] | None  # the origin's view; None when it deleted the entry or never had it
    psa: Mapping[str, Any] | None
    labour: list[Mapping[str, Any]]  # the ERP's posted_labour rows
    merged: Mapping[str, Any]  # by ownership; the last known attributes when the entry is gone
    deleted: bool  # at its origin
    seen: bool  # whether any system has shown the entry itself, not just a reference to it
    project_code: str
    project: Mapping[str, Any]
    status: str | None
    qty_s: int
    billable: bool
    approved_s: int
    quantities: dict[str, Quantities] = field(default_factory=dict)

    @property
    def worker_no(self) -> str | None:
        """The worker."""
        return self.merged.get("worker_no")

    @property
    def work_date(self) -> int | None:
        """The civil day of the work."""
        return self.merged.get("work_date")

    @property
    def approved(self) -> bool:
        """Approved now, and not deleted."""
        return self.status == "APPROVED" and not self.deleted

    @property
    def here(self) -> Quantities:
        """Quantities on the entry's own project."""
        return self.quantities.get(self.project_code, Quantities())

    @property
    def unbilled_s(self) -> int:
        """Approved, neither billed nor written off."""
        return max(0, self.approved_s - self.here.billed_s - self.here.written_off_s)


def _alive(lasts: Mapping[str, View]) -> dict[str, Mapping[str, Any]]:
    """What each system says, of those that have not deleted the record."""
    return {system: last.attributes for system, last in lasts.items() if not last.deleted}


class AsOf:
    """Facts as of `instant`; `clock` is the instant that time-dependent predicates compare with."""

    def __init__(self, facts: Facts, policy: Policy, instant: int = FOREVER, clock: int | None = None) -> None:
        self.facts = facts
        self.policy = policy
        self.instant = instant
        self.clock = instant if clock is None else clock
        self.onsets: Mapping[tuple[str, str | None, str], int] = {}  # (code, facet, subject) of differences that last
        self._entries: dict[str, Entry] = {}
        # Worlds that no master has changed since share what they work out about masters.
        self.memory: dict[Any, Any] = facts.shared if min(instant, self.clock) >= facts.newest else {}

    def code(self, project_code: str) -> str:
        """The code that the project had at the instant."""
        return self.facts.code(project_code, self.instant)

    def spoken_for(self, project_code: str) -> str | None:
        """The code, at the instant, of the project that a subject is about; None if another subject speaks for it.

        Subjects name a project by one of its codes. Once two of them are one project, its root alone speaks.
        """
        code, root = self.code(project_code), self.facts.root(project_code)
        return None if project_code != root and code == self.code(root) else code

    def pair(self, subject: str) -> Pair | None:
        """The pair that a subject 'project|worker' is about, under its code at the instant."""
        named, _, worker = subject.rpartition("|")
        code = self.spoken_for(named)
        return None if code is None else (code, worker)

    # -- masters ---------------------------------------------------------------------------------

    def merged(self, record: Record) -> Mapping[str, Any] | None:
        """A record's attributes, each by the word of the first system in the ownership order that asserts it."""
        views = _alive(record.lasts(self.instant))
        if len(views) < 2:
            return next(iter(views.values()), None)
        return self._believe(record.entity, views)

    def _believe(self, entity: str, views: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        orders = self.policy.ownership.orders(entity)
        for attribute in {name for view in views.values() for name in view}:
            for system in orders[attribute]:
                if system in views and attribute in views[system]:
                    found[attribute] = views[system][attribute]
                    break
        return found

    def project(self, code: str) -> Mapping[str, Any]:
        """The project by ownership over all its codes; {} if nobody knows it."""
        found: Mapping[str, Any] | None = self.memory.get(("project", code))
        if found is None:
            views = {system: view for system in ("ERP", "PSA", "CRM", "SCHED", "TIME")
                     if (view := self.project_view(code, system)) is not None}
            found = self.memory["project", code] = self._believe("project", views)
        return found

    def project_view(self, code: str, system: str) -> Mapping[str, Any] | None:
        """What one system says about the project: newer words over older, under whichever of its codes."""
        current = self.code(code)
        said = []
        for record in self.facts.of_project(code):
            last = record.last(system, self.instant)
            if last and not last.deleted and self.facts.code(record.key, self.instant, merges=False) == current:
                said.append((last.commit_us, record.key == current, last.attributes))
        if len(said) < 2:
            return said[0][2] if said else None
        return {name: value for *_, attributes in sorted(said, key=lambda row: row[:2])
                for name, value in attributes.items()}

    def legal_entity(self, code: str | None) -> LegalEntity:
        """The legal entity, or what the policy assumes of one that is not known."""
        found: LegalEntity | None = self.memory.get(("legal", code))
        if found is None:
            record = self.facts.get("legal_entity", code) if code else None
            known = (self.merged(record) if record else None) or {}
            found = self.memory["legal", code] = LegalEntity(
                code, known.get("tz") or self.policy.default_tz, known.get("region") or self.policy.default_region,
                _ROUNDINGS.get(known.get("rounding"), Rounding.HALF_AWAY),
                known.get("materiality_minor") or self.policy.materiality_minor, known.get("base_ccy"),
            )
        return found

    def contract_line(self, project: Mapping[str, Any], day: int | None) -> Mapping[str, Any]:
        """The contract line that prices the project on a day; {} if there is none."""
        place = ("line", project.get("project_code"), day)
        found: Mapping[str, Any] | None = self.memory.get(place)
        if found is None:
            found = self._contract_line(project, day)
            if place[1] is not None:
                self.memory[place] = found
        return found

    def _contract_line(self, project: Mapping[str, Any], day: int | None) -> Mapping[str, Any]:
        contract = project.get("contract_no")
        lines = []
        for key in sorted(self.facts.lines.get(contract, ())) if contract else ():
            record = self.facts.get("contract_line", key)
            line = self.merged(record) if record else None
            if line and (day is None or (line.get("from") or -FOREVER) <= day < (line.get("to") or FOREVER)):
                lines.append(line)
        if len(lines) > 1 and (named := [line for line in lines if self._names(project, line)]):
            lines = named
        return min(lines, key=lambda line: line.get("line_no") or 0, default={})

    def _names(self, project: Mapping[str, Any], line: Mapping[str, Any]) -> bool:
        service = project.get("service_class")
        return (service is not None and service == line.get("service_class")) or (
            project.get("line_no") is not None and project.get("line_no") == line.get("line_no"))

    def cycle(self, project: Mapping[str, Any], day: int) -> Cycle:
        """The billing cycle of a day: the project's billing calendar where it is stated, else the calendar month."""
        calendar = project.get("billing_calendar_id")
        for key in sorted(self.facts.cycles.get(calendar, ())) if calendar else ():
            record = self.facts.get("billing_cycle", key)
            row = self.merged(record) if record else None
            if not row or row.get("from") is None:
                continue
            days, cutoff = Interval(row["from"], FOREVER if row.get("to") is None else row["to"]), row.get("cutoff_at")
            if days.holds(day) and (cutoff or days.end < FOREVER):  # else nobody knows when it is cut off
                return Cycle(str(row["cycle_no"]), days, local_day(cutoff, row.get("tz")) if cutoff else days.end - 1)
        span = month(day)
        return Cycle(month_label(day), span, span.end - 1)

    def role_of(self, worker: str | None) -> str | None:
        """The worker's delivery role."""
        return self._resource(worker).get("role_code")

    def tz_of(self, worker: str | None) -> str | None:
        """The worker's zone."""
        return self._resource(worker).get("tz")

    def capacity_s(self, worker: str, day: int) -> int:
        """Working seconds of a day by the worker's calendar; the policy's working day where it states none."""
        place = ("capacity", worker, day)
        found: int | None = self.memory.get(place)
        if found is None:
            found = self.memory[place] = self._capacity_s(worker, day)
        return found

    def _resource(self, worker: str | None) -> Mapping[str, Any]:
        found: Mapping[str, Any] | None = self.memory.get(("resource", worker))
        if found is None:
            record = self.facts.get("resource", worker) if worker else None
            found = self.memory["resource", worker] = (self.merged(record) if record else None) or {}
        return found

    def _capacity_s(self, worker: str, day: int) -> int:
        calendar = self._resource(worker).get("calendar_id")
        if calendar and day in self.facts.calendar.get(calendar, ()):
            row = self.facts.get("calendar_day", f"{calendar}:{day}")
            stated = self.merged(row) if row else None
            if stated is not None and stated.get("work_s") is not None:
                return 0 if stated.get("holiday") and not stated["work_s"] else int(stated["work_s"])
        return self.policy.day_s if self.policy.calendar.is_open(day) else 0

    # -- assignments -----------------------------------------------------------------------------

    def staffing(self, pair: Pair, system: str) -> list[Staffing]:
        """The system's live assignments of a worker on a project, by key."""
        place = ("staffing", pair, system)
        found: list[Staffing] | None = self.memory.get(place)
        if found is None:
            found = self.memory[place] = self._all_staffing(pair, system)
        return found

    def _all_staffing(self, pair: Pair, system: str) -> list[Staffing]:
        return [found for key in self.facts.assignments_of(pair)
                if (found := self._staffing(key, pair, system)) and found.commit not in GONE]

    def _staffing(self, key: str, pair: Pair, system: str) -> Staffing | None:
        record = self.facts.get("assignment", key)
        view = record.view(system, self.instant) if record else None
        if view is None or view.get("state") in GONE:
            return None
        return self._placed(key, pair, system, view)

    def _placed(self, key: str, pair: Pair, system: str, view: Mapping[str, Any]) -> Staffing | None:
        if self.code(view.get("project_code") or "") != pair[0] or view.get("worker_no") != pair[1]:
            return None
        start, end = view.get("from"), view.get("to")
        days = Interval(-FOREVER if start is None else start, FOREVER if end is None else end)
        if days.start >= FOREVER or days.end <= -FOREVER:
            return None  # it never begins, or ended before all time
        return Staffing(key, system, pair[0], pair[1], days, view.get("commit") or "HARD", view)

    def gone_staffing(self, pair: Pair) -> list[Staffing]:
        """Assignments of the pair that were deleted or cancelled, as they last were."""
        found = []
        for key in self.facts.assignments_of(pair):
            record = self.facts.get("assignment", key)
            for system in ("SCHED", "PSA"):
                last = record.last(system, self.instant) if record else None
                if last and (last.deleted or last.attributes.get("commit") in GONE or
                             last.attributes.get("state") in GONE):
                    placed = self._placed(key, pair, system, last.attributes)
                    found += [placed] if placed else []
        return found

    # -- time entries ----------------------------------------------------------------------------

    def entry(self, key: str) -> Entry:
        """The time entry as of the instant."""
        found = self._entries.get(key)
        if found is None:
            found = self._entries[key] = self._entry(key)
        return found

    def told(self, key: str, *attributes: str) -> Mapping[str, Any]:
        """Some attributes of a time entry by ownership, without the rest of it; {} if its own system deleted it."""
        record = self.facts.get("time_entry", key)
        if record is None:
            return {}
        lasts = record.lasts(self.instant)
        owner = lasts.get("TIME" if "TIME" in record.systems() else key.partition(":")[0])
        if owner is not None and owner.deleted:
            return {}
        views = _alive(lasts)
        orders = self.policy.ownership.orders("time_entry")
        return {name: next((views[system][name] for system in orders[name]
                            if system in views and name in views[system]), None) for name in attributes}

    def _entry(self, key: str) -> Entry:
        record = self.facts.get("time_entry", key)
        origin = key.partition(":")[0]
        systems = record.systems() if record else set()
        owner = "TIME" if "TIME" in systems else origin
        lasts = record.lasts(self.instant) if record else {}
        views = _alive(lasts)
        mine = lasts.get(owner)
        deleted = bool(mine and mine.deleted) or bool(lasts and not views)
        time = views.get(owner)
        psa = views.get("PSA") if owner != "PSA" else None
        merged = self._believe("time_entry", views if time or not mine else {**views, owner: mine.attributes})
        labour = self._labour(key)
        if not merged and labour:
            merged = {name: labour[0][name] for name in ("project_code", "worker_no", "work_date") if name in labour[0]}
        code = self.code(merged.get("project_code") or UNPLACED)
        project = self.project(code)
        entry = Entry(key, time, psa, labour, merged, deleted, bool(lasts), code, project,
                      None if deleted else merged.get("state"), merged.get("qty_s") or 0, False, 0)
        entry.billable = self._billable(entry)
        if entry.approved and entry.billable:
            stated = merged.get("billable_s")
            entry.approved_s = entry.qty_s if stated is None else stated
        entry.quantities = self._quantities(entry)
        return entry

    def _billable(self, entry: Entry) -> bool:
        flag = entry.merged.get("billable")
        project = entry.project
        if flag is False or project.get("billable") is False:
            return False
        if project.get("project_type") in ("INTERNAL", "LEAVE", "PRESALES") or entry.merged.get("time_type") in (
                "ABSENCE", "BREAK"):
            return False
        return self.contract_line(project, entry.work_date).get("method") != "NON_BILLABLE"

    def _labour(self, key: str) -> list[Mapping[str, Any]]:
        """Rows of the ERP for the entry; those of one project and day that net to zero do not count."""
        rows: list[Mapping[str, Any]] = []
        for name in sorted(self.facts.labour.get(key, ())):
            record = self.facts.get("posted_labour", name)
            view = record.view("ERP", self.instant) if record else None
            if view and view.get("origin_ref") == key and view.get("txn_type", "COST") == "COST":
                rows.append(view)
        if len(rows) < 2:
            return rows
        net: dict[tuple[Any, Any], int] = {}
        for row in rows:
            place = (row.get("project_code"), row.get("work_date"))
            net[place] = net.get(place, 0) + (row.get("qty_s") or 0)
        return [row for row in rows if net[row.get("project_code"), row.get("work_date")]]

    def _quantities(self, entry: Entry) -> dict[str, Quantities]:
        found: dict[str, list[int]] = {}
        for key in sorted(self.facts.coverage.get(entry.key, ())):
            record = self.facts.get("coverage", key)
            cover = self.merged(record) if record else None
            if cover:
                self._cover(entry, record, cover, found)  # type: ignore[arg-type]
        for key in sorted(self.facts.write_offs.get(entry.key, ())):
            record = self.facts.get("write_off", key)
            written = self.merged(record) if record else None
            if written and written.get("target") == entry.key:
                place = found.setdefault(entry.project_code, [0, 0, 0, 0, 0])
                place[3] += abs(written["qty_s"] if written.get("qty_s") is not None else entry.approved_s)
        return {code: Quantities(*values) for code, values in found.items()}

    def _cover(self, entry: Entry, record: Record, cover: Mapping[str, Any], found: dict[str, list[int]]) -> None:
        header = self.invoice(f"{cover['le_code']}:{cover['invoice_no']}")
        sign = self.sign(cover, header)
        qty = sign * abs(cover.get("qty_s") or 0)
        amount = sign * abs((cover.get("amount") or (0,))[0])
        place = found.setdefault(self.covered_project(entry, record), [0, 0, 0, 0, 0])
        if header.get("type") == "PROFORMA":
            return
        if header.get("state") in POSTED:
            place[0] += qty
            place[1] += amount
            place[4] += header["state"] != "PAID"
        elif header.get("state") in DRAFT:
            place[2] += qty

    def invoice(self, number: str) -> Mapping[str, Any]:
        """The header of an invoice ('LE:number'); {} if nobody knows it."""
        record = self.facts.get("invoice", number)
        return (self.merged(record) if record else None) or {}

    def sign(self, cover: Mapping[str, Any], header: Mapping[str, Any]) -> int:
        """Whether a coverage bills (+1) or credits (-1)."""
        return cover.get("sign") or (-1 if header.get("type") == "CREDIT_NOTE" else 1)

    def posted_at(self, number: str) -> int:
        """When an invoice was posted: by its own word, else the commit that said so first, the ERP's before others'."""
        stated = self.invoice(number).get("posted_at")
        record = self.facts.get("invoice", number)
        if stated is None and record:
            stated = record.first("ERP", self.instant, "posted", "created")
        return self.clock if stated is None else int(stated)

    def ever_billed(self, key: str) -> bool:
        """Whether an invoice that covers the entry was posted at any time until the instant."""
        for name in self.facts.coverage.get(key, ()):
            cover = self.facts.get("coverage", name)
            if cover is None or min(cover.commits(), default=FOREVER) > self.instant:
                continue
            invoice = self.facts.get("invoice", ":".join(name.split(":")[:2]))
            histories = invoice.histories.values() if invoice else ()
            if any(not POSTED.isdisjoint(history.said("state", self.instant)) for history in histories):
                return True
        return False

    def covered_project(self, entry: Entry, coverage: Record) -> str:
        """The project that a coverage belongs to: the entry's own when the coverage was first committed."""
        record = self.facts.get("time_entry", entry.key)
        if record is None or len(self.facts.projects_of_entry.get(entry.key, ())) < 2:
            return entry.project_code
        for system in self.policy.ownership.order("time_entry", "project_code"):
            if code := record.project_at(system, min(coverage.commits(), default=FOREVER)):
                return self.code(code)
        return entry.project_code

    def since(self, code: str, facet: str | None, subject: str, tz: str) -> int:
        """The local day on which the difference began; today if it begins now. Impacts count from it, so that they
        do not depend on when somebody looks."""
        return local_day(self.onsets.get((code, facet, subject), self.clock), tz)

    def evidence_commits(self, key: str) -> set[int]:
        """Commit instants of the versions of the entry and of its postings."""
        records = [self.facts.get("time_entry", key)]
        records += [self.facts.get("posted_labour", name) for name in self.facts.labour.get(key, ())]
        return {commit for record in records if record for commit in record.commits()}

    def strayed(self, key: str, project_code: str) -> bool:
        """Whether the home of an entry that is on the project now may be another partition: it was re-coded, or the
        project merged. Checks that compare entries of one project leave it out, for what is found may not depend on
        partitions."""
        record = self.facts.get("time_entry", key)
        named = record.said("project_code", self.instant) if record else set()
        return {self.facts.code(code, self.instant, merges=False) for code in named} != {project_code}

    def moved(self, entry: Entry) -> bool:
        """Whether more than one project was named for the entry by now: its home may be another project's partition."""
        record = self.facts.get("time_entry", entry.key)
        histories = record.histories.values() if record else ()
        named = {self.code(code) for history in histories
                 for code in history.said("project_code", self.instant) if code}
        return len(named) > 1


def span_text(days: Interval) -> str:
    """An interval for people: '2026-03-02 to 2026-03-27', its last day included."""
    start = day_text(days.start) if days.start > -FOREVER else "the beginning"
    return f"{start} to {day_text(days.end - 1)}" if days.end < FOREVER else f"{start} on"
