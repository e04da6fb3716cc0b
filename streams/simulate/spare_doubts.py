"""Healthy look-alikes of doubtful prices, of time beside its plan and of time that seems to be there twice."""

from __future__ import annotations

from datetime import date
from typing import Final

from tieout.streams.simulate.firm import YEAR_START, RateRow, price
from tieout.streams.simulate.instants import HOUR, MINUTE
from tieout.streams.simulate.masters import BEFORE
from tieout.streams.simulate.plant_doubts import (
    beside_plan,
    beyond_plan,
    extend,
    give_up,
    long_day,
    once_more,
    ordinary,
    two_places,
    two_plans,
    two_prices,
)
from tieout.streams.simulate.scene import Scene, Span

WEEK_1: Final = date(2026, 3, 10)
WEEK_3: Final = date(2026, 3, 23)


def spare_ambiguous(scene: Scene) -> None:
    """Two rows of one price, a row that replaces another, and assignments that the role tells apart."""
    entry = two_prices(scene, "JUPITER-24120", "BA", price(107.4, "EUR"), price(107.4, "EUR"))
    scene.truth.spare("SAME_PRICE_TWICE", entry.key, "two rows of the card with one price")
    entry = scene.take(since=WEEK_1, until=WEEK_3, project="ACME-24017")
    entry.act_as("QA")
    for since, units in ((YEAR_START, 93.1), (date(2026, 3, 1), 97.6)):
        entry.rate = RateRow(f"R4-ACME-24017-QA-{since:%m}", 4, "ACME-24017", "QA", price(units, "GBP"), since)
        scene.list_rate(entry.rate, BEFORE + 30 * MINUTE)
    entry.apply_price(entry.rate.price if entry.rate else None)
    scene.truth.spare("PRICE_REPLACED", entry.key, "the newer of two rows without an end counts")
    entry = two_plans(scene, "FALKE-24104", price(133.7, "EUR"), price(148.8, "EUR"), "SA")
    scene.truth.spare("ROLE_DECIDES", entry.key, "two assignments with other prices, and the entry names the role")


def spare_outside(scene: Scene) -> None:
    """Travel before the first day, a plan extended within a day or not asked for, a little more than planned."""
    span = Span(date(2026, 3, 17), date(2026, 3, 20))
    entry, _ = beside_plan(scene, "HABICHT-24112", span, date(2026, 3, 16))
    for fact in (entry.time[0], entry.psa[0]):
        fact.data["time_type"] = "TRAVEL"
    scene.truth.spare("TRAVEL_THE_DAY_BEFORE", entry.key, "travel the day before the assignment begins")
    entry, plan = beside_plan(scene, "DELTA-24035", span, date(2026, 3, 20))
    extend(scene, plan, entry.pace.approved_at + 20 * HOUR, date(2026, 3, 21))
    scene.truth.spare("EXTENDED_IN_TIME", entry.key, "the assignment is extended 20 h after the approval")
    entry, _ = beside_plan(scene, "IGEL-24117", span, date(2026, 3, 16))
    scene.truth.spare("OUTSIDE_ALLOWED", entry.key, "the project allows time without an assignment")
    entries, _ = beyond_plan(scene, "BOLT-24021", 4_000, 900)
    scene.truth.spare("A_LITTLE_MORE", f"BOLT-24021|{entries[0].worker.no}", "four per cent more than planned")


def spare_duplicates(scene: Scene) -> None:
    """Deleted at once, told apart by task or note, back to back, and a day of exactly sixteen hours."""
    entry = once_more(scene, ordinary(scene))
    give_up(entry, 2 * HOUR)
    scene.truth.spare("TWICE_FOR_TWO_HOURS", entry.key, "entered twice, deleted within two hours")
    entry = once_more(scene, ordinary(scene), wbs="1.3")
    scene.truth.spare("OTHER_TASK", entry.key, "the same hours again, on another task")
    first = ordinary(scene)
    entry = once_more(scene, first)
    for one, note in ((first, "5f1c"), (entry, "a90e")):
        one.time[0].data["note_hash"] = note
    scene.truth.spare("OTHER_NOTE", entry.key, "the same hours again, with another note")
    _, entry = two_places(scene, date(2026, 3, 11), 13 * 60)
    scene.truth.spare("BACK_TO_BACK", entry.key, "one ends when the other begins")
    first, _ = long_day(scene, date(2026, 3, 14), 9 * 3_600, 7 * 3_600)
    scene.truth.spare("SIXTEEN_HOURS", f"{first.worker.no}|2026-03-14", "a Saturday of exactly sixteen hours")
