"""The firm before anything happens: people, projects, contracts, prices and plans in the tables of six systems."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

Statement = tuple[str, Sequence[Any]]

FIRMS: Final = (("UK01", "Tieline Consulting Ltd", "GB", "GBP", "Europe/London", "UKI"),
                ("DE01", "Tieline Beratung GmbH", "DE", "EUR", "Europe/Berlin", "DACH"))
# code, legal entity, type (0 paid, 1 internal), customer, practice
PROJECTS: Final = (("ACME-1", "UK01", 0, "C-ACME", "CLOUD"), ("BOLT-2", "UK01", 0, "C-BOLT", "DATA"),
                   ("FALKE-3", "DE01", 0, "C-FALKE", "CLOUD"), ("INT-UK", "UK01", 1, None, "CLOUD"))
# employee, legal entity, role, projects by their place in PROJECTS
PEOPLE: Final = (("W101", "UK01", "SC", (0, 1)), ("W102", "UK01", "EN", (0,)), ("W103", "UK01", "SC", (1, 3)),
                 ("W201", "DE01", "SC", (2,)), ("W202", "DE01", "EN", (2, 2)))
PRICES: Final = {"SC": Decimal("120"), "EN": Decimal("95.50")}


def insert(table: str, *values: Any) -> Statement:
    """One row."""
    return f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(values))})", values


def statements(monday: date) -> Iterator[Statement]:
    """Everything that is there when capture begins; `monday` is the first day that time is logged on."""
    yield from _firms(monday)
    yield from _people(monday)
    yield from _projects()
    yield from _prices()
    yield from _plans(monday)


def _firms(monday: date) -> Iterator[Statement]:
    month = monday.replace(day=1)
    for code, name, country, ccy, zone, region in FIRMS:
        yield insert("erp.legal_entity", code, name, country, ccy, zone, region)
        for _ in range(3):
            following = (month + timedelta(days=31)).replace(day=1)
            cutoff = datetime.combine(following + timedelta(days=2), time(12), ZoneInfo(zone))
            yield insert("erp.billing_cycle", f"M-{code}", f"{month:%Y-%m}", month, following - timedelta(days=1),
                          cutoff, zone)
            month = following
        month = monday.replace(day=1)


def _people(monday: date) -> Iterator[Statement]:
    for number, (employee, firm, role, _) in enumerate(PEOPLE):
        _, _, country, _, zone, region = next(each for each in FIRMS if each[0] == firm)
        yield insert("hcm.worker", employee, "EMPLOYEE", "Active", firm, f"CC-{country}", "CLOUD", region, country, zone,
                      f"{country}-FULL", Decimal("100.0"), role, "-infinity" if number == 0 else date(2022, 1, 10),
                      "infinity")
        yield insert('"time".account', 11 + number, employee, True)
        yield insert("sched.person", 501 + number, employee, f"Person {number}")
    for country in ("GB", "DE"):
        for offset in range(56):
            day = monday + timedelta(days=offset)
            works = day.weekday() < 5
            yield insert("hcm.work_schedule_day", f"{country}-FULL", day, Decimal("7.50" if works else "0.00"), False)


def _projects() -> Iterator[Statement]:
    for number, (code, firm, kind, customer, practice) in enumerate(PROJECTS):
        _, _, _, ccy, _, region = next(each for each in FIRMS if each[0] == firm)
        paid = kind == 0
        yield insert("erp.project", code, f"Project {code}", customer, f"K-{number}" if paid else None,
                      f"O-{number}" if paid else None, firm, practice, region, ccy, date(2026, 1, 5), "infinity", kind,
                      paid, 1, f"M-{firm}")
        if paid:
            yield insert("erp.contract_line", f"K-{number}", 1, customer, firm, ccy, date(2026, 1, 5), "infinity",
                          "TimeMaterial", "Transaction", "Delta")
            yield insert("crm.opportunity", f"0065g00000ABC{number}AAA"[:18].ljust(18, "A"), f"O-{number}", customer,
                          "Closed Won", True, datetime(2026, 1, 2, 9, tzinfo=ZoneInfo("UTC")), Decimal("100.00"),
                          Decimal("250000.00"), ccy, date(2026, 1, 2), firm)
        yield insert("psa.project", f"a0P{number}", code, f"Project {code}", paid, "Active")
        yield insert("sched.project", 901 + number, code, f"Project {code}", True)
        yield insert('"time".project', 31 + number, code.lower(), f"Project {code}", True, paid)


def _prices() -> Iterator[Statement]:
    recid = 5637144576 * 10**6  # RECIDs are 64-bit: beyond what a double can hold exactly
    for number, (code, firm, kind, _, _) in enumerate(PROJECTS):
        ccy = next(each[3] for each in FIRMS if each[0] == firm)
        for role, price in PRICES.items() if kind == 0 else ():
            if (code, role) != ("FALKE-3", "EN"):  # a price is missing until somebody notices
                recid += 1
                yield insert("erp.sales_price", recid, 4, code, role, None, price + number, ccy, 0, date(2026, 1, 1),
                              "infinity", 1, None)
    for ccy in ("GBP", "EUR"):
        for role, price in PRICES.items():
            recid += 1
            yield insert("erp.sales_price", recid, 8, "*", role, None, price * Decimal("1.25"), ccy, 0,
                          date(2026, 1, 1), "infinity", 1, None)


def _plans(monday: date) -> Iterator[Statement]:
    until = monday + timedelta(days=39)
    number = 0
    for place, (employee, _, role, projects) in enumerate(PEOPLE):
        for project in dict.fromkeys(projects):
            if PROJECTS[project][2] == 1:
                continue
            number += 1
            hours = Decimal("7.50") / len(set(projects))
            code = PROJECTS[project][0]
            yield insert("sched.task", 7000 + number, 901 + project, 501 + place, role, monday, until, hours, 2)
            yield insert("psa.assignment", f"a0A{number}", code, employee, role, monday, until, hours, None, None,
                          "Scheduled")
            yield insert("erp.forecast", 8000 + number, code, employee, role, monday, until, hours)
