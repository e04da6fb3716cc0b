"""The stage that stories are played on: the firm, its facts so far, and the truth that is being written."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from random import Random
from typing import Any, Final, NamedTuple

from tieout.streams.simulate.facts import ERP, PSA, SCHED, TIME, Fact
from tieout.streams.simulate.firm import PLAN_FROM, PLAN_TO, Firm, LegalEntity, Project, RateRow, Worker
from tieout.streams.simulate.instants import HOUR, MINUTE, WINDOW_FROM, iso, local, next_workday
from tieout.streams.simulate.labour import Entry, Pace, cost_of, live
from tieout.streams.simulate.truth import Truth

MANAGERS: Final = {"UK01": "W9001", "DE01": "W9002"}
PSA_LAG: Final = 20 * MINUTE
ERP_LAG: Final = 6 * HOUR


class Span(NamedTuple):
    """Days of a plan; half-open."""

    start: date
    end: date


def plan_id(project: str, worker: str, start: date) -> str:
    """The scheduling system's id of an assignment."""
    return f"A-{project}-{worker}-{start:%m%d}"


RUNNING: Final = Span(PLAN_FROM, PLAN_TO)


@dataclass(frozen=True, slots=True)
class Outage:
    """A source delivers nothing between two instants, then everything at once."""

    source: str
    since: int
    until: int


