"""Planted faults of prices: none found (21) and another one applied than the contract's (22)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final, NamedTuple

from tieout.streams.simulate.facts import PSA
from tieout.streams.simulate.firm import YEAR_START, Firm, Price, RateRow, price
from tieout.streams.simulate.instants import HOUR, MINUTE, utc
from tieout.streams.simulate.labour import Entry
from tieout.streams.simulate.masters import BEFORE
from tieout.streams.simulate.scene import Scene
from tieout.streams.simulate.truth import OPEN, RESOLVED

WEEK_1: Final = date(2026, 3, 9)
WEEK_3: Final = date(2026, 3, 23)


class Uplift(NamedTuple):
    """A price that rises within the four weeks; `fixed_at`: the PSA keeps the old one until then, 0: it never does."""

    project: str
    role: str
    since: date
    units: float
    fixed_at: int | None = 0


UPLIFTS: Final = (
    Uplift("CRANE-24030", "SC", date(2026, 3, 18), 131.4, None),
    Uplift("HABICHT-24112", "EN", date(2026, 3, 17), 133.7, utc("2026-03-24T12:00")),
    Uplift("DELTA-24035", "SA", date(2026, 3, 18), 166.2),
    Uplift("GREIF-24108", "CO", date(2026, 3, 23), 109.9),
    Uplift("BOLT-24021", "EN", date(2026, 4, 1), 118.3),
)


def raise_prices(firm: Firm) -> None:
    """Put the uplifts into the contract rates; they are published before the first day."""
    for uplift in UPLIFTS:
        old = firm.rates[uplift.project, uplift.role][0]
        old.until = uplift.since
        new = RateRow(old.rate_id + "-2", 4, old.scope, old.role, price(uplift.units, old.price.ccy), uplift.since)
        firm.rates[uplift.project, uplift.role].append(new)


def plant_mismatches(scene: Scene) -> None:
    """Check 22, all facets."""
    for uplift in UPLIFTS:
        _uplift(scene, uplift)
    _overrides(scene)
    _wrong_levels(scene)
    entry = scene.take(since=WEEK_1, project="JUPITER-24120", role="SA")
    _mispriced(scene, "DAY_HOUR_UNIT", [entry], Price(1_360_000_000, "EUR"),
               "the PSA takes the price of a day for that of an hour")
    _cards(scene)


def _uplift(scene: Scene, uplift: Uplift) -> None:
    old, new = scene.firm.rates[uplift.project, uplift.role]
    entries = scene.take_all(uplift.project, uplift.role, uplift.since)
    key = f"{uplift.project}|{new.rate_id}"
    if uplift.fixed_at == 0:
        scene.truth.spare("UPLIFT_APPLIED", key, f"price rises on {uplift.since} and the PSA applies it")
    elif uplift.fixed_at is None:
        _mispriced(scene, "UPLIFT_NOT_APPLIED", entries, old.price,
                   f"price rose on {uplift.since}, the PSA keeps the old one")
    else:
        for entry in entries:
            approved_at = entry.pace.approved_at + entry.pace.psa_us
            if approved_at < uplift.fixed_at:
                entry.apply_price(old.price)
                entry.at_psa(uplift.fixed_at, **entry.priced(new.price))
        scene.truth.plant("22", "UPLIFT_NOT_APPLIED", key,
                          f"price rose on {uplift.since}, the PSA re-prices a week later", RESOLVED)


def _overrides(scene: Scene) -> None:
    row = scene.firm.rates["ACME-24017", "SC"][0]
    first = scene.take(since=WEEK_1, until=WEEK_3, project="ACME-24017", role="SC")
    entries = [first, *(scene.take(since=WEEK_1, until=WEEK_3, project="ACME-24017", role="SC", worker=first.worker.no)
                        for _ in range(2))]
    _mispriced(scene, "OVERRIDE", entries, Price(row.price.rate_e6 - 10_000_000, "GBP"),
               "a manager gave 10.00 an hour away on three days")
    row = scene.firm.rates["JUPITER-24120", "CO"][0]
    entry = scene.take(since=WEEK_1, until=WEEK_3, project="JUPITER-24120", role="CO")
    _mispriced(scene, "OVERRIDE", [entry], Price(row.price.rate_e6 + 5_000_000, "EUR"), "priced 5.00 an hour too high")


def _wrong_levels(scene: Scene) -> None:
    customer = RateRow("R5-C-DELTA-EN", 5, "C-DELTA", "EN", price(113.1, "GBP"), YEAR_START)
    scene.list_rate(customer, BEFORE + 30 * MINUTE)
    entries = [scene.take(since=WEEK_1, project="DELTA-24035", role="EN") for _ in range(2)]
    _mispriced(scene, "WRONG_LEVEL", entries, customer.price, "the PSA applied the customer's price, not the project's")
    entry = scene.take(since=WEEK_1, project="FALKE-24104", role="SC")
    _mispriced(scene, "WRONG_LEVEL", [entry], scene.firm.listed["EUR", "SC"].price,
               "the PSA applied the list price, not the project's")


def _mispriced(scene: Scene, facet: str, entries: Sequence[Entry], applied: Price, story: str) -> None:
    """Let the PSA apply another price; the finding is for the project and the rate row."""
    gap = 0
    for entry in entries:
        entry.apply_price(applied)
        gap += entry.value - applied.amount(entry.qty_s)
    rate = entries[0].rate
    assert rate is not None
    scene.truth.plant("22", facet, f"{entries[0].project.code}|{rate.rate_id}", story, OPEN,
                      impact_s=sum(entry.qty_s for entry in entries), impact_minor=gap, currency=rate.price.ccy)


def _cards(scene: Scene) -> None:
    """Two rate masters that differ, before any time is priced by the wrong one."""
    for project, role, units, healed_at in (("IGEL-24117", "SC", 139.3, 0),
                                            ("EMBER-24041", "SA", 151.1, utc("2026-03-13T09:00"))):
        row = scene.firm.rates[project, role][0]
        copy = RateRow(f"PSA-{row.rate_id}", 4, project, role, price(units, row.price.ccy), YEAR_START)
        scene.list_rate(copy, utc("2026-03-12T08:15"), PSA)
        if healed_at:
            scene.say(PSA, "rate", copy.rate_id, healed_at, rate_id=copy.rate_id, rate=row.price.wire())
        scene.truth.plant("22", "CARD_DIVERGED", f"4|{project}|{role}", "the PSA's rate card has another price",
                          RESOLVED if healed_at else OPEN)


def plant_missing(scene: Scene) -> None:
    """Check 21 for time that was worked."""
    _missing(scene, "NO_MATCH", "ACME-24017", "DS", None, "nobody agreed a price for the role")
    _missing(scene, "ZERO", "CRANE-24030", "BA", _row("CRANE-24030", "BA", price(0, "GBP")), "the price is zero")
    expired = _row("HABICHT-24112", "QA", price(99.5, "EUR"), date(2025, 1, 1), date(2026, 3, 1))
    _missing(scene, "EXPIRED", "HABICHT-24112", "QA", expired, "the price ran out in February")
    _missing(scene, "CURRENCY", "FALKE-24104", "UX", _row("FALKE-24104", "UX", price(125, "USD")),
             "there is a price in dollars only")
    _missing(scene, "NO_MATCH", "IGEL-24117", "DS", None, "nobody agreed a price, in the days of the monthly close",
             since=date(2026, 3, 30), until=date(2026, 3, 31))
    entry = _unpriced(scene, "DELTA-24035", "UX", WEEK_1, WEEK_3)
    found = _row("DELTA-24035", "UX", price(129.9, "GBP"))
    found_at = entry.pace.approved_at + 26 * HOUR
    scene.list_rate(found, found_at)
    entry.at_psa(found_at + HOUR, **entry.priced(found.price))
    scene.truth.plant("21", "NO_MATCH", entry.key, "the price arrives a day after the approval", RESOLVED)


def _missing(scene: Scene, facet: str, project: str, role: str, row: RateRow | None, story: str,
             since: date = WEEK_1, until: date = WEEK_3) -> None:
    entry = _unpriced(scene, project, role, since, until)
    if row is not None:
        scene.list_rate(row, BEFORE + 30 * MINUTE)
        if facet == "ZERO":
            entry.apply_price(row.price)
    estimate = scene.firm.listed[entry.worker.le.ccy, role].price
    scene.truth.plant("21", facet, entry.key, story, OPEN, impact_s=entry.qty_s,
                      impact_minor=estimate.amount(entry.qty_s), currency=estimate.ccy)


def _unpriced(scene: Scene, project: str, role: str, since: date, until: date) -> Entry:
    entry = scene.take(since=since, until=until, project=project)
    entry.act_as(role)
    entry.rate = None
    entry.apply_price(None)
    return entry


def _row(project: str, role: str, value: Price, since: date = YEAR_START, until: date | None = None) -> RateRow:
    return RateRow(f"R4-{project}-{role}", 4, project, role, value, since, until)
