"""The firm: two legal entities, sixty consultants, fourteen projects and what their work costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import Any, Final

ROLES: Final = ("SA", "SC", "EN", "CO")  # what consultants are: architect, senior, engineer, consultant
RARE_ROLES: Final = ("BA", "QA", "UX", "DS")  # without a price on any project unless a story gives one
_BASE: Final = {"SA": 150, "SC": 120, "EN": 108, "CO": 90, "BA": 104, "QA": 96, "UX": 112, "DS": 164}
PLAN_FROM: Final = date(2026, 3, 2)
PLAN_TO: Final = date(2026, 5, 30)  # half-open: the last planned day is a Friday


@dataclass(frozen=True, slots=True)
class Price:
    """A rate: micro-units of the currency per HOUR or per DAY of eight hours."""

    rate_e6: int
    ccy: str
    unit: str = "HOUR"

    def wire(self) -> dict[str, Any]:
        """As canonical input writes it."""
        return {"rate_e6": self.rate_e6, "ccy": self.ccy, "unit": self.unit}

    def amount(self, qty_s: int) -> int:
        """Minor units for `qty_s` seconds, half away from zero; both currencies of the firm have two decimals."""
        per_hour = Fraction(self.rate_e6, 8 if self.unit == "DAY" else 1)
        exact = per_hour * qty_s / 3600 / 10_000
        whole, rest = divmod(abs(exact.numerator), exact.denominator)
        whole += 2 * rest >= exact.denominator
        return whole if exact >= 0 else -whole


def price(units: float | Fraction, ccy: str, unit: str = "HOUR") -> Price:
    """`units` of the currency, at most two decimals, as a price."""
    return Price(round(units * 100) * 10_000, ccy, unit)


@dataclass(frozen=True, slots=True)
class LegalEntity:
    """A company of the group."""

    code: str
    name: str
    country: str  # also names its public holidays
    ccy: str
    tz: str
    region: str

    @property
    def calendar(self) -> str:
        """The billing calendar."""
        return f"CAL-M-{self.code}"


@dataclass(frozen=True, slots=True)
class Project:
    """A project as the ERP knows it."""

    code: str
    name: str
    le: LegalEntity
    kind: str  # EXTERNAL, INTERNAL or LEAVE
    customer: str = ""
    practice: str = "CLOUD"
    allows_unassigned: bool = False
    opportunity: str | None = None

    @property
    def contract(self) -> str:
        """Its contract number, or nothing for work that nobody pays."""
        return f"K-{self.code}" if self.kind == "EXTERNAL" else ""

    @property
    def billable(self) -> bool:
        """Whether a customer pays."""
        return self.kind == "EXTERNAL"


@dataclass(frozen=True, slots=True)
class Worker:
    """A consultant."""

    no: str
    le: LegalEntity
    role: str
    calendar: str
    weekdays: int = 5  # works the first so many days of the week
    practice: str = "CLOUD"

    @property
    def day_s(self) -> int:
        """Seconds of a working day: 7.5 h in London, 8 h in Berlin."""
        return 27_000 if self.le.country == "UK" else 28_800


@dataclass(slots=True)
class RateRow:
    """A row of a rate card; `until` is exclusive."""

    rate_id: str
    level: int
    scope: str
    role: str | None
    price: Price
    since: date
    until: date | None = None
    worker: str | None = None


UK: Final = LegalEntity("UK01", "Tieline Consulting Ltd", "UK", "GBP", "Europe/London", "UKI")
DE: Final = LegalEntity("DE01", "Tieline Beratung GmbH", "DE", "EUR", "Europe/Berlin", "DACH")
ENTITIES: Final = (UK, DE)
_HEADCOUNT: Final = ((UK, 1001, 36), (DE, 2001, 24))
YEAR_START: Final = date(2026, 1, 1)

_EXTERNAL: Final = (
    ("ACME-24017", "Acme order platform", UK, "C-ACME", "CLOUD", False),
    ("BOLT-24021", "Bolt data lake", UK, "C-BOLT", "DATA", False),
    ("CRANE-24030", "Crane ERP rollout", UK, "C-CRANE", "ERP", False),
    ("DELTA-24035", "Delta payments", UK, "C-DELTA", "CLOUD", False),
    ("EMBER-24041", "Ember advisory", UK, "C-ACME", "DATA", True),
    ("FALKE-24104", "Falke Lagerverwaltung", DE, "C-FALKE", "ERP", False),
    ("GREIF-24108", "Greif Datenplattform", DE, "C-GREIF", "DATA", False),
    ("HABICHT-24112", "Habicht Portal", DE, "C-FALKE", "CLOUD", False),
    ("IGEL-24117", "Igel Beratung", DE, "C-IGEL", "CLOUD", True),
    ("JUPITER-24120", "Jupiter Migration", DE, "C-IGEL", "ERP", False),
)


@dataclass(slots=True)
class Firm:
    """Everything that is there before the first day; rate rows and projects that stories add come on top."""

    projects: dict[str, Project] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)
    rates: dict[tuple[str, str], list[RateRow]] = field(default_factory=dict)  # (project, role) -> rows by date
    listed: dict[tuple[str, str], RateRow] = field(default_factory=dict)  # (currency, role) -> reference row
    own: dict[tuple[str, str], RateRow] = field(default_factory=dict)  # (project, worker) -> a price of their own

    def rate(self, project: str, worker: str, role: str, day: date) -> RateRow | None:
        """The contract rate of a worker in a role on a day."""
        if (project, worker) in self.own:
            return self.own[project, worker]
        rows = self.rates.get((project, role), [])
        return next((row for row in rows if row.since <= day and (row.until is None or day < row.until)), None)

    def leave_project(self, le: LegalEntity) -> Project:
        """Where absence is booked."""
        return self.projects[f"LEAVE-{le.country}"]

    def internal_project(self, le: LegalEntity) -> Project:
        """Where meetings and training are booked."""
        return self.projects[f"INT-{le.country}"]

    def external(self, le: LegalEntity) -> list[Project]:
        """The paid projects of a legal entity, in order."""
        return [project for project in self.projects.values() if project.le is le and project.billable]


def build_firm() -> Firm:
    """The firm on the eve of the first Monday."""
    firm = Firm()
    for number, (code, name, le, customer, practice, allows) in enumerate(_EXTERNAL):
        firm.projects[code] = Project(code, name, le, "EXTERNAL", customer, practice, allows, f"O-{5001 + number}")
    for le in ENTITIES:
        for kind, prefix, name in (("INTERNAL", "INT", "Internal"), ("LEAVE", "LEAVE", "Leave")):
            code = f"{prefix}-{le.country}"
            firm.projects[code] = Project(code, f"{name} {le.country}", le, kind, allows_unassigned=True)
    firm.workers = [_worker(number, le, first) for le, first, count in _HEADCOUNT for number in range(count)]
    _price_projects(firm)
    return firm


def _worker(number: int, le: LegalEntity, first: int) -> Worker:
    weekdays = {34: 3, 35: 3}.get(number, 5) if le is UK else {23: 4}.get(number, 5)
    calendar = f"{le.country}-FULL" if weekdays == 5 else f"{le.country}-{weekdays}D"
    return Worker(f"W{first + number}", le, ROLES[number // 5 % 4], calendar, weekdays)


def _price_projects(firm: Firm) -> None:
    """Level 4 prices, each different from any other so that a wrong one cannot be right by accident."""
    for number, project in enumerate(p for p in firm.projects.values() if p.billable):
        for role in ROLES:
            units = Fraction(_BASE[role] + 2 * number) + Fraction(1 + number, 4)
            value = price(units, project.le.ccy)
            if (project.code, role) == ("JUPITER-24120", "SA"):
                value = price(1_360, project.le.ccy, "DAY")
            row = RateRow(f"R4-{project.code}-{role}", 4, project.code, role, value, YEAR_START)
            firm.rates[project.code, role] = [row]
    for le in ENTITIES:
        for role in (*ROLES, *RARE_ROLES):
            firm.listed[le.ccy, role] = RateRow(f"R8-{le.ccy}-{role}", 8, "*", role, price(_BASE[role] + 25, le.ccy),
                                                YEAR_START)