@dataclass(slots=True)
class Scene:
    """Everything that will be played."""

    firm: Firm
    rng: Random
    truth: Truth
    facts: list[Fact] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    pairs: set[tuple[str, str]] = field(default_factory=set)  # (project, worker) that a plan or a story uses
    plans: dict[tuple[str, str], list[Span]] = field(default_factory=dict)  # (project, worker) -> planned days
    outages: list[Outage] = field(default_factory=list)
    again: list[tuple[Fact, int]] = field(default_factory=list)  # delivered once more, so much after its commit
    late: list[tuple[Fact, int]] = field(default_factory=list)  # delivered out of order, so much after its commit

    def say(self, source: str, entity: str, subject: str, at: int, verb: str = "upserted", **data: Any) -> Fact:
        """A commit of a source."""
        fact = Fact(source, entity, subject, at, data, verb)
        self.facts.append(fact)
        return fact

    def staff(self, project: Project, worker: Worker, at: int, over: Span = RUNNING, *, role: str | None = None,
              share_bp: int = 10_000, systems: tuple[str, ...] = (SCHED, PSA, ERP),
              psa_us: int = PSA_LAG, erp_us: int = ERP_LAG, own_ids: bool = False,
              differing: dict[str, dict[str, Any]] | None = None) -> str:
        """Plan a worker in `systems`, which differ in what `differing` holds; returns the scheduling system's id."""
        self.pairs.add((project.code, worker.no))
        self.plans.setdefault((project.code, worker.no), []).append(over)
        subject = plan_id(project.code, worker.no, over.start)
        plan: dict[str, Any] = {
            "project_code": project.code, "worker_no": worker.no, "role_code": role or worker.role,
            "from": over.start.isoformat(), "to": over.end.isoformat(), "mode": "PCT", "alloc_value": share_bp,
            "commit": "HARD", "billable": project.billable, "state": "HARD",
        }
        for system, lag in ((SCHED, 0), (PSA, psa_us), (ERP, erp_us)):
            if system in systems:
                name = subject if system == SCHED or not own_ids else f"{system[:3]}-{subject}"
                self.say(system, "assignment", name, at + lag, **plan | (differing or {}).get(system, {}))
        return subject

    def add_entry(self, worker: Worker, project: Project, work_date: date, qty_s: int, *, submit_minute: int = 1_050,
                  approve_minute: int = 600, role: str | None = None, wbs: str = "1.1", time_type: str = "WORK",
                  approve_on: date | None = None) -> Entry:
        """Log time with the ordinary life; minutes are on the worker's clock, approval is on the next working day."""
        le = worker.le
        approve_on = approve_on or next_workday(work_date, le.country)
        pace = Pace(local(work_date, submit_minute, le.tz) + self.rng.randrange(60) * 1_000_000,
                    local(approve_on, approve_minute, le.tz) + self.rng.randrange(60) * 1_000_000,
                    self.rng.randrange(3, 12) * MINUTE, self.rng.randrange(2, 15) * MINUTE,
                    self.rng.randrange(12, 40) * MINUTE)
        role = role or worker.role
        rate = self.firm.rate(project.code, worker.no, role, work_date) if project.billable else None
        entry = Entry(len(self.entries) + 1, worker, project, role, wbs, work_date, qty_s, time_type, rate, pace,
                      cost_of(self.firm.listed[le.ccy, worker.role]))
        self.entries.append(live(entry, MANAGERS[le.code]))
        return entry

    def take(self, *, since: date, until: date = WINDOW_FROM, project: str | None = None, role: str | None = None,
             le: LegalEntity | None = None, least_s: int = 3 * 3_600, worker: str | None = None) -> Entry:
        """An ordinary paid entry that no story has yet, worked in [since, until); LookupError when there is none."""
        for entry in self._shuffled():
            if (entry.billable and since <= entry.work_date < until and entry.qty_s >= least_s
                    and project in (None, entry.project.code) and role in (None, entry.role)
                    and worker in (None, entry.worker.no) and le in (None, entry.worker.le)):
                entry.taken = True
                return entry
        raise LookupError(f"no free entry since {since} on {project or 'any project'} for {role or 'any role'}: "
                          "give the story a wider choice")

    def take_all(self, project: str, role: str, since: date, until: date | None = None) -> list[Entry]:
        """All free entries of a project and role worked in [since, until)."""
        found = [entry for entry in self.entries if not entry.taken and entry.project.code == project
                 and entry.role == role and since <= entry.work_date and (until is None or entry.work_date < until)]
        for entry in found:
            entry.taken = True
        return found

    def stranger(self, project: str, *, full_time: bool = True) -> Worker:
        """A consultant of the project's company who is not planned on it, and will be known to be from now on."""
        le = self.firm.projects[project].le
        for worker in self.firm.workers:
            if worker.le is le and (project, worker.no) not in self.pairs and (worker.weekdays == 5) == full_time:
                self.pairs.add((project, worker.no))
                return worker
        raise LookupError(f"everybody is planned on {project} already: use another project")

    def list_rate(self, row: RateRow, at: int, source: str = ERP, **data: Any) -> Fact:
        """Publish a rate row."""
        return self.say(source, "rate", row.rate_id, at, rate_id=row.rate_id, kind="BILL", level=row.level,
                        scope_key=row.scope, role_code=row.role, worker_no=row.worker, rate=row.price.wire(),
                        effective_from=row.since.isoformat(), effective_to=row.until.isoformat() if row.until else None,
                        state="PUBLISHED", published_at=iso(at), version=1, **data)

    def open_project(self, project: Project, at: int, lags: dict[str, int | None], **data: Any) -> None:
        """Mint a project in the ERP and copy it; a lag of None: that system never gets it."""
        master = {
            "project_code": project.code, "name": project.name, "customer_no": project.customer or None,
            "contract_no": project.contract or None, "opportunity_no": project.opportunity,
            "le_code": project.le.code, "cost_centre": f"CC-{project.le.country}-{project.practice}",
            "practice": project.practice, "region": project.le.region, "ccy": project.le.ccy, "start": "2026-01-05",
            "end": "2026-12-31", "project_type": project.kind, "billable": project.billable,
            "allow_time_without_assignment": project.allows_unassigned, "closed_for_time": False,
            "billing_calendar_id": project.le.calendar, "pm_worker_no": MANAGERS[project.le.code], "state": "OPEN",
        } | data
        replica = {name: master[name] for name in ("project_code", "name", "project_type", "state")}
        self.say(ERP, "project", project.code, at, **master)
        for system, lag in lags.items():
            if lag is not None:
                copy = master if system == PSA else replica
                self.say(system, "project", f"{system[:3]}-{project.code}", at + lag, **copy)

    def _shuffled(self) -> list[Entry]:
        free = [entry for entry in self.entries if not entry.taken]
        self.rng.shuffle(free)
        return free


COPIED_AT_ONCE: Final[dict[str, int | None]] = {PSA: 5 * MINUTE, SCHED: 8 * MINUTE, TIME: 12 * MINUTE}
